"""AppArmor: the program runs under the profile that the config names, exec too, and never without it.

Implements: runtime-spec config.md "apparmorProfile"; apparmor(7), apparmor_parser(8).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts, nothing_left, refuses

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = [
    pytest.mark.vm,
    pytest.mark.requires("root", "unified", "lsm:apparmor", "tool:apparmor_parser"),
]
NAME = "minicontainer-test"
PROFILE = f"""
profile {NAME} flags=(attach_disconnected) {{
    file,
    signal,
    unix,
    deny /secret w,
    deny network inet,
}}
"""
TRY = "cat /proc/self/attr/current; echo x > /open && echo open; echo x > /secret && echo secret"


@pytest.fixture(scope="module")
def profile() -> Iterator[str]:
    """Load a profile that forbids to write one file."""
    parser = ["apparmor_parser", "--skip-cache", "--skip-kernel-load"]
    subprocess.run([*parser[:2], "--replace"], input=PROFILE, text=True, check=True)
    yield NAME
    subprocess.run([*parser[:2], "--remove"], input=PROFILE, text=True, check=True)


def test_the_program_is_confined(runtime: Runtime, bundle: MakeBundle, profile: str) -> None:
    made = bundle().shell(TRY)
    made.process["apparmorProfile"] = profile
    done = runtime.run(made)
    assert done.stdout.splitlines() == [f"{profile} (enforce)", "open"]
    assert "Permission denied" in done.stderr


def test_exec_is_confined_as_the_program_is(runtime: Runtime, bundle: MakeBundle, profile: str) -> None:
    made = bundle()
    made.process["apparmorProfile"] = profile
    name = runtime.sleeping(made)
    assert Path(f"/proc/{runtime.pid(name)}/attr/current").read_text() == f"{profile} (enforce)\n"
    done = runtime.exec(name, "sh", "-c", TRY)
    assert done.stdout.splitlines() == [f"{profile} (enforce)", "open"]


def test_without_a_profile_nothing_is_confined(runtime: Runtime, bundle: MakeBundle, profile: str) -> None:
    made = bundle().shell(TRY)
    assert runtime.output(made).splitlines() == ["unconfined", "open", "secret"]
    name = runtime.sleeping(bundle())
    done = runtime.exec(name, "sh", "-c", TRY, flags=["--apparmor", profile])
    assert done.stdout.splitlines() == [f"{profile} (enforce)", "open"]
    accepts(runtime.exec(name, "true"))


def test_a_profile_that_is_not_loaded_is_an_error(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("touch /ran")
    made.process["apparmorProfile"] = f"missing-{os.getpid()}"
    refuses(runtime, runtime.create(made), made.process["apparmorProfile"])
    assert not (made.rootfs / "ran").exists()
    nothing_left(runtime, made.id)
