"""R03 to R05: no descriptor of the host reaches the container, and no working folder leads out through one.

CVE-2024-21626: with cwd /proc/self/fd/7, and a descriptor of the host's at 7, the process begins on the host.
"""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

NUMBERS = range(3, 16)
PLACES = ["/proc/self/fd/{}", "/proc/self/fd/{}/../../..", "/proc/1/fd/{}", "/proc/thread-self/fd/{}"]
UP = "../../../../../../../../../.."


def leave_root_open() -> None:
    """Be a caller who leaks a descriptor of the host's root at each of the numbers."""
    source = os.open("/", os.O_PATH | os.O_DIRECTORY)
    for number in NUMBERS:
        if number != source:
            os.dup2(source, number, inheritable=True)
    os.set_inheritable(source, True)


@pytest.fixture
def canary(workspace: Path) -> Path:
    """Give a file of the host that nobody inside may read."""
    path = workspace / "canary"
    path.write_text("the canary sings")
    return path


def script(canary: Path) -> str:
    """Try to read the canary from wherever the program finds itself."""
    tell = f"test -d tmp/{canary.parent.name} && echo the canary sings"
    return f"cat .{canary} {UP}{canary} 2>/dev/null; {tell}; true"


@pytest.mark.parametrize("place", PLACES)
def test_a_working_folder_never_leads_to_the_host(
    runtime: Runtime, bundle: MakeBundle, canary: Path, place: str
) -> None:
    for number in NUMBERS:
        made = bundle().shell(script(canary))
        made.process["cwd"] = place.format(number)
        done = runtime.run(made, close_fds=False, preexec_fn=leave_root_open)
        assert "sings" not in done.stdout


@pytest.mark.parametrize("place", PLACES[:3])
def test_the_working_folder_of_exec_never_leads_to_the_host(
    runtime: Runtime, bundle: MakeBundle, canary: Path, place: str
) -> None:
    name = runtime.sleeping(bundle())
    for number in NUMBERS:
        flags = ["--cwd", place.format(number)]
        done = runtime.exec(
            name, "sh", "-c", script(canary), flags=flags, close_fds=False, preexec_fn=leave_root_open
        )
        assert "sings" not in done.stdout


def test_a_link_as_working_folder_stays_inside(runtime: Runtime, bundle: MakeBundle, canary: Path) -> None:
    made = bundle().shell(script(canary))
    (made.rootfs / "out").symlink_to(f"{UP}/{canary.parent}")
    made.process["cwd"] = "/out"
    assert "sings" not in runtime.run(made).stdout


def test_while_it_waits_a_container_holds_nothing_of_the_host(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.create(made, close_fds=False, preexec_fn=leave_root_open))
    folder = Path(f"/proc/{runtime.pid(made.id)}/fd")
    held = {entry.name: str(entry.readlink()) for entry in folder.iterdir() if int(entry.name) > 2}
    outside = [name for name in held if (folder / name).stat().st_dev == Path("/").stat().st_dev]
    folders = [name for name in outside if S_ISDIR((folder / name).stat().st_mode)]
    assert bool(folders) == runtime.deviates("descriptors-before-start")
    if runtime.kind == "ours":
        assert sorted(path.rpartition("/")[2] for path in held.values()) == ["result", "start"]


@pytest.mark.parametrize("preserved", [0, 2])
def test_an_exec_finds_only_what_was_meant_for_it(
    runtime: Runtime, bundle: MakeBundle, preserved: int
) -> None:
    name = runtime.sleeping(bundle())
    flags = ["--preserve-fds", str(preserved)]
    done = runtime.exec(name, "ls", "/proc/self/fd", flags=flags, close_fds=False, preexec_fn=leave_root_open)
    accepts(done)
    assert done.stdout.split() == [str(number) for number in range(4 + preserved)], "the last is ls's own"


def test_a_program_finds_only_three_descriptors(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("ls", "/proc/self/fd")
    done = runtime.run(made, close_fds=False, preexec_fn=leave_root_open)
    accepts(done)
    assert done.stdout.split() == ["0", "1", "2", "3"], "3 is ls's own"
