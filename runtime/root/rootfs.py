"""The container's root: an upper layer of its own over an image, ``--rootfs DIR``, or what of the host may show.

The default root is a skeleton with an overlay for each directory of programs and settings. Nothing else of the
host is below it: not by hiding, but by never having been there. Between the upper layer and those below lies one with
what the runtime itself makes (``init``): the skeleton, whiteouts of /etc's secrets, places for mounts
(``root.beneath``). So the upper layer holds what the container has changed, and nothing else.
"""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime.root.beneath import Beneath
from runtime.root.mounts import Mask, Mount, Overlay, escaped
from runtime.root.steps import Directory, Link, Step

SHOWN = ("usr", "opt", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""What of the host's / shows; where one of them is a link it stays one."""
SECRETS = (
    "ssh", "ssl/private", "letsencrypt", "wireguard", "ipsec.secrets", "ipsec.d/private", "krb5.keytab",
    "security/opasswd", "pki/tls/private", "docker", "kubernetes", "machine-id", "NetworkManager",
    "wpa_supplicant", "openvpn", "sudoers", "sudoers.d", "hosts", "hostname", "resolv.conf",
)  # fmt: skip
"""Of /etc, beside what the world can't read: secrets, and the files a container has of its own."""
MOST = 4096
"""Directories of /etc that are looked into."""
SKELETON = (
    ("root", 0o700), ("home", 0o755), ("tmp", 0o1777), ("run", 0o755), ("srv", 0o755), ("mnt", 0o755),
    ("media", 0o755), ("var/tmp", 0o1777), ("var/log", 0o755), ("var/lib", 0o755), ("var/cache", 0o755),
    ("var/spool", 0o755), ("proc", 0o555), ("sys", 0o555), ("dev", 0o755),
)  # fmt: skip

PARTS = "parts.json"
"""In a container's storage: ``parts``, {} where they are in memory."""
PLAIN = {False: ("redirect_dir=off", "metacopy=off"), True: ("userxattr",)}
"""An upper layer that holds whole files and directories, so that it can become a layer of an image; by whether the
marks are a user's: these can say no more than that (overlayfs.rst, "User xattr")."""

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
    user: bool = False
    """Whether the marks of overlays are a user's to set, in attributes of ``user.`` instead of ``trusted.``."""
    covered: frozenset[str] = frozenset()
    """Of ``SHOWN``, what has mounts below it that a user may not look behind: no layer can be made of it."""


def gather(lowers: Sequence[str], storage: str, mountinfo: bytes, *, user: bool = False) -> Facts:
    """Read the facts; those about the host's own tree only where it is to be shown."""
    from lxcfs_py.procfs import mountinfo as parser

    mounts = parser.parse(mountinfo)
    fstype = parser.fstype_at(mounts, storage)
    if lowers:
        return Facts(fstype=fstype, user=user)
    shown = []
    for name in SHOWN:
        if os.path.islink(f"/{name}"):
            shown.append((name, os.readlink(f"/{name}")))
        elif os.path.isdir(f"/{name}"):
            shown.append((name, ""))
    tops = (mount.mount_point.split("/")[1:] for mount in mounts)
    covered = frozenset(top[0] for top in tops if user and len(top) > 1) & frozenset(SHOWN)
    return Facts(tuple(shown), secrets("/etc"), fstype, user, covered)


def secrets(top: str) -> tuple[str, ...]:
    """Return what of the host's /etc is hidden, relative to it: ``SECRETS``, and what others can't read.

    A directory that others can't list and enter, or that we can't, is hidden whole; so are those beyond ``MOST``.
    """
    found = dict.fromkeys(name for name in SECRETS if os.path.lexists(f"{top}/{name}"))
    todo = [""]
    for above in todo:  # which grows
        try:
            entries = os.scandir(f"{top}/{above}")
        except OSError:
            if not above:
                raise
            found[above[:-1]] = None
            continue
        with entries:
            for entry in entries:
                name = above + entry.name
                if entry.is_symlink() or name in found:
                    continue
                try:
                    mode = entry.stat(follow_symlinks=False).st_mode
                except FileNotFoundError:  # removed meanwhile
                    continue
                if mode & 0o170000 == 0o040000 and mode & 0o005 == 0o005 and len(todo) < MOST:
                    todo.append(f"{name}/")
                elif mode & 0o170000 == 0o040000 or not mode & 0o004:
                    found[name] = None
    return tuple(found)


def in_memory(facts: Facts) -> bool:
    """Say whether a tmpfs must carry the upper layer."""
    from lxcfs_py.procfs import mountinfo

    return not mountinfo.carries_upper(facts.fstype)


def mounted(lowers: Sequence[str], facts: Facts) -> list[str]:
    """Return the places inside where the root's own mounts are."""
    return ["/", *(f"/{name}" for name, target in facts.shown if not target and not lowers)]


def parts(lowers: Sequence[str], facts: Facts) -> dict[str, tuple[str, ...]]:
    """Return the layers, the topmost first, below each directory of the root that is an overlay; "" is the root's."""
    whole = (name for name, target in facts.shown if not target and name not in facts.covered)
    shown = {} if lowers else {name: (f"/{name}",) for name in whole}
    return {"": tuple(lowers), **shown}


def upper(base: str, name: str) -> str:
    """Return the upper layer of a part: what the container has changed there."""
    return f"{base}/upper/{name or 'root'}"


def init(base: str, name: str) -> str:
    """Return the layer below it: what the runtime has made there."""
    return f"{base}/init/{name or 'root'}"


def _overlay(lowers: Sequence[str], base: str, name: str, target: str, *, user: bool) -> Step:
    work = f"{base}/work/{name or 'root'}"
    options = ("nodev", *PLAIN[user], f"upperdir={escaped(upper(base, name))}", f"workdir={escaped(work)}")
    return Overlay("overlay", target, "overlay", options, lowers=(init(base, name), *lowers))


def _skeleton(base: str, facts: Facts) -> list[Step]:
    root = init(base, "")
    found: list[Step] = [Directory(f"{root}/{name}", mode) for name, mode in SKELETON]
    for name, target in facts.shown:
        found.append(Link(target, f"{root}/{name}") if target else Directory(f"{root}/{name}"))
    return found


def steps(
    lowers: Sequence[str], base: str, facts: Facts, places: tuple[tuple[str, str], ...]
) -> tuple[str, list[Step]]:
    """Return where the root will be and how it is made.

    ``base`` is the container's storage directory, ``places`` are where something is mounted (``beneath.targets``).
    """
    found: list[Step] = []
    if in_memory(facts):
        found.append(Mount("tmpfs", f"{base}/memory", "tmpfs", ("mode=700",)))
        base = f"{base}/memory"
    root, made = f"{base}/root", parts(lowers, facts)
    for name in made:
        found += [
            Directory(os.path.dirname(upper(base, name))),
            Directory(init(base, name)),
            Directory(f"{base}/work/{name or 'root'}", 0o700),
        ]
    found += _skeleton(base, facts) if not lowers else []
    about = tuple((name, init(base, name), layers, upper(base, name)) for name, layers in made.items())
    hidden = (("etc", facts.secrets),) if "etc" in made else ()
    found.append(Beneath(about, places, facts.user, hidden))
    found += [_overlay(layers, base, name, f"{root}/{name}", user=facts.user) for name, layers in made.items()]
    for name in (name for name, target in facts.shown if not target and name in facts.covered):
        found.append(Mount(f"/{name}", f"{root}/{name}", "bind", ("rbind", "rro", "rnodev", "rprivate")))
        found += [Mask(f"{root}/etc/{secret}") for secret in facts.secrets if name == "etc"]
    return root, found
