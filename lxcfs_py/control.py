"""Asks the daemon that serves, over its control socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lxcfs_py import sockets
from lxcfs_py.errors import Error

if TYPE_CHECKING:
    from lxcfs_py.host import Host

TIMEOUT_SECONDS = 10.0


def path(host: Host) -> str:
    """Return where the daemon listens."""
    return f"{host.run}/lxcfs-py/control.sock"


def ask(host: Host, word: str) -> Any:
    """Return the daemon's answer to one of the requests of ``daemon.control``; raises an Error."""
    try:
        with sockets.connect(path(host), TIMEOUT_SECONDS) as connection:
            connection.sendall(f"{word}\n".encode())
            with connection.makefile("rb") as answer:
                found = json.loads(answer.readline())
    except PermissionError as error:
        raise Error(f"{path(host)}: {error.strerror}", "run it as root, with sudo") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise Error("no lxcfs-py daemon serves", "start one: lxcfs-py serve") from None
    except (OSError, ValueError) as error:
        raise Error(f"{path(host)}: the daemon does not answer: {error}", "its log may say why") from None
    if "error" in found:
        raise Error(found["error"], "the daemon is of another version")
    return found
