/* A Python that starts in half the time, because it makes only what the hot lane needs.

   CPython starts in two phases (PEP 587, "Multi-Phase Initialization"). The first makes the types, `builtins`,
   `sys` and the import of built-in modules; the second finds Python's own library, loads codecs from it and opens
   sys.stdout. The hot lane's file brings its modules along, so the first phase is enough until something is asked
   for that the file has not got: then hot_start.py calls _bare.finish(), and this is Python like any other.

   It is called as launcher.sh calls Python, and becomes the real one whenever it is not sure to be as good: for a
   program that is not the hot lane's file, and when the Python that it was built from has been replaced, as by a
   security update.

   See docs/decisions/0008; setup.py, which compiles this and tries it out. */

#include <Python.h>
#include <fcntl.h>
#include <marshal.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* setup.py says of the Python that this was built from: PYTHON, its path; PYTHON_SIZE and PYTHON_TIME, of that file,
   the time in seconds; and MAGIC, the number with which its .pyc files begin. */
#define VIEW "/run/minicontainer-runtime/interpreter" /* where read-only views of interpreters are: decision 0002 */
enum { WORDS_BEFORE_PROGRAM = 7 }; /* minicontainer-python -I -S -X utf8 -X no_debug_ranges PROGRAM ... */
enum { HEADER = 16, FAILURE = 70 }; /* of a .pyc; sysexits(3) EX_SOFTWARE */

static char *unforked; /* in a page of its own, that the kernel clears in every child process */
static const char *program; /* the hot lane's file, mapped into memory */
static size_t program_size;

/* ---- Python's own functions that no header declares ---------------------------------------------------- */

int _PySignal_Init(int install_signal_handlers); /* of the second phase, but needed at once: SIGINT must clean up */

/* Before Python 3.13 the first phase readies the strings of all modules that are built in as bytecode, which costs
   half as much as the rest of it: 150 pages are written to. Nobody imports these modules before the second phase, so
   it is done there. The linker is told to call the function of this name instead (--wrap). */
#if PY_VERSION_HEX < 0x030D0000
int __real__Py_Deepfreeze_Init(void);
int __wrap__Py_Deepfreeze_Init(void);

int __wrap__Py_Deepfreeze_Init(void) { return 0; }
static int ready_codecs(void) { return PyCodec_LookupError("strict") != NULL; } /* whoever asks first makes them */
#else
static int __real__Py_Deepfreeze_Init(void) { return 0; }
PyStatus _PyCodec_InitRegistry(PyInterpreterState *interpreter);

static int ready_codecs(void) { return !PyStatus_Exception(_PyCodec_InitRegistry(PyInterpreterState_Get())); }
#endif

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Python asks for its memory a megabyte at a time. The first two, in one huge page where the machine has them, take
   one page fault in place of five hundred. */
static const size_t huge_page = 2 << 20;
static char *region, *region_end;

