"""What is refused before any machine is started: a port in use, too little room, too little memory."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from minicontainer.errors import Conflict, Error, NotFound
from minicontainer.vm import image, kit
from minicontainer.vm.nodes import FleetRecord, Publish

Usage = namedtuple("Usage", "total used free")


def test_a_port_that_somebody_listens_on_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        wishes = FleetRecord(publish=(Publish(node="node1", host_port=port, guest_port=80),))
        with pytest.raises(Conflict, match=f"^port {port} of this machine is in use$"):
            kit.check(wishes, Path("/"))
    kit.check(wishes, Path("/"))


def test_a_full_disk_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1 << 40, 1 << 40, 200 << 20))
    kit.check(FleetRecord(nodes=1), tmp_path / "not" / "yet")
    with pytest.raises(Error, match=r"not enough room in .*: 200 MiB free, 384 MiB needed") as problem:
        kit.check(FleetRecord(nodes=3), tmp_path / "not" / "yet")
    assert "XDG_STATE_HOME" in problem.value.hint


def test_more_memory_than_there_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  4194304 kB\nMemFree: 1 kB\nSwapTotal:  1048576 kB\n")
    monkeypatch.setattr(kit, "MEMORY", tmp_path / "meminfo")
    kit.check_memory(FleetRecord(nodes=5, memory=1024))
    with pytest.raises(
        Error, match="6 nodes with 1024 MiB each need 6144 MiB of memory, this machine has 5120"
    ):
        kit.check_memory(FleetRecord(nodes=6, memory=1024))
    with pytest.raises(Error, match="the node needs 6000 MiB of memory"):
        kit.check_memory(FleetRecord(nodes=1, memory=6000))


def test_nodes_whose_image_is_gone_cannot_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(image, "obtain", lambda _tell: pytest.fail("another image was taken"))
    with pytest.raises(NotFound, match="the image that the nodes' disks lie on is gone"):
        kit.image_below(FleetRecord(image="0123456789abcdef"), print)
