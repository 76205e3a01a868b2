"""Sharing a directory: how it is asked for, and that read-only is kept by the host and not by the guest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from minicontainer.errors import Error, NotFound, Unsupported
from minicontainer.vm import qemu_newer, share
from minicontainer.vm.nodes import Share
from tests.vm.guests import short_place


def test_a_directory_is_shared_for_writing_unless_ro_is_said(tmp_path: Path) -> None:
    assert share.parse(str(tmp_path)) == Share(directory=str(tmp_path), read_only=False)
    assert share.parse(f"{tmp_path}:rw") == Share(directory=str(tmp_path), read_only=False)
    assert share.parse(f"{tmp_path}:ro") == Share(directory=str(tmp_path), read_only=True)


def test_a_relative_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert share.parse(".:ro").directory == str(tmp_path)


def test_a_directory_with_a_colon_in_its_name_is_shared_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert share.parse(f"{tmp_path}/a:b").directory == f"{tmp_path}/a:b"
    assert share.parse(f"{tmp_path}/a:b:ro") == Share(directory=f"{tmp_path}/a:b", read_only=True)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for word in ("missing", "file", "missing:ro"):
        with pytest.raises(NotFound, match="no such directory"):
            share.parse(f"{tmp_path}/{word}")
    with pytest.raises(Error, match="ro or rw"):
        share.parse(f"{tmp_path}:readonly")


def test_the_new_server_keeps_read_only_itself() -> None:
    line = share.command_line(["virtiofsd"], Share(directory="/srv", read_only=True), Path("/run/s"))
    assert "--readonly" in line
    line = share.command_line(["virtiofsd"], Share(directory="/srv"), Path("/run/s"))
    assert "--readonly" not in line


@pytest.mark.requires("root", "tool:unshare")
def test_the_view_for_the_old_server_cannot_be_written_to(tmp_path: Path) -> None:
    line = share.command_line(
        [str(share.OLD)], Share(directory=str(tmp_path), read_only=True), Path("/run/s")
    )
    wrapper = line[: line.index(str(share.OLD))]
    assert wrapper[-1] == str(tmp_path)
    tried = subprocess.run(
        [*wrapper, "touch", f"{tmp_path}/file"], capture_output=True, text=True, check=False
    )
    assert tried.returncode
    assert "Read-only file system" in tried.stderr
    (tmp_path / "file").touch()  # outside the view nothing has changed


def test_who_has_no_server_reads_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_name: str, _tell: object) -> list[str]:
        raise Unsupported("no network")

    monkeypatch.setattr(share, "RUST", Path("/nonexistent"))
    monkeypatch.setattr(share, "OLD", Path("/nonexistent"))
    monkeypatch.setattr(qemu_newer, "command", nothing)
    with pytest.raises(Unsupported, match=r"no virtiofsd.*no network") as problem:
        share.find_server(print)
    assert "apt-get install virtiofsd" in problem.value.hint


def test_the_old_server_is_for_root_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(_name: str, _tell: object) -> list[str]:
        raise Unsupported("no network")

    monkeypatch.setattr(share, "RUST", Path("/nonexistent"))
    monkeypatch.setattr(share, "OLD", tmp_path)
    monkeypatch.setattr(qemu_newer, "command", nothing)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Unsupported):
        share.find_server(print)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert share.find_server(print) == [str(tmp_path)]


def test_a_server_that_ends_at_once_is_quoted() -> None:
    with short_place() as place:
        server = place / "virtiofsd"
        server.write_text("#!/bin/sh\necho 'something is wrong' >&2\nexit 1\n")
        server.chmod(0o755)
        with pytest.raises(Error, match=r"cannot be shared: virtiofsd ended: something is wrong"):
            share.serve([str(server)], Share(directory="/srv"), place / "s", place / "log")
