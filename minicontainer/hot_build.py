"""Writing the hot lane's file: the modules that the everyday commands use, compiled, in one .pyc.

    header | code of hot_start.py | a group for each family of commands | single modules | their index

What nobody reads at run time is left out: docstrings, annotations, what stands under TYPE_CHECKING. The file
is written beside and renamed, so two commands that do it at once do no harm; where it cannot be written the
commands work all the same, only slower.

See docs/decisions/0001; marshal, importlib.util "MAGIC_NUMBER".
"""

from __future__ import annotations

import ast
import marshal
import posix
import sys

from minicontainer import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

RUNTIME, LINUX = "minicontainer.runtime", "minicontainer.linux"
COMMON = ("minicontainer.launch", f"{RUNTIME}.main")
START = (f"{RUNTIME}.command_create", f"{RUNTIME}.interpreter")
# Family of commands -> the modules that each of them uses, and those that these import as they are made.
GROUPS = {
    "create": (*COMMON, *START),
    "start": (*COMMON, f"{RUNTIME}.command_start"),
    "exec": (*COMMON, f"{RUNTIME}.command_exec", f"{RUNTIME}.interpreter"),
    "stop": (*COMMON, f"{RUNTIME}.command_stop"),
    "show": (*COMMON, f"{RUNTIME}.command_show"),
    "minicontainer run": ("minicontainer.launch", "minicontainer.cli.main", "minicontainer.cli.run", *START),
}
# What only some containers need, or what is not needed before the first process is at work. It is made on
# first use, but must be in memory: a process that is in a container can read no file of ours.
LATER = (
    f"{RUNTIME}.cgroup_limits", f"{RUNTIME}.cgroup_processes", f"{RUNTIME}.destroy", f"{RUNTIME}.waking",
    f"{RUNTIME}.console", f"{RUNTIME}.copy_up", f"{RUNTIME}.hooks", f"{RUNTIME}.idmap", f"{RUNTIME}.labels",
    f"{RUNTIME}.stage", f"{RUNTIME}.sysctls", f"{LINUX}.device_filter", f"{LINUX}.scheduling",
    f"{LINUX}.terminals", "minicontainer.oci.check",
)  # fmt: skip
ENTERING = ("create", "exec", "minicontainer run")  # the families that need these
# What all of them use of Python's own, built in or in files: made without being looked for.
OF_PYTHON = ("posix", "marshal", "gc", "errno", "fcntl", "select", "time", "_signal", "_ctypes", "_json")
BUILDERS = ("minicontainer.hot_build", "minicontainer.hot_start")  # the file is as old as these, too
Source = tuple[str, int, int]  # path, time of change in ns, size


def refresh() -> None:
    """Write the file anew, where the directory can be written to."""
    folder = f"{launch.PACKAGE}/__pycache__"
    path = f"{folder}/hot-lane.{sys.implementation.cache_tag}.pyc"  # no module can have this name
    beside = f"{path}.{posix.getrandom(8).hex()}"
    try:
        if not posix.access(folder, posix.F_OK):
            posix.mkdir(folder, 0o755)
        fd = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o644)
    except OSError:
        return
    try:
        content = compiled()
        while content:
            content = content[posix.write(fd, content) :]
        posix.fsync(fd)  # or a power cut could leave an empty file of this name, and no command would start
        posix.rename(beside, path)
    except OSError:
        posix.unlink(beside)  # a full disk
    except BaseException:
        posix.unlink(beside)
        raise
    finally:
        posix.close(fd)


def compiled() -> bytes:
    """Compile the groups and the single modules, and put in front of them the code that serves them."""
    lane = Lane()
    orders = {family: lane.closure(roots) for family, roots in GROUPS.items()}
    parts: list[bytes] = []
    groups: dict[str, tuple[int, int, int, int]] = {}
    modules: dict[str, tuple[int, int, str, bool, int, int]] = {}
    later = lane.closure(LATER)
    for family, order in orders.items():
        rest = [name for name in later if name not in order] if family in ENTERING else []
        sources = [lane.source(name) for name in (*order, *rest, *BUILDERS)]
        now = [(name, lane.path(name), lane.is_package(name), lane.code(name)) for name in order]
        block: list[bytes] = []
        then = [(name, lane.path(name), *add(block, marshal.dumps(lane.code(name)))) for name in rest]
        groups[family] = (*add(parts, marshal.dumps((sources, now, then))), *add(parts, b"".join(block)))
    for name in sorted(lane.codes):
        path, changed, size = lane.source(name)
        place = add(parts, marshal.dumps(lane.code(name)))
        modules[name] = (*place, path, lane.is_package(name), changed, size)
    index = add(parts, marshal.dumps(modules))
    data = b"".join(parts)
    return starter(groups, index, len(data)) + data


