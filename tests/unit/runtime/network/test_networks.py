"""Networks, leases, rules, links and names: what is decided."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import time
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from runtime import options
from runtime.config import joined
from runtime.network import (
    addresses,
    bridge,
    leases,
    links,
    listening,
    names,
    network,
    networks,
    programs,
    rules,
    sysctls,
    told,
    wish,
)
from runtime.network.leases import Book, Lease
from runtime.network.network import Asked, Network
from runtime.network.ports import Port
from runtime.network.programs import Done
from runtime.network.wish import End, Wish

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = bytes(range(1, 10))
WEB = Network("web", "pyproc-1", "10.1.0.0/24", "10.1.0.1", "fd01::/64", "fd01::1")
OTHER = Network("other", "pyproc-3", "10.4.0.0/24", "10.4.0.1")
INNER = Network("inner", "pyproc-2", "10.2.0.0/29", "10.2.0.1", internal=True)


def who(id_: str, of: Network = WEB, **fields: object) -> Lease:
    """Return a container's lease, as it is before anything is decided."""
    base = Lease(
        "/root", id_, of.bridge, f"veth-{id_}-{of.name}", f"/{id_}/hosts", "", "", "", names=(id_,), hostname=id_
    )
    return base.replace(**fields)


def leased(book: Book, id_: str, of: Network = WEB, **wanted: object) -> Book:
    """Return the book with a container more, or with another network of one."""
    return book.with_(of, leases.decide(of, book, End(of.name).replace(**wanted), who(id_, of)))


def decide(asked: Asked, *there: Network, routes: tuple[str, ...] = ()) -> Network:
    """Return the network that is decided on."""
    return network.decide(asked, there, map(addresses.subnet, routes), RANDOM, 7)


def test_a_network_nobody_said_more_of() -> None:
    """It gets a free subnet of the pool, whose first address is the gateway, a bridge of a random name, no IPv6."""
    assert decide(Asked("db"), WEB, routes=("10.90.0.0/16",)) == Network(
        "db", "pyproc-06070809", "10.91.0.0/16", "10.91.0.1", created_nsec=7
    )
    found = decide(Asked("bridge", ipv6=True))
    assert (found.bridge, found.subnet6, found.gateway6) == ("pyproc0", "fd01:203:405::/64", "fd01:203:405::1")


def test_a_network_all_was_said_of() -> None:
    """Subnets and gateways of both families in any order, labels, and that it is internal."""
    asked = Asked("db", ("fd02::/64", "10.3.0.0/24"), ("10.3.0.9", "fd02::9"), internal=True, labels={"a": "b"})
    found = decide(asked)
    assert found.subnets == (
        (addresses.subnet("10.3.0.0/24"), "10.3.0.9"),
        (addresses.subnet("fd02::/64"), "fd02::9"),
    )
    assert found.internal
    assert found.labels == {"a": "b"}
    said = ("com.docker.network.bridge.name=br7", "mtu=1400", "isolate=false")
    found = decide(asked.replace(ranges=("10.3.0.128/25", "fd02::/80"), options=said))
    assert (found.bridge, found.mtu, found.open) == ("br7", 1400, True)
    assert (found.range, found.range6) == ("10.3.0.128/25", "fd02::/80")
    assert not decide(asked).open


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked("web"), "network 'web' exists"),
        (Asked("host"), "'host': not a network's name"),
        (Asked("-x"), "not a network's name"),
        (Asked("a/b"), "not a network's name"),
        (Asked("db", ("10.1.0.128/25",)), "--subnet 10.1.0.128/25: network 'web' has 10.1.0.0/24"),
        (Asked("db", ("192.0.2.0/24",)), "--subnet 192.0.2.0/24: a route of the host has 192.0.0.0/16"),
        (Asked("db", ("10.3.0.0/24", "10.4.0.0/24")), "--subnet 10.4.0.0/24: a second of IPv4"),
        (Asked("db", ("10.3.0.0/24",), ("10.4.0.1",)), "--gateway 10.4.0.1: not in a subnet"),
        (Asked("db", ("10.3.0.0/24",), ("10.3.0.0",)), "--gateway 10.3.0.0: not in the subnet"),
        (Asked("db", ("10.3.0.0/24",), ("10.3.0.1", "10.3.0.2")), "--gateway 10.3.0.2: the subnet"),
        (Asked("db", ("10.3.0.0/24",), ("x",)), "--gateway x: not in a subnet"),
        (Asked("db", ("10.3.0.0/24",), ranges=("10.4.0.0/25",)), "--ip-range 10.4.0.0/25: not in a subnet"),
        (Asked("db", ("10.3.0.0/24",), ranges=("10.3.0.0/23",)), "--ip-range 10.3.0.0/23"),
        (Asked("db", ("10.3.0.0/24",), ranges=("10.3.0.0/26", "10.3.0.64/26")), "10.3.0.64/26: a second of IPv4"),
        (Asked("db", ranges=("fd00::/80",)), "--ip-range fd00::/80: not in a subnet"),
        (Asked("db", options=("foo=1",)), "--opt 'foo=1': unknown; choose from com.docker.network.bridge.name, "),
        (Asked("db", options=("mtu=9",)), "--opt mtu=9: not a length in bytes; give one of 68 to 65535"),
        (Asked("db", options=("isolate=x",)), "--opt isolate 'x': neither true nor false"),
        (Asked("db", options=("com.docker.network.bridge.name=pyproc7",)), "such names are for networks nobody"),
        (Asked("db", options=("com.docker.network.bridge.name=a/b",)), "'a/b': no interface's name"),
        (Asked("db", options=('com.docker.network.bridge.name=a"b',)), "no interface's name"),
        (Asked("db", options=("com.docker.network.bridge.name=a\\",)), "no interface's name"),
        (Asked("db", options=("com.docker.network.bridge.name=br0",)), "network 'own' has it"),
    ],
)
def test_networks_that_are_refused(asked: Asked, message: str) -> None:
    """Names and subnets in use and gateways elsewhere are refused, and the error says who has what."""
    with pytest.raises(Error) as caught:
        decide(asked, WEB, INNER.replace(name="own", bridge="br0"), routes=("192.0.0.0/16",))
    assert message in str(caught.value)


