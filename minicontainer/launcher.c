/* What launcher.sh does, for machines with a compiler, in a tenth of the shell's time.

   A program that uses libc has paid 0.3 ms before its first line, for things that a few system calls do not need.
   So this one has its own beginning and its own way to call the kernel, written for the processor below; for others
   it does not compile, and launcher.sh is installed instead.

   setup.py says: COMMAND, the command's name; PROGRAM, which of our programs it is; PYTHON, the interpreter; HOT,
   the name of the hot lane's file; LIBRARIES and PACKAGE, where those lie, absolute or from this file's directory.
   See docs/decisions/0001. */

#if defined(__x86_64__)
enum { WRITE = 1, ACCESS = 21, EXECVE = 59, EXIT = 60, READLINK = 89 };
__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall begin\n");

static long call(long number, const void *first, const void *second, const void *third) {
    __asm__ volatile("syscall" : "+a"(number) : "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
    return number;
}
#else
#error "how a program for this processor calls the kernel is not known here"
#endif

#define PROTECTED "/run/minicontainer-runtime/interpreter" /* as in runtime/interpreter.py */
enum { LONGEST = 4096, R_OK = 4, STANDARD_ERROR = 2 };
_Static_assert(sizeof PYTHON + sizeof LIBRARIES + sizeof PACKAGE + sizeof HOT < LONGEST, "too long for a path");

static char here[LONGEST]; /* the directory of this file */

static void append(char *text, const char *more) {
    while (*text)
        text++;
    while ((*text++ = *more++))
        continue;
}

static const char *located(char *place, const char *path) {
    if (*path != '/') {
        append(place, here);
        append(place, "/");
    }
    append(place, path);
    return place;
}

static void find_ourselves(void) {
    long length = call(READLINK, "/proc/self/exe", here, (void *)(LONGEST - 1));
    while (length > 0 && here[length] != '/')
        here[length--] = 0;
    here[length > 0 ? length : 0] = 0;
}

/* The interpreter: our own, quicker one where it could be compiled (docs/decisions/0008), and as a container may see
   it, through a read-only overlay, once there is one (docs/decisions/0002). */
static void become_interpreter(const char **words, char *const *environment) {
    static char quick[3 * LONGEST] = PROTECTED;
    static const char python[] = PROTECTED PYTHON;
    append(quick, here);
    append(quick, "/minicontainer-python");
    const char *choices[] = {quick, quick + sizeof PROTECTED - 1, python, python + sizeof PROTECTED - 1};
    for (int i = 0; i < 4; i++) {
        words[0] = choices[i];
        call(EXECVE, words[0], words, environment);
    }
}

/* The kernel starts a program with this on its stack: how many words there are, the words, 0, the environment, 0. */
__attribute__((used)) static void begin(const char **stack) {
    static char libraries[2 * LONGEST], package[2 * LONGEST], program[3 * LONGEST];
    static const char gone[] = COMMAND ": the interpreter " PYTHON " is gone: install minicontainer again\n";
    enum { OURS = 10 };
    long count = (long)stack[0];
    const char *words[OURS + count];
    find_ourselves();
    located(libraries, LIBRARIES);
    located(package, PACKAGE);
    append(program, package);
    append(program, "/__pycache__/" HOT);
    if (call(ACCESS, program, (void *)R_OK, 0) < 0) { /* it has not been written yet: the modules one by one */
        program[0] = 0;
        append(program, package);
        append(program, "/launch.py");
    }
    const char *ours[OURS] = {0, "-I", "-S", "-X", "utf8", "-X", "no_debug_ranges", program, PROGRAM, libraries};
    for (int i = 0; i < OURS; i++)
        words[i] = ours[i];
    for (long i = 1; i <= count; i++) /* the first word is our own name, the last is 0 */
        words[OURS + i - 1] = stack[1 + i];
    become_interpreter(words, (char *const *)&stack[count + 2]);
    call(WRITE, (void *)STANDARD_ERROR, gone, (void *)(sizeof gone - 1));
    call(EXIT, (void *)1, 0, 0);
}
