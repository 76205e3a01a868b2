"""What the checks see of a machine: its files, and the answers to questions that no file answers.

    here        root is /,           the answers are collected by doctor.here
    recorded    root is a directory, the answers were written down (doctor.recording)

A check is a function of nothing else, so that it can be tried on machines that are far away. What a check has
looked at is kept: that is the recording.

See proc(5), sysfs(5); tests/doctor/machines/README.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct


class Program(Struct, frozen=True, kw_only=True):
    """A program that is installed."""

    path: str
    mode: int = 0o755
    capabilities: list[str] = []
    version: str = ""  # what it says of itself, if it was asked


class Place(Struct, frozen=True, kw_only=True):
    """A directory, there already or not, and the room that its file system has for us."""

    path: str
    free: int  # bytes
    inodes: int | None = None  # None: as many as wanted (btrfs)


class Answers(Struct, frozen=True, kw_only=True):
    """What is asked of the kernel, the interpreter and other programs."""

    uid: int
    user: str
    release: str  # uname -r
    architecture: str  # uname -m
    python: str
    libraries: dict[str, str]  # those that minicontainer imports; "" is one that is missing
    programs: dict[str, Program] = {}
    modules: dict[str, str] = {}  # "loaded", "built in", "loadable" or ""; none where nobody can say
    devices: dict[str, bool] = {}  # those that exist, and whether we may read and write them
    places: dict[str, Place] = {}
    trials: dict[str, str] = {}  # what was tried: "" worked, else why it did not; the rest was not tried


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo."""

    kind: str
    place: str
    options: frozenset[str]  # the file system's own


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, here or recorded."""

    root: Path
    answers: Answers
    seen: dict[str, str] = field(default_factory=dict)  # what the checks have looked at
    texts: dict[str, str] = field(default_factory=dict)  # files, as they were when they were read first

    def read(self, path: str) -> str:
        """Read a file; what is not there, or not for us, is empty."""
        text = self._text(path)
        if text is None:
            return ""
        self.seen[path] = text
        return text

    def lines(self, path: str, pattern: str) -> list[str]:
        """Read the lines of a file in which a pattern is found, each once: the others are nobody's business.

        Files whose entries end with a zero byte (environ) have lines too.
        """
        text = self._text(path)
        if text is None:
            return []
        every = dict.fromkeys(text.replace("\0", "\n").splitlines())
        found = [line for line in every if re.search(pattern, line)]
        self.seen[path] = "\n".join(dict.fromkeys([*self.seen.get(path, "").splitlines(), *found]))
        return found

    def _text(self, path: str) -> str | None:
        if path not in self.texts:
            try:
                text = (self.root / path.lstrip("/")).read_text(errors="replace")
            except OSError:
                return None
            self.texts[path] = text.rstrip("\n\0")
        return self.texts[path]

    def has(self, path: str) -> bool:
        """Say whether a file or directory exists."""
        there = (self.root / path.lstrip("/")).exists()
        if there:
            self.seen.setdefault(path, "")
        return there

    @property
    def kernel(self) -> tuple[int, int]:
        """The kernel's version, as (6, 12)."""
        found = re.match(r"(\d+)\.(\d+)", self.answers.release)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def is_root(self) -> bool:
        """Whether it is root who asks."""
        return self.answers.uid == 0

    def mounts(self, *kinds: str) -> list[Mount]:
        """List the mounts of these file system types, in the order in which they were made."""
        found = []
        for line in self.lines("/proc/self/mountinfo", r" - cgroup2? | /sys/fs/cgroup "):
            place, _, source = line.partition(" - ")
            kind, _, options = (*source.split(), "", "", "")[:3]
            if kind in kinds:
                found.append(Mount(kind, place.split()[4], frozenset(options.split(","))))
        return found