def test_networks_are_kept(tmp_path: Path) -> None:
    """What is written down is read again; what is no network is an error that names the file."""
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks/web.json").write_bytes(json_text.dumps(WEB.as_dict()))
    assert networks.all_(str(tmp_path)) == [WEB]
    assert networks.find(str(tmp_path), "web") == WEB
    with pytest.raises(Error, match="network 'no' does not exist"):
        networks.find(str(tmp_path), "no")
    for text in ("{", "[]", '{"name": "x"}', '{"name": 1, "bridge": 1, "subnet": 1, "gateway": 1, "more": 1}'):
        (tmp_path / "networks/bad.json").write_text(text)
        with pytest.raises(Error, match=r"bad\.json: not a network"):
            networks.all_(str(tmp_path))


def test_leases_are_given_in_turn() -> None:
    """Each gets the next address of both families at the same place, and a hardware address made of it."""
    book = leased(leased(Book(), "a"), "b")
    assert [(lease.address, lease.address6, lease.mac) for lease in book.leases] == [
        ("10.1.0.2", "fd01::2", "02:42:0a:01:00:02"),
        ("10.1.0.3", "fd01::3", "02:42:0a:01:00:03"),
    ]
    without = book.kept(lambda lease: lease.id != "b")
    assert leased(without, "c").leases[-1].address == "10.1.0.4"
    assert leased(Book(), "d", INNER).leases[0].addresses == ("10.2.0.2",)


def test_leases_that_are_asked_for() -> None:
    """Address and hardware address may be chosen."""
    found = leased(Book(), "a", address="10.1.0.77", address6="fd01::7", mac="02:00:00:00:00:01").leases[0]
    assert (found.addresses, found.mac) == (("10.1.0.77", "fd01::7"), "02:00:00:00:00:01")


@pytest.mark.parametrize(
    ("of", "wanted", "message"),
    [
        (WEB, {"address": "10.1.0.2"}, "--ip 10.1.0.2: taken by a;"),
        (WEB, {"address": "10.1.0.1"}, "--ip 10.1.0.1: taken by its gateway;"),
        (WEB, {"address": "10.9.0.1"}, "--ip 10.9.0.1: not in the subnet 10.1.0.0/24;"),
        (WEB, {"address": "10.1.0.255"}, "--ip 10.1.0.255: not in the subnet"),
        (WEB, {"address6": "fd01::2"}, "--ip6 fd01::2: taken by a;"),
        (INNER, {"address6": "fd01::2"}, "--ip6 fd01::2: network 'inner' has no IPv6;"),
        (WEB, {"mac": "02:42:0a:01:00:02"}, "--mac-address 02:42:0a:01:00:02: container 'a' has it;"),
    ],
)
def test_leases_that_are_refused(of: Network, wanted: dict[str, str], message: str) -> None:
    """What another has or the network has not is refused, and the error says so."""
    with pytest.raises(Error) as caught:
        leased(leased(Book(), "a"), "b", of, **wanted)
    assert message in str(caught.value)


