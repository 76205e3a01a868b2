"""The table that the runtime uses and the types that people read say the same about every config.

Only one thing is known to the table alone: the upper end of a uint64, which msgspec cannot state. The rules
that tie several members together (`check`) are on top of both, and leave the table's refusals as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings

from minicontainer.errors import SpecError
from minicontainer.oci import config as types
from minicontainer.oci import config_linux, config_resources, schema, shape, words
from minicontainer.oci.check import check_config, check_process, check_resources
from minicontainer.oci.schema_resources import RESOURCES
from tests.oci.configs import REAL, Config, full, full_resources, podman
from tests.oci.mutations import JSON_VALUES, mutated_configs

ROUND = settings().max_examples
"""50, or 2000 with --rounds=full; the suite as a whole tries 16 times as many."""
BEYOND_UINT64 = "expected an integer from 0 to 18446744073709551615, got "


def refusal_by_table(rule: shape.Rule, value: object) -> SpecError | None:
    try:
        rule.check(value)
    except SpecError as problem:
        return problem
    return None


def refusal_by_types(kind: type, value: object) -> str | None:
    """Give msgspec's path of what is wrong, as ours is written, or None if nothing is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as problem:
        place = re.search(r" - at `(?:key in )?\$(.*)`$", str(problem))
        return place[1].removeprefix(".") if place else ""
    return None


def assert_both_agree(rule: shape.Rule, kind: type, value: object, single: bool) -> None:
    ours, theirs = refusal_by_table(rule, value), refusal_by_types(kind, value)
    if ours is None:
        assert theirs is None
    elif theirs is None:
        assert ours.problem.startswith(BEYOND_UINT64)
    elif single:
        assert re.sub(r'\["(?:[^"\\]|\\.)*"\]', "[...]", ours.path).startswith(theirs)


@settings(max_examples=ROUND * 5)
@given(mutated_configs(full(), most=1))
def test_both_forms_agree_about_one_change_and_where_it_is(config: Any) -> None:
    assert_both_agree(schema.CONFIG, types.Spec, config, single=True)


@settings(max_examples=ROUND * 3)
@given(mutated_configs(full(), most=4))
def test_both_forms_agree_about_several_changes(config: Any) -> None:
    assert_both_agree(schema.CONFIG, types.Spec, config, single=False)


@settings(max_examples=ROUND * 2)
@given(mutated_configs(podman()))
def test_both_forms_agree_about_what_podman_could_have_written(config: Any) -> None:
    assert_both_agree(schema.CONFIG, types.Spec, config, single=False)


@settings(max_examples=ROUND * 2)
@given(mutated_configs(full_resources()))
def test_both_forms_agree_about_resources(resources: Any) -> None:
    assert_both_agree(RESOURCES, config_resources.Resources, resources, single=False)


@settings(max_examples=ROUND)
@given(JSON_VALUES)
def test_both_forms_agree_about_anything_at_all(value: Any) -> None:
    assert_both_agree(schema.CONFIG, types.Spec, value, single=False)


@settings(max_examples=ROUND * 3)
@given(mutated_configs(full()))
def test_the_whole_check_refuses_what_the_table_refuses_and_raises_nothing_else(config: Any) -> None:
    problem = refusal_by_table(schema.CONFIG, config)
    if problem is None:
        try:
            check_config(config)
        except SpecError as refused:
            assert refused.path
    else:
        with pytest.raises(SpecError) as raised:
            check_config(config)
        assert (raised.value.path, raised.value.problem) == (problem.path, problem.problem)


@settings(max_examples=ROUND)
@given(mutated_configs(full()["process"]))
def test_a_process_alone_is_checked_as_within_a_config(process: Any) -> None:
    within = full() | {"process": process}
    assert _text_of(check_process, process) == _text_of(check_config, within)


@settings(max_examples=ROUND)
@given(mutated_configs(full_resources()))
def test_resources_alone_are_checked_as_within_a_config(resources: Any) -> None:
    within = full()
    within["linux"]["resources"] = resources
    alone = _text_of(check_resources, resources)
    assert alone.replace("resources", "linux.resources", 1) == _text_of(check_config, within)


