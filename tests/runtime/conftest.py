"""Fixtures of the behaviour tests: `runtime` (the binary under test) and `bundle` (makes bundles)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.bundles import Bundle, make_lower
from tests.runtime.runtimes import Runtime, find_binary
from tests.runtime.terminals import ConsoleSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Probes = Callable[[str, Path], Path]

LOADER = ["-nostdlib", "-static-pie", "-fno-stack-protector", "-fno-builtin"]
"""How gcc makes a program that the kernel takes as another's dynamic loader."""


@pytest.fixture(scope="session")
def lower() -> Iterator[Path]:
    """Give the root file system that bundles are linked from."""
    top = Path(tempfile.mkdtemp(prefix="minicontainer-lower-"))
    top.chmod(0o755)
    yield make_lower(top / "rootfs")
    shutil.rmtree(top)


@pytest.fixture
def workspace() -> Iterator[Path]:
    """Give a folder that mapped users can pass through, which pytest's own tmp_path forbids."""
    top = Path(tempfile.mkdtemp(prefix="minicontainer-"))
    top.chmod(0o755)
    yield top
    shutil.rmtree(top)


@pytest.fixture
def bundle(workspace: Path, lower: Path) -> Callable[[], Bundle]:
    """Give a factory of bundles."""

    def make() -> Bundle:
        return Bundle(workspace / f"bundle-{len(list(workspace.iterdir()))}", lower)

    return make


@pytest.fixture
def runtime(workspace: Path) -> Iterator[Runtime]:
    """Give the runtime under test with a state root of its own; its containers are deleted afterwards."""
    under_test = Runtime(find_binary(), workspace)
    try:
        yield under_test
    finally:
        under_test.clean()


@pytest.fixture
def console(workspace: Path) -> Iterator[ConsoleSocket]:
    """Give a socket that receives a container's terminal."""
    made = ConsoleSocket(workspace)
    yield made
    made.close()


@pytest.fixture(scope="session")
def probes() -> Iterator[dict[str, Path]]:
    """Give the compiled probes of this session, by name; they are compiled when first asked for."""
    compiled: dict[str, Path] = {}
    yield compiled
    for path in compiled.values():
        path.unlink()


@pytest.fixture
def probe(probes: dict[str, Path]) -> Probes:
    """Give a function that puts the static program `probes/NAME.c` at a path inside a root file system."""

    def place(name: str, target: Path) -> Path:
        if name not in probes:
            source = Path(__file__).parent / "probes" / f"{name}.c"
            with tempfile.NamedTemporaryFile(prefix="minicontainer-probe-", delete=False) as made:
                probes[name] = Path(made.name)
            how = LOADER if name == "linger" else ["-static"]
            command = ["gcc", *how, "-O1", "-Wall", "-Werror", "-o", str(probes[name]), str(source)]
            subprocess.run(command, check=True)
        shutil.copy2(probes[name], target)
        target.chmod(0o755)
        return target

    return place
