"""The hot lane's file: written by itself, noticed when it is old, never in the way, and free of what is slow.

Each test has a copy of the package of its own, so nobody who edits or runs the checkout gets in the way.
See: minicontainer/hot_build.py, minicontainer/hot_start.py, docs/decisions/0001.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from minicontainer import hot_build
from tests.bare_python import QUICK
from tests.call_graph import at_import, is_ours
from tests.package_copy import FILE, PYTHON, PackageCopy, package_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
# What the interpreter has built in, or keeps in one small file, and that costs no millisecond.
ALLOWED = {
    "__future__", "_bare", "posix", "sys", "errno", "_ctypes", "_json", "fcntl", "select", "_signal",
    "_sha256", "_sha2", "marshal", "gc", "time", "_imp",
}  # fmt: skip
# What only tells: words for people, the names of flags, the causes of refused calls.
ONLY_TELLS = ("explain", "linux.words", "linux.spelling", "linux.flags", "linux.causes", "launch_cold")


@pytest.fixture(params=[PYTHON, pytest.param(QUICK, marks=pytest.mark.requires("minicontainer-python"))])
def copy(request: pytest.FixtureRequest) -> Iterator[PackageCopy]:
    """Give a copy that every user may read, for each of the two interpreters."""
    with package_copy(request.param) as made:
        yield made


def test_the_first_command_writes_the_file_and_the_next_one_uses_it(copy: PackageCopy) -> None:
    from_source = copy.say("features")
    assert copy.hot.exists()
    written = copy.hot.stat()
    assert copy.say("features") == from_source
    assert copy.hot.stat().st_ino == written.st_ino


def test_a_changed_source_is_noticed_at_once(copy: PackageCopy) -> None:
    copy.say("--version")
    copy.change("__init__.py", '__version__ = "', '__version__ = "7.')
    first = copy.hot.stat().st_ino
    assert copy.say("--version").startswith("minicontainer-runtime version 7.")
    assert copy.hot.stat().st_ino != first
    assert copy.say("--version").startswith("minicontainer-runtime version 7.")


@pytest.mark.parametrize("module", ["hot_build.py", "hot_start.py", "runtime/command_show.py"])
def test_a_change_of_what_builds_or_starts_the_lane_is_noticed_too(copy: PackageCopy, module: str) -> None:
    copy.say("list", "--quiet")
    first = copy.hot.stat().st_ino
    copy.change(module, "from __future__ import annotations\n", "from __future__ import annotations\n\n")
    copy.say("list", "--quiet")
    assert copy.hot.stat().st_ino != first


def test_a_module_that_has_gone_is_noticed(copy: PackageCopy) -> None:
    copy.say("list", "--quiet")
    (copy.package / "runtime" / "status.py").unlink()
    done = subprocess.run(
        copy.command("list", "--quiet"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "minicontainer.runtime.status" in done.stderr


def test_a_package_that_belongs_to_somebody_else_works_without_the_file(copy: PackageCopy) -> None:
    for folder in [copy.package, *copy.package.rglob("*/")]:
        folder.chmod(0o555)
    stranger = NOBODY if os.geteuid() == 0 else None
    assert copy.say("--version", user=stranger).startswith("minicontainer-runtime version")
    assert not copy.hot.exists()


def test_an_old_file_that_cannot_be_replaced_is_not_used(copy: PackageCopy) -> None:
    copy.say("--version")
    copy.change("__init__.py", '__version__ = "', '__version__ = "7.')
    written = copy.hot.stat()
    for folder in [copy.package, *copy.package.rglob("*/")]:
        folder.chmod(0o555)
    stranger = NOBODY if os.geteuid() == 0 else None
    assert copy.say("--version", user=stranger).startswith("minicontainer-runtime version 7.")
    assert copy.hot.stat().st_ino == written.st_ino


def test_a_full_disk_costs_time_and_nothing_else(copy: PackageCopy) -> None:
    limit = "ulimit -f 1; trap '' XFSZ; exec \"$@\""  # no file may become longer than 512 bytes
    command = ["sh", "-c", limit, "sh", *copy.command("--version")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((copy.package / "__pycache__").glob("hot-lane*")) == []


def test_several_builds_at_once_leave_one_whole_file(copy: PackageCopy) -> None:
    command = copy.command("features")
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [builder.communicate(timeout=60)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0] * 4
    assert len(set(said)) == 1
    assert [path.name for path in copy.hot.parent.iterdir() if path.name.startswith("hot-lane")] == [FILE]
    assert copy.say("features") == said[0]


@pytest.mark.parametrize("family", hot_build.GROUPS)
def test_a_group_asks_for_nothing_that_is_slow(family: str) -> None:
    lane = hot_build.Lane()
    modules = lane.closure((*hot_build.GROUPS[family], *hot_build.LATER))
    assert {name for module in modules for name in at_import(module) if not is_ours(name)} <= ALLOWED
    told = [f"minicontainer.{name}" for name in ONLY_TELLS]
    assert [module for module in modules if module.startswith(tuple(told))] == []