def test_a_network_that_is_full() -> None:
    """When all addresses are taken that is said."""
    book = Book()
    for number in range(5):
        book = leased(book, f"c{number}", INNER)
    with pytest.raises(Error, match=r"network 'inner': all addresses of 10.2.0.0/29 are taken"):
        leased(book, "one-more", INNER)


def test_a_book_is_read_as_it_was_written() -> None:
    """The file of leases says all there is to know; what is none is refused."""
    book = leased(leased(Book(), "a"), "b", INNER)
    ported = book.with_(WEB, who("p", address="10.1.0.9", ports=(Port("", 80, 8080, "tcp"),), gateways=("gw",)))
    data = json_text.dumps(leases._written(ported))
    assert leases._read(data) == ported
    for text in (b"{", b"[]", b"{}", b'{"networks": [], "leases": [{"x": 1}], "last": {}}'):
        with pytest.raises(ValueError):  # noqa: PT011
            leases._read(text)


def test_void_leases_take_their_network_along() -> None:
    """A network none of whose leases holds is not in the book any more."""
    book = leased(leased(Book(), "a"), "b", INNER)
    assert set(book.kept(lambda lease: lease.id == "a").networks) == {"pyproc-1"}


def read(line: str, gateways: tuple[str, ...] = (), exposed: tuple[str, ...] = ()) -> Wish | None:
    """Return what a command line says of networks."""
    parsed = options.parse(line.split())
    return wish.read(parsed.values, joined.mode(parsed), "h", gateways, exposed)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-p 80:80", "--publish with --network none"),
        ("--network host --ip 10.1.0.2", "--ip with --network host"),
        ("--network container:x --network-alias y", "--network-alias with --network container:x"),
        ("--network bridge --network-alias y", "names are not resolved there"),
        ("--network web --network-alias a/b", "not a host name"),
        ("--network none -P", "--publish-all with --network none"),
        ("--network web --network host", "--network host and --network web: it is one or the other"),
        ("--network none --network container:x", "--network none and --network container:x"),
        ("--network web --network cni:x", "--network web and cni:x: one by CNI plugins is the only one"),
        ("--network a/b", "--network 'a/b': 'a/b' is no network"),
        ("--network cni:", "'' is no network"),
        ("--network web,", "--network 'web,': '' is no network"),
        ("--network web:ipp=1", "--network 'web:ipp=1': 'ipp=1' is not understood; choose from alias, ip,"),
        ("--network web:ip=x", "--network web: ip 'x': not an IPv4 address"),
        ("--network web:mac=x", "--network web: mac 'x': not an interface's address"),
        ("--network web:alias=a/b", "--network web: alias 'a/b': not a host name"),
        ("--network web:interface_name=lo", "--network web: interface_name 'lo': no interface's name"),
        ("--network web:interface_name=a/b", "no interface's name"),
        ("--network web:interface_name=a#b", "no interface's name"),
        ("--network web:interface_name=-x", "no interface's name"),
        ("--network bridge:alias=x", "names are not resolved there"),
        ("--network web:ip=10.0.0.2 --network web:ip=10.0.0.3", "--network web: said twice"),
        ("--network a:interface_name=x --network b:interface_name=x", "interface_name=x: said of two networks"),
        ("--network a --network b --ip 10.0.0.2", "--ip: there are 2 networks; write --network a:ip=ADDRESS"),
        ("--network a,b --mac-address 02:00:00:00:00:01", "--mac-address: there are 2 networks"),
        ("--network web -P --expose 80/x", "--expose '80/x': unknown protocol"),
        ("--network web -P --expose 0", "--expose '0': '0' is no port"),
        ("--network web --ip x", "--ip 'x': not an IPv4 address"),
        ("--network web --ip fd00::1", "not an IPv4 address"),
        ("--network web --ip6 10.0.0.1", "not an IPv6 address"),
        ("--network web --mac-address 01:00:00:00:00:01", "not an interface's address"),
        ("--network web --mac-address 02:00:00:00:01", "not an interface's address"),
        ("--network web --mac-address x", "not an interface's address"),
    ],
)
def test_wishes_that_are_refused(line: str, message: str) -> None:
    """Options that mean nothing together or are no addresses are refused."""
    with pytest.raises(Error) as caught:
        read(f"{line} true")
    assert message in str(caught.value)


