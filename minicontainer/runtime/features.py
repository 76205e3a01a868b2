"""What this runtime can do, as `features` tells it: each claim comes from the table that the code uses.

Implements runtime-spec, features.md, features-linux.md.
"""

from __future__ import annotations

from minicontainer import __version__
from minicontainer.linux.capabilities import NUMBERS
from minicontainer.linux.namespaces import KINDS
from minicontainer.linux.scheduling import MEMORY_FLAGS, MEMORY_MODES
from minicontainer.linux.seccomp_architectures import ARCHITECTURES
from minicontainer.oci import words
from minicontainer.runtime.container import SPEC_VERSION
from minicontainer.runtime.mount_options import ATTRIBUTES, FILESYSTEM_FLAGS, IDMAP, NOTHING, PROPAGATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
UNSAFE_ANNOTATIONS = (
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.keep_original_groups",
    "run.oci.seccomp.receiver",
    "org.systemd.property.",
)


def features() -> dict[str, Any]:
    """Describe the runtime; what depends on this machine is not asked here."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": mount_options(),
        "linux": linux_features(),
        "annotations": {"org.minicontainer.version": __version__},
        "potentiallyUnsafeConfigAnnotations": list(UNSAFE_ANNOTATIONS),
    }


def mount_options() -> list[str]:
    """List every option word that is not passed on to the file system."""
    plain = {*ATTRIBUTES, *PROPAGATION, *FILESYSTEM_FLAGS, *NOTHING, *IDMAP, "bind", "rbind", "tmpcopyup"}
    return sorted((plain | {"r" + word for word in ATTRIBUTES}) - {""})


def linux_features() -> dict[str, Any]:
    """Describe what is specific to Linux."""
    return {
        "namespaces": sorted(KINDS),
        "capabilities": list(NUMBERS),
        "cgroup": {"v1": False, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
        "seccomp": {
            "enabled": True,
            "actions": sorted(words.SECCOMP_ACTIONS),
            "operators": sorted(words.SECCOMP_OPERATORS),
            "archs": sorted(ARCHITECTURES),
            "knownFlags": sorted(words.SECCOMP_FLAGS),
            "supportedFlags": sorted(words.SECCOMP_FLAGS),
        },
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": False},
        "memoryPolicy": {"modes": sorted(MEMORY_MODES), "flags": sorted(MEMORY_FLAGS)},
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": False},
    }
