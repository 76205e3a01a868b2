"""`image inspect`, `history` and `tag`: what an image says of itself, and its names."""

from __future__ import annotations

import json

import pytest

from minicontainer.cli.image_format import short_id
from minicontainer.image.store.names import names
from minicontainer.image.store.store import Store
from tests.cli.conftest import Command
from tests.cli.images import DAY, ago, image_id, put
from tests.image.layouts import digest_of

CONFIG = {
    "Env": ["PATH=/bin", "A=1"],
    "Cmd": ["sh"],
    "Labels": {"org.a": "1"},
    "ExposedPorts": {"80/tcp": {}},
}
HISTORY = [
    {"created_by": "ADD rootfs.tar /", "created": "2020-01-31T12:00:00Z"},
    {"created_by": 'CMD ["sh"]', "empty_layer": True},
    {"created_by": "RUN\techo a long line that goes on for more than 45 signs", "comment": "buildkit"},
]


def test_inspect_shows_dockers_members(store: Store, command: Command) -> None:
    manifest = put(
        store, "busybox", "registry.test/b:1", created="2020-01-31T12:00:00Z", author="us", config=CONFIG
    )
    [shown] = json.loads(command("image", "inspect", "busybox").out)
    [diff_id] = shown["RootFS"]["Layers"]
    assert shown == {
        "Id": image_id(store, manifest),
        "RepoTags": ["busybox:latest", "registry.test/b:1"],
        "RepoDigests": [f"busybox@{manifest.digest}", f"registry.test/b@{manifest.digest}"],
        "Comment": "",
        "Created": "2020-01-31T12:00:00Z",
        "Author": "us",
        "Architecture": "amd64",
        "Os": "linux",
        "Size": 106,
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "Config": {
            "User": "",
            "Volumes": None,
            "WorkingDir": "",
            "Entrypoint": None,
            "OnBuild": None,
            "Healthcheck": None,
            "Shell": None,
            "StopSignal": "",
            **CONFIG,
        },
        "RootFS": {"Type": "layers", "Layers": [diff_id]},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "Descriptor": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest.digest,
            "size": manifest.size,
        },
    }


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{.Os}}/{{.Architecture}}", "linux/amd64"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "PATH=/bin\nA=1\n"),
        ('{{index .Config.Labels "org.a"}}', "1"),
        ("{{json .Config.Cmd}}", '["sh"]'),
        ('{{join .RepoTags " "}}', "busybox:latest"),
        ("{{.Config.Entrypoint}}", "<no value>"),
    ],
)
def test_inspect_answers_a_template(template: str, shown: str, store: Store, command: Command) -> None:
    put(store, "busybox", config=CONFIG)
    assert command("image", "inspect", "-f", template, "busybox").out == f"{shown}\n"


def test_what_is_not_there_does_not_keep_the_others_from_being_shown(store: Store, command: Command) -> None:
    put(store, "busybox")
    said = command("image", "inspect", "nope", "busybox", "--format", "{{.RepoTags}}")
    assert (said.code, said.out) == (1, "[busybox:latest]\n")
    assert said.err == "minicontainer: no such image: nope\nhint: minicontainer pull nope\n"
    assert command("image", "inspect", "nope").out == "[]\n"


def test_unpacked_layers_are_where_inspect_says(store: Store, command: Command) -> None:
    put(store, "busybox", words=("one", "two"))
    lower, upper = command("image", "inspect", "-f", '{{join .RootFS.Layers " "}}', "busybox").out.split()
    for layer in (lower, upper):
        (store.layer(layer) / "diff").mkdir(parents=True)
        (store.layer(layer) / "layer.json").write_text('{"size": 1, "entries": 1, "implied": []}')
    shown = command("image", "inspect", "-f", "{{.GraphDriver.Data.LowerDir}}", "busybox").out
    assert shown == f"{store.layer(upper)}/diff:{store.layer(lower)}/diff\n"


