"""Templates behind --format: what is written; what is not understood is said before anything is written."""

from __future__ import annotations

import pytest

from minicontainer.cli.template import TemplateError, compile_template

IMAGE = {
    "Tag": "latest",
    "Labels": {"org.a": "1", "b": "two"},
    "Tags": ["p", "q"],
    "Nothing": None,
    "Yes": True,
    "Config": {"Env": ["A=1"], "Cmd": []},
    "Size": 42,
}


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("{{.Tag}}:{{.Tag}}", "latest:latest"),
        (
            "{{ .Config.Env }} {{.Labels}} {{.Nothing}} {{.Yes}} {{.Size}}",
            "[A=1] map[b:two org.a:1] <no value> true 42",
        ),
        ("{{json .Labels}}", '{"b":"two","org.a":"1"}'),
        ('{{index .Labels "org.a"}}{{index .Labels "c"}}{{index .Tags 1}}', "1q"),
        ("{{len .Tags}} {{.Tags | len}}", "2 2"),
        ('{{join .Tags ", "}} {{.Tag | upper | json}} {{truncate .Tag 3}}', 'p, q "LATEST" lat'),
        ("{{range .Tags}}{{.}};{{end}}", "p;q;"),
        ("{{range $tag := .Tags}}{{$tag}}{{$.Tag}} {{end}}", "platest qlatest "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "b=two org.a=1 "),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{if .Nothing}}a{{else if .Yes}}b{{else}}c{{end}}", "b"),
        ("{{with .Config}}{{index .Env 0}}{{end}}", "A=1"),
        ("a {{- .Tag -}} b", "alatestb"),
        ("{{/* silent */}}x", "x"),
        ('{{if eq .Tag "latest"}}y{{end}}{{if and .Yes (not .Nothing)}}z{{end}}', "yz"),
        ('{{(index .Tags 0) | println}}{{"}}"}}{{`\\`}}', "p\n}}\\"),
        ('{{len .Nothing}}{{join .Nothing ","}}{{index .Nothing "a" "b"}}{{range .Nothing}}x{{end}}', "0"),
        ("plain }} text", "plain }} text"),
    ],
)
def test_a_template_is_written_as_go_writes_it(template: str, written: str) -> None:
    assert compile_template(template)(IMAGE) == written


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Tag", "{{ without }}"),
        ("{{end}}", "{{end}} without {{if}}"),
        ("{{if .Tag}}", "{{end}} is missing"),
        ("{{if .Tag}}{{else foo}}{{end}}", "{{else foo}} is not understood"),
        ("{{}}", "{{}} is not understood"),
        ("{{.Tag .Tag}}", "{{.Tag .Tag}} is not understood"),
        ("{{$x := .Tag}}", "{{$x := .Tag}} is not understood"),
        ('{{"\\q"}}', "is not understood"),
        ("{{(.Tag}}", "is not understood"),
        ("{{.Tag ~}}", "'~' is not understood"),
        ('{{printf "%s" .Tag}}', 'function "printf" not defined'),
    ],
)
def test_what_is_not_understood_is_refused_before_anything_is_written(template: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(template)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Foo}}", "there is no field Foo"),
        ("{{.Tag.Foo}}", "there is no field Foo"),
        ("{{$y}}", "undefined variable $y"),
        ("{{len 5}}", "len cannot be used so: len 5"),
        ("{{json}}", "json cannot be used so: json"),
        ("{{index .Tags 9}}", 'index cannot be used so: index ["p","q"] 9'),
        ("{{range .Tag}}{{end}}", "range can't iterate over latest"),
    ],
)
def test_what_is_not_there_is_an_error(template: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(template)(IMAGE)
    assert problem in str(caught.value)


def test_a_field_that_is_not_there_comes_with_those_that_are() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template("{{.Config.Foo}}")(IMAGE)
    assert caught.value.hint == "there is Cmd, Env"
