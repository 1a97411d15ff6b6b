"""``pyproc attach``: join the streams of a detached container."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import finding
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "attach",
    "Join the streams of a detached container; Ctrl-P Ctrl-Q leaves one with a terminal.",
    "ID",
    1,
    1,
    (
        Option(("--no-stdin",), "Only watch", kind="flag"),
        Option(("--detach-keys",), "What leaves it (ctrl-p,ctrl-q; none if empty)", "KEYS"),
        Option(("--sig-proxy",), "Pass signals on", "true|false", choices=("true", "false"), default="true"),
    ),
)


def keys(text: str | None) -> bytes:
    """Return the bytes of ``ctrl-p,ctrl-q`` or ``a,ctrl-x``; raises an Error naming what is no key."""
    from runtime.lifecycle.attach import KEYS

    if text is None:
        return KEYS
    found = []
    for word in text.split(",") if text else []:
        letter = word.removeprefix("ctrl-")
        if len(letter) != 1 or not letter.isascii() or (letter != word and not "@" <= letter.upper() <= "_"):
            raise RunError(f"--detach-keys {text!r}: {word!r} is no key", "write ctrl-p,ctrl-q or a,b")
        found.append(ord(letter.upper()) & 0x1F if letter != word else ord(letter))
    return bytes(found)


def run(parsed: Parsed) -> int:
    """Stay with it to its end, and return its exit code."""
    leave = keys(parsed["detach_keys"])
    from runtime.lifecycle import attach, ending, hold, oci
    from runtime.verbs import kill

    root = parsed["root"]
    found = finding.get(parsed, parsed.rest[0])
    pidfd = kill.opened(root, found)
    if oci.status(root, found) == oci.PAUSED:
        raise Error(f"container {found.id!r} is paused, and would neither read nor write", "resume it first")
    feed, holder = hold.opened(found), ending.Teller(found)
    tty = os.isatty(feed)
    if tty and not parsed["no_stdin"] and not os.isatty(0):
        raise RunError(f"container {found.id!r} has a terminal, and the input is none", "give --no-stdin to watch it")
    stdin = -1 if parsed["no_stdin"] or os.path.samestat(os.fstat(feed), os.stat(os.devnull)) else feed
    there = attach.Attached(
        found, stdin, pidfd, holder.pidfd, tty=tty and stdin >= 0, keys=leave, proxy=parsed["sig_proxy"] == "true"
    )
    if not there.run():
        return 0
    return ending.code(found, ending.told(root, found, holder))
