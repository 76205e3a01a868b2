"""Disks and huge pages: rates that hold, and pages that are not there.

Implements: runtime-spec config-linux.md "Block IO", "Huge page limits";
<Documentation/admin-guide/cgroup-v2.rst> "IO Interface Files", "HugeTLB".
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.limits.groups import MIB, Disk, counts, limited, stalled, with_python
from tests.runtime.bundles import bind
from tests.runtime.checks import accepts

if TYPE_CHECKING:
    from tests.runtime.bundles import Bundle, MakeBundle
    from tests.runtime.runtimes import Runtime

pytestmark = [pytest.mark.vm, pytest.mark.requires("root", "unified")]

HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
MAP = """
import mmap, sys
pages = mmap.mmap(-1, int(sys.argv[1]) << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)
for page in range(int(sys.argv[1])):
    pages[page << 21] = 1
print("mapped")
"""


def on_disk(make: MakeBundle, disk: Disk, **rates: int) -> Bundle:
    """Give a container that has the disk, with these rates."""
    major, minor = disk.numbers
    rows = {key: [{"major": major, "minor": minor, "rate": rate}] for key, rate in rates.items()}
    made = limited(make, blockIO=rows)
    made.mounts.append(bind(disk.place, "/mnt"))
    (made.rootfs / "mnt").mkdir()
    return made


def moved(group: Path, disk: Disk, key: str) -> int:
    """Read one counter of a disk in io.stat."""
    major, minor = disk.numbers
    rows = [line.split() for line in (group / "io.stat").read_text().splitlines()]
    words = next((row[1:] for row in rows if row[0] == f"{major}:{minor}"), [])
    return int(dict(word.split("=") for word in words).get(key, 0))


@pytest.mark.requires("controller:io", "loop")
def test_writing_keeps_to_its_rate_until_that_is_lifted(
    runtime: Runtime, bundle: MakeBundle, disk: Disk
) -> None:
    made = on_disk(bundle, disk, throttleWriteBpsDevice=MIB)
    name = runtime.sleeping(made)
    group = runtime.cgroup(made)
    write = ["dd", "if=/dev/zero", "of=/mnt/new", "bs=256k", "count=8", "oflag=direct"]
    start = time.monotonic()
    accepts(runtime.exec(name, *write))
    assert time.monotonic() - start > 1  # 2 MB at 1 MB a second, the first of them perhaps at once
    assert moved(group, disk, "wbytes") >= 2 * MIB
    assert stalled(group, "io") > 0
    major, minor = disk.numbers
    row = {"major": major, "minor": minor, "rate": 0}
    lift = json.dumps({"blockIO": {"throttleWriteBpsDevice": [row]}})
    accepts(runtime.call("update", "--resources", "-", name, text=lift))
    assert (group / "io.max").read_text() == ""
    waited = stalled(group, "io")
    accepts(runtime.exec(name, *write))
    assert stalled(group, "io") - waited < waited


@pytest.mark.requires("controller:io", "loop")
def test_reading_keeps_to_its_number_of_requests(runtime: Runtime, bundle: MakeBundle, disk: Disk) -> None:
    made = on_disk(bundle, disk, throttleReadIOPSDevice=10)
    (disk.place / "old").write_bytes(bytes(MIB))
    name = runtime.sleeping(made)
    start = time.monotonic()
    accepts(runtime.exec(name, "dd", "if=/mnt/old", "of=/dev/null", "bs=4k", "count=20", "iflag=direct"))
    assert time.monotonic() - start > 1  # 20 requests at 10 a second
    assert moved(runtime.cgroup(made), disk, "rios") >= 20


@pytest.fixture
def huge_pages() -> Iterator[None]:
    """Let the machine have four huge pages."""
    before = HUGE_PAGES.read_text()
    HUGE_PAGES.write_text("4")
    assert HUGE_PAGES.read_text() == "4\n"
    yield
    HUGE_PAGES.write_text(before)


@pytest.mark.requires("controller:hugetlb")
def test_no_more_huge_pages_than_allowed(runtime: Runtime, bundle: MakeBundle, huge_pages: None) -> None:
    made = limited(bundle, hugepageLimits=[{"pageSize": "2MB", "limit": 2 << 21}])
    name = runtime.sleeping(with_python(made))
    python = ["/usr/bin/python3", "-I", "-S", "-c", MAP]
    assert runtime.exec(name, *python, "2").stdout == "mapped\n"
    done = runtime.exec(name, *python, "3")
    if runtime.deviates("no-reserved-pages"):
        assert done.returncode == 135  # SIGBUS: the third page is promised, and not given
    else:
        assert "OSError: [Errno 12]" in done.stderr
    assert counts(runtime.cgroup(made), "hugetlb.2MB.events")["max"] > 0
