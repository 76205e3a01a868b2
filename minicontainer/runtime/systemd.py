"""A container's cgroup as a systemd scope (`--systemd-cgroup`), which systemd makes and owns.

    StartTransientUnit(libpod-ID.scope, Slice, PIDs=[first process], Delegate, limits)   the process is moved
    SetUnitProperties(limits)                                                            update
    StopUnit, ResetFailedUnit                                                            delete

It is asked by D-Bus. It answers the first and the last of these with a job, and tells by the signal
JobRemoved how it ended. Limits are written to the cgroup as well: systemd does not know all of them.

See org.freedesktop.systemd1(5), systemd.scope(5), runc's docs/systemd.md.
"""

from __future__ import annotations

import os
import re
import socket
from collections import deque
from pathlib import Path
from typing import Any

from minicontainer.errors import Error, Unsupported
from minicontainer.launch import reach_libraries
from minicontainer.linux.cgroups import own_cgroup
from minicontainer.linux.namespaces import in_user_namespace
from minicontainer.runtime.cgroup_paths import unit_of, unit_path
from minicontainer.runtime.systemd_values import Value, annotation_properties, resource_properties
from minicontainer.trace.events import step

NAME = "org.freedesktop.systemd1"
MANAGER = f"{NAME}.Manager"
OBJECT = "/org/freedesktop/systemd1"
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
SECONDS = 30.0
ACCOUNTING = ("MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting")


class BusError(Error):
    """systemd refused a request; `name` is D-Bus's name of the error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"systemd: {text or name}")
        self.name = name


def scope_path(config: dict[str, Any], identifier: str) -> str:
    """Say where the cgroup of a scope will be, before systemd makes it. Raises SpecError, Unsupported.

    A user's systemd makes its groups below its own.
    """
    require_systemd()
    path = unit_path(*wanted_unit(config, identifier))
    if not is_users():
        return path
    with Manager() as manager:
        return manager.read("ControlGroup").rstrip("/") + path


@step
def start_scope(config: dict[str, Any], identifier: str, pid: int) -> str:
    """Let systemd make a scope and put the container's first process into it.

    Returns the path of its cgroup. A failed unit of the same name, left by an earlier container, is cleared
    away.
    """
    slice_name, unit = wanted_unit(config, identifier)
    resources = (config.get("linux") or {}).get("resources") or {}
    with Manager() as manager:
        wanted = scope_properties(slice_name, identifier, pid)
        wanted.update(resource_properties(resources, manager.version()))
        wanted.update(annotation_properties(config.get("annotations") or {}))
        try:
            manager.start(unit, wanted)
        except BusError as problem:
            if problem.name != f"{NAME}.UnitExists":
                raise
            manager.reset_failed(unit)
            manager.start(unit, wanted)
    return own_cgroup(pid)


def wanted_unit(config: dict[str, Any], identifier: str) -> tuple[str, str]:
    """Read `linux.cgroupsPath` as (slice, unit); a user's systemd has no system.slice."""
    asked = (config.get("linux") or {}).get("cgroupsPath") or ""
    slice_name, unit = unit_of(asked, identifier)
    if is_users() and not asked.partition(":")[0]:
        slice_name = "user.slice"
    return slice_name, unit


def scope_properties(slice_name: str, identifier: str, pid: int) -> dict[str, Value]:
    """Describe the scope: below its slice, delegated to us, with all accounting, started with one process."""
    return {
        "Description": ("s", f"container {identifier}"),
        "Slice": ("s", slice_name),
        "Delegate": ("b", True),
        "PIDs": ("au", [pid]),
        "DefaultDependencies": ("b", False),
        **{name: ("b", True) for name in ACCOUNTING},
    }


@step
def update_unit(path: str, resources: dict[str, Any], bus: str = "") -> None:
    """Tell systemd the container's new limits, that it does not restore the old ones."""
    with Manager(bus) as manager:
        changed = resource_properties(resources, manager.version())
        if changed:
            manager.call("SetUnitProperties", "sba(sv)", (unit_name(path), True, list(changed.items())))


@step
def stop_unit(path: str, bus: str = "") -> None:
    """Let systemd stop the container's scope and forget it; one that is not there is no error.

    `bus` is where it was started: the caller's environment may no longer say so.
    """
    unit = unit_name(path)
    with Manager(bus) as manager:
        try:
            manager.job("StopUnit", "ss", (unit, "replace"))
        except BusError as problem:
            if problem.name != f"{NAME}.NoSuchUnit":
                raise
        manager.reset_failed(unit)


def unit_name(path: str) -> str:
    """Give the unit whose cgroup lies at `path`."""
    return path.rstrip("/").rpartition("/")[2]


def is_running() -> bool:
    """Tell whether systemd is this machine's init, as sd_booted(3) does."""
    return Path("/run/systemd/system").is_dir()


def require_systemd() -> None:
    """Raise Unsupported where systemd does not run."""
    if not is_running():
        raise Unsupported(
            "systemd is not running, so it cannot make a cgroup",
            "leave --systemd-cgroup away on this machine",
        )


