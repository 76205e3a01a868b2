"""What the runtime hands to the container's first process: plan, open descriptors, facts looked up before.

Made in the parent just before clone3; the child reads it and nothing else of the host.

See clone3(2).
"""

from __future__ import annotations

from minicontainer.trace.events import witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minicontainer.runtime.plan import InitPlan


class Handover:
    """The first process's luggage. Descriptors are -1 where there is none."""

    __slots__ = (
        "bind_devices",
        "cgroup_source",
        "console_fd",
        "environment",
        "joined",
        "last_capability",
        "memory_policy",
        "personality",
        "plan",
        "program",
        "result_fd",
        "rootfs_fd",
        "start_fd",
        "state",
    )

    def __init__(self, plan: InitPlan, state: dict[str, Any]) -> None:
        self.plan = plan
        self.state = state  # what hooks get on stdin, but for status and pid
        self.joined: list[tuple[str, int]] = []
        self.console_fd = self.start_fd = self.result_fd = self.rootfs_fd = -1
        self.cgroup_source = ""
        self.bind_devices = False
        self.last_capability = 40
        self.environment: dict[str, str] = {}
        self.program = ""
        self.personality = personality_number(plan.personality)
        self.memory_policy = memory_policy(plan.memory_policy)

    def descriptors(self) -> list[int]:
        """List what the first process needs open, the witnesses' files included."""
        held = [self.console_fd, self.start_fd, self.result_fd, self.rootfs_fd]
        held += [fd for _, fd in self.joined] + [entry.source_fd for entry in self.plan.mounts]
        return held + [fd for witness in witnesses for fd in witness.descriptors()]


def personality_number(wanted: dict[str, Any] | None) -> int:
    """Turn `linux.personality` into what personality(2) takes."""
    domain = (wanted or {}).get("domain")
    if not domain:
        return 0
    from minicontainer.linux.scheduling import PERSONALITIES

    return PERSONALITIES[domain]


def memory_policy(policy: dict[str, Any] | None) -> tuple[int, list[int]]:
    """Turn `linux.memoryPolicy` into what set_mempolicy(2) takes."""
    if not policy:
        return 0, []
    from minicontainer.linux.scheduling import MEMORY_FLAGS, MEMORY_MODES, numbers_of

    mode = MEMORY_MODES[policy["mode"]]
    for flag in policy.get("flags") or []:
        mode |= MEMORY_FLAGS[flag]
    return mode, numbers_of(policy["nodes"]) if policy.get("nodes") else []
