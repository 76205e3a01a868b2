"""Limits become writes into the files of a cgroup, and controllers are handed down to it first.

What the machine cannot give is refused by name ("controller memory is not available"), before anything is
made. The device rules are no file: they are a program that the kernel asks at each opening of a device.

See cgroups(7), <Documentation/admin-guide/cgroup-v2.rst> "Controlling Controllers", "Device controller".
"""

from __future__ import annotations

import errno
import posix

from minicontainer.errors import KernelError, Unsupported
from minicontainer.linux.cgroups import has_control, open_group, read_control, write_control
from minicontainer.linux.namespaces import in_user_namespace
from minicontainer.runtime.cgroup_paths import open_path, whole_path
from minicontainer.runtime.resources import (
    check_usage,
    completed,
    control_writes,
    controllers_needed,
    is_optional,
)
from minicontainer.trace.events import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from minicontainer.runtime.cgroup import Group


def require_controllers(needed: Iterable[str]) -> None:
    """Refuse limits for which this machine has no controller."""
    if not needed:
        return
    directory = open_path("/")
    available: list[str] = []
    if directory is not None:
        try:
            available = read_control(directory, "cgroup.controllers").split()
        finally:
            posix.close(directory)
    for name in sorted(needed):
        if name not in available:
            raise Unsupported(
                f"controller {name} is not available in cgroup v2",
                "a controller that a cgroup v1 hierarchy uses is not in v2" if directory is not None else "",
            )


def enable_controllers(path: str, needed: Iterable[str]) -> None:
    """Give exactly these controllers from the root down to the group, where they are not given yet."""
    if not needed:
        return
    here = "/"
    for part in path.strip("/").split("/"):
        directory = open_group(whole_path(here))
        try:
            given = read_control(directory, "cgroup.subtree_control").split()
            missing = [f"+{name}" for name in sorted(needed) if name not in given]
            if missing:
                write_control(directory, "cgroup.subtree_control", " ".join(missing))
        finally:
            posix.close(directory)
        here = f"{here.rstrip('/')}/{part}"


@step
def apply_resources(group: Group, resources: dict[str, Any], update: bool = False) -> None:
    """Set the cgroup's limits: numbers in its files, and for devices a small program in the kernel.

    cgroups(7), bpf(2)

    For a new group before anything runs in it; with `update` what is not said stays as it is. Raises
    SpecError, Unsupported for a controller that is not there, KernelError for a value that the kernel
    refuses.
    """
    if update:
        check_usage(resources.get("memory") or {}, group.directory)
        resources = completed(resources, group.directory)
    needed = controllers_needed(resources)
    if needed:
        missing = needed.difference(read_control(group.directory, "cgroup.controllers").split())
        require_controllers(missing)
        enable_controllers(group.path, missing)
    bfq = bool(resources.get("blockIO")) and has_control(group.directory, "io.bfq.weight")
    write_all(group.directory, control_writes(resources, bfq))
    filter_devices(group.directory, resources.get("devices") or [], update)


def write_all(directory: int, writes: list[tuple[str, str]]) -> None:
    """Write one value after the other; a burst above the old quota is written again after the new one."""
    late = []
    for name, value in writes:
        try:
            write_control(directory, name, value)
        except KernelError as problem:
            if problem.errno == errno.ENOENT:
                refuse_missing(directory, name, value)
            elif problem.errno == errno.EINVAL and name == "cpu.max.burst" and "cpu.max" in dict(writes):
                late.append(value)
            else:
                raise
    for value in late:
        write_control(directory, "cpu.max.burst", value)


def refuse_missing(directory: int, name: str, value: str) -> None:
    """Say which limit cannot be set because the group has no such file, unless it asks for nothing."""
    if is_optional(name, value):
        return
    controller = name.partition(".")[0]
    # Not "no such file": podman takes these words for a program that was not found.
    if controller in read_control(directory, "cgroup.controllers").split():
        raise Unsupported(f"{name} is not available: this kernel's controller {controller} does not have it")
    raise Unsupported(f"controller {controller} is not available, so {name} cannot be set")


def filter_devices(directory: int, rules: list[dict[str, Any]], update: bool) -> None:
    """Let the cgroup open only the devices that the rules allow, and the default ones.

    An update that only denies everything leaves the filter as it is: podman sends it with every update, and
    it would take away the devices of the container's own configuration. To an ordinary user, and in a user
    namespace, the kernel may refuse the filter: device nodes cannot be made there in the first place.
    """
    if update and not any(rule.get("allow") for rule in rules):
        return
    from minicontainer.linux.device_filter import (
        attach_device_filter,
        container_rules,
        replace_device_filter,
    )

    attach = replace_device_filter if update else attach_device_filter
    try:
        attach(directory, container_rules(rules))
    except KernelError as problem:
        if problem.errno != errno.EPERM or not (posix.geteuid() or in_user_namespace()):
            raise
