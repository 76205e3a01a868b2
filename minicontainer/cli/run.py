"""`minicontainer run`: from an image's name to the exit code of a program that ran in a container.

    image -> its layers and a writable one -> bundle (config.json) -> the OCI runtime, called in this process
    directory -----------------------------/

An image that is not here is made from its recipe or pulled. Nothing of a container outlives the command: the
bundle is removed, the writable layer hangs on this process's own mount namespace. Exit code: the program's;
128 + n when signal n ended it; 125, 126, 127 as docker has them.

See docker-run(1); docs/explain.md for `--explain` and `--prove`.
"""

from __future__ import annotations

import posix

from minicontainer.cli import places
from minicontainer.cli.config import CAPABILITIES, Wanted, config_text
from minicontainer.cli.scratch import lay_writable_layer, take_own_mount_table
from minicontainer.cli.source import Source, find_image
from minicontainer.cli.users import find_user
from minicontainer.errors import Error, NotFound, Unsupported
from minicontainer.linux.paths import S_IFDIR, S_IFMT, exists
from minicontainer.runtime.command_create import run_container
from minicontainer.runtime.interpreter import protect_interpreter
from minicontainer.runtime.lifecycle import CreateRequest
from minicontainer.runtime.main import default_root
from minicontainer.trace.events import witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minicontainer.explain.narrator import Narrator
    from minicontainer.runtime.container import Container

NAME_BYTES = 6  # of randomness; written as twelve hexadecimal digits, as docker shows them
LONGEST_NAME = 64
ALLOWED_IN_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"


def run(values: dict[str, Any]) -> int:
    """Run a container to its end; returns the exit code that docker would give."""
    if posix.geteuid() != 0:
        raise Unsupported(
            "`minicontainer run` needs root so far",
            hint="use sudo; an ordinary user can run a bundle: minicontainer-runtime spec --rootless; run",
        )
    protect_interpreter()
    source = find_source(values)
    container_id = values["id"] or posix.urandom(NAME_BYTES).hex()
    check_name(container_id)
    wanted = Wanted(container_id, source.directory, values, source.config)
    seccomp = seccomp_text()
    if not (values["interactive"] or values["tty"]):
        keep_standard_input()
    narrator = begin_story(values) if values["explain"] or values["prove"] else None
    try:
        code = run_in_bundle(wanted, source, seccomp)
    finally:
        if narrator is not None:
            witnesses.remove(narrator)
            narrator.end()
    return code


def keep_standard_input() -> None:
    """Give the program nothing to read: without `-i` our standard input stays ours, as with docker."""
    null = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)
    if null:
        posix.dup2(null, 0)
        posix.close(null)
    else:  # it was closed
        posix.set_inheritable(0, True)


def find_source(values: dict[str, Any]) -> Source:
    """Find the image, or the directory that `--rootfs` names. Raises NotFound, and what a pull raises."""
    given: str | None = values["rootfs"]
    if given is not None:
        if values["image"] is not None:  # there is no image: the first word belongs to the command
            values["command"] = [values["image"], *values["command"]]
        return Source(existing_directory(given))
    if values["image"] is None:
        raise NotFound("no image is named", hint="minicontainer run busybox, or --rootfs DIRECTORY")
    return find_image(values["image"])


def existing_directory(path: str) -> str:
    """Make a directory's path absolute. Raises NotFound."""
    try:
        kind = posix.stat(path).st_mode & S_IFMT
    except OSError as problem:
        raise NotFound(f"--rootfs {path}: {problem.strerror}") from None
    if kind != S_IFDIR:
        raise NotFound(f"--rootfs {path}: Not a directory")
    return path if path[:1] == "/" else f"{posix.getcwd()}/{path}"


def check_name(name: str) -> None:
    """Refuse a name that could not be a directory's and a host's. Raises Error."""
    usual = all(sign in ALLOWED_IN_NAMES for sign in name)
    if not usual or name[:1] in ("", ".", "-", "_") or len(name) > LONGEST_NAME:
        raise Error(
            f'"{name}" is not a name for a container', hint="letters, digits, and then also _ . -; at most 64"
        )


def seccomp_text() -> str:
    """Give Docker's seccomp profile for this machine as JSON, from the cache where it can be."""
    import minicontainer

    return places.cached("seccomp", f"{minicontainer.__path__[0]}/oci/docker_seccomp.json", make_seccomp)


def make_seccomp() -> str:
    """Cut Docker's profile down to this machine, this kernel and Docker's capabilities."""
    from minicontainer.launch import reach_libraries

    reach_libraries()
    from minicontainer.oci.docker_profile import default_seccomp
    from minicontainer.trace.json_lines import dumps

    machine = posix.uname()
    major, minor = machine.release.split(".")[:2]
    number = "".join([digit for digit in minor if digit.isdigit()])
    return dumps(default_seccomp(CAPABILITIES, machine.machine, (int(major), int(number))))


def begin_story(values: dict[str, Any]) -> Narrator:
    """Let the narrator watch from now on."""
    from minicontainer.launch import reach_libraries

    reach_libraries()
    from minicontainer.explain.narrator import begin

    narrator = begin(aloud=values["explain"], prove=values["prove"])
    witnesses.append(narrator)
    return narrator


def run_in_bundle(wanted: Wanted, source: Source, seccomp: str) -> int:
    """Write the bundle, run it, remove it."""
    root = default_root()
    places.remove_stale(known=lambda name: exists(f"{root}/{name}"))
    bundle = places.Bundle(wanted.container_id)
    lease = source.lease(wanted.container_id)
    try:
        if source.layers:
            take_own_mount_table()
            wanted.rootfs = lay_writable_layer(source.layers, places.make(f"{places.home()}/scratch"))
        user = find_user(wanted.user, wanted.rootfs)
        bundle.write_config(config_text(wanted, user, seccomp, rootless=False))
        return run_container(
            CreateRequest(root, wanted.container_id, bundle.path), last_look=last_look(wanted)
        )
    finally:
        if lease is not None:
            lease.end()
        bundle.remove()


def last_look(wanted: Wanted) -> Callable[[Container], None] | None:
    """Say what has to be looked at when the program has ended and the container's cgroup is still there."""
    memory = wanted.limits.get("memory")
    if not memory:
        return None
    from minicontainer.cli.limits import tell_kills

    return lambda container: tell_kills(container, memory["limit"])
