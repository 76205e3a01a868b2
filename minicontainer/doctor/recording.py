"""A machine written down: what the checks read there, in a directory, to be examined anywhere else.

    files           each file as tail(1) shows several: ==> /proc/version <==, then its content
    answers.json    what is no file: doctor.machine.Answers

Both can be written by hand, or with tail and a text editor on a machine where minicontainer is not installed.

See tail(1); tests/doctor/machines/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from minicontainer.doctor.machine import Answers, Machine
from minicontainer.errors import Error

HEADER = re.compile(r"^==> (/\S+) <==\n", re.MULTILINE)


def write(machine: Machine, place: Path) -> None:
    """Write down what was read of a machine. Raises Error if the directory cannot be written."""
    parts = [f"==> {path} <==\n{text}\n" for path, text in sorted(machine.seen.items())]
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / "files").write_text("\n".join(parts))
        (place / "answers.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(machine.answers)) + b"\n"
        )
    except OSError as problem:
        raise Error(f"{place}: cannot write the recording: {problem.strerror}") from problem


def unpack(place: Path, root: Path) -> Machine:
    """Lay a recording out below `root`, an empty directory, as a machine that can be examined."""
    _, *parts = HEADER.split((place / "files").read_text())
    for path, text in zip(parts[::2], parts[1::2], strict=True):
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.rstrip("\n"))
    return Machine(root, msgspec.json.decode((place / "answers.json").read_bytes(), type=Answers))
