"""The container's network, against the kernel's own view through pyroute2."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import marshal as messages

from minicontainer.errors import KernelError
from minicontainer.linux import netlink, network
from minicontainer.linux.kernel import u32
from minicontainer.linux.loopback import bring_up_loopback
from minicontainer.linux.namespaces import CLONE_NEWNET, setns, unshare
from minicontainer.linux.network import interface_index, move_link, settle_link
from tests.linux.children import in_child, sleeping_child

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR = 16, 18, 20


def links(name: str = "") -> list[Any]:
    with IPRoute() as route:
        return list(route.get_links(ifname=name) if name else route.get_links())


def addresses(name: str) -> set[str]:
    with IPRoute() as route:
        found = route.get_addr(index=route.link_lookup(ifname=name)[0])
        return {f"{item.get_attr('IFA_ADDRESS')}/{item['prefixlen']}" for item in found}


@pytest.mark.requires("root")
def test_loopback_is_down_at_first_and_up_then() -> None:
    def scene() -> tuple[bool, str, set[str], bool]:
        unshare(CLONE_NEWNET)
        before = bool(links("lo")[0]["flags"] & network.IFF_UP)
        bring_up_loopback()
        server = socket.create_server(("127.0.0.1", 0))
        with server, socket.create_connection(server.getsockname()):
            reached = True
        return before, links("lo")[0]["state"], addresses("lo") & {"127.0.0.1/8"}, reached

    assert in_child(scene) == (False, "up", {"127.0.0.1/8"}, True)


@pytest.mark.requires("root")
def test_the_index_of_a_device_is_what_pyroute2_finds() -> None:
    assert interface_index("lo") == socket.if_nametoindex("lo")
    with pytest.raises(OSError, match=r"\[Errno 19\]"):
        interface_index("none0")


def with_a_device(then: Callable[[int], Any]) -> Any:
    """In a namespace with a device `old0` that has addresses, call `then` with a sleeper in another one."""

    def scene() -> Any:
        unshare(CLONE_NEWNET)
        # A veth goes when its other end does: `then` may leave this namespace, which must outlive it.
        kept = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with IPRoute() as route:
            route.link("add", ifname="old0", kind="veth", peer="peer0")
            index = route.link_lookup(ifname="old0")[0]
            route.link("set", index=index, state="up")
            route.link("set", ifname="peer0", state="up")
            for address, length in (("10.77.0.2", 24), ("10.77.0.3", 32), ("2001:db8::2", 64)):
                route.addr("add", index=index, address=address, prefixlen=length)
            passing = {"preferred_lft": 100, "valid_lft": 100}
            route.addr("add", index=index, address="10.78.0.2", prefixlen=24, **passing)
        with sleeping_child(lambda: unshare(CLONE_NEWNET)) as pid:
            result = then(pid)
        os.close(kept)
        return result

    return in_child(scene)


@pytest.mark.requires("root")
def test_a_device_moves_with_its_addresses_and_a_new_name() -> None:
    def then(pid: int) -> tuple[list[str], str, set[str]]:
        netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        kept = move_link("old0", netns, "new0")
        left = [link.get_attr("IFLA_IFNAME") for link in links() if link.get_attr("IFLA_IFNAME") == "old0"]
        setns(netns, CLONE_NEWNET)
        settle_link("new0", kept)
        return left, links("new0")[0]["state"], addresses("new0")

    left, state, found = with_a_device(then)
    assert left == []
    assert state == "up"
    wanted = {"10.77.0.2/24", "10.77.0.3/32", "2001:db8::2/64"}
    assert {address for address in found if not address.startswith("fe80:")} == wanted


@pytest.mark.requires("root")
def test_a_name_that_is_taken_there_is_refused() -> None:
    def then(pid: int) -> str:
        netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            move_link("old0", netns, "lo")
        except KernelError as problem:
            return str(problem)
        return ""

    text = with_a_device(then)
    assert '{IFLA_IFNAME, "lo"}' in text
    assert text.endswith("EEXIST (File exists)")


@pytest.mark.requires("root")
def test_a_device_that_cannot_be_moved_stays_as_it_was() -> None:
    def then(pid: int) -> tuple[int, int]:
        with IPRoute() as route:
            route.link("add", ifname="bridge0", kind="bridge")
            route.link("set", ifname="bridge0", state="up")
        try:
            move_link("bridge0", os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), "new0")
        except KernelError as problem:
            return problem.errno or 0, links("bridge0")[0]["flags"] & network.IFF_UP
        return 0, 0

    assert with_a_device(then) == (errno.EINVAL, network.IFF_UP)


@pytest.mark.requires("root")
def test_a_device_that_is_not_there_cannot_be_moved() -> None:
    with pytest.raises(OSError, match=r"\[Errno 19\]"):
        in_child(lambda: move_link("none0", 0, "new0"))


# --- messages ----------------------------------------------------------------------------------


def test_a_message_is_read_by_pyroute2_as_it_was_meant() -> None:
    attributes = netlink.attribute(network.IFLA_IFNAME, b"new0\0") + netlink.attribute(28, u32(7))
    written = netlink.message(RTM_NEWLINK, 5, bytes(4) + u32(3, 1, 1) + attributes)
    [read] = messages.MarshalRtnl().parse(written)
    assert read["header"]["type"], read["header"]["flags"] == (RTM_NEWLINK, 5)
    assert (read["index"], read["flags"], read["change"]) == (3, 1, 1)
    assert (read.get_attr("IFLA_IFNAME"), read.get_attr("IFLA_NET_NS_FD")) == ("new0", 7)


def test_attributes_come_back_as_they_were_written() -> None:
    written = {1: b"", 2: b"a", 3: b"abcd", 0x3FFF: bytes(5)}
    assert netlink.attributes(b"".join(netlink.attribute(*item) for item in written.items())) == written


@pytest.mark.requires("root")
def test_a_table_is_read_to_its_end() -> None:
    def scene() -> tuple[int, int]:
        unshare(CLONE_NEWNET)
        with IPRoute() as route:
            for number in range(60):
                route.link("add", ifname=f"b{number}", kind="bridge")
        ours = netlink.open_netlink()
        return len(netlink.dump(ours, RTM_GETLINK, bytes(network.INFO))), len(links())

    assert in_child(scene) == (61, 61)


def test_a_refused_request_is_an_error_with_its_text() -> None:
    ours = netlink.open_netlink()
    with pytest.raises(KernelError) as caught:
        netlink.change(ours, RTM_NEWADDR, netlink.NLM_F_CREATE, bytes([2, 24, 0, 0]) + u32(2**20))
    assert str(caught.value).startswith(f"sendto({ours}, [{{nlmsg_type=RTM_NEWADDR, nlmsg_flags=")
    os.close(ours)