# --- history ---------------------------------------------------------------------------------------


def test_history_shows_the_last_step_first(store: Store, command: Command) -> None:
    history = [{**HISTORY[0], "created": ago(15 * DAY)}, *HISTORY[1:]]
    id_ = image_id(store, put(store, "busybox", words=("one", "two"), history=history))
    assert command("history", "busybox").out == (
        "IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT\n"
        f"{short_id(id_)}   "
        "N/A           RUN echo a long line that goes on for more t…   106B      buildkit\n"
        '<missing>      N/A           CMD ["sh"]                                      0B        \n'
        "<missing>      2 weeks ago   ADD rootfs.tar /                                106B      \n"
    )


def test_history_is_exact_if_asked_for(store: Store, command: Command) -> None:
    id_ = image_id(store, put(store, "busybox", words=("one", "two"), history=HISTORY))
    said = command("history", "--no-trunc", "--human=false", "busybox")
    top, _, first = said.out.splitlines()[1:]
    assert top.split("   ")[0] == id_
    assert "RUN echo a long line that goes on for more than 45 signs" in top
    assert first.split() == ["<missing>", "2020-01-31T12:00:00+00:00", "ADD", "rootfs.tar", "/", "106"]
    assert command("history", "-q", "busybox").out == f"{short_id(id_)}\n<missing>\n<missing>\n"
    assert command("history", "busybox", "--format", "{{.ID}} {{.Comment}}").out.startswith(
        f"{short_id(id_)} buildkit\n"
    )


def test_layers_of_which_the_history_says_nothing_are_shown_too(store: Store, command: Command) -> None:
    put(store, "busybox", words=("one", "two"))
    assert command("history", "--format", "{{.Size}}", "busybox").out == "106B\n106B\n"


def test_what_steers_a_terminal_is_shown_and_not_done(store: Store, command: Command) -> None:
    put(store, "busybox", history=[{"created_by": "\x1b[2J", "comment": "a\nb"}])
    shown = command("history", "--format", "{{.CreatedBy}} {{.Comment}}", "busybox").out
    assert shown == "\\x1b[2J a\\nb\n"


@pytest.mark.parametrize("given", ["maybe", "2"])
def test_a_switch_is_true_or_false(given: str, store: Store, command: Command) -> None:
    put(store, "busybox")
    said = command("history", f"--human={given}", "busybox")
    assert said.err == f"minicontainer: --human: {given!r} is neither true nor false\n"


# --- tag -------------------------------------------------------------------------------------------


def test_a_tag_is_one_more_name(store: Store, command: Command) -> None:
    manifest = put(store, "busybox")
    assert command("tag", "busybox", "registry.test:5000/b").code == 0
    assert command("image", "tag", image_id(store, manifest)[7:15], "c:2").code == 0
    assert {name: each.descriptor.digest for name, each in names(store).items()} == dict.fromkeys(
        ("docker.io/library/busybox:latest", "registry.test:5000/b:latest", "docker.io/library/c:2"),
        manifest.digest,
    )


def test_a_tag_is_taken_from_whoever_had_it(store: Store, command: Command) -> None:
    put(store, "busybox")
    other = put(store, "other", words=("two",))
    assert command("tag", "other", "busybox").code == 0
    assert names(store)["docker.io/library/busybox:latest"].descriptor.digest == other.digest


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        ("nope", "b", "no such image: nope"),
        ("busybox", f"b@{digest_of(b'')}", "refusing to create a tag with a digest reference"),
        ("busybox", "B", "repository name (library/B) must be lowercase"),
        ("busybox", "b:", "invalid reference format"),
    ],
)
def test_a_tag_that_cannot_be_is_refused(
    source: str, target: str, problem: str, store: Store, command: Command
) -> None:
    put(store, "busybox")
    said = command("tag", source, target)
    assert said.code == 1
    assert problem in said.err
