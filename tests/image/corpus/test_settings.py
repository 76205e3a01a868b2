"""Images whose settings are hostile: users, variables, directories, labels.

They are unpacked as they are, and run, for it is then that settings and /etc/passwd are read. None reaches a
file of the host, nothing hangs, and what is shown of them steers no terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.image.corpus.guarded import MOST_MEMORY, Guarded, Outcome
from tests.image.layouts import Document, Entry, character, directory, fifo, file, image, layer, symlink

BUSYBOX = Path("/bin/busybox")
CONTROL = "\x1b[2J\nminicontainer: all is well"
LARGE = 20 << 20
pytestmark = pytest.mark.requires("root", "tool:busybox")


@dataclass(frozen=True, slots=True)
class Setting:
    """An image to run: what is in it, its settings, and what must come of it."""

    name: str
    sentence: str
    settings: Document
    entries: tuple[Entry, ...] = ()
    code: int = 125
    words: str = ""  # of the error, or of the output where there is none


def for_bob(name: str, sentence: str, *entries: Entry) -> Setting:
    """Describe an image whose user is looked up in a hostile /etc/passwd."""
    return Setting(name, sentence, {"User": "bob"}, entries, words="unable to find user bob")


SETTINGS = (
    for_bob(
        "passwd-symlink",
        "/etc/passwd is a link to a file of the host (CVE-2024-9676).",
        symlink("etc/passwd", "/HOST"),
    ),
    for_bob(
        "passwd-symlink-climbs",
        "/etc/passwd is a link that climbs.",
        symlink("etc/passwd", "../" * 40 + "HOST"),
    ),
    for_bob("passwd-symlink-magic", "/etc is a link to the host's.", symlink("etc", "/proc/1/root/etc")),
    for_bob("passwd-fifo", "/etc/passwd is a FIFO.", fifo("etc/passwd"), fifo("etc/group")),
    for_bob("passwd-endless", "/etc/passwd is a device that never ends.", character("etc/passwd", 1, 5)),
    for_bob("passwd-terminal", "/etc/passwd is a terminal.", character("etc/passwd", 5, 0)),
    for_bob("passwd-directory", "/etc/passwd is a directory.", directory("etc/passwd")),
    for_bob("passwd-large", "/etc/passwd has 20 MiB.", file("etc/passwd", b"x" * LARGE)),
    for_bob("passwd-binary", "/etc/passwd is no text.", file("etc/passwd", bytes(range(256)) * 10)),
    Setting("user-minus-one", "The user is -1.", {"User": "-1"}, words="user"),
    Setting("user-4294967295", "The user is -1 in 32 bits.", {"User": "4294967295"}, words="user"),
    Setting("user-4294967296", "The user is 0 in 32 bits.", {"User": "4294967296"}, words="user"),
    Setting(
        "user-control-characters",
        "The user's name has escapes in it, for the terminal that shows the error.",
        {"User": f"root{CONTROL}"},
        words="unable to find user root\\x1b[2J\\nminicontainer",
    ),
    Setting("environment-without-name", "A variable has no name.", {"Env": ["=x"]}, words="process.env"),
    Setting(
        "environment-newline",
        "A variable has a newline in it: it is one variable.",
        {"Env": ["A=b\nPATH=/evil"]},
        code=0,
        words="PATH=/usr/local/sbin",
    ),
    Setting(
        "working-directory-climbs",
        "The working directory climbs.",
        {"WorkingDir": "../../../../../etc"},
        code=0,
        words="/etc\n",
    ),
    Setting(
        "working-directory-descriptor",
        "The working directory is a descriptor of the runtime (CVE-2024-21626).",
        {"WorkingDir": "/proc/self/fd/7"},
        words="cwd",
    ),
    Setting(
        "working-directory-magic-link",
        "The working directory leads through /proc/1/root.",
        {"WorkingDir": "/w/tmp"},
        (symlink("w", "/proc/self/root"),),
        words="cwd",
    ),
    Setting(
        "volumes-climb",
        "Volumes are above the root, and a link.",
        {"Volumes": {"/../..": {}, "/data": {}, "relative": {}}},
        (symlink("data", "/etc"),),
        code=0,
    ),
    Setting(
        "labels-of-ours",
        "Labels that are ours to give.",
        {"Labels": {"minicontainer.runtime": "/evil", "minicontainer.origin": f"sha256:{'0' * 64}"}},
        code=0,
    ),
    Setting("stop-signal", "A stop signal that nobody knows.", {"StopSignal": f"SIGEVIL{CONTROL}"}, code=0),
)


@pytest.fixture
def host_users(tmp_path: Path) -> Path:
    """Make a file of the host in which bob is root."""
    path = tmp_path / "users"
    path.write_text("bob:x:0:0::/:/bin/sh\n")
    return path


def write(setting: Setting, archive: Path, host: Path) -> None:
    """Write the image; HOST in a link becomes the file of the host."""
    root = [directory("bin"), file("bin/sh", BUSYBOX.read_bytes(), mode=0o755)]
    if not any(entry.name == b"etc" for entry in setting.entries):
        root.append(directory("etc"))
    hostile = [replace(entry, link=entry.link.replace(b"HOST", bytes(host)[1:])) for entry in setting.entries]
    image(
        [layer([*root, *hostile])],
        name="hostile:latest",
        config=lambda config: config["config"].update(setting.settings),
    ).archive(archive)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_hostile_settings_reach_nothing(
    setting: Setting, tmp_path: Path, host_users: Path, guard: Guarded
) -> None:
    write(setting, tmp_path / "image.tar", host_users)
    environment = {"MINICONTAINER_ROOT": str(tmp_path / "root")}
    loaded = guard.run(["load", "--input", str(tmp_path / "image.tar")], environment, fresh=False)
    assert loaded.code == 0, loaded.err
    outcome = guard.run(["run", "--rm", "hostile", "sh", "-c", "pwd; env"], environment, fresh=True)
    assert outcome.code == setting.code, outcome.err
    assert setting.words in (outcome.err if setting.code else outcome.out)
    demand_bounds(outcome)
    for command in (["images"], ["history", "hostile"], ["image", "inspect", "hostile"]):
        shown = guard.run(command, environment, fresh=False)
        assert shown.code == 0, shown.err
        demand_bounds(shown)


def demand_bounds(outcome: Outcome) -> None:
    """Assert what holds for every command."""
    assert "Traceback" not in outcome.err
    assert outcome.memory < MOST_MEMORY
    assert all(line.isprintable() for line in outcome.err.splitlines())
    assert len(outcome.err.splitlines()) <= 2
