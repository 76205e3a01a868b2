"""How long we wait, and for what: a second try after a pause, a longer pause before each further one.

A server that is busy (429, 5xx) may say how long it wants to be left alone; nobody is left alone for longer
than the configuration says. Pauses are random by half, so that a class does not come back as one.

See RFC 9110, 10.2.3 (Retry-After); RFC 6585, 4 (429).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from minicontainer.image.configuration import Network
from minicontainer.image.registry.errors import RegistryError

PROGRESS = 32 << 10  # bytes that make a broken transfer worth a further try

Result = TypeVar("Result")


class Patience:
    """A configuration's patience."""

    def __init__(self, network: Network) -> None:
        self.tries = network.tries
        self._first, self._longest = network.first_pause, network.longest_pause
        self._random = random.SystemRandom()

    def persist(self, action: Callable[[], Result]) -> Result:
        """Repeat what fails for a passing reason. Raises RegistryError: the reason of the last try."""
        tries = Tries(self)
        while True:
            try:
                return action()
            except RegistryError as problem:
                tries.failed(problem)

    def wait(self, failures: int, asked: str) -> None:
        """Sleep before the next try, after so many failures; `asked` is a Retry-After, or ""."""
        time.sleep(self.pause(failures, asked))

    def pause(self, failures: int, asked: str = "") -> float:
        """Say how long to sleep."""
        usual = min(self._first * 2.0 ** (failures - 1), self._longest)
        return max(self._random.uniform(usual / 2, usual), min(seconds(asked), self._longest))


class Tries:
    """The tries of one transfer: they count from the start again after each that brought it on."""

    def __init__(self, patience: Patience, position: int = 0) -> None:
        self._patience = patience
        self._base = position
        self._failures = 0

    def failed(self, problem: RegistryError, position: int = 0) -> None:
        """Wait before the next try, after one that came to `position`; raises `problem` after the last."""
        self._failures = 1 if position - self._base >= PROGRESS else self._failures + 1
        if not problem.passing or self._failures >= self._patience.tries:
            raise problem
        self._base = position
        self._patience.wait(self._failures, problem.pause)


def seconds(retry_after: str) -> float:
    """Read a Retry-After: seconds, or a date; 0 for anything else."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
