"""``lxcfs-py hook``: gives a container of any OCI runtime the view (runtime-spec, config.md, "POSIX-platform Hooks").

At createRuntime, where runc and crun have made the container's mounts but not entered its root yet, it registers
the container, enters its mount namespace and binds the served files over its /proc and /sys. At createContainer,
inside of that namespace, it does the same as far as it may. At poststop it removes the registration. Which stage it
is, the state that the runtime writes to stdin and the namespaces tell.

What asks the daemon is done by a child, which a daemon that hangs can't keep us waiting for. All of that comes before
the first mount: a container has all files or none.
"""

from __future__ import annotations

import errno
import os
import select
import time

from lxcfs_py import announcement, json_text, mounting, registry
from lxcfs_py.cgroup import layout
from lxcfs_py.errors import Error, reason
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from lxcfs_py.procfs import pid_stat, proc_cgroup, status, timens_offsets
from lxcfs_py.record import Record
from lxcfs_py.served import PRESSURE
from lxcfs_py.serving import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

SECONDS = 5.0
"""How long a container's start may be kept waiting."""
ANNOTATION = "io.lxcfs-py.view"
AUTO, REQUIRE, OFF = "auto", "require", "off"
STOPPED = "stopped"
KINDS = {"proc": mounting.PROC_SUPER_MAGIC, "sys": mounting.SYSFS_MAGIC}
"""Below which directories of a root the served files go, and what must be mounted there."""


class Asked(Record):
    """What the runtime says of a container, as far as it concerns us."""

    id: str
    pid: int
    """Of its first process, in a pid namespace that is not always ours; 0 if it does not say."""
    rootfs: str
    view: str
    """``auto``, ``require`` or ``off``."""
    own_mounts: bool
    """Whether it has a mount namespace."""


def asked(state: Mapping[str, Any], config: Mapping[str, Any]) -> Asked:
    """Return what a state and the bundle's config.json say; raises an Error for what is no container of Linux."""
    try:
        noted = {**(state.get("annotations") or {}), **(config.get("annotations") or {})}
        namespaces = [namespace["type"] for namespace in config["linux"].get("namespaces") or ()]
        rootfs = os.path.join(state["bundle"], config["root"]["path"])
        pid = int(state.get("pid") or 0)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Error(f"config.json: {error!r}", "see the OCI specification") from None
    return Asked(state["id"], pid, rootfs, noted.get(ANNOTATION, AUTO), "mount" in namespaces)


def nearest(pid: int, depth: int, ancestors: Mapping[int, tuple[int, ...]]) -> int:
    """Return which ancestor of a hook inside a pid namespace is the container's first process; 0 for none.

    ``pid`` is what the runtime calls it there (runc its number, crun 0); ``depth`` counts the hook's pid namespaces;
    ``ancestors`` have their numbers in each of theirs, the next ancestor first.
    """
    there = [number for number, numbers in ancestors.items() if len(numbers) == depth]
    named = [number for number in there if ancestors[number][-1] == (pid or 1)]
    return (named or there or [0])[0]


# What may hang: only a child does it.


def give(host: Host, container: Asked) -> None:
    """Register a container and bind the view; raises an Error or OSError, and then nothing is bound."""
    found = announcement.read(
        host
    )  # whether it lives does not matter: what it has mounted may outlive it for a while
    if found is None:
        raise Error("no lxcfs-py daemon serves", "start it: systemctl start lxcfs-py")
    mountpoint = found.mountpoint
    try:
        os.statvfs(mountpoint)  # stat may be answered from the kernel's cache
    except OSError as error:
        raise Error(f"the daemon does not serve: {reason(error)}", "see lxcfs-py status") from error
    there = paths(host, layout.detect(host, Files()))
    base = f"{mountpoint}/containers/{container.id}" if _register(host, container) else mountpoint
    copies = _copies(base, there)
    if not _inside(host, container.pid):
        mounting.enter(f"{host.proc}/{container.pid}/ns/mnt", mounting.CLONE_NEWNS)
    targets = _targets(container.rootfs, there)
    attached: list[int] = []
    try:
        for path, target in targets.items():
            if path in copies:
                mounting.attach(copies[path], target, f"{container.rootfs}/{path}")
                attached.append(copies[path])
    except OSError:
        for mount in attached:
            mounting.detach(mount)
        raise


