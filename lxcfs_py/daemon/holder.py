"""The holder: a shell that holds a session's descriptors and starts the supervisor again when it dies.

It is what ``lxcfs-py serve`` becomes where no service manager keeps descriptors: 0.2 MB, and nothing in it that could
fail. Signals to it are the supervisor's.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

GIVE_UP = 78
"""The exit code (EX_CONFIG) of a supervisor that should not be started again."""
SHELL = "/bin/sh"
SCRIPT = r"""
pause=0.1
trap 'ending=yes; kill -TERM $child 2>/dev/null' TERM INT
trap 'kill -HUP $child 2>/dev/null' HUP USR1
while :; do
    [ -z "$ending" ] || exec "$@" --ended
    "$@" & child=$!
    [ -z "$ending" ] || kill -TERM $child
    while :; do
        wait $child
        status=$?
        kill -0 $child 2>/dev/null || break
    done
    case $status in
    0) exit 0 ;;
    78) exit 1 ;;
    130 | 143) ending=yes ;;
    esac
    [ -n "$ending" ] || { sleep $pause & wait $!; }
    case $status-$pause in
    1-0.1) pause=0.2 ;;
    1-0.2) pause=0.5 ;;
    1-0.5) pause=1 ;;
    1-1) pause=2 ;;
    1-*) pause=5 ;;
    *) pause=0.1 ;;
    esac
done
"""
"""A signal that is trapped interrupts ``wait``. One that comes while there is nobody to take it (also between ``&``
and ``child=``, and in the pause), or who could take it has hardly begun, must not be lost. SIGINT is passed on as
SIGTERM: a shell's background child ignores it until it has its own handler. Who fails is started later each time; who
was killed, at once."""


def given(text: str) -> dict[str, int]:
    """Return the descriptors by name of ``NAME=NUMBER,...``."""
    return {name: int(number) for name, _, number in (part.partition("=") for part in text.split(",") if part)}


def become(descriptors: Mapping[str, int]) -> NoReturn:
    """Become the holder of these, and have this command begin again as its child."""
    for descriptor in descriptors.values():
        os.set_inheritable(descriptor, True)
    listed = ",".join(f"{name}={number}" for name, number in descriptors.items())
    again = [sys.executable, "-P", "-m", "lxcfs_py.cli", *sys.argv[1:], "--held", listed]
    os.execv(SHELL, [SHELL, "-c", SCRIPT, "lxcfs-py", *again])
    raise AssertionError
