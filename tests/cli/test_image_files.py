"""`save` and `load`: images to files and back, whole or not at all."""

from __future__ import annotations

import gzip
import json
import subprocess
import sysconfig
import tarfile
from pathlib import Path

import pytest

from minicontainer.cli.image_format import short_id
from minicontainer.image.store.checking import check
from minicontainer.image.store.names import names
from minicontainer.image.store.store import Store
from minicontainer.oci.image import OCI_INDEX
from tests.cli.conftest import Command
from tests.cli.images import image_id, put
from tests.cli.screen import on_terminal
from tests.image.layouts import NAME, Layout, file, image, layer, plain

PROGRAM = Path(sysconfig.get_path("scripts"), "minicontainer")
SAMPLE = [layer([file("etc/one", b"1", uid=12, gid=34)]), layer([file("etc/two", b"2")], plain)]


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar_file:
        listed = tar_file.extractfile("manifest.json")
        assert listed
        return [name for each in json.loads(listed.read()) for name in each["RepoTags"]]


def everything(store: Store) -> list[str]:
    """List all that is in the store, but for its locks."""
    found = [str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.name[-4:] != "lock"]
    return sorted(found)


# --- save ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "saved"),
    [
        (["busybox:1"], ["busybox:1"]),
        (["busybox"], ["busybox:1", "busybox:latest"]),
        (["busybox:1", "team/web", "busybox:1"], ["busybox:1", "team/web:latest"]),
        (["ID"], []),
        (["ID", "busybox:latest"], ["busybox:latest"]),
    ],
)
def test_images_are_saved_under_the_names_that_were_given(
    words: list[str], saved: list[str], store: Store, command: Command, tmp_path: Path
) -> None:
    id_ = image_id(store, put(store, "busybox:1", "busybox"))
    put(store, "team/web", words=("two",))
    words = [short_id(id_) if word == "ID" else word for word in words]
    assert command("save", *words, "-o", tmp_path / "a.tar").code == 0
    assert sorted(names_in(tmp_path / "a.tar")) == sorted(f"docker.io/{name}" for name in qualified(saved))


def qualified(saved: list[str]) -> list[str]:
    return [name if "/" in name else f"library/{name}" for name in saved]


def test_a_file_is_written_whole_and_for_its_owner(store: Store, command: Command, tmp_path: Path) -> None:
    manifest = put(store, "busybox")
    target = tmp_path / "out" / "a.tar"
    target.parent.mkdir()
    target.write_text("before")
    assert command("save", "-o", target, "busybox").code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    whole = target.read_bytes()
    layer_blob = store.path(json.loads(store.read(manifest))["layers"][0]["digest"])
    layer_blob.write_bytes(layer_blob.read_bytes()[::-1])
    said = command("save", "-o", target, "busybox")
    assert said.code == 1
    assert "is damaged in the image store" in said.err
    assert target.read_bytes() == whole
    assert [*target.parent.iterdir()] == [target]


def test_standard_output_gets_the_same_bytes_as_a_file(
    store: Store, command: Command, tmp_path: Path
) -> None:
    put(store, "busybox")
    command("save", "-o", tmp_path / "a.tar", "busybox")
    out = command("save", "busybox").out.encode(errors="surrogateescape")
    assert out == (tmp_path / "a.tar").read_bytes()
    assert command("save", "-o", "/dev/null", "busybox").code == 0
    assert Path("/dev/null").is_char_device()


def test_a_terminal_gets_nothing(store: Store) -> None:
    put(store, "busybox")
    code, screen = on_terminal([str(PROGRAM), "save", "busybox"], 120, 24)
    assert code == 1
    assert screen.shown() == [
        "minicontainer: cowardly refusing to save to a terminal. Use the -o flag or redirect"
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["busybox", "nope"], "no such image: nope"),
        (["busybox", "-o", "/no/such/file"], "cannot write /no/such/file: No such file or directory"),
        (["busybox", "--format", "zip"], "--format zip: there is docker-archive and oci-archive"),
    ],
)
def test_what_cannot_be_saved_is_said(words: list[str], problem: str, store: Store, command: Command) -> None:
    put(store, "busybox")
    said = command("save", *words)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"minicontainer: {problem}\n")


# --- load ------------------------------------------------------------------------------------------


@pytest.mark.requires("root")
@pytest.mark.parametrize("how", ["file", "directory", "gzip"])
def test_an_image_is_loaded_with_its_layers_unpacked(
    how: str, store: Store, command: Command, tmp_path: Path
) -> None:
    layout = image(SAMPLE, name="busybox:1")
    given = layout.write(tmp_path / "layout") if how == "directory" else layout.archive(tmp_path / "a.tar")
    if how == "gzip":
        given.write_bytes(gzip.compress(given.read_bytes()))
    said = command("load", "-i", given)
    assert (said.code, said.out, said.err) == (0, "Loaded image: busybox:1\n", "")
    made = store.layer(SAMPLE[0].diff_id) / "diff/etc/one"
    assert (made.read_bytes(), made.stat().st_uid, made.stat().st_gid) == (b"1", 12, 34)
    assert check(store) == []
    assert [*store.ingests.iterdir()] == []
    before = everything(store)
    assert command("load", "-i", given).out == "Loaded image: busybox:1\n"
    assert everything(store) == before


