"""Files by name in a directory that somebody else may be changing: each is looked at first, and then used as seen.

To open a device by its name can do things, a fifo holds up who opens it, and a link leads anywhere: whoever swaps
one in after the look gains nothing (CVE-2018-15664 and its kind).
"""

from __future__ import annotations

import errno
import os


def look(name: str | bytes, directory: int) -> int:
    """Return a descriptor of what has the name, a link itself too, that can do nothing but be looked at."""
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def read(place: int) -> int:
    """Open what was looked at for reading; raises OSError if it is no regular file (any more)."""
    if os.fstat(place).st_mode & 0o170000 != 0o100000:  # S_IFMT, S_IFREG
        raise FileNotFoundError(errno.ENOENT, "another is there now")
    path = f"/proc/self/fd/{place}"
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        error.filename = os.readlink(path)  # what people know it by
        raise


def change_mode(name: str | bytes, directory: int, mode: int) -> None:
    """Set the mode of what has the name, which is no link (chmod(2) follows them, and has no way not to)."""
    place = look(name, directory)
    try:
        os.chmod(f"/proc/self/fd/{place}", mode)
    finally:
        os.close(place)
