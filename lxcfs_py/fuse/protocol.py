"""The few FUSE messages the daemon itself reads and writes; pure functions over bytes.

Everything else of the protocol is libfuse's. Source: include/uapi/linux/fuse.h and
https://www.kernel.org/doc/html/latest/filesystems/fuse.html
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

OPCODE_INIT = 26
LOOKUP, OPEN, READ, RELEASE, INTERRUPT = 1, 14, 15, 18, 36
NOTIFY_RESEND = 7
RESENT = 1 << 63
"""In the number of a request that is asked again (FUSE_UNIQUE_RESEND)."""
DIRECT_IO = 1
"""Of an open file: no page cache."""
MAX_WRITE_BYTES = 32 * 4096
"""What libfuse offers a kernel without FUSE_MAX_PAGES; a buffer for any request is this and a page more."""
REQUEST_BYTES = MAX_WRITE_BYTES + 4096
UNIQUE_OFFSET = 8
"""Where a request's header holds its number (u64)."""

# What the workers honour: atomic O_TRUNC, readdirplus always (pyfuse3 has no plain readdir), parallel look-ups
# in one directory. No splice, no write cache, no locks, no ioctl: nothing here could use them.
_ATOMIC_O_TRUNC, _DO_READDIRPLUS, _PARALLEL_DIROPS, _INIT_EXT = 1 << 3, 1 << 13, 1 << 18, 1 << 30
_WANTED = _ATOMIC_O_TRUNC | _DO_READDIRPLUS | _PARALLEL_DIROPS
_NO_EXPORT = 1 << 38
"""No open_by_handle_at(2): by an inode's number it reaches what a look-up refuses (kernel 6.9, as is resending)."""
_HAS_RESEND = 1 << 39

_IN_HEADER = struct.Struct("=IIQQIIIHH")
_OUT_HEADER = struct.Struct("=IiQ")
_OPEN_OUT = struct.Struct("=IiQQII")
_ASKED = struct.Struct("=4xIQQ8xI")
_BODY_AT = _IN_HEADER.size
_BODY = struct.Struct("=QQII")
FOR_PROCESS = 2
"""In the flags of READ: a process's names the owner of its locks, the page cache's does not (fs/fuse/file.c)."""
_INIT_IN = struct.Struct("=IIIII44x")
_INIT_OUT = struct.Struct("=IIIIHHIIHHII24x")

# Below 7.14 libfuse never splices requests through a pipe, which costs a small request a second system call
# and can't be done from a socket; every message it builds has had the same shape since 7.9.
_WORKER_MINOR = 13


class Init(Record):
    """A kernel's FUSE_INIT request."""

    unique: int
    major: int
    minor: int
    max_readahead: int
    flags: int

    @property
    def has_resend(self) -> bool:
        """Whether requests of a dead worker can be asked again (kernel 6.9 and later)."""
        return bool(self.flags & _HAS_RESEND)


def parse_init(request: bytes) -> Init:
    """Return the kernel's FUSE_INIT request; ValueError if it is another one."""
    if len(request) < _IN_HEADER.size + 16:
        raise ValueError(f"a FUSE request of {len(request)} bytes can't be FUSE_INIT")
    _length, opcode, unique, *_ = _IN_HEADER.unpack_from(request)
    if opcode != OPCODE_INIT:
        raise ValueError(f"the first FUSE request has opcode {opcode}, not FUSE_INIT")
    body = request[_IN_HEADER.size :].ljust(_INIT_IN.size, b"\0")
    major, minor, readahead, flags, flags2 = _INIT_IN.unpack_from(body)
    return Init(unique, major, minor, readahead, flags | (flags2 << 32 if flags & _INIT_EXT else 0))


def init_reply(init: Init) -> bytes:
    """Return the answer for the kernel: what it offers of what the workers honour."""
    background, congestion = 64, 48
    minor = min(init.minor, 31)
    flags = init.flags & (_WANTED | _NO_EXPORT)
    if flags >> 32:
        flags |= _INIT_EXT
    words = (7, minor, init.max_readahead, flags & 0xFFFFFFFF, background, congestion, MAX_WRITE_BYTES, 1, 0, 0)
    body = _INIT_OUT.pack(*words, flags >> 32, 0)
    return _OUT_HEADER.pack(_OUT_HEADER.size + len(body), 0, init.unique) + body


def worker_init(init: Init) -> bytes:
    """Return the FUSE_INIT request for a worker's libfuse: a kernel that offers just what was agreed."""
    body = struct.pack("=IIII", 7, _WORKER_MINOR, init.max_readahead, init.flags & _WANTED)
    return request(OPCODE_INIT, init.unique, 0, 0, body)


def request(opcode: int, unique: int, inode: int, pid: int, body: bytes) -> bytes:
    """Return a request as root's process ``pid`` makes it."""
    return _IN_HEADER.pack(_IN_HEADER.size + len(body), opcode, unique, inode, 0, 0, pid, 0, 0) + body


def open_body(flags: int) -> bytes:
    """Return what OPEN says."""
    return struct.pack("=II", flags, 0)


def read_body(handle: int, offset: int, size: int) -> bytes:
    """Return what READ says for a process."""
    return struct.pack("=QQII16x", handle, offset, size, FOR_PROCESS)


def release_body(handle: int) -> bytes:
    """Return what RELEASE says."""
    return struct.pack("=Q16x", handle)


def answer(reply: bytes) -> bytes:
    """Return what a reply that is a success says."""
    return reply[_OUT_HEADER.size :]


def reply_error(reply: bytes) -> int:
    """Return the errno of a reply, 0 if it is a success; EPROTO for something shorter than a header."""
    return -int(_OUT_HEADER.unpack_from(reply)[1]) if len(reply) >= _OUT_HEADER.size else 71


asked: Callable[[memoryview], tuple[int, int, int, int]] = _ASKED.unpack_from
"""Return a request's opcode and number, the inode it is about and the process that asks."""


def handle(request: memoryview) -> int:
    """Return the handle of RELEASE or READ."""
    return int.from_bytes(request[_BODY_AT : _BODY_AT + 8], sys.byteorder)


def reading(request: memoryview) -> tuple[int, int, int, int]:
    """Return the handle, the offset, the size and the flags of READ."""
    return _BODY.unpack_from(request, _BODY_AT)


def flags(request: memoryview) -> int:
    """Return the flags of OPEN."""
    return int.from_bytes(request[_BODY_AT : _BODY_AT + 4], sys.byteorder)


def opened(unique: int, handle: int) -> bytes:
    """Return the reply to OPEN: a file without page cache."""
    return _OPEN_OUT.pack(_OPEN_OUT.size, 0, unique, handle, DIRECT_IO, 0)


def success(unique: int, data: bytes = b"") -> bytes:
    """Return the reply that says ``data``."""
    return _OUT_HEADER.pack(_OUT_HEADER.size + len(data), 0, unique) + data


def error(unique: int, number: int) -> bytes:
    """Return the reply that fails request ``unique`` with errno ``number``."""
    return _OUT_HEADER.pack(_OUT_HEADER.size, -number, unique)


def resend() -> bytes:
    """Return the notification that makes the kernel ask all unanswered requests again."""
    return _OUT_HEADER.pack(_OUT_HEADER.size, NOTIFY_RESEND, 0)