def add(parts: list[bytes], part: bytes) -> tuple[int, int]:
    """Append a part; returns its offset and length."""
    offset = sum(map(len, parts))
    parts.append(part)
    return offset, len(part)


def starter(groups: object, index: tuple[int, int], length: int) -> bytes:
    """Compile hot_start.py with the index of what follows it."""
    code = compile_source(f"{launch.PACKAGE}/hot_start.py")
    of_python = {name: getattr(__import__(name), "__file__", "") for name in OF_PYTHON}
    values = {"@groups@": groups, "@index@": index, "@length@": length, "@of_python@": of_python}
    constants = tuple(
        values.get(value, value) if isinstance(value, str) else value for value in code.co_consts
    )
    magic = __import__("_frozen_importlib_external").MAGIC_NUMBER
    return bytes(magic) + bytes(12) + marshal.dumps(code.replace(co_consts=constants))


class Lane:
    """The package's modules, each found and compiled once."""

    def __init__(self) -> None:
        self.codes: dict[str, CodeType] = {}
        self.sources: dict[str, Source] = {}

    def closure(self, roots: tuple[str, ...]) -> list[str]:
        """List what the roots import when they are imported, each module after those that it imports."""
        order: list[str] = []
        for root in roots:
            self.visit(root, order, set())
        return order

    def visit(self, name: str, order: list[str], under_way: set[str]) -> None:
        """Append a module after its packages and its imports."""
        if name in order or name in under_way or not self.is_module(name):
            return
        under_way.add(name)
        self.visit(name.rpartition(".")[0], order, under_way)
        for other in imports(parse(self.path(name)), self):
            self.visit(other, order, under_way)
        order.append(name)

    def path(self, name: str) -> str:
        """Find a module's source; the path of one that is not there is not there."""
        place = f"{launch.PACKAGE}{name.removeprefix('minicontainer').replace('.', '/')}"
        package = f"{place}/__init__.py"
        return package if posix.access(package, posix.F_OK) else f"{place}.py"

    def is_module(self, name: str) -> bool:
        """Tell a module from a name in one."""
        return name.partition(".")[0] == "minicontainer" and posix.access(self.path(name), posix.F_OK)

    def is_package(self, name: str) -> bool:
        """Tell a package from a module."""
        return self.path(name).endswith("/__init__.py")

    def source(self, name: str) -> Source:
        """Say which state of a source is compiled; looked at before it is read."""
        if name not in self.sources:
            path = self.path(name)
            status = posix.stat(path)
            self.sources[name] = (path, status.st_mtime_ns, status.st_size)
        return self.sources[name]

    def code(self, name: str) -> CodeType:
        """Compile a module."""
        if name not in self.codes:
            self.codes[name] = compile_source(self.source(name)[0])
        return self.codes[name]


def parse(path: str) -> ast.Module:
    """Read and parse a source."""
    with open(path, "rb") as file:
        return ast.parse(file.read(), path)


def make_all_modules() -> None:
    """Import all that a process in a container may need, where there is no file to have it in memory from."""
    for name in LATER:
        __import__(name)


def imports(tree: ast.Module, lane: Lane) -> list[str]:
    """List what a module imports when it is imported itself."""
    found: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                inner = f"{statement.module}.{alias.name}"
                found.append(inner if lane.is_module(inner) else f"{statement.module}")
        elif isinstance(statement, ast.Import):
            found += [alias.name for alias in statement.names]
    return found


def compile_source(path: str) -> CodeType:
    """Compile a source without what nobody reads at run time."""
    tree = ast.fix_missing_locations(Plain().visit(parse(path)))
    return compile(tree, path, "exec", dont_inherit=True, optimize=2)


class Plain(ast.NodeTransformer):
    """Takes annotations, and what is only there for them, out of a module."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Drop `from __future__ import annotations`: there are none."""
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop `if TYPE_CHECKING:`."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
            return None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Turn `name: kind = value` into `name = value`."""
        if node.value is None:
            return None
        plain = ast.Assign(targets=[node.target], value=node.value)
        return self.generic_visit(ast.copy_location(plain, node))

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop a parameter's annotation."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop the annotation of what a function returns."""
        node.returns = None
        if not self.generic_visit(node).body:  # type: ignore[attr-defined]
            node.body.append(ast.Pass())
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Keep a class that had nothing but annotations."""
        if not self.generic_visit(node).body:  # type: ignore[attr-defined]
            node.body.append(ast.Pass())
        return node
