"""images/registry/serve: a registry for those who have no internet, filled with what this machine builds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import peer

CHECKOUT = Path(__file__).resolve().parents[2]
SERVE = CHECKOUT / "images/registry/serve"
COMMAND = Path(sys.executable).parent / "minicontainer"
pytestmark = pytest.mark.requires("root", "tool:busybox", "peer:docker-registry")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def surroundings(root: Path, **more: str) -> dict[str, str]:
    program = peer("docker-registry")
    assert program
    path = f"{Path(program).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(root), "MINICONTAINER_ROOT": str(root / "store"), **more}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Serve busybox; gives the address and what was printed."""
    root = tmp_path_factory.mktemp("teacher")
    address = f"127.0.0.1:{free_port()}"
    words = [SERVE, "--address", address, "--data", root / "data", "busybox"]
    with subprocess.Popen(words, env=surroundings(root), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = ""
        while "Ctrl-C ends it" not in said:
            line = process.stdout.readline()
            assert line, f"it has ended: {said}"
            said += line
        yield address, said
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://{address}/v2/", timeout=5)


def test_it_has_the_image_by_its_own_name_and_by_the_public_ones(served: tuple[str, str]) -> None:
    with urllib.request.urlopen(f"http://{served[0]}/v2/library/busybox/tags/list", timeout=30) as answer:
        assert set(json.load(answer)["tags"]) == {"latest", "1", "1.36", "stable"}


def test_who_writes_down_what_it_says_pulls_the_stand_in_from_it(
    served: tuple[str, str], tmp_path: Path
) -> None:
    address, said = served
    settings = said[said.index("[registry.") : said.index("\n\nThen")]
    assert settings == f'[registry."docker.io"]\nmirrors = ["http://{address}"]'
    (tmp_path / "images.toml").write_text(settings)
    environment = surroundings(tmp_path, MINICONTAINER_IMAGES_CONFIG=str(tmp_path / "images.toml"))

    def mini(*words: str) -> str:
        done = subprocess.run([COMMAND, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert mini("pull", "--quiet", "busybox:1.36").split() == ["docker.io/library/busybox:1.36"]
    labels = json.loads(mini("image", "inspect", "busybox:1.36"))[0]["Config"]["Labels"]
    assert labels["stand-in.for"] == "busybox:1.36"
    assert labels["stand-in.holds"].startswith("One static program")
    assert mini("run", "busybox:1.36", "echo", "hello") == "hello\n"


def test_the_names_that_were_for_the_push_alone_are_gone(served: tuple[str, str], tmp_path: Path) -> None:
    index = json.loads((tmp_path.parent / "teacher0/store/images/index.json").read_text())
    names = {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]}
    assert names == {f"docker.io/library/busybox:{tag}" for tag in ("latest", "1", "1.36", "stable")}


def test_an_address_that_is_taken_is_said_and_ends_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = [SERVE, "--address", address, "--data", tmp_path / "data", "busybox"]
        done = subprocess.run(
            words, env=surroundings(tmp_path), capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr
