"""What nftables is told: all of it, anew each time, in one transaction; so it is right whatever was there before.

from outside, from containers          by programs of the host
  guard (nobody reaches 127.0.0.1)       output: published ports, to the container
  prerouting: published ports,
              to the container
  forward: published, same network,    postrouting: what leaves a network has the host's address, and what
           outwards; nothing else                   comes by a published port from beside it the bridge's
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.network.leases import Book

TABLE = "inet pyproc"
NOTHING = f"table {TABLE}\ndelete table {TABLE}\n"
"""Remove it; the first line lets the second succeed where there is none."""
KEYS = {4: "ip", 6: "ip6"}


def _elements(items: Iterable[str]) -> str:
    text = ", ".join(items)
    return f" elements = {{ {text} }}" if text else ""


def _ports(book: Book, version: int) -> tuple[list[str], list[str]]:
    """Return the elements of a family's maps: ports of any address, and ports of one."""
    anywhere, one = [], []
    for lease in book.leases:
        address = lease.address if version == 4 else lease.address6
        for port in lease.ports:
            if not address or version not in port.versions:
                continue
            target = f"{port.protocol} . {port.host} : {address} . {port.container}"
            if port.anywhere:
                anywhere.append(target)
            else:
                one.append(f"{port.ip} . {target}")
    return anywhere, one


def _maps(book: Book, version: int) -> list[str]:
    anywhere, one = _ports(book, version)
    kind = "ipv4_addr" if version == 4 else "ipv6_addr"
    key = "inet_proto . inet_service"
    return [
        f"  map any{version} {{ type {key} : {kind} . inet_service;{_elements(anywhere)} }}",
        f"  map one{version} {{ type {kind} . {key} : {kind} . inet_service;{_elements(one)} }}",
    ]


def _publishing(version: int) -> list[str]:
    ip, port = KEYS[version], "meta l4proto . th dport"
    return [
        f"    meta nfproto ipv{version} dnat {ip} to {ip} daddr . {port} map @one{version}",
        f"    meta nfproto ipv{version} dnat {ip} to {port} map @any{version}",
    ]


def _leaving(book: Book) -> list[str]:
    """Return what happens to the source of packets that leave a network, or come back into their own."""
    found = []
    for network in book.networks.values():
        for subnet, _ in network.subnets:
            ip = KEYS[subnet.version]
            found.append(f"    {ip} saddr {subnet} {ip} daddr {subnet} ct status dnat masquerade")
            if not network.internal:
                found.append(f'    {ip} saddr {subnet} oifname != "{network.bridge}" masquerade')
    return found


def text(book: Book) -> str:
    """Return the rules of all networks that have containers; the table's removal if there are none."""
    return NOTHING + _table(book) if book.leases else NOTHING


def first(book: Book) -> str:
    """Return the same for where there are none yet, else it is refused: removing costs the kernel a grace period."""
    return f"create table {TABLE}\n{_table(book)}"


def _table(book: Book) -> str:
    bridges = [f'"{bridge}"' for bridge in book.networks]
    internal = [f'"{bridge}"' for bridge, network in book.networks.items() if network.internal]
    open_ = [f'"{bridge}"' for bridge, network in book.networks.items() if network.open]
    lines = [
        f"table {TABLE} {{",
        f"  set bridges {{ type ifname;{_elements(bridges)} }}",
        f"  set internal {{ type ifname;{_elements(internal)} }}",
        f"  set open {{ type ifname;{_elements(open_)} }}",
        f"  set same {{ type ifname . ifname;{_elements(f'{each} . {each}' for each in bridges)} }}",
        *(line for version in KEYS for line in _maps(book, version)),
        "  chain ports {",
        *(line for version in KEYS for line in _publishing(version)),
        "  }",
        "  chain guard {",
        "    type filter hook prerouting priority -300",
        "    iifname @bridges ip daddr 127.0.0.0/8 drop",
        "  }",
        "  chain prerouting {",
        "    type nat hook prerouting priority -100",
        "    fib daddr type local jump ports",
        "  }",
        "  chain output {",
        "    type nat hook output priority -100",
        "    ip6 daddr ::1 return",  # the kernel leads it nowhere else: better refused than unanswered
        "    fib daddr type local jump ports",
        "  }",
        "  chain postrouting {",
        "    type nat hook postrouting priority 100",
        "    ip saddr 127.0.0.0/8 oifname @bridges masquerade",
        *_leaving(book),
        "  }",
        "  chain forward {",
        "    type filter hook forward priority 0",
        "    ct state established,related accept",
        "    iifname . oifname @same accept",
        "    iifname @internal drop",
        "    oifname @internal drop",
        "    ct status dnat accept",
        "    iifname @open oifname @open accept",
        "    oifname @bridges drop",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"
