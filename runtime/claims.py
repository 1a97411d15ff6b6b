"""Who makes a container claims its name; what is claimed and has nobody's lock was given up half made."""

from __future__ import annotations

import errno
import os

from lxcfs_py.errors import Error
from runtime import state
from runtime.errors import RunError
from runtime.kernel import syscalls
from runtime.state import CLAIMED

NEW = ".new."
"""What the name of a directory that is being claimed begins with."""


def taken(root: str, id_: str) -> RunError:
    """Return the Error for a name that is in use."""
    if other := state.leads(root, id_):
        return RunError(
            f"the name {id_!r} is not free yet: container {other!r} was started by it", "wait for its end, or stop it"
        )
    return RunError(f"the name {id_!r} is taken", f"choose another, or remove it with pyproc rm {id_}")


def claim(root: str, id_: str) -> int:
    """Make ``ROOT/ID``, lock it and return the lock; raises an Error if the name is taken.

    The directory gets its name when it is locked and no longer empty, so that whoever has the name has the lock,
    and nobody else can take either. The lock is held until the container runs: an unlocked container without a
    process was given up half made.
    """
    os.makedirs(root, mode=0o711, exist_ok=True)
    new = f"{NEW}{id_}.{os.getpid()}"
    os.mkdir(f"{root}/{new}", 0o700)
    held = state.lock(root, new)
    try:
        os.mkdir(f"{root}/{new}/{CLAIMED}")
        os.rename(f"{root}/{new}", f"{root}/{id_}")
    except OSError as error:
        os.rmdir(f"{root}/{new}/{CLAIMED}")
        os.rmdir(f"{root}/{new}")
        os.close(held)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise taken(root, id_) from None
    return held


def abandoned(root: str, now_seconds: float) -> list[str]:
    """Return the directories of claims whose maker has gone, or that were cut off a minute ago or earlier."""
    try:
        names = [name for name in os.listdir(root) if name.startswith(NEW)]
        return [
            f"{root}/{name}"
            for name in names
            if not os.path.exists(f"/proc/{name.rpartition('.')[2]}")
            or os.stat(f"{root}/{name}").st_mtime < now_seconds - 60
        ]
    except OSError:
        return []


def loose(root: str, now_seconds: float) -> list[str]:
    """Return the names that nobody is known by, of renamings or endings that were cut off a minute ago or earlier."""
    try:
        links = [entry for entry in os.scandir(root) if entry.is_symlink()]
        old = [entry for entry in links if entry.stat(follow_symlinks=False).st_mtime < now_seconds - 60]
    except OSError:
        return []
    return [entry.path for entry in old if not _leads(root, entry.name)]


def _leads(root: str, name: str) -> bool:
    """Say whether a former name leads to who was started by it and has not ended since."""
    if not os.path.exists(f"{root}/{name}"):
        return False
    try:
        return bool(state.load(root, name).began_as)
    except Error:
        return True  # nobody knows


def settle(directory: str) -> None:
    """Note that nobody has to look whether the maker of a container was killed."""
    try:
        os.rmdir(f"{directory}/{CLAIMED}")
    except FileNotFoundError:
        return


def unsettled(root: str) -> tuple[str, ...]:
    """Return the ids of those whose maker, or remover, may have been killed: of thousands that run there are few."""
    exists = os.path.exists
    return tuple(
        i for i in state.ids(root) if exists(f"{root}/{i}/{CLAIMED}") or not exists(f"{root}/{i}/state.json")
    )


def rename(directory: str, old: str, new: str) -> None:
    """Let what is in a directory have another name at once; the former one leads there until ``forget``.

    Who knows a container by its former name, as its holder, finds it; and nobody else gets that name meanwhile, whose
    cgroup would be this one's.
    """
    path = f"{directory}/{new}"
    try:
        os.symlink(new, path)  # leads nowhere until both have changed places
    except FileExistsError:
        raise taken(directory, new) from None
    try:
        syscalls.exchange(f"{directory}/{old}", path)
    except BaseException:
        os.unlink(path)
        raise


def forget(directory: str, id_: str) -> None:
    """Free the former names of what is in a directory."""
    names = [entry.name for entry in os.scandir(directory) if entry.is_symlink()]
    for name in [name for name in names if state.leads(directory, name) == id_]:
        os.unlink(f"{directory}/{name}")
