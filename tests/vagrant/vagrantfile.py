"""A Vagrantfile as the list of the calls that it makes, and what is wrong with them that Vagrant overlooks.

    Vagrantfile --record.rb--> JSON --calls_of--> [Call, ...] --problems--> ["config.vm.box= ...", ...]

`problems` knows nothing of our own Vagrantfile but its network, which VirtualBox allows unasked.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.vagrant import known

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
NETWORK = ipaddress.IPv4Network("192.168.56.0/24")
PROVIDER = re.compile(r"config\.vm\.provider\((\w+)\)\[0\]")
NODE = re.compile(r"config\.vm\.define\((.*)\)\[0\]\.vm")
HOSTNAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
SCRIPT = re.compile(r"/opt/minicontainer/(\S+)")


@dataclass(frozen=True)
class Call:
    """One call: `config.vm.box = "x"` is box= on config.vm with one argument."""

    on: str
    name: str
    arguments: list[Any]

    @property
    def option(self) -> str:
        return self.name.removesuffix("=")

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments."""
        return self.arguments[-1] if self.arguments and isinstance(self.arguments[-1], dict) else {}

    def __str__(self) -> str:
        return f"{self.on}.{self.name} {self.arguments}"


def load(vagrantfile: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a Vagrantfile, with no variables but these."""
    return subprocess.run(
        ["ruby", HERE / "record.rb", vagrantfile],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def calls_of(vagrantfile: Path, **variables: str) -> list[Call]:
    """Give the calls of a Vagrantfile that must load without a word."""
    done = load(vagrantfile, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return [Call(each["on"], each["call"], each["arguments"]) for each in json.loads(done.stdout)]


def addresses_of(calls: list[Call]) -> dict[str, str]:
    """Give the address of each node that has one."""
    return {
        match[1]: call.options.get("ip", "")
        for call in calls
        if (match := NODE.fullmatch(call.on)) and call.name == "network"
    }


def problems(calls: list[Call]) -> list[str]:
    """Say what is wrong, in one line each."""
    found = [f"{call}: {what}" for call in calls for what in problems_of(call)]
    addresses = list(addresses_of(calls).values())
    found += [f"{each} twice" for each in sorted(set(addresses)) if addresses.count(each) > 1]
    return found + list(problems_of_names(calls))


def problems_of(call: Call) -> Iterator[str]:
    """Look at one call alone."""
    if match := PROVIDER.fullmatch(call.on):
        if call.option not in known.PROVIDERS.get(match[1], set()):
            yield f"{match[1]} has no such option"
    elif call.name == "provider" and call.arguments[0] not in known.PROVIDERS:
        yield "no such provider"
    elif call.name in CHECKS:
        yield from CHECKS[call.name](call)


def problems_of_network(call: Call) -> Iterator[str]:
    if call.arguments[0] != "private_network":
        yield "not a private network"
    yield from unknown(call, known.PRIVATE_NETWORK)
    try:
        address = ipaddress.IPv4Address(call.options.get("ip", ""))
    except ValueError as problem:
        yield str(problem)
        return
    if address not in NETWORK or address in {NETWORK[0], NETWORK[1], NETWORK[-1]}:
        yield f"not an address for a machine of {NETWORK}"


def problems_of_folder(call: Call) -> Iterator[str]:
    yield from unknown(call, known.SYNCED_FOLDER)
    if call.options.get("disabled"):
        return
    if call.options.get("type") != "rsync":
        yield "only rsync works with every provider"
    if not (CHECKOUT / call.arguments[0]).is_dir():
        yield "no such directory"


def problems_of_provisioner(call: Call) -> Iterator[str]:
    if call.arguments[0] != "shell":
        yield "not the shell provisioner"
    yield from unknown(call, known.SHELL)
    scripts = SCRIPT.findall(call.options.get("inline", ""))
    if not scripts or not all((CHECKOUT / each).is_file() for each in scripts):
        yield "no such script in the checkout"


def problems_of_box(call: Call) -> Iterator[str]:
    if call.arguments[0] not in known.BOXES:
        yield "nobody has looked at this box"


def problems_of_hostname(call: Call) -> Iterator[str]:
    if not HOSTNAME.fullmatch(call.arguments[0]):
        yield "not a host's name"
    if (node := NODE.fullmatch(call.on)) and node[1] != call.arguments[0]:
        yield "not the machine's name"


def problems_of_names(calls: list[Call]) -> Iterator[str]:
    """The provisioning script is told the address of each node, and the right one."""
    told = [word for call in calls if call.name == "provision" for word in call.options.get("args", [])]
    for name, address in addresses_of(calls).items():
        if f"{address}={name}" not in told:
            yield f"the script is not told that {name} is {address}"


def unknown(call: Call, names: set[str]) -> Iterator[str]:
    yield from (f"no such option: {each}" for each in call.options if each not in names)


CHECKS = {
    "box=": problems_of_box,
    "hostname=": problems_of_hostname,
    "network": problems_of_network,
    "provision": problems_of_provisioner,
    "synced_folder": problems_of_folder,
}
