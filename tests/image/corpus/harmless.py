"""Images that mean no harm and use everything that layers have; each is one to three layers of entries.

Where umoci and podman make different trees of an image, `follows` says whom the specification is with, and
`because` why: umoci unpacks all layers into one tree, podman each into its own, which overlayfs merges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.image.corpus.attack import Entries
from tests.image.corpus.entries import sparse_pax
from tests.image.layouts import (
    Layer,
    block,
    character,
    directory,
    fifo,
    file,
    gnu_long,
    gzip,
    hardlink,
    layer,
    opaque,
    plain,
    symlink,
    whiteout,
    zstd,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image; `follows` names the one peer whose tree is right where they differ."""

    name: str
    sentence: str
    layers: tuple[Entries, ...]
    follows: str = ""
    because: str = ""
    compress: Callable[[bytes], bytes] = gzip

    def make(self) -> list[Layer]:
        """Write the layers."""
        return [layer(entries, self.compress) for entries in self.layers]


def sample(name: str, sentence: str, *layers: Entries, follows: str = "", because: str = "") -> Sample:
    """Describe an image by its layers, lowest first."""
    return Sample(name, sentence, layers, follows, because)


ROOT = directory("./", 0o755)
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
OLD, NEW = b"old", b"newer"
EARLIER, LATER = 1_400_000_000, 1_600_000_000

ONE_LAYER = (
    sample(
        "modes",
        "Files of many modes.",
        [file(f"f{mode:o}", b"x", mode=mode) for mode in (0, 0o400, 0o644, 0o755, 0o777)],
    ),
    sample(
        "special-bits",
        "The setuid, setgid and sticky bits, with owners.",
        [
            *(
                file("suid", b"x", mode=0o4755),
                file("sgid", b"x", mode=0o2755, gid=43),
                file("all", mode=0o7777, uid=9),
            ),
            *(directory("tmp", 0o1777), directory("staff", 0o2775, gid=50), file("staff/x", gid=7)),
        ],
    ),
    sample(
        "owners",
        "Owners, small and large.",
        [
            file("a", uid=1, gid=2),
            file("b", uid=2**31 - 2, gid=2**31 - 2),
            symlink("l", "a", uid=3, gid=4),
            directory("d", uid=5, gid=6),
        ],
    ),
    sample(
        "empty-directories",
        "Directories with nothing in them.",
        [directory("a", 0o700, mtime=EARLIER), directory("a/b", 0o711), directory("c/", 0o1755)],
    ),
    sample(
        "symlinks",
        "Links that lead down, up, to the root, nowhere.",
        [
            directory("d"),
            symlink("d/a", "../x", mtime=EARLIER),
            symlink("b", "/etc/passwd", uid=5),
            symlink("c", "nowhere"),
            symlink("e", "."),
            symlink("f", "a" * 200),
        ],
    ),
    sample(
        "hard-links",
        "A file with four names, in two directories.",
        [
            directory("d"),
            file("a", b"content", uid=5),
            hardlink("b", "a", uid=5),
            hardlink("d/c", "b", uid=5),
            hardlink("d/e", "/d/c", uid=5),
        ],
    ),
    sample(
        "hard-link-with-another-owner",
        "The entry of a hard link says another owner and mode than the file's own.",
        [file("a", b"content", uid=5), hardlink("b", "a", uid=7, mode=0o777)],
        follows="umoci",
        because="a hard link is a name of what is there; GNU tar, too, leaves the file as it is",
    ),
    sample("hard-link-to-symlink", "A link with two names.", [symlink("a", "target"), hardlink("b", "a")]),
    sample(
        "hard-link-to-special-files",
        "A FIFO and a device with two names.",
        [fifo("a"), hardlink("b", "a"), character("n", 1, 3), hardlink("m", "n")],
    ),
    sample("fifo", "A FIFO.", [fifo("pipe", mode=0o620, uid=5)]),
    sample(
        "devices",
        "Devices of both kinds.",
        [
            character("null", 1, 3, mode=0o666),
            block("disk", 8, 17, mode=0o660, gid=6),
            character("tty", 5, 0, mode=0o620, gid=5),
        ],
    ),
    sample(
        "attributes",
        "Extended attributes of files and directories.",
        [
            file(
                "a",
                b"x",
                xattrs={"user.mime": b"text/plain", "user.binary": bytes(range(256))},
            ),
            directory("d", xattrs={"user.d": b"1"}),
            file("t", xattrs={"trusted.mine": b"1"}),
        ],
    ),
    sample(
        "empty-attribute",
        "An extended attribute without a value.",
        [file("a", xattrs={"user.empty": b""})],
        follows="podman",
        because="GNU tar writes and sets it so; umoci takes the record for a deletion",
    ),
    sample(
        "capabilities",
        "A file capability.",
        [file("ping", b"x", mode=0o755, uid=5, xattrs={"security.capability": CAPABILITY})],
    ),
    sample(
        "sparse",
        "Sparse files, one of them without any content.",
        [
            sparse_pax("new", 1 << 20, b"2\n8192\n5\n1048576\n0\n", b"12345"),
            sparse_pax("empty", 1 << 20, b"1\n1048576\n0\n"),
        ],
    ),
    sample(
        "long-names",
        "Long names in each of the three ways.",
        [
            file("y" * 100, b"1", prefix=b"x" * 155),
            directory("z" * 120),
            file("z" * 120 + "/" + "z" * 250, b"2"),
            gnu_long(file("g" * 200, b"3")),
            gnu_long(symlink("s" * 200, "t" * 300)),
        ],
    ),
    sample(
        "names-not-utf8",
        "Names that are not UTF-8, with newlines, blanks, backslashes.",
        [
            file(b"caf\xe9", b"x"),
            directory(b"\xff\xfe"),
            file(b"\xff\xfe/a\nb", b"x"),
            file(b" a\\tb ", b"x"),
            symlink(b"\x80", b"\x81"),
            file("grüße/日本", b"x"),
        ],
    ),
    sample(
        "times",
        "Times with nanoseconds, and after 2038.",
        [
            file("a", nanoseconds=123_456_789),
            file("c", mtime=2**32 + 5),
            directory("d", nanoseconds=1),
            symlink("l", "a", nanoseconds=999_999_999),
            fifo("p", mtime=EARLIER),
        ],
    ),
    sample(
        "times-before-1970",
        "Times before 1970.",
        [file("a", mtime=-86_400), symlink("l", "a", mtime=-1)],
        follows="umoci",
        because="podman makes them 1970",
    ),
    sample(
        "root-directory",
        "The root itself has a mode, an owner, a time.",
        [directory("./", 0o711, uid=5, gid=6, mtime=EARLIER), file("./a")],
    ),
    sample(
        "implied-directories", "Directories without an entry.", [file("a/b/c/d", b"x"), symlink("e/f", "x")]
    ),
    sample(
        "directory-after-its-content",
        "A directory's entry comes after what is in it.",
        [file("d/a"), directory("d", 0o500, uid=5, mtime=EARLIER)],
    ),
    sample("deep", "Directories in directories, a hundred deep.", [file("d/" * 100 + "x", b"deep")]),
    sample(
        "many",
        "Many files in one directory.",
        [directory("d"), *(file(f"d/{number}", b"%d" % number) for number in range(400))],
    ),
    sample(
        "large",
        "Files longer than what is read at once.",
        [file("a", b"0123456789abcdef" * 200_000), file("b", b"x" * (1 << 20))],
    ),
    sample(
        "through-symlink",
        "Files and directories through a link of the same layer.",
        [
            directory("usr"),
            directory("usr/lib", mtime=EARLIER),
            symlink("lib", "usr/lib"),
            file("lib/a", b"x"),
            directory("lib/d"),
            symlink("lib/d/l", "a"),
        ],
    ),
    sample(
        "hard-link-through-symlink",
        "Hard links through links of the same layer, by name and by target.",
        [
            directory("usr/lib"),
            symlink("lib", "usr/lib"),
            file("a", b"x"),
            hardlink("lib/b", "a"),
            hardlink("c", "lib/b"),
            symlink("up", "../../usr"),
            hardlink("d", "up/lib/b"),
        ],
    ),
    sample(
        "spellings",
        "Names that begin with ./ and /, and have doubled slashes.",
        [directory("./a/"), file("/a//b", b"x"), file("a/./c", b"x")],
    ),
    sample("nothing", "A layer without entries.", []),
    Sample(
        "zstd",
        "A layer that is compressed by zstd.",
        ([directory("d"), file("d/a", b"x" * 100_000)],),
        compress=zstd,
    ),
    Sample(
        "plain",
        "A layer that is not compressed.",
        ([directory("d"), file("d/a", b"x" * 100_000)],),
        compress=plain,
    ),
)

