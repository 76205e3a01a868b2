"""Images as files: what we save, skopeo, podman and docker load, and we load what they have saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.interop.ours import Minicontainer
from tests.image.interop.tools import Tools
from tests.image.layouts import file, image, layer
from tests.image.trees import Tree
from tests.image.unpackers import unpacking_differences

pytestmark = pytest.mark.requires("root", "peer:skopeo", "peer:umoci", "peer:podman", "peer:dockerd")
NAME, OTHER = "archives.test/sample:1", "archives.test/other:2"


@pytest.fixture
def user(
    make_ours: Callable[..., Minicontainer], tools: Tools, sample: Path, tmp_path: Path
) -> Minicontainer:
    """Give a user whose store has the image with every kind of entry, under two names."""
    found = make_ours()
    archive = tmp_path / "sample.tar"
    tools.skopeo.succeed("copy", "--quiet", f"oci:{sample}:sample", f"oci-archive:{archive}:{NAME}")
    assert found.succeed("load", "-i", archive) == f"Loaded image: {NAME}"
    found.succeed("tag", NAME, OTHER)
    return found


@pytest.fixture
def saved(user: Minicontainer, tmp_path: Path) -> Path:
    """Give an archive of one image with one name."""
    user.succeed("save", "-o", tmp_path / "saved.tar", NAME)
    return tmp_path / "saved.tar"


def image_id(user: Minicontainer) -> str:
    return user.succeed("image", "inspect", "-f", "{{.Id}}", NAME)


@pytest.mark.parametrize("transport", ["docker-archive:{}", "oci-archive:{}"])
def test_skopeo_reads_our_archive_as_either(
    transport: str, tools: Tools, user: Minicontainer, saved: Path, tmp_path: Path
) -> None:
    copy = f"oci:{tmp_path}/copy:x"
    tools.skopeo.succeed("copy", "--quiet", transport.format(saved), copy)
    config = json.loads(tools.skopeo.succeed("inspect", "--config", "--raw", copy))
    assert config == json.loads(user.store.path(image_id(user)).read_text())


def test_podman_loads_our_archive_with_all_its_names(
    tools: Tools, user: Minicontainer, tmp_path: Path
) -> None:
    user.succeed("save", "-o", tmp_path / "saved.tar", NAME, OTHER)
    said = tools.podman.succeed("load", "--quiet", "-i", tmp_path / "saved.tar")
    assert sorted(said.splitlines()) == [f"Loaded image: {OTHER}", f"Loaded image: {NAME}"]
    assert f"sha256:{tools.podman.succeed('image', 'inspect', '-f', '{{.Id}}', NAME)}" == image_id(user)


def test_docker_loads_our_archive_with_all_its_names(
    tools: Tools, user: Minicontainer, tmp_path: Path
) -> None:
    user.succeed("save", "-o", tmp_path / "saved.tar", NAME, OTHER)
    said = tools.docker.succeed("load", "-i", tmp_path / "saved.tar")
    assert sorted(said.splitlines()) == [f"Loaded image: {OTHER}", f"Loaded image: {NAME}"]
    assert tools.docker.succeed("image", "inspect", "-f", "{{.Id}}", NAME) == image_id(user)


def by_docker(tools: Tools, archive: Path) -> None:
    tools.docker.succeed("save", "-o", archive, NAME)


def by_podman(tools: Tools, archive: Path) -> None:
    tools.podman.succeed("save", "--quiet", "-o", archive, NAME)


def by_podman_for_the_oci(tools: Tools, archive: Path) -> None:
    tools.podman.succeed("save", "--quiet", "--format", "oci-archive", "-o", archive, NAME)


@pytest.mark.parametrize("save", [by_docker, by_podman, by_podman_for_the_oci])
def test_what_others_have_saved_we_load(
    save: Callable[[Tools, Path], None],
    tools: Tools,
    user: Minicontainer,
    saved: Path,
    make_ours: Callable[..., Minicontainer],
    sample_tree: tuple[Tree, int],
) -> None:
    (tools.docker if save is by_docker else tools.podman).succeed("load", "-i", saved)
    theirs = saved.with_name("theirs.tar")
    save(tools, theirs)
    other = make_ours()
    assert other.succeed("load", "-i", theirs) == f"Loaded image: {NAME}"
    assert image_id(other) == image_id(user)
    assert not unpacking_differences(other.tree(NAME), *sample_tree)
    assert not other.problems()


CONFIG = {
    "created": "2020-01-31T12:00:00.5Z",
    "author": "tests",
    "config": {"Env": ["PATH=/bin", "A=<1>"], "Cmd": ["sh"], "Labels": {"b": "2", "a.b": "1"}, "User": "1:2"},
    "history": [
        {"created": "2020-01-31T12:00:00Z", "created_by": "ADD file in /"},
        {
            "created": "2020-01-31T12:00:00.5Z",
            "created_by": "RUN\ttouch x " + "and more " * 9,
            "comment": "c",
        },
        {"created": "2020-01-31T12:00:00.5Z", "created_by": 'CMD ["sh"]', "empty_layer": True},
    ],
}
QUESTIONS = [
    ("image", "inspect", "-f", "{{.Id}} {{.Os}}/{{.Architecture}} {{json .RootFS}} {{.RepoTags}}"),
    ("image", "inspect", "-f", '{{range .RootFS.Layers}}{{println .}}{{end}}{{join .RepoTags ","}}'),
    (
        "image",
        "inspect",
        "-f",
        "{{.Config.Env}} {{len .RootFS.Layers}} {{index .RepoTags 0}} {{.Config.User}}",
    ),
    ("image", "inspect", "-f", '{{.Config.Labels}} {{json .Config.Labels}} {{index .Config.Labels "a.b"}}'),
    ("image", "inspect", "-f", "{{range $k, $v := .Config.Labels}}{{$k}}={{$v | upper}} {{else}}none{{end}}"),
    (
        "image",
        "inspect",
        "-f",
        '{{if eq .Os "linux"}}yes{{else}}no{{end}} {{.Author}} {{with .Config}}{{.Cmd}}{{end}}',
    ),
    ("history", "--format", "{{.ID}} {{.CreatedBy}}|{{.Comment}}"),
    ("history", "--format", "table {{.CreatedBy}}\\t{{.ID}}\\t{{.Comment}}"),
    ("history", "--no-trunc", "--format", "{{.CreatedBy}} {{.CreatedSince}}"),
    ("history", "-q", "--no-trunc"),
]
LISTS = [
    ("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.CreatedSince}}"),
    ("images", "--no-trunc", "--format", "table {{.Tag}}\\t{{.Repository}}\\t{{.ID}}\\t{{.CreatedAt}}"),
    ("images", "--format", "table {{.ID}}"),
    ("images", "-q", "--filter", "label=a.b=1"),
    ("images", "-q", "--filter", "label=a.b=2"),
    ("images", "--filter", "reference=archives.test/d*:1", "--format", "{{json .Tag}}"),
]


def test_docker_and_we_say_the_same_of_an_image(
    tools: Tools, make_ours: Callable[..., Minicontainer], tmp_path: Path
) -> None:
    layers = [layer([file("one", b"1")]), layer([file("two", b"2")])]
    described = image(layers, name="archives.test/described:1", config=lambda config: config.update(CONFIG))
    ours = make_ours()
    ours.succeed("load", "-i", described.archive(tmp_path / "described.tar"))
    ours.succeed("save", "-o", tmp_path / "saved.tar", "archives.test/described")
    tools.docker.succeed("load", "-i", tmp_path / "saved.tar")
    for words in QUESTIONS:
        name = "archives.test/described:1"
        assert ours.succeed(*words, name) == tools.docker.succeed(*words, name), words
    for words in LISTS:
        name = "archives.test/described"
        assert ours.succeed(*words, name) == tools.docker.succeed(*words, name), words
