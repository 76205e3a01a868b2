"""The door itself: what a marked call tells, and how numbers get through it."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator

import pytest

from minicontainer.errors import Error, KernelError
from minicontainer.linux.kernel import (
    address,
    buffer,
    check,
    keep,
    kernel_call,
    long,
    pointer,
    syscall,
    u32,
    u64,
)
from minicontainer.trace.events import step, steps, witnesses


class Recorder:
    """A witness that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def entered(self, step: str) -> None:
        self.told.append(("entered", step))

    def left(self, step: str) -> None:
        self.told.append(("left", step))

    def calling(self, name: str, arguments: object) -> None:
        self.told.append(("calling", name, arguments))

    def called(self, name: str, arguments: object, result: object, number: int) -> None:
        self.told.append((name, arguments, result, number))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    witnesses.append(recorder)
    yield recorder
    witnesses.remove(recorder)
    steps.clear()


@kernel_call
def dup(descriptor: int) -> int:
    """Copy a descriptor."""
    return os.dup(descriptor)


def test_a_witness_is_told_of_each_call_with_its_result(recorder: Recorder) -> None:
    copy = dup(0)
    os.close(copy)
    assert recorder.told == [("dup", (0,), copy, 0)]


def test_a_refused_call_is_told_and_raised_with_its_step(recorder: Recorder) -> None:
    @step
    def copy_nothing() -> None:
        """Copy what is not there."""
        dup(descriptor=1000)

    with pytest.raises(KernelError) as caught:
        copy_nothing()
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, Error)
    assert (caught.value.errno, caught.value.call, caught.value.arguments) == (errno.EBADF, "dup", (1000,))
    assert caught.value.step.endswith("copy_nothing")
    assert recorder.told[1:] == [("dup", (1000,), None, errno.EBADF)]


def test_without_a_witness_nothing_is_kept() -> None:
    os.close(dup(0))
    assert witnesses == []


def test_a_marked_call_keeps_its_name_and_its_text() -> None:
    assert (dup.__name__, dup.__doc__) == ("dup", "Copy a descriptor.")


def test_a_failed_call_becomes_an_exception() -> None:
    closed = syscall(3, 1000) if os.uname().machine == "x86_64" else syscall(57, 1000)
    with pytest.raises(OSError) as caught:
        check(closed)
    assert caught.value.errno == errno.EBADF
    assert check(7) == 7


def test_numbers_are_packed_as_struct_packs_them() -> None:
    assert u32(1, -1, 2**32 - 1) == struct.pack("=IiI", 1, -1, 2**32 - 1)
    assert u64(1, -1, 2**64 - 1) == struct.pack("=QqQ", 1, -1, 2**64 - 1)


def test_a_buffer_is_written_to_and_read_back() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    block = buffer(8)
    number = 0 if os.uname().machine == "x86_64" else 63  # read(2)
    assert check(syscall(number, reading, long(address(block)), long(8))) == 5
    assert bytes(block) == b"hello\0\0\0"
    assert bytes(keep(b"as it is\0")) == b"as it is\0"
    os.close(reading)
    os.close(writing)


def test_a_pointer_leads_to_the_bytes_themselves() -> None:
    reading, writing = os.pipe()
    number = 1 if os.uname().machine == "x86_64" else 64  # write(2)
    sent = b"zeros \0 count"
    assert check(syscall(number, writing, long(int.from_bytes(pointer(sent), "little")), len(sent))) == 13
    assert os.read(reading, 100) == sent
    os.close(reading)
    os.close(writing)
