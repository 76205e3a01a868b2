"""Terminals, against python's pty, termios and socket modules and the stty(1) of coreutils."""

from __future__ import annotations

import array
import errno
import os
import pty
import signal
import socket
import stat
import subprocess
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.errors import KernelError, Refused
from minicontainer.linux.mounts import mount
from minicontainer.linux.terminals import (
    connect_to,
    give_terminal,
    open_terminal,
    raw_mode,
    receive_descriptor,
    send_descriptor,
    set_window_size,
    take_terminal,
    tcsetattr,
    terminal_number,
    window_size,
)
from tests.linux.children import in_child, own_mounts

DEVPTS = "newinstance,ptmxmode=0666,mode=0620,gid=5"


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    """A terminal made by python itself."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def own_devpts(folder: Path) -> int:
    own_mounts()
    mount("devpts", str(folder), "devpts", 0, DEVPTS)
    return os.open(folder, os.O_PATH | os.O_DIRECTORY)


@pytest.mark.requires("root")
def test_a_terminal_belongs_to_its_devpts(tmp_path: Path) -> None:
    def scene() -> tuple[list[int], int, int, bytes, list[bool]]:
        devpts = own_devpts(tmp_path)
        first, second = open_terminal(devpts), open_terminal(devpts)
        numbers = [terminal_number(first[0]), terminal_number(second[0])]
        named = (tmp_path / "1").stat()
        os.write(second[0], b"typed\n")
        read = os.read(second[1], 100)
        leaks = [os.get_inheritable(descriptor) for descriptor in (*first, *second)]
        return numbers, named.st_rdev, os.fstat(second[1]).st_rdev, read, leaks

    numbers, named, opened, read, leaks = in_child(scene)
    assert numbers == [0, 1]
    assert named == opened
    assert read == b"typed\n"
    assert leaks == [False] * 4


@pytest.mark.requires("root")
def test_the_slave_is_that_of_the_master_whatever_lies_at_its_name(tmp_path: Path) -> None:
    """Somebody has bound a file over /dev/pts/0 (CVE-2025-52565)."""
    devpts, file = tmp_path / "pts", tmp_path / "file"
    devpts.mkdir()
    file.touch()

    def scene() -> tuple[bool, bool]:
        directory = own_devpts(devpts)
        other, _ = open_terminal(directory)
        mount(str(file), str(devpts / "0"), None, 4096, None)
        os.close(other)
        _, slave = open_terminal(directory)
        return os.isatty(slave), os.path.samestat(os.fstat(slave), file.stat())

    assert in_child(scene) == (True, False)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFREG])
def test_what_is_no_multiplexer_is_refused(tmp_path: Path, kind: int) -> None:
    os.mknod(tmp_path / "ptmx", kind | 0o600)
    directory = os.open(tmp_path, os.O_PATH)
    with pytest.raises(Refused, match="is a devpts mounted there"):
        open_terminal(directory)
    os.close(directory)


@pytest.mark.requires("root")
def test_a_link_in_place_of_the_multiplexer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ptmx").symlink_to("/dev/ptmx")
    directory = os.open(tmp_path, os.O_PATH)
    with pytest.raises(Refused):
        open_terminal(directory)
    os.close(directory)


@pytest.mark.requires("root")
def test_the_slave_is_given_to_a_user_and_keeps_its_group(tmp_path: Path) -> None:
    def scene() -> tuple[int, int, int]:
        _, slave = open_terminal(own_devpts(tmp_path))
        give_terminal(slave, 1234)
        found = (tmp_path / "0").stat()
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    assert in_child(scene) == (1234, 5, 0o620)


@pytest.mark.requires("tool:stty")
def test_the_window_has_a_size(pair: tuple[int, int]) -> None:
    master, slave = pair
    set_window_size(master, 33, 99)
    assert window_size(slave) == (33, 99)
    assert tuple(os.get_terminal_size(slave)) == (99, 33)
    assert subprocess.run(["stty", "size"], stdin=slave, capture_output=True, check=True).stdout == b"33 99\n"


def test_the_leader_of_a_session_takes_its_terminal(pair: tuple[int, int]) -> None:
    def scene() -> tuple[int, str]:
        os.setsid()
        take_terminal(pair[1])
        told: list[int] = []
        signal.signal(signal.SIGWINCH, lambda number, frame: told.append(number))
        set_window_size(pair[0], 10, 20)
        return told[0], os.ttyname(os.open("/dev/tty", os.O_RDWR))

    assert in_child(scene) == (signal.SIGWINCH, "/dev/tty")


def test_who_leads_no_session_takes_no_terminal(pair: tuple[int, int]) -> None:
    with pytest.raises(KernelError) as caught:
        in_child(lambda: in_child(lambda: take_terminal(pair[1])))
    assert caught.value.errno == errno.EPERM
    assert str(caught.value) == f"ioctl({pair[1]}, TIOCSCTTY, 0): EPERM (Operation not permitted)"


def test_raw_mode_is_that_of_the_tty_module_and_can_be_undone(pair: tuple[int, int]) -> None:
    slave = pair[1]
    before = termios.tcgetattr(slave)
    old = raw_mode(slave)
    ours = termios.tcgetattr(slave)
    tcsetattr(slave, termios.TCSANOW, old)
    assert termios.tcgetattr(slave) == before == old
    tty.setraw(slave)
    theirs = termios.tcgetattr(slave)
    # Python 3.11's setraw also takes away all of ISTRIP's kin, but leaves IGNBRK and the like as they are.
    assert ours[3] & ~termios.ECHONL == theirs[3] & ~termios.ECHONL
    assert (ours[1], ours[2], ours[6]) == (theirs[1], theirs[2], theirs[6])
    assert not ours[0] & (termios.ICRNL | termios.IXON | termios.ISTRIP | termios.BRKINT | termios.IGNBRK)


def test_keys_pass_unread_in_raw_mode(pair: tuple[int, int]) -> None:
    master, slave = pair
    raw_mode(slave)
    os.write(master, b"\x03\x04\r")
    assert os.read(slave, 10) == b"\x03\x04\r"


def test_what_is_no_terminal_has_no_mode(tmp_path: Path) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(KernelError) as caught:
        tcsetattr(file, termios.TCSANOW, [0, 0, 0, 0, 0, 0, [b"\0"] * 32])
    assert caught.value.errno == errno.ENOTTY
    os.close(file)


# --- the console socket ------------------------------------------------------------------------


def test_a_descriptor_is_handed_over_with_its_name(tmp_path: Path, pair: tuple[int, int]) -> None:
    """As conmon receives it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "console"))
    listener.listen()
    connection = connect_to(str(tmp_path / "console"))
    assert not os.get_inheritable(connection)
    send_descriptor(connection, pair[0])
    os.close(connection)
    accepted, _ = listener.accept()
    data, control, _, _ = accepted.recvmsg(100, socket.CMSG_SPACE(4))
    assert (data, accepted.recv(100)) == (b"/dev/ptmx", b"")
    received = array.array("i", control[0][2])[0]
    assert os.fstat(received).st_rdev == os.fstat(pair[0]).st_rdev
    assert terminal_number(received) == terminal_number(pair[0])
    for each in (listener, accepted):
        each.close()
    os.close(received)


def test_a_descriptor_is_received(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    file = os.open(tmp_path, os.O_RDONLY)
    socket.send_fds(here, [b"a folder"], [file])
    received, data = receive_descriptor(there.fileno())
    assert data == b"a folder"
    assert os.path.sameopenfile(received, file)
    assert not os.get_inheritable(received)
    here.send(b"nothing")
    assert receive_descriptor(there.fileno()) == (-1, b"nothing")
    for descriptor in (received, file):
        os.close(descriptor)
    here.close()
    there.close()


def test_a_closed_console_is_an_error_and_not_a_signal() -> None:
    here, there = socket.socketpair()
    there.close()

    def scene() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        send_descriptor(here.fileno(), 0)

    with pytest.raises(KernelError) as caught:
        in_child(scene)
    assert caught.value.errno == errno.EPIPE
    here.close()


def test_a_socket_that_is_not_there_cannot_be_connected_to(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect_to(str(tmp_path / "console"))
