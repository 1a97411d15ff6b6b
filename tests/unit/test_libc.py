"""Functions of the C library, called without ctypes' front."""

from __future__ import annotations

import errno
import os

import pytest

from lxcfs_py import libc


def test_numbers_reach_the_function_whole() -> None:
    """A size of more than 32 bits is not cut, and no pointer is NULL."""
    assert libc.call("strnlen", b"abc", 1 << 33) == 3
    assert libc.call("getenv", b"no such variable of ours") == 0


def test_a_negative_number() -> None:
    """It is what an int of C has."""
    assert libc.call("abs", -7) == 7


def test_a_buffer_is_written_by_the_kernel() -> None:
    """What a call leaves in memory is there to be read."""
    found = libc.buffer(64)
    assert libc.checked(libc.call("gethostname", found, 64), "gethostname") == 0
    assert found.raw.rstrip(b"\0").decode() == os.uname().nodename
    assert libc.buffer(b"a\0b").raw == b"a\0b"
    assert libc.buffer(b"").raw == b""


def test_an_error_names_the_call_and_the_path() -> None:
    """It is an OSError of the kind Python has for its number."""
    with pytest.raises(FileNotFoundError) as caught:
        libc.checked(libc.call("rmdir", b"/nosuch"), "rmdir", "/nosuch")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "/nosuch")
    assert "rmdir: No such file" in str(caught.value)