def test_wishes() -> None:
    """What the options say is what is wanted; without a network of its own nothing is."""
    line = "--network cni:web -p 80:80 --ip 10.1.0.2 --mac-address 02-00-00-00-00-0A --network-alias db true"
    found = read(line, ("gw",))
    assert found is not None
    assert found.ends == (End("web", "10.1.0.2", "", "02:00:00:00:00:0a", ("db",)),)
    assert (found.cni, found.hostname, found.gateways) == (True, "h", ("gw",))
    assert read("true") is None
    assert read("--network none true") is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--network a --network b", (End("a"), End("b"))),
        ("--network a,b --network a", (End("a"), End("b"))),
        (
            "--network a:ip=10.0.0.2,ip=fd00::2,mac=02:00:00:00:00:01,alias=x,alias=y,interface_name=if0",
            (End("a", "10.0.0.2", "fd00::2", "02:00:00:00:00:01", ("x", "y"), "if0"),),
        ),
        (
            "--network name=a,ip=10.0.0.2,ip6=fd00::2,mac-address=02:00:00:00:00:01,alias=x",
            (End("a", "10.0.0.2", "fd00::2", "02:00:00:00:00:01", ("x",)),),
        ),
        ("--network bridge --network a:alias=x --network-alias y", (End("bridge"), End("a", aliases=("x", "y")))),
        ("--network a:alias=x --ip 10.0.0.2", (End("a", "10.0.0.2", aliases=("x",)),)),
    ],
)
def test_several_networks(line: str, expected: tuple[End, ...]) -> None:
    """They are said one by one or at once, with what is wanted of each in Podman's words or Docker's."""
    found = read(f"{line} true")
    assert found is not None
    assert found.ends == expected


def test_all_ports_are_published() -> None:
    """With -P those of the image and of --expose are, on free ports of the host; but those -p names are not again."""
    found = read("--network a -p 8080:80 -P --expose 90-91/udp true", exposed=("80/tcp", "53/udp", "81"))
    assert found is not None
    assert [(each.text, each.container[0], each.protocol) for each in found.ports] == [
        ("8080:80", 80, "tcp"), ("53/udp", 53, "udp"), ("81/tcp", 81, "tcp"),
        ("90/udp", 90, "udp"), ("91/udp", 91, "udp"),
    ]  # fmt: skip
    assert {each.host for each in found.ports[1:]} == {range(49152, 65536)}
    assert read("--network a --expose 80 true", exposed=("81",)) == Wish((End("a"),), hostname="h")


def test_rules_of_nothing_remove_all() -> None:
    """Without containers there is no table."""
    assert rules.text(Book()) == "table inet pyproc\ndelete table inet pyproc\n"


def test_rules() -> None:
    """Ports are elements of maps by family and address; what leaves gets our address, but from internal networks."""
    book = leased(leased(Book(), "a"), "b", INNER)
    shown = (Port("", 8080, 80, "tcp"), Port("127.0.0.1", 53, 53, "udp"), Port("fd00::9", 81, 80, "tcp"))
    text = rules.text(book.with_(WEB, who("p", address="10.1.0.9", address6="fd01::9", ports=shown)))
    assert text.startswith(rules.NOTHING)
    for line in (
        'set bridges { type ifname; elements = { "pyproc-1", "pyproc-2" } }',
        'set internal { type ifname; elements = { "pyproc-2" } }',
        "elements = { tcp . 8080 : 10.1.0.9 . 80 }",
        "elements = { tcp . 8080 : fd01::9 . 80 }",
        "elements = { 127.0.0.1 . udp . 53 : 10.1.0.9 . 53 }",
        "elements = { fd00::9 . tcp . 81 : fd01::9 . 80 }",
        'ip saddr 10.1.0.0/24 oifname != "pyproc-1" masquerade',
        'ip6 saddr fd01::/64 oifname != "pyproc-1" masquerade',
    ):
        assert line in text
    assert 'oifname != "pyproc-2"' not in text
    assert "set open { type ifname; }" in text
    assert 'set open { type ifname; elements = { "pyproc-1" } }' in rules.text(
        leased(Book(), "a", WEB.replace(open=True))
    )
    first = rules.first(book)
    assert first.startswith("create table inet pyproc\ntable inet pyproc {")
    assert rules.text(book) == rules.NOTHING + first.partition("\n")[2]


