"""What each option of an OCI mount does: to the mount, to all mounts below it, or as the file system's own word.

The list is runc's and crun's (config.md, "Mounts", "Linux mount options"); pure.
"""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime.kernel import mountapi as api
from runtime.kernel import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SUPERBLOCK = {"sync": 16, "dirsync": 128, "mand": 64, "iversion": 1 << 23, "lazytime": 1 << 25, "silent": 1 << 15}
"""MS_*: the file system's, of a new mount only."""
NO_SUPERBLOCK = ("async", "nomand", "noiversion", "nolazytime", "loud", "defaults", "rw", "norelatime", "diratime")
ATTRIBUTES = {
    "ro": (api.RDONLY, 0), "suid": (0, api.NOSUID), "nosuid": (api.NOSUID, 0), "dev": (0, api.NODEV),
    "nodev": (api.NODEV, 0), "exec": (0, api.NOEXEC), "noexec": (api.NOEXEC, 0), "relatime": (0, api.ATIME),
    "noatime": (api.NOATIME, api.ATIME), "atime": (0, api.ATIME), "strictatime": (api.STRICTATIME, api.ATIME),
    "nostrictatime": (0, api.ATIME), "nodiratime": (api.NODIRATIME, 0), "nosymfollow": (api.NOSYMFOLLOW, 0),
    "symfollow": (0, api.NOSYMFOLLOW),
}  # fmt: skip
"""What is set and what is cleared. ``rw`` clears nothing: what the host has mounted read-only stays so."""
RECURSIVE = {f"r{name}": change for name, change in ATTRIBUTES.items()} | {"rrw": (0, api.RDONLY)}
PROPAGATION = {
    "private": sc.MS_PRIVATE, "slave": sc.MS_SLAVE, "shared": sc.MS_SHARED, "unbindable": sc.MS_UNBINDABLE,
}  # fmt: skip
FLAGS = {
    api.RDONLY: sc.MS_RDONLY, api.NOSUID: sc.MS_NOSUID, api.NODEV: sc.MS_NODEV, api.NOEXEC: sc.MS_NOEXEC,
    api.NODIRATIME: 2048, api.NOSYMFOLLOW: 256,
}  # fmt: skip
"""The flag of mount(2) of each attribute but ATIME's values."""
OURS = ("tmpcopyup", "idmap", "ridmap")
SUBPATH = "subpath="
"""Ours too: what is bound is below the source, and no link leads out of that."""


class Effect(Record):
    """What a mount's options ask for altogether."""

    bind: bool = False
    recursive: bool = False
    """``rbind``."""
    set: int = 0
    clear: int = 0
    below_set: int = 0
    below_clear: int = 0
    """For it and all mounts below it."""
    propagation: int = 0
    """MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, with MS_REC for all below; 0 leaves it."""
    superblock: int = 0
    data: tuple[str, ...] = ()
    """The file system's own options."""
    extra: tuple[str, ...] = ()
    """Of ``OURS``."""
    subpath: str = ""

    @property
    def flags(self) -> int:
        """The flags of mount(2) for a new mount."""
        atime = {api.NOATIME: sc.MS_NOATIME, api.STRICTATIME: sc.MS_STRICTATIME}.get(self.set & api.ATIME, 0)
        return self.superblock | atime | sum(flag for bit, flag in FLAGS.items() if self.set & bit)


def effect(options: Iterable[str]) -> Effect:
    """Return what the options ask for; of contradicting ones the last counts."""
    found = {"set": 0, "clear": 0, "below_set": 0, "below_clear": 0}
    bind = recursive = False
    propagation = superblock = 0
    data, extra, subpath = [], [], ""
    for option in options:
        if option in ("bind", "rbind"):
            bind, recursive = True, option == "rbind"
        elif option in ATTRIBUTES or option in RECURSIVE:
            (new, old), below = (ATTRIBUTES[option], "") if option in ATTRIBUTES else (RECURSIVE[option], "below_")
            found[f"{below}set"] = found[f"{below}set"] & ~old | new
            found[f"{below}clear"] = found[f"{below}clear"] & ~(new & ~api.ATIME) | old
        elif option in PROPAGATION or (option[1:] in PROPAGATION and option[0] == "r"):
            plain = option in PROPAGATION
            propagation = PROPAGATION[option if plain else option[1:]] | (0 if plain else sc.MS_REC)
        elif option in SUPERBLOCK:
            superblock |= SUPERBLOCK[option]
        elif option in OURS:
            extra.append(option)
        elif option.startswith(SUBPATH):
            subpath = option.removeprefix(SUBPATH)
        elif option == "rw":
            found["set"] &= ~api.RDONLY
        elif option not in NO_SUPERBLOCK:
            data.append(option)
    return Effect(
        bind, recursive, propagation=propagation, superblock=superblock, data=tuple(data), extra=tuple(extra),
        subpath=subpath, **found,
    )  # fmt: skip


def context(label: str) -> tuple[str, ...]:
    """Return the option that has all files of a file system called by SELinux's ``label``, if there is one."""
    return (f'context="{label}"',) if label else ()
