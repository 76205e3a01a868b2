"""What the runtime executes at every start imports none of the modules that cost milliseconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import minicontainer

PROBE = """
import sys
bare = set(sys.modules)
sys.path.insert(0, {root!r})
from minicontainer.oci import check, example, identifier, json_text, sysctls
from minicontainer.trace import json_lines
config = json_text.loads(json_lines.dumps(example.example_config()))
check.check_config(config)
identifier.check_id("web")
sysctls.check_sysctls(["net.ipv4.ip_forward"], ["network"])
sys.stdout.write(" ".join(sorted(set(sys.modules) - bare)))
"""
OURS = {"minicontainer", "minicontainer.errors", "minicontainer.oci"}
ALLOWED = {"__future__", "_json", *OURS, "minicontainer.trace", "minicontainer.trace.json_lines"} | {
    f"minicontainer.oci.{name}"
    for name in (
        *("check", "check_linux", "example", "identifier", "json_text"),
        *("schema", "schema_resources", "shape", "sysctls", "words"),
    )
}


def test_checking_a_right_config_imports_only_the_quick_modules() -> None:
    root = str(Path(minicontainer.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-c", PROBE.format(root=root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == ALLOWED
