"""The script that makes a node of a machine, run on a machine of stand-ins: no package comes or goes.

It runs as root of a user namespace in a mount namespace, where /usr/local/sbin, first in its PATH, has
stand-ins of the programs that would change something. /usr/local/bin, /opt and /etc/hosts are the test's own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from minicontainer.vm import recipe

pytestmark = pytest.mark.requires("userns", "tool:unshare", "tool:tar")

CHECKOUT = Path(__file__).parent.parent.parent
GUEST = CHECKOUT / "minicontainer" / "vm" / "guest"
HOSTS = "127.0.0.1 localhost\n127.0.2.1 node2 node2\n::1 localhost ip6-localhost\n10.0.0.1 gateway\n"
NODES = ["192.168.56.11=node1", "192.168.56.12=node2"]
PACKAGES = {*recipe.SYSTEM, *recipe.TOOLKIT, *recipe.TESTS}
COMMANDS = ["mini", "minicontainer", "minicontainer-runtime"]
OTHER_WORLD = ["unshare", "--user", "--map-root-user", "--mount"]
WORLD = """
mount --bind "$1/sbin" /usr/local/sbin && mount --bind "$1/bin" /usr/local/bin &&
mount --bind "$1/opt" /opt && mount --bind "$1/hosts" /etc/hosts &&
mount --bind "$1/checkout" "$1/checkout" && mount -o "remount,bind,$2" "$1/checkout" || exit 99
script=$1/checkout/minicontainer/vm/guest/provision.sh
shift 2
exec sh "$script" "$@"
"""
STAND_INS = {
    "dpkg-query": "shift 3; printf '%s=installed ' $(printf '%s\\n' $@ | grep -vxFf {place}/absent)",
    "apt-get": 'echo "$*" >>{place}/apt; case "$*" in *--simulate*) [ ! -e {place}/old ] ;; esac',
    "ip": "printf '2: eth1    inet %s/24 brd 192.168.56.255 scope global eth1\\n' $(cat {place}/address)",
    "stat": "cat {place}/owner",
    "runuser": 'echo "$1 $2" >>{place}/users; shift 3; exec "$@"',
}
# What stands in for the launchers and for ./bootstrap.
LAUNCHER = '#!/bin/sh\necho "$@" >>{place}/@COMMAND@.asked\n[ "$1" != doctor ] || exit 3\n'
BOOTSTRAP = (
    'set -e\ncd "$(dirname "$0")"\nmkdir -p .venv/bin\ncd .venv/bin\ntouch {commands}\nchmod 755 {commands}\n'
)


# What the script may import: there is no more than Python yet.
ASKED = (
    *("__init__.py", "errors.py", "image/__init__.py", "image/epoch.py"),
    *("vm/__init__.py", "vm/recipe.py", "vm/seal.py"),
)


class Machine:
    """A place with the stand-ins, and a copy of what the script needs of the checkout."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("sbin", "bin", "opt"):
            (place / name).mkdir()
        (place / "hosts").write_text(HOSTS)
        (place / "address").write_text("192.168.56.12")
        (place / "owner").write_text("root")
        (place / "absent").touch()
        for name, text in STAND_INS.items():
            self.write(place / "sbin" / name, f"#!/bin/sh\n{text.format(place=place)}\n")
        package = place / "checkout" / "minicontainer"
        for name in ASKED:
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / "minicontainer" / name, package / name)
        shutil.copytree(GUEST, package / "vm" / "guest")
        self.write(package / "launcher.sh", LAUNCHER.format(place=place))
        self.write(place / "checkout" / "bootstrap", BOOTSTRAP.format(commands=" ".join(COMMANDS)))

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def provision(self, *nodes: str, mode: str = "rw") -> tuple[int, str]:
        """Run the script; give its exit code and all that it says."""
        done = subprocess.run(
            [*OTHER_WORLD, "sh", "-c", WORLD, "sh", self.place, mode, *nodes],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 99, done.stdout
        return done.returncode, done.stdout

    def lines(self, name: str) -> list[str]:
        """What a stand-in has noted, nothing if nobody asked it."""
        noted = self.place / name
        return noted.read_text().splitlines() if noted.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("script", sorted(GUEST.glob("*.sh")), ids=lambda script: script.name)
def test_a_script_of_the_guest_is_one_that_sh_can_read(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True, timeout=60)


def test_where_everything_is_in_place_nothing_is_fetched(machine: Machine) -> None:
    machine.provision(*NODES)
    assert machine.lines("apt") == []
    assert sorted(path.name for path in (machine.place / "bin").iterdir()) == COMMANDS


def test_the_doctor_has_the_last_word(machine: Machine) -> None:
    code, said = machine.provision()
    assert machine.lines("minicontainer.asked") == ["doctor"]
    assert (code, said) == (3, "provision: ready; what this machine can do:\n")


def test_a_node_gets_the_packages_of_the_image(machine: Machine) -> None:
    (machine.place / "absent").write_text("\n".join(PACKAGES))
    machine.provision()
    update, simulated, installed = machine.lines("apt")
    assert update == "-qq update"
    assert "--simulate" in simulated
    assert set(installed.split()) == PACKAGES | {"-qq", "install", "--yes", "--no-install-recommends"}


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    (machine.place / "absent").write_text("jq\n")
    machine.provision()
    assert machine.lines("apt")[-1] == "-qq install --yes --no-install-recommends jq"


@pytest.mark.parametrize("others", [[], ["jq"]])
def test_libraries_that_the_release_does_not_have_come_with_bootstrap(
    machine: Machine, others: list[str]
) -> None:
    (machine.place / "old").touch()
    (machine.place / "absent").write_text("\n".join(["python3-msgspec", *others]))
    (machine.place / "owner").write_text("somebody")
    machine.provision()
    installed = [line.split()[4:] for line in machine.lines("apt") if "--yes" in line]
    assert installed == ([others] if others else [])
    assert machine.lines("users") == ["-u somebody"]  # whose the checkout is
    for command in COMMANDS:
        link = machine.place / "bin" / command
        assert link.readlink() == machine.place / "checkout" / ".venv" / "bin" / command


@pytest.mark.parametrize(("owner", "compiled"), [("root", False), ("vagrant", True)])
def test_the_modules_of_somebody_s_checkout_are_compiled_as_that_user(
    machine: Machine, owner: str, compiled: bool
) -> None:
    (machine.place / "owner").write_text(owner)
    machine.provision()
    assert machine.lines("users") == (["-u vagrant"] if compiled else [])
    assert (machine.place / "checkout" / "minicontainer" / "__pycache__").exists() is compiled


def test_a_launcher_never_overwrites_what_a_link_points_to(machine: Machine) -> None:
    venv = machine.place / "checkout" / ".venv"
    machine.write(machine.place / "in_venv", "of the .venv")
    (machine.place / "bin" / "mini").symlink_to(machine.place / "in_venv")
    machine.provision()
    assert not venv.exists()
    assert (machine.place / "in_venv").read_text() == "of the .venv"
    assert not (machine.place / "bin" / "mini").is_symlink()


def test_the_nodes_know_each_other_by_name(machine: Machine) -> None:
    machine.provision(*NODES)
    assert (machine.place / "hosts").read_text() == (
        "127.0.0.1 localhost\n::1 localhost ip6-localhost\n10.0.0.1 gateway\n"
        "192.168.56.11 node1  # a node of minicontainer\n192.168.56.12 node2  # a node of minicontainer\n"
    )


def test_a_second_time_changes_nothing(machine: Machine) -> None:
    first = machine.provision(*NODES), (machine.place / "hosts").read_text()
    assert (machine.provision(*NODES), (machine.place / "hosts").read_text()) == first


def test_other_addresses_take_the_place_of_the_old_ones(machine: Machine) -> None:
    machine.provision(*NODES)
    (machine.place / "address").write_text("10.77.0.1")
    machine.provision("10.77.0.1=node1")
    nodes = [line for line in (machine.place / "hosts").read_text().splitlines() if "minicontainer" in line]
    assert nodes == ["10.77.0.1 node1  # a node of minicontainer"]


@pytest.mark.parametrize("address", ["172.28.3.4", "192.168.56.1", "192.168.56.121"])
def test_a_machine_that_has_none_of_the_addresses_says_so_and_names_nobody(
    machine: Machine, address: str
) -> None:
    (machine.place / "address").write_text(address)
    _, said = machine.provision(*NODES)
    assert "has none of the addresses of 192.168.56.11=node1 192.168.56.12=node2" in said
    assert (machine.place / "hosts").read_text() == HOSTS


def test_a_checkout_that_cannot_be_written_to_is_copied_with_what_has_changed(machine: Machine) -> None:
    target, checkout = machine.place / "opt" / "minicontainer", machine.place / "checkout"
    for directory in (".git", ".venv", "minicontainer/__pycache__"):
        (checkout / directory).mkdir(parents=True)
    (checkout / "old").touch()
    machine.provision(mode="ro")
    assert sorted(path.name for path in target.iterdir()) == ["bootstrap", "minicontainer", "old"]
    assert not (target / "minicontainer" / "__pycache__").exists()
    (target / ".venv").mkdir()
    (checkout / "old").rename(checkout / "new")
    machine.provision(mode="ro")
    assert sorted(path.name for path in target.iterdir()) == [".venv", "bootstrap", "minicontainer", "new"]


def test_a_checkout_that_can_be_written_to_stays_where_it_is(machine: Machine) -> None:
    machine.provision()
    assert list((machine.place / "opt").iterdir()) == []


def test_a_failing_package_is_the_end(machine: Machine) -> None:
    (machine.place / "absent").write_text("jq\n")
    machine.write(machine.place / "sbin" / "apt-get", "#!/bin/sh\necho E: no such package\nexit 100\n")
    code, said = machine.provision(*NODES)
    assert code != 0
    assert "E: no such package" in said
    assert machine.lines("minicontainer.asked") == []


def test_it_needs_root_and_says_so() -> None:
    done = subprocess.run(
        ["unshare", "--user", "sh", GUEST / "provision.sh", "10.0.0.1=node1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"provision: this needs root: sudo sh {GUEST}/provision.sh 10.0.0.1=node1\n"


# --- the launchers -----------------------------------------------------------------------------


def test_the_launchers_are_filled_in_and_work(tmp_path: Path) -> None:
    program = tmp_path / "bin"
    program.mkdir()
    script = (
        'mount --bind "$1" /usr/local/bin && sh "$2" "$3" && /usr/local/bin/minicontainer-runtime --version'
    )
    done = subprocess.run(
        [*OTHER_WORLD, "sh", "-c", script, "sh", program, GUEST / "launchers.sh", CHECKOUT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("minicontainer-runtime ")
    texts = {path.name: path.read_text() for path in program.iterdir()}
    assert sorted(texts) == COMMANDS
    for command, text in texts.items():
        assert re.findall(r"@\w+@", text) == []
        assert f"# Start {command}: " in text
        assert f"mini_package={CHECKOUT}/minicontainer\n" in text
