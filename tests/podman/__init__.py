"""podman, unmodified, on the runtime under test."""

NEEDS = (
    "root",
    "cgroup2",
    "filesystem:overlay",
    "tool:busybox",
    "tool:podman",
    "tool:conmon",
    "tool:nsenter",
)
