"""images.toml: what it may say, and the words for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicontainer.errors import SpecError
from minicontainer.image import configuration
from minicontainer.image.configuration import Configuration, Registry, files, load, overlay


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one file that is read."""
    monkeypatch.setenv("MINICONTAINER_IMAGES_CONFIG", str(tmp_path / "images.toml"))
    return tmp_path / "images.toml"


def test_nothing_needs_to_be_configured(file: Path) -> None:
    assert load() == Configuration()
    assert load().registry("docker.io") == Registry()
    assert load().network.tries == 5


def test_a_registry_has_mirrors_and_trust_of_its_own(file: Path) -> None:
    file.write_text(
        '[registry."docker.io"]\nmirrors = ["https://mirror.example:5000"]\n'
        '[registry."localhost:5000"]\ninsecure = true\n'
        "[network]\nread_timeout = 1.5\n[limits]\nentries = 7\n"
    )
    found = load()
    assert found.registry("docker.io").mirrors == ("https://mirror.example:5000",)
    assert found.registry("localhost:5000").insecure
    assert (found.network.read_timeout, found.limits.entries) == (1.5, 7)


def test_the_users_file_is_stronger_than_the_systems(tmp_path: Path) -> None:
    system, user = tmp_path / "system.toml", tmp_path / "user.toml"
    system.write_text("[registry.a]\ninsecure = true\n[registry.b]\ninsecure = true\n[network]\ntries = 9\n")
    user.write_text("[registry.a]\ninsecure = false\n[network]\nread_timeout = 7\n")
    found = overlay(overlay(Configuration(), system), user)
    assert (found.registry("a").insecure, found.registry("b").insecure) == (False, True)
    assert (found.network.tries, found.network.read_timeout) == (9, 7)


def test_both_files_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINICONTAINER_IMAGES_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert files() == [configuration.SYSTEM / "images.toml", tmp_path / "minicontainer" / "images.toml"]


def test_one_registry_can_be_trusted_for_one_command() -> None:
    found = Configuration({"a": Registry(ca="/ca.pem")}).trusting("a").trusting("b")
    assert found.registry("a") == Registry(insecure=True, ca="/ca.pem")
    assert found.registry("b").insecure
    assert not found.registry("c").insecure


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[registry", "images.toml: "),
        ("[registries.a]", "no such table: registries"),
        ("registry = 1", "images.toml: registry: must be a table"),
        ("[registry]\na = 1", r'images.toml: registry."a": Expected `object`, got `int`'),
        ('[registry.a]\ninsecure = "yes"', r'registry."a".insecure: Expected `bool`, got `str`'),
        ("[registry.a]\ninsecrue = true", r'registry."a": Object contains unknown field `insecrue`'),
        ('[registry.a]\nmirrors = ["mirror.example"]', "'mirror.example' is not as https://HOST"),
        ('[registry.a]\nmirrors = ["https://m.example/path"]', "is not as https://HOST"),
        ('[registry.a]\nmirrors = ["file:///etc"]', "is not as https://HOST"),
        ('[registry.a]\nclient_cert = "/c"', "client_cert and client_key go together"),
        ("[network]\ntries = 0", r"network.tries: Expected `int` >= 1"),
        ("[network]\nread_timeout = -1", r"network.read_timeout: Expected `float` >= 0"),
        ("[limits]\nfoo = 1", r"limits.foo: no such limit"),
        ("[limits]\nentries = true", r"limits.entries: Expected `int`, got `bool`"),
        ("[limits]\nentries = 0", r"limits.entries: Expected `int` >= 1"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_its_field(file: Path, text: str, problem: str) -> None:
    file.write_text(text)
    with pytest.raises(SpecError, match=problem) as failure:
        load()
    assert str(file) in str(failure.value)


def test_a_file_that_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes(b"# \xff\n")
    with pytest.raises(SpecError, match=r"images\.toml"):
        load()
