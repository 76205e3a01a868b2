"""Get the real tools that our tests are proved on, installing nothing: `python -m tests.peers.get [DIR]`.

mmdebstrap unpacks Debian sid's packages into a folder of their own; patchelf then makes each program use the
loader and the libraries of that folder. (Started *through* that loader, runc fails: it executes itself
again.) The folder is made beside its final place and renamed at the end, so a half-made one is never used. It
is made again when its place, the package list or the programs to patch change, and else left alone. See
mmdebstrap(1), patchelf(1), ld.so(8).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.peers import FOLDERS, peers_directory

SUITE = "sid"
PACKAGES = (
    *("crun", "runc", "podman", "conmon", "netavark", "aardvark-dns", "catatonit", "containerd"),
    *("docker.io", "docker-cli", "docker-registry", "pigz", "skopeo", "umoci"),
)
PROGRAMS = (
    *("crun", "runc", "podman", "rootlessport", "conmon", "netavark", "aardvark-dns", "catatonit"),
    *("containerd", "containerd-shim-runc-v2", "ctr"),
    *("dockerd", "docker", "docker-proxy", "tini-static", "pigz", "docker-registry", "skopeo", "umoci"),
)
UNWANTED = ("doc", "man", "locale", "info", "bash-completion", "fish", "zsh")
SHOWN_AT_THE_END = ("crun", "runc", "podman", "containerd", "docker", "docker-registry", "skopeo", "umoci")
STAMP = "minicontainer-peers"


class PeersError(Exception):
    """What stands in the way, with the command that mends it."""


def main(arguments: list[str]) -> int:
    """Make the peers' folder, or find that it is ready; 0 if the peers can be used, else 1."""
    target = Path(arguments[0]).absolute() if arguments else peers_directory().absolute()
    try:
        if not is_ready(target):
            make(target)
        for name in SHOWN_AT_THE_END:
            sys.stdout.write(f"{name:16}{version(target, name)}\n")
    except PeersError as problem:
        sys.stderr.write(f"peers: {problem}\n")
        return 1
    sys.stdout.write(f"peers are in {target}\n")
    return 0


def recipe(target: Path) -> str:
    """Write down what a ready folder was made from; its place too, for that is patched into the programs."""
    return "\n".join([str(target), SUITE, *PACKAGES, *PROGRAMS, ""])


def is_ready(target: Path) -> bool:
    """Say whether the folder was made to the end from this very recipe."""
    try:
        return (target / STAMP).read_text() == recipe(target)
    except FileNotFoundError:
        return False


def make(target: Path) -> None:
    """Unpack and patch beside the target, then take its place."""
    demand_tools()
    demand_our_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        beside.chmod(0o755)
        unpack(beside)
        patch(beside, target)
        (beside / STAMP).write_text(recipe(target))
        if target.exists():
            shutil.rmtree(target)
        beside.rename(target)
    finally:
        if beside.exists():
            shutil.rmtree(beside)


def demand_tools() -> None:
    """Refuse to begin without mmdebstrap and patchelf."""
    missing = [tool for tool in ("mmdebstrap", "patchelf") if shutil.which(tool) is None]
    if missing:
        words = " and ".join(missing)
        raise PeersError(f"{words} not found; on Debian or Ubuntu: apt-get install {' '.join(missing)}")


def demand_our_folder(target: Path) -> None:
    """Refuse to replace a folder that neither we made nor is empty."""
    if target.exists() and not (target / STAMP).exists() and any(target.iterdir()):
        raise PeersError(
            f"{target} exists and was not made by this command; name another folder or remove it"
        )


def unpack(folder: Path) -> None:
    """Unpack the packages and all that they depend on; no maintainer script runs, so no root is needed."""
    command = [
        *(
            "mmdebstrap",
            "--quiet",
            "--variant=extract",
            f"--mode={'root' if os.geteuid() == 0 else 'chrootless'}",
        ),
        *('--aptopt=Acquire::Check-Valid-Until "false"', f"--include={','.join(PACKAGES)}"),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNWANTED),
        *(SUITE, str(folder)),
    ]
    run(command, "unpacking Debian sid's packages failed (is the network there?)")


def patch(folder: Path, target: Path) -> None:
    """Make the programs use the loader and libraries that will lie in `target`, indirect ones included."""
    loader = find_loader(folder)
    libraries = loader.parent
    for program in find_programs(folder):
        if not needs_a_loader(program):
            continue
        interpreter = target / loader.relative_to(folder)
        rpath = ":".join(str(target / place.relative_to(folder)) for place in (libraries, libraries.parent))
        # Two calls and in this order: else patchelf 0.18 (Debian 13) writes a podman that dies of SIGSEGV.
        for change in (("--force-rpath", "--set-rpath", rpath), ("--set-interpreter", str(interpreter))):
            run(["patchelf", *change, str(program)], f"patching {program.name} failed")


def find_loader(folder: Path) -> Path:
    """Find the dynamic loader, whatever the machine is: ld-linux-x86-64.so.2, ld-linux-aarch64.so.1, ..."""
    found = sorted((folder / "usr/lib").glob("*-linux-gnu*/ld-linux*.so.*"))
    if not found:
        raise PeersError(
            f"no dynamic loader under {folder}/usr/lib: the packages were not unpacked as expected"
        )
    return found[0]


def find_programs(folder: Path) -> Iterator[Path]:
    """Yield the programs to patch; one that the packages no longer bring is an error, not a gap."""
    for name in PROGRAMS:
        found = [
            path for place in FOLDERS if (path := folder / place / name).is_file() and not path.is_symlink()
        ]
        if not found:
            raise PeersError(f"the packages of {SUITE} bring no {name} (looked in {', '.join(FOLDERS)})")
        yield from found


def needs_a_loader(program: Path) -> bool:
    """Tell a dynamically linked program from a static one such as catatonit."""
    answer = subprocess.run(["patchelf", "--print-interpreter", program], capture_output=True, check=False)
    return answer.returncode == 0


def version(target: Path, name: str) -> str:
    """Start a program and return the first line of its `--version`: the proof that it runs."""
    for place in FOLDERS:
        program = target / place / name
        if program.is_file():
            return run([str(program), "--version"], f"{program} does not run").splitlines()[0]
    raise PeersError(f"{name} is missing in {target}; remove the folder and run this again")


def run(command: list[str], problem: str) -> str:
    """Run a command and return its output; on failure, its last words under the given problem."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        last_words = "\n".join((answer.stderr or answer.stdout).strip().splitlines()[-5:])
        raise PeersError(f"{problem}\n{' '.join(command)}\n{last_words}")
    return answer.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
