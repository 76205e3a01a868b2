"""Groups that systemd makes: what it is asked over D-Bus, and told about limits and annotations."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from minicontainer.errors import SpecError, Unsupported
from minicontainer.linux import cgroups
from minicontainer.linux.process import SIGCHLD, clone3
from minicontainer.runtime import cgroup, systemd
from minicontainer.runtime.systemd_values import annotation_properties, parse_value, resource_properties
from tests.runtime.fake_systemd import FakeSystemd
from tests.runtime.runtimes import cgroup2_root

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
FOREVER = 2**64 - 1
CONFIG: dict[str, Any] = {
    "linux": {"cgroupsPath": "machine.slice:libpod:1", "resources": {"memory": {"limit": MIB}}},
    "annotations": {"org.systemd.property.TimeoutStopSec": "uint64 5", "other": "x"},
}


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystemd]:
    """Give a systemd that is none."""
    with FakeSystemd() as service:
        monkeypatch.setattr(systemd, "is_running", lambda: True)
        monkeypatch.setattr(systemd, "bus_address", lambda: service.address)
        yield service


needs_bus = pytest.mark.requires("tool:dbus-daemon", "import:jeepney")


@needs_bus
def test_a_scope_is_started_with_the_process_its_slice_and_its_limits(bus: FakeSystemd) -> None:
    path = systemd.start_scope(CONFIG, "c1", os.getpid())
    assert path == cgroups.own_cgroup()
    assert bus.units == {
        "libpod-1.scope": {
            "Description": ("s", "container c1"),
            "Slice": ("s", "machine.slice"),
            "Delegate": ("b", True),
            "PIDs": ("au", [os.getpid()]),
            "DefaultDependencies": ("b", False),
            "MemoryAccounting": ("b", True),
            "CPUAccounting": ("b", True),
            "IOAccounting": ("b", True),
            "TasksAccounting": ("b", True),
            "MemoryMax": ("t", MIB),
            "TimeoutStopUSec": ("t", 5_000_000),
        }
    }


@needs_bus
@pytest.mark.requires("root", "cgroup2")
def test_the_group_is_the_one_that_systemd_has_moved_the_process_to(monkeypatch: pytest.MonkeyPatch) -> None:
    slice_name = f"test{os.getpid()}.slice"
    pid, pidfd = clone3(0, SIGCHLD, -1)
    if pid == 0:
        os.read(os.pipe()[0], 1)
    monkeypatch.setattr(systemd, "is_running", lambda: True)
    with FakeSystemd(tree=cgroup2_root()) as bus:
        monkeypatch.setattr(systemd, "bus_address", lambda: bus.address)
        config = {"linux": {"cgroupsPath": f"{slice_name}:libpod:1"}}
        path = f"/{slice_name}/libpod-1.scope"
        assert systemd.scope_path(config, "c1") == path
        assert systemd.start_scope(config, "c1", pid) == path
        opened = cgroup.open_existing(path)
        assert (opened.path, opened.made) == (path, [])
        opened.close()
        systemd.stop_unit(path)
        assert not (cgroup2_root() / path[1:]).exists()
    os.waitpid(pid, 0)
    os.close(pidfd)


@needs_bus
def test_a_users_scope_lies_below_his_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "is_running", lambda: True)
    monkeypatch.setattr(systemd, "is_users", lambda: True)
    own = "/user.slice/user-5.slice/user@5.service"
    with FakeSystemd(own_group=own) as bus:
        monkeypatch.setattr(systemd, "bus_address", lambda: bus.address)
        assert systemd.scope_path({}, "c1") == f"{own}/user.slice/minicontainer-c1.scope"
        assert systemd.scope_path(CONFIG, "c1") == f"{own}/machine.slice/libpod-1.scope"
        systemd.start_scope({}, "c1", os.getpid())
        assert bus.units["minicontainer-c1.scope"]["Slice"] == ("s", "user.slice")


@needs_bus
@pytest.mark.requires("userns", "tool:unshare")
def test_the_bus_knows_who_asks_from_within_a_user_namespace(bus: FakeSystemd) -> None:
    code = (
        "import sys; from minicontainer.runtime import systemd; systemd.is_running = lambda: True;"
        "print(systemd.Manager(sys.argv[1]).version())"
    )
    inside = ["unshare", "--user", "--map-user=5", sys.executable, "-c", code, bus.address]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("252\n", "")


@needs_bus
def test_a_failed_unit_of_the_same_name_is_cleared_away(bus: FakeSystemd) -> None:
    bus.failed.add("libpod-1.scope")
    systemd.start_scope(CONFIG, "c1", os.getpid())
    assert list(bus.units) == ["libpod-1.scope"]
    with pytest.raises(systemd.BusError, match="it is UnitExists"):
        systemd.start_scope(CONFIG, "c1", os.getpid())


@needs_bus
@pytest.mark.parametrize(
    ("prefix", "complaint"),
    [("failed", "StartTransientUnit of failed-1.scope ended as failed"), ("refused", "it is AccessDenied")],
)
def test_a_scope_that_does_not_start_is_an_error(bus: FakeSystemd, prefix: str, complaint: str) -> None:
    with pytest.raises(systemd.BusError, match=complaint):
        systemd.start_scope({"linux": {"cgroupsPath": f"a.slice:{prefix}:1"}}, "c1", os.getpid())


@needs_bus
def test_an_update_is_told_and_a_stop_can_be_repeated(bus: FakeSystemd) -> None:
    systemd.start_scope(CONFIG, "c1", os.getpid())
    path = "/machine.slice/libpod-1.scope"
    systemd.update_unit(path, {"pids": {"limit": 9}, "memory": {"limit": -1}})
    told = bus.units["libpod-1.scope"]
    assert (told["TasksMax"], told["MemoryMax"], told["MemorySwapMax"]) == (
        ("t", 9), ("t", FOREVER), ("t", FOREVER),
    )  # fmt: skip
    bus.calls.clear()
    systemd.update_unit(path, {"devices": [{"allow": False, "access": "rwm"}]})
    assert "SetUnitProperties" not in bus.calls
    systemd.stop_unit(path)
    assert bus.units == {}
    bus.failed.add("libpod-1.scope")
    systemd.stop_unit(path)
    assert bus.failed == set()


def test_without_systemd_the_answer_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "is_running", lambda: False)
    with pytest.raises(Unsupported, match="systemd is not running"):
        systemd.start_scope(CONFIG, "c1", os.getpid())


@pytest.mark.requires("import:jeepney")
def test_without_a_bus_the_answer_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "is_running", lambda: True)
    monkeypatch.setattr(systemd, "bus_address", lambda: "unix:path=/nonexistent/bus")
    with pytest.raises(Unsupported, match="cannot be reached by D-Bus at unix:path=/nonexistent/bus"):
        systemd.start_scope(CONFIG, "c1", os.getpid())


@pytest.mark.parametrize(
    ("uid", "environment", "address"),
    [
        (0, {}, "unix:path=/run/dbus/system_bus_socket"),
        (0, {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/s", "DBUS_SESSION_BUS_ADDRESS": "u"}, "unix:path=/s"),
        (1000, {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/u", "XDG_RUNTIME_DIR": "/r"}, "unix:path=/u"),
        (1000, {"XDG_RUNTIME_DIR": "/run/user/1000"}, "unix:path=/run/user/1000/bus"),
        (1000, {"XDG_RUNTIME_DIR": ""}, ""),
    ],
)
def test_a_user_has_a_systemd_of_his_own(
    monkeypatch: pytest.MonkeyPatch, uid: int, environment: dict[str, str], address: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setattr("os.environ", environment)
    monkeypatch.setattr(systemd, "in_user_namespace", lambda: False)
    if address:
        assert systemd.bus_address() == address
    else:
        with pytest.raises(Unsupported, match="need the user's D-Bus"):
            systemd.bus_address()


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", ("b", True)),
        (" false ", ("b", False)),
        ("5", ("i", 5)),
        ("-5", ("i", -5)),
        ("0x10", ("i", 16)),
        ("1.5", ("d", 1.5)),
        ("1e3", ("d", 1000.0)),
        ("double 2", ("d", 2.0)),
        ("uint64 18446744073709551615", ("t", FOREVER)),
        ("byte 255", ("y", 255)),
        ("@t 7", ("t", 7)),
        ("'inactive-or-failed'", ("s", "inactive-or-failed")),
        (r'"a \"b\" \u00e9"', ("s", 'a "b" \u00e9')),
        ("objectpath '/a'", ("o", "/a")),
        ("['a.service', 'b.service']", ("as", ["a.service", "b.service"])),
        ("[uint32 1, 2]", ("au", [1, 2])),
        ("@as []", ("as", [])),
    ],
)
def test_a_value_is_read_from_its_text(written: str, value: tuple[str, Any]) -> None:
    assert parse_value(written, "annotations.x") == value


@pytest.mark.parametrize(
    "written",
    [
        "", "nonsense", "'open", "5 6", "[1, 'a']", "[1", "[1 2]", "[]", "]", "uint16 70000", "2147483648",
        "byte -1",
        "uint64 'a'", "boolean 1", "@ 5", "uint32 uint32 5", "{'a': 1}", "0x", "@i [1]", "string 5",
    ],
)  # fmt: skip
def test_a_text_that_is_no_value_is_refused(written: str) -> None:
    with pytest.raises(SpecError, match=r"annotations\.x"):
        parse_value(written, "annotations.x")


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("TimeoutStopSec", "uint64 30", {"TimeoutStopUSec": ("t", 30_000_000)}),
        ("TimeoutStopSec", "1.5", {"TimeoutStopUSec": ("t", 1_500_000)}),
        ("CollectMode", "'inactive-or-failed'", {"CollectMode": ("s", "inactive-or-failed")}),
        ("TimeoutStopUSec", "uint64 3", {"TimeoutStopUSec": ("t", 3)}),
        ("ABCSec", "'x'", {"ABCSec": ("s", "x")}),
    ],
)
def test_an_annotation_becomes_a_property(name: str, written: str, expected: dict[str, Any]) -> None:
    assert annotation_properties({f"org.systemd.property.{name}": written, "x": "y"}) == expected


@pytest.mark.parametrize(("name", "written"), [("ab", "1"), ("A-b", "1"), ("Ab1", "1"), ("WaitSec", "'x'")])
def test_an_annotation_with_a_wrong_name_or_unit_is_refused(name: str, written: str) -> None:
    with pytest.raises(SpecError, match=rf"annotations\.org\.systemd\.property\.{name}"):
        annotation_properties({f"org.systemd.property.{name}": written})


@pytest.mark.parametrize(
    ("resources", "version", "expected"),
    [
        ({"memory": {"limit": MIB, "swap": 3 * MIB, "reservation": 4096}}, 252,
         {"MemoryMax": ("t", MIB), "MemorySwapMax": ("t", 2 * MIB), "MemoryLow": ("t", 4096)}),
        ({"cpu": {"shares": 2048}}, 252, {"CPUWeight": ("t", 174)}),
        ({"cpu": {"shares": 2048, "idle": 1}}, 252, {"CPUWeight": ("t", 0)}),
        ({"cpu": {"shares": 2048, "idle": 1}}, 251, {"CPUWeight": ("t", 174)}),
        ({"cpu": {"quota": 50000}}, 252,
         {"CPUQuotaPerSecUSec": ("t", 500_000), "CPUQuotaPeriodUSec": ("t", 100_000)}),
        ({"cpu": {"quota": 12345}}, 241, {"CPUQuotaPerSecUSec": ("t", 130_000)}),
        ({"cpu": {"quota": -1, "period": 20000}}, 252,
         {"CPUQuotaPerSecUSec": ("t", FOREVER), "CPUQuotaPeriodUSec": ("t", 20_000)}),
        ({"cpu": {"cpus": "0-2, 9", "mems": "1"}}, 252,
         {"AllowedCPUs": ("ay", b"\x07\x02"), "AllowedMemoryNodes": ("ay", b"\x02")}),
        ({"cpu": {"cpus": "0"}}, 243, {}),
        ({"pids": {"limit": 5}}, 252, {"TasksMax": ("t", 5)}),
        ({"blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 20}]}}, 252,
         {"IOWeight": ("t", 1)}),
        ({"unified": {"memory.high": "max", "cpu.max": "5000", "misc.max": "sev 1"}}, 252,
         {"MemoryHigh": ("t", FOREVER), "CPUQuotaPerSecUSec": ("t", 50_000),
          "CPUQuotaPeriodUSec": ("t", 100_000)}),
    ],
)  # fmt: skip
def test_limits_become_properties(resources: dict[str, Any], version: int, expected: dict[str, Any]) -> None:
    assert resource_properties(resources, version) == expected


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": {"cpus": "2-1"}}, {"cpu": {"cpus": "a"}}, {"cpu": {"mems": " , "}}, {"cpu": {"cpus": "1-"}},
        {"unified": {"memory.high": "64M"}}, {"unified": {"cpu.max": "1 0"}}, {"unified": {"cpu.max": "x"}},
    ],
)  # fmt: skip
def test_limits_that_systemd_cannot_be_told_are_refused(resources: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"linux\.resources\."):
        resource_properties(resources, 252)
