"""What is left when a pull ends before its time: killed, or on a disk that is full.

pull --SIGKILL at any moment--> the store is valid, without an image
pull again ------------------> only what was not whole is fetched, of a partial blob the rest alone
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.interop.ours import Minicontainer
from tests.image.interop.relay import Relay, relay
from tests.image.interop.tools import PEERS
from tests.image.trees import differences, read_tree
from tests.registries import Registry, Request

pytestmark = pytest.mark.requires(*PEERS)
Publishing = Callable[..., str]
MAKE_FILE_SYSTEM = {
    "tmpfs": "mount -t tmpfs -o size=10m disk {0}",
    "ext4": "truncate -s 10m {0}.ext4 && mkfs.ext4 -q -m 0 {0}.ext4 && mount -o loop {0}.ext4 {0}",
}


@pytest.mark.timeout(1800)
def test_a_pull_that_is_killed_leaves_a_valid_store_and_all_that_came(
    publish: Publishing,
    plain: Registry,
    make_ours: Callable[..., Minicontainer],
    large: Path,
    rounds: Callable[[int, int], int],
) -> None:
    with relay(plain.address) as between:
        name = publish(plain, large).replace(plain.address, between.address)
        usual = kill_after(None, make_ours(plain), name, between)
        for _ in range(rounds(10, 50)):
            ours, moment = make_ours(plain), random.uniform(0, usual)
            kill_after(moment, ours, name, between)
            said = f"killed after {moment:.3f} of {usual:.3f} s"
            assert not ours.problems(), said
            whole = {digest for digest, _ in ours.store.blobs()}
            partial = {path.name: path.stat().st_size for path in ours.store.ingests.iterdir()}
            with plain.watched() as requests:
                ours.succeed("pull", name)
            for digest, request in downloads(requests):
                assert digest not in whole, said
                kept = partial.get(digest.replace(":", "-"), 0)
                assert request.status == (206 if kept else 200), said
                assert request.written == blob_size(plain, digest) - kept, said
            assert not ours.problems(), said
            assert len(ours.tree(name)) == 1 + 4 + 4 * 8, "the root, a directory of each layer, its files"
            assert not [*ours.store.ingests.iterdir()]


def kill_after(seconds: float | None, ours: Minicontainer, name: str, between: Relay) -> float:
    """Begin a pull on a slow line and kill it, or wait for its end; gives the seconds that it has lived."""
    between.pause = 0.005
    begin = time.monotonic()
    with subprocess.Popen(ours.argv("pull", "--quiet", name), env=ours.environment) as pull:
        with contextlib.suppress(subprocess.TimeoutExpired):
            pull.wait(seconds)
        pull.kill()
    between.pause = 0
    with ours.store.alone():  # its workers, who had a share in its lock, are gone as well
        return time.monotonic() - begin


def downloads(requests: list[Request]) -> Iterator[tuple[str, Request]]:
    """Find the requests that fetched blobs, with the blobs' digests."""
    for request in requests:
        if request.is_blob_download:
            yield request.path.rpartition("/")[2], request


def blob_size(registry: Registry, digest: str) -> int:
    """Look up how large a blob is."""
    name = digest.removeprefix("sha256:")
    return (registry.blobs / name[:2] / name / "data").stat().st_size


@pytest.fixture(params=["tmpfs", pytest.param("ext4", marks=pytest.mark.requires("loop", "tool:mkfs.ext4"))])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Give a file system of ten megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(MAKE_FILE_SYSTEM[request.param].format(place), shell=True, check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_and_leaves_the_store_as_it_was(
    publish: Publishing,
    plain: Registry,
    sample: Path,
    large: Path,
    small_disk: Path,
    tmp_path: Path,
) -> None:
    small, too_large = publish(plain, sample), publish(plain, large)
    ours = Minicontainer(tmp_path / "user", plain, root=small_disk / "root")
    ours.succeed("pull", small)
    tree = ours.tree(small)
    before = read_tree(ours.root)
    done = ours.call("pull", too_large)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert str(ours.root) in done.stderr
    assert "Traceback" not in done.stderr
    assert not ours.problems()
    assert ours.tree(small) == tree
    assert not differences(read_tree(ours.root), before, ignore=frozenset({"mtime"}))
