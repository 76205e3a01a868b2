"""A newer QEMU in the cache: only what is wanted of its packages, started by its own loader, or why not."""

from __future__ import annotations

import io
import platform
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from minicontainer.errors import Error, Unsupported
from minicontainer.linux.long_programs import ProgramFailedError
from minicontainer.vm import qemu_newer
from minicontainer.vm.qemu_newer import command

LIBRARIES = "usr/lib/x86_64-linux-gnu"
FILES = {
    "./usr/bin/qemu-system-x86_64": 0o755,
    "./usr/bin/perl": 0o755,
    f"./{LIBRARIES}/ld-linux-x86-64.so.2": 0o755,
    f"./{LIBRARIES}/libc.so.6": 0o644,
    "./usr/libexec/virtiofsd": 0o755,
    "./usr/share/qemu/bios.bin": 0o644,
    "./usr/share/doc/qemu/README": 0o644,
    f"./{LIBRARIES}/../../../../outside": 0o644,
}


def packages(tar: Path) -> None:
    """Write what mmdebstrap would."""
    with tarfile.open(tar, "w") as archive:
        for name, mode in FILES.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid = len(name), mode, 1234
            archive.addfile(member, io.BytesIO(name.encode()))
        link = tarfile.TarInfo(f"./{LIBRARIES}/libz.so.1")
        link.type, link.linkname = tarfile.SYMTYPE, "libz.so.1.3"
        archive.addfile(link)


class Fetches:
    """Stands in for mmdebstrap."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.last_words: Callable[[], None] = lambda: None

    def mmdebstrap(self, words: list[str], directory: Path, tell: object) -> None:
        """Write the packages."""
        self.commands.append(words)
        assert Path(words[-1]).parent == directory
        packages(Path(words[-1]))
        self.last_words()


@pytest.fixture(autouse=True)
def fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetches:
    """Count what is fetched, into a cache of one's own."""
    fake = Fetches()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(qemu_newer, "LIBRARIES", LIBRARIES)
    monkeypatch.setattr(qemu_newer, "WANTED", (f"{LIBRARIES}/", *qemu_newer.WANTED))
    monkeypatch.setattr(qemu_newer, "mmdebstrap", fake.mmdebstrap)
    monkeypatch.setattr(shutil, "which", lambda name, path: f"/usr/bin/{name}")
    return fake


def quietly(_line: str) -> None:
    """Tell nobody."""


def test_a_system_is_started_by_its_own_loader_with_its_own_data() -> None:
    words = command("qemu-system-x86_64", quietly)
    tree = qemu_newer.tree()
    assert words == [
        str(tree / LIBRARIES / "ld-linux-x86-64.so.2"),
        *("--library-path", str(tree / LIBRARIES)),
        str(tree / "usr/bin/qemu-system-x86_64"),
        *("-L", str(tree / "usr/share/qemu")),
    ]
    assert [word for word in words if word.startswith("/") and not Path(word).exists()] == []


def test_virtiofsd_comes_along_and_has_no_data() -> None:
    assert command("virtiofsd", quietly)[-1] == str(qemu_newer.tree() / "usr/libexec/virtiofsd")


def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    command("virtiofsd", quietly)
    tree = qemu_newer.tree()
    found = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir())
    assert found == sorted(
        [
            *(f"{LIBRARIES}/{name}" for name in ("ld-linux-x86-64.so.2", "libc.so.6", "libz.so.1")),
            *("usr/bin/qemu-system-x86_64", "usr/libexec/virtiofsd", "usr/share/qemu/bios.bin"),
        ]
    )
    assert (tree / LIBRARIES / "libz.so.1").readlink() == Path("libz.so.1.3")
    assert (tree / "usr/bin/qemu-system-x86_64").stat().st_mode & 0o777 == 0o755
    assert (tree / "usr/share/qemu/bios.bin").stat().st_mode & 0o777 == 0o644


def test_it_is_fetched_once(fetches: Fetches) -> None:
    for name in ("qemu-system-x86_64", "virtiofsd"):
        command(name, quietly)
    assert len(fetches.commands) == 1
    assert "--variant=extract" in fetches.commands[0]
    assert "--include=qemu-system-x86,virtiofsd" in fetches.commands[0]


def test_a_program_that_it_does_not_have_is_named() -> None:
    with pytest.raises(
        Unsupported, match=r"^Debian's qemu-system-x86 and virtiofsd have no qemu-system-vax$"
    ):
        command("qemu-system-vax", quietly)


def test_a_failure_is_one_line_and_leaves_nothing(fetches: Fetches) -> None:
    def fail() -> None:
        raise ProgramFailedError(["mmdebstrap"], 25, ["I: beginning", "E: no such mirror"])

    fetches.last_words = fail
    with pytest.raises(Error, match=r"^QEMU could not be unpacked: no such mirror$"):
        command("virtiofsd", quietly)
    assert [path.name for path in qemu_newer.tree().parent.iterdir()] == ["lock"]


def test_without_mmdebstrap_the_hint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(Unsupported, match=r"mmdebstrap, .* is not installed") as failure:
        command("virtiofsd", quietly)
    assert failure.value.hint == "apt-get install mmdebstrap"


def test_a_full_disk_is_noticed_before_the_work(fetches: Fetches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_newer, "ROOM", 1 << 62)
    with pytest.raises(Error, match=r"^no space left for QEMU in "):
        command("virtiofsd", quietly)
    assert fetches.commands == []
