"""What is counted where no time can be taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.counts import Count, count_lines, faulted, modules, traced

# strace -ff -s 0, cut short
LOG = """\
execve("/bin/true", ["/bin/true"], 0x7ffd6c0c7b48 /* 9 vars */) = 0
openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3
read(3, ""..., 832)                     = 832
pread64(3, ""..., 784, 64)              = 784
openat(AT_FDCWD, "/none", O_RDONLY)     = -1 ENOENT (No such file or directory)
mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f5c1e1c5000
write(1, ""..., 6)                      = 6
read(0, 0x7ffd, 10)                     = -1 EAGAIN (Resource temporarily unavailable)
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---
exit_group(0)                           = ?
+++ exited with 0 +++
"""


def test_the_calls_of_one_process_are_counted() -> None:
    assert count_lines(LOG) == Count(calls=9, files=1, read=1616, written=6)


def test_counts_can_be_added() -> None:
    assert Count(1, 2, 3, 4, 5) + Count(10, 20, 30, 40, 50) == Count(11, 22, 33, 44, 55)


@pytest.mark.requires("tool:strace")
def test_every_process_of_a_command_counts(tmp_path: Path) -> None:
    shell = str(shutil.which("sh"))
    one = traced([shell, "-c", "echo 12345 > out"], str(tmp_path))
    two = traced([shell, "-c", "(echo 12345 > out; echo 12345 > out); :"], str(tmp_path))
    assert (one.written, two.written) == (6, 12)
    assert two.calls > one.calls > 10
    assert two.files == one.files + 1


def test_page_faults_are_counted_and_a_failure_is_no_count() -> None:
    assert faulted([str(shutil.which("true"))]).faults > 10
    with pytest.raises(RuntimeError, match="status"):
        faulted([str(shutil.which("false"))])


def test_the_modules_of_each_family_are_counted() -> None:
    found = modules()
    assert found["minicontainer run"] > found["create"] > found["start"] > 5
