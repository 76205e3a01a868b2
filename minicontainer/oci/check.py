"""Whether a config.json, a process or a set of resources is one that the specification allows.

First the table: types, ranges, words, required members. Then the rules that tie members together, which is
what the rest of this module and `check_linux` are. The first thing that is wrong is raised, with its path.
What only the machine can tell (is the source there, has the kernel this controller) is not asked here.

Implements runtime-spec config.md; where it leaves room, what runc 1.3 refuses.
"""

from __future__ import annotations

from minicontainer.errors import SpecError
from minicontainer.oci import words
from minicontainer.oci.check_linux import check_linux, check_mount_mappings, check_resource_values
from minicontainer.oci.schema import CONFIG, PROCESS
from minicontainer.oci.schema_resources import RESOURCES
from minicontainer.oci.shape import Rule, beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

LONGEST_HOST_NAME = 64
MOST_GROUPS = 65536  # NGROUPS_MAX, limits.h

_FIXED_PRIORITY = ("SCHED_FIFO", "SCHED_RR")
_NICE = ("SCHED_OTHER", "SCHED_BATCH")


def check_config(config: object) -> None:
    """Raise SpecError unless `config`, decoded from config.json, can be made into a container.

    `process` may be absent: such a container can be created, but not started.
    """
    if config is None:
        raise SpecError("", "config cannot be null")
    CONFIG.check(config)
    members: dict[str, Any] = config  # type: ignore[assignment]
    if members.get("root") is None:
        raise SpecError("root", "root must be specified")
    if (process := members.get("process")) is not None:
        _check_process_values(process, "process")
    check_mount_mappings(members.get("mounts") or ())
    linux = members.get("linux") or {}
    check_linux(linux)
    _check_host_names(members, linux)
    if "" in (members.get("annotations") or ()):
        raise SpecError('annotations[""]', "the key of an annotation must not be empty")


def check_process(process: object) -> None:
    """Raise SpecError unless `process`, decoded from the file of `exec --process`, can be executed."""
    if process is None:
        raise SpecError("process", "process cannot be null")
    _check_at("process", PROCESS, process)
    _check_process_values(process, "process")  # type: ignore[arg-type]


def check_resources(resources: object) -> None:
    """Raise SpecError unless `resources`, decoded from the file of `update --resources`, can be written."""
    if resources is None:
        raise SpecError("resources", "resources cannot be null")
    _check_at("resources", RESOURCES, resources)
    check_resource_values(resources, "resources")  # type: ignore[arg-type]


def unknown_capabilities(config: dict[str, Any]) -> list[str]:
    """Name the capabilities of a checked config that no kernel knows: worth a warning, as runc gives."""
    from minicontainer.linux.capabilities import NUMBERS

    sets = (config.get("process") or {}).get("capabilities") or {}
    wanted = {name for each in words.CAPABILITY_SETS for name in sets.get(each) or ()}
    return sorted(wanted.difference(NUMBERS))


def _check_at(path: str, rule: Rule, value: object) -> None:
    try:
        rule.check(value)
    except SpecError as problem:
        raise beneath(path, problem) from None


def _check_process_values(process: dict[str, Any], path: str) -> None:
    if not process.get("args"):
        raise SpecError(f"{path}.args", "args must not be empty")
    if process["cwd"][:1] != "/":
        raise SpecError(f"{path}.cwd", "Cwd must be an absolute path")
    for index, variable in enumerate(process.get("env") or ()):
        if "=" not in variable[1:]:
            raise SpecError(f"{path}.env[{index}]", "expected NAME=VALUE with a name that is not empty")
    if len((process.get("user") or {}).get("additionalGids") or ()) > MOST_GROUPS:
        raise SpecError(f"{path}.user.additionalGids", f"a process can have {MOST_GROUPS} groups at most")
    _check_rlimits(process.get("rlimits") or (), path)
    if (scheduler := process.get("scheduler")) is not None:
        _check_scheduler(scheduler, f"{path}.scheduler")


def _check_rlimits(rlimits: Iterable[dict[str, Any]], path: str) -> None:
    seen = set()
    for index, limit in enumerate(rlimits):
        if limit["soft"] > limit["hard"]:
            raise SpecError(
                f"{path}.rlimits[{index}].soft", "the soft limit must not be above the hard limit"
            )
        if limit["type"] in seen:
            raise SpecError(f"{path}.rlimits[{index}].type", f"{limit['type']} is listed twice")
        seen.add(limit["type"])


def _check_scheduler(scheduler: dict[str, Any], path: str) -> None:
    """Refuse the combinations that sched_setattr(2) refuses, as runc does."""
    policy = scheduler["policy"]
    if policy in _NICE and not -20 <= scheduler.get("nice", 0) <= 19:  # noqa: PLR2004
        raise SpecError(f"{path}.nice", f"expected an integer from -20 to 19 with {policy}")
    if scheduler.get("priority", 0) != 0 and policy not in _FIXED_PRIORITY:
        raise SpecError(f"{path}.priority", "can only be given with SCHED_FIFO or SCHED_RR")
    if policy != "SCHED_DEADLINE":
        for name in ("runtime", "deadline", "period"):
            if scheduler.get(name, 0) != 0:
                raise SpecError(f"{path}.{name}", "can only be given with SCHED_DEADLINE")


def _check_host_names(config: dict[str, Any], linux: dict[str, Any]) -> None:
    for name in ("hostname", "domainname"):
        value = config.get(name)
        if not value:
            continue
        if len(value.encode("utf-8", "surrogatepass")) > LONGEST_HOST_NAME:
            raise SpecError(name, f"must not be longer than {LONGEST_HOST_NAME} bytes")
        if not any(namespace["type"] == "uts" for namespace in linux.get("namespaces") or ()):
            raise SpecError(name, f"unable to set {name} without a private UTS namespace")
    sysctls = linux.get("sysctl") or {}
    for name in ("kernel.domainname", "kernel/domainname"):
        if config.get("domainname") and sysctls.get(name, config["domainname"]) != config["domainname"]:
            raise SpecError(f'linux.sysctl["{name}"]', "contradicts domainname")
