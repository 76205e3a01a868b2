"""Filters of system calls: actions, arguments, architectures, flags, and the descriptor for a listener.

Implements: runtime-spec, config-linux.md "Seccomp"; seccomp(2).
"""

from __future__ import annotations

import array
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.checks import accepts, refuses
from tests.runtime.test_process import STATUS, status_field

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2", "arch:x86_64")

EPERM, ENOSYS = 1, 38


def filtered(made: Bundle, *rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> Bundle:
    """Give the container a filter."""
    made.linux["seccomp"] = {
        "defaultAction": default,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": list(rules),
        **more,
    }
    return made


def rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    """Make one rule."""
    return {"names": list(names), "action": action, **more}


def test_a_call_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = filtered(
        bundle().shell("mkdir /new || mknod /p p; " + STATUS), rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat")
    )
    done = runtime.run(made)
    assert "Operation not permitted" in done.stderr
    assert status_field(done.stdout, "Seccomp") == "2"


def test_the_error_can_be_chosen(runtime: Runtime, bundle: MakeBundle) -> None:
    made = filtered(
        bundle().args("mkdir", "/new"), rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat", errnoRet=ENOSYS)
    )
    assert "not implemented" in runtime.run(made).stderr


def test_a_call_can_kill(runtime: Runtime, bundle: MakeBundle) -> None:
    made = filtered(bundle().args("mkdir", "/new"), rule("SCMP_ACT_KILL_PROCESS", "mkdir", "mkdirat"))
    assert runtime.run(made).returncode == 128 + 31


def test_arguments_decide(runtime: Runtime, bundle: MakeBundle) -> None:
    refuse_nine = rule(
        "SCMP_ACT_ERRNO", "kill", args=[{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}], errnoRet=EPERM
    )
    made = filtered(
        bundle().shell("sleep 1000 & kill -9 $! || echo refused; kill -15 $! && echo done"), refuse_nine
    )
    assert runtime.output(made) == "refused\ndone\n"


@pytest.mark.parametrize(
    ("op", "value", "two", "refused"),
    [("SCMP_CMP_NE", 5, 0, True), ("SCMP_CMP_LT", 15, 0, False), ("SCMP_CMP_LE", 15, 0, True),
     ("SCMP_CMP_GT", 14, 0, True), ("SCMP_CMP_GE", 16, 0, False), ("SCMP_CMP_MASKED_EQ", 8, 8, True),
     ("SCMP_CMP_MASKED_EQ", 16, 0, True), ("SCMP_CMP_GT", 1 << 32, 0, False),
     ("SCMP_CMP_LT", 1 << 32, 0, True)],
)  # fmt: skip
def test_each_comparison_is_the_kernels(
    runtime: Runtime, bundle: MakeBundle, op: str, value: int, two: int, refused: bool
) -> None:
    condition = {"index": 1, "value": value, "valueTwo": two, "op": op}
    made = bundle().shell("sleep 1000 & kill -15 $! || echo refused")
    filtered(made, rule("SCMP_ACT_ERRNO", "kill", args=[condition]))
    assert (runtime.output(made) == "refused\n") == refused


def test_several_conditions_must_all_hold(runtime: Runtime, bundle: MakeBundle) -> None:
    both = [{"index": 0, "value": 0, "op": "SCMP_CMP_GT"}, {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]
    made = bundle().shell("sleep 1000 & kill -15 $! && echo term; sleep 1000 & kill -9 $! || echo refused")
    assert runtime.output(filtered(made, rule("SCMP_ACT_ERRNO", "kill", args=both))) == "term\nrefused\n"


def test_unknown_calls_are_skipped_and_unknown_actions_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    accepts(runtime.run(filtered(bundle(), rule("SCMP_ACT_ERRNO", "no_such_call"))))
    refuses(runtime, runtime.create(filtered(bundle(), rule("SCMP_ACT_SHRUG", "mkdir"))))
    refuses(runtime, runtime.create(filtered(bundle(), default="SCMP_ACT_SHRUG")))


def test_an_unknown_architecture_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    refuses(runtime, runtime.create(filtered(bundle(), architectures=["SCMP_ARCH_ABACUS"])))


def test_an_allow_list_lets_the_rest_fail(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("true")
    filtered(made, rule("SCMP_ACT_ALLOW", "execve", "exit", "exit_group"), default="SCMP_ACT_ERRNO")
    done = runtime.run(made)
    assert done.returncode in {0, 1, 127, 139}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("forbidden", [True, False])
def test_the_filter_works_with_and_without_new_privileges(
    runtime: Runtime, bundle: MakeBundle, forbidden: bool
) -> None:
    made = filtered(
        bundle().capabilities().shell("mkdir /new; " + STATUS), rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat")
    )
    made.process.update(noNewPrivileges=forbidden, user={"uid": 1000, "gid": 1000})
    text = runtime.run(made).stdout
    assert status_field(text, "Seccomp") == "2"
    assert status_field(text, "NoNewPrivs") == str(int(forbidden))
    assert status_field(text, "CapEff") == "0" * 16


def test_exec_is_filtered_too(runtime: Runtime, bundle: MakeBundle) -> None:
    name = runtime.sleeping(filtered(bundle(), rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat")))
    done = runtime.exec(name, "mkdir", "/new")
    assert "Operation not permitted" in done.stderr


def test_flags_are_accepted(runtime: Runtime, bundle: MakeBundle) -> None:
    flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    made = filtered(bundle().shell(STATUS), rule("SCMP_ACT_ERRNO", "mkdir"), flags=flags)
    assert status_field(runtime.output(made), "Seccomp") == "2"
    refuses(
        runtime,
        runtime.run(filtered(bundle(), rule("SCMP_ACT_ERRNO", "mkdir"), flags=["SECCOMP_FILTER_FLAG_NO"])),
    )


def receive(listening: socket.socket, found: dict[str, Any]) -> None:
    """Take the state and the descriptor that the runtime sends to a listener."""
    with listening.accept()[0] as connection:
        connection.settimeout(30)
        payload, descriptors, message = b"", array.array("i"), b"not yet"
        while message:
            message, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(64))
            payload += message
            for _, _, numbers in ancillary:
                descriptors.frombytes(numbers)
        found |= {"state": json.loads(payload), "descriptors": list(descriptors)}


def test_a_listener_gets_the_descriptor_and_the_state(
    runtime: Runtime, bundle: MakeBundle, workspace: Path
) -> None:
    found: dict[str, Any] = {}
    made = filtered(
        bundle(), rule("SCMP_ACT_NOTIFY", "mkdir", "mkdirat"),
        listenerPath=str(workspace / "listener"), listenerMetadata="hello",
    )  # fmt: skip
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(workspace / "listener"))
        listening.listen(1)
        listening.settimeout(30)
        thread = threading.Thread(target=receive, args=(listening, found))
        thread.start()
        runtime.started(made)
        thread.join(30)
    state = found["state"]
    assert state["metadata"] == "hello"
    assert state["fds"] == ["seccompFd"]
    assert state["state"]["id"] == made.id
    assert len(found["descriptors"]) == 1

    os.close(found["descriptors"][0])


def test_a_filter_that_cannot_notify_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.run(filtered(bundle(), rule("SCMP_ACT_NOTIFY", "mkdir")))
    assert (done.returncode == 0) == runtime.deviates("notify-without-listener")
    made = filtered(bundle(), rule("SCMP_ACT_NOTIFY", "mkdir"), listenerPath="/no/such/socket")
    refuses(runtime, runtime.run(made))
