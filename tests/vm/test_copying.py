"""Unpacking what a guest sends: honest trees come out whole, hostile ones reach nothing outside."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainer.errors import Error, NotFound, Refused
from minicontainer.vm import copying
from minicontainer.vm.conversation import Ended, Input, Output


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o644
    content = b""
    for key, value in more.items():
        if key == "content":
            content = str(value).encode()
        else:
            setattr(info, key, value)
    info.size = len(content)
    return info, content


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpack(data: bytes, target: Path) -> None:
    reading, writing = os.pipe()
    feeding = copying.Beside(lambda: feed(writing, data))
    copying.unpack(reading, "top", target)
    feeding.wait()


def feed(writing: int, data: bytes) -> None:
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(data)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("untouched")
    (tmp_path / "outside").mkdir()
    return tmp_path / "inside"


def test_an_honest_tree_comes_out_whole(target: Path) -> None:
    unpack(
        tar_of(
            member("top", tarfile.DIRTYPE, mode=0o750),
            member("top/file", content="text", mode=0o4755, mtime=1_000_000),
            member("top/link", tarfile.SYMTYPE, linkname="file"),
            member("top/same", tarfile.LNKTYPE, linkname="top/file"),
            member("top/deep", tarfile.DIRTYPE, mode=0o700),
            member("top/deep/er", content="x"),
            member("top/pipe", tarfile.FIFOTYPE),
            member("top/device", tarfile.CHRTYPE, devmajor=1, devminor=3),
        ),
        target,
    )
    assert sorted(path.name for path in target.iterdir()) == ["deep", "file", "link", "same"]
    assert (target / "link").read_text() == "text"
    assert (target / "same").samefile(target / "file")
    assert (target / "deep" / "er").read_text() == "x"
    assert (target / "file").stat().st_mode & 0o7777 == 0o755
    assert (target / "file").stat().st_mtime == 1_000_000
    assert target.stat().st_mode & 0o777 == 0o750


def test_what_was_there_is_replaced_and_the_rest_stays(target: Path) -> None:
    target.mkdir()
    (target / "file").write_text("old")
    (target / "other").write_text("stays")
    unpack(tar_of(member("top", tarfile.DIRTYPE, mode=0o755), member("top/file", content="new")), target)
    assert [(target / name).read_text() for name in ("file", "other")] == ["new", "stays"]


@pytest.mark.parametrize(
    "hostile",
    [
        [member("../secret", content="bad")],
        [member("top/../../secret", content="bad")],
        [member("/etc/passwd", content="bad")],
        [member("other", content="bad")],
        [member("", content="bad")],
        [member("top", tarfile.SYMTYPE, linkname="outside"), member("top/file", content="bad")],
        [
            member("top", tarfile.DIRTYPE, mode=0o755),
            member("top/way", tarfile.SYMTYPE, linkname="../outside"),
            member("top/way/file", content="bad"),
        ],
        [
            member("top", tarfile.DIRTYPE, mode=0o755),
            member("top/same", tarfile.LNKTYPE, linkname="../secret"),
        ],
        [
            member("top", tarfile.DIRTYPE, mode=0o755),
            member("top/way", tarfile.SYMTYPE, linkname=".."),
            member("top/same", tarfile.LNKTYPE, linkname="top/way/secret"),
        ],
    ],
    ids=lambda members: "+".join(info.name or "nothing" for info, _ in members),
)
def test_nothing_leads_out_of_the_target(target: Path, hostile: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(Refused):
        unpack(tar_of(*hostile), target)
    assert (target.parent / "secret").read_text() == "untouched"
    assert (target.parent / "secret").stat().st_nlink == 1
    assert list((target.parent / "outside").iterdir()) == []


def test_a_file_is_never_written_through_a_link_that_was_sent_before(target: Path) -> None:
    unpack(
        tar_of(
            member("top", tarfile.DIRTYPE, mode=0o755),
            member("top/file", tarfile.SYMTYPE, linkname="../secret"),
            member("top/file", content="bad"),
            member("top/folder", tarfile.SYMTYPE, linkname="../outside"),
        ),
        target,
    )
    assert (target.parent / "secret").read_text() == "untouched"
    assert (target / "file").read_text() == "bad"


def test_a_directory_in_the_place_of_a_link_is_an_error_and_not_a_way_out(target: Path) -> None:
    with pytest.raises(FileExistsError):
        unpack(
            tar_of(
                member("top", tarfile.DIRTYPE, mode=0o755),
                member("top/way", tarfile.SYMTYPE, linkname="../outside"),
                member("top/way", tarfile.DIRTYPE, mode=0o777),
            ),
            target,
        )
    assert (target.parent / "outside").stat().st_mode & 0o777 != 0o777


@given(st.binary(max_size=2000))
def test_garbage_is_refused_in_one_line(garbage: bytes) -> None:
    with pytest.raises((Error, EOFError)):
        unpack(garbage, Path("/nonexistent/target"))


class Agent:
    """A guest's agent that answers `look` from a table, and takes or gives a tar."""

    def __init__(self, paths: dict[str, str], sends: bytes = b"", exit: int = 0, says: bytes = b"") -> None:
        self.paths, self.sends, self.exit, self.says = paths, sends, exit, says
        self.asked: list[list[str]] = []
        self.taken = b""

    def run(
        self,
        _op: str,
        words: dict[str, list[str]],
        given: Input | None = None,
        output: Output | None = None,
        wait: float = 0,
    ) -> Ended:
        argv = words["argv"]
        if argv[0] != "tar":
            return Ended(0, self.paths.get(argv[-1], "").encode() + b"\n")
        self.asked.append(argv)
        if given and given.fd is not None:
            while piece := os.read(given.fd, 1 << 16):
                self.taken += piece
        if output:
            output("out", self.sends)
            output("err", self.says)
        return Ended(self.exit, err=self.says)


