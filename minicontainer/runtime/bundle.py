"""The bundle: a directory with config.json and a root file system.

Implements runtime-spec, bundle.md.
"""

from __future__ import annotations

import posix

from minicontainer.errors import SpecError, Unsupported
from minicontainer.linux.paths import O_PATH
from minicontainer.oci.check import check_config, unknown_capabilities
from minicontainer.oci.json_text import loads
from minicontainer.runtime.container import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST_CONFIG = 16 << 20
PRIVATE_KINDS = ("network", "ipc", "uts")
NOT_SUPPORTED = ("intelRdt", "netDevices")
NS_NAMES = {"network": "net", "ipc": "ipc", "uts": "uts"}


def absolute(path: str) -> str:
    """Make a path absolute and free of links, as it will be recorded. Raises SpecError in runc's words."""
    here = posix.open(".", O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        posix.chdir(path)
        return posix.getcwd()
    except OSError as problem:
        raise SpecError("", f"chdir {path}: {posix.strerror(problem.errno or 0).lower()}") from None
    finally:
        posix.fchdir(here)
        posix.close(here)


def load_config(bundle: str) -> tuple[dict[str, Any], bytes]:
    """Read and judge a bundle's config.json; returns it decoded and as it was. Raises SpecError."""
    try:
        raw = read_file(f"{bundle}/config.json")
    except FileNotFoundError:
        raise SpecError(
            "", "JSON specification file config.json not found", hint=f"looked in {bundle}"
        ) from None
    except OSError as problem:
        raise SpecError("config.json", posix.strerror(problem.errno or 0).lower()) from None
    config: Any = loads(raw, LONGEST_CONFIG)
    check_config(config)
    check_against_machine(config)
    if unknown := unknown_capabilities(config):
        from minicontainer.runtime.log import warn

        warn(f"ignoring capabilities that no kernel knows: {', '.join(unknown)}")
    return config, raw


def check_against_machine(config: dict[str, Any]) -> None:
    """Refuse what this kernel, or this runtime, cannot give, before anything is made."""
    process, linux = config.get("process") or {}, config.get("linux") or {}
    for name in NOT_SUPPORTED:
        if linux.get(name):
            raise Unsupported(f"linux.{name}: this runtime does not support it")
    labels = [process.get("apparmorProfile"), process.get("selinuxLabel"), linux.get("mountLabel")]
    if any(labels):
        from minicontainer.runtime.labels import check_labels

        check_labels(*[label or "" for label in labels])
    if linux.get("sysctl"):
        from minicontainer.oci.sysctls import check_sysctls

        check_sysctls(linux["sysctl"], private_namespaces(linux.get("namespaces") or []))


def private_namespaces(namespaces: list[dict[str, Any]]) -> list[str]:
    """List the kinds of namespaces that are not the host's; one joined by path counts if it is another."""
    private = []
    for namespace in namespaces:
        kind, path = namespace["type"], namespace.get("path")
        if kind in PRIVATE_KINDS and (not path or is_foreign(kind, path)):
            private.append(kind)
    return private


def is_foreign(kind: str, path: str) -> bool:
    """Tell whether a namespace is another than ours."""
    try:
        theirs, ours = posix.stat(path), posix.stat(f"/proc/self/ns/{NS_NAMES[kind]}")
    except OSError:
        return True  # opening it will fail with the reason
    return (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)
