"""The host as the runtime sees it: who we are on it, where things are kept, and which of its cgroups are ours."""

from __future__ import annotations

import os

from lxcfs_py.errors import reason
from lxcfs_py.host import Host
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.layout import Layout

VARIABLE = "LXCFS_PY_RUNTIME_DIR"
STATE, STORAGE = "/run/pyproc", "/var/lib/pyproc"
"""Root's directories."""
USER = os.geteuid()
"""Who has called us: in a user namespace that we make later we are root."""
ALL_IDS = ["0", "0", "4294967295"]
"""The map of the host's own user namespace."""
BOOTED = "/run/systemd/system"
"""Is there where systemd is running (sd_booted(3))."""


def host() -> Host:
    """Return the host, with the run-time directory the environment names."""
    return Host(run=os.environ.get(VARIABLE, "/run"))


def rootless() -> bool:
    """Say whether we are an ordinary user, whose containers need a user namespace."""
    return USER != 0


def unprivileged(proc: str = "/proc") -> bool:
    """Say whether we have not the host's rights: an ordinary user, or the root of no more than a user namespace."""
    if rootless():
        return True
    try:
        with open(f"{proc}/self/uid_map", encoding="utf-8") as file:
            return file.read().split() != ALL_IDS
    except OSError:  # a kernel without user namespaces
        return False


def users() -> bool:
    """Say whether our directories are a user's: the root of a user namespace has its own if the host's are not its.

    That is who calls us where an ordinary user runs Podman.
    """
    return rootless() or (not os.access(os.path.dirname(STATE), os.W_OK) and unprivileged())


def registers(found: Host) -> bool:
    """Say whether our containers are registered for the daemon: it knows others by who reads."""
    return not unprivileged(found.proc) or os.access(f"{found.run}/lxcfs-py", os.W_OK)


def state() -> str:
    """Return where the state of containers is kept by default; raises an Error if that can't be ours alone."""
    if not users():
        return STATE
    return f"{session() or _own(f'/tmp/pyproc-{USER}')}/pyproc"


def session() -> str:
    """Return the directory for what runs of a user's, "" for none (XDG Base Directory Specification).

    One that is another's does not count: su(1) hands on who one was.
    """
    for directory in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{USER}"):
        try:
            if directory.startswith("/") and os.stat(f"{directory}/").st_uid == os.geteuid():
                return directory
        except OSError:
            continue
    return ""


def _own(directory: str) -> str:
    """Return a directory for us alone, made where there is none: anybody may have made it in /tmp."""
    hint = "set XDG_RUNTIME_DIR, or give a --root of yours"
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        about = os.lstat(directory)
        if about.st_uid != os.geteuid() or about.st_mode & 0o170077 != 0o040000:  # S_IFMT, S_IFDIR
            raise RunError(f"{directory}: not a directory of yours alone", hint) from None
    except OSError as error:
        raise RunError(reason(error), hint) from error
    return directory


def storage() -> str:
    """Return where files of containers are kept by default (XDG Base Directory Specification)."""
    if not users():
        return STORAGE
    data = os.environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):
        home = os.path.expanduser("~")
        if not home.startswith("/"):
            raise RunError(f"user {USER} has no home: HOME is {home!r}", "set it, or give a --storage of yours")
        data = f"{home}/.local/share"
    return f"{data}/pyproc"


def pyproc() -> str:
    """Return the path of ``pyproc``, which lies beside what runs now."""
    import sys

    return os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), "pyproc")


def layout(cgroup: str) -> Layout:
    """Return the hierarchies a container's cgroup is in: none if it has none, cgroup2 alone if it is a user's."""
    from lxcfs_py.cgroup.layout import UNIFIED, Layout, detect
    from lxcfs_py.files import Files

    if not cgroup:
        return Layout({})
    found = detect(Host(), Files())
    if not unprivileged():
        return found
    return Layout({name: each for name, each in found.hierarchies.items() if name == UNIFIED})
