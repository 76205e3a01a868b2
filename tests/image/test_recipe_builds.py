"""Images built for real: each layer is what its recipe adds, and the same packages give the same digests.

Debian's packages and PyPI's are fetched. One store serves all tests of the chain debian-slim, python, flask,
django; `make soak` builds everything twice, and postgres and redis too.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainer.errors import Conflict, Error
from minicontainer.image import recipe, recipe_build
from minicontainer.image.layer.limits import Limits
from minicontainer.image.progress import Nobody
from minicontainer.image.recipe_build import build_base
from minicontainer.image.recipe_config import story
from minicontainer.image.snapshot import view
from minicontainer.image.store.checking import check
from minicontainer.image.store.gc import collect
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import Named, find, names, set_name
from minicontainer.image.store.store import Store
from minicontainer.image.unpack import unpack
from tests.image.test_rootless import as_user
from tests.image.trees import read_tree
from tests.linux.test_long_programs import wait_until_dead

COMMAND = Path(sys.executable).parent / "minicontainer"
pytestmark = pytest.mark.requires("root")


def quietly(_line: str) -> None:
    """Tell nobody."""


def build(store: Store, name: str) -> Image:
    return load(store, find(store, build_base(store, name, quietly)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `images/` of one's own, with one recipe: a file with a word in it."""
    (tmp_path / "images/word").mkdir(parents=True)
    (tmp_path / "images/word/recipe.toml").write_text('title = "a word"\ntree = "build"\n')
    (tmp_path / "images/word/build").write_text('mkdir "$1"; echo word >"$1/file"\n')
    monkeypatch.setattr(recipe, "directory", lambda: tmp_path / "images")
    return tmp_path / "images"


# --- busybox, and other trees that a script makes ----------------------------------------------


@pytest.mark.requires("tool:busybox")
def test_busybox_holds_a_shell_and_all_names_of_busybox(store: Store) -> None:
    image = build(store, "busybox")
    assert image.named.name == "docker.io/library/busybox:latest"
    unpack(store, image, Nobody(), Limits())
    with view(store, image) as root:
        names = subprocess.run([root / "bin/busybox", "--list"], capture_output=True, text=True, check=True)
        assert {path.name for path in (root / "bin").iterdir()} == {"busybox", *names.stdout.split()}
        assert (root / "bin/sh").readlink() == Path("busybox")
        assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
        assert "root:x:0:0:" in (root / "etc/passwd").read_text()


@pytest.mark.requires("tool:busybox")
def test_busybox_built_twice_has_the_same_digest(store: Store, tmp_path: Path) -> None:
    first = build(store, "busybox")
    before = os.umask(0o077)
    try:
        second = build(Store(tmp_path / "other"), "busybox")
    finally:
        os.umask(before)
    assert second.descriptor.digest == first.descriptor.digest


def test_a_busybox_that_is_missing_or_needs_libraries_is_refused_with_a_hint(tmp_path: Path) -> None:
    script = recipe.directory() / "busybox/build"
    for program, why in (("/no/such/busybox", "is missing"), ("/bin/sh", "needs shared libraries")):
        words = ["sh", script, tmp_path / "tree", program]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"{program} {why}" in done.stderr
        assert "apt-get install busybox-static" in done.stderr
        assert not (tmp_path / "tree").exists()


def test_a_script_that_fails_leaves_nothing_and_its_words_are_said(store: Store, images: Path) -> None:
    (images / "word/build").write_text('mkdir "$1"; echo "no words left" >&2; exit 3\n')
    with pytest.raises(Error, match="images/word/build: no words left"):
        build(store, "word")
    assert names(store) == {}
    assert [*store.layers.iterdir(), *store.ingests.iterdir(), *store.blobs()] == []


