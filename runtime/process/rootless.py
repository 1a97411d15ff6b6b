"""An ordinary user's containers: born in a user namespace of their own, of which the user's id is root.

    pyproc-run ── clone3(NEWUSER) ─ between: waits for its ids, sets the clocks ── clone3(all others) ─ first process
               ── newuidmap ──────────►

The one between is there for the clocks: a time namespace is made by who has the right to, before anybody is in it;
and who has made one from within a user namespace can't go back to the host's.

Files that belong to ids of containers are worked on in another such namespace, with the same ids, or in a
container's own (``inside``).
"""

from __future__ import annotations

import errno
import os

from runtime.errors import RunError
from runtime.kernel import syscalls as sc
from runtime.process import ids, namespaces
from runtime.report import Report, guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Mapping
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
else:
    import _socket

REFUSED = {
    errno.EPERM: "have root allow it: sysctl kernel.unprivileged_userns_clone=1 (Debian)",
    errno.EACCES: "have root allow it: sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)",
    errno.ENOSPC: "have root allow more: sysctl user.max_user_namespaces",
    errno.EINVAL: "this kernel has no user namespaces: run it as root",
}
"""What to do about a kernel that gives us no user namespace."""


def _refused(error: OSError) -> RunError:
    text = f"this host gives user {os.geteuid()} no user namespace: {os.strerror(error.errno or 0)}"
    return RunError(text, REFUSED.get(error.errno or 0, "run it as root"))


def birth(
    plan: namespaces.Plan,
    layout: Layout,
    cgroup: tuple[str, str],
    linux: Mapping[str, Any],
    offsets: Mapping[str, Any] | None,
) -> tuple[int, tuple[str, ...], int]:
    """Fork the first process into a cgroup, of which path and unit are given ("" for none).

    Return its pid, its doors as ``namespaces.birth`` does, and its clock's offset.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    there, offset, new = namespaces.opened(plan), 0, plan.new & sc.CLONE_NEWUSER

    def between() -> int:
        nonlocal offset, writer
        sc.prctl(sc.PR_SET_PDEATHSIG, 9)
        os.close(writer)
        writer = -1
        if not os.read(reader, 1):
            os._exit(1)
        namespaces.join(there)
        flags = plan.new & ~sc.CLONE_NEWUSER | sc.CLONE_PARENT
        if "time" not in plan.fresh:
            return sc.clone(flags)
        clocks = namespaces.Clocks("/proc", offsets)
        clocks.enter()
        offset = clocks.boottime_nsec
        return sc.clone(flags)

    def give(pid: int) -> None:
        if new:
            ids.give("/proc", pid, linux)
        os.write(writer, b"!")

    try:
        said, doors = namespaces.relayed(new, layout, cgroup[0], between, give, lambda: str(offset), cgroup[1])
    except OSError as error:
        raise _refused(error) from error
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    pid, _, rest = said.partition(" ")
    return int(pid), doors, int(rest or 0)


def inside(act: Callable[[], int | None], container: int = -1) -> int:
    """Do something as root of a user namespace with a user's ids, at once by who is that already.

    It is a new one, or that of the process whose pidfd is ``container``. Returns the exit code it returns (0 for
    None), raises the Error it raises.
    """
    if os.geteuid() == 0:
        return act() or 0
    reader, writer = os.pipe2(os.O_CLOEXEC)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        pid = sc.clone(sc.CLONE_NEWUSER if container < 0 else 0)
    except OSError as error:
        raise _refused(error) from error
    if pid == 0:
        ours.close()
        guarded(theirs, lambda: os._exit(_as_root(act, reader, writer, container)))
    theirs.close()
    os.close(reader)
    try:
        if container < 0:
            ids.give("/proc", pid, ids.own().oci)
        os.write(writer, b"!")
        os.close(writer)
        said = Report()
        said.read(ours)
    except BaseException:
        os.kill(pid, 9)
        raise
    finally:
        ours.close()
        status = os.waitpid(pid, 0)[1]
    if said.error is not None:
        raise said.error
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise RunError(f"what was done in a user namespace was killed by signal {-code}", "see the kernel's log")
    return code


def _as_root(act: Callable[[], int | None], reader: int, writer: int, container: int) -> int:
    os.close(writer)
    sc.prctl(sc.PR_SET_PDEATHSIG, 9)
    if not os.read(reader, 1):  # our maker has gone
        os._exit(1)
    os.close(reader)
    if container >= 0:
        sc.prctl(sc.PR_SET_DUMPABLE, 0)  # the container's root has all rights there, but none over us
        sc.setns(container, sc.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        sc.prctl(sc.PR_SET_DUMPABLE, 0)
    with open("/proc/self/setgroups", encoding="utf-8") as file:
        if file.read() == "allow\n":
            os.setgroups([])
    return act() or 0
