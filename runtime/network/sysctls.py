"""What the kernel has to be told to pass packets on; only what is not so already, and said."""

from __future__ import annotations

import os

from lxcfs_py.errors import reason
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runtime.network.network import Network

ROOT = "/proc/sys/net"


def read(path: str) -> str:
    """Return a setting, "" where there is none."""
    try:
        with open(f"{ROOT}/{path}", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def ipv6(value: Callable[[str], str] = read) -> bool:
    """Say whether the host has IPv6, and gives it to interfaces that are made."""
    return all(value(f"ipv6/conf/{which}/disable_ipv6") == "0" for which in ("all", "default"))


def forwarding(
    network: Network, interfaces: Iterable[str], value: Callable[[str], str] = read
) -> list[tuple[str, str]]:
    """Return what must be set so that a network leads out.

    Who forwards IPv6 believes no router any more (accept_ra in ip-sysctl.rst): interfaces that do go on with 2.
    """
    found = []
    if network.internal:
        return []
    if value("ipv4/ip_forward") == "0":
        found.append(("ipv4/ip_forward", "1"))
    if network.subnet6 and value("ipv6/conf/all/forwarding") == "0":
        found += [(f"ipv6/conf/{name}/accept_ra", "2") for name in sorted(interfaces)
                  if name != "lo" and value(f"ipv6/conf/{name}/accept_ra") == "1"]  # fmt: skip
        found.append(("ipv6/conf/all/forwarding", "1"))
    return found


def loopback(bridge: str) -> tuple[str, str]:
    """Return what lets programs of the host reach published ports by 127.0.0.1."""
    return f"ipv4/conf/{bridge}/route_localnet", "1"


def write(settings: Iterable[tuple[str, str]], *, said: bool) -> None:
    """Set them; raises an Error naming the one that can't be."""
    for path, value in settings:
        name = f"net.{path.replace('/', '.')}"
        try:
            descriptor = os.open(f"{ROOT}/{path}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RunError(f"sysctl {reason(error)}", f"set {name} = {value} on the host") from error
        if said:
            os.write(
                2, f"pyproc-run: {name} is {value} from now on: the host passes containers' packets on\n".encode()
            )
