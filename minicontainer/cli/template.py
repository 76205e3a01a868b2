"""A small part of Go's text/template: what people write behind --format.

    {{.Repository}}:{{.Tag}}    {{json .Config.Env}}    {{index .Config.Labels "a.b"}}    {{.Digest | upper}}
    {{range .RepoTags}}{{println .}}{{end}}    {{range $key, $value := .Config.Labels}}{{$key}} {{end}}
    {{if .Tag}}{{.Tag}}{{else}}none{{end}}     {{with .Config}}{{len .Env}}{{end}}

A template is compiled to functions from a `Scope` to text: a part that is not known is an error before
anything is printed. What is looked up and is not there is an error too, as it is for docker.

See https://pkg.go.dev/text/template, man page docker-inspect(1), "--format".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minicontainer.errors import Error

Value = Any  # what JSON can say
MOST_NAMED = 12  # members that an error lists

ACTION = re.compile(
    r"(?:\s*\{\{-(?=\s)|\{\{)"  # {{- takes away the blanks before it
    r'((?:"(?:\\.|[^"\\])*"|`[^`]*`|(?!\}\}).)*?)'
    r"(?:(?<=\s)-\}\}\s*|\}\})",
    re.DOTALL,
)
TOKEN = re.compile(
    r"\s*(?:"
    r'(?P<text>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+)|(?P<field>(?:\$\w*)?(?:\.\w+)+|\$\w*|\.)|'
    r"(?P<word>\w+)|(?P<sign>:=|[|(),]))"
)


class TemplateError(Error):
    """The template is not understood, or asks for what is not there."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What `.` is at some place of the template, and what the variables are."""

    dot: Value
    variables: Mapping[str, Value]

    def below(self, dot: Value, **variables: Value) -> Scope:
        """Give the scope inside a `range` or `with`."""
        return Scope(dot, {**self.variables, **variables})


Expression = Callable[[Scope], Value]
Part = Callable[[Scope], str]


def compile_template(text: str) -> Callable[[Value], str]:
    """Make a function from a value to text. Raises TemplateError, and so does the function."""
    parser = _Template(text)
    parts, _ = parser.parts(())
    return lambda value: _run(parts, Scope(value, {"$": value}))


def _run(parts: Sequence[Part], scope: Scope) -> str:
    return "".join(part(scope) for part in parts)


# --- text and actions ------------------------------------------------------------------------------


class _Template:
    """The template as a row of texts and actions, of which each is taken once."""

    def __init__(self, text: str) -> None:
        self.rest: list[tuple[bool, str]] = []  # whether it is an action, and what stands there
        end = 0
        for found in ACTION.finditer(text):
            self.rest += [(False, text[end : found.start()]), (True, found[1].strip())]
            end = found.end()
        self.rest.append((False, text[end:]))
        if any("{{" in piece for is_action, piece in self.rest if not is_action):
            raise TemplateError("template: {{ without }}")

    def parts(self, ends: tuple[str, ...]) -> tuple[list[Part], str]:
        """Take everything up to one of the words that may end it here; gives that word, too."""
        made: list[Part] = []
        while self.rest:
            is_action, piece = self.rest.pop(0)
            word = piece.partition(" ")[0]
            if not is_action:
                made.append(lambda _scope, piece=piece: piece)  # type: ignore[misc]
            elif piece in ends or (word in ends and word == "else"):
                return made, piece
            elif not piece.startswith("/*"):
                made.append(self.action(word, piece))
        if ends:
            raise TemplateError("template: {{end}} is missing")
        return made, ""

    def action(self, word: str, piece: str) -> Part:
        if word in ("if", "with", "range"):
            return self.block(word, piece[len(word) :])
        if word in ("end", "else"):
            raise TemplateError(f"template: {{{{{word}}}}} without {{{{if}}}}, {{{{with}}}} or {{{{range}}}}")
        expression = _Words(piece).whole()
        return lambda scope: shown(expression(scope))

    def block(self, word: str, head: str) -> Part:
        words = _Words(head)
        names = words.variables() if word == "range" else []
        condition = words.whole()
        then, end = self.parts(("end", "else"))
        otherwise: list[Part] = []
        if end.startswith("else if "):
            otherwise = [self.block("if", end.removeprefix("else if "))]
        elif end == "else":
            otherwise, end = self.parts(("end",))
        elif end != "end":
            raise TemplateError(f"template: {{{{{end}}}}} is not understood")
        return (
            _looped(names, condition, then, otherwise)
            if word == "range"
            else _chosen(word, condition, then, otherwise)
        )


def _chosen(word: str, condition: Expression, then: list[Part], otherwise: list[Part]) -> Part:
    def part(scope: Scope) -> str:
        value = condition(scope)
        if not value:
            return _run(otherwise, scope)
        return _run(then, scope.below(value) if word == "with" else scope)

    return part


def _looped(names: list[str], over: Expression, body: list[Part], otherwise: list[Part]) -> Part:
    def part(scope: Scope) -> str:
        value = over(scope)
        if not value:
            return _run(otherwise, scope)
        if isinstance(value, Mapping):
            pairs = sorted(value.items())
        elif isinstance(value, list | tuple):
            pairs = list(enumerate(value))
        else:
            raise TemplateError(f"template: range can't iterate over {shown(value)}")
        # One name is for the value, two are for key and value.
        return "".join(
            _run(body, scope.below(one, **dict(zip(reversed(names), (one, key), strict=False))))
            for key, one in pairs
        )

    return part


