"""How the doctor tells what it found: text, JSON, and a recording for others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minicontainer.doctor import recording, report
from minicontainer.doctor.examination import Examination, examine
from minicontainer.doctor.finding import Mark
from minicontainer.doctor.here import capabilities_in
from minicontainer.doctor.machine import Machine
from minicontainer.errors import Error
from tests.doctor.test_machines import MACHINES, Recorded, recorded

__all__ = ["recorded"]  # the fixture


@pytest.fixture
def found(recorded: Recorded) -> Examination:
    """An examination in which every mark occurs."""
    return examine(recorded("docker-container"))


def plain(found: Examination, width: int = 1000) -> list[str]:
    return [line.plain for line in report.lines(found, width)]


def test_every_finding_has_a_line_below_its_group(found: Examination) -> None:
    lines = plain(found)
    for group, findings in found.groups.items():
        at = lines.index(group)
        for finding in findings:
            at += 1
            assert lines[at].split(maxsplit=1)[0] == finding.mark
            assert f" {finding.name}  " in lines[at]
            assert lines[at].endswith(f"  {finding.says}")
            if finding.mend:
                at += 1
                assert lines[at].strip() == f"-> {finding.mend}"
        assert lines[at + 1] == ""


def test_the_last_lines_say_what_follows(found: Examination, recorded: Recorded) -> None:
    assert plain(found)[-2:] == [
        "containers: not here; see rights, overlay",
        "virtual machines: not here; see qemu, image tools",
    ]
    well = plain(examine(recorded("debian-12-hybrid")))[-2:]
    assert well == [
        "containers: minicontainer run works here",
        "virtual machines: minicontainer vm works here, emulated",
    ]


def test_an_ordinary_user_is_told_to_use_sudo(recorded: Recorded) -> None:
    assert "containers: minicontainer run works here: use sudo" in plain(examine(recorded("debian-13-user")))


def test_long_lines_are_broken_below_where_they_began(found: Examination) -> None:
    lines = plain(found, 80)
    assert max(map(len, lines[:-2])) <= 80
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(plain(found)).split())


def test_marks_alone_are_coloured(found: Examination) -> None:
    spans = [
        (line.plain[span.start : span.end].strip(), span.style)
        for line in report.lines(found, 100)
        for span in line.spans
    ]
    coloured = {text for text, _ in spans if text in set(Mark)}
    assert coloured == set(Mark)


def test_json_has_the_same_findings(found: Examination) -> None:
    told = json.loads(report.as_json(found))
    assert (told["containers"], told["virtualMachines"]) == (False, False)
    assert set(told["groups"]) == set(found.groups)
    for group, findings in found.groups.items():
        assert [(each["name"], each["mark"]) for each in told["groups"][group]] == [
            (finding.name, finding.mark.value) for finding in findings
        ]
    assert {key for each in told["groups"]["this machine"] for key in each} == {
        *("name", "mark", "says", "mend", "needed"),
    }


def test_a_recording_keeps_only_the_lines_that_were_looked_at(tmp_path: Path, recorded: Recorded) -> None:
    machine = recorded("debian-13-user")
    (machine.root / "etc/subuid").write_text("ana:100000:65536\nbob:165536:65536\n")
    machine = Machine(machine.root, machine.answers)
    examine(machine)
    recording.write(machine, tmp_path / "made")
    assert "bob" not in (tmp_path / "made" / "files").read_text()
    assert "ana" in (tmp_path / "made" / "files").read_text()


def test_a_recording_that_cannot_be_written_is_one_line(tmp_path: Path, recorded: Recorded) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="cannot write the recording"):
        recording.write(recorded("wsl1"), tmp_path / "file" / "below")


def test_recordings_do_not_name_this_machines_places() -> None:
    for path in MACHINES.glob("*/*"):
        assert not {"/work", "/mnt/", "/tmp"} & set(path.read_text().split())


@pytest.mark.parametrize(
    ("raw", "names"),
    [  # as getfattr shows them: github.com/containers/podman/issues/4921
        ("0100000280000000000000000000000000000000", ["CAP_SETUID"]),
        ("0100000240000000000000000000000000000000", ["CAP_SETGID"]),
        ("", []),
    ],
)
def test_file_capabilities_are_read(raw: str, names: list[str]) -> None:
    assert capabilities_in(bytes.fromhex(raw)) == names
