"""A container's systemd scope through its life: entered by `create`, told by `update`, stopped by `delete`.

    create   clone3 -> the first process waits -> systemd moves it -> limits -> GO
    delete   cgroup.kill -> systemd stops the scope, or finds it gone

The record has the scope from the moment that systemd has agreed to it: before, a unit of its name may be
another container's. A `create` that is killed in between leaves an empty scope, which systemd forgets by
itself.

See runc's docs/systemd.md; systemd.scope(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicontainer.errors import Unsupported
from minicontainer.runtime.cgroup import open_existing
from minicontainer.runtime.cgroup_limits import apply_resources, require_controllers
from minicontainer.runtime.channel import GO
from minicontainer.runtime.log import warn
from minicontainer.runtime.resources import check_usage, completed, controllers_needed
from minicontainer.runtime.systemd import bus_address, start_scope, stop_unit, unit_name, update_unit

if TYPE_CHECKING:
    from minicontainer.runtime.cgroup import Group
    from minicontainer.runtime.container import Container
    from minicontainer.runtime.first_process import FirstProcess


def enter_scope(container: Container, first: FirstProcess, config: dict[str, Any]) -> None:
    """Let systemd put the waiting first process into a scope, set the limits there, and let it go on."""
    path = start_scope(config, container.identifier, first.pid)
    container.save(cgroup=path, scope=unit_name(path), bus=bus_address())
    group = open_existing(path)
    try:
        apply_resources(group, (config.get("linux") or {}).get("resources") or {})
    finally:
        group.close()
    first.channel.say(GO)


def update_scope(container: Container, group: Group, resources: dict[str, Any]) -> None:
    """Let systemd know the new limits of a scope, after the checks that come before any change."""
    check_usage(resources.get("memory") or {}, group.directory)
    whole = completed(resources, group.directory)
    require_controllers(controllers_needed(whole))
    update_unit(group.path, whole, container.record.get("bus") or "")


def stop_scope(container: Container) -> bool:
    """Let systemd end a container's scope; False, with a warning, where it can no longer be reached."""
    try:
        stop_unit(container.record["cgroup"], container.record.get("bus") or "")
    except Unsupported as problem:
        warn(f"the scope of {container.identifier} is removed without systemd: {problem}")
        return False
    return True
