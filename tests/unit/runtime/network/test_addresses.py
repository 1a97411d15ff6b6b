"""Addresses and subnets, beside the standard library's."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.network import addresses


@given(st.ip_addresses())
def test_addresses_are_what_the_standard_library_reads(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """An address is read and written as ipaddress does, of either family."""
    found = addresses.number(str(address))
    assert found == (address.version, int(address))
    assert ipaddress.ip_address(addresses.show(*found)) == address


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::g", "a", "1.2.3.4/8", "1.2.3.4\0"])
def test_what_is_no_address(text: str) -> None:
    """Anything else is none."""
    assert addresses.number(text) is None


@given(st.ip_addresses(), st.integers(2, 30), st.ip_addresses())
def test_subnets_are_the_standard_librarys(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    bits: int,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """First, last, what is in it and what overlaps it agree with ipaddress."""
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    found = addresses.subnet(str(network))
    assert (str(found), found.first, found.last) == (
        str(network),
        int(network.network_address),
        int(network.broadcast_address),
    )
    assert found.holds(other.version, int(other)) == (other in network)
    second = ipaddress.ip_network(f"{other}/{bits}", strict=False)
    same = second.version == network.version and second.overlaps(network)
    assert found.overlaps(addresses.subnet(str(second))) == same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.1.2.0", "--subnet '10.1.2.0': not a subnet"),
        ("10.1.2.0/33", "not a subnet"),
        ("x/8", "not a subnet"),
        ("10.1.2.3/24", "--subnet 10.1.2.3/24: that is an address of a subnet; write 10.1.2.0/24"),
        ("10.1.2.0/31", "no room"),
        ("fd00::/127", "no room"),
    ],
)
def test_bad_subnets(text: str, message: str) -> None:
    """What is no subnet, or none for containers, is refused with what would be right."""
    with pytest.raises(Error) as caught:
        addresses.subnet(text)
    assert message in str(caught.value)


def test_addresses_are_given_in_turn() -> None:
    """The next is the first free one after the last, from the beginning again at the end, None if none is free."""
    subnet = addresses.subnet("10.0.0.0/29")
    first = subnet.first
    gateway = {first + 1}
    assert subnet.pick(gateway, first) == first + 2
    assert subnet.pick(gateway, first + 2) == first + 3
    assert subnet.pick(gateway, first + 6) == first + 2
    assert subnet.pick({first + 1, first + 2}, first + 6) == first + 3
    assert subnet.pick(set(range(first + 1, first + 7)), first) is None
    assert subnet.pick(gateway, 0) == first + 2
    assert subnet.pick(gateway, 1 << 40) == first + 2


@given(st.sets(st.integers(1, 6)), st.integers(-2, 10))
def test_a_given_address_is_free_and_usable(taken: set[int], after: int) -> None:
    """Whatever is taken, what is given is free, a host's, and there if any is."""
    subnet = addresses.subnet("10.0.0.0/29")
    used = {subnet.first + each for each in taken}
    found = subnet.pick(used, subnet.first + after)
    assert (found is None) == (len(taken) == 6)
    assert found is None or (found in subnet.usable and found not in used)


def test_the_pool_avoids_what_is_there() -> None:
    """A subnet nobody chose overlaps neither a route of the host nor another network's."""
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t00005A0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    routes = list(addresses.routes(table))
    assert [str(each) for each in routes] == ["10.90.0.0/16"]
    assert str(addresses.free(routes)) == "10.91.0.0/16"
    assert str(addresses.free([*routes, addresses.subnet("10.0.0.0/8")])) == "192.168.0.0/20"
    with pytest.raises(Error, match=r"no subnet is free.*give --subnet"):
        addresses.free([addresses.subnet("10.0.0.0/8"), addresses.subnet("192.168.0.0/16")])


def test_a_made_up_ipv6_subnet_is_a_local_one() -> None:
    """It is a /64 of fd00::/8."""
    found = addresses.unique_local(bytes(range(1, 6)))
    assert str(found) == "fd01:203:405::/64"
    assert ipaddress.ip_network(str(found)).is_private


def test_the_hardware_address_follows_the_address() -> None:
    """It is a local unicast one, the same for the same address."""
    assert addresses.mac(0x0A5A0002) == "02:42:0a:5a:00:02"
