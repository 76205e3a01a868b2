"""Layers that want to write, read, delete or change something outside of their root by names and links.

The cases of three test suites, told anew: containerd's TestBreakouts, testBreakout of containers-storage, the
extraction tables of umoci; and what they do not have. In all of them a name that contains `..` is refused,
while `..` in the target of a link is a way like any other, that ends at the root: see path_resolution(7).
"""

from __future__ import annotations

from tests.image.corpus.attack import VICTIM, Attack, Entries, implied, refused, refused_layers, unpacked
from tests.image.layouts import (
    GNU,
    Entry,
    character,
    directory,
    fifo,
    file,
    gnu_long,
    hardlink,
    layer,
    opaque,
    pax_header,
    symlink,
    whiteout,
)

ETC: Entries = (directory("etc", 0o770), file("/etc/passwd", b"inside"))
USERS: Entries = (directory("etc"), file("etc/passwd", b"all users"))
UNBROKEN = file("/localetc/unbroken", b"unbroken")
LOCAL = hardlink("localpasswd", "/localetc/passwd")

CONTAINERD = (
    unpacked(
        "symlink-absolute",
        "A file is written through an absolute link (CVE-2014-9356).",
        [directory("etc"), symlink("localetc", "/etc"), UNBROKEN],
    ),
    unpacked(
        "symlink-up-and-out",
        "A file is written through an absolute link with `..` in it.",
        [directory("etc"), directory("dummy"), symlink("localetc", "/dummy/../etc"), UNBROKEN],
    ),
    unpacked(
        "symlink-multiple-absolute",
        "A file is written through a link to a link.",
        [
            *(directory("etc"), directory("dummy"), symlink("/dummy/etc", "/etc")),
            *(symlink("localetc", "/dummy/etc"), UNBROKEN),
        ],
    ),
    unpacked(
        "symlink-multiple-relative",
        "A file is written through a relative link to an absolute one.",
        [
            *(directory("etc"), directory("dummy"), symlink("/dummy/etc", "/etc")),
            *(symlink("localetc", "./dummy/etc"), UNBROKEN),
        ],
    ),
    unpacked(
        "symlink-empty-file",
        "A file is emptied through a link to its directory.",
        [
            *(directory("etc"), file("etc/emptied", b"not empty")),
            *(symlink("localetc", "/etc"), file("/localetc/emptied")),
        ],
    ),
    unpacked(
        "hardlink-relative",
        "A hard link takes /etc/passwd through a link that climbs too high.",
        [
            *(*ETC, directory("breakouts"), symlink("breakouts/d1", "../../etc")),
            hardlink("breakouts/mypasswd", "/breakouts/d1/passwd"),
        ],
    ),
    unpacked(
        "hardlink-down-and-out",
        "A hard link takes /etc/passwd through a link that goes down, then climbs too high.",
        [
            *(*ETC, directory("breakouts"), directory("downandout")),
            symlink("breakouts/d1", "../downandout/../../etc"),
            hardlink("breakouts/mypasswd", "/breakouts/d1/passwd"),
        ],
    ),
    unpacked(
        "hardlink-absolute",
        "A hard link takes /etc/passwd through an absolute link.",
        [*ETC, symlink("localetc", "/etc"), LOCAL],
    ),
    unpacked(
        "hardlink-relative-long",
        "A hard link takes /etc/passwd through a link that climbs much too high.",
        [*ETC, symlink("localetc", "../../../../../../../etc"), LOCAL],
    ),
    refused(
        "hardlink-relative-up-and-out",
        "A hard link takes /etc/passwd through a link that begins in a directory which is not there.",
        [*ETC, symlink("localetc", "upandout/../../../etc"), LOCAL],
        "localpasswd",
    ),
    unpacked(
        "hardlink-direct-relative",
        "A hard link's own target climbs too high.",
        [*ETC, hardlink("localpasswd", "../../../../../etc/passwd")],
    ),
    unpacked(
        "hardlink-direct-absolute",
        "A hard link's own target is absolute.",
        [*ETC, hardlink("localpasswd", "/etc/passwd")],
    ),
    refused(
        "symlink-parent-directory",
        "A link wants to replace the directory above the root.",
        [*ETC, symlink("..", "/etc/"), hardlink("localpasswd", "/etc/passwd")],
        "..",
    ),
    refused_layers(
        "symlink-empty-filename",
        "A link without a name wants to replace the root.",
        lambda: [layer([*ETC, symlink("", "/etc/"), hardlink("localpasswd", "/etc/passwd")])],
    ),
    refused(
        "symlink-parent-relative",
        "A link's name ends in `..`.",
        [*ETC, symlink("localetc/sub/..", "/etc/"), hardlink("/localetc/localpasswd", "/etc/passwd")],
        "localetc/sub/..",
    ),
    unpacked(
        "symlink-slash-ended",
        "A directory's name ends in a slash.",
        [*ETC, directory("localetc/", 0o770), hardlink("/localetc/localpasswd", "/etc/passwd")],
    ),
    unpacked(
        "symlink-override-directory",
        "A directory becomes an absolute link, and a file is linked through it.",
        [
            *(*ETC, directory("localetc"), symlink("localetc", "/etc")),
            hardlink("/localetc/localpasswd", "/etc/passwd"),
        ],
    ),
    unpacked(
        "symlink-override-directory-relative",
        "A directory becomes a link that climbs too high, and a file is linked through it.",
        [
            *(*ETC, directory("localetc"), symlink("localetc", "../../etc")),
            hardlink("/localetc/localpasswd", "/etc/passwd"),
        ],
    ),
    unpacked(
        "directory-override-symlink",
        "A link becomes a directory, which must not be the link's target.",
        [
            *(*ETC, symlink("localetc", "/etc"), directory("/localetc/")),
            hardlink("/localetc/localpasswd", "/etc/passwd"),
        ],
    ),
    unpacked(
        "directory-override-symlink-and-hardlink",
        "A layer replaces a link and a hard link behind it: the file that they led to stays as it was.",
        [directory("/localetc/"), file("/localetc/localpasswd", b"different")],
        below=[[*ETC, symlink("localetc", "etc"), hardlink("/localetc/localpasswd", "/etc/passwd")]],
        as_if=[
            *(*ETC, hardlink("/etc/localpasswd", "/etc/passwd")),
            *(directory("localetc"), file("localetc/localpasswd", b"different")),
        ],
    ),
    refused(
        "whiteout-root-parent",
        "A whiteout deletes the directory above the root.",
        [file(".wh...")],
        ".wh...",
        below=[USERS],
    ),
    refused(
        "whiteout-parent",
        "A whiteout in a directory deletes the one above it.",
        [file("etc/.wh...")],
        "etc/.wh...",
        below=[USERS],
    ),
    refused("whiteout-root", "A whiteout deletes the root itself.", [file(".wh..")], ".wh..", below=[USERS]),
    refused(
        "whiteout-current-directory",
        "A whiteout deletes the directory that it is in.",
        [file("etc/.wh..")],
        "etc/.wh..",
        below=[USERS],
    ),
    unpacked(
        "whiteout-symlink",
        "A whiteout of a link deletes the link, not what it leads to.",
        [whiteout("localetc")],
        below=[[*USERS, symlink("localetc", "/etc")]],
        as_if=USERS,
    ),
    unpacked(
        "whiteout-symlink-path",
        "A whiteout behind another layer's link: its parent is a directory, nothing else is deleted.",
        [whiteout("localetc/passwd")],
        below=[[*USERS, symlink("localetc", "/etc")]],
        as_if=[*USERS, implied("localetc")],
    ),
    unpacked(
        "whiteout-directory-name",
        "A directory has the name of a whiteout, and a file in it.",
        [file(".wh.etc/somefile", b"not empty")],
        below=[USERS],
        as_if=[*USERS, file(".wh.etc/somefile", b"not empty")],
    ),
    unpacked(
        "whiteout-dead-symlink-parent",
        "A whiteout behind another layer's link that leads nowhere.",
        [whiteout("localetc/etc")],
        below=[[*USERS, symlink("localetc", "/dne")]],
        as_if=[*USERS, implied("localetc")],
    ),
    refused(
        "whiteout-relative-path",
        "A whiteout's name goes down and up again.",
        [file("dne/../.wh.etc")],
        "dne/../.wh.etc",
        below=[USERS],
    ),
    unpacked(
        "symlink-override-path",
        "A directory becomes a link to the root and a directory again, a file in each turn.",
        [
            *(directory("foo"), directory("foo/tmp"), file("foo/tmp/breakout", b"1"), symlink("foo", "/")),
            *(file("foo/tmp/breakout", b"2"), directory("foo"), directory("foo/tmp")),
            file("foo/tmp/breakout", b"3"),
        ],
        as_if=[
            *(file("tmp/breakout", b"2"), directory("foo"), directory("foo/tmp")),
            file("foo/tmp/breakout", b"3"),
        ],
    ),
    unpacked(
        "hardlink-symlink-before-create-target",
        "A hard link to a link whose target comes later.",
        [
            *(directory("etc", 0o770), symlink("localpasswd", "/etc/passwd")),
            *(hardlink("localpasswd-dup", "localpasswd"), file("/etc/passwd", b"after")),
        ],
    ),
    unpacked(
        "hardlink-symlink-relative",
        "A hard link to a link that climbs too high links the link.",
        [*ETC, symlink("passwdlink", "../../../../../etc/passwd"), hardlink("localpasswd", "/passwdlink")],
    ),
    unpacked(
        "hardlink-symlink-absolute",
        "A hard link to an absolute link links the link.",
        [*ETC, symlink("passwdlink", "/etc/passwd"), hardlink("localpasswd", "/passwdlink")],
    ),
    unpacked(
        "hardlink-symlink-chmod",
        "The mode, owner and times of a hard link to a link fall on a file of the host (CVE-2021-32760).",
        [
            symlink("escape", f"{VICTIM}/hello"),
            hardlink("sketchylink", "escape", mode=0o777, uid=1234, mtime=1),
        ],
        as_if=[symlink("escape", f"{VICTIM}/hello"), hardlink("sketchylink", "escape")],
    ),
)

