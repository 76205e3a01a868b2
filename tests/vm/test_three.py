"""Three machines on one network: they reach each other, the host reaches them, and who is gone is missed."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.runtime.waiting import eventually
from tests.vm import fleets
from tests.vm.fleets import Home

pytestmark = [pytest.mark.requires("vm", "tool:ssh-keygen"), pytest.mark.timeout(600)]
SERVE = "setsid python3 -m http.server 8000 --directory /etc >/dev/null 2>&1 &"
CONNECT = "import socket; socket.create_connection(('node{}', 8000), timeout=3); print('connected')"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return [free_port() for _ in range(3)]


@pytest.fixture(scope="module")
def three(ports: list[int]) -> Iterator[Home]:
    """Three nodes, each with a web server that shows its /etc."""
    published = [word for number, port in enumerate(ports, 1) for word in ("-p", f"node{number}:{port}:8000")]
    with fleets.home() as home:
        home.good("up", "--nodes", "3", "--memory", "512m", *published)
        for number in "123":
            home.good("run", "--node", number, "--", "sh", "-c", SERVE)
        yield home


def reaches(home: Home, source: int, target: int) -> bool:
    """Tell whether one node gets an answer to a ping from another."""
    return home.vm("run", "-n", str(source), "ping", "-c1", "-W3", f"10.77.0.{target}").returncode == 0


def connects(home: Home, source: int, target: int) -> str:
    """Try a TCP connection from node to node: connected, or the exception's name."""
    done = home.vm("run", "-n", str(source), "python3", "-c", CONNECT.format(target))
    return (done.stdout or done.stderr).strip().splitlines()[-1].partition(":")[0]


def test_each_node_is_itself(three: Home) -> None:
    assert three.states() == ["running"] * 3
    names, identities, cards = [], [], []
    for number in "123":
        shown = three.good(
            "run", "-n", number, "sh", "-c", "hostname; cat /etc/machine-id; cat /sys/class/net/eth1/address"
        )
        for found, line in zip((names, identities, cards), shown.splitlines(), strict=True):
            found.append(line)
    assert names == ["node1", "node2", "node3"]
    assert cards == [f"52:54:00:77:00:0{number}" for number in "123"]
    assert len(set(identities)) == 3


@pytest.mark.parametrize(("source", "target"), [(1, 2), (2, 3), (3, 1)])
def test_the_nodes_reach_each_other(three: Home, source: int, target: int) -> None:
    eventually(lambda: reaches(three, source, target), "no answer to a ping")
    eventually(lambda: connects(three, source, target) == "connected", "no connection")


def test_the_host_reaches_each_node_by_its_port(three: Home, ports: list[int]) -> None:
    for number, port in enumerate(ports, 1):

        def page(port: int = port) -> str:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as web:
                web.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: web.recv(4096), b"")).decode()

        eventually(lambda page=page, number=number: page().endswith(f"\r\n\r\nnode{number}\n"), "no page")


def test_a_node_that_is_cut_off_is_missed_until_its_cable_is_mended(three: Home) -> None:
    three.good("cable", "cut", "node2")
    assert three.nodes()["node2"]["cable"] == "cut"
    assert not reaches(three, 1, 2)
    assert not reaches(three, 2, 3)
    assert connects(three, 1, 2) in (
        "TimeoutError",
        "OSError",
    )  # OSError: no route, for ARP has no answer either
    assert reaches(three, 1, 3)
    assert three.states() == ["running"] * 3  # it is cut off, not dead
    three.good("cable", "mend", "node2")
    eventually(lambda: reaches(three, 1, 2), "still no answer to a ping")
    eventually(lambda: connects(three, 3, 2) == "connected", "still no connection")


def test_a_slow_cable_is_slow(three: Home) -> None:
    three.good("cable", "slow", "--delay", "300", "node3")
    shown = three.good("run", "-n", "1", "ping", "-c1", "-W20", "10.77.0.3")
    three.good("cable", "mend", "node3")
    assert float(shown.partition("time=")[2].split()[0]) >= 600  # both ways


def test_a_node_that_is_killed_is_missed_and_listed_as_dead(three: Home) -> None:
    eventually(lambda: connects(three, 1, 3) == "connected", "no connection to begin with")
    os.kill(three.nodes()["node3"]["pid"], signal.SIGKILL)
    eventually(lambda: three.states() == ["running", "running", "dead"], "nobody noticed")
    assert not reaches(three, 1, 3)
    assert connects(three, 2, 3) in ("TimeoutError", "OSError")
    assert reaches(three, 1, 2)
    done = three.vm("run", "-n", "3", "true")
    assert (done.returncode, "node3 does not run: it is dead" in done.stderr) == (125, True)
    three.good("start", "node3")
    eventually(lambda: reaches(three, 1, 3), "it did not come back")
