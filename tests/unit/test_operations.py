"""What the kernel gets from the handlers whatever happens in them."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from lxcfs_py.counters import ERRORS, FILES_AT, REQUESTS
from lxcfs_py.fuse.boundary import boundary
from lxcfs_py.fuse.operations import Operations


def run(coroutine: Any) -> int:
    """Run a handler that does not wait; return the errno it ends with."""
    with pytest.raises(pyfuse3.FUSEError) as caught:
        coroutine.send(None)
    return int(caught.value.errno)


@pytest.mark.parametrize(
    ("error", "code", "lines", "errors"),
    [
        (OSError(errno.EACCES, "denied"), errno.EACCES, 1, 1),
        (OSError("no number"), errno.EIO, 1, 1),
        (KeyError("x"), errno.EIO, 1, 1),
        (RecursionError(), errno.EIO, 1, 1),
        (pyfuse3.FUSEError(errno.ESTALE), errno.ESTALE, 0, 1),
        (pyfuse3.FUSEError(errno.ENOENT), errno.ENOENT, 0, 0),
    ],
)
def test_nothing_passes_the_boundary(error: Exception, code: int, lines: int, errors: int) -> None:
    """Whatever a handler raises becomes an errno, and is counted; what was not meant as one is logged."""
    logged: list[Any] = []

    def read(_self: Operations) -> None:
        raise error

    asked: Any = SimpleNamespace(log=lambda *about: logged.append(about), words=[0] * FILES_AT)
    assert run(boundary(read)(asked)) == code
    assert len(logged) == lines
    assert (asked.words[REQUESTS], asked.words[ERRORS]) == (1, errors)


def test_every_handler_has_the_boundary() -> None:
    """No handler is without it: one exception would end the mount."""
    handlers = {name: each for name, each in vars(Operations).items() if name in vars(pyfuse3.Operations)}
    plain = [name for name, each in handlers.items() if callable(each) and not hasattr(each, "__wrapped__")]
    assert set(plain) <= {"__init__"}
    assert {"lookup", "getattr", "readdir", "flush", "statfs"} <= set(handlers)


def test_flush_is_no_request() -> None:
    """FLUSH is answered with ENOSYS: the kernel then leaves it out for ever."""
    operations: Any = SimpleNamespace(words=[0] * FILES_AT)
    assert run(Operations.flush(operations, 1)) == errno.ENOSYS
