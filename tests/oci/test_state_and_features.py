"""The state and the features of a runtime, as types."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from minicontainer.linux.capabilities import NUMBERS
from minicontainer.oci import words
from minicontainer.oci.features import Features
from minicontainer.oci.state import ContainerProcessState, ListedState, State

DATA = Path(__file__).with_name("data")
STATE = {
    "ociVersion": "1.2.1",
    "id": "web",
    "status": "running",
    "pid": 4422,
    "bundle": "/bundles/web",
    "annotations": {"key": "value"},
}


def test_a_state_survives_the_way_through_the_type() -> None:
    state = msgspec.json.decode(json.dumps(STATE), type=State)
    assert (state.id, state.status, state.pid) == ("web", "running", 4422)
    assert json.loads(msgspec.json.encode(state)) == STATE


def test_a_listed_state_has_three_members_more() -> None:
    listed = STATE | {"rootfs": "/r", "created": "2025-01-31T12:00:00.123456789Z", "owner": "root"}
    assert json.loads(msgspec.json.encode(msgspec.convert(listed, ListedState))) == listed


@pytest.mark.parametrize(
    "wrong", [{"status": "dead"}, {"pid": "4422"}, {"pid": -1}, {"id": None}, {"annotations": {"a": 1}}]
)
def test_a_state_of_wrong_types_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(STATE | wrong, State)


def test_the_state_for_a_seccomp_agent_holds_the_state_of_the_container() -> None:
    sent = {"ociVersion": "1.2.1", "fds": ["seccompFd"], "pid": 4422, "metadata": "m", "state": STATE}
    assert json.loads(msgspec.json.encode(msgspec.convert(sent, ContainerProcessState))) == sent


def test_the_features_of_runc_are_understood_to_the_last_member() -> None:
    answer = json.loads((DATA / "runc-features.json").read_text())
    features = msgspec.convert(answer, Features)
    again = json.loads(msgspec.json.encode(features))
    assert without_nulls(again) == answer


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_nulls(element) for key, element in value.items() if element is not None}
    return value


def test_our_words_are_those_of_runc_and_some_more() -> None:
    linux = json.loads((DATA / "runc-features.json").read_text())["linux"]
    assert set(words.NAMESPACES) == set(linux["namespaces"])
    assert set(NUMBERS) == set(linux["capabilities"])
    assert set(words.SECCOMP_ACTIONS) == set(linux["seccomp"]["actions"])
    assert set(words.SECCOMP_OPERATORS) == set(linux["seccomp"]["operators"])
    assert set(words.SECCOMP_ARCHITECTURES) > set(linux["seccomp"]["archs"])
    assert set(words.SECCOMP_FLAGS) > set(linux["seccomp"]["knownFlags"])
