"""QEMU's command line: the same devices always, so that a frozen guest can be thawed;nothing injected."""

from __future__ import annotations

import itertools
import platform
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from minicontainer.errors import Error, Unsupported
from minicontainer.vm import backend, qemu
from minicontainer.vm.image import Image
from minicontainer.vm.qemu import Disk, Forward, Hardware, Plan, command_line

TCG = backend.tcg("a test", (10, 0))
PLACE = Path("/run/vm")


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def plan(**changes: object) -> Plan:
    image = Image(
        place=Path("/i"), root=Path("/i/root"), kernel=Path("/i/kernel"), initramfs=Path("/i/initramfs"),
        suite="trixie", architecture="amd64", key="k",
    )  # fmt: skip
    return replace(Plan(image, PLACE, "node1"), **changes)


def line(**changes: object) -> list[str]:
    return command_line(plan(**changes), ["qemu"], TCG)


def after(words: list[str], option: str) -> list[str]:
    return [value for word, value in itertools.pairwise(words) if word == option]


def devices(words: list[str]) -> list[str]:
    return [device.split(",", 1)[0] for device in after(words, "-device")]


def test_the_devices_are_the_same_whatever_they_are_joined_to() -> None:
    alone = line()
    joined = line(lan=Path("/run/lan"), forwards=(Forward(8080, 80),), number=3, online=True)
    frozen = line(ram=Path("/f/ram"), state=Path("/f/state"))
    assert devices(alone) == devices(joined) == devices(frozen)


def test_a_guest_reaches_nobody_unless_it_is_online() -> None:
    assert "user,id=out,restrict=on" in after(line(), "-netdev")
    assert "user,id=out,restrict=off" in after(line(online=True), "-netdev")


def test_ports_are_forwarded_from_loopback_only() -> None:
    out, _lan = after(line(forwards=(Forward(2201, 22), Forward(8081, 80))), "-netdev")
    assert out.split(",")[3:] == ["hostfwd=tcp:127.0.0.1:2201-:22", "hostfwd=tcp:127.0.0.1:8081-:80"]


def test_disks_carry_their_names() -> None:
    words = line(disks=(Disk(Path("/t.tar"), "toolkit", read_only=True), Disk(Path("/s.img"), "scratch")))
    found = [device for device in after(words, "-device") if device.startswith("virtio-blk")]
    assert [device.rpartition("serial=")[2] for device in found] == ["root", "toolkit", "scratch"]
    assert [",readonly=on" in drive for drive in after(words, "-drive")] == [True, True, False]


def test_a_comma_in_a_path_stays_in_the_path() -> None:
    words = line(disks=(Disk(Path("/a,readonly=off/s.img"), "scratch"),))
    assert "file=/a,,readonly=off/s.img," in after(words, "-drive")[1]


def test_the_memory_of_a_template_is_shared_and_that_of_a_clone_is_not() -> None:
    assert after(line(ram=Path("/f/ram")), "-object")[0].endswith("mem-path=/f/ram,share=on")
    thawed = line(ram=Path("/f/ram"), state=Path("/f/state"))
    assert after(thawed, "-object")[0].endswith("share=off")
    assert after(thawed, "-incoming") == ["defer"]


def test_a_shared_directory_needs_shared_memory() -> None:
    words = line(share=Path("/run/share"))
    assert "share=on" in after(words, "-object")[0]
    assert "memory-backend=ram" in after(words, "-machine")[0]


def test_hardware_is_what_was_asked_for() -> None:
    words = line(hardware=Hardware(memory=512, cpus=2))
    assert (after(words, "-m"), after(words, "-smp")) == (["512M"], ["2"])


def test_each_node_has_an_address_of_its_own() -> None:
    addresses = {qemu.mac_address(number) for number in range(1, 300)}
    assert len(addresses) == 299
    assert all(int(address[:2], 16) & 3 == 2 for address in addresses), "local, and one machine's"


def test_a_path_that_is_too_long_for_a_socket_is_an_error() -> None:
    with pytest.raises(Error, match="too long for a socket"):
        line(place=Path("/" + "d" * 100))


def test_arm64_has_the_same_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    x86 = line()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    arm = line()
    assert devices(arm) == devices(x86)
    assert after(arm, "-machine")[0].startswith("virt")
    assert "console=ttyAMA0" in shlex.split(after(arm, "-append")[0])


def test_another_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(Unsupported, match="riscv64"):
        line()