def test_links() -> None:
    """A bridge has its gateways' addresses; a container's end its own, and a way out unless it is internal."""
    lease = leased(Book(), "a").leases[0]
    assert links.bridge(WEB) == [
        "link add name pyproc-1 address 02:42:0a:01:00:01 type bridge",
        "address add 10.1.0.1/24 dev pyproc-1",
        "address add fd01::1/64 dev pyproc-1 nodad",
        "link set dev pyproc-1 up",
    ]
    assert links.cable(WEB, lease, 42) == [
        "link add veth-a-web type veth peer name eth0 address 02:42:0a:01:00:02 netns 42",
        "link set dev veth-a-web master pyproc-1 up",
    ]
    assert links.inside(WEB, lease) == [
        "address add 10.1.0.2/24 dev eth0", "address add fd01::2/64 dev eth0 nodad", "link set dev eth0 up",
    ]  # fmt: skip
    small = WEB.replace(mtu=1400)
    assert links.bridge(small)[0] == "link add name pyproc-1 mtu 1400 address 02:42:0a:01:00:01 type bridge"
    assert " mtu 1400 address 02" in links.cable(small, lease, 42)[0]
    assert links.hairpins((lease,)) == []
    assert links.hairpins((lease.replace(ports=(Port("", 80, 80, "tcp"),)),)) == [
        "link set dev veth-a-web type bridge_slave hairpin on"
    ]
    assert links.removal(["veth1"], 7) == ["link delete dev veth1"]
    assert links.removal(["veth1", "br"], 7) == [
        "link set dev veth1 group 7", "link set dev br group 7", "link delete group 7",
    ]  # fmt: skip


def test_ways_out() -> None:
    """The first network that leads out is the way, for each family; what changes is told, and no more."""
    book = leased(leased(leased(Book(), "a", INNER), "a", OTHER), "a", WEB)
    mine = book.all_of("/root", "a")
    assert [lease.inside for lease in mine] == ["eth0", "eth1", "eth2"]
    ways = links.ways(book, mine)
    assert ways == {4: ("10.4.0.1", "eth1"), 6: ("fd01::1", "eth2")}
    assert links.routes({}, ways) == [
        "route replace default via 10.4.0.1 dev eth1", "route replace default via fd01::1 dev eth2",
    ]  # fmt: skip
    without = links.ways(book, [lease for lease in mine if lease.inside != "eth1"])
    assert links.routes(ways, without) == ["route replace default via 10.1.0.1 dev eth2"]
    assert links.routes(ways, {}) == []


def test_ports_go_with_the_way_out() -> None:
    """Of several networks the first that leads out has the ports; when it goes the next gets them."""
    shown = (Port("", 8080, 80, "tcp"),)
    book = leased(leased(leased(Book(), "a", INNER), "a", OTHER), "a", WEB).publishing("/root", "a", shown)
    assert [lease.ports for lease in book.leases] == [(), shown, ()]
    assert book.shown("/root", "a") == shown
    left = book.kept(lambda lease: lease.bridge != OTHER.bridge).publishing("/root", "a", shown)
    assert [lease.ports for lease in left.leases] == [(), shown]
    inner = left.kept(lambda lease: lease.bridge == INNER.bridge).publishing("/root", "a", shown)
    assert [lease.ports for lease in inner.leases] == [shown]
    assert inner.kept(lambda _: False).publishing("/root", "a", shown).leases == ()
    assert book.beyond(left) == ["veth-a-other", "pyproc-3"]


def test_interfaces_have_names_of_their_own() -> None:
    """The first free ethN unless one is asked for; one that the container has is refused."""
    book = leased(leased(Book(), "a", interface="eth1"), "a", OTHER)
    assert [lease.inside for lease in book.leases] == ["eth1", "eth0"]
    with pytest.raises(Error, match="interface_name=eth0: the container has one of that name"):
        leased(book, "a", INNER, interface="eth0")


def test_addresses_of_a_part() -> None:
    """Addresses nobody chose are of the part that was said; others of the subnet may be chosen."""
    part = WEB.replace(range="10.1.0.128/30", range6="fd01::100/120")
    book = Book()
    for number in range(4):
        book = leased(book, f"c{number}", part)
    assert [lease.address for lease in book.leases] == [f"10.1.0.{last}" for last in range(128, 132)]
    assert book.leases[0].address6 == "fd01::100"
    assert leased(book, "chosen", part, address="10.1.0.9").leases[-1].address == "10.1.0.9"
    with pytest.raises(Error, match=r"all addresses of 10.1.0.128/30 are taken"):
        leased(book, "one-more", part)


