"""The doctor on this machine: what it says is what is, and its trials leave nothing behind."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minicontainer.doctor import here, recording
from minicontainer.doctor.cgroups import available, mode_of
from minicontainer.doctor.examination import examine
from minicontainer.linux.trials import COVERED, TRIALS, attempt
from tests import needs

COMMAND = Path(sys.executable).parent / "minicontainer"


def doctor(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "doctor", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, **variables},
    )


def test_the_answers_are_those_of_this_machine() -> None:
    answers = here.this_machine(trying=False).answers
    assert (answers.uid, answers.release) == (os.geteuid(), platform.release())
    assert answers.python == platform.python_version()
    assert answers.trials == {}
    assert all(answers.libraries.values())
    assert ("nft" in answers.programs) == (
        shutil.which("nft", path=f"{os.defpath}:/usr/sbin:/sbin") is not None
    )
    assert all(place.free > 0 for place in answers.places.values())


def test_what_it_sees_is_what_the_tests_see() -> None:
    machine = here.this_machine(trying=False)
    assert (mode_of(machine) == "unified") == needs.met("unified")
    assert (mode_of(machine) in ("unified", "hybrid")) == needs.met("cgroup2")
    for name in ("memory", "cpu", "pids", "hugetlb"):
        assert (name in available(machine)) == needs.met(f"controller:{name}")
    assert (examine(machine)["kernel"].mark != "missing") == needs.met("kernel:5.12")


def test_this_machine_can_be_recorded_and_examined_elsewhere(tmp_path: Path) -> None:
    machine = here.this_machine(trying=False)
    found = examine(machine)
    recording.write(machine, tmp_path / "made")
    (tmp_path / "root").mkdir()
    assert examine(recording.unpack(tmp_path / "made", tmp_path / "root")) == found


@pytest.mark.requires("userns")
def test_a_user_namespace_that_the_tests_can_make_is_found_to_work() -> None:
    assert attempt("user namespace") == ""


@pytest.mark.requires("root", "filesystem:overlay", "userns")
@pytest.mark.parametrize("name", sorted(TRIALS))
def test_a_trial_leaves_nothing_behind(name: str) -> None:
    def state() -> list[str]:
        links, covered = Path("/sys/class/net").iterdir(), Path(COVERED).glob("merged")
        return [*sorted(map(str, (*links, *covered))), Path("/proc/self/mountinfo").read_text()]

    before = state()
    attempt(name)
    assert state() == before


@pytest.mark.requires("root", "filesystem:overlay")
def test_an_overlay_is_tried_and_works() -> None:
    assert attempt("overlay") == ""


def test_a_refused_trial_says_which_call_was_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusing = tmp_path / "python"
    refusing.write_text("#!/bin/sh\necho 'unshare: Operation not permitted'\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(refusing))
    assert attempt("veth") == "unshare: Operation not permitted"


def test_there_is_no_trial_of_an_unknown_name() -> None:
    with pytest.raises(KeyError):
        attempt("everything")


# --- the command -------------------------------------------------------------------------------


@pytest.mark.requires("root", "filesystem:overlay", "cgroup2")
def test_the_command_says_that_containers_run_where_they_do() -> None:
    ran = subprocess.run([COMMAND, "run", "busybox", "true"], check=False, timeout=100).returncode
    done = doctor()
    assert (done.returncode, done.stderr) == (ran, "")
    assert "\ncontainers: minicontainer run works here\n" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_command_tells_json_and_records(tmp_path: Path) -> None:
    done = doctor("--format", "json", "--no-trials", "--record", str(tmp_path / "made"))
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["containers"] else 1)
    assert "control groups" in told["groups"]
    assert (tmp_path / "made" / "answers.json").exists()


def test_where_containers_cannot_run_the_exit_code_is_1(tmp_path: Path) -> None:
    script = (
        "import sys; from minicontainer.cli import doctor; from pathlib import Path;"
        "from minicontainer.doctor import recording;"
        "doctor.this_machine = lambda trying: recording.unpack(Path(sys.argv[1]), Path(sys.argv[2]));"
        "sys.exit(doctor.doctor({'format': None, 'no_trials': True, 'record': None}))"
    )
    wsl1 = Path(__file__).parent / "machines" / "wsl1"
    done = subprocess.run(
        [sys.executable, "-c", script, wsl1, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "containers: not here; see kernel, wsl, overlay, seccomp" in done.stdout


def test_an_unknown_format_is_one_line() -> None:
    done = doctor("--format", "yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "minicontainer: --format yaml: there are text and json\n"