def is_users() -> bool:
    """Tell whether the systemd that manages us is a user's own, not the system's."""
    return os.geteuid() != 0 or in_user_namespace()


def bus_address() -> str:
    """Find the bus of the systemd that manages us: the system's, or a user's own. Raises Unsupported."""
    if not is_users():
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
    given = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    folder = os.environ.get("XDG_RUNTIME_DIR")  # may be set and empty
    if not given and not folder:
        raise Unsupported(
            "systemd cgroups need the user's D-Bus", "set DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR"
        )
    return given or f"unix:path={folder}/bus"


def connect(address: str) -> Any:
    """Open a connection to a bus. Raises Unsupported where nobody answers there."""
    reach_libraries()
    from jeepney.bus import get_bus
    from jeepney.io.blocking import DBusConnection

    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(SECONDS)
        line.connect(get_bus(address))
        authenticate(line)
        line.settimeout(None)
        return DBusConnection(line)
    except (OSError, RuntimeError, ValueError) as problem:
        line.close()
        raise Unsupported(f"systemd cannot be reached by D-Bus at {address}: {problem}") from problem


def authenticate(line: socket.socket) -> None:
    """Be whom the kernel says we are: in a user namespace our own number for that is not the bus's."""
    line.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
    answer = b""
    while answer.count(b"\r\n") < len(("DATA", "OK")) and not answer.startswith((b"REJECTED", b"ERROR")):
        part = line.recv(4096)
        if not part:
            raise ConnectionError("the bus has hung up")
        answer += part
    if b"\r\nOK " not in answer:
        raise ConnectionError(f"the bus does not let us in: {answer.decode(errors='replace').strip()}")
    line.sendall(b"BEGIN\r\n")


class Manager:
    """systemd's manager object, on a connection of its own."""

    def __init__(self, bus: str = "") -> None:
        require_systemd()
        self.connection = connect(bus or bus_address())

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, message: Any) -> Any:
        """Send a call and give the body of its answer. Raises BusError."""
        from jeepney import DBusErrorResponse
        from jeepney.wrappers import unwrap_msg

        try:
            return unwrap_msg(self.connection.send_and_get_reply(message, timeout=SECONDS))
        except DBusErrorResponse as problem:
            raise BusError(problem.name, " ".join(map(str, problem.data or ()))) from problem
        except (TimeoutError, ConnectionError) as problem:
            raise BusError("", f"no answer: {problem}") from problem

    def call(self, method: str, signature: str, body: tuple[object, ...]) -> Any:
        """Call a method of the manager."""
        from jeepney import DBusAddress, new_method_call

        address = DBusAddress(OBJECT, bus_name=NAME, interface=MANAGER)
        return self.send(new_method_call(address, method, signature, body))

    def version(self) -> int:
        """Ask which systemd this is: `252.30-1~deb12u2` is 252; 0 when it does not say."""
        found = re.search("[0-9]+", self.read("Version"))
        return int(found.group()) if found else 0

    def read(self, name: str) -> str:
        """Read a property of the manager."""
        from jeepney import DBusAddress, Properties

        (answer,) = self.send(Properties(DBusAddress(OBJECT, bus_name=NAME, interface=MANAGER)).get(name))
        return str(answer[1])

    def start(self, unit: str, properties: dict[str, Value]) -> None:
        """Start a transient unit, and wait until its processes are in it."""
        self.job("StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "replace", list(properties.items()), []))

    def job(self, method: str, signature: str, body: tuple[object, ...]) -> None:
        """Ask for something that takes a job, and wait for its end. Raises BusError unless it is done."""
        from jeepney import MatchRule
        from jeepney.bus_messages import message_bus

        removed = {"type": "signal", "interface": MANAGER, "member": "JobRemoved", "path": OBJECT}
        arrived: deque[Any] = deque()
        # Listening begins before the call: the job may end before its number is known here.
        self.send(message_bus.AddMatch(MatchRule(sender=NAME, **removed)))
        self.call("Subscribe", "", ())
        # The bus knows whose name it is; the signal itself carries the sender's unique name.
        with self.connection.filter(MatchRule(**removed), queue=arrived):
            (job,) = self.call(method, signature, body)
            while (ended := self.next_job(arrived, str(body[0])))[1] != job:
                pass
        if ended[3] != "done":
            self.reset_failed(str(body[0]))
            raise BusError("", f"{method} of {body[0]} ended as {ended[3]}")

    def next_job(self, arrived: deque[Any], unit: str) -> Any:
        """Wait for the end of any job: (number, path, unit, result)."""
        try:
            return self.connection.recv_until_filtered(arrived, timeout=SECONDS).body
        except (TimeoutError, ConnectionError) as problem:
            raise BusError("", f"no word about {unit} within {SECONDS:.0f} s") from problem

    def reset_failed(self, unit: str) -> None:
        """Let systemd forget that a unit has failed, if it has."""
        try:
            self.call("ResetFailedUnit", "s", (unit,))
        except BusError as problem:
            if problem.name != f"{NAME}.NoSuchUnit":
                raise
