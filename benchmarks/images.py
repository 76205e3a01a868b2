"""The lines of the table about images: pull and unpack, push, and the unpacking of layers alone.

Everything lies on a tmpfs, the registry is on loopback, and what a round has made is removed before the next:
no figure is one of a disk. docker's work is done by its daemon, so that only its wall clock is of use.

See benchmarks/sample_image.py for the image, and lines.py for the runtimes.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import shutil
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import minicontainer
from benchmarks.measure import Cost, Series, interleave, peak_memory, timed
from benchmarks.sample_image import NAME, Sample, write_sample
from tests.peers.engines import Docker, Engine, Podman
from tests.peers.room import Room
from tests.registries import Registry, registry

CHECKOUT = Path(__file__).resolve().parent.parent
SAMPLE, TINY = "bench/sample:1", "bench/tiny:1"
TINY_SHARE = 0.01
STDLIB = "stdlib"  # ours without isal
COPY_HERE = ("copy", "--quiet", "--src-tls-verify=false")
COPY_THERE = ("copy", "--quiet", "--dest-tls-verify=false")

# line -> peer -> the largest ratio of ours to the peer's that meets the goal
IMAGE_GOALS = {
    "pull and unpack": {"docker": 0.35, "podman": 0.30},
    "pull and unpack, stdlib alone": {"docker": 0.5, "podman": 0.5},
    "unpacking tars": {"tar": 1.3, "tarfile": 0.6},
}

# Starts minicontainer as its launcher does, but as if isal were not installed.
WITHOUT_ISAL = """
import runpy, sys
sys.modules["isal"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Unpack the tar files that are named into numbered folders of the first argument.
OUR_EXTRACTOR = """
import os, sys
from minicontainer.image.layer.extract import Extractor
from minicontainer.image.layer.limits import Limits
for number, path in enumerate(sys.argv[2:]):
    os.mkdir(f"{sys.argv[1]}/{number}")
    extractor = Extractor(os.open(f"{sys.argv[1]}/{number}", os.O_RDONLY), path, limits=Limits())
    with open(path, "rb", buffering=0) as tar:
        while piece := tar.read(1 << 18):
            extractor.feed(piece)
    extractor.finish()
"""
TARFILE = """
import sys, tarfile
tarfile.TarFile.extraction_filter = staticmethod(lambda member, place: member)  # as before 3.14
for number, path in enumerate(sys.argv[2:]):
    with tarfile.open(path) as tar:
        tar.extractall(f"{sys.argv[1]}/{number}")
"""
GNU_TAR = 'for path; do mkdir "$0/${path##*/}" && tar -xf "$path" -C "$0/${path##*/}" || exit; done'


@dataclass(frozen=True, slots=True)
class ImageBench:
    """The image, a registry that has it, and the peers: everything lies below `folder`, on a tmpfs."""

    folder: Path
    rounds: int
    sample: Sample
    registry: Registry
    skopeo: Engine
    umoci: Engine
    podman: Podman
    docker: Docker

    @property
    def _place(self) -> Path:
        """Where a measured command puts what it makes."""
        return self.folder / "made"

    def pull(self) -> dict[str, Series]:
        """Measure the way from a name to files; ours with isal and without."""
        return interleave(["ours", STDLIB, "podman", "docker", "umoci"], self.rounds, self._pull)

    def _pull(self, name: str) -> Cost:
        image = f"{self.registry.address}/{SAMPLE}"
        commands = {
            "ours": [ours(self._place, "pull", image)],
            STDLIB: [ours_without_isal(self._place, "pull", image)],
            "podman": [self.podman.argv("pull", "--quiet", "--tls-verify=false", image)],
            "docker": [self.docker.argv("pull", "--quiet", image)],
            "umoci": [
                self.skopeo.argv(*COPY_HERE, f"docker://{image}", f"oci:{self._place}:sample"),
                self.umoci.argv("unpack", "--image", f"{self._place}:sample", self._place / "bundle"),
            ],
        }
        cost = functools.reduce(operator.add, map(timed, commands[name]))
        if name == "podman":
            self.podman.succeed("rmi", "--all", "--force")
        elif name == "docker":
            self.docker.succeed("rmi", image)
        else:
            shutil.rmtree(self._place)
        return cost

    def push(self) -> dict[str, Series]:
        """Measure the way of all blobs into an empty registry."""
        subprocess.run(
            ours(self._place, "pull", f"{self.registry.address}/{SAMPLE}"),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        series = interleave(["ours", "skopeo"], self.rounds, self._push)
        shutil.rmtree(self._place)
        return series

    def _push(self, name: str) -> Cost:
        with registry(self.folder / "empty") as empty:
            here, there = f"{self.registry.address}/{SAMPLE}", f"{empty.address}/{SAMPLE}"
            if name == "ours":
                subprocess.run(ours(self._place, "tag", here, there), check=True, stdout=subprocess.DEVNULL)
                cost = timed(ours(self._place, "push", there))
            else:
                layout = f"oci:{self.sample.layout}:{NAME}"
                cost = timed(self.skopeo.argv(*COPY_THERE, layout, f"docker://{there}"))
        shutil.rmtree(self.folder / "empty")
        return cost

    def unpack(self) -> dict[str, Series]:
        """Measure the making of files from all layers' tars, with the start of Python where there is one."""
        return interleave(["ours", "tar", "tarfile"], self.rounds, self._unpack)

    def _unpack(self, name: str) -> Cost:
        self._place.mkdir()
        commands = {
            "ours": [sys.executable, "-c", OUR_EXTRACTOR],
            "tar": ["/bin/sh", "-c", GNU_TAR],
            "tarfile": [sys.executable, "-c", TARFILE],
        }
        cost = timed([*commands[name], str(self._place), *map(str, self.sample.tars)], str(CHECKOUT))
        shutil.rmtree(self._place)
        return cost

    def memory(self) -> dict[str, float]:
        """Measure the peak memory of our largest process in a pull of the image and of a tiny one."""
        images = {"whole": SAMPLE, "tiny": TINY}
        found: dict[str, list[int]] = {name: [] for name in images}
        for _ in range(3):
            for name, peaks in found.items():
                command = ours(self._place, "pull", f"{self.registry.address}/{images[name]}")
                peaks.append(peak_memory(command, str(self.folder)))
                shutil.rmtree(self._place)
        return {name: float(statistics.median(peaks)) for name, peaks in found.items()}


@contextlib.contextmanager
def image_bench(folder: Path, rounds: int) -> Iterator[ImageBench]:
    """Make the image and bring it to a registry, beside engines that have nothing yet."""
    with contextlib.ExitStack() as undo:
        room = Room(own_network=False)
        undo.callback(room.close)
        skopeo, umoci = (Engine(room, folder / name, name) for name in ("skopeo", "umoci"))
        docker = Docker(room, folder / "docker")
        undo.callback(docker.close)
        full = undo.enter_context(registry(folder / "registry"))
        sample = write_sample(folder / "sample")
        tiny = write_sample(folder / "tiny", TINY_SHARE)
        for image, name in ((sample, SAMPLE), (tiny, TINY)):
            skopeo.succeed(*COPY_THERE, f"oci:{image.layout}:{NAME}", f"docker://{full.address}/{name}")
        podman = Podman(room, folder / "podman")
        yield ImageBench(folder, rounds, sample, full, skopeo, umoci, podman, docker)


def ours(store: Path, *words: str) -> list[str]:
    """Give a command line of minicontainer on a store of its own."""
    own = CHECKOUT / ".venv/bin/minicontainer"
    program = str(own) if own.exists() else "minicontainer"
    return ["env", f"MINICONTAINER_ROOT={store}", program, *words]


def ours_without_isal(store: Path, *words: str) -> list[str]:
    """Give the same as the launcher starts it, but with the standard library's zlib."""
    launch, libraries = Path(minicontainer.__file__).with_name("launch.py"), sysconfig.get_path("purelib")
    python = [sys.executable, "-I", "-S", "-X", "utf8", "-c", WITHOUT_ISAL]
    return ["env", f"MINICONTAINER_ROOT={store}", *python, str(launch), "minicontainer", libraries, *words]
