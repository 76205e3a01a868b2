"""Kernel parameters: those of the container's own namespaces are set, all others are refused beforehand.

Implements: runtime-spec, config-linux.md "Sysctl".
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import nothing_left, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


def test_parameters_of_own_namespaces_are_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax net/ipv4/conf/lo/forwarding fs/mqueue/msg_max"
    )
    made.linux["sysctl"] = {
        "net.ipv4.ip_forward": "1", "kernel.msgmax": "9000", "net/ipv4/conf/lo/forwarding": "1",
        "fs.mqueue.msg_max": "33",
    }  # fmt: skip
    assert runtime.output(made).split() == ["1", "9000", "1", "33"]


@pytest.mark.parametrize(
    "name",
    ["kernel.core_pattern", "kernel/core_pattern", "vm.swappiness", "fs.file-max", "../x",
     "net.../../kernel.core_pattern", "net..x", "kernel.hostname", "kernel.no_such", ""],
)  # fmt: skip
def test_a_parameter_that_is_not_the_containers_is_refused(
    runtime: Runtime, bundle: MakeBundle, name: str
) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text(), Path("/proc/sys/vm/swappiness").read_text()
    made = bundle()
    made.linux["sysctl"] = {name: "|/tmp/evil"}
    refuses(runtime, runtime.create(made))
    nothing_left(runtime, made.id)
    assert before == (
        Path("/proc/sys/kernel/core_pattern").read_text(),
        Path("/proc/sys/vm/swappiness").read_text(),
    )


@pytest.mark.parametrize(("name", "kind"), [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc")])
def test_a_parameter_of_the_hosts_namespace_is_refused(
    runtime: Runtime, bundle: MakeBundle, name: str, kind: str
) -> None:
    path = Path("/proc/sys", *name.split("."))
    before = path.read_text()
    made = bundle().without_namespace(kind).without_mount("/sys").without_mount("/dev/mqueue")
    made.linux["sysctl"] = {name: "1"}
    refuses(runtime, runtime.create(made), name)
    assert path.read_text() == before


def test_a_domain_name_may_be_given_as_a_parameter(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("cat", "/proc/sys/kernel/domainname")
    made.linux["sysctl"] = {"kernel.domainname": "example.org"}
    assert runtime.output(made) == "example.org\n"


def test_a_value_that_the_kernel_refuses_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.linux["sysctl"] = {"net.ipv4.ip_forward": "sometimes"}
    refuses(runtime, runtime.create(made))
    nothing_left(runtime, made.id)
