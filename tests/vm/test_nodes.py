"""What lies on disk of a fleet: records that survive, a lock that tells who owns it, directories that go."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.errors import Conflict, Error, NotFound
from minicontainer.vm import nodes
from minicontainer.vm.nodes import Fleet, FleetRecord, NodeRecord, Publish, Share
from tests.vm.guests import short_place


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    with short_place() as place:
        monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "run"))
        yield nodes.find()


WISHES = FleetRecord(
    nodes=3,
    memory=512,
    publish=(Publish(node="node2", host_port=8080, guest_port=80),),
    share=Share(directory="/srv", read_only=True),
    image="key",
)


def test_records_come_back_as_they_were_written(fleet: Fleet) -> None:
    nodes.make(fleet.state)
    fleet.keep(WISHES)
    node = NodeRecord(name="node12", running=True, written=True, ssh_port=2222)
    fleet.keep(node)
    assert fleet.record() == WISHES
    assert fleet.node("node12") == node
    assert (node.number, node.address) == (12, "10.77.0.12")
    assert WISHES.names() == ["node1", "node2", "node3"]


def test_a_fleet_without_a_record_does_not_exist(fleet: Fleet) -> None:
    assert not fleet.exists()
    with pytest.raises(NotFound):
        fleet.record()
    nodes.make(fleet.state)
    fleet.keep(WISHES)
    assert fleet.exists()
    assert fleet.nodes() == []


@pytest.mark.parametrize("damage", [b"", b"{", b'{"nodes": "three"}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_record_says_how_to_go_on(fleet: Fleet, damage: bytes) -> None:
    nodes.make(fleet.state)
    (fleet.state / "fleet.json").write_bytes(damage)
    with pytest.raises(Error, match=r"fleet.json is damaged") as problem:
        fleet.record()
    assert "vm down" in problem.value.hint


def test_a_record_that_cannot_be_written_leaves_the_old_one(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes.make(fleet.state)
    fleet.keep(WISHES)

    def no_room(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(Error, match="no space left on device"):
        fleet.keep(FleetRecord())
    assert fleet.record() == WISHES
    assert [path.name for path in fleet.state.iterdir()] == ["fleet.json"]


def test_the_directories_are_this_users_alone(fleet: Fleet) -> None:
    for place in (fleet.state, fleet.runtime):
        nodes.make(place)
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


@pytest.mark.requires("root")
def test_a_runtime_directory_of_somebody_else_is_refused(fleet: Fleet) -> None:
    fleet.runtime.parent.mkdir(parents=True)
    os.chown(fleet.runtime.parent, 12345, 12345)
    with pytest.raises(Error, match="belongs to somebody else"):
        nodes.make(fleet.runtime)


def test_removing_takes_the_directories_above_that_are_ours_and_empty(fleet: Fleet) -> None:
    nodes.make(fleet.state)
    nodes.make(fleet.runtime)
    fleet.keep(WISHES)
    fleet.remove()
    fleet.remove()
    place = Path(os.environ["XDG_STATE_HOME"]).parent
    assert sorted(path.name for path in place.rglob("*")) == ["run", "state"]


def test_removing_leaves_what_belongs_to_others(fleet: Fleet) -> None:
    nodes.make(fleet.state)
    neighbour = fleet.state.parent / "neighbour"
    neighbour.mkdir()
    fleet.remove()
    assert neighbour.is_dir()


def test_a_fleet_that_somebody_owns_cannot_be_seized(fleet: Fleet) -> None:
    assert not nodes.is_owned(fleet)
    with nodes.seized(fleet):
        assert nodes.is_owned(fleet)
        with pytest.raises(Conflict, match="another command"):
            nodes.seize(fleet, 0)
    assert not nodes.is_owned(fleet)


def test_who_waits_for_a_fleet_that_is_removed_gets_a_new_one(fleet: Fleet) -> None:
    lock = nodes.seize(fleet)
    taken: list[int] = []
    waiting = threading.Thread(target=lambda: taken.append(nodes.seize(fleet, 30)))
    waiting.start()
    fleet.remove()
    assert not nodes.holds(lock, fleet)
    os.close(lock)
    waiting.join(30)
    assert nodes.holds(taken[0], fleet)
    os.close(taken[0])


def test_an_ordinary_user_without_a_runtime_directory_has_one_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    assert nodes.runtime_home() == Path("/tmp/minicontainer-vm-1234")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert nodes.runtime_home() == Path("/run/minicontainer-vm")
