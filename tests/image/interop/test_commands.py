"""The image commands beside a real registry: logging in, pushing, pulling, what a terminal shows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.screen import on_terminal
from tests.image.interop.ours import Minicontainer
from tests.registries import PASSWORD, USER, Registry

pytestmark = pytest.mark.requires(
    "root", "peer:docker-registry", "peer:skopeo", "peer:umoci", "peer:podman", "peer:dockerd"
)


@pytest.mark.parametrize("any_registry", ["basic", "token"], indirect=True)
def test_who_logs_in_may_push_and_who_logs_out_may_not(
    any_registry: Registry, make_ours: Callable[..., Minicontainer]
) -> None:
    ours, name = make_ours(), f"{any_registry.address}/tests/logged-in:1"
    ours.succeed("image", "build-base", "busybox")
    ours.succeed("tag", "busybox", name)
    refused = ours.call("push", name)
    assert refused.returncode == 1
    assert refused.stderr.endswith(f"hint: minicontainer login {any_registry.address}\n")
    wrong = ours.call("login", "-u", USER, "-p", "wrong", any_registry.address)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "hint:" not in wrong.stderr
    code, screen = on_terminal(
        ours.argv("login", any_registry.address),
        100,
        24,
        environment=ours.environment,
        answers={"Username: ": USER, "Password: ": PASSWORD},
    )
    assert code == 0, screen.shown()
    assert screen.shown()[-1] == "Login Succeeded"
    assert PASSWORD not in "".join(screen.shown())
    assert ours.succeed("push", "-q", name) == name
    assert ours.succeed("image", "tags", name.rpartition(":")[0]) == "1"
    ours.succeed("logout", any_registry.address)
    assert ours.call("push", name).returncode == 1


@pytest.mark.parametrize("width", [40, 80])
def test_a_pull_on_a_terminal_leaves_what_lines_would_have_said(
    width: int, publish: Callable[..., str], plain: Registry, ours: Minicontainer, large: Path
) -> None:
    name = publish(plain, large)
    code, screen = on_terminal(ours.argv("pull", name), width, 12, environment=ours.environment)
    assert code == 0
    assert screen.cursor
    assert [text for text in screen.wrapped if "Downloading" in text or "Pulling fs" in text] == []
    layers = ours.succeed("history", "-q", name).count("\n") + 1
    shown = screen.shown()
    assert shown[0].startswith("1: Pulling from tests/number-")
    assert sum(line.endswith(": Pull complete") for line in shown) == layers
    assert shown[-1] == name
    assert "Downloading" in screen.history
