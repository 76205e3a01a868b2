"""Compiled seccomp filters, kept by the digest of what they were compiled from.

Compiling Docker's profile takes longer than starting a container; the same profile comes again and again. The
cache lies beside the containers' state, ends with the boot, and belongs to the one user who may write there.

See seccomp(2); docs/decisions for why the compiler is ours.
"""

from __future__ import annotations

from minicontainer.linux.numbers import machine
from minicontainer.linux.seccomp_flags import filter_flags
from minicontainer.oci.sha256 import sha256
from minicontainer.runtime.container import make_private_directories, read_file, write_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = "1"  # to be raised whenever the compiler's output for the same profile changes


def compiled_filter(seccomp: dict[str, Any], cache: str) -> tuple[bytes, int]:
    """Give the BPF program and the flags for a profile, from the cache directory or compiled now."""
    digest = sha256((FORMAT + machine + repr(seccomp)).encode("utf-8", "surrogatepass")).hexdigest()
    path = f"{cache}/{digest}"
    try:
        program = read_file(path)
    except FileNotFoundError:
        program = compile_and_keep(seccomp, cache, path)
    return program, filter_flags(seccomp)


def compile_and_keep(seccomp: dict[str, Any], cache: str, path: str) -> bytes:
    """Compile a profile and keep the program; two processes doing it at once write the same."""
    from minicontainer.linux.seccomp_compiler import compile_filter

    program = compile_filter(seccomp, machine)
    try:
        make_private_directories(cache)
        write_at_once(path, program)
    except OSError:
        return program  # a cache that cannot be written costs time, nothing else
    return program
