"""The story of a command: steps, kernel calls, decisions and messages, told to whoever watches.

The code that acts marks its functions (`@step` here, `@kernel_call` in `linux.kernel`) and knows nobody who
listens. With no witness a mark costs less than a microsecond. The stack of steps is kept even when nobody
watches: a failure in a process that may not import anything any more is reported by the step in which it
happened.

See docs/explain.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ParamSpec, Protocol, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

    class Witness(Protocol):
        """Someone who watches: the trace file, the narrator, a test."""

        def entered(self, step: str) -> None:
            """Note that a step begins; `step` is `module:function`, whose docstring is its narration."""

        def left(self, step: str) -> None:
            """Note that the step ended well."""

        def calling(self, name: str, arguments: Sequence[object]) -> None:
            """Note a kernel call that does not come back when it succeeds (execve)."""

        def called(self, name: str, arguments: Sequence[object], result: object, number: int) -> None:
            """Note a kernel call that came back with `result`, or with errno `number` when that is not 0."""

        def flush(self) -> None:
            """Catch up: the program of the container is about to start, and will say things itself."""

        def descriptors(self) -> list[int]:
            """List the descriptors that a child must keep open to go on telling."""

        role: str  # which of the command's processes tells: runtime, stage, init, exec


witnesses: list[Witness] = []
steps: list[str] = []  # the steps that this process is in now, outermost first


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function as one step of the story: `--explain` prints the first line of its docstring."""
    name = function.__module__ + ":" + function.__qualname__

    def told(*arguments: P.args, **named: P.kwargs) -> R:
        depth = len(steps)
        steps.append(name)
        for witness in witnesses:
            witness.entered(name)
        result = function(*arguments, **named)
        # Only after success: on failure the stack stays as it is, and tells the reporter where it happened.
        del steps[depth:]
        for witness in witnesses:
            witness.left(name)
        return result

    told.__wrapped__ = function  # type: ignore[attr-defined]
    told.__doc__ = function.__doc__
    told.__name__ = function.__name__
    told.__qualname__ = function.__qualname__
    told.__module__ = function.__module__
    return told
