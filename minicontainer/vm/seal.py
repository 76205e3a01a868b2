"""The end of the root file system's build, run inside it: what is private or accidental goes.

    private       host keys, the machine's identity: every guest would have the same
    accidental    logs, and the age that Python's compiled modules expect of their sources
    enabled       nothing: what a guest starts, it is told by its initramfs
    packed        kernel and modules, at which an emulated CPU would work (QEMU starts an ELF by its PVH note)

Not imported: it is copied into the new system, and run there by the system's own Python.

See machine-id(5), systemd.unit(5) ".wants"; PEP 552, the head of a .pyc; <kernel>/arch/x86/boot.rst.
"""

from __future__ import annotations

import ctypes  # noqa: TID251 - in the guest's own Python
import lzma
import os
import struct
import subprocess  # noqa: TID251 - in the guest's own Python
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
PRIVATE = ("etc/ssh/ssh_host_*", "var/log/**/*", "var/cache/**/*", "var/lib/systemd/random-seed", "etc/*-")
ENABLED = "etc/systemd/*/*.wants/*"
USER = "learner"  # an ordinary user with subordinate ids, for rootless containers
MAX_SIZE = 1 << 30  # of anything unpacked; errors of libzstd are larger numbers
FILES = {
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n::1 localhost guest\n",
    "etc/machine-id": "",  # empty, not missing: systemd makes one, and does not take this for a first boot
    "etc/ssh/sshd_config.d/minicontainer.conf": "PermitRootLogin prohibit-password\nPrintMotd no\n",
    "etc/systemd/journald.conf.d/minicontainer.conf": "[Journal]\nStorage=volatile\n",
}


def main(epoch: int) -> None:
    """Seal the root file system that this program finds itself in."""
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "--uid", "1000", USER], check=True)
    for path in sorted(unwanted(), reverse=True):
        path.unlink()
    for name, text in FILES.items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text)
    for kernel in ROOT.glob("boot/vmlinuz-*"):
        unpack_kernel(kernel)
    for modules in ROOT.glob("usr/lib/modules/*"):
        unpack_modules(modules)
    for compiled in ROOT.glob("usr/**/__pycache__/*.pyc"):
        date(compiled, epoch)


def unwanted() -> Iterator[Path]:
    """Find the files and links that no guest should begin with."""
    for pattern in (*PRIVATE, ENABLED):
        yield from (path for path in ROOT.glob(pattern) if path.is_symlink() or not path.is_dir())


def date(compiled: Path, epoch: int) -> None:
    """Let a compiled module expect the age that the image gives to all files, or Python would not use it."""
    source = compiled.parent.parent / f"{compiled.name.split('.')[0]}.py"
    if source.exists():
        size = source.stat().st_size & 0xFFFFFFFF
        with compiled.open("r+b") as file:
            file.seek(4)  # behind the magic number: no flags, so age and size of the source follow
            file.write(b"".join(number.to_bytes(4, "little") for number in (0, epoch, size)))


def unpack_kernel(kernel: Path) -> None:
    """Write vmlinux beside vmlinuz, where that is a bzImage."""
    image = kernel.read_bytes()
    if image[0x202:0x206] != b"HdrS":
        return
    sectors = image[0x1F1] + 1  # of 512 bytes, before the part that the offset counts from
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[sectors * 512 + offset :][:length]
    size = int.from_bytes(payload[-4:], "little")
    kernel.with_name(kernel.name.replace("vmlinuz", "vmlinux")).write_bytes(unpacked(payload[:-4], size))


def unpack_modules(modules: Path) -> None:
    """Replace a kernel's modules by their unpacked form, and let their index know."""
    for packed in modules.glob("kernel/**/*.ko.*z*"):
        packed.with_suffix("").write_bytes(unpacked(packed.read_bytes()))
        packed.unlink()
    subprocess.run(["depmod", modules.name], check=True)


def unpacked(data: bytes, size: int = 0) -> bytes:
    """Unpack what begins as xz or zstd does; the size where the data do not say it themselves."""
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(data)
    library = ctypes.CDLL("libzstd.so.1")  # apt's and systemd's; Python has none of its own before 3.14
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    length = ctypes.c_size_t(len(data))
    size = size or library.ZSTD_getFrameContentSize(data, length)
    if size > MAX_SIZE:
        raise SystemExit(f"neither xz nor zstd: {data[:4].hex()}")
    buffer = ctypes.create_string_buffer(size)
    if library.ZSTD_decompress(buffer, ctypes.c_size_t(size), data, length) != size:
        raise SystemExit("zstd: broken data")
    return buffer.raw


if __name__ == "__main__":
    Path(__file__).unlink()
    os.umask(0o022)
    main(int(sys.argv[1]))