def _register(host: Host, container: Asked) -> bool:
    """Register a container; return False where it must go by caller: we may not, or its name is another one's."""
    pid = container.pid
    if not registry.is_id(container.id) or registry.lives(host, container.id):
        return False
    files = Files()
    found = pid_stat.parse(files.read(f"{host.proc}/{pid}/stat"))
    if found is None:
        raise Error(f"{host.proc}/{pid}/stat can't be understood", "is /proc mounted?")
    try:
        offset = timens_offsets.boottime_nsec(files.read(f"{host.proc}/{pid}/timens_offsets"))
    except OSError:  # a kernel without time namespaces
        offset = 0
    try:
        if runtime := _outside(host):  # paths are told from the reader's own cgroup namespace on
            mounting.enter(f"{host.proc}/{runtime}/ns/cgroup", mounting.CLONE_NEWCGROUP)
        every = proc_cgroup.parse(files.read(f"{host.proc}/{pid}/cgroup"))
        cgroups = {name: path for name, path in every.items() if not name.startswith("name=")}
        registry.register(host, registry.Registration(container.id, pid, found.start_ticks, cgroups, offset))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise
        return False
    return True


def _copies(base: str, there: tuple[str, ...]) -> dict[str, int]:
    """Return mounts of the served files, read-only but for pressure, which is written to (psi.rst)."""
    found = {}
    for path in there:
        try:
            found[path] = mounting.copy(f"{base}/{path}")
        except FileNotFoundError:  # a daemon of another version
            continue
        attributes = mounting.NOSUID | mounting.NODEV | mounting.NOEXEC
        if not path.startswith(f"{PRESSURE}/"):
            attributes |= mounting.RDONLY
        mounting.restrict(found[path], attributes, f"{base}/{path}")
    if not found:
        raise Error(f"{base}: nothing is served there", "see lxcfs-py status")
    return found


def _targets(rootfs: str, there: tuple[str, ...]) -> dict[str, int]:
    """Return what is to be covered; not what the container lacks, or has something of its own over already."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    inside = mounting.RESOLVE_NO_SYMLINKS | mounting.RESOLVE_NO_MAGICLINKS
    found = {}
    for name, kind in KINDS.items():
        at = f"{rootfs}/{name}"
        try:
            top = mounting.open_in(root, name, inside | mounting.RESOLVE_IN_ROOT, at)
        except FileNotFoundError:
            continue
        if mounting.kind(top, at) != kind:
            continue
        for path in there:
            if path.startswith(f"{name}/"):
                try:
                    rest = path.removeprefix(f"{name}/")
                    found[path] = mounting.open_in(top, rest, inside | mounting.RESOLVE_NO_XDEV, f"{rootfs}/{path}")
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EXDEV):
                        raise
    if not found:
        raise Error(f"{rootfs}/proc: no procfs is mounted there", "have the hook run at createRuntime")
    return found


# What can't.


def _same_namespace(host: Host, pid: int, kind: str) -> bool:
    mine, other = (os.readlink(f"{host.proc}/{who}/ns/{kind}") for who in ("self", pid))
    return mine == other


def _inside(host: Host, pid: int) -> bool:
    """Say whether we are in a process's mount namespace; who is not is started by the runtime, which may look."""
    try:
        return _same_namespace(host, pid, "mnt")
    except PermissionError:
        return True


def _outside(host: Host) -> int:
    """Return our nearest ancestor that is in another cgroup namespace, 0 for none."""
    for pid in _ancestors(host):
        try:
            if not _same_namespace(host, pid, "cgroup"):
                return pid
        except PermissionError:  # a PID 1 that is allowed more than we are
            continue
    return 0


def _ancestors(host: Host) -> Iterator[int]:
    """Yield our parent, its parent, and so on."""
    pid: int | str = "self"
    while True:
        found = pid_stat.parse(Files().read(f"{host.proc}/{pid}/stat"))
        if found is None or not found.ppid:
            return
        yield (pid := found.ppid)


def _resolved(host: Host, container: Asked) -> Asked:
    """Return the container with its first process's number in /proc, wherever the hook was started."""

    def numbers(pid: int | str) -> tuple[int, ...]:
        return status.pids(Files().read(f"{host.proc}/{pid}/status"))

    ours = numbers("self")
    if container.pid and len(ours) == 1:
        return container
    found = nearest(container.pid, len(ours), {pid: numbers(pid) for pid in _ancestors(host)})
    if not found:
        raise Error("its first process is not to be found", "let the runtime itself start the hook")
    return container.replace(pid=found)


