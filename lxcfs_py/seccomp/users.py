"""Whose listeners are taken of those who are not root, and how many: so that no user can be in another's way."""

from __future__ import annotations

import os
import pwd
import struct
from typing import TYPE_CHECKING

from lxcfs_py.libc import call, checked

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_USERS = 16
"""Who have an agent at once."""
MOST_LISTENERS, MOST_COMING = 256, 16
"""A user's, and of these those that it has not brought yet."""
SHARE = 4
"""Users together have one of so many of all places."""
LINGER_SECONDS = 15.0
"""A user's agent ends between once and twice so long after its last listener."""
MOST_ABANDONED = 2
"""Agents of a user's that were killed and can't end, since its memory holds them up, before it gets no other."""
NICE, OOM_SCORE_ADJ = 10, 500
"""A user's agent gets the processor after those that serve files, and is killed for want of memory before them."""
NOGROUP = 65534
"""Its group: over its containers it has all rights by its user id, which their namespaces belong to."""
PEER = struct.Struct("=3i")
"""struct ucred (unix(7), SO_PEERCRED)."""
CAPABILITIES = 1 << 6 | 1 << 7
"""CAP_SETGID and CAP_SETUID, which it takes to become a user."""
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38


def peer(credentials: bytes) -> int:
    """Return who connected, as the kernel says."""
    return int(PEER.unpack(credentials)[1])


def is_account(uid: int) -> bool:
    """Say whether a user is one of the host's: whoever has further ids (subuid(5)) has them once, not for each."""
    try:
        pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return False
    return True


def refusal(uid: int, listeners: int, coming: int, all_users: int, most: int, *, stuck: bool) -> str:
    """Return why a user gets no further place, "" if it does.

    It has ``listeners`` and ``coming`` connections, all users together ``all_users`` of both, of ``most`` places;
    ``stuck``: it gets no further agent.
    """
    if stuck:
        return f"agents of user {uid} wait for memory or files that never answer: end what has them"
    if coming >= MOST_COMING:
        return f"user {uid} has {coming} connections from which nothing came yet: try again"
    if listeners + coming >= MOST_LISTENERS:
        return f"user {uid} has {MOST_LISTENERS} listeners, the most there can be: let containers end"
    if all_users >= most // SHARE:
        return f"all users together have {all_users} listeners, the most there can be: try again later"
    return ""


def stranger(uid: int, users: Collection[int], capabilities: int, *, account: bool) -> str:
    """Return why someone who is not among the users that have an agent gets none, "" if he does.

    ``capabilities`` are the daemon's.
    """
    if not uid:
        return "root has a socket of its own, seccomp.sock"
    if capabilities & CAPABILITIES != CAPABILITIES:
        return "the daemon may not become a user: have root give it CAP_SETUID and CAP_SETGID"
    if not account:
        return "who connects has no account on this host"
    if len(users) >= MOST_USERS:
        return f"{len(users)} users are served at once, the most there can be: try again later"
    return ""


def become(uid: int) -> None:
    """Be a user, with no right of another's and out of reach of its processes; raises OSError.

    What is executed was read as root. As it sends descriptors to root's process, not even the user may trace it
    (ptrace(2), "dumpable").
    """
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(OOM_SCORE_ADJ))
    os.nice(NICE)
    os.setgroups([])
    os.setresgid(NOGROUP, NOGROUP, NOGROUP)
    os.setresuid(uid, uid, uid)
    checked(call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
    checked(call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
