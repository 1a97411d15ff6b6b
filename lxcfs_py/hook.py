"""``lxcfs-py hook``: gives a container of any OCI runtime the view (runtime-spec, config.md, "POSIX-platform Hooks").

At createRuntime, where runc and crun have made the container's mounts but not entered its root yet, it registers
the container, enters its mount namespace and binds the served files over its /proc and /sys. At createContainer,
inside of that namespace, it does the same as far as it may. At poststop it removes the registration. Which stage it
is, the state that the runtime writes to stdin and the namespaces tell.

What asks the daemon is done by a child, which a daemon that hangs can't keep us waiting for. All of that comes before
the first mount: a container has all files or none.
"""

from __future__ import annotations

import os
import select
import time

from lxcfs_py import ancestry, json_text, registry
from lxcfs_py.binding import Asked, give
from lxcfs_py.errors import Error, reason
from lxcfs_py.host import Host
from lxcfs_py.oci import ANNOTATION, AUTO, OFF, REQUIRE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

SECONDS = 5.0
"""How long a container's start may be kept waiting."""
STOPPED = "stopped"


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
    try:
        os.write(2, b"lxcfs-py hook: %s\n" % line)
    except OSError:  # it is closed, or full
        pass
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
        container = container.replace(pid=ancestry.first_process(host, container.pid))
        if registry.lives(host, container.id, container.pid):
            return ""  # an earlier stage, or the runtime itself, has seen to it
    except Error as error:
        return str(error)
    except OSError as error:
        return reason(error)
    wrong = within(deadline, lambda: give(host, container))
    if wrong and registry.lives(host, container.id, container.pid):
        registry.unregister(host, container.id, container.pid, registry.load(host, container.id).init_start_ticks)
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
