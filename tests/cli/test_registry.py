"""`login` and `logout`: who is asked for what, what is kept, and what is said."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from minicontainer.cli import registry
from minicontainer.cli.main import main
from minicontainer.image.configuration import Configuration
from minicontainer.image.registry.credentials import Credential, Credentials
from minicontainer.image.registry.errors import Unauthorized
from tests.cli.conftest import Command

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Let registries take one password; gives what they were asked: host, user, password."""
    seen: list[tuple[str, str, str]] = []

    class Client:
        def __init__(self, configuration: Configuration, credentials: Credentials) -> None:
            self._credentials = credentials

        def login(self, host: str, user: str, password: str) -> str:
            seen.append((host, user, password))
            if password != PASSWORD:
                raise Unauthorized(f"{host} says: authentication required", "minicontainer login")
            return self._credentials.store(host, Credential(user, password))

    monkeypatch.setattr(registry, "RegistryClient", Client)
    return seen


def kept(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "docker/config.json").read_text())
    return found["auths"]


def test_a_password_on_standard_input_is_tried_and_kept(
    command: Command, asked: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    said = command("login", "-u", "me", "--password-stdin", "registry.test:5000", stdin=f"{PASSWORD}\r\n")
    assert (said.code, said.out) == (0, "Login Succeeded\n")
    assert said.err == (
        f"\nWARNING! Your credentials are stored unencrypted in '{tmp_path}/docker/config.json'.\n"
        'Configure a credential helper to remove this warning: see docs/images.md, "Credentials".\n\n'
    )
    assert asked == [("registry.test:5000", "me", PASSWORD)]
    assert [*kept(tmp_path)] == ["registry.test:5000"]
    assert (tmp_path / "docker/config.json").stat().st_mode & 0o777 == 0o600


def test_a_password_on_the_command_line_is_warned_of(command: Command) -> None:
    said = command("login", "registry.test", "-u", "me", "-p", PASSWORD)
    assert said.code == 0
    assert said.err.startswith("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")


def test_a_wrong_password_is_not_kept(command: Command, tmp_path: Path) -> None:
    said = command("login", "-u", "me", "--password-stdin", "registry.test", stdin="wrong")
    assert (said.code, said.out) == (1, "")
    assert said.err == "minicontainer: registry.test says: authentication required\n"
    assert not (tmp_path / "docker").exists()


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_asks_and_does_not_show_the_password(
    command: Command,
    asked: list[tuple[str, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr(registry.getpass, "getpass", lambda prompt: PASSWORD)
    for typed, prompt in (("me\n", "Username: "), ("\n", "Username (me): "), ("you\n", "Username (me): ")):
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        assert main(["login", "registry.test"]) == 0
        sys.stdout.flush()
        assert capfdbinary.readouterr().out.decode().startswith(prompt)
    assert [user for _, user, _ in asked] == ["me", "me", "you"]


@pytest.mark.parametrize(
    ("words", "stdin", "problem"),
    [
        ([], "", "Cannot perform an interactive login from a non TTY device"),
        (["-u", "me"], "", "Cannot perform an interactive login from a non TTY device"),
        (["--password-stdin"], "x", "Must provide --username with --password-stdin"),
        (["-u", "me", "--password-stdin"], "\n", "password is required"),
        (["-u", "me", "-p", "x", "--password-stdin"], "x", "--password and --password-stdin are mutually"),
        (["-u", "me", "-p", "x", "https://registry.test/v2/"], "", "is not a registry"),
        (["-u", "me", "-p", "x", "me@registry.test"], "", "is not a registry"),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    words: list[str], stdin: str, problem: str, command: Command, asked: list[tuple[str, str, str]]
) -> None:
    said = command("login", *words, stdin=stdin)
    assert said.code == 1
    assert problem in said.err
    assert asked == []


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ([], "docker.io"),
        (["https://index.docker.io/v1/"], "docker.io"),
        (["https://registry.test:5000/"], "registry.test:5000"),
        (["localhost:5000"], "localhost:5000"),
    ],
)
def test_a_registry_may_be_given_as_people_do(
    given: list[str], host: str, command: Command, asked: list[tuple[str, str, str]]
) -> None:
    assert command("login", "-u", "me", "-p", PASSWORD, *given).code == 0
    assert asked == [(host, "me", PASSWORD)]
    said = command("logout", *given)
    assert (said.code, said.out, said.err) == (0, f"Removing login credentials for {host}\n", "")


def test_who_was_not_logged_in_is_told(command: Command, tmp_path: Path) -> None:
    said = command("logout", "registry.test")
    assert (said.code, said.err) == (0, "Not logged in to registry.test\n")
    assert not (tmp_path / "docker").exists()
