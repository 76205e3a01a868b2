"""Capabilities as the kernel shows them: five sets, for root and for a user, ambient ones through execve.

Implements: runtime-spec, config.md "Linux Process"; see capabilities(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.checks import refuses
from tests.runtime.test_process import STATUS, status_field

if TYPE_CHECKING:
    from tests.runtime.bundles import MakeBundle
    from tests.runtime.conftest import Probes
    from tests.runtime.runtimes import Runtime

pytestmark = pytest.mark.requires("root", "cgroup2")

CHOWN, KILL, NET_RAW = 1 << 0, 1 << 5, 1 << 13
DOCKERS = [
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
]  # fmt: skip


def sets(text: str) -> dict[str, int]:
    """Give the five sets of a /proc/PID/status."""
    return {name: int(status_field(text, f"Cap{name}"), 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def test_root_has_exactly_the_configured_sets(runtime: Runtime, bundle: MakeBundle) -> None:
    text = runtime.output(bundle().capabilities("CHOWN", "KILL").shell(STATUS))
    assert sets(text) == {"Inh": 0, "Prm": 0x21, "Eff": 0x21, "Bnd": 0x21, "Amb": 0}


def test_dockers_fourteen_give_the_known_mask(runtime: Runtime, bundle: MakeBundle) -> None:
    text = runtime.output(bundle().capabilities(*DOCKERS).shell(STATUS))
    assert sets(text) == {"Inh": 0, "Prm": 0xA80425FB, "Eff": 0xA80425FB, "Bnd": 0xA80425FB, "Amb": 0}


def test_a_user_loses_all_but_the_bounding_set(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("CHOWN", "KILL").shell(STATUS)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    assert sets(runtime.output(made)) == {"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": 0x21, "Amb": 0}


def test_ambient_capabilities_reach_a_users_program(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("KILL", "NET_RAW", ambient=True).shell(STATUS)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    assert sets(runtime.output(made)) == dict.fromkeys(("Inh", "Prm", "Eff", "Bnd", "Amb"), KILL | NET_RAW)


def test_missing_sets_are_empty(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(STATUS)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.process["capabilities"] = {"bounding": ["CAP_CHOWN"]}
    assert sets(runtime.output(made)) == {"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": CHOWN, "Amb": 0}


def test_no_capabilities_at_all_are_none(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().shell(STATUS)
    del made.process["capabilities"]
    found = sets(runtime.output(made))
    if runtime.deviates("capabilities-left-out"):
        assert found["Eff"] != 0
    else:
        assert found == {"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": 0, "Amb": 0}


def test_the_bounding_set_is_dropped_before_the_user_is_changed(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities().shell(STATUS)
    made.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    text = runtime.output(made)
    assert set(sets(text).values()) == {0}
    assert "5" in status_field(text, "Groups").split()


def test_what_is_not_in_the_set_is_really_forbidden(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle().capabilities("KILL").shell("chown 5:5 /etc/passwd 2>/dev/null; stat -c %u /etc/passwd")
    assert runtime.output(made) == "0\n"
    made = bundle().capabilities("CHOWN").shell("chown 5:5 /etc/passwd; stat -c %u /etc/passwd")
    assert runtime.output(made) == "5\n"


@pytest.mark.requires("tool:gcc")
@pytest.mark.parametrize(("forbidden", "shown"), [(True, "1000 1000\n"), (False, "1000 0\n")])
def test_a_setuid_program_gains_nothing_without_new_privileges(
    runtime: Runtime, bundle: MakeBundle, probe: Probes, forbidden: bool, shown: str
) -> None:
    made = bundle().args("/ids").capabilities("SETUID")
    probe("ids", made.rootfs / "ids").chmod(0o4755)
    made.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=forbidden)
    assert runtime.output(made) == shown


def test_a_wrong_type_of_set_is_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    made.process["capabilities"]["bounding"] = "CAP_KILL"
    done = runtime.create(made)
    if runtime.deviates("capabilities-as-string"):
        assert done.returncode == 0
    else:
        refuses(runtime, done, "bounding")