@pytest.mark.requires("root")
@pytest.mark.parametrize("docker", ["docker-archive", "oci-archive"])
def test_what_was_saved_is_loaded_again_digest_for_digest(
    docker: str, store: Store, command: Command, tmp_path: Path
) -> None:
    command("load", "-i", image(SAMPLE, name="busybox:1").archive(tmp_path / "first.tar"))
    command("tag", "busybox:1", "registry.test:5000/team/web:2")
    before = {name: each.descriptor for name, each in names(store).items()}
    names_given = ["busybox:1", "registry.test:5000/team/web:2"]
    assert command("save", "--format", docker, *names_given, "-o", tmp_path / "a.tar").code == 0
    assert command("rmi", "-f", *names_given).code == 0
    assert names(store) == {}
    said = command("load", "-i", tmp_path / "a.tar")
    assert said.out == "Loaded image: busybox:1\nLoaded image: registry.test:5000/team/web:2\n"
    assert {name: each.descriptor for name, each in names(store).items()} == before
    assert check(store) == []


@pytest.mark.requires("root")
def test_an_image_without_a_name_is_told_by_its_id(store: Store, command: Command, tmp_path: Path) -> None:
    layout = image(SAMPLE, index=lambda index: index["manifests"][0].pop("annotations"))
    said = command("load", "-i", layout.archive(tmp_path / "a.tar"))
    id_ = said.out.removeprefix("Loaded image ID: ").strip()
    shown = command("images", "--no-trunc", "--format", "{{.Repository}} {{.Tag}} {{.ID}}").out
    assert shown == f"localhost/loaded <none> {id_}\n"
    assert f"Deleted: {id_}\n" in command("rmi", id_).out
    assert names(store) == {}


@pytest.mark.requires("root")
def test_the_image_for_the_platform_is_loaded(store: Store, command: Command, tmp_path: Path) -> None:
    layout = Layout()
    entries = []
    for architecture in ("amd64", "riscv64"):
        found = layout.add_image(
            [layer([file("which", architecture.encode())])],
            config=lambda config, name=architecture: config.update(architecture=name),
        )
        entries.append({**found, "platform": {"os": "linux", "architecture": architecture}})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    layout.name(layout.add(json.dumps(index).encode(), OCI_INDEX), "busybox")
    given = layout.archive(tmp_path / "a.tar")
    assert command("load", "-i", given, "--platform", "linux/riscv64").code == 0
    assert command("image", "inspect", "-f", "{{.Architecture}}", "busybox").out == "riscv64\n"
    said = command("load", "-i", given, "--platform", "linux/s390x")
    assert said.code == 1
    assert "no image for linux/s390x, only for linux/amd64, linux/riscv64" in said.err


@pytest.mark.requires("root")
def test_standard_input_is_read(store: Store, tmp_path: Path) -> None:
    given = image(SAMPLE, name="busybox:1").archive(tmp_path / "a.tar")
    for program in (["cat"], ["gzip", "-c"]):  # what comes through a pipe
        with subprocess.Popen([*program, given], stdout=subprocess.PIPE) as sender:
            done = subprocess.run([PROGRAM, "load"], stdin=sender.stdout, capture_output=True, check=True)
        assert done.stdout == b"Loaded image: busybox:1\n"
    with given.open("rb") as file_itself:
        done = subprocess.run([PROGRAM, "load", "-q"], stdin=file_itself, capture_output=True, check=True)
    assert done.stdout == b"Loaded image: busybox:1\n"


@pytest.mark.requires("root")
def test_on_a_terminal_the_layers_are_shown(store: Store, tmp_path: Path) -> None:
    given = image(SAMPLE, name="busybox:1").archive(tmp_path / "a.tar")
    code, screen = on_terminal([str(PROGRAM), "load", "-i", str(given)], 80, 24)
    assert code == 0
    assert "Loading" in screen.history
    shown = [line.partition(": ")[2] for line in screen.shown()]
    assert shown == ["Loaded", "Loaded", "busybox:1"]


def test_a_terminal_is_not_waited_for(store: Store) -> None:
    code, screen = on_terminal([str(PROGRAM), "load"], 100, 24)
    assert code == 1
    assert screen.shown()[0] == "minicontainer: requested load from stdin, but stdin is empty"


def broken(how: str) -> Layout:
    """Make an image that is wrong in one way."""
    bad = layer([file("../escape", b"x")])
    layout = image([SAMPLE[0], bad if how == "entry" else SAMPLE[1]], name="busybox:1")
    digest = SAMPLE[1].diff_id
    if how == "content":
        layout.blobs[digest] = layout.blobs[digest].replace(b"2", b"3")
    if how == "longer":
        layout.blobs[digest] += b"more"
    if how == "missing":
        del layout.blobs[digest]
    return layout


@pytest.mark.requires("root")
@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("entry", "../escape"),
        ("content", SAMPLE[1].diff_id),
        ("longer", SAMPLE[1].diff_id),
        ("missing", f"{SAMPLE[1].diff_id} is not in the archive"),
    ],
)
def test_of_a_broken_image_nothing_stays(
    how: str, problem: str, store: Store, command: Command, tmp_path: Path
) -> None:
    before = everything(store)
    said = command("load", "-i", broken(how).archive(tmp_path / "a.tar"))
    assert (said.code, said.out) == (1, "")
    assert problem in said.err
    assert "Traceback" not in said.err
    assert everything(store) == before


@pytest.mark.requires("root")
def test_what_came_before_a_broken_image_stays(store: Store, command: Command, tmp_path: Path) -> None:
    layout = image([SAMPLE[0]], name="good:1")
    bad = layout.add_image([layer([file("../escape", b"x")])])
    index = json.loads(layout.index)
    index["manifests"].append({**bad, "annotations": {NAME: "bad:1"}})
    layout.index = json.dumps(index).encode()
    said = command("load", "-i", layout.archive(tmp_path / "a.tar"))
    assert (said.code, said.out) == (1, "Loaded image: good:1\n")
    assert [*names(store)] == ["docker.io/library/good:1"]
    assert check(store) == []
