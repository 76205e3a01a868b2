"""QMP: the questions that QEMU itself answers, beside the guest: freeze, restore, end.

See QEMU's docs/interop/qmp-spec.rst and qemu-qmp-ref(7).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minicontainer.vm.conversation import GuestError, Lines, Message

WAIT = 60.0  # seconds for one answer
GLANCE = 0.005


class Monitor:
    """The control connection of one QEMU."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        lines.read(WAIT)  # the greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> Any:
        """Ask one thing. Raises GuestError, with QEMU's words when it refuses."""
        answer: Message = {}
        try:
            self._lines.write({"execute": command, "arguments": arguments})
            while not answer.keys() & {"return", "error"}:  # what else comes are events
                answer = self._lines.read(WAIT)
        except OSError as problem:
            raise GuestError(f"QEMU does not answer {command}: {problem or 'time is up'}") from problem
        if "error" in answer:
            raise GuestError(f"QEMU refused {command}: {answer['error']['desc']}")
        return answer["return"]

    @property
    def channel(self) -> socket.socket:
        """The connection, for who only listens to QEMU's events from now on."""
        return self._lines.channel

    def close(self) -> None:
        """Hang up."""
        self._lines.close()

    def save(self, state: Path, check_alive: Callable[[], None]) -> None:
        """Stop the guest and write its devices to `state`; its memory is a file already and stays there."""
        self.ask("stop")
        self._leave_memory_alone()
        self.ask("migrate", uri=file_uri(state, "cat >"))
        self._wait_for("query-migrate", {"completed"}, check_alive)

    def load(self, state: Path, check_alive: Callable[[], None]) -> None:
        """Read the devices of a frozen guest, and let it go on."""
        self._leave_memory_alone()
        self.ask("migrate-incoming", uri=file_uri(state, "cat <"))
        self._wait_for("query-status", {"paused", "postmigrate", "prelaunch", "running"}, check_alive)
        self.ask("cont")

    def _leave_memory_alone(self) -> None:
        capability = {"capability": "x-ignore-shared", "state": True}
        self.ask("migrate-set-capabilities", capabilities=[capability])

    def _wait_for(self, question: str, wanted: set[str], check_alive: Callable[[], None]) -> None:
        while (status := self.ask(question).get("status")) not in wanted:
            check_alive()
            if status == "failed":
                raise GuestError("QEMU could not write the frozen guest")
            time.sleep(GLANCE)


def file_uri(path: Path, redirection: str) -> str:
    """Name a file to migrate to or from, for every version of QEMU: through a shell, quoted."""
    quoted = "'" + str(path).replace("'", "'\\''") + "'"
    return f"exec:{redirection} {quoted}"
