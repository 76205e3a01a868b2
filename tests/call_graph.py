"""Which functions of the package a process in a container can reach, read from the sources.

A name is followed to the function that it means. An attribute is followed to every method of that name, and
to the function when it belongs to an imported module: more than can happen, so nothing is missed.
See: minicontainer/hot_build.py, LATER.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parent.parent
Function = ast.FunctionDef


def path_of(name: str) -> Path:
    """Give where a module of ours lies, whether it is there or not."""
    place = CHECKOUT / name.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def is_ours(name: str) -> bool:
    """Tell whether this is a module of the package."""
    return name.partition(".")[0] == "minicontainer" and path_of(name).exists()


@cache
def tree_of(name: str) -> ast.Module:
    """Parse a module."""
    return ast.parse(path_of(name).read_text())


def modules_named(statement: ast.stmt) -> list[str]:
    """List the modules that an import statement loads."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        found = []
        for alias in statement.names:
            inner = f"{statement.module}.{alias.name}"
            found.append(inner if is_ours(inner) else str(statement.module))
        return found
    return []


def at_import(name: str) -> Iterator[str]:
    """List what a module imports when it is imported itself, also below `try`."""
    waiting: list[ast.stmt] = list(tree_of(name).body)
    while waiting:
        statement = waiting.pop()
        yield from modules_named(statement)
        if isinstance(statement, ast.Try):
            waiting += [*statement.body, *statement.orelse, *statement.finalbody]
        elif isinstance(statement, ast.If) and ast.unparse(statement.test) != "TYPE_CHECKING":
            waiting += [*statement.body, *statement.orelse]


class Names:
    """What the names in one module mean."""

    def __init__(self, module: str) -> None:
        self.functions: dict[str, Function] = {}
        self.methods: dict[str, list[Function]] = {}
        self.imported: dict[str, tuple[str, str]] = {}  # name -> (module, its name there; "" for the module)
        self.not_ours: set[str] = set()
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.Import):
                self.not_ours |= {alias.name for alias in node.names if not is_ours(alias.name)}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    meant = (inner, "") if is_ours(inner) else (str(node.module), alias.name)
                    self.imported[alias.asname or alias.name] = meant
            elif isinstance(node, ast.FunctionDef):
                self.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                for inside in node.body:
                    if isinstance(inside, ast.FunctionDef):
                        self.methods.setdefault(inside.name, []).append(inside)
                        if inside.name == "__init__":
                            self.functions[node.name] = inside


@cache
def names_in(module: str) -> Names:
    """Read the names of a module, once."""
    return Names(module)


def reachable(entries: list[tuple[str, str]], loaded: set[str]) -> dict[tuple[str, int], Function]:
    """Give every function that can run after the entries; a method belongs to a `loaded` module."""
    seen: dict[tuple[str, int], Function] = {}
    known = set(loaded)
    waiting = [(module, names_in(module).functions[name]) for module, name in entries]
    while waiting:
        module, function = waiting.pop()
        if (module, function.lineno) in seen:
            continue
        seen[module, function.lineno] = function
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                known |= {name for name in modules_named(node) if is_ours(name)}
            waiting += meant_by(node, module, known)
    return seen


def meant_by(node: ast.AST, module: str, known: set[str]) -> list[tuple[str, Function]]:
    """Give the functions that a name or an attribute can mean."""
    names = names_in(module)
    if isinstance(node, ast.Name):
        if node.id in names.functions:
            return [(module, names.functions[node.id])]
        home, name = names.imported.get(node.id, ("", ""))
        return function_named(home, name)
    if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
        if isinstance(node.value, ast.Name):
            home, name = names.imported.get(node.value.id, ("", ""))
            if home and not name:
                return function_named(home, node.attr)
            if node.value.id in names.not_ours:
                return []
        return [(other, method) for other in known for method in names_in(other).methods.get(node.attr, [])]
    return []


def function_named(module: str, name: str) -> list[tuple[str, Function]]:
    """Give a module's function, if it is one of ours and has it."""
    if not is_ours(module) or name not in names_in(module).functions:
        return []
    return [(module, names_in(module).functions[name])]


def imports_inside(function: Function) -> Iterator[str]:
    """List what a function imports when it runs."""
    for node in ast.walk(function):
        if isinstance(node, ast.stmt):
            yield from modules_named(node)
