"""A layer is unpacked whole or not at all, whoever else unpacks it and whoever was killed before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.image.layer.extract import LayerError
from minicontainer.image.layer.limits import Limits
from minicontainer.image.store.store import Store
from minicontainer.image.unpack import Layer, unpack_layer
from minicontainer.oci.image import Descriptor
from tests.image import layouts
from tests.image.layouts import digest_of, directory, file, gzip, plain, symlink, tar, zstd

TAR = tar([directory("etc"), file("etc/motd", b"hello"), symlink("motd", "etc/motd"), file("var/x/y", b"z")])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


def described(blob: bytes, diff_id: str = digest_of(TAR)) -> Layer:
    return Layer(Descriptor(media_type="", digest=digest_of(blob), size=len(blob)), diff_id)


def pieces(blob: bytes, size: int = 100) -> Iterator[bytes]:
    return (blob[at : at + size] for at in range(0, len(blob), size))


@pytest.mark.parametrize("compress", [gzip, zstd, plain])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_layer_becomes_a_directory_named_by_its_diff_id(
    store: Store, compress: layouts.Compress, size: int
) -> None:
    blob = compress(TAR)
    unpack_layer(store, described(blob), pieces(blob, size), Limits())
    assert [path.name for path in store.layers.iterdir()] == [digest_of(TAR).removeprefix("sha256:")]
    place = store.layer(digest_of(TAR))
    assert (place / "diff" / "motd").read_bytes() == b"hello"
    assert (
        place / "layer.json"
    ).read_text() == f'{{"size":{len(TAR)},"entries":4,"implied":["","var","var/x"]}}'


def test_another_tar_than_the_configuration_names_is_refused(store: Store) -> None:
    blob = gzip(TAR)
    with pytest.raises(
        LayerError, match=f"its tar has the digest {digest_of(TAR)}, but .* says {digest_of(b'')}"
    ):
        unpack_layer(store, described(blob, digest_of(b"")), pieces(blob), Limits())
    assert list(store.layers.iterdir()) == []


@pytest.mark.parametrize("cut", [10, 100, -20])
def test_half_a_layer_is_none(store: Store, cut: int) -> None:
    blob = gzip(TAR)[:cut]
    with pytest.raises(LayerError, match=digest_of(blob)):
        unpack_layer(store, described(blob), pieces(blob), Limits())
    assert list(store.layers.iterdir()) == []


def test_what_a_killed_one_has_left_is_removed(store: Store) -> None:
    left = store.layer(digest_of(TAR)).with_name(f".new-{store.layer(digest_of(TAR)).name}")
    (left / "diff" / "old").mkdir(parents=True)
    (left / "layer.json").write_text("old")
    blob = gzip(TAR)
    unpack_layer(store, described(blob), pieces(blob), Limits())
    assert not (store.layer(digest_of(TAR)) / "diff" / "old").exists()
    assert not left.exists()


def test_of_several_who_unpack_the_same_at_once_one_does_and_all_get_their_pieces(store: Store) -> None:
    blob = gzip(TAR)
    go = os.pipe()
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            os.close(go[1])
            os.read(go[0], 1)  # until all are there
            given = [0]

            def counted() -> Iterator[bytes]:
                for piece in pieces(blob, 10):
                    given[0] += len(piece)  # noqa: B023
                    yield piece

            try:
                unpack_layer(store, described(blob), counted(), Limits())
                os._exit(0 if given[0] == len(blob) else 1)
            finally:
                os._exit(2)
        children.append(pid)
    for end in go:
        os.close(end)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
    assert [path.name for path in store.layers.iterdir()] == [store.layer(digest_of(TAR)).name]


def test_the_bounds_of_the_configuration_hold(store: Store) -> None:
    blob = gzip(TAR)
    with pytest.raises(LayerError, match="entries"):
        unpack_layer(store, described(blob), pieces(blob), Limits(entries=2))
    assert list(store.layers.iterdir()) == []
