"""A containerd of our own in a room of its own, driven by `ctr`.

containerd and ctr are those on the PATH, or, with `MINICONTAINER_CONTAINERD=peers`, those of `make peers`.
containerd always asks for cpu.shares 1024, the kernel's default. Real runtimes refuse that where no cpu
controller is; ours takes a default for what it is (deviation "default-shares"). There, peers are started
through a script that takes this one value out of config.json and is otherwise the peer. See
containerd-config.toml(5), ctr(8); runtime.md, 3 "resources".
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import IO

from tests.needs import met
from tests.peers import kind_of, peer
from tests.peers.room import Room
from tests.podman.engine import answers, script
from tests.podman.terminal import Terminal
from tests.programs import TIMEOUT, Completed, run_to_its_end
from tests.runtime.waiting import eventually

IMAGE = "docker.io/library/bb:latest"
NAMESPACE = "minicontainer-test"  # containerd's namespace, and so the cgroup that all containers are under
STATE = Path("/run/containerd-under-test")  # in the room; short, because sockets lie in it
UNUSED = (
    "io.containerd.grpc.v1.cri",
    *(f"io.containerd.snapshotter.v1.{kind}" for kind in ("btrfs", "zfs", "devmapper")),
)

CONFIG = """
version = 2
root = {root}
state = {state}
disabled_plugins = {unused}
[grpc]
address = {socket}
[plugins."io.containerd.internal.v1.opt"]
path = {opt}
"""
WITHOUT_SHARES = """#!/bin/sh
for word; do
    [ "$previous" = --bundle ] && sed -i 's/"cpu":{"shares":1024}/"cpu":{}/' "$word/config.json"
    previous=$word
done
exec PEER "$@"
"""


class Containerd:
    """One containerd, its folder and its runtime."""

    def __init__(self, room: Room, folder: Path, runtime: Path) -> None:
        self.room = room
        self.folder = folder
        self.kind = kind_of(runtime)
        self.real_runtime = runtime
        self.runtime = runtime
        if self.kind != "ours" and not met("controller:cpu"):
            self.runtime = folder / self.kind
            self.runtime.write_text(WITHOUT_SHARES.replace("PEER", shlex.quote(str(runtime))))
            self.runtime.chmod(0o755)
        self._log: IO[str] = (folder / "containerd.log").open("w")
        self._daemon = self._start()

    def _binary(self, name: str) -> str:
        theirs = os.environ.get("MINICONTAINER_CONTAINERD") == "peers"
        found = peer(name) if theirs else shutil.which(name)
        if found is None:
            raise FileNotFoundError(f"there is no {name}")
        return str(found)

    def _environment(self) -> dict[str, str]:
        folder = Path(
            self._binary("containerd-shim-runc-v2")
        ).parent  # containerd looks for its shim on the PATH
        return {
            "PATH": f"{folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CONTAINERD_ADDRESS": f"{STATE}/socket",
            "CONTAINERD_NAMESPACE": NAMESPACE,
        }

    def _start(self) -> subprocess.Popen[bytes]:
        values = {
            "root": self.folder / "root",
            "state": STATE,
            "socket": STATE / "socket",
            "opt": self.folder / "opt",
        }
        words = {key: json.dumps(str(value)) for key, value in values.items()}
        (self.folder / "config.toml").write_text(CONFIG.format(**words, unused=json.dumps(UNUSED)))
        daemon = subprocess.Popen(
            self.room.argv([self._binary("containerd"), "--config", self.folder / "config.toml"]),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environment(),
        )
        self._daemon = daemon
        eventually(self._answers, "containerd never answered")
        return daemon

    def _answers(self) -> bool:
        log = (self.folder / "containerd.log").read_text()
        assert self._daemon.poll() is None, f"containerd has ended: {log[-2000:]}"
        return self.call("version").returncode == 0

    def stop(self) -> None:
        """End containerd; containers must have been removed before."""
        self._daemon.terminate()
        self._daemon.wait(TIMEOUT)
        self._log.close()

    def call(self, *words: str, text: str = "") -> Completed:
        """Run ctr to its end with `text` as its input."""
        argv = self.room.argv([self._binary("ctr"), *words])
        return run_to_its_end(argv, text, self._environment())

    def succeed(self, *words: str, text: str = "") -> str:
        """Run a call that must succeed; give its output without the last line end."""
        done = self.call(*words, text=text)
        assert done.returncode == 0, (
            f"ctr {' '.join(words)}: exit {done.returncode}: {done.stderr or done.stdout}"
        )
        return done.stdout.removesuffix("\n")

    def run_words(self, *words: str) -> list[str]:
        """Give the words of `ctr run` with the runtime under test."""
        return ["run", "--runc-binary", str(self.runtime), *words]

    def run(self, *words: str, text: str = "") -> Completed:
        """Run a container in the foreground and remove it."""
        return self.call(*self.run_words("--rm", *words), text=text)

    def inside(self, *flags: str, **questions: str) -> dict[str, str]:
        """Run a container that answers shell questions."""
        done = self.run(*flags, IMAGE, "asked", "sh", "-c", script(questions))
        assert done.returncode == 0, done.stderr
        return answers(done.stdout)

    def terminal(self, *words: str) -> Terminal:
        """Run ctr on a terminal."""
        return Terminal(
            self.room.argv([self._binary("ctr"), *words]), {**self._environment(), "TERM": "xterm"}
        )

    def tasks(self) -> dict[str, str]:
        """Give the status of each task."""
        lines = self.succeed("task", "ls").splitlines()[1:]
        return {name: status for name, _, status in (line.split() for line in lines)}

    def remove(self, name: str) -> None:
        """Remove a container, running or not."""
        if name in self.tasks():
            self.call("task", "delete", "--force", name)
        self.succeed("container", "rm", name)

    def containers(self) -> list[str]:
        """List the containers."""
        return self.succeed("container", "ls", "--quiet").split()
