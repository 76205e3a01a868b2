"""Drive an OCI runtime by its command line, the same way for ours, runc and crun.

`MINICONTAINER_RUNTIME` names the binary; without it ours is taken. Output goes to files, not pipes, because a
container keeps its creator's standard streams and would keep a pipe open. Every container that was ever asked
for is force-deleted at the end, and what a broken runtime leaves behind is removed and reported.
See: runc(8); the "v2 only" view of tests/peers.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.needs import cgroup2_tree
from tests.peers import in_v2_view, is_unified, kind_of
from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.runtime.bundles import Bundle

DEVIATIONS = Path(__file__).parent.parent / "deviations.toml"
TIMEOUT = 60.0
SHARED_VIEW = 'mount --make-private /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'

Completed = subprocess.CompletedProcess[str]


def cgroup2_root() -> Path:
    """Give where this host shows the cgroup v2 hierarchy."""
    found = cgroup2_tree()
    assert found is not None, "no cgroup v2 on this machine"
    return found


def in_shared_view(argv: Sequence[str]) -> list[str]:
    """As in_v2_view, but mounts go on propagating to and from the host's shared ones."""
    if is_unified():
        return [*argv]
    return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", SHARED_VIEW, "sh", *argv]


def find_binary() -> Path:
    """Find the runtime under test; a missing one is an error, never a skip."""
    named = os.environ.get("MINICONTAINER_RUNTIME")
    beside = Path(sys.executable).parent / "minicontainer-runtime"
    found = named or (str(beside) if beside.exists() else None) or shutil.which("minicontainer-runtime")
    if not found or not Path(found).exists():
        raise FileNotFoundError(f"no runtime to test: {found or beside} does not exist")
    return Path(found)


def recorded_deviations() -> dict[str, dict[str, Any]]:
    """Read deviations.toml, by id."""
    return {entry["id"]: entry for entry in tomllib.loads(DEVIATIONS.read_text())["deviation"]}


