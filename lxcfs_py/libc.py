"""Calls functions of the C library that Python has no name for.

By ``_ctypes`` alone, what ctypes itself is made on: what that has for people costs a start 1.5 ms. The interpreter's
lock is kept meanwhile: nothing else runs, and no lock is handed around a fork.
"""

from __future__ import annotations

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Array = _ctypes.Array[Any]
    Argument = int | bytes | None | Array


# _SimpleCData takes a parameter in typeshed alone.
class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """What functions return."""

    _type_ = "i"


class _Word(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """An argument: a whole register, in which C finds an int as well."""

    _type_ = "L"


class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """What a buffer is made of."""

    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    """A function of C."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


_library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is the program itself
_found: dict[str, _Function] = {}
error_number = _ctypes.get_errno
"""Return the errno of the last call."""
address = _ctypes.addressof
"""Return where a buffer is."""


def call(name: str, *arguments: Argument) -> int:
    """Call a function that takes numbers and pointers and returns an int."""
    function = _found.get(name) or _found.setdefault(name, _Function(_ctypes.dlsym(_library, name)))
    return int(function(*[_Word(given) if type(given) is int else given for given in arguments]))


def syscall(number: int, *arguments: Argument) -> int:
    """Make a system call, see syscall(2)."""
    return call("syscall", number, *arguments)


def buffer(content: int | bytes) -> Array:
    """Return memory the kernel can read and write: so many zeros, or this content; ``raw`` are its bytes."""
    if isinstance(content, int):
        return (_Char * content)()
    return (_Char * len(content)).from_buffer_copy(content)


def checked(result: int, what: str, path: str = "") -> int:
    """Return what a call returned; raises OSError naming the call, and the path if there is one, if it failed."""
    if result < 0:
        number = error_number()
        raise OSError(number, f"{what}: {os.strerror(number)}", path or None)
    return result
