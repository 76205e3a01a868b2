"""Drive podman by its command line in a room of its own, with the runtime under test.

podman is the one on the PATH, or the one that `MINICONTAINER_PODMAN` names ("peers" means `make peers`' own,
with its conmon). Configuration, storage and images are its own; containers have no network unless a test asks
for one. Output goes to files, not to pipes: a runtime that leaves a process behind would keep a pipe open.
See podman(1), containers.conf(5), containers-storage.conf(5); runtime.md, 7 says why each setting is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.peers import kind_of, peer
from tests.peers.room import Room
from tests.podman.terminal import Terminal
from tests.programs import Completed, run_to_its_end
from tests.runtime.waiting import eventually

IMAGE = "bb"
BUSY = "device or resource busy"
DEFAULT_HELPERS = (Path("/usr/libexec/podman"), Path("/usr/lib/podman"))
NAMES = {"runc": "runc", "crun": "crun", "ours": "minicontainer-runtime"}

CONTAINERS_CONF = """
[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = {helpers}
conmon_path = {conmon}
runtime = {name}
runtime_supports_json = ["crun", "runc", "minicontainer-runtime"]
runtime_supports_nocgroup = ["crun", "minicontainer-runtime"]
[engine.runtimes]
{name} = [{binary}]
[network]
network_backend = "netavark"
network_config_dir = {networks}
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = {graph}
runroot = {run}
"""
# The default policy and registries, so that the machine's own never matter.
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


def podman_binary() -> Path:
    """Find the podman to drive; a missing one is an error, never a skip."""
    named = os.environ.get("MINICONTAINER_PODMAN", "podman")
    found = peer("podman") if named == "peers" else shutil.which(named)
    if found is None:
        raise FileNotFoundError(f"no podman: {named} is not there")
    return Path(found)


def version_of(podman: Path) -> tuple[int, ...]:
    """Give podman's version, as (4, 3, 1): what it asks of a runtime has changed now and then."""
    said = subprocess.run([podman, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return tuple(int(part) for part in said.split()[2].split(".")[:3])


class Podman:
    """One podman with its own storage, as one user, in a room."""

    def __init__(self, room: Room, folder: Path, runtime: Path, *, become: Sequence[str] = ()) -> None:
        self.room = room
        self.folder = folder
        self.runtime = runtime
        self.kind = kind_of(runtime)
        self.binary = podman_binary()
        self.version = version_of(self.binary)
        self._become = list(become)
        self._state = Path(f"/run/user/{folder.name}")  # in the room; short, because podman insists on it
        self._environment = self._configure()

    def _configure(self) -> dict[str, str]:
        for name in ("helpers", "graph", "home"):
            (self.folder / name).mkdir(mode=0o700)
        self.room.run("mkdir", "-p", "/run/user")
        self.room.run("install", "-d", "-m", "700", "-o", str(self.folder.stat().st_uid), self._state)
        own = peer("conmon") if self.binary == peer("podman") else None
        self._link_helpers(own is not None)
        words: dict[str, object] = {
            "helpers": [str(self.folder / "helpers")],
            "conmon": [str(own or shutil.which("conmon"))],
            "name": NAMES[self.kind],
            "binary": str(self.runtime),
            "networks": str(self.folder / "networks"),
            "graph": str(self.folder / "graph"),
            "run": str(self._state / "containers"),
        }
        quoted = {key: value if key == "name" else json.dumps(value) for key, value in words.items()}
        conf = CONTAINERS_CONF.replace("runtime = {name}", f'runtime = "{words["name"]}"')
        (self.folder / "containers.conf").write_text(conf.format(**quoted))
        (self.folder / "storage.conf").write_text(STORAGE_CONF.format(**quoted))
        (self.folder / "policy.json").write_text(json.dumps(POLICY))
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder / "home"),
            "XDG_RUNTIME_DIR": str(self._state),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "NETAVARK_FW": "nftables",
        }

    def _link_helpers(self, own: bool) -> None:
        """Gather podman's helpers: its own version's, but the peers' netavark, which needs no iptables."""
        for name in ("catatonit", "rootlessport", "netavark", "aardvark-dns"):
            usual = next((path / name for path in DEFAULT_HELPERS if (path / name).exists()), None)
            theirs = peer(name)
            found = (theirs or usual) if own or name in {"netavark", "aardvark-dns"} else (usual or theirs)
            if found is not None:
                (self.folder / "helpers" / name).symlink_to(found)

    def argv(self, *words: str) -> list[str]:
        """Give the whole command line of one call, in the room and as the user."""
        return self.room.argv([*self._become, str(self.binary), *words])

    def call(self, *words: str, text: str = "") -> Completed:
        """Run podman to its end with `text` as its input."""
        return self.call_argv(self.argv(*words), text)

    def call_argv(self, argv: Sequence[str], text: str = "", pass_fds: Iterable[int] = ()) -> Completed:
        """Run a command that ends in podman's, with podman's environment."""
        return run_to_its_end(argv, text, self._environment, pass_fds)

    def succeed(self, *words: str, text: str = "") -> str:
        """Run a call that must succeed; give its output without the last line end."""
        done = self.call(*words, text=text)
        assert done.returncode == 0, (
            f"podman {' '.join(words)}: exit {done.returncode}: {done.stderr or done.stdout}"
        )
        return done.stdout.removesuffix("\n")

    def terminal(self, *words: str) -> Terminal:
        """Run podman on a terminal, as a person would."""
        return Terminal(self.argv(*words), self._environment)

    def inside(self, *flags: str, **questions: str) -> dict[str, str]:
        """Run a container of the test image that answers shell questions, each by its output and errors."""
        return answers(self.succeed("run", "--rm", *flags, IMAGE, "sh", "-c", script(questions)))

    def inside_running(self, name: str, *flags: str, **questions: str) -> dict[str, str]:
        """Ask by `exec` in a container that runs."""
        return answers(self.succeed("exec", *flags, name, "sh", "-c", script(questions)))

    def started(self, *words: str) -> str:
        """Run a container in the background; give its id."""
        return self.succeed("run", "--detach", *words)

    def inspect(self, name: str, template: str) -> str:
        """Give one value of `podman inspect`."""
        return self.succeed("inspect", "--format", "{{" + template + "}}", name)

    def remove(self, *names: str) -> None:
        """Remove containers, running or not.

        Podman clears up after each end by itself, in the background (conmon's exit command). `rm` may meet it
        at its work and fail, with any runtime (podman 4.3 with runc: 2 of 30 times); later it succeeds.
        """

        def removed() -> bool:
            done = self.call("rm", "--force", "--time", "0", *names)
            assert done.returncode == 0 or BUSY in done.stderr, done.stderr
            return done.returncode == 0

        eventually(removed, f"podman cannot remove {names}")

    def reset(self) -> None:
        """Remove all pods and containers; whatever this cannot remove is an error."""
        self.succeed("pod", "rm", "--all", "--force", "--time", "0")
        self.remove("--all")


def script(questions: Mapping[str, str]) -> str:
    """Make one shell script of several questions."""
    lines = [f"echo '@@ {name}'\n{{ {question}\n}} 2>&1" for name, question in questions.items()]
    return "\n".join([*lines, "true"])


def answers(output: str) -> dict[str, str]:
    """Split the output of `script` again: what was printed after each question."""
    parts = [part.partition("\n") for part in f"\n{output}".split("\n@@ ")[1:]]
    return {name: text.strip("\n") for name, _, text in parts}
