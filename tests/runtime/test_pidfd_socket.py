"""--pidfd-socket: the caller is sent a handle of the process, which cannot come to mean another one.

Implements: runc(8) "--pidfd-socket"; pidfd_open(2), unix(7) "SCM_RIGHTS".
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts, nothing_left, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime
    from tests.runtime.terminals import ConsoleSocket

pytestmark = pytest.mark.requires("root", "cgroup2")


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
def test_the_caller_is_sent_a_handle_of_the_process(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket, workspace: Path, verb: str
) -> None:
    flags = ["--pid-file", str(workspace / "pid"), "--pidfd-socket", console.path]
    if verb == "create":
        done = runtime.create(bundle(), None, *flags)
    elif verb == "run":
        done = runtime.run(bundle().args("sleep", "1000"), None, "--detach", *flags)
    else:
        done = runtime.exec(runtime.sleeping(bundle()), "sleep", "1000", flags=["--detach", *flags])
    if runtime.deviates("no-pidfd-socket"):
        assert done.returncode != 0
        return
    accepts(done)
    fields = Path(f"/proc/self/fdinfo/{console.accept()}").read_text().split()
    assert fields[fields.index("Pid:") + 1] == (workspace / "pid").read_text()


def test_without_anybody_listening_nothing_is_made(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    made = bundle()
    done = runtime.create(made, None, "--pidfd-socket", str(workspace / "nobody"))
    refuses(runtime, done, deviation="unknown-flag")
    if runtime.deviates("pidfd-socket-left"):
        assert (runtime.root / made.id).exists()
    else:
        nothing_left(runtime, made.id)