def names(tar: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        assert {(each.uid, each.gid, each.uname) for each in found} == {(0, 0, "root")}
        return found.getnames()


@pytest.mark.parametrize(
    ("there", "target", "expected"),
    [
        ({"/root": "directory"}, "", ("/root", ["tree", "tree/file"])),
        ({"/root": "directory"}, "new", ("/root", ["new", "new/file"])),
        ({"/srv": "directory"}, "/srv", ("/srv", ["tree", "tree/file"])),
        ({"/srv": "directory"}, "/srv/", ("/srv", ["tree", "tree/file"])),
        ({"/srv": "directory"}, "/srv/new", ("/srv", ["new", "new/file"])),
    ],
)
def test_a_directory_goes_where_cp_would_put_it(
    tmp_path: Path, there: dict[str, str], target: str, expected: tuple[str, list[str]]
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    agent = Agent(there)
    copying.copy_in(agent, tmp_path / "tree", target)  # type: ignore[arg-type]
    assert (agent.asked[0][5], names(agent.taken)) == expected


@pytest.mark.parametrize("target", ["/no/such", "/srv/new/", "/file/x"])
def test_a_target_whose_directory_is_missing_is_refused_before_anything_is_sent(
    tmp_path: Path, target: str
) -> None:
    agent = Agent({"/srv": "directory", "/file": "file"})
    with pytest.raises(NotFound, match="no such directory in the node"):
        copying.copy_in(agent, tmp_path, target)  # type: ignore[arg-type]
    assert agent.asked == []


def test_a_directory_does_not_replace_a_file_in_the_node(tmp_path: Path) -> None:
    with pytest.raises(Error, match="a directory cannot replace it"):
        copying.copy_in(Agent({"/srv": "directory", "/srv/x": "file"}), tmp_path, "/srv/x")  # type: ignore[arg-type]


def test_a_source_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file or directory"):
        copying.copy_in(Agent({}), tmp_path / "missing", "/srv")  # type: ignore[arg-type]


@pytest.mark.parametrize(("target", "expected"), [("", "top"), ("new", "new"), ("old", "old/top")])
def test_a_file_comes_where_cp_would_put_it(tmp_path: Path, target: str, expected: str) -> None:
    (tmp_path / "old").mkdir()
    agent = Agent({}, sends=tar_of(member("top", content="text")))
    copying.copy_out(agent, "/srv/top", tmp_path / target)  # type: ignore[arg-type]
    assert (tmp_path / expected).read_text() == "text"
    assert agent.asked[0][-3:] == ["-", "--", "top"]


def test_what_the_nodes_tar_says_is_what_the_user_reads(tmp_path: Path) -> None:
    says = b"tar: top: Cannot stat: No such file or directory\ntar: Exiting with failure status\n"
    with pytest.raises(Error, match=r"^node:/top: top: Cannot stat: No such file or directory$"):
        copying.copy_out(Agent({}, exit=2, says=says), "/top", tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["/", "..", "/srv/.."])
def test_a_source_without_a_name_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(Error, match="must end in a name"):
        copying.copy_out(Agent({}), source, tmp_path)  # type: ignore[arg-type]


def test_a_target_directory_that_is_missing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        copying.copy_out(Agent({}), "/top", tmp_path / "no" / "such")  # type: ignore[arg-type]
