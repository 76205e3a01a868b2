"""R16, R27, R31: numbers that are no ids, configs that are no configs, lists that are too long."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.runtime.bundles import default_config
from tests.runtime.test_process import status_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

FALSE_IDS = [4294967295, 4294967296, -1, "root", "1000:", "0:0\nroot", 2**63, 1.5, True, None, [], {}]


@pytest.mark.parametrize("number", FALSE_IDS)
@pytest.mark.parametrize("field", ["uid", "gid"])
def test_what_is_no_id_never_becomes_root(
    runtime: Runtime, bundle: MakeBundle, field: str, number: object
) -> None:
    made = bundle().args("cat", "/proc/self/status")
    made.process["user"] = {"uid": 1000, "gid": 1000, field: number}
    done = runtime.run(made)
    became_root = done.returncode == 0 and status_field(done.stdout, field.title()).split()[1] == "0"
    if number is None and done.returncode == 0:
        return  # null is "not given" to runc's decoder
    if runtime.deviates("false-ids"):
        assert done.returncode == 0 or not became_root
        return
    assert done.returncode == 1
    assert not became_root


@pytest.mark.parametrize(
    "text", ["4294967295", "-1", "root", "1000:", "0:0\nroot", str(2**63), "1000:root", ":", ""]
)
def test_what_is_no_id_never_becomes_root_in_exec(runtime: Runtime, bundle: MakeBundle, text: str) -> None:
    made = bundle()
    made.process["user"] = {"uid": 1000, "gid": 1000}
    name = runtime.sleeping(made)
    done = runtime.exec(name, "cat", "/proc/self/status", flags=["--user", text])
    if done.returncode == 0:
        assert status_field(done.stdout, "Uid").split()[1] != "0" or runtime.deviates("false-ids")


@pytest.mark.parametrize("number", [-1, 2**32, "5", 4294967295])
def test_what_is_no_group_is_refused(runtime: Runtime, bundle: MakeBundle, number: object) -> None:
    made = bundle().args("cat", "/proc/self/status")
    made.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [number]}
    done = runtime.run(made)
    if runtime.deviates("false-ids"):
        return
    assert done.returncode == 1


@pytest.mark.parametrize("what", ["long argument", "long variable", "many variables", "many arguments"])
def test_what_is_too_long_is_run_or_refused_in_words(runtime: Runtime, bundle: MakeBundle, what: str) -> None:
    made = bundle().args("true")
    if what == "long argument":
        made.args("true", "x" * (1 << 20))
    elif what == "long variable":
        made.process["env"].append("X=" + "x" * (1 << 20))
    elif what == "many variables":
        made.process["env"] += [f"V{number}=x" for number in range(100000)]
    else:
        made.args("true", *("x" for _ in range(100000)))
    done = runtime.run(made)
    assert done.returncode in {0, 1} or runtime.kind != "ours"
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or done.stderr.strip()


# --- mutated configurations --------------------------------------------------------------------


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk down a config and give the path of every value."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


SAFE = default_config()
PLACES = [path for path in places(SAFE) if path[0] != "root"]
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
    st.sampled_from(
        ["/", "..", "/proc/self/fd/3", "CAP_", "rshared", "\x00", "a" * 5000, "ro", "SCMP_ACT_ALLOW"]
    ),
    st.lists(st.none() | st.integers() | st.text(max_size=5), max_size=4),
    st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=4),
)


def change(config: dict[str, Any], path: tuple[Any, ...], how: str, value: Any) -> None:
    """Remove, replace or repeat what is at a path."""
    node: Any = config
    for key in path[:-1]:
        if not isinstance(node, dict | list) or (isinstance(node, list) and key >= len(node)):
            return
        node = node[key] if isinstance(node, list) else node.get(key)
    last = path[-1]
    if isinstance(node, list) and isinstance(last, int) and last < len(node):
        if how == "remove":
            node.pop(last)
        else:
            node.insert(last, value if how == "replace" else copy.deepcopy(node[last]))
    elif isinstance(node, dict):
        if how == "remove":
            node.pop(last, None)
        else:
            node[last] = value


CHANGES = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(["remove", "replace", "repeat"]), STRANGE),
    min_size=1,
    max_size=3,
)


@hypothesis.given(changes=CHANGES)
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_a_mutated_config_runs_or_is_refused_and_leaves_nothing(
    runtime: Runtime, one: Bundle, changes: list[tuple[tuple[Any, ...], str, Any]]
) -> None:
    config = default_config()
    config["linux"]["cgroupsPath"] = f"/{one.id}"
    for path, how, value in changes:
        change(config, path, how, value)
    if not isinstance(config.get("linux"), dict) or not isinstance(config["linux"].get("namespaces"), list):
        return
    config["linux"]["cgroupsPath"] = f"/{one.id}"
    (one.path / "config.json").write_text(json.dumps(config))
    done = runtime.call("run", "--bundle", str(one.path), one.id, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or done.stderr.strip() or runtime.kind != "ours"
    assert done.returncode != 70
    if runtime.kind == "ours":
        assert not (runtime.root / one.id).exists()
        assert not runtime.cgroup(one).exists()
    else:
        runtime.delete(one.id, force=True)


@pytest.fixture
def one(bundle: MakeBundle) -> Bundle:
    """Give the one bundle whose config is mutated."""
    return bundle()
