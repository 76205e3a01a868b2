"""mmdebstrap, started so that whatever kills us leaves no program, no mount, and only files to be swept.

    unshare [user namespace] mount and pid namespace -> mmdebstrap -> apt, dpkg, the packages' scripts

By itself it ends long after it was told to, and root's leaves mounts behind. In a pid namespace all of it
ends with its first process, and the mounts go with their namespace. An ordinary user's subordinate ids own
the files.

See mmdebstrap(1), unshare(1) "--kill-child", "--map-auto"; pid_namespaces(7), subuid(5).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from minicontainer.errors import Unsupported
from minicontainer.linux import programs
from minicontainer.linux.long_programs import run_with_files
from minicontainer.vm.recipe import ENVIRONMENT

ALONE = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
AS_USER = ("--user", "--map-root-user", "--map-auto")
SUBORDINATE_IDS = (Path("/etc/subuid"), Path("/etc/subgid"))
# 1 where AppArmor lets only some programs make user namespaces: mmdebstrap is one of them, unshare is not.
RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def mmdebstrap(command: list[str], directory: Path, tell: Callable[[str], None]) -> None:
    """Run mmdebstrap, which works below `directory`; `tell` what it says. Raises ProgramFailedError."""
    if os.geteuid() and restricted():
        run_with_files(command, environment=ENVIRONMENT, tell=tell)
        return
    user = AS_USER if os.geteuid() else ()
    environment = ENVIRONMENT | {"TMPDIR": str(directory)}
    words = ["unshare", *user, *ALONE, "--", *command]
    run_with_files(words, environment=environment, tell=tell, ending=signal.SIGKILL)


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
                f"{path} gives no subordinate ids to {user}, and a guest's image has files of many owners",
                f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )


def clear(directory: Path) -> None:
    """Remove a directory in which mmdebstrap worked, with what belongs to our subordinate ids."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists() and os.geteuid():
        programs.run(["unshare", *AS_USER, "--", "rm", "-rf", "--one-file-system", str(directory)])
