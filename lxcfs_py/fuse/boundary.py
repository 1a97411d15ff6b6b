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


def bounded(handler: Callable[Concatenate[Operations, P], R], name: str) -> Callable[Concatenate[Operations, P], R]:
    """Return a handler that raises FUSEError only: whatever else goes wrong is an errno and a line of the log.

    The request is counted, and that it is being answered is seen from outside.
    """
    opcode, now_nsec = OPCODES[name], time.monotonic_ns

    def guarded(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> R:
        words = self.words
        words[OPCODE] = opcode
        words[BUSY_SINCE_NSEC] = now_nsec()
        words[REQUESTS] += 1
        try:
            return handler(self, *args, **kwargs)
        except pyfuse3.FUSEError as error:
            words[ERRORS] += error.errno not in ANSWERS
            raise
        except MemoryError:  # one with memory takes our place, and is asked again
            os._exit(EXHAUSTED)
        except OSError as error:
            words[ERRORS] += 1
            self.log(name, "", error, 0)
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except Exception as error:  # noqa: BLE001  (it would end the mount)
            words[ERRORS] += 1
            self.log(name, "", error, 0)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return guarded


def boundary(
    handler: Callable[Concatenate[Operations, P], R],
) -> Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]:
    """Make a function pyfuse3's handler, which is ``bounded``."""
    plain = bounded(handler, handler.__name__)

    async def awaited(self: Operations, *args: P.args, **kwargs: P.kwargs) -> R:
        return plain(self, *args, **kwargs)

    return cast("Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]", functools.wraps(handler)(awaited))
