"""Connects a container to a bridge of ours, and undoes it; each under the lock of the leases.

What is not ours to keep goes with the last container: bridge, rules and the list of leases. What somebody was killed
over is found void by whoever comes next (``leases``).
"""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime.errors import RunError
from runtime.network import leases, links, names, networks, programs, rules, sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.network.leases import Book, Lease
    from runtime.network.networks import Network
    from runtime.network.wish import Wish


def connect(wish: Wish, storage: str, root: str, id_: str, hosts: str, pid: int) -> None:
    """Give the network namespace of ``pid`` an interface in the network; raises an Error, and leaves nothing."""
    with leases.Locked() as file:
        there = leases.interfaces()
        before = file.load()
        book = before.kept(lambda lease: lease.interface in there)
        network = networks.use(storage, wish.name, ipv6=sysctls.ipv6())
        network = networks.as_up(network, book.networks.get(network.bridge))
        cable = f"veth{os.urandom(4).hex()}"
        who = leases.Lease(
            root, id_, network.bridge, cable, hosts, "", "", "",
            names=(id_, *wish.aliases), hostname=wish.hostname, gateways=wish.gateways,
        )  # fmt: skip
        lease = leases.decide(network, book, wish, who, leases.busy)
        new = book.with_(network, lease)
        file.save(new)
        try:
            sysctls.write(sysctls.forwarding(network, there), said=True)
            _plug(network, lease, pid, new=network.bridge not in there)
            programs.nft(rules.text(new))
        except BaseException:
            _undo(file, lease, before.replace(networks={**before.networks, **new.networks}), book)
            raise
        _settle(file, before, new)


def release(root: str, id_: str) -> None:
    """Take a container's interface, address and ports away, and whatever leases are void."""
    with leases.Locked() as file:
        before = file.load()
        if not before.leases:
            return
        mine = before.find(root, id_)
        if mine is not None:
            _unplug(mine.interface)
        there = leases.interfaces()
        book = before.kept(lambda lease: lease is not mine and lease.interface in there)
        if book.leases != before.leases:
            _rules(book)
            _settle(file, before, book)


def tell(root: str, id_: str) -> None:
    """Write a container's own names and those of its network into its /etc/hosts."""
    with leases.Locked() as file:
        book = file.load()
        lease = book.find(root, id_)
        if lease is not None:
            names.write(lease.hosts, names.lines(book, lease))


def current() -> Book:
    """Return the leases that hold."""
    with leases.Locked() as file:
        there = leases.interfaces()
        return file.load().kept(lambda lease: lease.interface in there)


def reload() -> None:
    """Tell nftables all rules again."""
    with leases.Locked() as file:
        there = leases.interfaces()
        programs.nft(rules.text(file.load().kept(lambda lease: lease.interface in there)))


def remove(storage: str, wanted: Iterable[str] | None) -> list[str]:
    """Remove networks, all or none, or all but the default one that nobody uses; return their names.

    Raises an Error for one that does not exist or is in use.
    """
    with leases.Locked() as file:
        there = leases.interfaces()
        before = file.load()
        book = before.kept(lambda lease: lease.interface in there)
        if book.leases != before.leases:
            _rules(book)
            _settle(file, before, book)
        if wanted is None:
            free = (network for network in networks.all_(storage) if not book.of(network.bridge))
            names_ = [network.name for network in free if network.named]
        else:
            names_ = list(dict.fromkeys(wanted))
        for name in names_:
            users = [lease.id for lease in book.of(networks.find(storage, name).bridge)]
            if users:
                raise RunError(f"network {name!r} is used by {', '.join(users)}", "remove these containers first")
        for name in names_:
            networks.remove(storage, name)
        return names_


def _plug(network: Network, lease: Lease, pid: int, *, new: bool) -> None:
    made = links.bridge(network) if new else []
    programs.ip([*made, *links.cable(lease, pid)])
    if lease.ports:
        sysctls.write([sysctls.loopback(network.bridge)], said=False)
    programs.ip(links.inside(network, lease), f"/proc/{pid}/ns/net")


def _unplug(interface: str) -> None:
    """Remove an interface; its container may be ending, and take it along."""
    if interface not in leases.interfaces():
        return
    try:
        programs.ip(links.removal(interface))
    except Error:
        if interface in leases.interfaces():
            raise


def _rules(book: Book) -> None:
    """Tell nftables; where that can't be done there are no rules of ours to be removed."""
    try:
        programs.nft(rules.text(book))
    except Error:
        if book.leases:
            raise


def _undo(file: leases.Locked, lease: Lease, before: Book, book: Book) -> None:
    """Take back what was begun, as far as can be: what went wrong first is what is said."""
    try:
        _unplug(lease.interface)
        _rules(book)
        _settle(file, before, book)
    except Error:
        return


def _settle(file: leases.Locked, before: Book, after: Book) -> None:
    """Let bridges, names and the file be as the book is now."""
    there = leases.interfaces()
    for bridge in before.networks:
        if bridge not in after.networks and bridge in there:
            _unplug(bridge)
    file.save(after)
    changed = {lease.bridge for lease in {*before.leases} ^ {*after.leases}}
    for lease in after.leases:
        if lease.bridge in changed and after.networks[lease.bridge].named:
            names.write(lease.hosts, names.lines(after, lease))