BASE: Entries = (
    directory("d", 0o750, uid=5, gid=6, mtime=EARLIER, xattrs={"user.d": b"1"}),
    file("d/a", OLD),
    file("d/b", OLD, uid=7),
    directory("d/s", 0o711, mtime=EARLIER),
    file("d/s/x", OLD),
    file("f", OLD, xattrs={"user.f": b"1"}),
    symlink("l", "d"),
)
STACKED = (
    sample(
        "file-replaced",
        "A file is replaced; its attributes go.",
        BASE,
        [BASE[0], file("f", NEW, mode=0o600), file("d/a", NEW)],
    ),
    sample(
        "file-added-to-directory",
        "A file is added, and its directory has an entry.",
        BASE,
        [directory("d", 0o700, uid=8, mtime=LATER), file("d/c", NEW)],
    ),
    sample(
        "file-added-to-implied-directory",
        "A file is added, and its directory has no entry: it stays as it was.",
        BASE,
        [file("d/s/new", NEW)],
        follows="umoci",
        because="what a layer does not mention does not change; podman makes the directory anew",
    ),
    sample(
        "root-directory-implied",
        "The root is described by the layer below alone.",
        [directory("./", 0o711, uid=5, gid=6, mtime=EARLIER), file("a")],
        [file("b")],
    ),
    sample(
        "root-directory-changed",
        "The root is described by both layers.",
        [directory("./", 0o711, uid=5, gid=6, mtime=EARLIER), file("a")],
        [directory("./", 0o700, uid=7, mtime=LATER), file("b")],
    ),
    sample(
        "directory-changed",
        "Only a directory's mode, owner and attributes change.",
        BASE,
        [directory("d", 0o711, uid=1, xattrs={"user.e": b"2"})],
    ),
    sample(
        "file-deleted",
        "A file is deleted.",
        BASE,
        [directory("d", 0o750, uid=5, gid=6, mtime=LATER), whiteout("d/a"), whiteout("f")],
    ),
    sample(
        "file-deleted-from-implied-directory",
        "A file is deleted, and its directory has no entry.",
        BASE,
        [whiteout("d/s/x")],
        follows="umoci",
        because="as above",
    ),
    sample("directory-deleted", "A directory is deleted.", BASE, [whiteout("d")]),
    sample(
        "directory-deleted-and-made-again",
        "A directory is deleted, and made with something else in it.",
        BASE,
        [whiteout("d"), directory("d", 0o700), file("d/new", NEW)],
        follows="umoci",
        because="what is deleted stays so; podman forgets the deletion",
    ),
    sample("opaque", "Nothing of a directory is kept.", BASE, [directory("d", 0o755), opaque("d")]),
    sample(
        "opaque-and-more",
        "Nothing of a directory is kept, and something is added.",
        BASE,
        [directory("d", 0o755), opaque("d"), file("d/a", NEW), directory("d/s")],
    ),
    sample(
        "opaque-last",
        "The marker comes after what is added.",
        BASE,
        [directory("d", 0o755), file("d/a", NEW), directory("d/s"), file("d/s/y", NEW), opaque("d")],
    ),
    sample(
        "opaque-of-nothing",
        "A directory that is not below is opaque.",
        BASE,
        [directory("n"), opaque("n"), file("n/a", NEW)],
    ),
    sample(
        "opaque-root",
        "Nothing at all is kept.",
        BASE,
        [opaque("."), file("a", NEW)],
        follows="umoci",
        because="an opaque root hides all layers below; overlayfs does not look at it",
    ),
    sample(
        "deleted-what-is-not-there",
        "Something is deleted that never was.",
        BASE,
        [directory("d"), whiteout("d/never"), whiteout("never")],
    ),
    sample("symlink-deleted", "A link is deleted, not its target.", BASE, [whiteout("l")]),
    sample(
        "types-replaced",
        "Each type replaces another.",
        [
            file("a", OLD),
            directory("b"),
            file("b/x"),
            symlink("c", "b"),
            fifo("e"),
            character("g", 1, 3),
            file("h", OLD),
        ],
        [
            directory("a"),
            file("a/x", NEW),
            file("b", NEW),
            directory("c"),
            file("c/y", NEW),
            file("e", NEW),
            symlink("g", "a"),
            fifo("h"),
        ],
    ),
    sample(
        "directory-replaced-by-symlink",
        "A directory becomes a link to where it was moved.",
        BASE,
        [directory("usr"), directory("usr/d"), file("usr/d/a", NEW), symlink("d", "usr/d")],
    ),
    sample(
        "three-layers",
        "What is deleted is made again, and changed once more.",
        BASE,
        [whiteout("d/s"), whiteout("f")],
        [directory("d"), directory("d/s", 0o700), file("d/s/z", NEW), symlink("f", "l")],
    ),
    sample(
        "three-layers-of-one-directory",
        "Three layers add to one directory.",
        [directory("d"), file("d/a", b"1")],
        [directory("d", 0o700), file("d/b", b"2")],
        [directory("d", 0o711, mtime=LATER), file("d/c", b"3"), whiteout("d/a")],
    ),
    sample(
        "hidden-and-seen-again",
        "A directory is hidden by a file, which is deleted: nothing comes back.",
        BASE,
        [file("d", NEW)],
        [whiteout("d")],
    ),
    sample(
        "hidden-and-made-again",
        "A directory is hidden by a file, and made again.",
        BASE,
        [file("d", NEW)],
        [directory("d", 0o700), file("d/n", NEW)],
    ),
    sample(
        "hard-links-above",
        "Hard links replace files of the layer below.",
        BASE,
        [directory("d"), file("d/a", NEW), hardlink("d/b", "d/a"), hardlink("f", "d/a")],
    ),
    sample(
        "names-like-whiteouts",
        "Names that look like whiteouts and are none.",
        [file("a"), file("wh.a")],
        [file("wh.b"), directory(".whx"), whiteout("a")],
    ),
    sample(
        "through-symlink-of-below",
        "A file whose directory is a link of the layer below.",
        [directory("usr/lib"), file("usr/lib/a", OLD), symlink("lib", "usr/lib")],
        [file("lib/b", NEW)],
        follows="podman",
        because="a layer is a set of files by their paths; Docker, too, makes a directory of it",
    ),
)

SAMPLES = (*ONE_LAYER, *STACKED)
