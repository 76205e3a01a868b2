"""Tell whether KVM runs code at the speed of the processor, by letting a virtual one count to fifty million.

/dev/kvm may exist, open, create virtual processors and even execute `hlt` on a machine where no kernel can
boot in it: a software KVM inside a rented VM interprets the guest's kernel code, a thousand times too slowly.
A real KVM ends the loop in less than 0.1 s.

The counting is done by this file as a program of its own: on a broken host it may hang or kill who asks, and
who asks may have threads. An alarm ends it even when nobody does.

See Documentation/virt/kvm/api.rst (of the kernel), <linux/kvm.h>, setitimer(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import select
import signal
import struct
import subprocess
import sys

DEVICE = "/dev/kvm"
KVM_CREATE_VM, KVM_CHECK_EXTENSION, KVM_GET_VCPU_MMAP_SIZE = 0xAE01, 0xAE03, 0xAE04
KVM_CREATE_VCPU, KVM_RUN, KVM_SET_USER_MEMORY_REGION = 0xAE41, 0xAE80, 0x4020AE46
KVM_GET_SREGS, KVM_SET_SREGS, KVM_SET_REGS = 0x8138AE83, 0x4138AE84, 0x4090AE82
# Its answer is the type of the machine to make; processors that have no choice answer 0.
KVM_CAP_ARM_VM_IPA_SIZE = 165
KVM_EXIT_HLT = 5
PAGE = 4096
# mov ecx, 50_000_000; again: dec ecx; jnz again; hlt
COUNT_DOWN = bytes.fromhex("66b9 80f0fa02  6649  75fc  f4")
REACHED = b"\n"  # said when the virtual processor is about to count: the interpreter's start is not timed
START, EVER = 10.0, 60  # seconds for the interpreter to start, and until the alarm ends it all


def kvm_works(deadline: float = 1.0) -> bool:
    """Say whether guest code runs at full speed; a wrong answer costs a boot that hangs.

    `deadline`: how many seconds the count may take. Other processors than x86-64 are asked only whether they
    make a virtual processor: there the first line of a booting kernel is the proof.
    """
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    command = [sys.executable, "-I", "-S", __file__]
    nothing = subprocess.DEVNULL
    counter = subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing)
    try:
        return _says(counter, START) == REACHED and _ends_well(counter, deadline)
    finally:
        _give_up(counter)


def _says(counter: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Wait for the first byte of the counter; b"" when it ended or took too long."""
    assert counter.stdout is not None  # noqa: S101 - it was asked for
    ready, _, _ = select.select([counter.stdout], [], [], deadline)
    return os.read(counter.stdout.fileno(), 1) if ready else b""


def _ends_well(counter: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        return counter.wait(deadline) == 0
    except subprocess.TimeoutExpired:
        return False


def _give_up(counter: subprocess.Popen[bytes]) -> None:
    """End the counter. The kernel may keep it: then it is left, because waiting on would hang us too."""
    counter.kill()
    _ends_well(counter, START)
    if counter.stdout is not None:
        counter.stdout.close()


def count() -> bool:
    """Make a machine of one page and one processor, and let it count. OSError where KVM refuses."""
    kvm = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(kvm, KVM_CREATE_VM, fcntl.ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE))
    cpu = fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)
    sys.stdout.buffer.write(REACHED)
    sys.stdout.buffer.flush()
    if platform.machine() != "x86_64":
        return True
    memory = mmap.mmap(-1, PAGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    memory[: len(COUNT_DOWN)] = COUNT_DOWN
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, KVM_SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, PAGE, place))
    return _run(cpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)) == KVM_EXIT_HLT


def _run(cpu: int, size: int) -> int:
    """Start the processor at address 0, in the mode of 1978, and give the reason why it stopped."""
    shared = mmap.mmap(cpu, size)
    segments = bytearray(fcntl.ioctl(cpu, KVM_GET_SREGS, bytes(312)))
    segments[0:8] = bytes(8)  # cs.base = 0: without it the processor starts in the BIOS that is not there
    segments[12:14] = bytes(2)  # cs.selector = 0
    fcntl.ioctl(cpu, KVM_SET_SREGS, bytes(segments))
    fcntl.ioctl(
        cpu, KVM_SET_REGS, bytes(16 * 8) + struct.pack("<QQ", 0, 2)
    )  # rip = 0, rflags = the fixed bit
    fcntl.ioctl(cpu, KVM_RUN, 0)
    return int(struct.unpack_from("<I", shared, 8)[0])


if __name__ == "__main__":
    signal.alarm(EVER)
    raise SystemExit(0 if count() else 1)
