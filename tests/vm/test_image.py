"""The image in the cache: built once, noticed when broken, and clear words when it cannot be built.

What mmdebstrap and sqfstar do takes a minute, so most tests put something smaller in their place.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainer.errors import Error, NotFound, Unsupported
from minicontainer.image import debian
from minicontainer.linux.long_programs import run_with_files
from minicontainer.vm import image, image_build, image_prune, initramfs, recipe
from minicontainer.vm.image import Image, obtain
from minicontainer.vm.recipe import Recipe, standard
from tests.linux.test_long_programs import wait_until_dead

PATIENCE = 30.0
TINY = 1 << 20  # bytes of a full disk
NOBODY = 65534


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one's own, on a machine that has the tools."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return tmp_path / "minicontainer" / "vm"


class Builds:
    """Stands in for image_build: remembers what it built."""

    def __init__(self) -> None:
        self.recipes: list[Recipe] = []
        self.last_words: Callable[[], None] = lambda: None

    def build(self, wanted: Recipe, place: Path, tell: image.Tell) -> None:
        """Write what a real build leaves."""
        self.recipes.append(wanted)
        tell("building")
        for name in ("root.squashfs", "kernel", "busybox"):
            (place / name).write_text(f"{name} of {wanted.suite}")
        (place / "modules").mkdir()
        (place / "modules" / "virtio.ko").write_text("module")
        (place / "modules" / "order").write_text("virtio.ko\n")
        self.last_words()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    """Count the builds."""
    fake = Builds()
    monkeypatch.setattr(image_build, "build", fake.build)
    monkeypatch.setattr(image_build, "check_machine", lambda directory: None)
    return fake


def quietly(_line: str) -> None:
    """Tell nobody."""


def get(suite: str = recipe.SUITE) -> Image:
    return obtain(quietly, suite=suite)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# --- found or built ----------------------------------------------------------------------------


def test_an_image_is_built_once(builds: Builds, cache: Path) -> None:
    told: list[str] = []
    first = obtain(told.append)
    assert obtain(told.append) == first
    assert told == ["building"]
    assert builds.recipes == [standard()]
    assert names(cache) == [f"image-{first.key}", "lock"]
    for path in (first.root, first.kernel, first.initramfs):
        assert path.stat().st_size > 0
    assert (first.suite, first.architecture) == ("trixie", "amd64")


def test_another_suite_or_package_is_another_image(builds: Builds) -> None:
    images = [get(), get("bookworm"), obtain(quietly, packages=("cowsay",))]
    assert len({each.key for each in images}) == 3
    assert builds.recipes[2].packages == tuple(sorted((*standard().packages, "cowsay")))


def test_the_key_does_not_depend_on_where_the_checkout_lies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = standard().key()
    monkeypatch.setattr(recipe, "SEAL", Path(shutil.copy(recipe.SEAL, tmp_path)))
    assert standard().key() == before
    recipe.SEAL.write_text("something else")
    assert standard().key() != before


def test_changed_scripts_need_no_new_image(
    builds: Builds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = get()
    monkeypatch.setattr(initramfs, "GUEST", Path(shutil.copytree(initramfs.GUEST, tmp_path / "guest")))
    (tmp_path / "guest" / "agent.py").write_text("pass\n")
    after = get()
    assert len(builds.recipes) == 1
    assert before.initramfs != after.initramfs
    assert b"pass\n" in after.initramfs.read_bytes()


def test_two_at_once_build_once(builds: Builds) -> None:
    told: list[str] = []

    def wait_for_the_other() -> None:
        end = time.monotonic() + PATIENCE
        while "somebody else is building; waiting" not in told and time.monotonic() < end:
            time.sleep(0.01)

    builds.last_words = wait_for_the_other
    both = [threading.Thread(target=obtain, args=(told.append,)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert sorted(told) == ["building", "somebody else is building; waiting"]
    assert len(builds.recipes) == 1


def test_an_image_is_found_by_its_key(builds: Builds) -> None:
    old = get("bookworm")
    assert image.find(old.key) == old
    with pytest.raises(NotFound, match=r"there is no whole image in .*/image-0"):
        image.find("0")


# --- broken ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["root.squashfs", "kernel", "busybox", "modules/virtio.ko", "modules/order"])
@pytest.mark.parametrize("harm", ["truncated", "other bytes", "gone"])
def test_a_broken_file_is_noticed_and_the_image_built_again(builds: Builds, name: str, harm: str) -> None:
    path = get().place / name
    whole = path.read_bytes()
    if harm == "truncated":
        os.truncate(path, len(whole) - 1)
    elif harm == "other bytes":
        path.write_bytes(whole.swapcase())
    else:
        path.unlink()
    get()
    assert len(builds.recipes) == 2
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "{}", "[", '{"format": 0}', "\0\xff"])
def test_an_image_with_a_broken_record_is_built_again(builds: Builds, text: str) -> None:
    record = get().place / "image.json"
    record.write_bytes(text.encode("latin1"))
    get()
    assert len(builds.recipes) == 2


def test_an_image_that_was_copied_is_read_once_and_kept(
    builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = get().place
    for path in place.rglob("*"):
        os.utime(path, (1, 1))
    read: list[Path] = []

    def counting(path: Path, digest: Callable[[Path], str] = image.digest) -> str:
        read.append(path)
        return digest(path)

    monkeypatch.setattr(image, "digest", counting)
    get()
    assert {path.name for path in read} == {"root.squashfs", "kernel", "busybox", "virtio.ko", "order"}
    get()
    assert len(read) == 5
    assert len(builds.recipes) == 1


# --- cannot be built ---------------------------------------------------------------------------


def test_a_failed_build_leaves_nothing(builds: Builds, cache: Path) -> None:
    def fail() -> None:
        raise OSError(28, os.strerror(28))

    builds.last_words = fail
    with pytest.raises(Error, match=rf"^the image cannot be made in {cache}: No space left on device$"):
        get()
    assert names(cache) == ["lock"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("E: apt-get failed", r"^the image could not be built: no route to the mirror \| apt-get failed$"),
        ("cannot write: No space left on device", "^no space left for a guest's image: .* MB are needed"),
    ],
)
def test_a_failed_program_is_told_in_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: str
) -> None:
    script = f"echo 'I: starting' >&2; echo 'no route to the mirror' >&2; echo '{said}' >&2; exit 1"
    monkeypatch.setattr(Recipe, "command", lambda self, tar, seal=None: ["sh", "-c", script])
    monkeypatch.setattr(
        image_build, "mmdebstrap", lambda command, directory, tell: run_with_files(command, tell=tell)
    )
    monkeypatch.setattr(image_build, "check_machine", lambda directory: None)
    with pytest.raises(Error, match=expected) as failure:
        get()
    assert "\n" not in str(failure.value)
    assert failure.value.hint
    assert names(cache) == ["lock"]


def test_a_tool_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name == "sqfstar" else f"/usr/bin/{name}")
    with pytest.raises(Unsupported) as failure:
        get()
    assert failure.value.hint == "apt-get install squashfs-tools"


def test_a_machine_without_guests_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(Unsupported, match=r"there are no guests for riscv64 machines"):
        get()


def test_arm64_has_its_own_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "linux-image-cloud-arm64" in standard().packages
    assert "linux-image-cloud-amd64" not in standard().packages


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache on a file system that has almost no room."""
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TINY}", "tmpfs", str(place)], check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.requires("root")
def test_a_full_disk_is_noticed_before_the_work(full_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: f"/usr/bin/{name}")
    with pytest.raises(Error, match=rf"^no space left for a guest's image: {full_disk}/.* has [01] MB free"):
        get()


