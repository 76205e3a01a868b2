"""R16, R31: numbers that are no ids never become root's, and lists that are too long are refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.bundles import bind, mount
from tests.runtime.checks import accepts, nothing_left, refuses
from tests.runtime.test_process import status_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

NO_IDS: list[tuple[object, str]] = [
    *((4294967295, "uid-out-of-range"), (4294967296, ""), (-1, ""), (2**63, ""), (1.5, "")),
    *((text, "string-as-number") for text in ("root", "1000:", "0:0\nroot")),
    *((True, "string-as-number"), ([], "string-as-number"), ({}, "string-as-number")),
    (None, "null-as-number"),
]
"""What is no id, and the deviation of the peers that take it for root's."""

NO_USERS = [
    *(
        ("4294967295", ""),
        ("4294967296", "exec-user-wraps"),
        ("-1", "exec-user-strtol"),
        (" 0", "exec-user-strtol"),
    ),
    *((text, "") for text in ("root", "1000:", "0:0\nroot", str(2**63), "1000:root", ":", "0x0")),
    ("1000:-1", "exec-user-strtol"),
]
"""The same for `exec --user`."""


@pytest.mark.parametrize(("number", "deviation"), NO_IDS)
@pytest.mark.parametrize("field", ["uid", "gid"])
def test_what_is_no_id_never_becomes_root(
    runtime: Runtime, bundle: MakeBundle, field: str, number: object, deviation: str
) -> None:
    made = bundle().args("cat", "/proc/self/status")
    made.process["user"] = {"uid": 1000, "gid": 1000, field: number}
    done = runtime.run(made)
    if deviation and runtime.deviates(deviation):
        assert status_field(done.stdout, field.title()).split()[1] == "0"
    else:
        refuses(runtime, done, field)


@pytest.mark.parametrize(("text", "deviation"), NO_USERS)
def test_what_is_no_id_never_becomes_root_in_exec(
    runtime: Runtime, bundle: MakeBundle, text: str, deviation: str
) -> None:
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 1000}
    done = runtime.exec(runtime.sleeping(made), "cat", "/proc/self/status", flags=["--user", text])
    if deviation and runtime.deviates(deviation):
        ids = [status_field(done.stdout, field).split()[1] for field in ("Uid", "Gid")]
        assert "0" in ids
    else:
        refuses(runtime, done, deviation="exec-fails", code=255)


@pytest.mark.parametrize("number", [-1, 2**32, "5", 4294967295])
def test_what_is_no_group_is_refused(runtime: Runtime, bundle: MakeBundle, number: object) -> None:
    made = bundle().args("true")
    made.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [number]}
    refuses(runtime, runtime.run(made))


MUCH = 1 << 20
READABLE = 4096
"""How long an error may be, in characters."""


def enlarge(made: Bundle, what: str) -> None:
    """Make one part of a config far larger than anybody needs."""
    deep = "/" + "d/" * 3000
    changes: dict[str, Callable[[], object]] = {
        "argument": lambda: made.args("true", "x" * MUCH),
        "arguments": lambda: made.args("true", *["x" * 100] * 100000),
        "short arguments": lambda: made.args("true", *["x"] * 100000),
        "variable": lambda: made.process["env"].append("X=" + "x" * MUCH),
        "variables": lambda: made.process["env"].extend(f"V{number}=x" for number in range(100000)),
        "annotation": lambda: made.config.update(annotations={"a": "x" * MUCH}),
        "hostname": lambda: made.config.update(hostname="h" * MUCH),
        "groups": lambda: made.process["user"].update(additionalGids=[*range(70000)]),
        "target": lambda: made.mounts.append(mount(deep, "tmpfs", "tmpfs")),
        "source": lambda: made.mounts.append(bind(deep, "/tmp")),
        "option": lambda: made.mounts.append(mount("/tmp", "tmpfs", "tmpfs", "x" * MUCH)),
        "masked path": lambda: made.linux["maskedPaths"].append(deep),
        "mounts": lambda: made.mounts.extend(mount(f"/tmp/{n}", "tmpfs", "tmpfs") for n in range(300)),
    }
    changes[what]()


@pytest.mark.parametrize("what", ["short arguments", "variables", "annotation", "mounts"])
def test_what_is_long_but_possible_runs(runtime: Runtime, bundle: MakeBundle, what: str) -> None:
    made = bundle().args("true")
    enlarge(made, what)
    accepts(runtime.run(made))


@pytest.mark.parametrize("what", ["argument", "arguments", "variable"])
def test_what_is_too_long_for_a_program_is_refused_when_it_starts(
    runtime: Runtime, bundle: MakeBundle, what: str
) -> None:
    made = bundle().args("true")
    enlarge(made, what)
    done = runtime.run(made)
    assert done.returncode == runtime.recorded_exit("exec-format", 1)
    assert "argument list too long" in done.stderr.lower()
    assert len(done.stderr) < READABLE
    assert not (runtime.root / made.id).exists()


@pytest.mark.parametrize("what", ["hostname", "groups", "target", "source", "option", "masked path"])
def test_what_is_too_long_is_refused_in_few_words(runtime: Runtime, bundle: MakeBundle, what: str) -> None:
    made = bundle().args("true")
    enlarge(made, what)
    done = runtime.create(made)
    assert done.returncode == 1
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    if runtime.kind == "ours":
        assert len(done.stderr) < READABLE
        nothing_left(runtime, made.id)
