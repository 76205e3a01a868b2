"""The toolkit's tar: all that git would track and nothing else, the same bytes for the same files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from minicontainer.errors import NotFound
from minicontainer.vm import toolkit
from minicontainer.vm.toolkit import pack

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of few files."""
    place = tmp_path / "checkout"
    for name in (
        "minicontainer/a.py",
        "minicontainer/__pycache__/a.pyc",
        "tests/t.py",
        "pyproject.toml",
        ".venv/v",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
    (place / "run").write_text("#!/bin/sh\n")
    (place / "run").chmod(0o755)
    (place / "link").symlink_to("run")
    monkeypatch.setattr(toolkit, "PACKAGE", place / "minicontainer")
    return place


def names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


@pytest.mark.requires("tool:git")
def test_it_has_what_git_would_track(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    tracked = {name for name in listed.split("\0") if name and (CHECKOUT / name).exists()}
    pack(tmp_path / "tar", tests=True)
    packed = set(names(tmp_path / "tar")) - {toolkit.MARK}
    assert packed == tracked


def test_without_tests_it_has_the_package_and_the_images(tmp_path: Path) -> None:
    pack(tmp_path / "tar", tests=False)
    found = names(tmp_path / "tar")
    assert {name.split("/")[0] for name in found} == {toolkit.MARK, "minicontainer", "images"}
    assert {"minicontainer/launcher.sh", "minicontainer/vm/guest/agent.py", "images/busybox/build"} <= set(
        found
    )


def test_caches_and_environments_stay_here(small: Path, tmp_path: Path) -> None:
    pack(tmp_path / "tar", tests=True)
    assert names(tmp_path / "tar") == [
        ".toolkit", "link", "minicontainer/a.py", "pyproject.toml", "run", "tests/t.py"
    ]  # fmt: skip


def test_links_modes_and_contents_are_kept(small: Path, tmp_path: Path) -> None:
    pack(tmp_path / "tar", tests=True)
    with tarfile.open(tmp_path / "tar") as tar:
        assert tar.getmember("link").linkname == "run"
        assert tar.getmember("run").mode == 0o755
        assert tar.getmember("tests/t.py").mode == 0o644
        assert tar.extractfile("tests/t.py").read() == b"tests/t.py"


def test_the_same_files_make_the_same_bytes_whatever_their_age(small: Path, tmp_path: Path) -> None:
    first = pack(tmp_path / "one", tests=True)
    os.utime(small / "run", (1, 1))
    (small / "tests" / "t.py").chmod(0o600)  # another umask
    assert pack(tmp_path / "two", tests=True) == first
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("change", ["content", "mode", "name", "link"])
def test_a_change_changes_the_digest_and_the_mark(small: Path, tmp_path: Path, change: str) -> None:
    first, mark = pack(tmp_path / "tar", tests=True), mark_of(tmp_path / "tar")
    if change == "content":
        (small / "run").write_text("#!/bin/sh\n:\n")
    elif change == "mode":
        (small / "run").chmod(0o644)
    elif change == "name":
        (small / "run").rename(small / "walk")
    else:
        (small / "link").unlink()
        (small / "link").symlink_to("tests")
    assert pack(tmp_path / "tar", tests=True) != first
    assert mark_of(tmp_path / "tar") != mark


def mark_of(path: Path) -> str:
    """Read the mark as the guest does: the second block of the disk."""
    return path.read_bytes()[512:1024].rstrip(b"\0").decode()


def test_it_is_a_disk_and_the_digest_is_its_own(small: Path, tmp_path: Path) -> None:
    digest = pack(tmp_path / "tar", tests=True)
    data = (tmp_path / "tar").read_bytes()
    assert len(data) % 512 == 0
    assert digest == hashlib.sha256(data).hexdigest()
    with tarfile.open(tmp_path / "tar") as tar:
        assert tar.extractfile(toolkit.MARK).read().decode() == mark_of(tmp_path / "tar")


def test_an_installation_without_tests_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolkit, "PACKAGE", tmp_path / "minicontainer")
    with pytest.raises(NotFound, match="this installation has no tests"):
        pack(tmp_path / "tar", tests=True)
    assert list(tmp_path.iterdir()) == []