# --- inside an action ------------------------------------------------------------------------------


class _Words:
    """The words of one action."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.rest: list[tuple[str, str]] = []
        end = 0
        while text[end:].strip():
            found = TOKEN.match(text, end)
            if found is None or found.lastgroup is None:
                raise TemplateError(f"template: {{{{{text}}}}}: {text[end:].strip()!r} is not understood")
            self.rest.append((found.lastgroup, found[found.lastgroup]))
            end = found.end()

    def next_is(self, *signs: str) -> bool:
        return bool(self.rest) and self.rest[0][1] in signs

    def variables(self) -> list[str]:
        """Take `$key, $value :=` if it is there."""
        if ("sign", ":=") not in self.rest:
            return []
        at = self.rest.index(("sign", ":="))
        names = [word for kind, word in self.rest[:at] if kind == "field" and word.startswith("$")]
        if len(names) * 2 - 1 != at or len(names) > 2:  # noqa: PLR2004 - commas stand between them
            raise self.wrong()
        del self.rest[: at + 1]
        return names

    def whole(self) -> Expression:
        """Read all of it as one pipeline."""
        made = self.pipeline()
        if self.rest:
            raise self.wrong()
        return made

    def pipeline(self) -> Expression:
        """Read `A | f | g "x"`: what is on the left becomes the last argument of what is on the right."""
        made = self.call(None)
        while self.next_is("|"):
            self.rest.pop(0)
            made = self.call(made)
        return made

    def call(self, last: Expression | None) -> Expression:
        if not self.rest:
            raise self.wrong()
        kind, word = self.rest[0]
        if kind != "word" or word in CONSTANTS:
            made = self.operand()
            if last is not None or (self.rest and not self.next_is("|", ")")):
                raise self.wrong()
            return made
        self.rest.pop(0)
        if word not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS))
            raise TemplateError(f'template: function "{word}" not defined', f"there are {known}")
        arguments = []
        while self.rest and not self.next_is("|", ")"):
            arguments.append(self.operand())
        if last is not None:
            arguments.append(last)
        return lambda scope: _called(word, [argument(scope) for argument in arguments])

    def operand(self) -> Expression:
        kind, word = self.rest.pop(0)
        if word == "(":
            made = self.pipeline()
            if not self.next_is(")"):
                raise self.wrong()
            self.rest.pop(0)
            return made
        if kind == "field":
            return _field(word)
        if kind == "word" and word in CONSTANTS:
            return lambda _scope: CONSTANTS[word]
        if kind in ("text", "number"):
            literal = self.literal(kind, word)
            return lambda _scope: literal
        raise self.wrong()

    def literal(self, kind: str, word: str) -> Value:
        if kind == "number":
            return int(word)
        try:
            return word[1:-1] if word.startswith("`") else json.loads(word, strict=False)
        except ValueError:
            raise self.wrong() from None

    def wrong(self) -> TemplateError:
        return TemplateError(f"template: {{{{{self.text.strip()}}}}} is not understood")


def _field(path: str) -> Expression:
    start, *names = path.split(".")
    names = [name for name in names if name]

    def look_up(scope: Scope) -> Value:
        if start and start not in scope.variables:
            raise TemplateError(f"template: undefined variable {start}")
        value = scope.variables[start] if start else scope.dot
        for name in names:
            value = member(value, name)
        return value

    return look_up


def member(value: Value, name: str) -> Value:
    """Give the member of an object. Raises TemplateError that names what there is."""
    if isinstance(value, Mapping) and name in value:
        return value[name]
    there = sorted(value)[:MOST_NAMED] if isinstance(value, Mapping) else []
    hint = f"there is {', '.join(map(str, there))}" if there else ""
    raise TemplateError(f"template: there is no field {name} in {{{{.{name}}}}}'s object", hint)


# --- functions -------------------------------------------------------------------------------------


def shown(value: Value) -> str:
    """Write a value as Go's fmt.Print does."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{shown(one)}' for key, one in sorted(value.items()))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(shown, value))}]"
    return str(value)


def _called(name: str, arguments: list[Value]) -> Value:
    try:
        return FUNCTIONS[name](*arguments)
    except (TypeError, ValueError, AttributeError, LookupError):
        given = " ".join([name, *map(to_json, arguments)])
        raise TemplateError(f"template: {name} cannot be used so: {given}") from None


def to_json(value: Value) -> str:
    """Write a value as docker's `json` does, which sorts the members."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def index(value: Value, *keys: Value) -> Value:
    """Look up one key after another; a key that an object has not gives the empty text."""
    for key in keys:
        value = value[key] if isinstance(value, list | tuple) else (value or {}).get(key, "")
    return value


CONSTANTS: dict[str, Value] = {"true": True, "false": False, "nil": None}
FUNCTIONS: dict[str, Callable[..., Value]] = {
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "eq": lambda left, *rights: left in rights,
    "index": index,
    "join": lambda values, between: between.join(map(shown, values or ())),
    "json": to_json,
    "len": lambda value: len(value or ()),
    "lower": lambda text: text.lower(),
    "ne": lambda left, right: left != right,
    "not": lambda value: not value,
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "print": lambda *values: " ".join(map(shown, values)),
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "split": lambda text, between: text.split(between),
    "truncate": lambda text, length: text[:length],
    "upper": lambda text: text.upper(),
}