NEIGHBOUR = f"../{VICTIM.name}"
UP = "../" * 40
CONTAINERS_STORAGE = (
    refused("filename-dotdot", "A name climbs.", [file(f"{NEIGHBOUR}/dotdot")], f"{NEIGHBOUR}/dotdot"),
    refused(
        "filename-slash-dotdot",
        "An absolute name climbs.",
        [file(f"/{NEIGHBOUR}/slash-dotdot")],
        f"/{NEIGHBOUR}/slash-dotdot",
    ),
    refused(
        "hardlink-dotdot",
        "A hard link reads a file of the host, relatively.",
        [hardlink("dotdot", f"{UP}{VICTIM}/hello")],
        "dotdot",
    ),
    refused(
        "hardlink-slash-dotdot",
        "A hard link reads a file of the host, from the root.",
        [hardlink("slash-dotdot", f"/{NEIGHBOUR}/hello")],
        "slash-dotdot",
    ),
    refused(
        "hardlink-write",
        "A hard link to a directory of the host, and a file written into it.",
        [hardlink("loophole", f"{UP}{VICTIM}", mode=0o755), file("loophole/file")],
        "loophole",
    ),
    refused(
        "hardlink-symlink",
        "A hard link to a directory of the host, and a link through it.",
        [hardlink("loophole", f"{UP}{VICTIM}"), symlink("symlink", "loophole/hello")],
        "loophole",
    ),
    refused(
        "hardlink-hardlink",
        "A hard link to a directory of the host, and a hard link through it.",
        [hardlink("loophole", f"{UP}{VICTIM}"), hardlink("hardlink", "loophole/hello")],
        "loophole",
    ),
    refused(
        "hardlink-remove",
        "A hard link to a directory of the host, and a file in its place.",
        [hardlink("loophole", f"{UP}{VICTIM}"), file("loophole")],
        "loophole",
    ),
    unpacked(
        "hardlink-to-symlink-before-file",
        "A hard link to a link, then the file that the link names.",
        [symlink("symlink1", "regfile"), hardlink("symlink2", "symlink1"), file("regfile")],
    ),
    unpacked(
        "symlink-dotdot",
        "A link to a file of the host is data, and stays a link.",
        [symlink("dotdot", f"{UP}{VICTIM}/hello"), symlink("slash-dotdot", f"/{NEIGHBOUR}/hello")],
    ),
    refused(
        "symlink-write",
        "A file is written through a link to a directory of the host (CVE-2014-6407).",
        [symlink("loophole", f"{UP}{VICTIM}"), file("loophole/file")],
        "loophole/file",
    ),
    unpacked(
        "symlink-symlink",
        "A link through a link to a directory of the host: both are data.",
        [symlink("loophole", f"{UP}{VICTIM}"), symlink("symlink", "loophole/hello")],
    ),
    refused(
        "symlink-hardlink",
        "A hard link through a link to a directory of the host.",
        [symlink("loophole", f"{UP}{VICTIM}"), hardlink("hardlink", "loophole/hello")],
        "hardlink",
    ),
    unpacked(
        "symlink-remove",
        "A file replaces a link to a directory of the host.",
        [symlink("loophole", f"{UP}{VICTIM}"), file("loophole", b"mine")],
    ),
    refused(
        "symlink-new-directory",
        "A file in a new directory, through a link to a directory of the host.",
        [symlink("dir/loophole", f"{UP}{VICTIM}"), file("dir/loophole/new/file")],
        "dir/loophole/new/file",
    ),
    unpacked(
        "selinux-label",
        "A label that SELinux would not take.",
        [file("foo", xattrs={"security.selinux": b"invalid-label"})],
    ),
)

