"""images.toml: which registries are mirrored, insecure or have a CA of their own; patience; limits of layers.

    [registry."docker.io"]              [registry."localhost:5000"]         [network]
    mirrors = ["https://mirror.class"]  insecure = true                     read_timeout = 20

/etc/minicontainer/images.toml is read first, then the user's, whose registries and values replace those of
the same name. $MINICONTAINER_IMAGES_CONFIG names one file that is read instead of both.

See docs/images.md, "Configuration".
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from minicontainer.errors import SpecError
from minicontainer.image.layer.limits import Limits

VARIABLE = "MINICONTAINER_IMAGES_CONFIG"
SYSTEM = Path("/etc/minicontainer")

Seconds = Annotated[float, Meta(ge=0)]


class Registry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is particular about one registry, by the host (and port) that references name."""

    insecure: bool = False  # certificates are not checked, and plain HTTP will do
    mirrors: tuple[str, ...] = ()  # asked first, in this order: "https://HOST[:PORT]"
    ca: str = ""  # a PEM file with further certificate authorities
    client_cert: str = ""
    client_key: str = ""


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How patient the client is; all times in seconds."""

    connect_timeout: Seconds = 30
    read_timeout: Seconds = 60  # for less than 1 KiB to come
    tries: Annotated[int, Meta(ge=1, le=100)] = 5  # of one request, the first included
    first_pause: Seconds = 0.5  # before the second try; doubled before each further one
    longest_pause: Seconds = 30  # even when the registry asks for more


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that images.toml can say."""

    registries: dict[str, Registry] = field(default_factory=dict)
    network: Network = field(default_factory=Network)
    limits: Limits = field(default_factory=Limits)

    def registry(self, host: str) -> Registry:
        """Give what is particular about a registry."""
        return self.registries.get(host, Registry())

    def trusting(self, host: str) -> Configuration:
        """Give the same configuration with one registry insecure: --tls-verify=false."""
        insecure = msgspec.structs.replace(self.registry(host), insecure=True)
        return replace(self, registries={**self.registries, host: insecure})


def load() -> Configuration:
    """Read the files that there are. Raises SpecError, naming the file and the field."""
    configuration = Configuration()
    for path in files():
        if path.is_file():
            configuration = overlay(configuration, path)
    return configuration


def files() -> list[Path]:
    """Name the files that may be there, the strongest last."""
    if chosen := os.environ.get(VARIABLE):
        return [Path(chosen)]
    return [folder / "images.toml" for folder in (SYSTEM, user_folder())]


def user_folder() -> Path:
    """Name the folder of the user's own settings."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "minicontainer"


def overlay(configuration: Configuration, path: Path) -> Configuration:
    """Read one file over what is known already."""
    tables = _parse(path)
    if unknown := set(tables) - {"registry", "network", "limits"}:
        raise SpecError(
            str(path), f"no such table: {', '.join(sorted(unknown))}", "registry, network, limits"
        )
    registries = {
        host: _registry(path, host, table) for host, table in _table(path, tables, "registry").items()
    }
    network = {**msgspec.to_builtins(configuration.network), **_table(path, tables, "network")}
    limits = {**asdict(configuration.limits), **_table(path, tables, "limits")}
    return Configuration(
        registries={**configuration.registries, **registries},
        network=_convert(path, "network", network, Network),
        limits=_limits(path, limits),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SpecError(str(path), str(problem)) from None


def _table(path: Path, tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise SpecError(f"{path}: {name}", "must be a table")
    return table


def _registry(path: Path, host: str, table: object) -> Registry:
    name = f'registry."{host}"'
    registry: Registry = _convert(path, name, table, Registry)
    for mirror in registry.mirrors:
        parts = urlsplit(mirror)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
            raise SpecError(f"{path}: {name}.mirrors", f"{mirror!r} is not as https://HOST[:PORT]")
    if bool(registry.client_cert) != bool(registry.client_key):
        raise SpecError(f"{path}: {name}", "client_cert and client_key go together")
    return registry


def _limits(path: Path, values: dict[str, Any]) -> Limits:
    names = {each.name for each in fields(Limits)}
    for name, value in values.items():
        if name not in names:
            raise SpecError(f"{path}: limits.{name}", "no such limit", ", ".join(sorted(names)))
        _convert(path, f"limits.{name}", value, Annotated[int, Meta(gt=0)])
    return Limits(**values)


def _convert(path: Path, name: str, value: object, kind: Any) -> Any:
    """Check values against their type; msgspec's words end with the field, as `$.insecure`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at `$")
        raise SpecError(f"{path}: {name}{where.rstrip('`')}", what) from None
