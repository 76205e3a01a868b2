"""Many processes at one store lose nothing, see no halves, and leave it valid when they are killed."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minicontainer.image.store.checking import check
from minicontainer.image.store.gc import collect
from minicontainer.image.store.images import load
from minicontainer.image.store.leases import lease
from minicontainer.image.store.names import find, names, remove_name
from minicontainer.image.store.reach import reachable
from minicontainer.image.store.store import Store
from tests.image.store.contents import add_named, begun, blobs, layers, unpack
from tests.image.store.processes import end, start, start_mortal

WRITERS = 16
SHARED = [f"shared {number}" for number in range(4)]
DATA = b"0123456789" * 20_000
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
PIECE = 1000


def assert_valid(store: Store) -> None:
    """Every name leads to a whole image, and one collection leaves what is reached and nothing else."""
    assert check(store) == []
    for named in names(store).values():
        load(store, named)
    collect(store)
    assert check(store) == []
    reach = reachable(store)
    assert blobs(store) == reach.blobs
    assert layers(store) <= reach.layers
    assert begun(store) == []
    assert list(store.leases.iterdir()) == []


# --- side by side ------------------------------------------------------------------------------


def write_images(store: Store, number: int, times: int) -> None:
    """Add images, every second of which is removed again, and one that all writers want."""
    for turn in range(times):
        image = add_named(store, f"image{number}:{turn}", *SHARED, f"own {number} {turn}")
        assert load(store, find(store, f"image{number}:{turn}")).id == image.config.digest
        add_named(store, "wanted-by-all", SHARED[turn % len(SHARED)])
        if turn % 2:
            remove_name(store, f"image{number}:{turn - 1}")


def test_sixteen_writers_and_two_collectors_lose_nothing(
    store: Store, rounds: Callable[[int, int], int]
) -> None:
    times = rounds(4, 50)
    pids = [start(functools.partial(write_images, store, number, times)) for number in range(WRITERS)]
    pids += [start(lambda: [collect(store) for _ in range(times)]) for _ in range(2)]
    assert [end(pid) for pid in pids] == [0] * len(pids)
    kept = {turn for turn in range(times) if turn % 2 or turn == times - 1}
    expected = {f"docker.io/library/image{number}:{turn}" for number in range(WRITERS) for turn in kept}
    assert set(names(store)) == expected | {"docker.io/library/wanted-by-all:latest"}
    assert_valid(store)


def test_of_many_who_want_the_same_blob_one_brings_it_in(store: Store, tmp_path: Path) -> None:
    def fetch() -> None:
        with store.hold(), store.ingest(DIGEST, len(DATA)) as ingest:
            if not ingest.done:
                (tmp_path / str(os.getpid())).touch()
                for start in range(0, len(DATA), PIECE):
                    ingest.write(DATA[start : start + PIECE])
            ingest.commit()

    pids = [start(fetch) for _ in range(WRITERS)]
    assert [end(pid) for pid in pids] == [0] * WRITERS
    assert len([path for path in tmp_path.iterdir() if path.name.isdigit()]) == 1
    assert blobs(store) == {DIGEST}
    assert check(store) == []


def test_whoever_waited_for_a_killed_writer_goes_on_with_what_it_left(store: Store) -> None:
    half = len(DATA) // 2
    reading, writing = os.pipe()

    def stop_halfway() -> None:
        with store.ingest(DIGEST, len(DATA)) as ingest:
            ingest.write(DATA[:half])
            os.write(writing, b"!")
            signal.pause()

    def go_on() -> None:
        with store.ingest(DIGEST, len(DATA)) as ingest:
            assert ingest.offset == half
            ingest.write(DATA[half:])
            ingest.commit()

    first = start(stop_halfway)
    assert os.read(reading, 1) == b"!"
    os.close(reading)
    os.close(writing)
    second = start(go_on)
    assert not store.has(DIGEST)
    os.kill(first, signal.SIGKILL)
    assert (end(first), end(second)) == (-signal.SIGKILL, 0)
    assert store.path(DIGEST).read_bytes() == DATA


# --- killed ------------------------------------------------------------------------------------


def live(store: Store) -> None:
    """Do everything that changes a store, once."""
    with store.hold():
        image = add_named(store, "web", "one", "two")
        unpack(store, image)
        with store.ingest(DIGEST, len(DATA)) as ingest:
            for start in range(ingest.offset, len(DATA), PIECE):
                ingest.write(DATA[start : start + PIECE])
            ingest.commit()
    held = lease(str(store.root), "c1", image.manifest.digest, image.diff_ids)
    add_named(store, "web:2", "two", "three")
    remove_name(store, "web")
    collect(store)
    held.end()
    collect(store)


def test_killed_before_any_of_its_calls_a_process_leaves_a_valid_store(
    store: Store, rounds: Callable[[int, int], int]
) -> None:
    step = max(1, 400 // rounds(50, 400))  # in full, before each
    moment, code = 1, -signal.SIGKILL
    while code == -signal.SIGKILL:
        code = end(start_mortal(lambda: live(store), moment))
        assert_valid(store)
        moment += step
    assert code == 0
    assert moment > 100  # or there would have been little to kill


def test_killed_at_a_random_moment_a_process_leaves_a_valid_store(
    store: Store, rounds: Callable[[int, int], int]
) -> None:
    begun_at = time.monotonic()
    assert end(start(lambda: live(store))) == 0
    usual = time.monotonic() - begun_at
    for turn in range(rounds(8, 200)):
        pid = start(lambda: [live(store) for _ in range(100)])
        time.sleep(random.Random(turn).uniform(0, usual))
        os.kill(pid, signal.SIGKILL)
        assert end(pid) == -signal.SIGKILL
        assert_valid(store)


def test_a_killed_store_is_made_whole_by_the_next_who_needs_it(tmp_path: Path) -> None:
    for moment in range(1, 40):
        store = Store(tmp_path / str(moment))
        code = end(start_mortal(store.create, moment))
        add_named(store, "web", "one")
        assert_valid(store)
        if code == 0:
            return
    pytest.fail("create has more moments than that")
