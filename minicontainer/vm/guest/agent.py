"""Obey the host over a virtio-serial port: JSON lines in, JSON lines out, several requests at once by "id".

    {"id": 1, "op": "run", "argv": [...], "env": {...}, "cwd": "/", "user": null}
    {"id": 1, "op": "python", "module": "pytest", "args": [...]}   the same in a fork of this warm interpreter
        {"id": 1, "in": BASE64}  {"id": 1, "eof": true}  {"id": 1, "signal": 15}    from the host, meanwhile
        {"id": 1, "took": BYTES}  {"id": 1, "out": BASE64}  {"id": 1, "err": BASE64}   to the host
    {"id": 2, "op": "warm", "modules": [...]}      import them now, so that forks have them
    {"id": 3, "op": "wake", "now": 1.7e9, "seed": BASE64}   a thawed guest lives in the past, with an old seed
    {"id": 4, "op": "ping"}      {"id": 5, "op": "off"}     power off when this has been answered

The last answer to a request has "exit" (128 + n: a signal) or "error". Python >= 3.11, no other package.
See virtio_console in the kernel's Documentation; RNDRESEEDCRNG in random(4).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import gc
import json
import os
import selectors
import signal
import sys
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

PORT_NAME = "minicontainer.agent"
CHUNK = 1 << 16
PATIENCE = 0.05  # seconds between two looks at a port whose host has gone
RNDRESEEDCRNG = 0x5207


def find_port() -> str:
    """Wait for the virtio port of our name; virtio_console makes it some time after the start."""
    while True:
        for port in os.scandir("/sys/class/virtio-ports") if os.path.isdir("/sys/class/virtio-ports") else ():
            with open(f"{port.path}/name") as file:
                if file.read().strip() == PORT_NAME:
                    return "/dev/" + port.name
        time.sleep(0.02)


class Request:
    """A program that runs for the host."""

    def __init__(self, number: int, pid: int, pipes: Sequence[int | None]) -> None:
        self.number = number
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.stdin, self.stdout, self.stderr = pipes
        self.unsent = bytearray()  # what the host gave and the program has not taken
        self.no_more = False

    def outputs(self) -> list[tuple[int, str]]:
        """Give the descriptors that its output comes from, and the names that the host knows."""
        return [(fd, name) for fd, name in ((self.stdout, "out"), (self.stderr, "err")) if fd is not None]


class Agent:
    """One loop over the port and over the pipes of what runs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: dict[int, Request] = {}
        self.received: list[bytes] = []
        self.loop = selectors.DefaultSelector()
        self.loop.register(port, selectors.EVENT_READ, self.listen)
        self.done = False

    def serve(self) -> None:
        """Answer until the host says off."""
        while not self.done:
            for key, _ in self.loop.select():
                key.data()

    # --- the host ------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take what the host wrote. Nothing to read means that nobody has the host's end open."""
        data = os.read(self.port, 1 << 20)
        if not data:
            self.forget_everything()
            time.sleep(PATIENCE)
            return
        self.received.append(data)  # joined once a line is whole: a long one arrives in a thousand reads
        if b"\n" not in data:
            return
        *lines, rest = b"".join(self.received).split(b"\n")
        self.received = [rest]
        for line in lines:
            self.obey(json.loads(line))

    def say(self, number: int, **what: object) -> None:
        """Write one line to the host."""
        data = memoryview(json.dumps({"id": number, **what}).encode() + b"\n")
        while data:
            data = data[os.write(self.port, data) :]

    def obey(self, message: dict[str, Any]) -> None:
        """Begin a request, or go on with one. The host hears of every failure, or it would wait for ever."""
        number = message["id"]
        try:
            if "op" in message:
                getattr(self, "do_" + message["op"])(number, message)
            elif number in self.requests:
                self.feed(self.requests[number], message)
        except Exception as problem:
            self.say(number, error=f"{type(problem).__name__}: {problem}")

    def forget_everything(self) -> None:
        """End what runs: whoever asked for it has gone."""
        self.received = []
        for request in list(self.requests.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(request.pid, signal.SIGKILL)
            self.close(request)
            os.waitpid(request.pid, 0)

    # --- requests without a program ------------------------------------------------------------------

    def do_ping(self, number: int, _message: dict[str, Any]) -> None:
        """Say that we are there."""
        self.say(number, exit=0)

    def do_off(self, number: int, _message: dict[str, Any]) -> None:
        """End the loop; the caller of `serve` powers off."""
        self.say(number, exit=0)
        self.done = True

    def do_wake(self, number: int, message: dict[str, Any]) -> None:
        """Set the clock and the random numbers of a guest that was frozen."""
        time.clock_settime(time.CLOCK_REALTIME, message["now"])
        with open("/dev/urandom", "wb", buffering=0) as pool:
            pool.write(base64.b64decode(message["seed"]))
            fcntl.ioctl(pool, RNDRESEEDCRNG)
        self.say(number, exit=0)

    def do_warm(self, number: int, message: dict[str, Any]) -> None:
        """Import modules, for the forks that come."""
        sys.path[:0] = [path for path in message.get("path", []) if path not in sys.path]
        for module in message["modules"]:
            __import__(module)
        gc.collect()
        gc.freeze()
        self.say(number, exit=0)

    # --- programs ------------------------------------------------------------------------------------

    def do_run(self, number: int, message: dict[str, Any]) -> None:
        """Start a program in a session of its own."""
        import subprocess

        ends = [*os.pipe(), *os.pipe(), *os.pipe()]
        try:
            process = subprocess.Popen(
                message["argv"],
                env={**os.environ, **message.get("env", {})},
                cwd=message.get("cwd", "/"),
                user=message.get("user"),
                stdin=ends[0],
                stdout=ends[3],
                stderr=ends[5],
                start_new_session=True,
            )
        except BaseException:
            for end in ends:
                os.close(end)
            raise
        process.returncode = 0  # we wait for it ourselves
        for end in (ends[0], ends[3], ends[5]):
            os.close(end)
        self.follow(Request(number, process.pid, [ends[1], ends[2], ends[4]]))

    def do_python(self, number: int, message: dict[str, Any]) -> None:
        """Run a module as `python3 -m` would, in a fork: what is imported already costs nothing again."""
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.become_module(message, out_write, err_write)
        os.close(out_write)
        os.close(err_write)
        self.follow(Request(number, pid, [None, out_read, err_read]))

    def become_module(self, message: dict[str, Any], out: int, err: int) -> NoReturn:
        """In the fork: leave the agent behind and be the module's program. Does not return."""
        status = 1
        try:
            os.setsid()
            for target, source in ((0, os.open("/dev/null", os.O_RDONLY)), (1, out), (2, err)):
                os.dup2(source, target)
            os.closerange(3, 1 << 10)
            os.environ.update(message.get("env", {}))
            os.chdir(message.get("cwd", "/"))
            sys.argv = [message["module"], *message.get("args", [])]
            sys.path.insert(0, os.getcwd())
            import runpy

            runpy.run_module(message["module"], run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def follow(self, request: Request) -> None:
        """Watch a program's outputs and its end."""
        self.requests[request.number] = request
        for fd, name in request.outputs():
            os.set_blocking(fd, False)
            self.loop.register(
                fd, selectors.EVENT_READ, lambda fd=fd, name=name: self.pass_on(request, fd, name)
            )
        if request.stdin is not None:
            os.set_blocking(request.stdin, False)
        self.loop.register(request.pidfd, selectors.EVENT_READ, lambda: self.finish(request))

    def pass_on(self, request: Request, fd: int, name: str) -> bool:
        """Send a piece of output; tells whether there was one."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.unwatch(fd)
            return False
        self.say(request.number, **{name: base64.b64encode(data).decode()})
        return True

    def finish(self, request: Request) -> None:
        """Tell of a program's end; background processes may still hold its pipes, and are not waited for."""
        for fd, name in request.outputs():
            while self.pass_on(request, fd, name):
                pass
        self.close(request)
        status = os.waitstatus_to_exitcode(os.waitpid(request.pid, 0)[1])
        self.say(request.number, exit=status if status >= 0 else 128 - status)

    def close(self, request: Request) -> None:
        """Let go of a request's descriptors."""
        del self.requests[request.number]
        for fd in (request.stdin, request.stdout, request.stderr, request.pidfd):
            if fd is not None:
                self.unwatch(fd)
                os.close(fd)

    def unwatch(self, fd: int) -> None:
        """Take a descriptor out of the loop if it is in it."""
        with contextlib.suppress(KeyError):
            self.loop.unregister(fd)

    def feed(self, request: Request, message: dict[str, Any]) -> None:
        """Hand the host's words to a program: input, end of input, a signal for its process group."""
        if "signal" in message:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(request.pid, message["signal"])
        if "in" in message:
            request.unsent += base64.b64decode(message["in"])
        request.no_more |= message.get("eof", False)
        self.push(request)

    def push(self, request: Request) -> None:
        """Write as much to a program as it takes, come back when it takes more, close at the end."""
        stdin = request.stdin
        if stdin is None:
            return
        taken = 0
        try:
            while request.unsent:
                count = os.write(stdin, request.unsent[:CHUNK])
                del request.unsent[:count]
                taken += count
        except BlockingIOError:
            with contextlib.suppress(KeyError):  # it is watched already
                self.loop.register(stdin, selectors.EVENT_WRITE, lambda: self.push(request))
        except BrokenPipeError:  # it reads no more: as if it had taken everything
            taken += len(request.unsent)
            request.unsent.clear()
        if taken:
            self.say(request.number, took=taken)
        if not request.unsent:
            self.unwatch(stdin)
            if request.no_more:
                os.close(stdin)
                request.stdin = None


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Agent(os.open(find_port(), os.O_RDWR | os.O_CLOEXEC)).serve()
