"""mmdebstrap, started so that whatever kills us leaves no program, no mount, and only files to be swept.

    unshare [user namespace] mount and pid namespace -> mmdebstrap -> apt, dpkg, the packages' scripts

By itself it ends long after it was told to, and root's leaves mounts behind. In a pid namespace all of it
ends with its first process, and the mounts go with their namespace. An ordinary user's subordinate ids own
the files. Images are made with it, and the disks of virtual machines.

See mmdebstrap(1), unshare(1) "--kill-child", "--map-auto"; pid_namespaces(7), subuid(5).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from minicontainer.errors import Unsupported
from minicontainer.image.epoch import ENVIRONMENT
from minicontainer.linux import programs
from minicontainer.linux.long_programs import ProgramFailedError, run_with_files

# What mmdebstrap says when it begins something that takes a while, and what we say then.
STAGES = {
    "running apt-get update": "reading Debian's lists of packages",
    "downloading packages": "fetching packages",
    "extracting archives": "unpacking the essential ones",
    "installing essential packages": "installing the essential ones",
    "installing remaining packages": "installing the others (this takes longest)",
    "creating tarball": "packing",
}
HOOK = "running --customize-hook"
ALONE = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
AS_USER = ("--user", "--map-root-user", "--map-auto")
SUBORDINATE_IDS = (Path("/etc/subuid"), Path("/etc/subgid"))
# 1 where AppArmor lets only some programs make user namespaces: mmdebstrap is one of them, unshare is not.
RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def mmdebstrap(
    command: list[str], directory: Path, tell: Callable[[str], None], more: Mapping[str, str] | None = None
) -> None:
    """Run mmdebstrap, which works below `directory`; `tell` what it says. Raises ProgramFailedError.

    `more` are variables for it and for what it runs.
    """
    environment = ENVIRONMENT | dict(more or {})
    if os.geteuid() and restricted():
        run_with_files(command, environment=environment, tell=tell)
        return
    user = AS_USER if os.geteuid() else ()
    words = ["unshare", *user, *ALONE, "--", *command]
    environment["TMPDIR"] = str(directory)
    run_with_files(words, environment=environment, tell=tell, ending=signal.SIGKILL)


def meanings(tell: Callable[[str], None], hooks: str) -> Callable[[str], None]:
    """Make a listener for mmdebstrap's lines that tells what they mean; `hooks` is what ours mean."""
    stages = STAGES | {HOOK: hooks}
    told = ""

    def pass_on(line: str) -> None:
        nonlocal told
        for beginning, meaning in stages.items():
            if line.startswith(f"I: {beginning}") and meaning != told:
                tell(meaning)
                told = meaning

    return pass_on


def complaint(problem: ProgramFailedError) -> str:
    """Pick the last words of a failed mmdebstrap that are not about its progress."""
    said = [line.removeprefix("E: ") for line in problem.said if line and not line.startswith("I: ")]
    return " | ".join(said[-3:]) or str(problem)


def restricted() -> bool:
    """Tell whether unshare may not give an ordinary user a namespace."""
    return RESTRICTION.exists() and RESTRICTION.read_text().strip() != "0"


def check_subordinate_ids() -> None:
    """Look for the ids that an ordinary user makes an image's many owners of. Raises Unsupported."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    for path in SUBORDINATE_IDS:
        lines = path.read_text().splitlines() if path.exists() else []
        if not any(line.split(":")[0] in {user, str(os.geteuid())} for line in lines):
            raise Unsupported(
                f"{path} gives no subordinate ids to {user}, and a Debian system has files of many owners",
                f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )


def clear(directory: Path) -> None:
    """Remove a directory in which mmdebstrap worked, with what belongs to our subordinate ids."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists() and os.geteuid():
        programs.run(["unshare", *AS_USER, "--", "rm", "-rf", "--one-file-system", str(directory)])
