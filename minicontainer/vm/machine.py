"""One guest: start it, talk to its agent, stop it.

    Machine.run([...]) --virtio-serial--> agent --> the program
    Monitor            --QMP socket-----> QEMU itself (freeze, restore, end)
    console            <--serial port---- the kernel and the first programs

A guest is dead when QEMU has ended, when its console says so, or when it gives no answer in time; each raises
GuestError with the console's last lines. A guest never outlives the thread that started it.

See qemu(1); minicontainer/vm/guest for what runs inside.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from subprocess import Popen, TimeoutExpired  # noqa: TID251 - only the types: programs.start makes them

from minicontainer.errors import Error
from minicontainer.linux import programs
from minicontainer.vm.backend import Backend
from minicontainer.vm.conversation import Conversation, Ended, GuestError, Input, Lines, Message, Output
from minicontainer.vm.qemu import Plan, command_line
from minicontainer.vm.qmp import Monitor

SIGNS_OF_DEATH = ("Kernel panic", "guest: FATAL", "Oops:", "BUG:", "rcu_preempt detected stalls")
LAST_LINES = 15
BOOT_SECONDS = 120.0  # an emulated boot takes 7 s on an idle machine
POWER_OFF_SECONDS = 30.0
GLANCE = 0.01
SEED_BYTES = 64


@dataclass(slots=True)
class Machine:
    """A guest as planned, and its life."""

    plan: Plan
    qemu: list[str]
    backend: Backend
    process: Popen[bytes] | None = None
    agent: Conversation = field(init=False)
    monitor: Monitor | None = None
    deadline: float = 0

    # --- life ----------------------------------------------------------------------------------------

    def start(self, wait: float = BOOT_SECONDS) -> None:
        """Boot, or go on from a frozen state, until the agent answers. Raises GuestError."""
        self.deadline = time.monotonic() + wait
        self.begin()
        try:
            self.greet()
        except BaseException:
            self.kill()
            raise

    def begin(self) -> None:
        """Start QEMU, and do not wait for the guest."""
        self.plan.place.mkdir(parents=True, exist_ok=True)
        for stale in ("agent", "qmp"):
            self.plan.path(stale).unlink(missing_ok=True)
        console = os.open(
            self.plan.path("console"), os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600
        )
        try:
            self.process = programs.start(command_line(self.plan, self.qemu, self.backend), outputs=console)
        finally:
            os.close(console)

    def greet(self) -> None:
        """Wait for the agent, wake a frozen guest, give it the time and fresh random numbers."""
        self.deadline = self.deadline or time.monotonic() + BOOT_SECONDS
        self.agent = Conversation(Lines(self._connect("agent")), self.check_alive)
        if self.plan.state:
            self.control().load(self.plan.state, self.check_alive)
        left = max(1.0, self.deadline - time.monotonic())
        try:
            self.agent.ask("ping", wait=left)
            seed = base64.b64encode(os.urandom(SEED_BYTES)).decode()
            self.agent.ask("wake", wait=left, now=time.time(), seed=seed)
        except (TimeoutError, OSError) as problem:
            raise self.dead(f"its agent does not answer ({problem or 'time is up'})") from None

    def stop(self) -> bool:
        """Ask the guest to power off, and pull the plug when it does not; tells whether it did."""
        try:
            self.agent.ask("off", wait=POWER_OFF_SECONDS)
            if self.process is not None:
                self.process.wait(POWER_OFF_SECONDS)
        except (Error, OSError, TimeoutExpired):
            self.kill()
            return False
        self.kill()  # nothing is left to kill: this closes and removes
        return True

    def kill(self) -> None:
        """Pull the plug; close and remove the sockets. The console stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if hasattr(self, "agent"):
            self.agent.lines.close()
        if self.monitor is not None:
            self.monitor.close()
            self.monitor = None
        for kind in ("agent", "qmp"):
            self.plan.path(kind).unlink(missing_ok=True)

    @contextlib.contextmanager
    def running(self, wait: float = BOOT_SECONDS) -> Iterator[Machine]:
        """Start it, and stop it at the end of the block; when the block fails, pull the plug."""
        self.start(wait)
        try:
            yield self
        except BaseException:
            self.kill()
            raise
        self.stop()

    # --- work ----------------------------------------------------------------------------------------

    def run(
        self,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        cwd: str = "/",
        stdin: Input | None = None,
        output: Output | None = None,
        wait: float = 600,
    ) -> Ended:
        """Run a program in the guest to its end. Raises GuestError, also when it cannot be started."""
        words: Message = {"argv": argv, "env": env or {}, "cwd": cwd}
        return self._conclude("run", words, stdin, output, wait)

    def sh(self, script: str, *, wait: float = 600) -> Ended:
        """Run a shell script in the guest."""
        return self.run(["/bin/sh", "-c", script], wait=wait)

    def python(
        self,
        module: str,
        args: list[str],
        *,
        env: dict[str, str] | None = None,
        cwd: str = "/",
        output: Output | None = None,
        wait: float = 600,
    ) -> Ended:
        """Run a Python module in a fork of the agent, with everything that `warm` imported."""
        words: Message = {"module": module, "args": args, "env": env or {}, "cwd": cwd}
        return self._conclude("python", words, None, output, wait)

    def warm(self, modules: list[str], path: list[str] | None = None, wait: float = 120) -> None:
        """Let the agent import modules, found in `path` too."""
        self.agent.ask("warm", wait=wait, modules=modules, path=path or [])

    def _conclude(
        self, op: str, words: Message, stdin: Input | None, output: Output | None, wait: float
    ) -> Ended:
        try:
            return self.agent.run(op, words, stdin, output, wait)
        except TimeoutError:
            raise self.dead(f"no end of {words.get('argv') or words.get('module')} in {wait:.0f} s") from None
        except OSError as problem:
            raise self.dead(f"its agent is gone ({problem})") from None

    # --- wires ---------------------------------------------------------------------------------------

    def control(self) -> Monitor:
        """QEMU's own control socket, connected at the first use."""
        if self.monitor is None:
            self.monitor = Monitor(Lines(self._connect("qmp")))
        return self.monitor

    def check_alive(self) -> None:
        """Raise GuestError when QEMU has ended or the console tells of the guest's death."""
        if self.process is not None and self.process.poll() is not None:
            raise self.dead(f"QEMU ended with {self.process.returncode}")
        if self.last_words():
            raise self.dead("dead")

    def console(self) -> str:
        """Everything that the guest and QEMU have written to the console."""
        try:
            return self.plan.path("console").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def last_words(self) -> str:
        """Give the first line of the console that tells of the guest's death, "" if none does."""
        console = self.console()
        if not any(sign in console for sign in SIGNS_OF_DEATH):
            return ""
        lines = console.splitlines()
        return next(line.strip() for line in lines if any(sign in line for sign in SIGNS_OF_DEATH))

    def dead(self, why: str) -> GuestError:
        """Make the error that says why, in the guest's words if it has any, with its last lines."""
        why = self.last_words() or why
        last = [line for line in self.console().splitlines() if line.strip()][-LAST_LINES:]
        said = "\n".join(["its console ends:", *last]) if last else "its console is empty"
        return GuestError(f"the machine {self.plan.name}: {why}; {said}")

    def _connect(self, kind: str) -> socket.socket:
        """Connect to one of QEMU's sockets, which appear when it has started."""
        end = max(self.deadline, time.monotonic() + POWER_OFF_SECONDS)
        while time.monotonic() < end:
            channel = socket.socket(socket.AF_UNIX)
            try:
                channel.connect(str(self.plan.path(kind)))
            except OSError:
                channel.close()
                self.check_alive()
                time.sleep(GLANCE)
            else:
                return channel
        raise self.dead("QEMU opened no socket")
