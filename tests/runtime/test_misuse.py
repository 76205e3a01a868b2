"""Calls that must fail, and the bundles and configurations that must be refused: exit codes and words.

Implements: runc's behaviour, which callers rely on; deviations.toml names where crun's or ours differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import accepts, nothing_left, refuses

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")


@pytest.mark.parametrize(
    ("argv", "deviation"),
    [([], "no-arguments"), (["frobnicate"], "unknown-command"), (["list", "--no-such"], "unknown-flag")],
)
def test_a_wrong_command_line_fails(runtime: Runtime, argv: list[str], deviation: str) -> None:
    assert runtime.call(*argv).returncode == runtime.recorded_exit(deviation, 1)


def test_a_bundle_that_is_not_there_is_named(runtime: Runtime) -> None:
    refuses(runtime, runtime.call("create", "--bundle", "/nope", "x"), "/nope: no such file or directory")


def test_a_bundle_without_config_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    done = runtime.call("create", "--bundle", str(made.path), made.id)
    refuses(runtime, done, "JSON specification file config.json not found")


@pytest.mark.parametrize(
    ("text", "words"), [('{"ociVersion": "1.0', "unexpected EOF"), ("null", ""), ("[]", "")]
)
def test_a_config_that_is_no_object_is_refused(
    runtime: Runtime, bundle: MakeBundle, text: str, words: str
) -> None:
    made = bundle()
    (made.path / "config.json").write_text(text)
    refuses(runtime, runtime.call("create", "--bundle", str(made.path), made.id), words)
    assert made.id not in runtime.succeed("list", "-q").stdout


def test_a_string_as_uid_is_refused_by_name(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["user"]["uid"] = "root"
    refuses(runtime, runtime.run(made), "process.user.uid", deviation="string-as-number")


def test_a_container_without_process_can_be_created_but_not_started(
    runtime: Runtime, bundle: MakeBundle
) -> None:
    made = bundle()
    del made.config["process"]
    created = runtime.create(made)
    assert created.returncode == runtime.recorded_exit("no-process-create", 0), created.stderr
    if created.returncode == 0:
        assert runtime.start(made.id).returncode == runtime.recorded_exit("no-process-start", 1)


def _empty_args(made: Bundle) -> None:
    made.args()


def _relative_cwd(made: Bundle) -> None:
    made.process["cwd"] = "tmp"


def _file_as_cwd(made: Bundle) -> None:
    made.process["cwd"] = "/etc/passwd"


def _unknown_rlimit(made: Bundle) -> None:
    made.process["rlimits"] = [{"type": "RLIMIT_LUCK", "soft": 1, "hard": 1}]


def _unknown_namespace(made: Bundle) -> None:
    made.linux["namespaces"].append({"type": "weather"})


def _namespace_twice(made: Bundle) -> None:
    made.linux["namespaces"].append({"type": "uts"})


def _missing_source(made: Bundle) -> None:
    made.mounts.append({"destination": "/mnt", "type": "bind", "source": "/nope", "options": ["bind"]})


def _unknown_option(made: Bundle) -> None:
    made.mounts.append({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["sunny"]})


@pytest.mark.parametrize(
    ("change", "words", "deviation"),
    [
        (_empty_args, "args must not be empty", None),
        (_relative_cwd, "Cwd must be an absolute path", "relative-cwd"),
        (_file_as_cwd, "not a directory", None),
        (_unknown_rlimit, "RLIMIT_LUCK", None),
        (_unknown_namespace, "weather", None),
        (_namespace_twice, "", None),
        (_missing_source, "/nope", None),
        (_unknown_option, "", None),
    ],
)
def test_a_config_with_this_error_is_refused(
    runtime: Runtime, bundle: MakeBundle, change: Callable[[Bundle], None], words: str, deviation: str | None
) -> None:
    made = bundle()
    change(made)
    done = runtime.create(made)
    refuses(runtime, done, words, deviation=deviation)
    if done.returncode:
        nothing_left(runtime, made.id)


def test_a_relative_mount_destination_is_taken_from_the_root(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell("grep -q ' /here ' /proc/self/mountinfo")
    made.mounts.append({"destination": "here", "type": "tmpfs", "source": "tmpfs"})
    accepts(runtime.run(made))


def test_a_missing_cwd_is_made(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("pwd")
    made.process["cwd"] = "/var/deep/er"
    assert runtime.output(made) == "/var/deep/er\n"


def test_an_unknown_capability_is_a_warning(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["capabilities"]["bounding"].append("CAP_FLY")
    accepts(runtime.run(made))


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("no-such-program", 'exec: "no-such-program": executable file not found in $PATH'),
        ("/bin/no-such-program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "permission denied"),
    ],
)
def test_a_program_that_cannot_be_executed_fails_at_create(
    runtime: Runtime, bundle: MakeBundle, program: str, words: str
) -> None:
    made = bundle().args(program)
    done = runtime.create(made)
    words = "is a directory" if program == "/etc" and runtime.kind == "runc" else words
    refuses(runtime, done, words)
    nothing_left(runtime, made.id)


def test_a_program_of_unknown_format_fails(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().args("/strange")
    (made.rootfs / "strange").write_bytes(b"\x00\x01nothing that the kernel knows")
    (made.rootfs / "strange").chmod(0o755)
    done = runtime.run(made)
    assert done.returncode == runtime.recorded_exit("exec-format", 1)
    assert "exec format error" in done.stderr.lower()


@pytest.mark.parametrize("name", ["a/b", "..", " ", "", "x" * 2000, "x\n", "/abs", "../evil"])
def test_an_id_that_is_no_plain_name_is_refused(runtime: Runtime, bundle: MakeBundle, name: str) -> None:
    made = bundle().save()
    done = runtime.call("create", "--bundle", str(made.path), name)
    refuses(runtime, done)
    assert not [path for path in runtime.root.parent.iterdir() if path.name in {"evil", "abs"}]


def test_an_id_that_looks_like_a_flag_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    done = runtime.call("create", "--bundle", str(made.save().path), "--", "-x")
    assert done.returncode == runtime.recorded_exit("id-like-a-flag", 1)
    runtime.call("delete", "--force", "--", "-x")


def test_two_containers_cannot_have_one_id(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    accepts(runtime.create(made))
    refuses(runtime, runtime.create(made), "container with given ID already exists")
    assert runtime.status(made.id) == "created"