def test_names_of_a_network() -> None:
    """A container is told itself, its gateway's names and the others of its network, with their aliases."""
    book = leased(leased(leased(Book(), "a"), "b"), "c", INNER)
    book = book.replace(leases=(book.leases[0].replace(gateways=("gw",)), book.leases[1].replace(names=("b", "db")),
                                book.leases[2]))  # fmt: skip
    assert names.lines(book, book.leases[:1]) == [
        "10.1.0.2\ta", "fd01::2\ta", "10.1.0.1\tgw", "10.1.0.3\tb db", "fd01::3\tb db",
    ]  # fmt: skip
    default = Network("bridge", "pyproc0", "10.90.0.0/16", "10.90.0.1")
    known = leased(leased(Book(), "x", default), "y", default)
    assert names.lines(known, known.leases[:1]) == ["10.90.0.2\tx"]
    both = leased(leased(leased(leased(Book(), "a", default), "a"), "b", default), "b")
    assert names.lines(both, both.all_of("/root", "a")) == [
        "10.90.0.2\ta", "10.1.0.2\ta", "fd01::2\ta", "10.1.0.3\tb", "fd01::3\tb",
    ]  # fmt: skip
    assert names.lines(both, ()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "BEGIN\nnew\nEND\n"),
        ("mine", "mine\nBEGIN\nnew\nEND\n"),
        ("mine\nBEGIN\nold\nold\nEND\nafter\n", "mine\nBEGIN\nnew\nEND\nafter\n"),
        ("mine\nBEGIN\nold\n", "mine\nold\nBEGIN\nnew\nEND\n"),
    ],
)
def test_a_block_is_replaced(text: str, expected: str) -> None:
    """What the container has written beside the block stays."""
    text, expected = (each.replace("BEGIN", names.BEGIN).replace("END", names.END) for each in (text, expected))
    assert names.replaced(text, ["new"]) == expected


def test_a_block_is_written_in_place(tmp_path: Path) -> None:
    """The file stays the same one as it grows and shrinks; none is made, and no link followed."""
    path = tmp_path / "hosts"
    names.write(str(path), ["x"])
    assert not path.exists()
    path.write_text("127.0.0.1\tlocalhost\n")
    inode = path.stat().st_ino
    for block in (["a" * 50], ["b"]):
        names.write(str(path), block)
        assert path.read_text() == f"127.0.0.1\tlocalhost\n{names.BEGIN}\n{block[0]}\n{names.END}\n"
    assert path.stat().st_ino == inode
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        names.write(str(tmp_path / "link"), ["x"])


