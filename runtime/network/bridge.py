"""Connects a container to bridges of ours, and undoes it; each under the lock of the leases.

What is not ours to keep goes with the last container: bridges, rules and the list of leases. What somebody was killed
over is found void by whoever comes next (``leases``), and removed.
"""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime.errors import RunError
from runtime.network import leases, links, listening, names, networks, ports, programs, rules, sysctls
from runtime.network.network import PREFIX
from runtime.network.wish import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runtime.network.leases import Book, Lease
    from runtime.network.wish import Wish


def connect(wish: Wish, storage: str, root: str, id_: str, hosts: str, pid: int) -> None:
    """Give the network namespace of ``pid`` interfaces in networks; raises an Error, and leaves nothing."""
    if not wish.ends:  # it was taken out of all of them
        return
    with leases.Locked() as file:
        book = _sound(file)
        there = leases.interfaces()
        who = leases.Lease(root, id_, "", "", hosts, "", "", "", hostname=wish.hostname, gateways=wish.gateways)
        new = _decided(wish, storage, book, who)
        for bridge in (new.networks.keys() - book.networks.keys()) & there:
            if not bridge.startswith(PREFIX):
                raise RunError(f"the host has an interface {bridge}, which is none of ours", "rename it")
        added = new.leases[len(book.leases) :]
        file.save(new.begun(added))
        try:
            for network in new.networks.values():
                sysctls.write(sysctls.forwarding(network, there), said=True)
            with programs.Nft(rules.text(new), rules.first(new) if not book.leases else ""):
                _plug(book, new, added, pid)
        except BaseException:
            _undo(file, new, book)
            raise
        _settle(file, book, new)


def _decided(wish: Wish, storage: str, book: Book, who: Lease) -> Book:
    """Return the book with what a wish comes to; raises Errors for what others have."""
    ipv6, new = sysctls.ipv6(), book
    for end in wish.ends:
        network = networks.use(storage, end.name, ipv6=ipv6)
        network = networks.as_up(network, new.networks.get(network.bridge))
        if any(lease.bridge == network.bridge for lease in new.all_of(who.root, who.id)):
            raise RunError(f"container {who.id!r} is in the network {end.name!r} already", "disconnect it first")
        cable = f"veth{os.urandom(4).hex()}"
        mine = who.replace(bridge=network.bridge, interface=cable, names=(who.id, *end.aliases))
        new = new.with_(network, leases.decide(network, new, end, mine))
    shown = book.shown(who.root, who.id)
    if wish.ports and not shown:
        others = [(lease.id, port) for lease in book.leases for port in lease.ports]
        shown = ports.resolve(wish.ports, others, listening.busy)
    return new.publishing(who.root, who.id, shown)


def _plug(book: Book, new: Book, added: Sequence[Lease], pid: int) -> None:
    """Make the interfaces of one container that one book has more than another, and the ways they are."""
    root, id_ = added[0].root, added[0].id
    there = leases.interfaces()
    fresh = [network for bridge, network in new.networks.items() if bridge not in there]
    lines = [line for network in fresh for line in links.bridge(network)]
    for lease in added:
        lines += links.cable(new.networks[lease.bridge], lease, pid)
    mine = new.all_of(root, id_)
    programs.ip([*lines, *links.hairpins(mine)])
    sysctls.write(map(sysctls.loopback, (lease.bridge for lease in mine if lease.ports)), said=False)
    inside = [line for lease in added for line in links.inside(new.networks[lease.bridge], lease)]
    inside += links.routes(links.ways(book, book.all_of(root, id_)), links.ways(new, mine))
    programs.ip(["link set lo up", *inside], f"/proc/{pid}/ns/net")


def disconnect(root: str, id_: str, name: str, pid: int) -> bool:
    """Take a running container out of a network, whose ports and ways others of its get; say whether it was in it."""
    with leases.Locked() as file:
        book = _sound(file)
        mine = book.all_of(root, id_)
        gone = next((lease for lease in mine if book.networks[lease.bridge].name == name), None)
        if gone is None:
            return False
        after = book.kept(lambda lease: lease is not gone).publishing(root, id_, book.shown(root, id_))
        left = after.all_of(root, id_)
        try:
            if lines := links.routes(links.ways(book, mine), links.ways(after, left)):
                programs.ip(lines, f"/proc/{pid}/ns/net")
            if hairpins := links.hairpins(left):
                programs.ip(hairpins)
                sysctls.write(map(sysctls.loopback, (lease.bridge for lease in left if lease.ports)), said=False)
        except BaseException:
            _undo(file, book, after)
            raise
        file.save(book.begun([gone]))  # only now: who finds it begun can't lead a container's ways by another
        _turn(file, book, after)
        names.write(gone.hosts, names.lines(after, left))
        return True