class Runtime:
    """One runtime binary with a state root of its own."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary = binary
        self.kind = kind_of(binary)
        self.root = folder / "state"
        self.root.mkdir(mode=0o700)
        self.shares_mounts = False
        self._folder = folder
        self._bundles: dict[str, Bundle] = {}
        self._calls = 0
        self._asked: list[str] = []
        self._spawned: list[subprocess.Popen[str]] = []

    def deviates(self, name: str) -> bool:
        """Say whether this runtime is a peer whose other behaviour deviations.toml records under `name`."""
        peers: list[str] = recorded_deviations()[name]["peer"]
        return self.kind in peers

    def recorded_exit(self, name: str, ours: int) -> int:
        """Give the exit code that is recorded for this peer under `name`, or else the one that ours has."""
        codes: dict[str, int] = recorded_deviations()[name].get("exit", {})
        return codes.get(self.kind, ours)

    def argv(self, *argv: str) -> list[str]:
        """Give the whole command line of one call."""
        command = [str(self.binary), "--root", str(self.root), *argv]
        return self.viewed(command)

    def viewed(self, command: list[str]) -> list[str]:
        """Give a peer the view of cgroup v2 that it needs on a hybrid host."""
        if self.kind == "ours":
            return command
        return in_shared_view(command) if self.shares_mounts else in_v2_view(command)

    def _files(self) -> tuple[IO[str], IO[str]]:
        self._calls += 1
        names = [self._folder / f"call-{self._calls}.{stream}" for stream in ("out", "err")]
        return names[0].open("w+"), names[1].open("w+")

    def call(self, *argv: str, timeout: float = TIMEOUT, **options: Any) -> Completed:
        """Run `runtime --root ROOT *argv` to its end; `options` are Popen's, and `text` for its input."""
        text = options.pop("text", None)
        out, err = self._files()
        with out, err:
            options.setdefault("stdin", subprocess.PIPE if text is not None else subprocess.DEVNULL)
            options.setdefault("stdout", out)
            options.setdefault("stderr", err)
            with subprocess.Popen(self.argv(*argv), text=True, **options) as process:
                try:
                    process.communicate(text, timeout=timeout)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(argv, process.returncode, out.read(), err.read())

    def succeed(self, *argv: str, **options: Any) -> Completed:
        """Run a call that must succeed."""
        done = self.call(*argv, **options)
        assert done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}: {done.stderr or done.stdout}"
        return done

    def _know(self, bundle: Bundle, name: str | None) -> str:
        name = bundle.id if name is None else name
        self._bundles[name] = bundle
        bundle.save()
        return name

    def create(self, bundle: Bundle, name: str | None = None, *flags: str, **options: Any) -> Completed:
        """Save the config and run `create`."""
        name = self._know(bundle, name)
        return self.call("create", "--bundle", str(bundle.path), *flags, name, **options)

    def run(self, bundle: Bundle, name: str | None = None, *flags: str, **options: Any) -> Completed:
        """Save the config and run `run` in the foreground."""
        name = self._know(bundle, name)
        return self.call("run", "--bundle", str(bundle.path), *flags, name, **options)

    def output(self, bundle: Bundle, **options: Any) -> str:
        """Run the bundle's program, which must succeed, and give what it printed."""
        done = self.run(bundle, **options)
        assert done.returncode == 0, f"run: exit {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout

    def spawn(self, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """Start a call and leave it running; it is killed at the end of the test."""
        out, err = self._files()
        options.setdefault("stdin", subprocess.DEVNULL)
        with out, err:
            process = subprocess.Popen(
                self.argv(*argv),
                text=True,
                stdout=options.pop("stdout", out),
                stderr=options.pop("stderr", err),
                **options,
            )
        self._spawned.append(process)
        return process

    def spawn_run(self, bundle: Bundle, *flags: str, **options: Any) -> subprocess.Popen[str]:
        """Start `run` and leave it running."""
        name = self._know(bundle, None)
        return self.spawn("run", "--bundle", str(bundle.path), *flags, name, **options)

    def start(self, name: str, **options: Any) -> Completed:
        """Run `start`."""
        return self.call("start", name, **options)

    def started(self, bundle: Bundle, *flags: str, **options: Any) -> str:
        """Create and start a container, both of which must succeed; give its id."""
        name = self._know(bundle, None)
        self.succeed("create", "--bundle", str(bundle.path), *flags, name, **options)
        self.succeed("start", name)
        return name

    def sleeping(self, bundle: Bundle, *flags: str, **options: Any) -> str:
        """Create and start a container that only sleeps; give its id."""
        return self.started(bundle.args("sleep", "1000"), *flags, **options)

    def exec(self, name: str, *argv: str, flags: Iterable[str] = (), **options: Any) -> Completed:
        """Run `exec`."""
        return self.call("exec", *flags, name, *argv, **options)

    def kill(self, name: str, what: str = "KILL", *flags: str) -> Completed:
        """Run `kill`."""
        return self.call("kill", *flags, name, what)

    def delete(self, name: str, *, force: bool = False) -> Completed:
        """Run `delete`."""
        return self.call("delete", *(["--force"] if force else []), name)

    def state(self, name: str) -> dict[str, Any]:
        """Give the parsed output of `state`."""
        found: dict[str, Any] = json.loads(self.succeed("state", name).stdout)
        return found

    def status(self, name: str) -> str:
        """Give the `status` of a container, as `state` shows it."""
        return str(self.state(name)["status"])

    def pid(self, name: str) -> int:
        """Give the container's first process, by its number on the host."""
        return int(self.state(name)["pid"])

    def wait_stopped(self, name: str) -> None:
        """Wait until `state` says stopped."""
        eventually(lambda: self.status(name) == "stopped", f"{name} never stopped")

    def cgroup(self, bundle: Bundle) -> Path:
        """Give the container's cgroup, as this host's own mounts show it."""
        return cgroup2_root() / str(bundle.linux["cgroupsPath"]).lstrip("/")

    def cgroup_of(self, name: str) -> Path:
        """Give the cgroup that a container asked for by this harness has."""
        return self.cgroup(self._bundles[name])

    def clean(self) -> None:
        """Force-delete every container, remove what is left, and complain if ours left anything."""
        for process in self._spawned:
            if process.poll() is None:
                process.kill()
            process.wait(TIMEOUT)
        for name in self._bundles:
            if (self.root / name).exists() or self.kind == "ours":
                self.delete(name, force=True)
        left = [str(path) for bundle in self._bundles.values() for path in self._sweep(bundle)]
        if self.root.exists():
            left += [str(path) for path in self.root.iterdir() if path.name in self._bundles]
        assert not left or self.kind != "ours", f"delete --force left {left}"

    def _sweep(self, bundle: Bundle) -> Iterable[Path]:
        path = bundle.config.get("linux", {}).get("cgroupsPath") if isinstance(bundle.config, dict) else None
        if not isinstance(path, str) or path.lstrip("/") != bundle.id:
            return
        top = cgroup2_root() / bundle.id
        if top.exists():
            yield top
            remove_cgroup(top)


def remove_cgroup(top: Path) -> None:
    """Kill whatever is in a cgroup and remove it with its children."""
    if not top.exists():
        return
    (top / "cgroup.kill").write_text("1")
    for folder, _, _ in sorted(os.walk(top), reverse=True):
        eventually(functools.partial(is_empty, Path(folder)), "still alive")
        Path(folder).rmdir()


def is_empty(group: Path) -> bool:
    """Say whether no process is left in a cgroup or below it."""
    return "populated 0" in (group / "cgroup.events").read_text()
