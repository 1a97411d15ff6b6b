"""The boundary around every handler: what goes wrong in one is an errno and a line of the log, never more."""

from __future__ import annotations

import errno
import functools
import os
import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3

from lxcfs_py.counters import BUSY_SINCE_NSEC, ERRORS, OPCODE, OPCODES, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lxcfs_py.fuse.operations import Operations

ANSWERS = (errno.ENOENT, errno.ENOSYS)
"""That there is no such file or request is no error, and not counted as one."""

EXHAUSTED = 12
"""The exit status of a worker that has no memory left for an answer."""

P = ParamSpec("P")
R = TypeVar("R")


def number(operations: Operations, name: str, error: Exception) -> int:
    """Return the errno that a handler's exception is answered with; it is counted, and logged unless it was meant."""
    words = operations.words
    if isinstance(error, pyfuse3.FUSEError):
        words[ERRORS] += error.errno not in ANSWERS
        return int(error.errno)
    if isinstance(error, MemoryError):  # one with memory takes our place, and is asked again
        os._exit(EXHAUSTED)
    words[ERRORS] += 1
    operations.log(name, "", error, 0)
    return (error.errno if isinstance(error, OSError) else 0) or errno.EIO


def boundary(
    handler: Callable[Concatenate[Operations, P], R],
) -> Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]:
    """Make a function pyfuse3's handler, which raises FUSEError only.

    The request is counted, and that it is being answered is seen from outside.
    """
    name = handler.__name__
    opcode = OPCODES[name]

    async def awaited(self: Operations, *args: P.args, **kwargs: P.kwargs) -> R:
        words = self.words
        words[OPCODE] = opcode
        words[BUSY_SINCE_NSEC] = time.monotonic_ns()
        words[REQUESTS] += 1
        try:
            return handler(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  (it would end the mount)
            raise pyfuse3.FUSEError(number(self, name, error)) from None

    return cast("Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]", functools.wraps(handler)(awaited))
