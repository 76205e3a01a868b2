"""`vm test`: the tests that are marked for virtual machines, each in one guest, and a verdict to believe.

    one plain guest, frozen -> clone plain-1: --guest=plain:0/2 -+
                            -> clone plain-2: --guest=plain:1/2 -+-> RESULTS/NAME/inside, output, console
    a guest with systemd ------------------>  --guest=systemd   -+

No more guests work at a time than the machine has processors. A boot may be tried twice, and says so; a test
never. A guest that vanishes or hangs is a failure, shown with its console.

See tests/guests.py, which divides the tests; minicontainer/vm/verdict.py, which believes or not.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from minicontainer.vm import copying, emulator, image, nodes, snapshot, toolkit
from minicontainer.vm.conversation import GuestError
from minicontainer.vm.emulator import Emulator
from minicontainer.vm.image import Image
from minicontainer.vm.machine import Machine
from minicontainer.vm.qemu import Disk, Hardware, Plan
from minicontainer.vm.verdict import Report, failed, read

Tell = Callable[[str], None]

CHECKOUT = "/opt/minicontainer"  # in the guest
INSIDE = "/run/results"
MARKED = "pytest.mark.vm"  # what a file with tests for guests says, as tests/guests.py makes sure
STRICT = {"MINICONTAINER_TEST_STRICT": "1"}  # in a guest everything is there: a skip is a failure
UNDER_TEST = "MINICONTAINER_RUNTIME"  # may name a peer of the guest's, to prove the tests on: /usr/bin/crun
# Imported once, before the plain guest is frozen; not our own tests, which pytest rewrites at their import.
WARM = (
    "pytest _pytest.assertion.rewrite _pytest.terminal _pytest.junitxml _pytest.mark.expression "
    "_pytest.pytester _pytest.unraisableexception pytest_timeout hypothesis json subprocess tomllib "
    "concurrent.futures xml.etree.ElementTree"
).split()
LONGEST = 1500.0  # seconds for the tests of one guest, many times what they take
WORDS = ("-p", "no:cacheprovider", "-rsfE", f"--junitxml={INSIDE}/junit.xml", "--durations=10")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for: how many parts, where the results go, and words for pytest."""

    parts: int
    results: Path
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """The tests of one guest."""

    name: str
    guest: str  # for --guest
    systemd: bool = False

    @property
    def hardware(self) -> Hardware:
        """Only the guest with systemd has two processors: to emulate them costs more, for every test."""
        return Hardware(cpus=2) if self.systemd else Hardware()


@dataclass(frozen=True, slots=True)
class Kit:
    """What all guests of a run have in common."""

    wishes: Wishes
    image: Image
    emulator: Emulator
    toolkit: Path
    digest: str
    place: Path
    tell: Tell


def jobs(parts: int) -> list[Job]:
    """Say what is to be run, what takes longest first."""
    plain = [Job(f"plain-{number + 1}", f"plain:{number}/{parts}") for number in range(parts)]
    return [plain[0], Job("systemd", "systemd", systemd=True), *plain[1:]]


def run(wishes: Wishes, tell: Tell) -> list[Report]:
    """Run the tests in guests; the results are in `wishes.results`, too. Raises Error, Unsupported."""
    home = nodes.runtime_home()
    nodes.make(home)
    place = Path(tempfile.mkdtemp(prefix="test-", dir=home))
    try:
        kit = gather(wishes, place, tell)
        workers = max(1, min(wishes.parts, len(os.sched_getaffinity(0))))
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda job: report_of(kit, job), jobs(wishes.parts)))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def gather(wishes: Wishes, place: Path, tell: Tell) -> Kit:
    """Get the image, an emulator and the toolkit ready, and an empty place for the results."""
    made = image.obtain(tell)
    found = emulator.find(made, tell)
    tell(found.describe())
    bundle = place / "toolkit.tar"
    digest = toolkit.pack(bundle, tests=True)
    for job in jobs(wishes.parts):
        shutil.rmtree(wishes.results / job.name, ignore_errors=True)
        (wishes.results / job.name).mkdir(parents=True)
    return Kit(wishes, made, found, bundle, digest, place, tell)


# --- one guest ----------------------------------------------------------------------------------------------


def report_of(kit: Kit, job: Job) -> Report:
    """Run one guest's tests and say how it went; a guest that dies or hangs is a report, too."""
    started = time.monotonic()
    kit.tell(f"{job.name}: starting")
    try:
        machine = start(kit, job)
    except GuestError as problem:
        return failed(job.name, problem.message)
    try:
        code = run_pytest(kit, job, machine)
        report = read(kit.wishes.results / job.name, job.name, code, time.monotonic() - started)
    except GuestError as problem:
        report = failed(job.name, problem.message)
    finally:
        (kit.wishes.results / job.name / "console").write_text(machine.console())
        machine.kill()
    kit.tell(f"{job.name}: {report.summary()}")
    return report


def start(kit: Kit, job: Job) -> Machine:
    """Start a guest; one that does not come up is tried once more, visibly. Raises GuestError."""
    try:
        return start_once(kit, job)
    except GuestError as problem:
        kit.tell(f"{job.name}: the guest did not come up and is started once more: {problem.message}")
    return start_once(kit, job)


def start_once(kit: Kit, job: Job) -> Machine:
    """Thaw a clone of the plain guest, or boot the one with systemd."""
    words = (f"minicontainer.init={'systemd' if job.systemd else 'plain'}",)
    disks = (Disk(kit.toolkit, "toolkit", read_only=True),)
    plan = Plan(kit.image, kit.place, job.name, job.hardware, disks, words=words)
    if job.systemd:
        return snapshot.boot(plan, on_one_thread(kit.emulator), prepare)
    contents = f"{kit.digest} {' '.join(WARM)}"
    return snapshot.start(plan, kit.emulator, contents, prepare, kit.tell)


def on_one_thread(found: Emulator) -> Emulator:
    """Let an emulated guest's processors share one thread: QEMU is safer so, and uses one of ours."""
    single = found.backend.accelerator.replace("thread=multi", "thread=single")
    return replace(found, backend=replace(found.backend, accelerator=single))


def prepare(machine: Machine) -> None:
    """Bring a guest to the point from which every part of the tests goes on."""
    machine.warm(WARM, [CHECKOUT])
    machine.sh(f"mkdir -p {INSIDE}")


def run_pytest(kit: Kit, job: Job, machine: Machine) -> int:
    """Run pytest in the guest, keep what it writes, and bring its results out. Raises GuestError."""
    folder = kit.wishes.results / job.name
    words = [*WORDS, f"--guest={job.guest}", *(kit.wishes.words or marked_files())]
    env = STRICT | {name: value for name, value in os.environ.items() if name == UNDER_TEST}
    with (folder / "output").open("wb") as file:

        def keep(_kind: str, piece: bytes) -> None:
            file.write(piece)
            file.flush()

        ended = machine.python("pytest", words, env=env, cwd=CHECKOUT, output=keep, wait=LONGEST)
    copying.copy_out(machine.agent, INSIDE, folder / "inside")
    return ended.exit


def marked_files() -> list[str]:
    """Name the test files with marked tests: to import all others costs an emulated guest a minute."""
    top = toolkit.checkout()
    paths = sorted((top / "tests").rglob("test_*.py"))
    return [str(path.relative_to(top)) for path in paths if MARKED in path.read_text()]
