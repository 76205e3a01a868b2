"""Paths inside a hostile root: every way out that a link, a `..` or a race could be."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainer.errors import KernelError
from minicontainer.linux.paths import (
    O_DIRECTORY,
    O_PATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFREG,
    exists_in_root,
    file_type,
    filesystem_magic,
    make_directories,
    make_file,
    mkdirat,
    mknodat,
    open_in_root,
    openat2,
    symlinkat,
    try_openat2,
)
from tests.linux.children import in_child

PROC_SUPER_MAGIC = 0x9FA0


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc/hostname").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    descriptor = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def place(descriptor: int) -> Path:
    """Say what a descriptor names, and close it."""
    named = Path(f"/proc/self/fd/{descriptor}").readlink()
    os.close(descriptor)
    return named


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("/etc/hostname", "etc/hostname"),
        ("../../../../etc/hostname", "etc/hostname"),
        ("/../secret", None),
        ("../secret", None),
        ("/link", None),
    ],
)
def test_a_link_cannot_lead_out_of_the_root(
    tmp_path: Path, root: int, target: str, leads_to: str | None
) -> None:
    (tmp_path / "root/link").symlink_to(target)
    if leads_to:
        assert place(open_in_root(root, "link")) == tmp_path / "root" / leads_to
    else:
        with pytest.raises(KernelError) as caught:
            open_in_root(root, "link")
        assert caught.value.errno in (errno.ENOENT, errno.ELOOP)
    assert exists_in_root(root, "link") is bool(leads_to)


def test_dots_end_at_the_root(tmp_path: Path, root: int) -> None:
    assert place(open_in_root(root, "../../..")) == tmp_path / "root"


def test_magic_links_are_refused(root: int) -> None:
    proc = os.open("/proc", os.O_PATH)
    try:
        for name in ("self/root", "self/cwd", f"self/fd/{root}", "self/exe"):
            with pytest.raises(KernelError) as caught:
                openat2(proc, name, O_PATH)
            assert caught.value.errno == errno.ELOOP
    finally:
        os.close(proc)


def test_links_can_be_refused_altogether(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/link").symlink_to("etc")
    with pytest.raises(KernelError) as caught:
        openat2(root, "link/hostname", O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    assert caught.value.errno == errno.ELOOP
    assert str(caught.value).startswith(f'openat2({root}, "link/hostname", {{flags=')


def test_a_refusal_is_answered_by_its_number_where_that_is_asked_for(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/link").symlink_to("etc")
    assert try_openat2(root, "nothing", O_PATH) == -errno.ENOENT
    assert try_openat2(root, "etc/hostname/deep", O_PATH) == -errno.ENOTDIR
    assert try_openat2(root, "link", O_PATH, 0, RESOLVE_NO_SYMLINKS) == -errno.ELOOP
    descriptor = try_openat2(root, "link/hostname", os.O_RDONLY)
    assert os.read(descriptor, 100) == b"inside"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_what_is_opened_is_closed_by_execve(root: int) -> None:
    descriptor = open_in_root(root, "etc")
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_file_has_a_type_and_a_file_system(root: int) -> None:
    for name, kind in (("etc", S_IFDIR), ("etc/hostname", S_IFREG)):
        descriptor = open_in_root(root, name)
        assert file_type(descriptor) == kind
        os.close(descriptor)
    proc = os.open("/proc", os.O_PATH)
    assert filesystem_magic(proc) == PROC_SUPER_MAGIC
    os.close(proc)


def test_missing_directories_are_made(tmp_path: Path, root: int) -> None:
    assert place(make_directories(root, "/a/./b//c", 0o750)) == tmp_path / "root/a/b/c"
    assert stat.S_IMODE((tmp_path / "root/a/b").stat().st_mode) == 0o750
    assert place(make_directories(root, "a/b/../d")) == tmp_path / "root/a/d"
    assert place(make_directories(root, "new/below/../../other/.")) == tmp_path / "root/other"
    assert (tmp_path / "root/new/below").is_dir()
    assert place(make_directories(root, "")) == tmp_path / "root"


def test_directories_are_made_through_links_but_inside(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/var").symlink_to("/etc")
    assert place(make_directories(root, "var/run")) == tmp_path / "root/etc/run"
    (tmp_path / "root/out").symlink_to("../../..")
    assert place(make_directories(root, "out/deep")) == tmp_path / "root/deep"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret"]


def test_a_link_to_nowhere_is_not_made_true(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/lost").symlink_to("/nowhere")
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    for make in (make_directories, make_file):
        with pytest.raises(KernelError):
            make(root, "lost/deep")
    with pytest.raises(KernelError):
        make_file(root, "lost")
    assert not (tmp_path / "root/nowhere").exists()
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def test_a_file_is_no_directory(root: int) -> None:
    with pytest.raises(KernelError) as caught:
        make_directories(root, "etc/hostname/deep")
    assert caught.value.errno == errno.ENOTDIR


def test_a_missing_file_is_made_empty_and_an_existing_one_stays(tmp_path: Path, root: int) -> None:
    assert place(make_file(root, "/run/secrets/key", 0o600)) == tmp_path / "root/run/secrets/key"
    assert stat.S_IMODE((tmp_path / "root/run/secrets/key").stat().st_mode) == 0o600
    os.close(make_file(root, "etc/hostname"))
    assert (tmp_path / "root/etc/hostname").read_text() == "inside"


def test_a_swapped_directory_does_not_lead_out(tmp_path: Path, root: int) -> None:
    """A descriptor stays what it was, whatever happens to its name."""
    etc = open_in_root(root, "etc", O_PATH | O_DIRECTORY)
    (tmp_path / "root/etc").rename(tmp_path / "root/was-etc")
    (tmp_path / "root/etc").symlink_to(tmp_path)
    mkdirat(etc, "made", 0o755)
    os.close(etc)
    assert (tmp_path / "root/was-etc/made").is_dir()
    assert not (tmp_path / "made").exists()


@pytest.mark.requires("root")
def test_nodes_are_made_by_descriptor(tmp_path: Path, root: int) -> None:
    def scene() -> None:
        os.umask(0)
        mknodat(root, "null", S_IFCHR | 0o666, os.makedev(1, 3))
        mknodat(root, "pipe", S_IFIFO | 0o600, 0)
        symlinkat("null", root, "link")

    in_child(scene)
    null = (tmp_path / "root/null").stat()
    assert (null.st_mode, null.st_rdev) == (S_IFCHR | 0o666, os.makedev(1, 3))
    assert (tmp_path / "root/pipe").is_fifo()
    link = os.open("link", os.O_PATH | os.O_NOFOLLOW, dir_fd=root)
    assert file_type(link) == S_IFLNK
    os.close(link)
