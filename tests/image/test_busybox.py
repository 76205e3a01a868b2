"""The image busybox: built from what Debian installs, once, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minicontainer.errors import Error, NotFound, Unsupported
from minicontainer.image import building, busybox

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.requires("tool:busybox")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(busybox, "store", lambda: str(tmp_path / "store"))
    return tmp_path / "store"


def test_the_image_holds_a_shell_and_all_names_of_busybox(store: Path) -> None:
    root = Path(busybox.root_file_system())
    assert root.parent == store
    names = subprocess.run(
        [root / "bin/busybox", "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {path.name for path in (root / "bin").iterdir()} == set(names) | {"busybox"}
    assert (root / "bin/sh").readlink() == Path("busybox")
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert all((root / name).is_dir() for name in ("proc", "sys", "dev", "etc", "root", "usr/bin"))
    assert "root:x:0:0:" in (root / "etc/passwd").read_text()


def test_it_is_built_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = busybox.root_file_system()
    monkeypatch.setattr(building, "build", lambda *_: pytest.fail("built again"))
    assert busybox.root_file_system() == first


def test_another_busybox_makes_another_image(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = busybox.root_file_system()
    copy = store / "copy"
    copy.write_bytes(Path(busybox.BUSYBOX).read_bytes())
    copy.chmod(0o755)
    monkeypatch.setattr(busybox, "BUSYBOX", str(copy))
    assert busybox.root_file_system() != first
    assert Path(first).is_dir()


def test_several_that_build_at_once_all_get_the_whole_image(store: Path) -> None:
    program = (
        f"from minicontainer.image import busybox; busybox.store = lambda: {str(store)!r}; "
        "print(busybox.root_file_system())"
    )
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, text=True, stdout=subprocess.PIPE, cwd=CHECKOUT) for _ in range(3)]
    found = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(found) == 1
    assert [str(path) for path in store.iterdir()] == list(found)


def test_without_busybox_the_hint_says_what_to_install(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busybox, "BUSYBOX", "/no/such/busybox")
    with pytest.raises(NotFound, match="/no/such/busybox is missing") as caught:
        busybox.root_file_system()
    assert caught.value.hint == "apt-get install busybox-static"


def test_a_busybox_that_needs_libraries_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busybox, "BUSYBOX", "/bin/sh")
    with pytest.raises(Unsupported, match="needs shared libraries"):
        busybox.root_file_system()
    assert not store.exists()


def test_a_recipe_that_fails_leaves_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "build"
    recipe.write_text("mkdir $1; exit 3")
    monkeypatch.setattr(busybox, "find_recipe", lambda: str(recipe))
    with pytest.raises(Error, match="failed with 3"):
        busybox.root_file_system()
    assert list(store.iterdir()) == []


def test_a_text_is_no_static_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("#!/bin/sh\n")
    assert not building.is_static(tmp_path / "text")
    assert building.is_static(Path(busybox.BUSYBOX))
