"""The development container for Codespaces: names that its specification knows, and files that are here."""

from __future__ import annotations

import json
import re

from tests.vagrant.vagrantfile import CHECKOUT

# containers.dev, "Dev Container metadata reference": general properties, those of images, life cycle scripts.
KNOWN = set(
    "capAdd containerEnv containerUser customizations features forwardPorts hostRequirements image init "
    "mounts name onCreateCommand overrideCommand portsAttributes postAttachCommand postCreateCommand "
    "postStartCommand privileged remoteEnv remoteUser runArgs securityOpt shutdownAction "
    "updateContentCommand updateRemoteUserUID userEnvProbe waitFor workspaceFolder workspaceMount".split()
)


def test_the_development_container_has_only_names_that_are_known() -> None:
    container = json.loads((CHECKOUT / ".devcontainer" / "devcontainer.json").read_text())
    assert set(container) <= KNOWN
    assert container["privileged"] is True
    first, second = container["postCreateCommand"].split(" && ")
    assert (CHECKOUT / first).is_file()
    assert re.fullmatch(r"\.venv/bin/minicontainer doctor", second)
