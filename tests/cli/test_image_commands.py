"""The table of the image commands: each can be loaded, is helped, and reads options as docker does."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicontainer.cli import image_commands, options
from minicontainer.cli.help import build
from minicontainer.image.store.store import Store
from tests.cli.conftest import Command
from tests.cli.images import put
from tests.image.layouts import file, image, layer


@pytest.mark.parametrize("name", image_commands.COMMANDS)
def test_every_command_can_be_loaded_and_helps(name: str, command: Command) -> None:
    assert callable(options.load(image_commands.COMMANDS[name]))
    said = command(*name.split(), "--help")
    assert (said.code, said.err) == (0, "")
    assert all(option.words[-1] in said.out for option in image_commands.COMMANDS[name].options)


def test_the_help_has_dockers_words_and_hides_the_second_ones(command: Command) -> None:
    shown = command("image", "--help").out
    assert all(f"\n  {word} " in shown for word in ("ls", "rm", "pull", "inspect", "gc"))
    assert "list " not in shown.split("Commands:")[1].replace("list them", "")
    assert all(f"\n  {word} " in command("--help").out for word in ("images", "rmi", "load", "login"))


@pytest.mark.parametrize(
    ("short", "long"),
    [("images", "image ls"), ("images", "image list"), ("rmi", "image rm"), ("rmi", "image remove")],
)
def test_two_words_mean_the_same_command(short: str, long: str) -> None:
    assert image_commands.COMMANDS[short] is image_commands.COMMANDS[long]


def test_options_may_stand_behind_the_arguments(store: Store, command: Command) -> None:
    put(store, "busybox")
    assert command("images", "busybox", "--format", "{{.Tag}}").out == "latest\n"
    assert command("images", "--format", "{{.Tag}}", "--", "busybox").out == "latest\n"


def test_with_other_commands_they_belong_to_the_program(command: Command) -> None:
    context = build().commands["vm"].commands["run"].make_context("run", ["sh", "-c", "ls"])  # type: ignore[attr-defined]
    assert context.params["command"] == ("sh", "-c", "ls")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["pull"], "Missing argument 'NAME'"),
        (["pull", "a", "b"], "Got unexpected extra argument (b)"),
        (["rmi"], "Missing argument 'IMAGE...'"),
        (["images", "--color"], "No such option"),
        (["image", "nothing"], "No such command 'nothing'"),
    ],
)
def test_a_mistake_is_told(words: list[str], problem: str, command: Command) -> None:
    said = command(*words)
    assert said.code == 1
    assert problem in said.err


@pytest.mark.requires("root")
def test_an_image_becomes_a_directory(store: Store, command: Command, tmp_path: Path) -> None:
    command(
        "load", "-i", image([layer([file("etc/motd", b"hello")])], name="busybox").archive(tmp_path / "a")
    )
    assert command("image", "unpack", "busybox", tmp_path / "rootfs").code == 0
    assert (tmp_path / "rootfs/etc/motd").read_text() == "hello"
    said = command("image", "unpack", "busybox", tmp_path / "rootfs")
    assert (said.code, said.err.splitlines()[0]) == (1, f"minicontainer: {tmp_path}/rootfs is there already")


def test_the_images_that_can_be_made_here_are_listed(command: Command) -> None:
    shown = command("image", "build-base").out.splitlines()
    assert shown[0].split() == ["NAME", "WHAT", "IT", "HOLDS"]
    assert {"busybox", "python", "debian-slim"} <= {line.split()[0] for line in shown[1:]}
    assert command("image", "build-base", "no/such").code == 1
