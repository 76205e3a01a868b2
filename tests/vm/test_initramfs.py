"""The initramfs: an archive that other programs can read, with the drivers in the order of their needs."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.vm import initramfs
from minicontainer.vm.initramfs import Cpio, guest_files, loading_order, module_name, pack

MODULES_DEP = """\
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/fs/squashfs/squashfs.ko.xz:
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko
kernel/fs/jbd2/jbd2.ko:
kernel/lib/crc16.ko:
"""
NAMES = st.text(st.sampled_from("abc-_./"), min_size=1, max_size=20).filter(lambda name: name != "TRAILER!!!")


def entries(archive: bytes) -> list[tuple[str, int, bytes, tuple[int, int]]]:
    """Read an archive again: name, mode, data, device."""
    found = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name_end = at + 110 + fields[11]
        name = archive[at + 110 : name_end - 1].decode()
        data_start = name_end + -name_end % 4
        data = archive[data_start : data_start + fields[6]]
        at = data_start + fields[6] + -fields[6] % 4
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found
        found.append((name, fields[1], data, (fields[9], fields[10])))


def packed() -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    archive = pack(b"BUSYBOX", {"b.ko": b"B", "a.ko": b"A"}, ["b.ko", "a.ko"], guest_files())
    return {name: (mode, data, device) for name, mode, data, device in entries(archive)}


@given(st.lists(st.tuples(NAMES, st.binary(max_size=20))))
def test_what_is_packed_can_be_read_again(files: list[tuple[str, bytes]]) -> None:
    cpio = Cpio()
    for name, data in files:
        cpio.file(name, data, 0o640)
    assert [(name, data) for name, _, data, _ in entries(bytes(cpio))] == files


@pytest.mark.requires("tool:busybox")
def test_another_program_unpacks_it(tmp_path: Path) -> None:
    cpio = Cpio()
    cpio.directory("d")
    cpio.file("d/file", b"text", 0o640)
    cpio.link("d/link", "file")
    subprocess.run(
        ["busybox", "cpio", "-i"], input=bytes(cpio), cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "d" / "file").read_bytes() == b"text"
    assert stat.S_IMODE((tmp_path / "d" / "file").stat().st_mode) == 0o640
    assert (tmp_path / "d" / "link").readlink() == Path("file")


def test_modules_are_loaded_after_those_that_they_need() -> None:
    order = loading_order(MODULES_DEP, "", ["virtio_blk", "ext4", "squashfs"])
    assert order == [
        "kernel/drivers/virtio/virtio.ko",
        "kernel/drivers/virtio/virtio_ring.ko",
        "kernel/drivers/block/virtio_blk.ko",
        "kernel/lib/crc16.ko",
        "kernel/fs/jbd2/jbd2.ko",
        "kernel/fs/ext4/ext4.ko",
        "kernel/fs/squashfs/squashfs.ko.xz",
    ]


def test_what_is_built_into_the_kernel_is_not_loaded() -> None:
    assert (
        loading_order(
            "", "kernel/fs/ext4/ext4.ko\nkernel/drivers/virtio/virtio-pci.ko\n", ["ext4", "virtio_pci"]
        )
        == []
    )


def test_a_module_that_the_kernel_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError, match="zfs"):
        loading_order(MODULES_DEP, "", ["zfs"])


@pytest.mark.parametrize("path", ["a/virtio-pci.ko", "virtio_pci.ko.xz", "/x/virtio_pci.ko.zst"])
def test_a_module_has_one_name_however_its_file_is_called(path: str) -> None:
    assert module_name(path) == "virtio_pci"


def test_the_guest_finds_its_drivers_in_order_and_its_programs() -> None:
    found = packed()
    assert found["init"][1] == (initramfs.GUEST / "early-init.sh").read_bytes()
    assert found["modules/order"][1] == b"b.ko\na.ko\n"
    assert found["modules/a.ko"][1] == b"A"
    assert found["bin/busybox"][:2] == (stat.S_IFREG | 0o755, b"BUSYBOX")
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))
    for name in initramfs.PROGRAMS:
        assert found[f"guest/{name}"][1] == (initramfs.GUEST / name).read_bytes()


def test_every_file_lies_in_a_directory_that_comes_before_it() -> None:
    seen = {"."}
    for name, (mode, _, _) in packed().items():
        assert str(Path(name).parent) in seen, name
        if stat.S_ISDIR(mode):
            seen.add(name)


def test_systemd_starts_our_units_and_passes_over_the_masked_ones() -> None:
    found = packed()
    for name in initramfs.UNITS:
        assert found[f"systemd/system/{name}"][1] == (initramfs.GUEST / name).read_bytes()
        assert found[f"systemd/system/multi-user.target.wants/{name}"][1] == f"../{name}".encode()
    masked = [name for name, (mode, data, _) in found.items() if stat.S_ISLNK(mode) and data == b"/dev/null"]
    assert "systemd/system/systemd-udevd.service" in masked
    assert [name for name in masked if "minicontainer" in name] == []


def test_the_same_parts_make_the_same_bytes() -> None:
    one, two = (pack(b"", {"a.ko": b"A"}, ["a.ko"], guest_files()) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("script", sorted(initramfs.GUEST.glob("*.sh")), ids=lambda path: path.name)
def test_the_guest_s_scripts_are_valid_shell(script: Path) -> None:
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
