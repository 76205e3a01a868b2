"""From the name of a step to the sentence that is told: the first line of its docstring.

The code that acts carries its own narration, so that it cannot be forgotten when the code changes. What
follows the first line is "read more": man pages and sections of the specification. It is read from the
source, because the modules that the hot lane has loaded have no docstrings any more.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import minicontainer

REFERENCES = ("(2)", "(3)", "(5)", "(7)", "(8)", "-spec", ".rst", "CVE-")


@functools.cache
def docstrings(module: str) -> dict[str, str]:
    """Read the docstrings of a module's functions, by name; methods as `Class.method`."""
    below = Path(*module.split(".")[1:])
    source = Path(minicontainer.__path__[0]) / below.with_suffix(".py")
    if not source.is_file():
        return {}
    found: dict[str, str] = {}
    for node in ast.parse(source.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for function in inside:
            if isinstance(function, ast.FunctionDef):
                found[prefix + function.name] = ast.get_docstring(function) or ""
    return found


def docstring(step: str) -> str:
    """Give the docstring of the function that `module:function` names; empty when there is none."""
    module, _, name = step.partition(":")
    return docstrings(module).get(name, "")


def title(step: str) -> str:
    """Give the sentence of a step; its own name where it has none."""
    return docstring(step).partition("\n")[0] or step


def reading(step: str) -> str:
    """Give what to read about a step: man pages and sections, as one line."""
    rest = docstring(step).partition("\n")[2].strip().partition("\n\n")[0]
    return " ".join(rest.split()) if any(sign in rest for sign in REFERENCES) else ""