GARBAGE = ("/", "/../", "/" + "../" * 15, "/" + "./.././../" * 8, "..")
UMOCI = (
    *(
        unpacked(
            f"symlink-scoping-{number}",
            "A file is written through a link to the root, or to what would be above it.",
            [symlink("link", target), file("link/file", b"container")],
        )
        for number, target in enumerate(GARBAGE)
    ),
    unpacked(
        "hardlinks-keep-their-target",
        "The owners of hard links fall on no file and no link.",
        [
            *(file("regular", b"content"), hardlink("hard link", "/regular", uid=1337, gid=2020)),
            symlink("link", "../../../regular"),
            hardlink("hard link to symlink", "../../../link", uid=1337, gid=2020),
        ],
        as_if=[
            *(file("regular", b"content"), hardlink("hard link", "/regular")),
            *(symlink("link", "../../../regular"), hardlink("hard link to symlink", "/link")),
        ],
    ),
    unpacked(
        "opaque-hides-what-stood-before",
        "Whiteouts, files and opaque markers in one layer, each before and after the other.",
        [
            *(
                whiteout("d/foo/before"),
                file("d/file"),
                opaque("d"),
                whiteout("d/a/b/after"),
                file("d/a/file"),
            ),
            *(opaque("n/a/b"), opaque("n/a"), opaque("n")),
        ],
        below=[[file("d/foo/before"), file("d/gone"), file("d/a/b/after"), file("n/a/b/gone")]],
        as_if=[
            *(implied("d/foo"), file("d/file"), implied("d/a/b"), file("d/a/file"), implied("n/a/b")),
        ],
    ),
)