def test_a_full_disk_is_said_and_leaves_nothing(
    store: Store, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_arguments: object, **_options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(recipe_build, "diff_trees", fill)
    with pytest.raises(Error, match=f"cannot build word in {store.root}: No space left on device"):
        build(store, "word")
    assert [*store.layers.iterdir(), *store.ingests.iterdir(), *store.blobs()] == []


def test_a_stand_in_has_the_layers_of_the_image_and_labels_that_say_so(store: Store, images: Path) -> None:
    (images / "word/stand-ins").write_text("hello-world:linux\n")
    stand_in = build(store, "hello-world:linux")
    image = build(store, "word")
    assert set(names(store)) == {f"docker.io/library/{name}" for name in ("word:latest", "hello-world:linux")}
    assert stand_in.manifest.layers == image.manifest.layers
    assert stand_in.config.config
    assert stand_in.config.config.labels == {
        "org.opencontainers.image.title": "word",
        "org.opencontainers.image.description": "a word",
        "org.opencontainers.image.vendor": "minicontainer",
        "stand-in.for": "hello-world:linux",
        "stand-in.holds": "a word",
    }


def test_a_changed_recipe_makes_another_image_of_the_same_name(store: Store, images: Path) -> None:
    old = build(store, "word")
    (images / "word/build").write_text('mkdir "$1"; echo more words >"$1/file"\n')
    new = build(store, "word")
    assert new.named.name == old.named.name
    assert new.diff_ids != old.diff_ids
    assert find(store, "word") == new.named


def test_an_image_of_somebody_elses_is_not_built_upon(store: Store, images: Path) -> None:
    """Docker Hub has a python, too, and whoever pulled that one would get a strange mixture."""
    (images / "word/stand-ins").write_text("hello-world:linux\n")
    image = build(store, "word")
    labels = image.config.config.labels if image.config.config else None
    assert labels
    foreign = store.read(image.manifest.config).replace(b'"minicontainer"', b'"somebody"')
    with store.hold():
        document = store.read(image.descriptor).replace(
            image.manifest.config.digest.encode(),
            store.add(foreign, image.manifest.config.media_type).digest.encode(),
        )
        document = document.replace(
            f'"size":{image.manifest.config.size}'.encode(), b'"size":%d' % len(foreign)
        )
        set_name(store, Named(image.named.name, store.add(document, image.descriptor.media_type)))
    with pytest.raises(Conflict, match="is not what images/word makes") as caught:
        build(store, "hello-world:linux")
    assert caught.value.hint == "minicontainer image build-base word replaces it"


KILLED = """
import sys
from pathlib import Path
from minicontainer.image import recipe
from minicontainer.image.recipe_build import build_base
from minicontainer.image.recipe_config import story
from minicontainer.image.store.store import Store
recipe.directory = lambda: Path(sys.argv[1])
build_base(Store(sys.argv[2]), "word", lambda line: None)
"""


def test_a_killed_build_leaves_only_what_the_next_collection_removes(store: Store, images: Path) -> None:
    fifo = images / "begun"
    os.mkfifo(fifo)
    (images / "word/build").write_text(f'mkdir "$1"; echo $$ >{fifo}; exec sleep 1000\n')
    words = [sys.executable, "-c", KILLED, str(images), str(store.root)]
    with subprocess.Popen(words, cwd=Path(recipe_build.__file__).parents[2]) as process:
        script = int(fifo.read_text())
        process.send_signal(signal.SIGKILL)
    assert wait_until_dead(script)
    assert [path.name.startswith(".new-") for path in store.layers.iterdir()] == [True]
    collect(store)
    assert list(store.layers.iterdir()) == []


# --- Debian's packages and PyPI's --------------------------------------------------------------

debian = pytest.mark.requires("tool:mmdebstrap")
slow = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with flask and django, and all that they begin from, unpacked."""
    root = tmp_path_factory.mktemp("built")
    made = Store(root / "store")
    for name in ("flask", "django"):
        unpack(made, build(made, name), Nobody(), Limits())
    yield made
    shutil.rmtree(root)


def run(store: Store, image: str, script: str) -> str:
    """Run a shell script in a container of an image; returns what it prints."""
    done = subprocess.run(
        [COMMAND, "run", image, "sh", "-euc", script],
        env=os.environ | {"MINICONTAINER_ROOT": str(store.root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Asks until there is an answer, for the server is not there at once. $1: the address.
ASK = """
ask() {
    until python -c '
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1]).read().decode())' "$1" 2>/dev/null; do sleep 0.1; done
}
"""


@debian
@slow
def test_each_image_has_the_layers_of_the_one_that_it_begins_from(built: Store) -> None:
    slim, python, flask, django = (
        load(built, find(built, name)) for name in ("debian-slim", "python", "flask", "django")
    )
    assert len(slim.diff_ids) == 1
    assert python.diff_ids[:-1] == slim.diff_ids
    assert flask.diff_ids[:-1] == django.diff_ids[:-1] == python.diff_ids
    assert [entry.created_by for entry in flask.config.history or ()] == [
        *("images/debian-slim: mmdebstrap trixie", story(recipe.find("python")[0])),
        "images/flask: pip install flask; copy app.py to /app/app.py",
    ]
    assert check(built) == []


@debian
@slow
def test_nothing_private_accidental_or_superfluous_is_left(built: Store) -> None:
    with view(built, load(built, find(built, "django"))) as root:
        tree = read_tree(root)
        sources = (root / "etc/apt/sources.list").read_text()
    paths = {path.decode() for path in tree}
    assert "trixie-security" in sources
    assert paths.isdisjoint({"etc/hostname", "etc/resolv.conf", "etc/apt/apt.conf.d/99mmdebstrap"})
    empty = ("dev/", "tmp/", "root/.cache", "var/log/apt", "var/lib/apt/lists/deb", "usr/share/man/man1/")
    assert [path for path in paths if path.startswith(empty)] == []
    documents = {path for path in paths if path.startswith("usr/share/doc/bash/")}
    assert documents == {"usr/share/doc/bash/copyright"}
    assert max(node.mtime for node in tree.values()) == recipe_build.EPOCH * 10**9


@debian
@slow
def test_python_is_there_by_its_usual_names_and_pip_can_replace_itself(built: Store) -> None:
    script = """
    for name in python python3 /usr/local/bin/python; do
        $name -c 'import sys; print(*sys.version_info[:2])'
    done
    pip --version
    pip install --quiet --no-index --root-user-action=ignore --upgrade pip
    """
    lines = run(built, "python", script).splitlines()
    assert lines[:3] == ["3 13"] * 3
    assert "/usr/local/lib/python3.13/dist-packages/pip" in lines[3]


@debian
@slow
def test_pythons_modules_are_compiled_and_are_not_compiled_again(built: Store) -> None:
    """Were they not up to date, the first import would write new ones."""
    script = "touch /before; python -c 'import json, flask'; find /usr -name '*.pyc' -newer /before"
    assert run(built, "flask", script) == ""
    assert "/json/__pycache__/" in run(
        built, "python", "ls /usr/lib/python3.13/json/__pycache__/__init__.*.pyc"
    )


@debian
@slow
def test_flask_says_hello_and_on_which_host(built: Store) -> None:
    said = run(built, "flask", f"{ASK}python app.py >/dev/null 2>&1 & ask http://127.0.0.1:8080/; hostname")
    answer, name = said.replace("\n\n", "\n").splitlines()
    assert answer == f"Hello World! I am {name}."


BROWSER = r"""
import http.cookiejar, re, urllib.parse, urllib.request

opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

def get(path):
    return opener.open("http://127.0.0.1:8000" + path).read().decode()

def send(path, form, **fields):
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', get(form))[1]
    data = urllib.parse.urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
    return opener.open("http://127.0.0.1:8000" + path, data).read().decode()

print("You are" in get("/"), "nobody yet" in get("/"))
page = send("/register/", "/register/", username="ada", password1="Lovelace-1815", password2="Lovelace-1815")
print("You are" in page, "<li>ada</li>" in page, "<h2>ada</h2>" in get("/users/ada/"))
print("You are" in send("/logout/", "/"), "<h2>ada</h2>" in get("/users/ada/"))
print("You are" in send("/login/", "/login/", username="ada", password="Lovelace-1815"))
"""


@debian
@slow
def test_somebody_registers_with_django_logs_out_and_logs_in_again(built: Store) -> None:
    serve = f"{ASK}./start >/dev/null 2>&1 & ask http://127.0.0.1:8000/healthz"
    said = run(built, "django", f"{serve}\npython - <<'END'{BROWSER}END\n")
    assert said.split() == ["ok", "False", "True", "True", "True", "True", "False", "False", "True"]


@debian
@slow
def test_redis_counts(built: Store) -> None:
    build(built, "redis")
    serve = "redis-server --save '' >/dev/null &"
    count = "until redis-cli incr visits 2>/dev/null; do sleep 0.1; done; redis-cli incr visits; id -un"
    assert run(built, "redis", f"{serve} {count}").split() == ["1", "2", "redis"]


@debian
@slow
def test_postgres_makes_the_database_that_its_variables_ask_for(
    built: Store, rounds: Callable[[int, int], int]
) -> None:
    """Its build takes a minute: in `make soak`. Always: without a password nothing is begun."""
    script = recipe.directory() / "postgres/entrypoint"
    refused = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "sh", script, "postgres"],
        env={"PATH": os.environ["PATH"], "PGDATA": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, refused.stderr) == (
        1,
        "the database has no password: set POSTGRES_PASSWORD\n",
    )
    if rounds(1, 2) == 2:
        build(built, "postgres")
        serve = "POSTGRES_PASSWORD=secret POSTGRES_DB=school docker-entrypoint.sh postgres >/dev/null 2>&1 &"
        ask = "export PGPASSWORD=secret; until psql -qAt -h 127.0.0.1 -U postgres -c 'select 6 * 7' school"
        assert run(built, "postgres", f"{serve} {ask} 2>/dev/null; do sleep 0.1; done") == "42\n"


@debian
@slow
def test_the_same_packages_give_the_same_digests(
    built: Store, tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    """What flask adds to python, in seconds; in `make soak` every image, from nothing."""
    other = Store(tmp_path / "other")
    if rounds(1, 2) == 1:
        chosen = ["flask"]
        shutil.copytree(built.images, other.images)
    else:
        chosen = list(recipe.folders())
    for name in chosen:
        first = find(built, name) if name in {"flask", "django"} else build(built, name).named
        assert build(other, name).named.descriptor == first.descriptor


@debian
@slow
@pytest.mark.requires("tool:busybox", "userns", "subuid", "filesystem:overlay")
def test_an_ordinary_user_gets_the_same_digests_as_root(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    """Of busybox; in `make soak` of flask and what it begins from."""
    name = "busybox" if rounds(1, 2) == 1 else "flask"
    users = as_user(tmp_path, lambda: build(Store("store"), name).descriptor)
    assert users == build(Store(tmp_path / "roots"), name).descriptor
