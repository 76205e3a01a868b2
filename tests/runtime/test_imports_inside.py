"""A process that is in a container imports nothing that the runtime has not got in memory already.

There it would find no file, or worse, one of the container's (CVE-2019-14271). The functions that such a
process can reach are read from the sources; what they import has to be in the memory of every command that
makes one.
See: minicontainer/hot_build.py, LATER; minicontainer/runtime/entering.py, close_the_door.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from minicontainer import hot_build
from tests.bare_python import QUICK, run_program
from tests.call_graph import at_import, imports_inside, is_ours, names_in, reachable

RUNTIME = "minicontainer.runtime"
CREATED = [(f"{RUNTIME}.spawn", "be_first_process"), (f"{RUNTIME}.stage", "be_stage")]
EXECUTED = [(f"{RUNTIME}.execute", "be_visitor"), (f"{RUNTIME}.execute", "be_stage")]
# family of commands -> the functions with which a process begins that is going to be in a container
ENTRIES = {"create": CREATED, "minicontainer run": CREATED, "exec": EXECUTED}
# They say why a value of the configuration is refused, and every value has been judged in the runtime.
ONLY_WHEN_REFUSED = {("minicontainer.oci.shape", "member")}


@cache
def bare() -> frozenset[str]:
    """Name the modules that the interpreter has before our first line, started by either of our two."""
    program = "import sys; own = list(sys.modules); import posix; posix.write(1, ' '.join(own).encode())"
    plain = [str(Path(sys.executable).resolve()), "-I", "-S", "-c", program]
    said = [subprocess.run(plain, capture_output=True, check=True, timeout=60).stdout]
    if QUICK.exists():
        said.append(run_program(program).stdout)
    return frozenset.intersection(*(frozenset(names.decode().split()) for names in said))


def made_at_once(family: str) -> set[str]:
    """Name our modules that exist as soon as a command of this family begins."""
    return set(hot_build.Lane().closure(hot_build.GROUPS[family]))


def made_later() -> set[str]:
    """Name our modules that are only in memory, and made when they are wanted."""
    return set(hot_build.Lane().closure(hot_build.LATER))


def others_at_import(modules: set[str]) -> set[str]:
    """Name what these modules of ours import of Python's own."""
    named = {name for module in modules for name in at_import(module)}
    return {name for name in named if not is_ours(name)} - {"__future__"}


@pytest.mark.parametrize("family", ENTRIES)
def test_what_a_process_in_a_container_imports_is_in_memory(family: str) -> None:
    at_once = made_at_once(family)
    in_memory = at_once | made_later() | bare() | others_at_import(at_once)
    functions = reachable(ENTRIES[family], at_once)
    missing = {
        (module, function.name, name)
        for (module, _), function in functions.items()
        for name in imports_inside(function)
        if name not in in_memory and (module, function.name) not in ONLY_WHEN_REFUSED
    }
    assert missing == set()


@pytest.mark.parametrize("family", ENTRIES)
def test_what_is_made_later_needs_nothing_from_pythons_own_files(family: str) -> None:
    there = bare() | others_at_import(made_at_once(family))
    wanted = {
        name
        for function in reachable(ENTRIES[family], made_at_once(family)).values()
        for name in imports_inside(function)
        if is_ours(name)
    }
    assert wanted - made_at_once(family), "the walk has found nothing"
    chain = set(hot_build.Lane().closure(tuple(sorted(wanted)))) - made_at_once(family)
    refused = {name for module, _ in ONLY_WHEN_REFUSED for name in [module]}
    assert others_at_import(chain - refused) <= there


@pytest.mark.parametrize("family", hot_build.GROUPS)
def test_a_package_is_made_at_once_because_memory_gives_no_place_to_look_for_its_modules(family: str) -> None:
    lane = hot_build.Lane()
    waiting = made_later() - made_at_once(family)
    assert [name for name in sorted(waiting) if lane.is_package(name)] == []


def test_the_walk_finds_what_is_known_to_run_in_a_container() -> None:
    functions = reachable(CREATED, made_at_once("create"))
    found = {(module.rpartition(".")[2], function.name) for (module, _), function in functions.items()}
    assert found >= {
        ("console", "make_console"),
        ("copy_up", "copy_file"),
        ("hooks", "become_hook"),
        ("identity", "keep_capabilities"),
        ("paths", "openat2"),
        ("procfs", "write_procfs"),
        ("scheduling", "set_mempolicy"),
        ("terminals", "sendmsg"),
    }
    assert ("interpreter", "protect_interpreter") not in found
    assert names_in(f"{RUNTIME}.channel").functions.keys() >= {"failure_report", "raise_reported"}