MORE = (
    refused(
        "victim-write",
        "A file is written through an absolute link to a directory of the host.",
        [symlink("loophole", str(VICTIM)), file("loophole/hello", b"changed")],
        "loophole/hello",
    ),
    refused(
        "victim-whiteout",
        "A whiteout behind a link to a directory of the host.",
        [symlink("loophole", str(VICTIM)), whiteout("loophole/hello")],
        "loophole/.wh.hello",
    ),
    refused(
        "victim-opaque",
        "An opaque marker behind a link to a directory of the host empties that.",
        [symlink("loophole", str(VICTIM)), opaque("loophole")],
        "loophole/.wh..wh..opq",
    ),
    unpacked(
        "victim-directory-over-symlink",
        "A directory's mode, owner, times and attributes fall on a directory of the host, through a link.",
        [
            symlink("loophole", str(VICTIM)),
            directory("loophole", 0o777, uid=1234, xattrs={"user.mine": b"1"}),
        ],
    ),
    unpacked(
        "victim-file-over-symlink",
        "A file's content, mode and owner fall on a file of the host, through a link.",
        [symlink("loophole", f"{VICTIM}/hello"), file("loophole", b"changed", mode=0o4777, uid=1234)],
    ),
    unpacked(
        "victim-device-over-symlink",
        "A device and a FIFO in the place of links to a file of the host.",
        [
            *(symlink("a", f"{VICTIM}/hello"), character("a", 1, 3)),
            *(symlink("b", f"{VICTIM}/hello"), fifo("b")),
        ],
    ),
    unpacked(
        "symlink-attributes",
        "A link's own mode, owner and times fall on a file of the host.",
        [symlink("loophole", f"{VICTIM}/hello", mode=0o7777, uid=1234, gid=1234, mtime=1, nanoseconds=5)],
    ),
    refused(
        "store-neighbour",
        "A hard link climbs from where layers are unpacked into the store.",
        [hardlink("stolen", "../../../images/index.json")],
        "stolen",
    ),
    refused(
        "store-neighbour-name",
        "A name climbs from where layers are unpacked into the store.",
        [file("../../../images/index.json", b"{}")],
        "../../../images/index.json",
    ),
    refused(
        "magic-link-root",
        "A file is written through a link to /proc/self/root, which leaves a chroot.",
        [symlink("proc/self/root", "/proc/self/root"), file("proc/self/root/etc/x")],
        "proc/self/root/etc/x",
    ),
    refused(
        "magic-link-descriptor",
        "A file is written through a link to a descriptor of the program that unpacks.",
        [symlink("loophole", "/proc/self/fd/3"), file("loophole/x")],
        "loophole/x",
    ),
    refused(
        "symlink-loop", "A file is written through a link to itself.", [symlink("l", "l"), file("l/x")], "l/x"
    ),
    refused(
        "symlink-chain",
        "A file is written through more links than the kernel follows.",
        [*(symlink(f"l{number}", f"l{number + 1}") for number in range(41)), directory("l41"), file("l0/x")],
        "l0/x",
    ),
    refused(
        "file-as-directory",
        "A file is written into a file.",
        [file("d", b"x"), file("d/y", b"y")],
        "d/y",
    ),
    refused(
        "fifo-as-directory",
        "A file is written into a FIFO: whoever opens it waits.",
        [fifo("d"), file("d/y", b"y")],
        "d/y",
    ),
    refused(
        "root-is-symlink", "The root itself becomes a link (CVE-2021-29136).", [symlink("./", "/etc")], "./"
    ),
    refused("root-is-file", "The root itself becomes a file.", [file(".", b"x")], "."),
    refused("root-is-fifo", "The root itself becomes a FIFO.", [fifo(".")], "."),
    unpacked(
        "strange-spellings",
        "Names with doubled slashes, dots and no end.",
        [file("//a", b"1"), directory("./b//c/./"), file("b/./c//d", b"2"), symlink("./e/.//f", "x")],
    ),
    refused("dotdot-in-the-middle", "A name goes down and up.", [directory("a"), file("a/../b")], "a/../b"),
    refused("dotdot-directory", "A directory's name ends in `..`.", [directory("a/..")], "a/.."),
    refused(
        "pax-path-escape",
        "The name in the header is harmless, the one in the extended header climbs.",
        [file("safe", b"x", pax={"path": f"{NEIGHBOUR}/x".encode()})],
        f"{NEIGHBOUR}/x",
    ),
    refused(
        "pax-linkpath-escape",
        "The link's target in the extended header is a file of the host.",
        [file("safe", b"x"), hardlink("stolen", "safe", pax={"linkpath": f"{VICTIM}/hello".encode()})],
        "stolen",
    ),
    refused(
        "pax-global-path",
        "A global extended header gives all entries a name that climbs.",
        [pax_header({"path": f"{NEIGHBOUR}/x".encode()}, b"g"), file("safe", b"x")],
        f"{NEIGHBOUR}/x",
    ),
    refused(
        "gnu-long-name-escape",
        "A GNU long name climbs.",
        [gnu_long(file(f"{UP}{VICTIM}/x", b"x"))],
        f"{UP}{VICTIM}/x",
    ),
    refused(
        "gnu-long-link-escape",
        "A GNU long link name is a file of the host.",
        [gnu_long(hardlink("stolen", f"{UP}{VICTIM}/hello"))],
        "stolen",
    ),
    refused(
        "prefix-escape",
        "The prefix field of a header climbs.",
        [file("x", b"x", prefix=b"..")],
        "../x",
    ),
    unpacked(
        "nul-in-name",
        "A name is read to its first NUL, not beyond.",
        [Entry(kind=b"0", name=b"safe\0/../../x", content=b"x"), file("y", b"y", magic=GNU)],
    ),
    refused(
        "nul-in-pax-path",
        "A name in an extended header has a NUL in it: programs read different names.",
        [file("safe", b"x", pax={"path": b"a\0b"})],
        "safe",
    ),
    refused(
        "hardlink-across-layers",
        "A hard link's target is in a layer below, which nobody may change by it.",
        [hardlink("stolen", "etc/passwd")],
        "stolen",
        below=[USERS],
    ),
    refused(
        "hardlink-to-directory",
        "A hard link to a directory makes a loop of the tree.",
        [directory("a"), hardlink("a/a", "a")],
        "a/a",
    ),
    refused(
        "hardlink-to-whiteout",
        "A hard link to a whiteout's device would delete another name.",
        [whiteout("etc/passwd"), hardlink("gone", "etc/passwd")],
        "gone",
        below=[USERS],
    ),
    refused(
        "hardlink-to-itself",
        "A hard link to itself: there is nothing yet.",
        [hardlink("a", "a")],
        "a",
    ),
    unpacked(
        "hardlink-to-itself-again",
        "A hard link to itself, where there is a file: that must not be lost.",
        [file("a", b"content"), hardlink("a", "a")],
    ),
)

ATTACKS: tuple[Attack, ...] = (*CONTAINERD, *CONTAINERS_STORAGE, *UMOCI, *MORE)
