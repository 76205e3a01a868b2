"""The configuration that `minicontainer run` makes: valid, and with Docker's defaults."""

from __future__ import annotations

import json
import posix
from typing import Any

import pytest

from minicontainer.cli import config
from minicontainer.cli.failure import exit_code
from minicontainer.cli.options import COMMANDS
from minicontainer.cli.run import check_name, make_seccomp
from minicontainer.cli.users import User
from minicontainer.errors import Error, KernelError
from minicontainer.linux.capabilities import mask
from minicontainer.oci.check import check_config

ROOT = User(0, 0, [])
SECCOMP = '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[]}'


def made(
    rootless: bool = False, user: User | None = None, image: dict[str, Any] | None = None, **given: Any
) -> dict[str, Any]:
    values = COMMANDS["run"].nothing_given() | given
    wanted = config.Wanted("c1", "/image", values, image or {})
    decoded: dict[str, Any] = json.loads(config.config_text(wanted, user or ROOT, SECCOMP, rootless))
    check_config(decoded)
    return decoded


def test_the_capabilities_are_dockers_fourteen() -> None:
    assert mask(config.CAPABILITIES) == 0xA80425FB
    sets = made()["process"]["capabilities"]
    assert sets["bounding"] == sets["effective"] == sets["permitted"] == config.CAPABILITIES
    assert "ambient" not in sets
    assert "inheritable" not in sets


def test_a_user_who_is_not_root_has_none_of_them_effective() -> None:
    process = made(user=User(1000, 50, [7]))["process"]
    assert process["user"] == {"uid": 1000, "gid": 50, "additionalGids": [7]}
    assert process["capabilities"]["effective"] == []
    assert process["capabilities"]["bounding"] == config.CAPABILITIES


def test_every_namespace_is_new_but_those_of_users_and_clocks() -> None:
    found = made()["linux"]["namespaces"]
    assert {entry["type"] for entry in found} == {"pid", "network", "ipc", "uts", "mount", "cgroup"}
    assert all("path" not in entry for entry in found)


def test_the_seccomp_profile_is_put_in_as_it_is() -> None:
    assert made()["linux"]["seccomp"] == json.loads(SECCOMP)
    profile = json.loads(make_seccomp())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert any("mount" in group["names"] for group in profile["syscalls"]) is False


def test_devices_are_denied_unless_they_are_the_default_ones() -> None:
    assert made()["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]


def test_limits_stand_beside_the_device_rule() -> None:
    found = made(memory="64m", cpus="1", pids_limit="50")["linux"]["resources"]
    assert found == {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": 64 << 20, "swap": 128 << 20},
        "cpu": {"period": 100000, "quota": 100000},
        "pids": {"limit": 50},
    }


def test_every_option_of_a_limit_is_known_to_the_configuration() -> None:
    names = {option.name for option in COMMANDS["run"].options}
    assert names.issuperset(config.LIMITS)
    for name in config.LIMITS:
        with pytest.raises(Error):
            made(False, **{name: "nonsense"})


def test_without_root_no_group_and_no_tty_group_are_asked_for() -> None:
    found = made(rootless=True)
    assert "cgroupsPath" not in found["linux"]
    assert "resources" not in found["linux"]
    assert not [mount for mount in found["mounts"] if "gid=5" in mount["options"]]


def test_the_environment_is_dockers_then_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given = made(env=["A=1", "NOT_SET_ANYWHERE", "B="], hostname="web")["process"]["env"]
    assert given == [config.PATH, "HOSTNAME=web", "A=1", "B="]
    assert "TERM=xterm" in made(tty=True)["process"]["env"]


def test_the_host_name_is_the_containers_name() -> None:
    assert made()["hostname"] == "c1"
    assert made(hostname="web")["hostname"] == "web"


IMAGE = {"Env": ["PATH=/opt/bin", "A=1"], "Entrypoint": ["/serve"], "Cmd": ["--all"], "WorkingDir": "/srv"}


def test_what_the_command_line_leaves_open_comes_from_the_image() -> None:
    process = made(image=IMAGE)["process"]
    assert process["args"] == ["/serve", "--all"]
    assert process["env"] == ["PATH=/opt/bin", "HOSTNAME=c1", "A=1"]
    assert process["cwd"] == "/srv"


def test_the_command_line_replaces_the_images_command_and_not_its_entrypoint() -> None:
    process = made(image=IMAGE, command=["--one"], workdir="/tmp", env=["A=2", "B=3"])["process"]
    assert process["args"] == ["/serve", "--one"]
    assert process["env"] == ["PATH=/opt/bin", "HOSTNAME=c1", "A=2", "B=3"]
    assert process["cwd"] == "/tmp"


def test_an_image_cannot_ask_for_a_variable_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(posix.environ, b"SECRET", b"of the host")
    assert not [entry for entry in made(image={"Env": ["SECRET"]})["process"]["env"] if "SECRET" in entry]
    assert "SECRET=of the host" in made(image={"Env": ["SECRET"]}, env=["SECRET"])["process"]["env"]


def test_a_relative_working_directory_of_an_image_begins_at_the_root() -> None:
    assert made(image={"WorkingDir": "app"})["process"]["cwd"] == "/app"


@pytest.mark.parametrize("name", ["", "-x", ".", "..", "a/b", "a b", "é", "x" * 65, "_x"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(Error, match="not a name"):
        check_name(name)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (Error('exec: "x": executable file not found in $PATH'), 127),
        (Error('exec: "/x": no such file or directory'), 127),
        (Error('exec: "/etc": permission denied'), 126),
        (KernelError(2, "execve", ("/bin/x", [], [])), 127),
        (KernelError(8, "execve", ("/bin/x", [], [])), 126),
        (KernelError(2, "mount", ("a", "b", None, 0, None)), 125),
        (Error("anything else: no such file or directory"), 125),
    ],
)
def test_exit_codes_are_dockers(problem: Error, code: int) -> None:
    assert exit_code(problem) == code
