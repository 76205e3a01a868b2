"""The Vagrantfile: what Vagrant says of it, and what it overlooks: options, addresses, boxes, names."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.vagrant import known
from tests.vagrant.vagrantfile import CHECKOUT, NETWORK, addresses_of, calls_of, load, problems

pytestmark = pytest.mark.requires("tool:vagrant", "tool:ruby")

VAGRANTFILE = CHECKOUT / "Vagrantfile"
# Where Vagrant's source is: in the packages of Debian 12, of Debian 13, and of HashiCorp.
PLACES = (
    "usr/share/rubygems-integration/all/gems",
    "usr/lib/*/rubygems-integration/*/gems",
    "opt/vagrant/embedded/gems/*/gems",
)
SOURCES = [source for place in PLACES for source in Path("/").glob(f"{place}/vagrant-2*")]
NODES = range(1, 6)


@pytest.fixture
def changed(tmp_path: Path):
    """Give the calls of our Vagrantfile with one text replaced, which must be there."""

    def change(old: str, new: str, **variables: str):
        text = VAGRANTFILE.read_text()
        assert old in text
        (tmp_path / "Vagrantfile").write_text(text.replace(old, new))
        return calls_of(tmp_path / "Vagrantfile", **variables)

    return change


def values(name: str, **variables: str) -> set[object]:
    """What our Vagrantfile assigns to an option, wherever."""
    return {call.arguments[0] for call in calls_of(VAGRANTFILE, **variables) if call.name == f"{name}="}


@pytest.mark.parametrize("nodes", ["1", "5"])
def test_vagrant_finds_it_valid(nodes: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=CHECKOUT,
        env={
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(tmp_path),
            "VAGRANT_DOTFILE_PATH": str(tmp_path / "machines"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "NODES": nodes,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Vagrantfile validated successfully." in done.stdout
    assert done.stdout.count("Ignoring provider config") == int(nodes)


@pytest.mark.parametrize("nodes", NODES)
def test_what_vagrant_overlooks_is_right_too(nodes: int) -> None:
    assert problems(calls_of(VAGRANTFILE, NODES=str(nodes))) == []


@pytest.mark.parametrize("nodes", NODES)
def test_it_makes_as_many_nodes_as_it_is_asked_for(nodes: int) -> None:
    wanted = {f"node{number}": f"192.168.56.{10 + number}" for number in range(1, nodes + 1)}
    assert addresses_of(calls_of(VAGRANTFILE, NODES=str(nodes))) == wanted


def test_every_node_is_told_of_all_that_there_can_be() -> None:
    [told] = [call.options["args"] for call in calls_of(VAGRANTFILE) if call.name == "provision"]
    assert told == [f"192.168.56.{10 + number}=node{number}" for number in NODES]


def test_it_has_a_block_for_every_provider() -> None:
    calls = calls_of(VAGRANTFILE)
    assert {call.arguments[0] for call in calls if call.name == "provider"} == set(known.PROVIDERS)
    for provider in known.PROVIDERS:
        given = {c.option: c.arguments[0] for c in calls if c.on == f"config.vm.provider({provider})[0]"}
        assert (given["memory"], given["cpus"]) == (2048, 2)


def test_the_boxes_are_for_both_architectures_but_where_nobody_makes_one() -> None:
    boxes = {call.on: call.arguments[0] for call in calls_of(VAGRANTFILE) if call.name == "box="}
    assert {where: known.BOXES[box] for where, box in boxes.items()} == {
        "config.vm": {"amd64", "arm64"},
        "config.vm.provider(hyperv)[1].vm": {"amd64"},
    }


def test_memory_cpus_and_box_can_be_chosen() -> None:
    chosen = {"MEMORY": "4096", "CPUS": "3", "BOX": "bento/ubuntu-24.04"}
    assert values("memory", **chosen) == {4096}
    assert values("cpus", **chosen) == {3}
    assert values("box", **chosen) == {"bento/ubuntu-24.04"}


@pytest.mark.parametrize(
    ("name", "value", "range_"),
    [
        *(("NODES", value, "from 1 to 5") for value in ("0", "6", "-1", "three", "1.5", "3 4", "0x3", " ")),
        ("MEMORY", "511", "from 512 to 1048576"),
        ("MEMORY", "2G", "from 512 to 1048576"),
        ("CPUS", "0", "from 1 to 256"),
    ],
)
def test_a_number_that_is_none_is_one_clear_line(name: str, value: str, range_: str) -> None:
    done = load(VAGRANTFILE, **{name: value})
    assert done.returncode == 1
    assert done.stderr == f'Vagrantfile: {name} must be a whole number {range_}, not "{value}"\n'
    assert done.stdout == ""


def test_an_empty_variable_is_as_none() -> None:
    assert calls_of(VAGRANTFILE, NODES="", MEMORY="", CPUS="", BOX="") == calls_of(VAGRANTFILE)


def test_machines_that_exist_are_known_without_the_variable(tmp_path: Path) -> None:
    for name, provider in (("node1", "libvirt"), ("node3", "virtualbox")):
        place = tmp_path / "machines" / name / provider
        place.mkdir(parents=True)
        (place / "id").write_text("7")
    (tmp_path / "machines" / "node5" / "libvirt").mkdir(parents=True)  # deleted: it has no id any more
    assert len(addresses_of(calls_of(VAGRANTFILE, VAGRANT_DOTFILE_PATH=str(tmp_path)))) == 3


def test_the_page_about_machines_names_each_provider_and_variable() -> None:
    page = (CHECKOUT / "docs" / "machines.md").read_text().split("## Vagrant\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    variables = set(re.findall(r'(?:whole_number\.call\(|ENV\.fetch\()"(\w+)"', VAGRANTFILE.read_text()))
    assert set(listed) == {*known.PROVIDERS, *variables} - {"VAGRANT_DOTFILE_PATH"}


# --- our own lists and checks ------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["virtualbox", "hyperv"])
def test_the_list_of_a_provider_s_options_is_vagrant_s(provider: str) -> None:
    assert SOURCES, "this Vagrant has its source in a place that we do not know"
    source = (SOURCES[0] / "plugins" / "providers" / provider / "config.rb").read_text()
    found = set(re.findall(r"^\s*(?:attr_accessor :|def )(\w+)", source, re.MULTILINE))
    assert known.PROVIDERS[provider] - found - {"vm_integration_services"} == set()


def test_the_list_of_the_provisioner_s_options_is_vagrant_s() -> None:
    assert SOURCES, "this Vagrant has its source in a place that we do not know"
    source = (SOURCES[0] / "plugins" / "provisioners" / "shell" / "config.rb").read_text()
    common = {"after", "before", "preserve_order", "run", "type"}
    assert known.SHELL - common - set(re.findall(r"attr_accessor :(\w+)", source)) == set()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "p.memory, p.cpus, p.linked_clone = memory, cpus, true }",
            "p.memroy = memory }",
            "virtualbox has no such",
        ),
        (
            'provider("libvirt") { |p| p.memory',
            'provider("libvirt") { |p| p.ram',
            "libvirt has no such option",
        ),
        (
            'provider("parallels") { |p| p.memory',
            'provider("parallels") { |p| p.vmx',
            "parallels has no such option",
        ),
        (
            '"vmware_desktop") { |p| p.memory',
            '"vmware_desktop") { |p| p.memsize',
            "vmware_desktop has no such",
        ),
        ("override.vm.box =", "p.maxmem =", "hyperv has no such option"),
        ('provider("parallels")', 'provider("paralels")', "no such provider"),
        ('"192.168.56.#{10 + number}"', '"192.168.56.#{254 + number}"', "not an address for a machine"),
        ('"192.168.56.#{10 + number}"', '"192.168.56.#{255 + number}"', "Octet 256 (> 255) not permitted"),
        ('"192.168.56.#{10 + number}"', '"192.168.65.#{10 + number}"', "not an address for a machine"),
        ('"192.168.56.#{10 + number}"', '"192.168.56.#{0 + number}"', "not an address for a machine"),
        ('"192.168.56.#{10 + number}"', '"192.168.56.#{10 + 1}"', "192.168.56.11 twice"),
        ("ip: address.call(number)", "ipaddress: address.call(number)", "no such option: ipaddress"),
        ("ip: address.call(number)", "ip: address.call(number + 1)", "the script is not told that node1 is"),
        ('"private_network"', '"public_network"', "not a private network"),
        ("bento/debian-13", "bento/debian13", "nobody has looked at this box"),
        ('node.vm.hostname = "node#{number}"', 'node.vm.hostname = "node_#{number}"', "not a host's name"),
        (
            'node.vm.hostname = "node#{number}"',
            'node.vm.hostname = "mode#{number}"',
            "not the machine's name",
        ),
        ("rsync__exclude:", "rsync_exclude:", "no such option: rsync_exclude"),
        ('type: "rsync"', 'type: "nfs"', "only rsync works with every provider"),
        ('synced_folder ".", "/opt', 'synced_folder "..no", "/opt', "no such directory"),
        ("guest/provision.sh", "guest/provisioning.sh", "no such script in the checkout"),
        ("args: names", "arguments: names", "no such option: arguments"),
    ],
)
def test_a_mistake_is_found(changed, old: str, new: str, problem: str) -> None:
    assert any(problem in each for each in problems(changed(old, new, NODES="2")))


def test_the_check_of_addresses_knows_the_network() -> None:
    assert str(NETWORK) == "192.168.56.0/24"
