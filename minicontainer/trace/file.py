"""The trace file: the story as JSON lines, written by several processes at once.

One descriptor, opened with O_APPEND, is shared by all of them: each event is a single write(2), so lines
never mix. It is close-on-exec, so that the user's program never sees it. Telling an event imports nothing.
Descriptors among a call's arguments are told as `[number, what it names]`, looked up at the moment of the
call through a /proc that was opened before the container's own root took its place.

See open(2), "O_APPEND"; proc(5), "/proc/PID/fd".
"""

from __future__ import annotations

import posix
import time

from minicontainer.trace.json_lines import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

O_PATH_DIRECTORY_CLOEXEC = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC

# Which arguments of a call are descriptors, by position.
DESCRIPTORS = {
    "setns": (0,),
    "fsconfig": (0,),
    "fsmount": (0,),
    "move_mount": (0, 2),
    "open_tree": (0,),
    "mount_setattr": (0,),
    "fchdir": (0,),
    "fchmod": (0,),
    "fchown": (0,),
    "fchownat": (0,),
    "fsetxattr": (0,),
    "linkat": (0, 2),
    "clone3": (2,),
    "ioctl": (0,),
    "sendmsg": (0, 2),
    "sendto": (0,),
    "tcsetattr": (0,),
    "pidfd_getfd": (0,),
    "write_control": (0,),
    "write_procfs": (0,),
    "unlinkat": (0,),
    "mknodat": (0,),
    "symlinkat": (1,),
    "mkdirat": (0,),
    "pidfd_send_signal": (0,),
    "bpf_prog_attach": (0, 1, 2),
    "bpf_prog_detach": (0, 1),
}


class TraceFile:
    """A witness that writes each event as one line of JSON.

    Keys: `kind` (entered, left, calling, called), `pid` (as the process itself sees it), `role` (which of the
    runtime's processes), `at` (seconds, CLOCK_MONOTONIC), `step` or `name`, `arguments`, `result`, `errno`.
    """

    def __init__(self, descriptor: int, role: str = "runtime") -> None:
        self.descriptor = descriptor
        self.role = role
        self.proc = posix.open("/proc", O_PATH_DIRECTORY_CLOEXEC)

    def write(self, event: dict[str, object]) -> None:
        """Append one event."""
        event.update(pid=posix.getpid(), role=self.role, at=time.monotonic())
        posix.write(self.descriptor, (dumps(event) + "\n").encode())

    def entered(self, step: str) -> None:
        """Write that a step begins."""
        self.write({"kind": "entered", "step": step})

    def left(self, step: str) -> None:
        """Write that a step ended."""
        self.write({"kind": "left", "step": step})

    def calling(self, name: str, arguments: Sequence[object]) -> None:
        """Write a call that will not come back."""
        self.write({"kind": "calling", "name": name, "arguments": self.named(name, arguments)})

    def called(self, name: str, arguments: Sequence[object], result: object, number: int) -> None:
        """Write a call with its answer."""
        told = self.named(name, arguments)
        self.write({"kind": "called", "name": name, "arguments": told, "result": result, "errno": number})

    def flush(self) -> None:
        """Do nothing: every event is in the file already."""

    def descriptors(self) -> list[int]:
        """List what must stay open in a child: the file, and /proc."""
        return [self.descriptor, self.proc]

    def named(self, name: str, arguments: Sequence[object]) -> list[object]:
        """Write descriptors as their number and what they name."""
        told = list(arguments)
        for position in DESCRIPTORS.get(name, ()):
            number = told[position] if position < len(told) else None
            if isinstance(number, int) and number >= 0:
                told[position] = [number, self.target(number)]
        return told

    def target(self, number: int) -> str:
        """Say what a descriptor of this process names, or nothing when that cannot be seen from here."""
        try:
            # /proc/self of this /proc: right in a process of a new PID namespace too, because the mount is
            # the host's.
            return posix.readlink(f"self/fd/{number}", dir_fd=self.proc)
        except OSError:
            return ""
