"""Who `--user` and an image's User mean: the image's own files say it, and none of the host's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minicontainer.cli.users import find_user
from minicontainer.errors import Error, NotFound, SpecError

PASSWD = """root:x:0:0:root:/root:/bin/sh
broken
app:x:1000:50:An app:/srv:/bin/sh
twin:x:1000:51::/:
huge:x:99999999999:1::/:
"""
GROUP = """root:x:0:
wheel:x:10:root,app
app:x:50:
games:x:60:app
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (0, 0, [10])),
        ("0", (0, 0, [10])),
        ("root", (0, 0, [10])),
        ("app", (1000, 50, [10, 60])),
        ("1000", (1000, 50, [10, 60])),
        ("app:games", (1000, 60, [])),
        ("app:77", (1000, 77, [])),
        ("2000", (2000, 0, [])),
        ("2000:3000", (2000, 3000, [])),
        ("2000:wheel", (2000, 10, [])),
        (":app", (0, 50, [])),
        ("4294967294", (4294967294, 0, [])),
    ],
)
def test_a_user_is_who_the_images_files_say(
    image: Path, text: str, found: tuple[int, int, list[int]]
) -> None:
    user = find_user(text, str(image))
    assert (user.uid, user.gid, user.additional_gids) == found


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("nobody", NotFound, "unable to find user nobody: no matching entries in passwd file"),
        ("huge", NotFound, "unable to find user huge"),
        ("app:nogroup", NotFound, "unable to find group nogroup: no matching entries in group file"),
        ("1:2:3", NotFound, "unable to find group 2:3"),
        ("4294967295", SpecError, "--user: 4294967295 is not from 0 to 4294967294"),
        ("-1", SpecError, "--user: -1 is not from 0"),
        ("1.0", NotFound, "unable to find user 1.0"),
        ("٣", SpecError, "--user: ٣"),
    ],
)
def test_who_is_not_there_is_an_error(image: Path, text: str, kind: type[Error], says: str) -> None:
    with pytest.raises(kind, match=says):
        find_user(text, str(image))


def test_an_image_without_these_files_has_numbers_only(tmp_path: Path) -> None:
    assert find_user("7:8", str(tmp_path)).gid == 8
    with pytest.raises(NotFound):
        find_user("root", str(tmp_path))


@pytest.mark.parametrize("kind", ["link to the host's", "pipe", "directory", "endless"])
def test_a_hostile_file_is_as_good_as_none(tmp_path: Path, kind: str) -> None:
    passwd = tmp_path / "etc" / "passwd"
    passwd.parent.mkdir()
    match kind:
        case "link to the host's":
            passwd.symlink_to("/proc/self/root/etc/passwd")
        case "pipe":
            os.mkfifo(passwd)
        case "directory":
            passwd.mkdir()
        case "endless":
            with passwd.open("wb") as file:
                file.truncate(100 << 20)
    with pytest.raises(NotFound):
        find_user("root", str(tmp_path))