@pytest.mark.requires("root")
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(full_disk: Path, builds: Builds) -> None:
    builds.last_words = lambda: (
        full_disk.joinpath("minicontainer/vm/big").write_bytes(bytes(2 * TINY)) and None
    )
    with pytest.raises(Error, match=r"No space left on device$"):
        get()
    assert names(full_disk / "minicontainer" / "vm") == ["big", "lock"]


@pytest.mark.requires("root", "tool:setpriv", "tool:mmdebstrap", "tool:sqfstar", "tool:newuidmap")
def test_a_user_without_subordinate_ids_gets_one_line(tmp_path: Path) -> None:
    code = "from minicontainer.vm.image import obtain; obtain()"
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    home = Path("/tmp", f"minicontainer-test-{os.getpid()}")  # where pytest's is, nobody may enter
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    try:
        done = subprocess.run(
            [*command, sys.executable, "-B", "-c", code],
            env={"XDG_CACHE_HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(home)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("minicontainer.errors.Unsupported: /etc/subuid gives no subordinate ids to nobody")


# --- killed ------------------------------------------------------------------------------------

KILLED = """
import sys
from minicontainer.image import debian
from minicontainer.vm import image, image_build
from minicontainer.vm.recipe import Recipe
Recipe.command = lambda self, tar, seal=None: ["sh", "-c", "echo $(readlink /proc/self) >&2; exec sleep 1000"]
debian.STAGES = {}
image_build.check_machine = lambda directory: None
start = debian.run_with_files
def run(command, *, tell, **more):
    start(command, tell=lambda line: print("begun", flush=True), **more)
debian.run_with_files = run
image.obtain(lambda line: None)
"""


@pytest.mark.requires("root", "tool:unshare")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_build_leaves_nothing_that_the_next_does_not_sweep(
    cache: Path, builds: Builds, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as build:
        assert build.stdout is not None
        assert build.stdout.readline() == "begun\n"
        started = descendants(build.pid)
        build.send_signal(number)
    assert started
    assert [pid for pid in started if not wait_until_dead(pid)] == []
    get()
    assert [name for name in names(cache) if name.startswith("unfinished")] == []


def descendants(pid: int) -> list[int]:
    """List the children of a process, and theirs."""
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(each for child in children for each in descendants(child))]


# --- given back --------------------------------------------------------------------------------


def test_pruning_keeps_the_current_image_and_those_of_living_nodes(builds: Builds, tmp_path: Path) -> None:
    current, used, gone = get(), get("bookworm"), get("forky")
    node = tmp_path / "node1"
    node.mkdir()
    image_prune.note_use(used, node)
    image_prune.note_use(gone, tmp_path / "deleted")
    removed = image_prune.prune(current.key, quietly)
    assert [each.name for each in removed] == [f"image-{gone.key}"]
    assert removed[0].size > 0
    assert (current.place.exists(), used.place.exists(), gone.place.exists()) == (True, True, False)
    node.rmdir()
    assert [each.name for each in image_prune.prune(current.key, quietly)] == [f"image-{used.key}"]


def test_pruning_removes_old_initramfs_other_qemus_and_what_killed_builds_left(
    builds: Builds, cache: Path
) -> None:
    current = get()
    (current.place / "initramfs-old").write_text("old")
    for name in ("qemu-old/usr", "unfinished-1", "unrelated"):
        (cache / name).mkdir(parents=True)
    removed = [each.name for each in image_prune.prune(current.key, quietly)]
    assert removed == [f"image-{current.key}/initramfs-old", "qemu-old"]
    assert names(cache) == [f"image-{current.key}", "lock", "unrelated"]
    assert get() == current
    assert len(builds.recipes) == 1


def test_pruning_where_nothing_was_ever_built_is_no_error() -> None:
    assert image_prune.prune("0", quietly) == []


# --- the same again ----------------------------------------------------------------------------


@pytest.mark.requires("tool:mmdebstrap", "tool:sqfstar")
@pytest.mark.timeout(1800)
def test_the_same_packages_make_the_same_bytes(tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    """Packages, which take a minute, in `make soak`; else a few files, as old as their making."""
    make_tar = few_files if rounds(1, 2) == 1 else packages
    digests = set()
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        make_tar(place / "tar", number)
        image_build.write_squashfs(standard(), place / "tar", place / "squashfs")
        digests.add(image.digest(place / "squashfs"))
    assert len(digests) == 1


def packages(tar: Path, _number: int) -> None:
    debian.mmdebstrap(standard().command(tar), tar.parent, quietly)


def few_files(tar: Path, number: int) -> None:
    with tarfile.open(tar, "w") as archive:
        for name in ("./", "./usr", "./usr/bin"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode, directory.mtime = tarfile.DIRTYPE, 0o755, time.time() + number
            archive.addfile(directory)
        for name in ("true", "false"):
            with Path("/bin/sh").open("rb") as program:
                archive.addfile(archive.gettarinfo(arcname=f"./usr/bin/{name}", fileobj=program), program)
