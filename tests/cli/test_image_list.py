"""`minicontainer images`: the table, whole; what it can be asked for; which images are shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.cli.image_format import short_id
from minicontainer.image.store.names import Named, set_name
from minicontainer.image.store.store import Store
from tests.cli.conftest import Command
from tests.cli.images import DAY, ago, image_id, put
from tests.image.layouts import digest_of

HEAD = "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"


def short(store: Store, *names: str, **config: object) -> str:
    return short_id(image_id(store, put(store, *names, **config)))  # type: ignore[arg-type]


def test_images_are_listed_newest_first(store: Store, command: Command) -> None:
    old = short(store, "busybox", words=("one", "two"), created=ago(20 * DAY))
    new = short(store, "registry.test:5000/team/web:2", created=ago(3 * DAY))
    none = short(store, "timeless:1", created=None)
    assert command("images").out == (
        "REPOSITORY                    TAG       IMAGE ID       CREATED       SIZE\n"
        f"registry.test:5000/team/web   2         {new}   3 days ago    106B\n"
        f"busybox                       latest    {old}   2 weeks ago   212B\n"
        f"timeless                      1         {none}   N/A           106B\n"
    )


def test_an_empty_store_and_one_that_is_not_there_have_no_images(
    store: Store, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert command("images").out == HEAD
    monkeypatch.setenv("MINICONTAINER_ROOT", str(tmp_path / "nowhere"))
    assert command("image", "ls").out == HEAD
    assert not (tmp_path / "nowhere").exists()


def test_the_size_is_that_of_the_unpacked_layers_as_far_as_there_are_any(
    store: Store, command: Command
) -> None:
    manifest = put(store, "busybox", words=("one", "two"))
    [first, _] = json.loads(store.path(image_id(store, manifest)).read_text())["rootfs"]["diff_ids"]
    store.layer(first).mkdir()
    (store.layer(first) / "layer.json").write_text('{"size": 5000000, "entries": 1, "implied": []}')
    assert command("images", "--format", "{{.Size}}").out == "5MB\n"


def test_digests_and_whole_ids_are_shown_if_asked_for(store: Store, command: Command) -> None:
    manifest = put(store, "busybox")
    long = image_id(store, manifest)
    assert command("images", "--digests", "--no-trunc").out.splitlines()[1].split() == [
        "busybox", "latest", manifest.digest, long, "N/A", "106B"
    ]  # fmt: skip
    assert command("images", "-q").out == f"{short_id(long)}\n"
    assert command("images", "-q", "--no-trunc").out == f"{long}\n"


def test_the_digest_is_the_one_that_the_registry_served(store: Store, command: Command) -> None:
    manifest = put(store, "other")
    origin = digest_of(b"an index")
    set_name(store, Named("busybox", manifest, origin))
    assert command("images", "--format", "{{.Digest}}", "busybox").out == f"{origin}\n"


def test_what_was_pulled_by_digest_has_no_tag(store: Store, command: Command) -> None:
    digest = digest_of(b"the index")
    put(store, f"busybox@{digest}")
    assert command("images", "--format", "{{.Repository}} {{.Tag}}").out == "busybox <none>\n"


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_utc")
def test_templates_and_json_know_the_same_fields(store: Store, command: Command) -> None:
    manifest = put(store, "busybox", created="2020-01-31T12:00:00Z")
    found = json.loads(command("images", "--json").out)
    assert found == {
        "Repository": "busybox",
        "Tag": "latest",
        "Digest": manifest.digest,
        "ID": short_id(image_id(store, manifest)),
        "CreatedSince": found["CreatedSince"],
        "CreatedAt": "2020-01-31 12:00:00 +0000 UTC",
        "Size": "106B",
    }
    assert command("images", "--format", "json").out == command("images", "--format", "{{json .}}").out
    assert command("images", "--format", "table {{.Tag}}\\t{{.Size}}").out == (
        "TAG       SIZE\nlatest    106B\n"
    )


def test_a_template_that_is_wrong_says_what_there_is(store: Store, command: Command) -> None:
    put(store, "busybox")
    said = command("images", "--format", "{{.Name}}")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "minicontainer: template: there is no field Name in {{.Name}}'s object\n"
        "hint: there is CreatedAt, CreatedSince, Digest, ID, Repository, Size, Tag\n"
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["busybox"], "busybox:1 busybox:latest"),
        (["busybox:1"], "busybox:1"),
        (["b*:l*"], "busybox:latest"),
        (["*"], "busybox:1 busybox:latest"),
        (["team/*"], "team/web:latest"),
        (["-f", "reference=*/web", "--filter", "reference=busybox:1"], "busybox:1 team/web:latest"),
        (["-f", "label=a"], "busybox:1 busybox:latest team/web:latest"),
        (["-f", "label=a", "-f", "label=b=2"], "team/web:latest"),
        (["-f", "label=a=3"], ""),
        (["-f", "before=team/web"], "busybox:1 busybox:latest"),
        (["-f", "since=busybox:1"], "team/web:latest"),
        (["-f", "dangling=false"], "busybox:1 busybox:latest team/web:latest"),
        (["-f", "dangling=true"], ""),
    ],
)
def test_only_what_is_asked_for_is_shown(
    words: list[str], shown: str, store: Store, command: Command
) -> None:
    put(store, "busybox", "busybox:1", created=ago(2 * DAY), config={"Labels": {"a": "1"}})
    put(store, "team/web", words=("two",), created=ago(DAY), config={"Labels": {"a": "1", "b": "2"}})
    said = command("images", *words, "--format", "{{.Repository}}:{{.Tag}}")
    assert (said.code, sorted(said.out.split())) == (0, shown.split())


@pytest.mark.parametrize(
    ("given", "problem"), [("label", "invalid filter 'label'"), ("color=red", "invalid filter 'color=red'")]
)
def test_a_filter_that_is_not_known_is_refused(
    given: str, problem: str, store: Store, command: Command
) -> None:
    said = command("images", "--filter", given)
    assert said.code == 1
    assert problem in said.err
    assert "reference, dangling, label, before, since" in said.err


def test_a_damaged_image_is_told_and_the_others_are_listed(store: Store, command: Command) -> None:
    put(store, "busybox")
    broken = put(store, "broken", words=("two",))
    store.path(broken.digest).write_bytes(b"{}")
    said = command("images", "--format", "{{.Repository}}")
    assert said.out == "busybox\n"
    assert said.err.startswith("minicontainer: docker.io/library/broken:latest: ")


def test_an_image_that_another_program_listed_without_a_name_is_dangling(
    store: Store, command: Command
) -> None:
    put(store, "busybox")
    index = json.loads(store.index.read_text())
    del index["manifests"][0]["annotations"]
    store.index.write_text(json.dumps(index))
    assert command("images", "--format", "{{.Repository}}:{{.Tag}}").out == "<none>:<none>\n"
    assert command("images", "--filter", "dangling=true", "--format", "{{.Tag}}").out == "<none>\n"
