"""A network by a program of the user's own, slirp4netns(1): for who may make no interface on the host.

The program speaks for the container to the world, in sockets like any other program's; the container has an
interface to it. It is a child of the container's holder, or of who waits for its end, and dies with that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import suppress

from lxcfs_py import process
from runtime import places, state
from runtime.errors import RunError
from runtime.kernel import syscalls as sc
from runtime.network import ports
from runtime.network.leases import Lease
from runtime.network.network import Network
from runtime.process import descriptors, ids
from runtime.report import connect as reached
from runtime.request import NETWORK as CONNECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from typing import NoReturn

    from runtime.network.ports import Port
    from runtime.network.wish import Wish
    from runtime.state import State
else:
    import _socket

PROGRAM = NAME = "slirp4netns"
ADDRESS = "10.0.2.100"
"""The container's."""
NETWORK = Network(NAME, NAME, "10.0.2.0/24", "10.0.2.2")
RECORD, SOCKET = "slirp4netns", "slirp4netns.sock"
"""In the container's directory: the program's pid, start in ticks and what is published; and where it is asked."""
READY_SECONDS = 30
_READY, _DIRECTORY, _USER, _NETWORK = 3, 4, 5, 6
NS_GET_USERNS = 0xB701
"""ioctl_nsfs(2): the user namespace that another namespace belongs to."""
OPTIONS = (
    "--configure", "--mtu=65520", "--disable-host-loopback", "--enable-seccomp",
    f"--ready-fd={_READY}", f"--api-socket=/proc/self/fd/{_DIRECTORY}/{SOCKET}",
    f"--userns-path=/proc/self/fd/{_USER}", "--netns-type=path", f"/proc/self/fd/{_NETWORK}", "tap0",
)  # fmt: skip
"""``--disable-host-loopback``: what listens on the host's loopback alone is not for containers."""
KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}


def busy(port: Port) -> str:
    """Return why the host can't give a port, "" if it can."""
    if 6 in port.versions and port.ip:
        return f"{PROGRAM} publishes no IPv6 ports"
    probe = _socket.socket(_socket.AF_INET, KINDS[port.protocol])
    try:
        probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        probe.bind((port.ip or ports.EVERY[4], port.host))
    except OSError as error:
        return os.strerror(error.errno or 0)
    finally:
        probe.close()
    return ""


def connect(wish: Wish, found: State, namespace: int) -> None:
    """Give a container its network, by a descriptor of its namespace; raises an Error, and is to be undone then."""
    program = ids.helper(PROGRAM)
    if not program:
        hint = f"apt-get install {PROGRAM}, or use --network none or host"
        raise RunError(f"--network {NAME}: the program {PROGRAM}(1) is not installed", hint)
    published = ports.resolve(wish.ports, (), busy)
    said = descriptors.memory(b"")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    directory = os.open(found.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    user = fcntl.ioctl(namespace, NS_GET_USERNS)
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _become(parent, [program, *OPTIONS], (said, writer, directory, user, namespace))
        _record(found, pid, published)
        os.close(writer)
        writer = -1
        if not _ready(reader):
            text = os.pread(said, 4096, 0).decode("utf-8", "replace")
            lines = [line for line in text.splitlines() if line.strip() and "child failed" not in line]
            raise RunError(f"{PROGRAM}: {lines[-1] if lines else 'it did not become ready'}", _hint(lines))
        for port in published:
            _publish(found, port)
    finally:
        for each in (said, reader, directory, user, *((writer,) if writer >= 0 else ())):
            os.close(each)


def _hint(lines: list[str]) -> str:
    if any("/dev/net/tun" in line for line in lines):
        return "have root load the module tun, and let users open /dev/net/tun: chmod 666 /dev/net/tun"
    return "use --network none or host"


def _become(parent: int, argv: list[str], given: tuple[int, ...]) -> NoReturn:
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, 9)
        if os.getppid() != parent:  # it was killed before we asked for that
            os._exit(127)
        null = os.open(os.devnull, os.O_RDWR)
        wanted = [fcntl.fcntl(each, fcntl.F_DUPFD, 16) for each in (null, null, *given)]
        for target, each in enumerate(wanted):
            os.dup2(each, target)
        sc.close_on_exec(len(wanted))
        os.setsid()
        os.execve(argv[0], argv, {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"})
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}".encode())
    finally:
        os._exit(127)


def _ready(reader: int) -> bool:
    from select import select

    return bool(select([reader], [], [], READY_SECONDS)[0]) and bool(os.read(reader, 1))


def _record(found: State, pid: int, published: tuple[Port, ...]) -> None:
    about = process.stat(places.host(), pid)
    rows = [[port.ip, port.host, port.container, port.protocol] for port in published]
    text = json.dumps([pid, about.start_ticks if about else 0, rows])
    state.write_text(f"{found.directory}/{RECORD}", text.encode(), 0o600)


def _publish(found: State, port: Port) -> None:
    arguments = {
        "proto": port.protocol, "host_addr": port.ip or ports.EVERY[4], "host_port": port.host,
        "guest_addr": ADDRESS, "guest_port": port.container,
    }  # fmt: skip
    asking = reached(f"{found.directory}/{SOCKET}")
    try:
        asking.settimeout(READY_SECONDS)
        asking.sendall(json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode())
        asking.shutdown(_socket.SHUT_WR)
        answer = b""
        while data := asking.recv(4096):
            answer += data
    except OSError as error:
        raise RunError(f"-p {port}: {PROGRAM} does not answer: {error}", "try again") from error
    finally:
        asking.close()
    if b'"error"' in answer:
        why = os.strerror(errno.EADDRINUSE) if not busy(port) else busy(port)
        raise RunError(f"-p {port}: {PROGRAM}: {why}", "publish another, or stop who has it")


def read(directory: str) -> tuple[int, int, tuple[Port, ...]]:
    """Return the program's pid and start in ticks, 0 for none, and what is published."""
    try:
        with open(f"{directory}/{RECORD}", encoding="utf-8") as file:
            pid, ticks, rows = json.load(file)
    except (OSError, ValueError):
        return 0, 0, ()
    return pid, ticks, tuple(ports.Port(*row) for row in rows)


def used(found: State) -> bool:
    """Say whether a container has, or is to have, such a network."""
    return found.annotations.get(CONNECTED) == NAME


def lease(found: State) -> Lease:
    """Return what a container has of such a network; no address while it does not run."""
    pid, _, published = read(found.directory)
    root = os.path.dirname(found.directory)
    return Lease(root, found.key, NAME, "tap0", "", ADDRESS if pid else "", "", "", published)


def tell(found: State) -> None:
    """Write a container's own name into its /etc/hosts."""
    with open(f"{found.storage}/etc/hosts", "a", encoding="utf-8") as file:
        file.write(f"{ADDRESS}\t{state.config(found).get('hostname') or found.id}\n")


def disconnect(found: State) -> None:
    """End the program; that it has gone is fine."""
    pid, ticks, _ = read(found.directory)
    if pid:
        if process.alive(places.host(), pid, ticks):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        with suppress(ChildProcessError):  # it is another's
            os.waitpid(pid, 0)
    for name in (SOCKET, RECORD):
        try:
            os.unlink(f"{found.directory}/{name}")
        except FileNotFoundError:
            continue
