"""A private D-Bus with a small org.freedesktop.systemd1 on it, for machines that systemd does not run.

It keeps the units that it was asked for and answers as systemd does. Given a cgroup tree, it makes the groups
of scopes there, moves processes into them, and removes them. Names that begin with "failed" or "refused" make
it misbehave.

See org.freedesktop.systemd1(5), dbus-daemon(1).
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jeepney import (
    DBusAddress,
    HeaderFields,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import unwrap_msg

from tests.runtime.waiting import eventually

if TYPE_CHECKING:
    from types import TracebackType

NAME = "org.freedesktop.systemd1"
OBJECT = DBusAddress("/org/freedesktop/systemd1", bus_name=NAME, interface=f"{NAME}.Manager")
TIMEOUT = 30.0


class RefusedError(Exception):
    """A D-Bus error that the service answers with."""


class FakeSystemd:
    """The bus and the service on it, running until the end of the `with` block."""

    def __init__(
        self, version: str = "252.30-1~deb12u2", tree: Path | None = None, own_group: str = ""
    ) -> None:
        self.properties = {"Version": version, "ControlGroup": own_group}
        self.tree = tree
        self.units: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, Path] = {}
        self.made: list[Path] = []
        self.failed: set[str] = set()
        self.calls: list[str] = []
        self.jobs = 0

    def __enter__(self) -> FakeSystemd:
        # A socket of our own choosing: a killed bus leaves it behind, and the usual place is /tmp.
        self.folder = tempfile.TemporaryDirectory(prefix="bus-")
        argv = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
        argv += ["--address", f"unix:path={self.folder.name}/bus"]
        Path(self.folder.name).chmod(0o755)
        self.daemon = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.daemon.stdout is not None
        self.address = self.daemon.stdout.readline().strip().partition(",guid=")[0]
        self.connection = open_dbus_connection(self.address, auth_timeout=TIMEOUT)
        unwrap_msg(self.connection.send_and_get_reply(message_bus.RequestName(NAME), timeout=TIMEOUT))
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.daemon.kill()
        self.daemon.wait(TIMEOUT)
        assert self.daemon.stdout is not None
        self.daemon.stdout.close()
        self.folder.cleanup()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        self.connection.close()
        for unit in list(self.groups):
            self.remove(unit)
        for group in reversed(self.made):
            group.rmdir()

    def serve(self) -> None:
        """Answer calls until the bus goes."""
        while True:
            try:
                message = self.connection.receive()
                if message.header.message_type is MessageType.method_call:
                    self.answer(message)
            except ConnectionError:  # also while an answer is given: whoever asked may have been killed
                return

    def answer(self, message: Any) -> None:  # a jeepney Message
        """Answer one call, and tell the end of its job after that."""
        method = message.header.fields[HeaderFields.member]
        self.calls.append(method)
        try:
            answer = getattr(self, method, None)
            if answer is None:
                raise RefusedError("UnknownMethod")
            signature, body, ended = answer(*message.body)
        except RefusedError as problem:
            self.connection.send(new_error(message, f"{NAME}.{problem}", "s", (f"it is {problem}",)))
            return
        self.connection.send(new_method_return(message, signature, body))
        if ended:
            self.connection.send(
                new_signal(OBJECT, "JobRemoved", "uoss", (1, "/job/of/others", "x.scope", "done"))
            )
            self.connection.send(new_signal(OBJECT, "JobRemoved", "uoss", (self.jobs, body[0], *ended)))

    def job(self, unit: str) -> tuple[str, tuple[str], tuple[str, str]]:
        """Give the answer for something that takes a job."""
        self.jobs += 1
        result = "failed" if unit.startswith("failed") else "done"
        return "o", (f"/org/freedesktop/systemd1/job/{self.jobs}",), (unit, result)

    # --- groups ---

    def place(self, unit: str, slice_name: str, pids: list[int]) -> None:
        """Make the group of a scope, and move its first processes there."""
        assert self.tree is not None
        words = slice_name.removesuffix(".slice").split("-")
        slices = ["-".join(words[:depth]) + ".slice" for depth in range(1, len(words) + 1)]
        path = self.tree / self.properties["ControlGroup"].lstrip("/")
        for name in ["", *slices]:
            path = path / name
            if not path.exists():
                path.mkdir()
                self.made.append(path)
        self.groups[unit] = path / unit
        self.groups[unit].mkdir()
        for pid in pids:
            (self.groups[unit] / "cgroup.procs").write_text(str(pid))

    def is_empty(self, unit: str) -> bool:
        """Tell whether no process is left in a scope."""
        return "populated 0" in (self.groups[unit] / "cgroup.events").read_text()

    def remove(self, unit: str) -> None:
        """End a scope: its processes, its group and those below."""
        group = self.groups.pop(unit)
        (group / "cgroup.kill").write_text("1")
        eventually(lambda: "populated 0" in (group / "cgroup.events").read_text(), f"{unit} never ends")
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        for path in [*below, group]:
            path.rmdir()

    def forget_empty(self) -> None:
        """Forget scopes whose last process has ended, as systemd does by itself."""
        for unit in [unit for unit in self.groups if self.is_empty(unit)]:
            self.remove(unit)
            del self.units[unit]

    # --- the manager's methods, by their own names ---

    def Get(self, _interface: str, name: str) -> Any:  # noqa: N802 - D-Bus's name
        """Give a property."""
        return "v", (("s", self.properties[name]),), None

    def Subscribe(self) -> Any:  # noqa: N802 - D-Bus's name
        """Send signals from now on."""
        return None, (), None

    def StartTransientUnit(self, unit: str, mode: str, properties: Any, auxiliary: Any) -> Any:  # noqa: N802
        """Make a unit."""
        assert mode in ("replace", "fail")
        assert auxiliary == []
        if unit.startswith("refused"):
            raise RefusedError("AccessDenied")
        if "/" in unit:
            raise RefusedError("InvalidArgs")
        if unit in self.failed or unit in self.units:
            raise RefusedError("UnitExists")
        self.units[unit] = dict(properties)
        if self.tree is not None:
            self.place(unit, self.units[unit]["Slice"][1], self.units[unit]["PIDs"][1])
        return self.job(unit)

    def SetUnitProperties(self, unit: str, runtime: bool, properties: Any) -> Any:  # noqa: N802 - D-Bus's name
        """Change a unit."""
        assert runtime
        if unit not in self.units:
            raise RefusedError("NoSuchUnit")
        self.units[unit].update(dict(properties))
        return None, (), None

    def StopUnit(self, unit: str, mode: str) -> Any:  # noqa: N802 - D-Bus's name
        """End a unit."""
        assert mode == "replace"
        if self.units.pop(unit, None) is None:
            raise RefusedError("NoSuchUnit")
        if unit in self.groups:
            self.remove(unit)
        return self.job(unit)

    def ResetFailedUnit(self, unit: str) -> Any:  # noqa: N802 - D-Bus's name
        """Forget a failed unit."""
        if unit not in self.failed:
            raise RefusedError("NoSuchUnit")
        self.failed.remove(unit)
        return None, (), None
