"""A private D-Bus with a small org.freedesktop.systemd1 on it, for machines that systemd does not run.

It keeps the units that it was asked for, answers as systemd does, and moves the processes of a scope into a
real cgroup where it is given one. Names that begin with "failed" or "refused" make it misbehave.

See org.freedesktop.systemd1(5), dbus-daemon(1).
"""

from __future__ import annotations

import subprocess
import threading
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

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

NAME = "org.freedesktop.systemd1"
OBJECT = DBusAddress("/org/freedesktop/systemd1", bus_name=NAME, interface=f"{NAME}.Manager")
TIMEOUT = 30.0


class RefusedError(Exception):
    """A D-Bus error that the service answers with."""


class FakeSystemd:
    """The bus and the service on it, running until the end of the `with` block."""

    def __init__(
        self, version: str = "252.30-1~deb12u2", placed: Callable[[int], None] | None = None
    ) -> None:
        self.version = version
        self.placed = placed
        self.units: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()
        self.calls: list[str] = []
        self.jobs = 0

    def __enter__(self) -> FakeSystemd:
        argv = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
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
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        self.connection.close()

    def serve(self) -> None:
        """Answer calls until the bus goes."""
        while True:
            try:
                message = self.connection.receive()
            except ConnectionError:
                return
            if message.header.message_type is MessageType.method_call:
                self.answer(message)

    def answer(self, message: Any) -> None:  # a jeepney Message
        """Answer one call, and tell the end of its job after that."""
        method = message.header.fields[HeaderFields.member]
        self.calls.append(method)
        try:
            signature, body, ended = getattr(self, method)(*message.body)
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

    # --- the manager's methods, by their own names ---

    def Get(self, _interface: str, name: str) -> Any:  # noqa: N802 - D-Bus's name
        """Give a property."""
        return "v", (("s", {"Version": self.version}[name]),), None

    def Subscribe(self) -> Any:  # noqa: N802 - D-Bus's name
        """Send signals from now on."""
        return None, (), None

    def StartTransientUnit(self, unit: str, mode: str, properties: Any, auxiliary: Any) -> Any:  # noqa: N802
        """Make a unit."""
        assert (mode, auxiliary) == ("replace", [])
        if unit.startswith("refused"):
            raise RefusedError("AccessDenied")
        if unit in self.failed or unit in self.units:
            raise RefusedError("UnitExists")
        self.units[unit] = dict(properties)
        for pid in self.units[unit]["PIDs"][1]:
            if self.placed is not None:
                self.placed(pid)
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
        return self.job(unit)

    def ResetFailedUnit(self, unit: str) -> Any:  # noqa: N802 - D-Bus's name
        """Forget a failed unit."""
        if unit not in self.failed:
            raise RefusedError("NoSuchUnit")
        self.failed.remove(unit)
        return None, (), None
