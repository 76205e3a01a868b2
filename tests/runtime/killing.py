"""Kill a command, or a process that it has made, exactly at one of its system calls.

strace's `-e inject=CALL:signal=KILL:when=N` counts in each process anew. It can say neither "the third
mkdirat of the container's first process, not of the runtime" nor "the runtime, while that process is at its
third mkdirat". This tracer can. It sees the command and all its children, and numbers, in each, the calls
that change something:

    process 0   mkdir 1, openat 2, ... clone3 31, ... exit_group 40
    process 1                              mount 1, fsopen 2, ... execve 97  (from here on the user's program)

A process that is killed at a call has not made it. Who is not killed goes on, unwatched.
See ptrace(2): PTRACE_SEIZE, PTRACE_GET_SYSCALL_INFO, "Syscall-stops".
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import struct
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from minicontainer.linux.numbers import machine
from minicontainer.linux.syscalls import table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PTRACE_CONT, PTRACE_DETACH, PTRACE_SYSCALL = 7, 17, 24
PTRACE_GETEVENTMSG, PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4201, 0x4206, 0x4207
PTRACE_GET_SYSCALL_INFO, SYSCALL_INFO_ENTRY = 0x420E, 1
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_STOP = 1, 2, 3, 4, 128
OPTIONS = 1 | 1 << EVENT_FORK | 1 << EVENT_VFORK | 1 << EVENT_CLONE | 1 << EVENT_EXEC  # 1: TRACESYSGOOD
SYSCALL_STOP = signal.SIGTRAP | 0x80
WALL = 0x40000000
DEADLINE = 60  # seconds for one command

LOOKING = frozenset(
    "access arch_prctl brk capget close dup epoll_create1 faccessat faccessat2 fstat fstatfs futex getcwd "
    "getdents64 getegid geteuid getgid getgroups getpgrp getpid getppid getrandom getresgid getresuid "
    "getrlimit gettid getuid ioctl lseek lstat madvise mmap mprotect mremap munmap newfstatat openat2 "
    "pidfd_open poll ppoll pread64 read readlink readlinkat restart_syscall rseq rt_sigaction "
    "rt_sigprocmask rt_sigreturn sched_getaffinity set_robust_list set_tid_address stat statfs statx sysinfo uname wait4 waitid".split()
)
"""Calls that nothing outside their process, and nothing after it, can tell were made."""
WRITABLE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

NAMES = {entry.number: name for name, entry in table(machine).items()}
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


@dataclass(frozen=True)
class Point:
    """One call of one process: process 0 is the command, the others follow in the order of their birth."""

    process: int
    number: int
    call: str


@dataclass(frozen=True)
class Traced:
    """What happened to a command: the calls of each process, where one was killed, how the command ended."""

    points: list[Point]
    reached: bool
    status: int


def traced(
    argv: Sequence[str],
    streams: Path,
    point: Point | None = None,
    victim: int | None = None,
    running: Sequence[int] = (),
) -> Traced:
    """Run a command to its end; at `point` kill process `victim`, which is the one at that call unless said.

    Processes that are `running` already are watched too, as 1 and so on. `streams` gets what is printed.
    """
    reading, writing = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        be_tracer(writing, Tracer(point, victim), argv, streams, running)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    os.waitpid(tracer, 0)
    told = json.loads(said)
    assert "problem" not in told, told["problem"]
    return Traced([Point(*found) for found in told["points"]], told["reached"], told["status"])


def be_tracer(
    writing: int, tracer: Tracer, argv: Sequence[str], streams: Path, running: Sequence[int]
) -> NoReturn:
    """Trace in a process of its own: its end sets free whoever is still traced."""
    try:
        signal.signal(signal.SIGALRM, late)
        os.sched_setaffinity(
            0, {min(os.sched_getaffinity(0))}
        )  # they take turns: on one processor, four times faster
        tracer.begin(argv, streams, running)
        signal.alarm(DEADLINE)
        told: dict[str, object] = {
            "status": tracer.follow(),
            "points": tracer.points,
            "reached": tracer.reached,
        }
    except BaseException:
        tracer.give_up()
        told = {"problem": f"{traceback.format_exc()}\nlast calls: {tracer.points[-5:]}"}
    with os.fdopen(writing, "w") as file:
        json.dump(told, file)
    os._exit(0)


def late(_number: int, _frame: object) -> None:
    """End a wait that takes too long."""
    raise TimeoutError(f"the command did not end within {DEADLINE} seconds")


def ptrace(request: int, pid: int, address: int = 0, data: object = None) -> int:
    """Make one call of ptrace(2). Raises OSError."""
    answer = int(libc.ptrace(request, pid, address, data))
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {pid}")
    return answer


class Tracer:
    """Watches a command and its children, and kills one of them at one call."""

    def __init__(self, point: Point | None, victim: int | None) -> None:
        self.point = point
        self.victim = victim
        self.reached = False
        self.points: list[tuple[int, int, str]] = []
        self.order: list[int] = []  # pids by birth
        self.counts: dict[int, int] = {}

    def begin(self, argv: Sequence[str], streams: Path, running: Sequence[int]) -> None:
        """Start the command, which waits until it is watched."""
        gate, opener = os.pipe()
        pid = os.fork()
        if pid == 0:
            become(argv, streams, gate, opener)
        self.know(pid)
        for each in (pid, *running):
            self.know(each)
            ptrace(PTRACE_SEIZE, each, 0, OPTIONS)
            ptrace(PTRACE_INTERRUPT, each)
        os.close(gate)
        os.close(opener)

    def know(self, pid: int) -> None:
        """Number a process when it is first seen."""
        if pid not in self.counts:
            self.order.append(pid)
            self.counts[pid] = 0

    def follow(self) -> int:
        """Watch until the command has ended; returns its status, as os.waitstatus_to_exitcode() has it."""
        while True:
            pid, status = os.waitpid(-1, WALL)
            if os.WIFSTOPPED(status):
                with contextlib.suppress(ProcessLookupError):  # killed meanwhile
                    self.stopped(pid, status >> 8 & 0xFF, status >> 16)
            elif pid == self.order[0]:
                return os.waitstatus_to_exitcode(status)

    def stopped(self, pid: int, number: int, event: int) -> None:
        """Look at a process that stands still, and let it go on."""
        self.know(pid)
        if event == EVENT_EXEC and pid != self.order[0]:
            ptrace(PTRACE_DETACH, pid)
            return
        if event in (EVENT_FORK, EVENT_VFORK, EVENT_CLONE):
            child = ctypes.c_ulong()
            ptrace(PTRACE_GETEVENTMSG, pid, 0, ctypes.addressof(child))
            self.know(child.value)
        elif number == SYSCALL_STOP and not self.reached:
            self.look(pid)
        delivered = 0 if event or number == SYSCALL_STOP else number
        ptrace(PTRACE_CONT if self.reached else PTRACE_SYSCALL, pid, 0, delivered)

    def look(self, pid: int) -> None:
        """Count the call that a process is about to make, if it changes something; kill where wanted."""
        info = ctypes.create_string_buffer(88)
        ptrace(PTRACE_GET_SYSCALL_INFO, pid, len(info), ctypes.addressof(info))
        if info.raw[0] != SYSCALL_INFO_ENTRY:
            return
        number, *arguments = struct.unpack_from("=7Q", info.raw, 24)
        call = NAMES.get(number, str(number))
        if call in LOOKING or (call == "openat" and not arguments[2] & WRITABLE):
            return
        self.counts[pid] += 1
        here = (self.order.index(pid), self.counts[pid], call)
        self.points.append(here)
        if self.point and here[:2] == (self.point.process, self.point.number):
            self.reached = True
            os.kill(pid if self.victim is None else self.order[self.victim], signal.SIGKILL)

    def give_up(self) -> None:
        """End the command that could not be followed."""
        for pid in self.order[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def become(argv: Sequence[str], streams: Path, gate: int, opener: int) -> NoReturn:
    """Turn this fresh child into the command, once the gate opens."""
    try:
        os.close(opener)
        os.read(gate, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(streams, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        os.dup2(1, 2)
        os.execv(argv[0], list(argv))
    finally:
        os._exit(127)
