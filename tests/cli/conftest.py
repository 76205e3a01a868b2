"""A store of one's own, and the command line called in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from minicontainer.cli.main import main
from minicontainer.image.store.store import Store


@dataclass(frozen=True, slots=True)
class Said:
    """What a command has said."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Make an empty store, which the commands use."""
    monkeypatch.setenv("MINICONTAINER_ROOT", str(tmp_path / "root"))
    return Store(tmp_path / "root").create()


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> Command:
    """Call a command: `command("image", "ls")`; it has no terminal, and nobody's settings."""
    monkeypatch.setenv("MINICONTAINER_IMAGES_CONFIG", str(tmp_path / "images.toml"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))

    def call(*words: object, stdin: str = "") -> Said:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = main([str(word) for word in words])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Said(code, out.decode(errors="surrogateescape"), err.decode())

    return call
