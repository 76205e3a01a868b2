"""A container sets only sysctls of its own namespaces, however the name is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.errors import SpecError
from minicontainer.oci.sysctls import check_sysctls, sysctl_path

ALL = {"network", "ipc", "uts"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ("kernel.shmmax", "kernel/shmmax"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
    ],
)
def test_a_name_gives_its_file(name: str, path: str) -> None:
    assert sysctl_path(name) == path
    check_sysctls({name: "1"}, ALL)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/", "net", "net.", ".net.ipv4", "net..ipv4", "net/../kernel/core_pattern"),
        *("net/ipv4/../../kernel/core_pattern", "/net/ipv4/ip_forward", "net.ipv4.//..//kernel", "net/./x"),
        *("net.ipv4.ip_forward+kernel.core_pattern", "fs.mqueue.+", "fs/mqueue/../../kernel/core_pattern"),
        *("net.ipv4.ip forward", "net.ipv4.a\nb", "net.ipv4.*", "net.ipv4.é", "fs.mqueue", "fs.mqueue."),
        *("kernel.core_pattern", "kernel/core_pattern", "kernel.shmmax.x", "kernel.hostname", "kernel"),
        *("vm.overcommit_memory", "fs.file-max", "user.max_user_namespaces", "network.ipv4", "kernel.msg"),
        *("kernel.sem/../core_pattern", "dev.cdrom.info", "abi.vsyscall32", "KERNEL.SHMMAX"),
    ],
)
def test_a_name_outside_the_containers_namespaces_is_refused(name: str) -> None:
    with pytest.raises(SpecError) as raised:
        check_sysctls({"net.core.somaxconn": "1", name: "1"}, ALL)
    assert raised.value.path.startswith("linux.sysctl[")


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("net.ipv4.ip_forward", "network", "is not allowed in the host's network namespace"),
        ("kernel.msgmax", "ipc", "is not allowed in the host's ipc namespace"),
        ("kernel.msgmnb", "ipc", "ipc"),
        ("kernel.msgmni", "ipc", "ipc"),
        ("kernel.sem", "ipc", "ipc"),
        ("kernel.shmall", "ipc", "ipc"),
        ("kernel.shm_rmid_forced", "ipc", "ipc"),
        ("fs/mqueue/queues_max", "ipc", "ipc"),
        ("kernel.domainname", "uts", "is not in a separate kernel namespace"),
    ],
)
def test_a_name_is_allowed_with_its_own_namespace_only(name: str, kind: str, words: str) -> None:
    check_sysctls([name], {kind})
    with pytest.raises(SpecError) as raised:
        check_sysctls([name], ALL - {kind})
    assert str(raised.value).startswith(f'linux.sysctl["{name}"]: ')
    assert words in str(raised.value)


def test_the_host_name_has_a_field_of_its_own() -> None:
    with pytest.raises(SpecError, match='conflicts with the OCI "hostname" field'):
        check_sysctls(["kernel.hostname"], ALL)


@given(st.text("net.ipv4/kernl+ \n", max_size=24) | st.text())
def test_the_file_of_an_accepted_name_lies_below_proc_sys_and_in_a_namespace(name: str) -> None:
    try:
        check_sysctls([name], ALL)
    except SpecError:
        return
    parts = sysctl_path(name).split("/")
    assert parts[0] in ("net", "kernel", "fs")
    assert not {"", ".", ".."}.intersection(parts)
