"""The container's root: an upper layer of its own over ``--rootfs DIR`` or over what of the host may show.

The default root is a skeleton with an overlay for each directory of programs and settings. Nothing else of the
host is below it: not by hiding, but by never having been there. /etc's secrets are deleted in its upper layer.
"""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime.root.mounts import Mount, Overlay, escaped
from runtime.root.steps import Directory, Link, Step, Whiteout

SHOWN = ("usr", "opt", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""What of the host's / shows; where one of them is a link it stays one."""
SECRETS = (
    "ssh", "ssl/private", "letsencrypt", "wireguard", "ipsec.secrets", "ipsec.d/private", "krb5.keytab",
    "security/opasswd", "pki/tls/private", "docker", "kubernetes", "machine-id", "NetworkManager",
    "wpa_supplicant", "openvpn", "sudoers", "sudoers.d", "hosts", "hostname", "resolv.conf",
)  # fmt: skip
"""Of /etc, beside what the world can't read: secrets, and the files a container has of its own."""
SKELETON = (
    ("root", 0o700), ("home", 0o755), ("tmp", 0o1777), ("run", 0o755), ("srv", 0o755), ("mnt", 0o755),
    ("media", 0o755), ("var/tmp", 0o1777), ("var/log", 0o755), ("var/lib", 0o755), ("var/cache", 0o755),
    ("var/spool", 0o755), ("proc", 0o555), ("sys", 0o555), ("dev", 0o755),
)  # fmt: skip

PLAIN = ("redirect_dir=off", "metacopy=off")
"""An upper layer that holds whole files and directories, so that it can become a layer of an image."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Facts(Record):
    """What of the host decides what the root is made of."""

    shown: tuple[tuple[str, str], ...] = ()
    """Name and, for a link, target of each of ``SHOWN`` that is there."""
    secrets: tuple[str, ...] = ()
    """What of /etc is deleted, relative to it."""
    fstype: str = ""
    """The storage's file system."""


def gather(lowers: Sequence[str], storage: str, mountinfo: bytes) -> Facts:
    """Read the facts; those about the host's own tree only where it is to be shown."""
    from lxcfs_py.procfs import mountinfo as parser

    fstype = parser.fstype_at(parser.parse(mountinfo), storage)
    if lowers:
        return Facts(fstype=fstype)
    shown = []
    for name in SHOWN:
        if os.path.islink(f"/{name}"):
            shown.append((name, os.readlink(f"/{name}")))
        elif os.path.isdir(f"/{name}"):
            shown.append((name, ""))
    found = [name for name in SECRETS if os.path.lexists(f"/etc/{name}")]
    with os.scandir("/etc") as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if not entry.is_symlink() and not about.st_mode & 0o004 and entry.name not in found:
                found.append(entry.name)
    return Facts(tuple(shown), tuple(found), fstype)


def in_memory(facts: Facts) -> bool:
    """Say whether a tmpfs must carry the upper layer."""
    from lxcfs_py.procfs import mountinfo

    return not mountinfo.carries_upper(facts.fstype)


def mounted(lowers: Sequence[str], facts: Facts) -> list[str]:
    """Return the places inside where the root's own mounts are."""
    return ["/", *(f"/{name}" for name, target in facts.shown if not target and not lowers)]


def _overlay(lowers: Sequence[str], base: str, name: str, target: str) -> list[Step]:
    upper, work = f"{base}/upper/{name}", f"{base}/work/{name}"
    options = ("nodev", *PLAIN, f"upperdir={escaped(upper)}", f"workdir={escaped(work)}")
    return [
        Directory(upper),
        Directory(work, 0o700),
        Overlay("overlay", target, "overlay", options, lowers=tuple(lowers)),
    ]


def steps(lowers: Sequence[str], base: str, facts: Facts) -> tuple[str, list[Step]]:
    """Return where the root will be and how it is made; ``base`` is the container's storage directory."""
    found: list[Step] = []
    if in_memory(facts):
        found.append(Mount("tmpfs", f"{base}/memory", "tmpfs", ("mode=700",)))
        base = f"{base}/memory"
    root = f"{base}/root"
    if lowers:
        return root, [*found, *_overlay(lowers, base, "root", root)]
    found += [
        Directory(f"{base}/upper/root"),
        Directory(root),
        Mount(f"{base}/upper/root", root, "bind", ("bind", "nodev", "private")),
    ]
    found += [Directory(f"{root}/{name}", mode) for name, mode in SKELETON]
    for name, target in facts.shown:
        if target:
            found.append(Link(target, f"{root}/{name}"))
            continue
        if name == "etc":
            found += [Whiteout(f"{base}/upper/etc/{secret}") for secret in facts.secrets]
        found += _overlay((f"/{name}",), base, name, f"{root}/{name}")
    return root, found
