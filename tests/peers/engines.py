"""skopeo, umoci, podman and docker of `make peers`, driven as keepers of images; none runs a container.

Each has its home, and storage if it has any, in a folder of its own, on whatever file system that is. They
share a room, and its loopback with the registries. docker never verifies a registry's certificate there;
the others are told what to trust, and all which password to use, in each call.
See skopeo(1), umoci(1), podman(1), dockerd(8), docker(1), containers-storage.conf(5).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import IO

from tests.peers import FOLDERS, peer_program, peers_directory
from tests.peers.room import Room
from tests.programs import TIMEOUT, Completed, run_to_its_end
from tests.runtime.waiting import eventually

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = {graph}
runroot = {run}
"""
CONTAINERS_CONF = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


class Engine:
    """A program of the peers that is called in a room; skopeo and umoci are no more than that."""

    def __init__(self, room: Room, folder: Path, program: str) -> None:
        self.room = room
        self.folder = folder
        self._program = peer_program(program)
        settings = folder / "home/.config/containers"
        settings.mkdir(parents=True)
        (settings / "policy.json").write_text(json.dumps(POLICY))
        self._environment = {
            "PATH": ":".join([*(str(peers_directory() / place) for place in FOLDERS), SYSTEM_PATH]),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder),
        }

    def argv(self, *words: str | Path) -> list[str]:
        """Give the whole command line of a call, for whoever wants to time it."""
        settings = [f"{name}={value}" for name, value in self._environment.items()]
        return self.room.argv(["env", "-i", *settings, self._program, *words])

    def call(self, *words: str | Path) -> Completed:
        """Run a call to its end."""
        return run_to_its_end(self.argv(*words), "", None)

    def succeed(self, *words: str | Path) -> str:
        """Run a call that must succeed; give its output without the last line end."""
        done = self.call(*words)
        said = f"{self._program.name} {' '.join(map(str, words))}: exit {done.returncode}: {done.stderr}"
        assert done.returncode == 0, said
        return done.stdout.removesuffix("\n")


class Podman(Engine):
    """podman as root, with its own storage."""

    def __init__(self, room: Room, folder: Path) -> None:
        super().__init__(room, folder, "podman")
        state = Path("/run/podman-of-images")  # in the room; short, because podman insists on it
        words = {"graph": json.dumps(str(folder / "graph")), "run": json.dumps(str(state))}
        (folder / "storage.conf").write_text(STORAGE_CONF.format(**words))
        (folder / "containers.conf").write_text(CONTAINERS_CONF)
        self._environment |= {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }


class Docker(Engine):
    """A dockerd of its own, with the containerd that it starts, and the docker CLI."""

    def __init__(self, room: Room, folder: Path) -> None:
        super().__init__(room, folder, "docker")
        self._socket = Path("/run/docker-of-images/socket")  # in the room; short, because it is a socket
        room.run("mkdir", "-p", self._socket.parent)
        self._environment["DOCKER_HOST"] = f"unix://{self._socket}"
        self._log: IO[str] = (folder / "log").open("w")
        self._daemon = subprocess.Popen(
            room.argv([peer_program("dockerd"), *self._options()]),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environment,
        )
        eventually(self._answers, "dockerd never answered")

    def _options(self) -> list[str]:
        state, no_settings = self._socket.parent, self.folder / "daemon.json"
        no_settings.write_text("{}")
        return [
            *(f"--config-file={no_settings}", f"--host=unix://{self._socket}", "--log-level=warn"),
            *(f"--data-root={self.folder / 'data'}", "--storage-driver=overlay2"),
            *(f"--exec-root={state / 'exec'}", f"--pidfile={state / 'pid'}"),
            *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
            "--exec-opt=native.cgroupdriver=cgroupfs",
        ]

    def _answers(self) -> bool:
        said = (self.folder / "log").read_text()
        assert self._daemon.poll() is None, f"dockerd has ended: {said[-2000:]}"
        return self.call("version").returncode == 0

    def close(self) -> None:
        """End dockerd."""
        self._daemon.terminate()
        self._daemon.wait(TIMEOUT)
        self._log.close()
