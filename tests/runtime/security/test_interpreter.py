"""R01, R02: whoever enters a container cannot be caught by his /proc/PID/exe and overwritten (CVE-2019-5736).

The image holds `/evil`, a script whose interpreter is /proc/self/exe: the program that enters executes
itself, dumpable again, inside the container. For us that program is the host's Python, or our own.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bare_python import QUICK
from tests.peers import peer
from tests.runtime.checks import accepts
from tests.runtime.runtimes import find_binary
from tests.runtime.security.attacks import DOCKERS, end_attack, loader_of, start_attacker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.conftest import Probes
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "tool:gcc")

HOSTS = [Path(sys.executable).resolve(), Path("/bin/sh").resolve(), *([QUICK] if QUICK.exists() else [])]
PEERS = [path for path in (peer("runc"), peer("crun"), find_binary()) if path]


@pytest.fixture
def attacker(bundle: MakeBundle, probe: Probes) -> Bundle:
    """Give a container with the probe, and with what keeps whoever is started by it."""
    made = bundle().capabilities(*DOCKERS)
    probe("grab", made.rootfs / "grab")
    lay_trap(made, probe)
    return made


def lay_trap(made: Bundle, probe: Probes) -> None:
    """Add a script that starts its reader, and a loader that keeps the reader alive for a moment."""
    (made.rootfs / "evil").write_text("#!/proc/self/exe\n")
    (made.rootfs / "evil").chmod(0o755)
    for program in [*HOSTS, *PEERS]:
        loader = loader_of(program)
        if loader and not (made.rootfs / loader.lstrip("/")).exists():
            (made.rootfs / loader.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            probe("linger", made.rootfs / loader.lstrip("/"))


def hashes(runtime: Runtime) -> list[str]:
    """Give the digests of the programs that a runtime consists of."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in [*HOSTS, runtime.binary]]


@pytest.mark.parametrize("more", [(), ("SYS_PTRACE",)])
def test_exec_of_a_script_that_starts_its_reader_gives_nothing_writable(
    runtime: Runtime, attacker: Bundle, rounds: Callable[[int, int], int], more: tuple[str, ...]
) -> None:
    before = hashes(runtime)
    name = start_attacker(runtime, attacker.capabilities(*DOCKERS, *more), "/grab")
    for _ in range(rounds(5, 50)):
        runtime.exec(name, "/evil")
        accepts(runtime.exec(name, "/bin/true"))
    report = end_attack(runtime, attacker)
    assert int(report[0].split()[1]) > 0, "the attack itself did not work: nothing was held"
    assert report[1:] == []
    assert hashes(runtime) == before


def test_a_container_that_starts_with_such_a_script_gives_nothing_writable(
    runtime: Runtime, bundle: MakeBundle, attacker: Bundle, probe: Probes
) -> None:
    name = start_attacker(runtime, attacker, "/grab")
    for _ in range(3):
        made = (
            bundle()
            .capabilities(*DOCKERS)
            .namespace("pid", f"/proc/{runtime.pid(name)}/ns/pid")
            .args("/evil")
        )
        lay_trap(made, probe)
        runtime.run(made)
    report = end_attack(runtime, attacker)
    assert int(report[0].split()[1]) > 0, "the attack itself did not work: nothing was held"
    assert report[1:] == []


def test_no_operation_gives_anything_writable(runtime: Runtime, bundle: MakeBundle, attacker: Bundle) -> None:
    name = start_attacker(runtime, attacker.capabilities(*DOCKERS, "SYS_PTRACE"), "/grab")
    made = bundle().namespace("pid", f"/proc/{runtime.pid(name)}/ns/pid").args("sleep", "1000")
    accepts(runtime.create(made))
    accepts(runtime.start(made.id))
    accepts(runtime.exec(made.id, "true"))
    for command in (["pause"], ["resume"], ["kill"], ["state"], ["ps"], ["delete", "--force"]):
        accepts(runtime.call(*command, made.id))
    accepts(runtime.run(bundle().namespace("pid", f"/proc/{runtime.pid(name)}/ns/pid")))
    report = end_attack(runtime, attacker)
    assert report[1:] == []
