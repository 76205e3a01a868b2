"""The kinds of rule of which the table in `schema` is made: each checks one decoded JSON value.

    Flag  Integer  Text  Spelling  Choice      one value
    Texts  ListOf                              [ ... ]
    TextMap  MapOf  Object                     { ... }

`check` returns nothing or raises SpecError. The path is put together on the way out, so a right value pays
nothing for it. As in Go's decoder null stands for "absent" where the type is a pointer, a list or a map:
those are `nullable`; elements of lists and values of maps never are. The words of an error are in `wording`.
"""

from __future__ import annotations

from minicontainer.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Rule:
    """One rule of the table; `nullable` says whether null may stand for an absent member."""

    __slots__ = ("nullable",)

    def __init__(self, nullable: bool = False) -> None:
        self.nullable = nullable

    def check(self, value: object) -> None:
        """Raise SpecError, with a path relative to this value, unless the value obeys the rule."""
        self._check(value)

    def _check(self, value: object) -> None:
        raise NotImplementedError


class Flag(Rule):
    """True or false."""

    __slots__ = ()

    def _check(self, value: object) -> None:
        if value is not True and value is not False:
            raise mismatch(self, value)


class Integer(Rule):
    """An integer from `low` to `high`; a boolean is none."""

    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int, nullable: bool = False) -> None:
        self.nullable = nullable
        self.low = low
        self.high = high

    def _check(self, value: object) -> None:
        if type(value) is not int or not self.low <= value <= self.high:
            raise mismatch(self, value)


class Text(Rule):
    """Any string."""

    __slots__ = ()

    def _check(self, value: object) -> None:
        if type(value) is not str:
            raise mismatch(self, value)


class Spelling(Rule):
    """A string that `accepts` says yes to; `what` completes "expected ..."."""

    __slots__ = ("accepts", "what")

    def __init__(self, what: str, accepts: Callable[[str], bool]) -> None:
        self.nullable = False
        self.what = what
        self.accepts = accepts

    def _check(self, value: object) -> None:
        if type(value) is not str or not self.accepts(value):
            raise mismatch(self, value)


class Choice(Rule):
    """One of a few words."""

    __slots__ = ("words",)

    def __init__(self, *words: str) -> None:
        self.nullable = False
        self.words = frozenset(words)

    def _check(self, value: object) -> None:
        if type(value) is not str or value not in self.words:
            raise mismatch(self, value)


class Texts(Rule):
    """A list of strings, of at least `least`."""

    __slots__ = ("least",)

    def __init__(self, least: int = 0) -> None:
        self.nullable = True
        self.least = least

    def _check(self, value: object) -> None:
        if type(value) is not list or len(value) < self.least:
            raise mismatch(self, value)
        try:
            "".join(value)  # takes nothing but strings, and asks in C
        except TypeError:
            ListOf(Text()).check(value)


class ListOf(Rule):
    """A list whose elements all obey one rule."""

    __slots__ = ("element",)

    def __init__(self, element: Rule) -> None:
        self.nullable = True
        self.element = element

    def _check(self, value: object) -> None:
        if type(value) is not list:
            raise mismatch(self, value)
        check = self.element._check
        index = 0
        try:
            for element in value:
                check(element)
                index += 1
        except SpecError as problem:
            raise beneath(f"[{index}]", problem) from None


class MapOf(Rule):
    """An object with any keys, or any of `keys`, whose values all obey one rule."""

    __slots__ = ("keys", "value")

    def __init__(self, value: Rule, keys: Choice | None = None) -> None:
        self.nullable = True
        self.value = value
        self.keys = keys

    def _check(self, value: object) -> None:
        if type(value) is not dict:
            raise mismatch(self, value)
        for key, element in value.items():
            try:
                if self.keys is not None:
                    self.keys._check(key)
                self.value._check(element)
            except SpecError as problem:
                raise beneath(member(key), problem) from None


class TextMap(MapOf):
    """An object whose values are strings."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(Text())

    def _check(self, value: object) -> None:
        try:
            "".join(value.values())  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            super()._check(value)


class Object(Rule):
    """An object with named members; members that the table does not know are accepted."""

    __slots__ = ("members", "required")

    def __init__(self, required: str = "", nullable: bool = True, **members: Rule) -> None:
        self.nullable = nullable
        self.members = members
        self.required = required.split()

    def _check(self, value: object) -> None:
        if type(value) is not dict:
            raise mismatch(self, value)
        find = self.members.get
        name = ""
        try:
            for name, element in value.items():
                rule = find(name)
                if rule is not None and (element is not None or not rule.nullable):
                    rule._check(element)
        except SpecError as problem:
            raise beneath(name, problem) from None
        for name in self.required:
            if value.get(name) is None:
                raise SpecError(name, "is required")


def mismatch(rule: Rule, value: object) -> SpecError:
    """Say what the rule expected and what it got."""
    from minicontainer.oci import wording

    return SpecError("", f"expected {wording.expectation(rule)}, got {wording.finding(value)}")


def beneath(step: str, problem: SpecError) -> SpecError:
    """Put one step before the path of a problem."""
    rest = problem.path
    path = step + rest if rest[:1] in ("", "[") else f"{step}.{rest}"
    return SpecError(path, problem.problem, problem.hint)


def member(key: object) -> str:
    """Write the path step for a key that somebody chose freely."""
    from minicontainer.oci import wording

    return wording.bracketed(key)