def release(root: str, id_: str) -> None:
    """Take a container's interfaces, addresses and ports away, and whatever leases are void."""
    with leases.Locked() as file:
        before = file.load()
        if before.leases:
            after = _holding(before).kept(lambda lease: (lease.root, lease.id) != (root, id_))
            if after.leases != before.leases:
                _turn(file, before, after)


def tell(root: str, id_: str) -> None:
    """Write a container's own names and those of its networks into its /etc/hosts."""
    with leases.Locked() as file:
        book = file.load()
        mine = book.all_of(root, id_)
        if mine:
            names.write(mine[0].hosts, names.lines(book, mine))


def current() -> Book:
    """Return the leases that hold."""
    with leases.Locked() as file:
        return _holding(file.load())


def reload() -> None:
    """Tell nftables all rules again."""
    with leases.Locked() as file, programs.Nft(rules.text(_holding(file.load()))):
        pass


def remove(storage: str, wanted: Iterable[str] | None, remembered: Mapping[str, Sequence[str]]) -> list[str]:
    """Remove networks, all or none, or all but the default one that nobody uses; return their names.

    ``remembered``: which containers of this storage will want which. Raises an Error for one that does not exist or
    is in use.
    """
    with leases.Locked() as file:
        book = _sound(file)
        users = {
            network.name: dict.fromkeys(
                (*(lease.id for lease in book.of(network.bridge)), *remembered.get(network.name, ()))
            )
            for network in networks.all_(storage)
        }
        chosen = dict.fromkeys(wanted) if wanted is not None else [
            name for name, who in users.items() if not who and name != DEFAULT
        ]  # fmt: skip
        for name in chosen:
            if name not in users:
                raise networks.missing(name)
            if users[name]:
                who = ", ".join(users[name])
                raise RunError(f"network {name!r} is used by {who}", "remove these containers, or disconnect them")
        for name in chosen:
            networks.remove(storage, name)
        return list(chosen)


def _holding(book: Book) -> Book:
    """Return what holds of a book; what a container published by a lease that does not, it does by its others."""
    there = leases.interfaces()
    found = book.kept(lambda lease: not lease.begun and lease.interface in there)
    for lease in {*book.leases} - {*found.leases}:
        if lease.ports:
            found = found.publishing(lease.root, lease.id, lease.ports)
    return found


def _sound(file: leases.Locked) -> Book:
    """Return what holds of what is written, once what does not is removed."""
    before = file.load()
    after = _holding(before)
    if after.leases != before.leases:
        _turn(file, before, after)
    return after


def _unplug(interfaces: Iterable[str]) -> None:
    """Remove interfaces; their container may be ending, and take them along."""
    gone = leases.interfaces().intersection(interfaces)
    if not gone:
        return
    try:
        programs.ip(links.removal(sorted(gone), int.from_bytes(os.urandom(3), "big") + 1), force=True)
    except Error:
        if gone & leases.interfaces():
            raise


def _turn(file: leases.Locked, before: Book, after: Book) -> None:
    """Let rules, interfaces, names and the file be as a book that has less in it than the one before."""
    with programs.Nft(rules.text(after), must=bool(after.leases)):
        _unplug(before.beyond(after))
    _settle(file, before, after)


def _undo(file: leases.Locked, before: Book, after: Book) -> None:
    """Bring what was begun to an end, as far as can be: what went wrong first is what is said."""
    try:
        _turn(file, before, after)
    except Error:
        return


def _settle(file: leases.Locked, before: Book, after: Book) -> None:
    """Write it down, and tell those it changes something for who is in their networks."""
    file.save(after)
    changed = {lease.bridge for lease in {*before.leases} ^ {*after.leases}}
    touched = [
        lease
        for lease in after.leases
        if lease not in before.leases or (lease.bridge in changed and after.networks[lease.bridge].named)
    ]
    for root, id_, hosts in dict.fromkeys((lease.root, lease.id, lease.hosts) for lease in touched):
        names.write(hosts, names.lines(after, after.all_of(root, id_)))
