"""Recipes: read, refused with the name of the field, and turned into configurations and command lines."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from minicontainer.errors import NotFound, SpecError
from minicontainer.image import recipe, reference
from minicontainer.image.recipe import Config, Folder
from minicontainer.image.recipe_config import configure, labelled, own_labels, stand_in_labels, story
from minicontainer.image.recipe_debian import command, files_of, hooks
from minicontainer.oci.image import ContainerConfig

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `images/` of one's own."""
    monkeypatch.setattr(recipe, "directory", lambda: tmp_path)
    return tmp_path


def write(images: Path, name: str, text: str, **beside: str) -> Folder:
    (images / name).mkdir(parents=True)
    (images / name / "recipe.toml").write_text(text)
    for file, content in beside.items():
        (images / name / file).write_text(content)
    return recipe.read(images / name)


# --- those that are there ----------------------------------------------------------------------


def test_the_checkout_has_these_recipes() -> None:
    assert recipe.directory() == CHECKOUT / "images"
    wanted = {"busybox", "debian-slim", "django", "flask", "postgres", "python", "redis"}
    assert set(recipe.folders()) == wanted


def test_every_recipe_begins_from_one_that_is_there_and_has_a_readme() -> None:
    known = recipe.folders()
    for folder in known.values():
        assert folder.recipe.base in {"", *known}
        assert (folder.path / "README.md").read_text().startswith(f"# The image `{folder.name}`\n")


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("b", "c", "images/b/recipe.toml: from: there is no images/c"),
        ("b", "a", "the image begins from itself"),
    ],
)
def test_a_chain_of_recipes_ends(images: Path, first: str, second: str, problem: str) -> None:
    write(images, "a", f'title = "x"\nfrom = "{first}"')
    write(images, "b", f'title = "x"\nfrom = "{second}"')
    with pytest.raises(SpecError, match=problem):
        recipe.folders()


def test_no_name_is_made_by_two_recipes() -> None:
    names = [name for folder in recipe.folders().values() for name in (folder.name, *folder.stand_ins)]
    stored = [reference.parse(name).stored_name() for name in names]
    assert sorted(stored) == sorted(set(stored))
    assert all(name.startswith("docker.io/library/") for name in stored)


def test_the_names_of_public_dockerfiles_have_stand_ins() -> None:
    for name in ("python:3.7", "python:3.9-slim", "python:3.9-slim-buster", "python:3.12-slim"):
        assert recipe.find(name) == (recipe.folders()["python"], name)
    assert recipe.find("busybox:1.36")[0].name == "busybox"
    assert recipe.find("debian:bookworm-slim")[0].name == "debian-slim"
    assert recipe.find("debian")[1] == "debian:latest"


def test_a_recipe_is_found_by_its_name_and_by_all_forms_of_a_stand_ins() -> None:
    assert recipe.find("python") == recipe.find("python:latest") == (recipe.folders()["python"], "")
    assert recipe.find("docker.io/library/python:3.9-slim")[1] == "python:3.9-slim"
    with pytest.raises(NotFound, match="no recipe makes nginx") as caught:
        recipe.find("nginx")
    assert "busybox, debian-slim" in caught.value.hint


def test_an_installation_finds_its_recipes_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib/python3.13/site-packages/minicontainer"
    monkeypatch.setattr(recipe.minicontainer, "__path__", [str(package)])
    installed = tmp_path / "share/minicontainer/images"
    write(installed, "busybox", 'title = "x"\nsuite = "trixie"')
    assert recipe.directory() == installed


def test_what_an_installation_gets_is_all_that_git_tracks_of_images() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    given = {path for patterns in listed.values() for each in patterns for path in CHECKOUT.glob(each)}
    assert {path for path in given if path.is_file()} == set(files_of(CHECKOUT / "images"))
    for place, patterns in listed.items():
        assert {str(Path(each).parent) for each in patterns} == {place.removeprefix("share/minicontainer/")}


# --- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("title = ", "images/bad/recipe.toml", "it is not TOML"),
        ('suite = "trixie"', "images/bad/recipe.toml", "missing required field `title`"),
        ('title = "x"\nsuite = "trixie"\nsweet = 1', "images/bad/recipe.toml", "unknown field `sweet`"),
        ('title = "x"\nsuite = "trixie"\npackages = "vim"', "`$.packages`", "Expected `array`"),
        ('title = "x"\nsuite = "trixie"\npackages = ["a b"]', "`$.packages[0]`", "matching regex"),
        ('title = "x"\nsuite = "trixie"\npackages = ["--force"]', "`$.packages[0]`", "matching regex"),
        ('title = "x"\nsuite = "--help"', "`$.suite`", "matching regex"),
        ('title = "x"\nfrom = "../etc"', "`$.from`", "matching regex"),
        ('title = "x"\nsuite = "trixie"\npip = ["--pre"]', "`$.pip[0]`", "matching regex"),
        ('title = "x"\nsuite = "trixie"\nfiles = {"../x" = "/x"}', "`$.files`", "matching regex"),
        ('title = "x"\nsuite = "trixie"\nfiles = {x = "/../x"}', "`$.files[...]`", "matching regex"),
        ('title = "x"\nsuite = "trixie"\n[config]\nexpose = ["80"]', "`$.config.expose[0]`", "regex"),
        ('title = "x"\nsuite = "trixie"\n[config]\nworkdir = "app"', "`$.config.workdir`", "regex"),
        ('title = "x"\nsuite = "trixie"\n[config.env]\n"A=B" = "c"', "`$.config.env`", "regex"),
        ('title = "x"\nsuite = "trixie"\n[config]\nCmd = []', "`$.config`", "unknown field `Cmd`"),
        ('title = "x"', "suite, from, tree", "exactly one"),
        ('title = "x"\nsuite = "trixie"\nfrom = "python"', "suite, from, tree", "exactly one"),
        ('title = "x"\ntree = "build"\npip = ["flask"]', "tree", "nothing is added"),
        ('title = "x"\ntree = "build"', "tree", "there is no build beside it"),
        ('title = "x"\nfrom = "python"\nscript = "s"', "script", "there is no s beside it"),
        ('title = "x"\nfrom = "python"\nfiles = {app = "/app"}', "files", "there is no app beside it"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_name_and_the_field(
    images: Path, text: str, field: str, problem: str
) -> None:
    with pytest.raises(SpecError) as caught:
        write(images, "bad", text)
    assert caught.value.path.startswith("images/bad/recipe.toml")
    assert caught.value.path.endswith(field)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    "package", ["flask", "flask==3.1.2", "django>=5,<6", "psycopg[binary]", "a.b-c_d~=1.0"]
)
def test_what_pip_may_be_asked_for(images: Path, package: str) -> None:
    folder = write(images, "good", f'title = "x"\nfrom = "python"\npip = ["{package}"]')
    assert folder.recipe.pip == (package,)


