"""Terminals: made in the container's devpts, sent through a socket, owned by the user, of the size asked for.

Implements: runtime-spec, config.md "terminal" and "consoleSize"; what conmon and the shim expect of the
socket.
"""

from __future__ import annotations

import fcntl
import json
import struct
import termios
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime
    from tests.runtime.terminals import ConsoleSocket

pytestmark = pytest.mark.requires("root", "cgroup2")


def start_with_terminal(runtime: Runtime, made: Bundle, console: ConsoleSocket) -> None:
    """Create and start a container with a terminal, and take its master."""
    made.process["terminal"] = True
    accepts(runtime.create(made, None, "--console-socket", console.path))
    console.accept()
    accepts(runtime.start(made.id))


def test_a_terminal_is_needed_for_the_socket_and_the_socket_for_a_terminal(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket
) -> None:
    made = bundle()
    refuses(
        runtime,
        runtime.create(made, None, "--console-socket", console.path),
        deviation="socket-without-terminal",
    )
    made = bundle()
    made.process["terminal"] = True
    refuses(runtime, runtime.create(made))


def test_the_program_talks_through_the_terminal(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket
) -> None:
    start_with_terminal(runtime, bundle().shell("read line; echo got $line; tty; sleep 1000"), console)
    console.write("hello\n")
    shown = console.read_until("/dev/")
    assert "got hello" in shown
    assert console.message


def test_the_terminal_is_of_the_containers_devpts(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket
) -> None:
    start_with_terminal(runtime, bundle().shell("ls /dev/pts; echo end; sleep 1000"), console)
    assert console.read_until("end").split() == ["0", "ptmx", "end"]


def test_the_console_is_the_terminal(runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket) -> None:
    start_with_terminal(
        runtime, bundle().shell("echo spoken > /dev/console; ls -lL /dev/console; sleep 1000"), console
    )
    shown = console.read_until("/dev/console")
    assert "spoken" in shown
    assert "136,   0" in shown


def test_the_terminal_is_the_controlling_one(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket
) -> None:
    script = "trap 'echo interrupted; exit' INT; echo spoken > /dev/tty; while true; do sleep 0.05; done"
    start_with_terminal(runtime, bundle().shell(script), console)
    console.read_until("spoken")
    console.write("\x03")
    console.read_until("interrupted")


def test_the_terminal_has_the_size_that_was_asked_for(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket
) -> None:
    made = bundle().shell("stty size; sleep 1000")
    made.process["consoleSize"] = {"height": 33, "width": 99}
    start_with_terminal(runtime, made, console)
    console.read_until("33 99")
    assert struct.unpack("HHHH", fcntl.ioctl(console.master, termios.TIOCGWINSZ, bytes(8)))[:2] == (33, 99)


def test_the_slave_is_owned_by_the_user(runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket) -> None:
    made = bundle().shell("stat -c '%u %g' /dev/pts/0; echo spoken > /dev/console; sleep 1000")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    start_with_terminal(runtime, made, console)
    console.read_until("1000 5")
    console.read_until("spoken")


def test_exec_has_a_terminal_of_its_own(runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    flags = ["--tty", "--detach", "--console-socket", console.path]
    accepts(runtime.exec(name, "sh", "-c", "tty; echo spoken > /dev/tty; sleep 1000", flags=flags))
    console.accept()
    assert "/dev/pts/0" in console.read_until("spoken")


def test_the_process_file_of_exec_decides_about_the_terminal(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket
) -> None:
    made = bundle()
    name = runtime.sleeping(made)
    process = made.process | {"terminal": True, "args": ["sh", "-c", "stty size; sleep 1000"]}
    process["consoleSize"] = {"height": 20, "width": 70}
    (made.path / "process.json").write_text(json.dumps(process))
    flags = ["--detach", "--console-socket", console.path, "--process", str(made.path / "process.json")]
    accepts(runtime.call("exec", *flags, name))
    console.accept()
    console.read_until("20 70")


def test_the_master_does_not_stay_in_the_container(
    runtime: Runtime, bundle: MakeBundle, console: ConsoleSocket
) -> None:
    start_with_terminal(runtime, bundle().shell("ls -l /proc/$$/fd; echo end; sleep 1000"), console)
    shown = console.read_until("end")
    assert "ptmx" not in shown
    assert "socket:" not in shown
