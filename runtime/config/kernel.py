"""``--ulimit``, ``--sysctl``, ``--device``, ``--device-cgroup-rule`` and masked paths, as OCI has them."""

from __future__ import annotations

import os

from lxcfs_py.errors import reason
from runtime import places
from runtime.config import conformity
from runtime.errors import RunError
from runtime.process.scheduling import RLIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

NO_LIMIT = 2**64 - 1
"""RLIM_INFINITY, include/uapi/asm-generic/resource.h"""
DIGITS = 20
"""What the longest number has: int() refuses far longer ones."""
MOST_NUMBER = 2**32 - 1
"""Of a device: the kernel's rules have 32 bits for it."""
RIGHTS = "rwm"
"""Read, write, make a node (Documentation/admin-guide/cgroup-v1/devices.rst)."""
NODES = {0o020000: "c", 0o060000: "b"}
"""S_IFCHR and S_IFBLK."""
ALL = "ALL"
"""To Podman, what is hidden or read-only by default."""


def _limit(text: str, said: str) -> int:
    if text in ("-1", "unlimited"):
        return NO_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS and int(text) <= NO_LIMIT):
        raise RunError(f"{said}: {text!r} is not a number", "write it as nofile=1024:2048, with -1 for no limit")
    return int(text)


def rlimits(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return ``process.rlimits`` of ``NAME=SOFT[:HARD]``; of one that is said twice the last holds."""
    found = {}
    for text in texts:
        said = f"--ulimit {text!r}"
        name, equals, values = text.partition("=")
        kind = f"RLIMIT_{name.upper()}"
        if not equals or kind not in RLIMITS:
            known = ", ".join(each.removeprefix("RLIMIT_").lower() for each in RLIMITS)
            raise RunError(f"{said}: not a limit of a process", f"write NAME=SOFT[:HARD]; names are {known}")
        soft, colon, hard = values.partition(":")
        pair = _limit(soft, said), _limit(hard if colon else soft, said)
        if pair[0] > pair[1]:
            raise RunError(f"{said}: the soft limit is above the hard one", "give the lower one first")
        found[kind] = {"type": kind, "soft": pair[0], "hard": pair[1]}
    return list(found.values())


def sysctls(texts: Iterable[str], kinds: Iterable[str]) -> dict[str, str]:
    """Return ``linux.sysctl`` of ``NAME=VALUE``; ``kinds`` are the container's namespaces."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise RunError(f"--sysctl {text!r}: not a setting and a value", "write it as net.core.somaxconn=1024")
        if problem := conformity.of_host(name, {*kinds}):
            raise RunError(f"--sysctl {text!r}: it would change the host: {problem}", "leave it out")
        found[name] = value
    return found


def _nodes(source: str, target: str, said: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield the devices a path is, or has below it, and their paths inside; a link below it is none."""
    try:
        about = os.stat(source, follow_symlinks=bool(said))
        if about.st_mode & 0o170000 == 0o040000:  # S_IFMT, S_IFDIR
            for name in sorted(os.listdir(source)):
                yield from _nodes(f"{source}/{name}", f"{target}/{name}", "")
        elif about.st_mode & 0o170000 in NODES:
            yield source, target, about
        elif said:
            raise RunError(f"{said}: {source} is no device", "name a node, as /dev/fuse, or a directory of such")
    except OSError as error:
        if said:  # else one of a directory, which has gone
            raise RunError(f"{said}: {reason(error)}", "name a node, as /dev/fuse, or a directory of such") from error


def devices(texts: Iterable[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return nodes and rules of ``SRC[:DST][:rwm]``."""
    nodes, rules = [], []
    for text in texts:
        said = f"--device {text!r}"
        source, *rest = text.split(":")
        rights = rest.pop() if rest and rest[-1] and set(rest[-1]) <= set(RIGHTS) else RIGHTS
        target = rest.pop() if rest else source
        if rest or not source.startswith("/") or not target.startswith("/"):
            raise RunError(
                f"{said}: not a device", "write it as /dev/sdb, /dev/sdb:/dev/disk or /dev/sdb:/dev/disk:r"
            )
        for path, place, about in _nodes(os.path.normpath(source), os.path.normpath(target), said):
            if path != place and places.rootless():
                raise RunError(f"{said}: an ordinary user's container has it where the host has", f"write {source}")
            numbers = {"major": os.major(about.st_rdev), "minor": os.minor(about.st_rdev)}
            kind = NODES[about.st_mode & 0o170000]
            owner = {"fileMode": about.st_mode & 0o777, "uid": about.st_uid, "gid": about.st_gid}
            nodes.append({"path": place, "type": kind, **numbers, **owner})
            rules.append({"allow": True, "type": kind, **numbers, "access": rights})
    return nodes, rules


def device_rules(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return rules of ``TYPE MAJOR:MINOR rwm``."""
    return [_rule(text) for text in texts]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS and int(text) <= MOST_NUMBER


def _rule(text: str) -> dict[str, Any]:
    words = text.split()
    if len(words) == 3 and words[0] in ("a", "b", "c") and words[2] and set(words[2]) <= set(RIGHTS):
        numbers = words[1].split(":")
        if len(numbers) == 2 and all(each == "*" or _is_number(each) for each in numbers):
            named = {key: int(each) for key, each in zip(("major", "minor"), numbers, strict=True) if each != "*"}
            return {"allow": True, "type": words[0], **named, "access": words[2]}
    hint = "write it as 'c 10:229 rwm', with * for any number"
    raise RunError(f"--device-cgroup-rule {text!r}: not a rule about devices", hint)


def hidden(usual: Iterable[str], asked: Iterable[tuple[str, str]]) -> list[str]:
    """Return the paths of ``usual`` that stay, ``asked`` for by ``unmask`` and ``mask`` in order."""
    found = dict.fromkeys(usual)
    for word, text in asked:
        paths = text.split(":")
        if word == "mask":
            found |= dict.fromkeys(paths)
        elif ALL in paths:
            found = {}
        else:
            found = {path: None for path in found if not any(_covers(each, path) for each in paths)}
    return list(found)


def _covers(pattern: str, path: str) -> bool:
    """Say whether a path is what is named, which may end with ``/*``."""
    return path == pattern or (pattern.endswith("/*") and path.startswith(pattern[:-1]))