static void *give_arena(void *context, size_t size) {
    (void)context;
    if (size <= (size_t)(region_end - region)) {
        region += size;
        return region - size;
    }
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

static void take_arena(void *context, void *arena, size_t size) {
    (void)context;
    munmap(arena, size);
}

static void use_huge_page(void) {
    char *place = mmap(NULL, 2 * huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return;
    region = (char *)(((size_t)place + huge_page - 1) & ~(huge_page - 1));
    region_end = region + huge_page;
    madvise(region, huge_page, MADV_HUGEPAGE);
    PyObject_SetArenaAllocator(&(PyObjectArenaAllocator){NULL, give_arena, take_arena});
}

/* ---- the module _bare ---------------------------------------------------------------------------------- */

static void demand(PyStatus status) {
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

static PyObject *finish(PyObject *self, PyObject *none) {
    static int finished;
    (void)self, (void)none;
    if (finished)
        Py_RETURN_NONE;
    if (!*unforked) { /* Python's library might be the container's */
        PyErr_SetString(PyExc_RuntimeError, "a process on its way into a container has no more than it started with");
        return NULL;
    }
    finished = 1;
    sigset_t all, before; /* a signal must not be what this fails by: it would end us without any clearing up */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    demand(__real__Py_Deepfreeze_Init() < 0 ? PyStatus_NoMemory() : _Py_InitializeMain());
    sigprocmask(SIG_SETMASK, &before, NULL);
    Py_RETURN_NONE;
}

/* syscall(number, ...): syscall(2) with integers, None and what has a buffer; see linux/kernel.py. */

enum { MOST_WORDS = 7 };
static int error_of_last_call;

static PyObject *call_kernel(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    long words[MOST_WORDS] = {0}, result = -1;
    Py_buffer views[MOST_WORDS];
    int held = 0;
    (void)self;
    for (int i = 0; i < count && i < MOST_WORDS; i++) {
        if (PyLong_Check(arguments[i]))
            words[i] = (long)PyLong_AsUnsignedLongMask(arguments[i]);
        else if (arguments[i] != Py_None && !PyObject_GetBuffer(arguments[i], &views[held], PyBUF_SIMPLE))
            words[i] = (long)views[held++].buf;
    }
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        result = syscall(words[0], words[1], words[2], words[3], words[4], words[5], words[6]);
        error_of_last_call = errno;
        Py_END_ALLOW_THREADS
    }
    while (held)
        PyBuffer_Release(&views[--held]);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(result);
}

static PyObject *last_error(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    return PyLong_FromLong(error_of_last_call);
}

static PyObject *address(PyObject *self, PyObject *block) {
    Py_buffer view;
    (void)self;
    if (PyObject_GetBuffer(block, &view, PyBUF_SIMPLE))
        return NULL;
    PyBuffer_Release(&view);
    return PyLong_FromVoidPtr(view.buf);
}

/* is_current(sources): hot_start.py's question of each source, (path, time of change in ns, size), for all. */

static PyObject *is_current(PyObject *self, PyObject *sources) {
    struct stat found;
    (void)self;
    for (Py_ssize_t i = 0; i < PyList_Size(sources); i++) {
        const char *path;
        long long changed, size;
        if (!PyArg_ParseTuple(PyList_GetItem(sources, i), "sLL", &path, &changed, &size))
            return NULL;
        long long seconds = changed / 1000000000, rest = changed % 1000000000;
        if (stat(path, &found) || found.st_size != size || found.st_mtim.tv_sec != seconds ||
            found.st_mtim.tv_nsec != rest)
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static PyMethodDef functions[] = {
    {"is_current", is_current, METH_O, "Tell whether all sources are still the ones that were compiled."},
    {"syscall", _PyCFunction_CAST(call_kernel), METH_FASTCALL, "Call the kernel; returns -1 if it refuses."},
    {"last_error", last_error, METH_NOARGS, "Give the errno of the last call."},
    {"address", address, METH_O, "Say where a block lies in memory; the caller keeps it alive."},
    {"finish", finish, METH_NOARGS, "Start the rest of Python, unless that has been done."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_bare", .m_size = -1, .m_methods = functions};

static PyObject *make_module(void) {
    PyObject *made = PyModule_Create(&module);
    if (!made)
        return NULL;
    PyModule_AddIntConstant(made, "abilities", 2); /* hot_start.py's ABILITIES; both change when this module does */
    PyModule_AddObject(made, "program", PyMemoryView_FromMemory((char *)program, program_size, PyBUF_READ));
    return made;
}

/* ---- the start ----------------------------------------------------------------------------------------- */

static void become_python(char **words) {
    execv(words[0] = VIEW PYTHON, words);
    execv(words[0] = PYTHON, words);
    fprintf(stderr, "minicontainer: the interpreter " PYTHON " is gone: install minicontainer again\n");
    exit(1);
}

/* Another version may have been installed since the view was made: then it is started, and makes the view anew. */
static void become_installed(char **words) {
    struct stat shown, installed;
    if (strncmp(words[0], VIEW, sizeof VIEW - 1))
        return;
    char *real = words[0] + sizeof VIEW - 1;
    if (stat(words[0], &shown) || stat(real, &installed))
        return;
    if (shown.st_size != installed.st_size || memcmp(&shown.st_mtim, &installed.st_mtim, sizeof shown.st_mtim))
        execv(words[0] = real, words);
}

static int is_as_good_as_python(void) {
    struct stat python;
    return !stat(PYTHON, &python) && python.st_size == PYTHON_SIZE && python.st_mtim.tv_sec == PYTHON_TIME;
}

static int read_program(const char *path) {
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) || status.st_size < HEADER)
        return 0;
    program_size = status.st_size;
    program = mmap(NULL, program_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    return program != MAP_FAILED && *(const int *)program == MAGIC;
}

static int mark_this_process(void) {
    size_t page = sysconf(_SC_PAGESIZE);
    unforked = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return unforked != MAP_FAILED && !madvise(unforked, page, MADV_WIPEONFORK) && (*unforked = 1);
}

static void start_python(int count, char **words) {
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    demand(Py_PreInitialize(&before));
    use_huge_page();
    PyImport_AppendInittab("_bare", make_module);
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = config.code_debug_ranges = 0;
    config._init_main = 0; /* no second phase */
    demand(PyConfig_SetBytesString(&config, &config.executable, PYTHON));
    demand(PyConfig_SetBytesArgv(&config, count, words));
    config.orig_argv = config.argv; /* the first phase has both of them copied */
    config.argv.items += WORDS_BEFORE_PROGRAM;
    config.argv.length -= WORDS_BEFORE_PROGRAM;
    demand(Py_InitializeFromConfig(&config));
    if (_PySignal_Init(1) < 0)
        demand(PyStatus_Error("no signals"));
}

/* Even a decoding error needs the registry of codecs, and to make that imports `encodings` from Python's library. So it
   is made at once, with an empty module of that name, and the real one is imported for the first codec that is asked
   for: the built-in types know UTF-8 by themselves. */

static PyObject *find_codec(PyObject *self, PyObject *name) {
    PyObject *encodings = PyImport_ImportModule("encodings");
    (void)self;
    if (encodings)
        return PyObject_CallMethod(encodings, "search_function", "O", name);
    if (!PyErr_ExceptionMatches(PyExc_ImportError))
        return NULL;
    PyErr_Clear(); /* in a container, where nothing is imported any more */
    Py_RETURN_NONE;
}

static void make_codec_registry(void) {
    static PyMethodDef finder = {"find_codec", find_codec, METH_O, "Find a codec in the module encodings."};
    if (!PyImport_AddModule("encodings") || !ready_codecs() ||
        PyDict_DelItemString(PyImport_GetModuleDict(), "encodings") ||
        PyCodec_Register(PyCFunction_New(&finder, NULL)))
        demand(PyStatus_Error("no codecs"));
}

/* What of `sys` and `__main__` the second phase would make, and hot_start.py reads. */
static PyObject *names_of_program(int count, char **words) {
    PyObject *all = PyList_New(0), *name = PyUnicode_DecodeFSDefault(words[WORDS_BEFORE_PROGRAM]);
    for (int i = 0; i < count; i++)
        PyList_Append(all, PyUnicode_DecodeFSDefault(words[i]));
    PySys_SetObject("orig_argv", all);
    PySys_SetObject("argv", PyList_GetSlice(all, WORDS_BEFORE_PROGRAM, count));
    PySys_SetObject("executable", PyUnicode_DecodeFSDefault(PYTHON));
    PyObject *names = PyModule_GetDict(PyImport_AddModule("__main__"));
    PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins());
    PyDict_SetItemString(names, "__file__", name);
    return names;
}

int main(int count, char **words) {
    become_installed(words);
    if (count <= WORDS_BEFORE_PROGRAM || !is_as_good_as_python() || !read_program(words[WORDS_BEFORE_PROGRAM]) ||
        !mark_this_process())
        become_python(words);
    start_python(count, words);
    make_codec_registry();
    PyObject *names = names_of_program(count, words);
    PyObject *code = PyMarshal_ReadObjectFromString(program + HEADER, program_size - HEADER);
    if (!code || !PyEval_EvalCode(code, names, names))
        PyErr_Print();
    return FAILURE; /* the program ends by itself */
}