def test_a_file_that_somebody_has_a_lease_of(tmp_path: Path) -> None:
    """A container can't have others wait, by a lease of its file: it is not told, and at once."""
    path = tmp_path / "hosts"
    path.write_text("mine\n")
    with path.open("rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        before = time.monotonic()
        previous = signal.signal(signal.SIGIO, signal.SIG_IGN)
        try:
            names.write(str(path), ["x"])
        finally:
            signal.signal(signal.SIGIO, previous)
        assert time.monotonic() - before < 5  # the kernel waits 45 s (fs.lease-break-time)
    assert path.read_text() == "mine\n"
    names.write(str(path), ["x"])
    assert path.read_text() == f"mine\n{names.BEGIN}\nx\n{names.END}\n"


def test_what_a_kill_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was only begun is undone by whoever comes next: rules, file, and the ports are another network's again."""
    shown = (Port("", 8080, 80, "tcp"),)
    two = leased(leased(Book(), "a", INNER), "a", OTHER).publishing("/root", "a", shown)
    monkeypatch.setenv("LXCFS_PY_RUNTIME_DIR", str(tmp_path))
    there = {lease.interface for lease in two.leases} | {*two.networks}
    monkeypatch.setattr(leases, "interfaces", lambda: frozenset(there))
    said: list[str] = []
    monkeypatch.setattr(programs, "ip", lambda lines, *_place, **_how: said.extend(lines))
    rule: list[str] = []

    def nft(text: str, **_how: object) -> contextlib.nullcontext[None]:
        rule.append(text)
        return contextlib.nullcontext()

    monkeypatch.setattr(programs, "Nft", nft)
    with leases.Locked() as file:
        file.save(two.begun(two.leases[1:]))
    assert not bridge.disconnect("/root", "a", "other", 1)
    assert len(rule) == 1
    assert "8080 : 10.2.0.2 . 80" in rule[0]
    assert said[-1].startswith("link delete group ")
    with leases.Locked() as file:
        left = file.load()
    assert [(lease.bridge, lease.ports, lease.begun) for lease in left.leases] == [(INNER.bridge, shown, False)]


def test_a_container_without_any_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was taken out of all of its networks is started with none of them."""
    monkeypatch.setenv("LXCFS_PY_RUNTIME_DIR", str(tmp_path))
    shown = read("--network bridge -p 80:80 true")
    assert shown is not None
    bridge.connect(shown.replace(ends=()), str(tmp_path), "/r", "one", "/h", 1)
    assert not list(tmp_path.iterdir())


def test_what_is_passed_on() -> None:
    """Forwarding is switched on where it is off, and who listens to routers goes on; unless it is internal."""
    values = {"ipv4/ip_forward": "0", "ipv6/conf/all/forwarding": "0", "ipv6/conf/eth0/accept_ra": "1"}
    read = lambda path: values.get(path, "")  # noqa: E731
    assert sysctls.forwarding(WEB, {"lo", "eth0", "eth1"}, read) == [
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/eth0/accept_ra", "2"),
        ("ipv6/conf/all/forwarding", "1"),
    ]
    assert sysctls.forwarding(WEB, {"eth0"}, lambda _: "1") == []
    assert sysctls.forwarding(INNER, {"eth0"}, read) == []


@pytest.mark.parametrize(
    ("program", "done", "lines", "message"),
    [
        ("nft", Done(127, "", "nft: No such file or directory"), (),
         "nft: No such file or directory: networks need it; apt-get install nftables"),
        ("ip", Done(126, "", "/proc/7/ns/net: No such file or directory"), (),
         "/proc/7/ns/net: No such file or directory: the container has ended; start it again"),
        ("ip", Done(1, "", "Error: Unknown device type.\nCommand failed -:1\n"), ("link add b type bridge",),
         "it lacks bridge (ip: link add b type bridge: Unknown device type.); modprobe bridge, or"),
        ("ip", Done(1, "", "RTNETLINK answers: Operation not supported\nCommand failed -:2\n"),
         ("x", "link add v type veth peer name eth0"), "it lacks veth"),
        ("ip", Done(1, "", "RTNETLINK answers: File exists\nCommand failed -:1\n"), ("address add 1 dev x",),
         "ip: address add 1 dev x: File exists;"),
        ("nft", Done(1, "", "/dev/stdin:9:1-2: Error: Could not process rule: No such file or directory\n"
                            "    type nat hook prerouting priority -100\n    ^^^^\n"), (),
         "it lacks nft_chain_nat"),
        ("nft", Done(1, "", "/dev/stdin:9:1-2: Error: Could not process rule: No such file or directory\n"
                            "    fib daddr type local jump ports\n    ^^^^\n"), (), "it lacks nft_fib_inet"),
        ("nft", Done(1, "", "netlink: Error: cache initialization failed: Protocol not supported\n"), (),
         "it lacks nf_tables"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(program: str, done: Done, lines: tuple[str, ...], message: str) -> None:
    """A program that is not there is named with its package, what the kernel lacks with its module."""
    assert message in str(programs.problem(program, done, lines))


def test_a_namespace_that_has_gone(tmp_path: Path) -> None:
    """Whose container has ended meanwhile is told that, not that a program is missing."""
    with pytest.raises(Error, match=f"{tmp_path}/net: No such file or directory: the container has ended"):
        programs.ip(["link set lo up"], f"{tmp_path}/net")


def test_the_default_networks_bridge_of_another_storage() -> None:
    """A network has the addresses its bridge has, of IPv6 as far as it has it; else its own."""
    own = Network("bridge", "pyproc0", "10.91.0.0/16", "10.91.0.1", "fd01::/64", "fd01::1")
    up = Network("bridge", "pyproc0", "10.90.0.0/16", "10.90.0.1", "fd02::/64", "fd02::1")
    assert networks.as_up(own, None) == own
    assert networks.as_up(own, up) == up
    plain = own.replace(subnet6="", gateway6="")
    assert networks.as_up(plain, up) == up.replace(subnet6="", gateway6="")
    assert networks.as_up(own, up.replace(subnet6="", gateway6="")).subnet6 == ""


def test_a_second_storages_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets an address and a gateway of the bridge that is up, whatever subnet its own storage chose."""
    up = Network("bridge", "pyproc0", "10.90.0.0/16", "10.90.0.1")
    own = up.replace(subnet="10.91.0.0/16", gateway="10.91.0.1")
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks/bridge.json").write_bytes(json_text.dumps(own.as_dict()))
    first = leases.Lease("/r", "one", "pyproc0", "veth1", "/h", "10.90.0.2", "", "02:00:00:00:00:01")
    monkeypatch.setenv("LXCFS_PY_RUNTIME_DIR", str(tmp_path))
    with leases.Locked() as file:
        file.save(leases.Book().with_(up, first))
    said: list[str] = []
    monkeypatch.setattr(leases, "interfaces", lambda: frozenset(("pyproc0", "veth1")))
    monkeypatch.setattr(programs, "ip", lambda lines, *_place: said.extend(lines))
    monkeypatch.setattr(programs, "Nft", lambda *_texts: contextlib.nullcontext())
    monkeypatch.setattr(sysctls, "write", lambda _wanted, **_how: None)
    monkeypatch.setattr(sysctls, "ipv6", lambda: False)
    bridge.connect(Wish((End("bridge"),)), str(tmp_path), "/r", "two", "/h", 1)
    assert {"address add 10.90.0.3/16 dev eth0", "route replace default via 10.90.0.1 dev eth0"} <= set(said)


def test_in_dockers_words() -> None:
    """What a container has of its network, and which ports lead there, for each family that it has."""
    ports = (Port("", 8080, 80, "tcp"), Port("127.0.0.1", 53, 53, "udp"), Port("", 81, 80, "tcp"))
    book = leased(leased(Book(), "a"), "b", INNER)
    book = book.replace(leases=(book.leases[0].replace(ports=ports), book.leases[1].replace(ports=ports[:1])))
    found = told.settings(book, book.all_of("/root", "a"))
    assert found["Ports"] == {
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        "80/tcp": [
            {"HostIp": "0.0.0.0", "HostPort": "81"}, {"HostIp": "::", "HostPort": "81"},
            {"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"},
        ],
    }  # fmt: skip
    assert found["Networks"]["web"] == {
        "Aliases": ["a"], "MacAddress": "02:42:0a:01:00:02", "IPAddress": "10.1.0.2", "IPPrefixLen": 24,
        "Gateway": "10.1.0.1", "GlobalIPv6Address": "fd01::2", "GlobalIPv6PrefixLen": 64, "IPv6Gateway": "fd01::1",
    }  # fmt: skip
    assert found["IPAddress"] == "10.1.0.2"
    other = told.settings(book, book.all_of("/root", "b"))
    assert (other["IPAddress"], other["Gateway"], other["GlobalIPv6Address"]) == ("10.2.0.2", "", "")
    assert told.arrows(book.all_of("/root", "b")) == "0.0.0.0:8080->80/tcp"
    assert told.arrows(book.leases[:1]).endswith("[::]:8080->80/tcp")
    assert told.settings(book, ()) == {"Ports": {}, **told.NOWHERE, "Networks": {}}
    stopped = told.settings(book, (), (End("web", aliases=("db",)),))
    assert stopped["Networks"] == {"web": {**told.NOWHERE, "Aliases": ["db"]}}
    assert set(other) == set(told.settings(book, ()))  # so that templates find every key


def test_who_listens(tmp_path: Path) -> None:
    """The program is named whose socket waits on the port; not one that only speaks from there."""
    table = "sl local\n 0: 00000000:1F90 00000000:0000 0A x x x 0 0 77 1\n 1: 0100007F:1F90 x 01 x x x 0 0 78 1\n"
    for name in ("self", "7", "8"):
        (tmp_path / name / "fd").mkdir(parents=True)
    (tmp_path / "self/net").mkdir()
    (tmp_path / "self/net/tcp").write_text(table)
    for pid, inode in (("7", "78"), ("8", "77")):
        (tmp_path / pid / "comm").write_text(f"program{pid}\n")
        (tmp_path / pid / "fd/3").symlink_to(f"socket:[{inode}]")
    assert listening.holder(Port("", 8080, 80, "tcp"), str(tmp_path)) == "program8 (pid 8) has it"
    assert listening.holder(Port("", 8081, 80, "tcp"), str(tmp_path)) == "a program of the host has it"
