"""Names and passwords for registries, where docker and podman keep them.

    ~/.docker/config.json    {"auths": {"HOST": {"auth": base64("user:password"), "identitytoken": ...}},
                              "credsStore": "secretservice", "credHelpers": {"HOST": "ecr-login"}}
    podman's auth.json       "auths" and "credHelpers" alone; read, never written

A helper is the program docker-credential-NAME: it keeps secrets where no file has them. Members of the file
that we do not know stay as they are.

See docker-login(1), github.com/docker/docker-credential-helpers, containers-auth.json(5).
"""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minicontainer.errors import Error, SpecError
from minicontainer.image.registry.errors import plain
from minicontainer.linux import programs
from minicontainer.oci import json_text

HUB = "https://index.docker.io/v1/"  # how docker.io is called here, since the days of its first API
HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
IDENTITY_USER = "<token>"  # a helper's name for a secret that is an identity token
NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves who we are: a password, or an identity token that a token service gave instead."""

    user: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """Give the value of an Authorization header."""
        return "Basic " + _encoded(self)


def key_of(host: str) -> str:
    """Give the name under which a registry's credential is kept."""
    return HUB if host in {"docker.io", "index.docker.io", "registry-1.docker.io"} else host


class Credentials:
    """All credentials of the user."""

    def __init__(self, docker: Path | None = None, others: tuple[Path, ...] | None = None) -> None:
        self.path = docker_file() if docker is None else docker
        self._others = podman_files() if others is None else others

    def find(self, host: str) -> Credential | None:
        """Give the credential for a registry, None if there is none. Raises SpecError, Error."""
        key = key_of(host)
        for path in (self.path, *self._others):
            settings = read(path)
            helper = _helper(path, settings, key)
            found = _ask_helper(helper, key) if helper else None
            found = found or _from_file(path, settings, key)
            if found:
                return found
        return None

    def store(self, host: str, credential: Credential) -> str:
        """Keep a credential; says where it is now: a file, or a helper. Raises Error."""
        key = key_of(host)
        helper = _helper(self.path, read(self.path), key)
        if helper:
            secret = credential.identity_token or credential.password
            user = IDENTITY_USER if credential.identity_token else credential.user
            _run_helper(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}))
            return f"docker-credential-{helper}"
        entry = {"auth": _encoded(credential)}
        if credential.identity_token:
            entry["identitytoken"] = credential.identity_token
        self._change(lambda auths: auths.update({key: entry}))
        return str(self.path)

    def erase(self, host: str) -> bool:
        """Forget a credential; tells whether there was one. Raises Error."""
        key = key_of(host)
        settings = read(self.path)
        helper = _helper(self.path, settings, key)
        found = bool(helper and _ask_helper(helper, key))
        if helper and found:
            _run_helper(helper, "erase", key)
        there = [name for name in _table(self.path, settings, "auths") if _is_same(name, key)]
        if there:
            self._change(lambda auths: [auths.pop(name) for name in there])
        return found or bool(there)

    def _change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Rewrite the file, for its owner's eyes only; seen whole or not at all."""
        settings = read(self.path)
        change(settings.setdefault("auths", {}))
        target = self.path.resolve()  # many keep it as a link into a folder of settings
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=target.parent, prefix=".config.")  # its mode is 0600
        try:
            with open(number, "w") as file:
                json.dump(settings, file, indent="\t")
                file.flush()
                os.fsync(file.fileno())
            Path(name).rename(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def docker_file() -> Path:
    """Name docker's file."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def podman_files() -> tuple[Path, ...]:
    """Name podman's files, the strongest first."""
    if chosen := os.environ.get("REGISTRY_AUTH_FILE"):
        return (Path(chosen),)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    return (Path(runtime) / "containers" / "auth.json", home / "containers" / "auth.json")


def read(path: Path) -> dict[str, Any]:
    """Read a file of either, {} if there is none. Raises SpecError."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as problem:
        raise SpecError(str(path), f"cannot be read: {problem.strerror}") from None
    try:
        settings = json_text.loads(data) if data.strip() else {}
    except SpecError as problem:
        raise SpecError(str(path), problem.problem) from None
    if not isinstance(settings, dict):
        raise SpecError(str(path), "must be an object")
    return settings


def _from_file(path: Path, settings: dict[str, Any], key: str) -> Credential | None:
    """Take a credential out of `auths`; an exact name before one that only means the same host."""
    auths = _table(path, settings, "auths")
    for name in sorted((name for name in auths if _is_same(name, key)), key=lambda name: name != key):
        entry = auths[name]
        if isinstance(entry, dict) and (found := _decoded(path, name, entry)):
            return found
    return None


def _decoded(path: Path, name: str, entry: dict[str, Any]) -> Credential | None:
    """Read one entry; None for an empty one, which docker leaves where a helper has the secret."""
    token = entry.get("identitytoken") or ""
    try:
        pair = base64.b64decode(entry.get("auth") or "", validate=True).decode()
    except (ValueError, TypeError):
        raise SpecError(f'{path}: auths."{plain(name)}".auth', "is not base64 of user:password") from None
    user, colon, password = pair.partition(":")
    if pair and not (colon and user):
        raise SpecError(f'{path}: auths."{plain(name)}".auth', "is not base64 of user:password")
    return Credential(user, password.rstrip("\0"), token) if user or token else None


def _encoded(credential: Credential) -> str:
    return base64.b64encode(f"{credential.user}:{credential.password}".encode()).decode()


def _table(path: Path, settings: dict[str, Any], name: str) -> dict[str, Any]:
    table = settings.get(name)
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise SpecError(f"{path}: {name}", "must be an object")
    return table


def _is_same(name: str, key: str) -> bool:
    """Tell whether a name in a file means a registry: old ones have a scheme and a path."""
    return name == key or (key != HUB and name.rpartition("://")[2].partition("/")[0] == key)


# --- helpers ---------------------------------------------------------------------------------------


def _helper(path: Path, settings: dict[str, Any], key: str) -> str:
    """Name the helper that keeps a registry's secret, "" for none."""
    name = _table(path, settings, "credHelpers").get(key) or settings.get("credsStore") or ""
    if name and not (isinstance(name, str) and HELPER_NAME.fullmatch(name)):
        raise SpecError(str(path), f"{plain(str(name))!r} cannot be the name of a credential helper")
    return str(name)


def _ask_helper(helper: str, key: str) -> Credential | None:
    """Let a helper look for a secret, None if it has none. Raises Error."""
    try:
        said = _run_helper(helper, "get", key)
    except _NotThereError:
        return None
    try:
        answer: Any = json_text.loads(said)
        user, secret = answer["Username"], answer["Secret"]
    except (SpecError, KeyError, TypeError):
        raise Error(f"docker-credential-{helper} get: its answer is not a credential") from None
    return Credential("", "", secret) if user == IDENTITY_USER else Credential(user, secret)


def _run_helper(helper: str, verb: str, question: str) -> bytes:
    """Run a helper, and give what it prints. Raises Error with its own words."""
    program = f"docker-credential-{helper}"
    status, said = programs.converse([program, verb], question.encode())
    if status and said.startswith(NOT_FOUND.encode()):
        raise _NotThereError(NOT_FOUND)
    if status:
        reason = plain(said.decode(errors="replace").strip()) or f"exit status {status}"
        raise Error(f"{program} {verb}: {reason}")
    return said


class _NotThereError(Error):
    """A helper's word that it has no such secret."""
