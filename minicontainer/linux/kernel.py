"""The door to the kernel.

Every change that minicontainer makes to the machine goes through a function marked `@kernel_call`. The mark
gives it two things: a refused call raises `KernelError` with its arguments, and whoever watches is told of
each call. The wrappers call libc's syscall(2): through bare_python.c where that runs us, else through the C
core of ctypes, because importing ctypes itself costs 3 ms.

libffi passes integers as C ints, sign-extended: wrap what may not fit into 32 bits with `long`.

See syscalls(2), syscall(2), errno(3).
"""

from __future__ import annotations

import sys

from minicontainer.errors import KernelError
from minicontainer.trace.events import steps, witnesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


CHILD = (0, -1)  # what clone3 answers in the child: it is one call, and told by the parent alone

if "_bare" in sys.builtin_module_names:
    import _bare

    syscall: Any = _bare.syscall
    last_errno: Callable[[], int] = _bare.last_error
    address: Callable[[Any], int] = _bare.address
    long = int
    buffer: Callable[[int], Any] = bytearray
    keep: Callable[[bytes], Any] = bytearray

    def pointer(data: bytes) -> bytes:
        """Write a pointer to `data`, as structures hold it. The caller keeps the data alive."""
        return u64(address(data))

else:
    import _ctypes

    class long(_ctypes._SimpleCData):  # type: ignore[no-redef, type-arg] # noqa: N801 - named as the C type
        """A C long: wide enough for an address or a 64-bit flag word."""

        _type_ = "l"

    class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "c"

    class _Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "z"

    class _Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = long

    _libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None: the program itself
    syscall = _Function(_ctypes.dlsym(_libc, "syscall"))
    last_errno, address = _ctypes.get_errno, _ctypes.addressof
    _buffer_types: dict[int, Any] = {}

    def buffer(size: int) -> Any:
        """Make a zeroed block of `size` bytes that the kernel may write to; `bytes(block)` reads it back."""
        kind = _buffer_types.get(size)
        if kind is None:
            kind = type(f"char[{size}]", (_ctypes.Array,), {"_length_": size, "_type_": _Char})
            _buffer_types[size] = kind
        return kind()

    def pointer(data: bytes) -> bytes:
        """Write a pointer to `data`, as structures hold it. The caller keeps the data alive."""
        return bytes(_Text(data))

    def keep(data: bytes) -> Any:
        """Copy bytes into a block with an address; the caller keeps the block alive."""
        block = buffer(len(data))
        block.raw = data
        return block


def check(result: int) -> int:
    """Turn the C convention (-1 and errno) into the Python one (an exception)."""
    if result < 0:
        raise OSError(last_errno(), "")
    return result


def u32(*numbers: int) -> bytes:
    """Pack unsigned 32-bit integers, native byte order (every supported machine is little-endian)."""
    return b"".join([(number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers])


def u64(*numbers: int) -> bytes:
    """Pack unsigned 64-bit integers."""
    return b"".join([(number & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little") for number in numbers])


def kernel_call(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a thin wrapper around one system call; it is told to the witnesses under the function's name."""
    name = function.__name__

    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            result = function(*arguments, **named)
        except OSError as problem:
            number = problem.errno or 0
            told = arguments + tuple(named.values())
            for witness in witnesses:
                witness.called(name, told, None, number)
            raise KernelError(number, name, told, steps[-1] if steps else "") from None
        if witnesses and result is not CHILD:
            told = arguments + tuple(named.values())
            for witness in witnesses:
                witness.called(name, told, result, 0)
        return result

    call.__wrapped__ = function  # type: ignore[attr-defined]
    call.__name__ = name
    call.__doc__ = function.__doc__
    call.__module__ = function.__module__
    call.__qualname__ = function.__qualname__
    return call