def within(deadline: float, act: Callable[[], None]) -> str:
    """Do something in a child; return what went wrong, "" for nothing."""
    heard, said = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            act()
            text = ""
        except Error as error:
            text = str(error)
        except OSError as error:
            text = reason(error)
        except BaseException as error:  # noqa: BLE001  (a container must not miss its start for it)
            text = f"{type(error).__name__}: {error}"
        os.write(said, text.encode("utf-8", "replace")[:4000])
        os._exit(1 if text else 0)
    os.close(said)
    try:
        text = read(heard, deadline).decode("utf-8", "replace")
    except TimeoutError:
        ended = os.pidfd_open(child)
        os.kill(child, 9)
        if select.select([ended], [], [], 1)[0]:
            os.waitpid(child, 0)
        return f"no answer within {SECONDS:g} s"
    code = os.waitpid(child, 0)[1]
    return text or ("" if code == 0 else f"it ended with status {code:#x}")


def read(descriptor: int, deadline: float) -> bytes:
    """Return all until the end; raises TimeoutError if that does not come in time."""
    parts: list[bytes] = []
    while not parts or parts[-1]:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise TimeoutError
        parts.append(os.read(descriptor, 1 << 16))
    return b"".join(parts)


def _state(data: bytes) -> dict[str, Any]:
    """Return the state; raises an Error for anything else."""
    try:
        found = json_text.loads(data)
        if all(isinstance(found[key], str) for key in ("id", "bundle", "status")):
            return dict(found)
    except (ValueError, KeyError, TypeError):
        pass
    raise Error("stdin has no OCI state", "this is for runtimes to call: see docs/engines.md")


def _config(bundle: str) -> dict[str, Any]:
    path = f"{bundle}/config.json"
    try:
        with open(path, "rb") as file:
            found = json_text.loads(file.read())
    except OSError as error:
        raise Error(reason(error), "it is where the state's bundle says") from error
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Error(f"{path}: not an OCI configuration", "see the OCI specification")
    return found


def _say(id_: str, text: str) -> None:
    """Say it to whom it may concern: crun throws away what hooks write, and engines what runtimes do that succeed."""
    import _socket

    line = f"{id_}{': ' if id_ else ''}{text}".encode("utf-8", "replace")
    os.write(2, b"lxcfs-py hook: %s\n" % line)
    log = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
    try:
        log.connect("/dev/log")
        log.send(b"<12>lxcfs-py-hook: %s" % line)  # LOG_USER, LOG_WARNING (syslog(3))
    except OSError:
        pass
    finally:
        log.close()


def attend(host: Host, container: Asked, deadline: float) -> str:
    """Give a container the view; return what went wrong, "" for nothing. It has it or not, and nothing is left."""
    try:
        if not container.own_mounts:
            return "it has no mount namespace, so nothing can be bound for it alone"
        container = _resolved(host, container)
        if registry.lives(host, container.id, container.pid):
            return ""  # an earlier stage, or the runtime itself, has seen to it
    except Error as error:
        return str(error)
    except OSError as error:
        return reason(error)
    wrong = within(deadline, lambda: give(host, container))
    if wrong and registry.lives(host, container.id, container.pid):
        registry.unregister(host, container.id)
    return wrong


def main() -> int:
    """Be the hook; return the exit code, which is 0 unless the container asked for better or nobody asked us."""
    deadline = time.monotonic() + SECONDS
    host = Host(run=os.environ.get("LXCFS_PY_RUNTIME_DIR", "/run"))
    try:
        state = _state(read(0, deadline))
    except (Error, TimeoutError) as error:
        _say("", str(error) or f"no state came within {SECONDS:g} s")
        return 1
    id_ = state["id"]
    try:
        if state["status"] == STOPPED:
            registry.forget_ended(host, id_)
            return 0
        container = asked(state, _config(state["bundle"]))
    except (Error, OSError) as error:
        _say(id_, str(error))
        return 0
    if container.view not in (AUTO, REQUIRE, OFF):
        _say(id_, f"annotation {ANNOTATION}={container.view}: it is {AUTO}, {REQUIRE} or {OFF}; taken as {AUTO}")
    if container.view == OFF:
        return 0
    wrong = attend(host, container, deadline)
    if wrong:
        required = container.view == REQUIRE
        so = f"it must not start, by {ANNOTATION}={REQUIRE}" if required else "it starts with the kernel's own /proc"
        _say(id_, f"{wrong}; {so}")
        return 1 if required else 0
    return 0
