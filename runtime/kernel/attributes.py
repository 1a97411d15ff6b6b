"""What a file has beside its content, and extended attributes where the file system has them."""

from __future__ import annotations

import errno
import os

OVERLAY = ("trusted.overlay.", "user.overlay.")
"""The marks of overlayfs itself, which mean nothing, or another thing, elsewhere."""
UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP)
UNKNOWN = 65534
"""The number of ids that have none in a user namespace (proc(5), /proc/sys/kernel/overflowuid)."""
NEEDED = "security.capability"
"""The attribute without which programs don't work; others are left out where the file system has none."""


def is_hosts(name: str) -> bool:
    """Say whether no stranger's archive may set it.

    Overlayfs's marks could make a layer point elsewhere; labels of SELinux, Smack, IMA and EVM are policy's to give.
    """
    return name.startswith(OVERLAY) or (name.startswith("security.") and name != NEEDED)


def put(where: int | bytes, name: str, value: bytes) -> None:
    """Set one, of an open file or of a path whose last component is not followed; raises OSError naming it."""
    try:
        if isinstance(where, int):
            os.setxattr(where, name, value)
        else:
            os.setxattr(where, name, value, follow_symlinks=False)
    except OSError as error:
        theirs = isinstance(error, PermissionError) and name.startswith("trusted.")  # a user namespace may not
        if not theirs and (error.errno not in UNSUPPORTED or name == NEEDED):
            raise OSError(error.errno, f"{name}: {error.strerror}") from None


def copy(source: int | bytes, target: int | bytes) -> None:
    """Give the target the source's, each an open file or a path whose last component is not followed."""
    follow = isinstance(source, int)
    try:
        names = os.listxattr(source, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return
    for name in names:
        if not name.startswith(OVERLAY):
            put(target, name, os.getxattr(source, name, follow_symlinks=follow))


def own(target: int | bytes, about: os.stat_result, *, user: bool = False) -> None:
    """Give a target an owner and a group; in a ``user`` namespace ids that have no number there stay as they are."""
    ids = (-1 if user and id_ == UNKNOWN else id_ for id_ in (about.st_uid, about.st_gid))
    os.chown(target, *ids)


def same(source: int, target: int, *, user: bool = False) -> None:
    """Give the open target the source's owner (``own``), mode, extended attributes and times."""
    about = os.fstat(source)
    own(target, about, user=user)
    os.fchmod(target, about.st_mode & 0o7777)
    copy(source, target)
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