def _text_of(check: Any, value: Any) -> str:
    try:
        check(value)
    except SpecError as problem:
        return str(problem)
    return ""


@pytest.mark.parametrize("caller", REAL)
def test_a_config_survives_the_way_through_the_types(caller: str) -> None:
    config = REAL[caller]()
    written = msgspec.json.encode(msgspec.convert(config, types.Spec))
    assert msgspec.json.decode(written, type=types.Spec) == msgspec.convert(config, types.Spec)
    assert _without_defaults(json.loads(written)) == _without_defaults(config)


def _without_defaults(value: Any) -> Any:
    """Drop what absent means as well: null, zero, "", false, and objects that hold nothing else."""
    if isinstance(value, dict):
        kept = {key: _without_defaults(element) for key, element in value.items()}
        return {key: element for key, element in kept.items() if element not in (None, 0, "", {}, [])}
    if isinstance(value, list):
        return [_without_defaults(element) for element in value]
    return value


def table_members(rule: shape.Rule) -> set[str]:
    """List the paths of all members that a rule knows."""
    match rule:
        case shape.Object(members=members):
            inner = {f"{name}.{path}" for name, member in members.items() for path in table_members(member)}
            return inner | set(members)
        case shape.ListOf(element=element):
            return table_members(element)
        case shape.MapOf(value=value):
            return table_members(value)
    return set()


def type_members(kind: Any) -> set[str]:
    """List the paths of all members that a type knows."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        inner = {f"{name}.{path}" for name, member in fields.items() for path in type_members(member)}
        return inner | set(fields)
    return {path for argument in get_args(kind) for path in type_members(argument)}


def test_both_forms_know_the_same_members() -> None:
    members = table_members(schema.CONFIG)
    assert members == type_members(types.Spec)
    assert len(members) > 200


def present_members(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {f"{key}.{path}" for key in value for path in present_members(value[key])}
    if isinstance(value, list):
        return {path for element in value for path in present_members(element)}
    return set()


def test_the_full_config_has_every_member() -> None:
    maps = {"netDevices": "eth1", "timeOffsets": "monotonic", "rdma": "mlx5_1"}
    found = {re.sub(rf"\b({'|'.join(maps)})\.(\w+)\.", r"\1.", path) for path in present_members(full())}
    assert table_members(schema.CONFIG) <= found


@pytest.mark.parametrize(
    ("literal", "allowed"),
    [
        (types.RlimitType, words.RLIMITS),
        (types.SchedulerPolicy, words.SCHEDULER_POLICIES),
        (types.SchedulerFlag, words.SCHEDULER_FLAGS),
        (types.IOPriorityClass, words.IO_CLASSES),
        (config_linux.NamespaceType, words.NAMESPACES),
        (config_linux.Propagation, ("", *words.PROPAGATIONS)),
        (config_linux.SeccompAction, words.SECCOMP_ACTIONS),
        (config_linux.SeccompOperator, words.SECCOMP_OPERATORS),
        (config_linux.SeccompFlag, words.SECCOMP_FLAGS),
        (config_linux.SeccompArchitecture, words.SECCOMP_ARCHITECTURES),
        (config_linux.MemoryPolicyMode, words.MEMORY_POLICIES),
        (config_linux.MemoryPolicyFlag, words.MEMORY_POLICY_FLAGS),
    ],
)
def test_both_forms_allow_the_same_words(literal: Any, allowed: tuple[str, ...]) -> None:
    assert set(get_args(literal)) == set(allowed)
    assert len(get_args(literal)) == len(allowed)


def test_the_table_alone_knows_where_a_uint64_ends() -> None:
    config: Config = full()
    config["process"]["rlimits"][0]["hard"] = 2**64
    problem = refusal_by_table(schema.CONFIG, config)
    assert problem is not None
    assert problem.problem == BEYOND_UINT64 + "the number 18446744073709551616"
    assert refusal_by_types(types.Spec, config) is None
