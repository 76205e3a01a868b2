"""What a guest's disk is made of: Debian's suite, the packages, and what is done to them at the end.

A recipe is data. Its key names the finished image in the cache: a changed one makes a new image, an unchanged
one never builds twice. The guest's own scripts are not part of it: they travel in the initramfs.

See mmdebstrap(1), dpkg(1) "path-exclude"; deb-src-control(5) "Architecture".
"""

from __future__ import annotations

import hashlib
import platform
import shlex
from dataclasses import dataclass
from pathlib import Path

from minicontainer.errors import Unsupported
from minicontainer.image.epoch import ENVIRONMENT, EPOCH, LEFT_OUT

SUITE = "trixie"
# The machine's name in uname(2) -> Debian's name of the architecture. Those that the guest's drivers fit.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# A system that boots and can be looked into; provision.sh installs these lists on other people's machines.
SYSTEM = (
    "apparmor busybox-static ca-certificates dbus dbus-user-session e2fsprogs iproute2 iputils-ping kmod "
    "less libcap2-bin libpam-systemd libseccomp2 mount nftables openssh-server procps python3 systemd-sysv "
    "udev uidmap util-linux"
).split()
# What minicontainer imports, as Debian's packages.
TOOLKIT = (
    "python3-click python3-isal python3-jeepney python3-msgspec python3-prctl python3-psutil "
    "python3-pyroute2 python3-rich python3-urllib3 python3-zstandard"
).split()
# What its tests compare with and are run by.
TESTS = (
    "aardvark-dns catatonit conmon containerd crun jq netavark passt podman python3-cryptography "
    "python3-hypothesis python3-pytest python3-pytest-timeout runc strace"
).split()
# Not compressed on purpose: an emulated CPU unpacks slowly, and the host's page cache holds the file.
SQUASHFS = (
    f"-noI -noD -noF -noX -no-progress -quiet -mkfs-time {EPOCH} -all-time {EPOCH} "
    "-root-uid 0 -root-gid 0 -root-mode 755"
).split()
NOT_IN_THE_GUEST = ("boot", "var/cache/apt", "var/lib/apt/lists")
SEAL = Path(__file__).with_name("seal.py")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is in root.squashfs, kernel and modules."""

    suite: str
    architecture: str
    packages: tuple[str, ...]

    def key(self) -> str:
        """Name the image: 16 hexadecimal digits that change with the recipe."""
        parts = [*self.command(Path("tar"), Path("seal")), *self.squashfs(Path("squashfs"))]
        parts += [SEAL.read_text(), *(f"{name}={value}" for name, value in ENVIRONMENT.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def command(self, tar: Path, seal: Path = SEAL) -> list[str]:
        """Give mmdebstrap's command line; no mirror is named, so it takes Debian's own."""
        return [
            *("mmdebstrap", "--variant=minbase", f"--architectures={self.architecture}"),
            "--aptopt=Apt::Install-Recommends false",
            "--aptopt=Acquire::Check-Valid-Until false",  # frozen mirrors carry expired indexes
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT),
            "--dpkgopt=force-unsafe-io",
            f"--include={','.join(self.packages)}",
            f"--customize-hook=upload {shlex.quote(str(seal))} /seal.py",
            f'--customize-hook=chroot "$1" python3 /seal.py {EPOCH}',
            *(self.suite, str(tar)),
        ]

    def squashfs(self, target: Path) -> list[str]:
        """Give sqfstar's command line, which reads the tar from its standard input."""
        return ["sqfstar", *SQUASHFS, str(target), *NOT_IN_THE_GUEST]


def architecture() -> str:
    """Name this machine's architecture as Debian does. Raises Unsupported."""
    machine = platform.machine()
    try:
        return ARCHITECTURES[machine]
    except KeyError:
        raise Unsupported(
            f"there are no guests for {machine} machines", f"only for {', '.join(ARCHITECTURES)}"
        ) from None


def standard(suite: str = SUITE, more: tuple[str, ...] = ()) -> Recipe:
    """Give the recipe of the one image that serves all uses, with further packages if asked for."""
    debian = architecture()
    packages = {f"linux-image-cloud-{debian}", *SYSTEM, *TOOLKIT, *TESTS, *more}
    return Recipe(suite, debian, tuple(sorted(packages)))
