"""The limits of `minicontainer run`: the numbers and the mistakes are docker's."""

from __future__ import annotations

import posix
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.cli import limits
from minicontainer.cli.options import COMMANDS
from minicontainer.errors import Error

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LARGEST = (1 << 63) - 1


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four CPUs, of which all are on line, and swap, wherever the tests run."""
    monkeypatch.setattr(posix, "sched_getaffinity", lambda _pid: set(range(4)))
    monkeypatch.setattr(limits, "read_file", lambda _path: "0-3")
    monkeypatch.setattr(posix, "access", lambda _path, _mode: True)


def read(**options: str) -> dict[str, Any]:
    return limits.read_limits(COMMANDS["run"].nothing_given() | options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6291456", 6 * MIB),
        ("6291456b", 6 * MIB),
        ("6144k", 6 * MIB),
        ("64m", 64 * MIB),
        ("64M", 64 * MIB),
        ("64mb", 64 * MIB),
        ("64MiB", 64 * MIB),
        ("64 m", 64 * MIB),
        ("1.5g", GIB + GIB // 2),
        (".5g", GIB // 2),
        ("1e3m", 1000 * MIB),
        ("+8m", 8 * MIB),
        ("1t", 1 << 40),
        ("1p", 1 << 50),
        ("6m", 6 * MIB),
    ],
)
def test_a_size_is_read_as_docker_reads_it(text: str, expected: int) -> None:
    assert read(memory=text)["memory"]["limit"] == expected


@given(st.integers(6 * MIB, 1 << 52))
def test_any_number_of_bytes_is_read_exactly(size: int) -> None:
    assert limits.read_bytes(str(size), "") == limits.read_bytes(f"{size}b", "") == size


@given(st.text("0123456789.eE+- kmgtpibx_٣", max_size=8))
def test_a_size_is_read_or_refused_and_nothing_else_happens(text: str) -> None:
    try:
        assert 0 <= limits.read_bytes(text, "-m, --memory") <= LARGEST
    except Error as problem:
        assert problem.message.startswith(f'invalid argument "{text}" for "-m, --memory" flag: ')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "invalid size: ''"),
        ("many", "invalid size: 'many'"),
        ("-64m", "invalid size: '-64m'"),
        ("9e99", "invalid size: '9e99'"),
        ("64x", "invalid suffix: 'x'"),
        ("64bb", "invalid suffix: 'bb'"),
        ("64kk", "invalid suffix: 'kk'"),
        ("64mibs", "invalid suffix: 'mibs'"),
        ("1.2.3m", 'strconv.ParseFloat: parsing "1.2.3": invalid syntax'),
        ("1_0m", 'strconv.ParseFloat: parsing "1_0": invalid syntax'),
        (" 64m", 'strconv.ParseFloat: parsing " 64": invalid syntax'),
    ],
)
def test_a_size_that_is_none_is_refused_in_dockers_words(text: str, why: str) -> None:
    with pytest.raises(Error) as raised:
        read(memory=text)
    assert raised.value.message == f'invalid argument "{text}" for "-m, --memory" flag: {why}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"memory": "64m"}, {"limit": 64 * MIB, "swap": 128 * MIB}),
        ({"memory": "64m", "memory_swap": "0"}, {"limit": 64 * MIB, "swap": 128 * MIB}),
        ({"memory": "64m", "memory_swap": "64m"}, {"limit": 64 * MIB, "swap": 64 * MIB}),
        ({"memory": "64m", "memory_swap": "1g"}, {"limit": 64 * MIB, "swap": GIB}),
        ({"memory": "64m", "memory_swap": "-1"}, {"limit": 64 * MIB, "swap": -1}),
        ({"memory": str(1 << 62)}, {"limit": 1 << 62, "swap": LARGEST}),
    ],
)
def test_memory_and_swap_together_are_twice_the_memory_unless_it_is_said(
    options: dict[str, str], expected: dict[str, int]
) -> None:
    assert read(**options) == {"memory": expected}


@pytest.mark.parametrize(
    "options", [{"memory": "0"}, {"memory": "0", "memory_swap": "-1"}, {"memory_swap": "-1"}]
)
def test_no_limit_of_memory_is_none_of_swap(options: dict[str, str]) -> None:
    assert read(**options) == {}


def test_a_kernel_without_swap_is_not_asked_to_limit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix, "access", lambda path, _mode: path != "/proc/swaps")
    assert read(memory="64m") == {"memory": {"limit": 64 * MIB}}
    assert read(memory="64m", memory_swap="64m") == {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("1.5", 150000),
        ("1", 100000),
        (".5", 50000),
        ("4.0", 400000),
        ("0.01", 1000),
        ("+2", 200000),
        ("0.333333333", 33333),
        ("1.50000000000", 150000),
    ],
)
def test_cpus_are_a_quota_of_each_tenth_of_a_second(text: str, quota: int) -> None:
    assert read(cpus=text) == {"cpu": {"period": 100000, "quota": quota}}


@pytest.mark.parametrize("text", ["4.01", "5", "99999999999", "-1", "0.009", "-0.5"])
def test_more_cpus_than_there_are_are_refused(text: str) -> None:
    with pytest.raises(
        Error, match=r"^range of CPUs is from 0\.01 to 4\.00, as there are only 4 CPUs available$"
    ):
        read(cpus=text)


@pytest.mark.parametrize("text", ["", "x", "1.2.3", ".", "1,5", "٣", "--1", "1 "])
def test_cpus_that_are_no_number_are_refused(text: str) -> None:
    with pytest.raises(Error) as raised:
        read(cpus=text)
    expected = f'invalid argument "{text}" for "--cpus" flag: failed to parse {text} as a rational number'
    assert raised.value.message == expected


def test_a_number_of_cpus_has_nine_decimals_at_most() -> None:
    with pytest.raises(Error, match="value is too precise"):
        read(cpus="0.1234567891")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cpu_shares": "512"}, {"cpu": {"shares": 512}}),
        ({"cpu_shares": "0"}, {}),
        ({"cpuset_cpus": "0-2,3"}, {"cpu": {"cpus": "0-2,3"}}),
        ({"cpuset_cpus": ""}, {}),
        ({"pids_limit": "50"}, {"pids": {"limit": 50}}),
        ({"pids_limit": "0x20"}, {"pids": {"limit": 32}}),
        ({"pids_limit": "0"}, {"pids": {"limit": -1}}),
        ({"pids_limit": "-1"}, {"pids": {"limit": -1}}),
        ({"cpus": "0", "memory": "0"}, {}),
        ({}, {}),
    ],
)
def test_the_other_limits_are_read(options: dict[str, str], expected: dict[str, Any]) -> None:
    assert read(**options) == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"memory": "5m"}, "Minimum memory limit allowed is 6MB"),
        ({"memory": "1"}, "Minimum memory limit allowed is 6MB"),
        (
            {"memory_swap": "64m"},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            {"memory": "64m", "memory_swap": "32m"},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            {"memory": "64m", "memory_swap": "-2"},
            'invalid argument "-2" for "--memory-swap" flag: invalid size: \'-2\'',
        ),
        ({"cpu_shares": "-1"}, "shares: invalid argument"),
        (
            {"cpu_shares": "x"},
            'invalid argument "x" for "-c, --cpu-shares" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (
            {"pids_limit": "1.5"},
            'invalid argument "1.5" for "--pids-limit" flag: strconv.ParseInt: parsing "1.5": invalid syntax',
        ),
        (
            {"pids_limit": "9" * 19},
            f'invalid argument "{"9" * 19}" for "--pids-limit" flag: strconv.ParseInt: parsing "{"9" * 19}": '
            "value out of range",
        ),
        ({"cpuset_cpus": "a"}, "Invalid value a for cpuset cpus"),
        ({"cpuset_cpus": "2-1"}, "Invalid value 2-1 for cpuset cpus"),
        ({"cpuset_cpus": "1,"}, "Invalid value 1, for cpuset cpus"),
        ({"cpuset_cpus": "3-4"}, "Requested CPUs are not available - requested 3-4, available: 0-3"),
        (
            {"cpuset_cpus": "0-999999999999"},
            "Requested CPUs are not available - requested 0-999999999999, available: 0-3",
        ),
    ],
)
def test_a_mistake_is_told_in_dockers_words(options: dict[str, str], said: str) -> None:
    with pytest.raises(Error) as raised:
        read(**options)
    assert raised.value.message == said


# memory.events of a cgroup whose only program took too much, Linux 6.12
EVENTS = "low 0\nhigh 0\nmax 45\noom 1\noom_kill 1\noom_group_kill 0\nsock_throttled 0\n"


@pytest.mark.parametrize(
    ("counted", "limit", "said"),
    [
        (
            EVENTS,
            64 * MIB,
            "minicontainer: the kernel killed 1 process: the memory limit of 64 MiB was reached "
            "(memory.events: oom 1, oom_kill 1)\n",
        ),
        (
            EVENTS.replace("oom_kill 1", "oom_kill 3"),
            10000001,
            "minicontainer: the kernel killed 3 processes: the memory limit of 10000001 bytes was reached "
            "(memory.events: oom 1, oom_kill 3)\n",
        ),
        (EVENTS.replace("oom_kill 1", "oom_kill 0"), MIB, ""),
        ("", MIB, ""),
    ],
)
def test_what_the_kernel_counted_is_told(counted: str, limit: int, said: str) -> None:
    assert limits.kills_in(counted, limit) == said
