"""The boundary around every handler: what goes wrong in one is an errno and a line of the log, never more."""

from __future__ import annotations

import errno
import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lxcfs_py.fuse.operations import Operations

P = ParamSpec("P")
R = TypeVar("R")


def boundary(
    handler: Callable[Concatenate[Operations, P], R],
) -> Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]:
    """Make a function pyfuse3's handler, and turn whatever goes wrong into an errno and a line of the log.

    An exception would end the mount.
    """

    async def guarded(self: Operations, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except OSError as error:
            self.log(handler.__name__, "", error, 0)
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except Exception as error:  # noqa: BLE001  (see above)
            self.log(handler.__name__, "", error, 0)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return cast("Callable[Concatenate[Operations, P], Coroutine[Any, Any, R]]", functools.wraps(handler)(guarded))
