"""What a program in a container is going to be, decided before its process exists: for `run` and for `exec`.

Implements runtime-spec, config.md "Process".
"""

from __future__ import annotations

from minicontainer.linux.capabilities import mask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


class ProcessPlan:
    """The user's program and everything that is decided about it, for the first process and for exec."""

    __slots__ = (
        "affinity",
        "apparmor",
        "args",
        "capabilities",
        "console_size",
        "cwd",
        "env",
        "gid",
        "groups",
        "ioprio",
        "keep_groups",
        "no_new_privileges",
        "oom_score_adj",
        "rlimits",
        "scheduler",
        "seccomp",
        "seccomp_flags",
        "selinux",
        "terminal",
        "uid",
        "umask",
    )

    def __init__(self, process: dict[str, Any]) -> None:
        user = process.get("user") or {}
        self.args: list[str] = process.get("args") or []
        self.env: list[str] = process.get("env") or []
        self.cwd: str = process.get("cwd") or "/"
        self.uid: int = user.get("uid") or 0
        self.gid: int = user.get("gid") or 0
        self.groups: list[int] = user.get("additionalGids") or []
        self.umask: int | None = user.get("umask")
        self.terminal: bool = bool(process.get("terminal"))
        size = process.get("consoleSize") or {}
        self.console_size: tuple[int, int] | None = (size["height"], size["width"]) if size else None
        sets = process.get("capabilities") or {}
        self.capabilities = {name: mask(sets.get(name) or []) for name in CAPABILITY_SETS}
        self.no_new_privileges: bool = bool(process.get("noNewPrivileges"))
        self.rlimits: list[dict[str, Any]] = process.get("rlimits") or []
        self.oom_score_adj: int | None = process.get("oomScoreAdj")
        self.apparmor: str = process.get("apparmorProfile") or ""
        self.selinux: str = process.get("selinuxLabel") or ""
        ioprio = process.get("ioPriority")
        self.ioprio: tuple[str, int] | None = (
            (ioprio["class"], ioprio.get("priority") or 0) if ioprio else None
        )
        self.scheduler = scheduler_attributes(process["scheduler"]) if process.get("scheduler") else None
        self.affinity: dict[str, str] = process.get("execCPUAffinity") or {}
        self.keep_groups = False
        self.seccomp: bytes = b""
        self.seccomp_flags = 0


def scheduler_attributes(scheduler: dict[str, Any]) -> tuple[int, ...]:
    """Turn `process.scheduler` into what sched_setattr(2) takes."""
    from minicontainer.linux.scheduling import POLICIES, SCHEDULER_FLAGS

    flags = 0
    for name in scheduler.get("flags") or []:
        flags |= SCHEDULER_FLAGS[name]
    numbers = [scheduler.get(name) or 0 for name in ("nice", "priority", "runtime", "deadline", "period")]
    return (POLICIES[scheduler["policy"]], flags, *numbers)
