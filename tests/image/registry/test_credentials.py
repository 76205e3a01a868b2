"""Where names and passwords are kept: docker's file, podman's, and the programs that keep secrets."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from minicontainer.errors import Error, SpecError, Unsupported
from minicontainer.image.registry.credentials import Credential, Credentials, docker_file, podman_files

HELPER = """#!/bin/sh
# docker-credential-fake: keeps secrets in files beside it
cd "${0%/*}" || exit 1
echo "$1" >> asked
case $1 in
    get) read -r key; file=$(echo "$key" | tr -c 'a-z0-9.\\n' _)
         [ -f "$file" ] || { echo "credentials not found in native keychain"; exit 1; }
         cat "$file" ;;
    store) cat > stored ;;
    erase) cat > erased ;;
esac
"""


def encoded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def write(path: Path, settings: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a credential helper."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program = folder / "docker-credential-fake"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def keep(helper: Path, host: str, **answer: str) -> None:
    (helper / host).write_text(json.dumps({"ServerURL": host, **answer}))


def test_what_is_stored_is_found_again(file: Path) -> None:
    credentials = Credentials(file, ())
    credentials.store("registry.example:5000", Credential("ada", "pass:with:colons"))
    assert credentials.find("registry.example:5000") == Credential("ada", "pass:with:colons")
    assert credentials.find("registry.example") is None


def test_docker_hub_has_its_old_name_in_the_file(file: Path) -> None:
    credentials = Credentials(file, ())
    credentials.store("docker.io", Credential("ada", "s3cret"))
    assert list(json.loads(file.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert credentials.find("docker.io") == Credential("ada", "s3cret")


@pytest.mark.parametrize(
    "name", ["registry.example", "https://registry.example", "https://registry.example/v1/"]
)
def test_a_name_with_scheme_and_path_is_still_the_host(file: Path, name: str) -> None:
    write(file, {"auths": {name: {"auth": encoded("ada:s3cret")}}})
    assert Credentials(file, ()).find("registry.example") == Credential("ada", "s3cret")
    assert Credentials(file, ()).find("registry.example.evil.example") is None


def test_an_exact_name_comes_first(file: Path) -> None:
    write(
        file,
        {"auths": {"https://r.example": {"auth": encoded("a:1")}, "r.example": {"auth": encoded("b:2")}}},
    )
    assert Credentials(file, ()).find("r.example") == Credential("b", "2")


def test_an_identity_token_is_read(file: Path) -> None:
    write(file, {"auths": {"r.example": {"auth": encoded("ada:"), "identitytoken": "keep"}}})
    assert Credentials(file, ()).find("r.example") == Credential("ada", "", "keep")


def test_podmans_files_are_read_after_dockers(file: Path, tmp_path: Path) -> None:
    podman = write(tmp_path / "auth.json", {"auths": {"r.example": {"auth": encoded("pod:man")}}})
    credentials = Credentials(file, (podman,))
    assert credentials.find("r.example") == Credential("pod", "man")
    credentials.store("r.example", Credential("ada", "s3cret"))
    assert credentials.find("r.example") == Credential("ada", "s3cret")
    assert json.loads(podman.read_text())["auths"]["r.example"]["auth"] == encoded("pod:man")


def test_the_environment_says_where_the_files_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert docker_file() == home / ".docker" / "config.json"
    assert podman_files() == (
        home / "run" / "containers" / "auth.json",
        home / ".config" / "containers" / "auth.json",
    )
    monkeypatch.setenv("DOCKER_CONFIG", "/elsewhere")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/a/file")
    assert docker_file() == Path("/elsewhere/config.json")
    assert podman_files() == (Path("/a/file"),)


def test_what_we_do_not_know_in_the_file_stays(file: Path) -> None:
    write(file, {"detachKeys": "ctrl-e,e", "auths": {"a.example": {"auth": encoded("a:1"), "email": "x"}}})
    credentials = Credentials(file, ())
    credentials.store("b.example", Credential("b", "2"))
    assert credentials.erase("b.example")
    settings = json.loads(file.read_text())
    assert settings == {
        "detachKeys": "ctrl-e,e",
        "auths": {"a.example": {"auth": encoded("a:1"), "email": "x"}},
    }


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "dotfiles" / "config.json", {})
    file.parent.mkdir()
    file.symlink_to(target)
    Credentials(file, ()).store("a.example", Credential("a", "1"))
    assert file.is_symlink()
    assert "a.example" in target.read_text()


def test_a_file_that_everybody_could_read_is_closed(file: Path) -> None:
    write(file, {}).chmod(0o644)
    Credentials(file, ()).store("a.example", Credential("a", "1"))
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["config.json"]


def test_logout_says_whether_there_was_anything(file: Path) -> None:
    credentials = Credentials(file, ())
    assert not credentials.erase("a.example")
    credentials.store("a.example", Credential("a", "1"))
    assert credentials.erase("a.example")
    assert credentials.find("a.example") is None


def test_secrets_are_not_in_what_python_prints() -> None:
    assert "s3cret" not in repr(Credential("ada", "s3cret", "s3cret"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ([], "must be an object"),
        ({"auths": []}, "auths: must be an object"),
        ({"auths": {"r.example": {"auth": "%%%"}}}, r'auths\."r\.example"\.auth: is not base64'),
        ({"auths": {"r.example": {"auth": encoded("nocolon")}}}, "is not base64 of user:password"),
        ({"auths": {"r.example": {"auth": 7}}}, "is not base64"),
        ({"credsStore": "../../bin/sh"}, "cannot be the name of a credential helper"),
        ({"credHelpers": {"r.example": "-x"}}, "cannot be the name of a credential helper"),
        ({"credsStore": 7}, "cannot be the name of a credential helper"),
    ],
)
def test_a_wrong_file_is_named_with_its_field(file: Path, settings: Any, problem: str) -> None:
    write(file, settings)
    with pytest.raises(SpecError, match=problem) as failure:
        Credentials(file, ()).find("r.example")
    assert str(file) in str(failure.value)


@pytest.mark.parametrize("text", ["{", '{"auths": {}, "auths": {}}', "\ufeff{}", "nothing"])
def test_a_file_that_is_not_json_is_left_alone(file: Path, text: str) -> None:
    write(file, {})
    file.write_text(text)
    with pytest.raises(SpecError, match=str(file)):
        Credentials(file, ()).store("a.example", Credential("a", "1"))
    assert file.read_text() == text


# --- helpers ---------------------------------------------------------------------------------------


def test_a_helper_is_asked_for_the_registry(file: Path, helper: Path) -> None:
    write(file, {"credsStore": "fake"})
    keep(helper, "r.example", Username="ada", Secret="s3cret")
    assert Credentials(file, ()).find("r.example") == Credential("ada", "s3cret")


def test_a_helpers_token_is_an_identity_token(file: Path, helper: Path) -> None:
    write(file, {"credsStore": "fake"})
    keep(helper, "r.example", Username="<token>", Secret="keep")
    assert Credentials(file, ()).find("r.example") == Credential("", "", "keep")


def test_a_helper_of_one_registry_is_for_it_alone(file: Path, helper: Path) -> None:
    write(file, {"credHelpers": {"r.example": "fake"}, "auths": {"a.example": {"auth": encoded("a:1")}}})
    credentials = Credentials(file, ())
    assert credentials.find("a.example") == Credential("a", "1")
    assert not (helper / "asked").exists()
    assert credentials.find("r.example") is None
    assert (helper / "asked").read_text() == "get\n"


def test_a_helper_keeps_and_forgets_and_the_file_has_no_secret(file: Path, helper: Path) -> None:
    write(file, {"credsStore": "fake"})
    credentials = Credentials(file, ())
    assert credentials.store("r.example", Credential("ada", "s3cret")) == "docker-credential-fake"
    assert json.loads((helper / "stored").read_text()) == {
        "ServerURL": "r.example",
        "Username": "ada",
        "Secret": "s3cret",
    }
    assert "s3cret" not in file.read_text()
    keep(helper, "r.example", Username="ada", Secret="s3cret")
    assert credentials.erase("r.example")
    assert (helper / "erased").read_text() == "r.example"


def test_a_helper_that_fails_is_quoted(file: Path, helper: Path) -> None:
    write(file, {"credsStore": "fake"})
    (helper / "docker-credential-fake").write_text("#!/bin/sh\necho 'the keyring is locked'; exit 2\n")
    with pytest.raises(Error, match="docker-credential-fake get: the keyring is locked"):
        Credentials(file, ()).find("r.example")


def test_a_helper_that_talks_nonsense_is_named(file: Path, helper: Path) -> None:
    write(file, {"credsStore": "fake"})
    (helper / "r.example").write_text("secret!")
    with pytest.raises(Error, match="its answer is not a credential"):
        Credentials(file, ()).find("r.example")


def test_a_helper_that_is_not_installed_is_named(file: Path) -> None:
    write(file, {"credsStore": "nowhere-to-be-found"})
    with pytest.raises(Unsupported, match="docker-credential-nowhere-to-be-found is not installed"):
        Credentials(file, ()).find("r.example")