# --- what becomes of them ----------------------------------------------------------------------

BASE = ContainerConfig(
    env=("PATH=/bin", "LANG=C"),
    entrypoint=("tini",),
    cmd=("sh",),
    user="app",
    exposed_ports={"80/tcp": {}},
    labels={"made-by": "base"},
)


def test_what_a_recipe_does_not_say_is_as_in_its_base() -> None:
    assert configure(BASE, Config()) == BASE


def test_variables_ports_and_labels_add_up() -> None:
    config = configure(
        BASE, Config(env={"LANG": "C.UTF-8", "PORT": "1"}, expose=("81/tcp",), labels={"more": "yes"})
    )
    assert config.env == ("PATH=/bin", "LANG=C.UTF-8", "PORT=1")
    assert config.exposed_ports == {"80/tcp": {}, "81/tcp": {}}
    assert config.labels == {"made-by": "base", "more": "yes"}


def test_a_new_entrypoint_takes_the_bases_command_away() -> None:
    assert configure(BASE, Config(cmd=("bash",))).entrypoint == ("tini",)
    replaced = configure(BASE, Config(entrypoint=("server",)))
    assert (replaced.entrypoint, replaced.cmd) == (("server",), None)


def test_a_stand_in_says_in_its_labels_what_it_really_holds() -> None:
    folder, name = recipe.find("python:3.9-slim")
    config = labelled(ContainerConfig(labels=own_labels(folder)), stand_in_labels(folder, name))
    assert config.labels
    assert config.labels["stand-in.for"] == "python:3.9-slim"
    assert config.labels["stand-in.holds"].startswith("Python 3.13 of Debian 13")
    assert config.labels["org.opencontainers.image.title"] == "python"


def test_the_history_tells_what_was_done(images: Path) -> None:
    words = ['title = "x"', 'from = "python"', 'packages = ["nano"]', 'pip = ["flask"]']
    words += ['files = { app = "/app" }', 'script = "s"']
    folder = write(images, "web", "\n".join(words), app="", s="")
    assert story(folder) == "images/web: apt-get install nano; pip install flask; copy app to /app; sh s"
    assert story(write(images, "tree", 'title = "x"\ntree = "build"', build="")) == "images/tree: sh build"


def test_no_mirror_is_named_and_indexes_may_have_expired() -> None:
    for folder in recipe.folders().values():
        words = command(folder, Path("/tree"))
        assert not any("://" in word for word in words)
        assert "--aptopt=Acquire::Check-Valid-Until false" in words


def test_a_system_from_a_base_fetches_lists_of_packages_only_if_it_wants_packages() -> None:
    known = recipe.folders()
    assert "--skip=update" in command(known["flask"], Path("/tree"))
    assert "--skip=update" not in command(known["python"], Path("/tree"))
    assert command(known["python"], Path("/tree"))[-3:] == ["", "/tree", ""]
    assert command(known["debian-slim"], Path("/tree"))[-2:] == ["trixie", "/tree"]


def test_files_get_the_usual_modes_whatever_the_checkouts_are(images: Path) -> None:
    folder = write(images, "web", 'title = "x"\nfrom = "python"\nfiles = {"it" = "/srv/it"}', it="")
    (folder.path / "it").chmod(0o600)
    source = shlex.quote(str(folder.path / "it"))
    assert f'install -D --mode=644 {source} "$1"/srv/it' in hooks(folder)
    (folder.path / "it").chmod(0o700)
    assert f'install -D --mode=755 {source} "$1"/srv/it' in hooks(folder)


def test_a_directory_is_copied_without_what_python_leaves_in_it(images: Path) -> None:
    folder = write(images, "web", 'title = "x"\nfrom = "python"\npip = ["a<2"]')
    for name in ("app/b/c.py", "app/a.py", "app/__pycache__/a.pyc"):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).touch()
    assert files_of(folder.path / "app") == [folder.path / "app/a.py", folder.path / "app/b/c.py"]
    assert any(hook.endswith(" 'a<2'") for hook in hooks(folder))
