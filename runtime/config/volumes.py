"""``-v`` and ``--tmpfs`` as OCI mounts."""

from __future__ import annotations

import os

from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

TMPFS_OPTIONS = ("nosuid", "nodev", "noexec")
"""Docker's; each gives way to its opposite where that is asked for."""


def _destination(path: str, option: str, text: str) -> str:
    if not path.startswith("/"):
        raise RunError(f"{option} {text!r}: the place inside must be an absolute path", "begin it with /")
    clean = os.path.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise RunError(f"{option} {text!r}: the place inside can't be /", "--rootfs DIR replaces the root")
    return clean


def bind(text: str) -> dict[str, Any]:
    """Return the mount of ``SRC:DST[:ro|rw]``; raises an Error for any other shape."""
    source, *rest = text.split(":")
    if not rest or len(rest) > 2 or not source:
        raise RunError(f"-v {text!r}: not a volume", "write it as /source:/destination, with :ro if it is")
    if not source.startswith("/"):
        raise RunError(f"-v {text!r}: the source must be an absolute path", f"write {os.path.abspath(source)}")
    mode = rest[1] if len(rest) == 2 else "rw"
    if mode not in ("ro", "rw"):
        raise RunError(f"-v {text!r}: unknown mode {mode!r}", "use ro or rw")
    return {
        "destination": _destination(rest[0], "-v", text),
        "type": "bind",
        "source": source,
        "options": ["rbind", "rprivate", mode],
    }


def tmpfs(text: str) -> dict[str, Any]:
    """Return the mount of ``DST[:OPTION,...]`` with Docker's nosuid, nodev and noexec by default."""
    path, _, asked = text.partition(":")
    options = [option for option in asked.split(",") if option]
    kept = [option for option in TMPFS_OPTIONS if option.removeprefix("no") not in options and option not in options]
    return {
        "destination": _destination(path, "--tmpfs", text),
        "type": "tmpfs",
        "source": "tmpfs",
        "options": [*kept, *options],
    }


def mounts(volumes: Iterable[str], tmpfses: Iterable[str]) -> list[dict[str, Any]]:
    """Return all of them, outer directories before inner ones; a place named twice is an Error."""
    found: dict[str, dict[str, Any]] = {}
    for mount in (*map(bind, volumes), *map(tmpfs, tmpfses)):
        if mount["destination"] in found:
            raise RunError(f"{mount['destination']!r}: two mounts for one place", "leave one -v or --tmpfs out")
        found[mount["destination"]] = mount
    return sorted(found.values(), key=lambda mount: mount["destination"].count("/"))
