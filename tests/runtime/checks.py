"""What a test asserts about one call: its exit code, and the words that callers match on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.runtime.runtimes import Completed, Runtime

OWN_WORDS = "own-words"
"""The deviation of a peer whose error texts are not runc's."""


def refuses(
    runtime: Runtime, done: Completed, *texts: str, deviation: str | None = None, code: int = 1
) -> None:
    """Assert exit `code` and one line on stderr that has each text; a peer's recorded code if it has one."""
    expected = runtime.recorded_exit(deviation, code) if deviation else code
    assert done.returncode == expected, f"exit {done.returncode}, not {expected}: {done.stderr}{done.stdout}"
    if expected == 0:
        return
    if runtime.deviates(OWN_WORDS):
        assert done.stderr.strip()
        return
    said = done.stderr.replace('\\"', '"')  # runc's log lines quote what they quote
    for text in texts:
        assert text in said
    assert "Traceback" not in done.stderr
    if runtime.kind == "ours":
        assert len(done.stderr.strip().splitlines()) == 1, f"not one line: {done.stderr}"


def accepts(done: Completed) -> None:
    """Assert exit 0."""
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr or done.stdout}"


def nothing_left(runtime: Runtime, name: str) -> None:
    """Assert that a refused container left neither state nor cgroup."""
    assert not (runtime.root / name).exists()
    if not runtime.deviates("cgroup-after-failure"):
        assert not runtime.cgroup_of(name).exists()
    assert name not in runtime.succeed("list", "-q").stdout.split()
