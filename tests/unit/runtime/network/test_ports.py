"""Published ports: how they are written, and what clashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.network import ports
from runtime.network.ports import Port


def free(_port: Port) -> str:
    """Have every port free."""
    return ""


def resolved(*texts: str, others: tuple[tuple[str, Port], ...] = ()) -> list[str]:
    """Return what is published."""
    return [str(each) for each in ports.resolve(map(ports.parse, texts), others, free)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", ["8080:80/tcp"]),
        ("8080:80/udp", ["8080:80/udp"]),
        ("127.0.0.1:8080:80", ["127.0.0.1:8080:80/tcp"]),
        ("[fd00::0:1]:8080:80", ["[fd00::1]:8080:80/tcp"]),
        ("80", ["49152:80/tcp"]),
        ("127.0.0.1::80", ["127.0.0.1:49152:80/tcp"]),
        ("8000-8001:80-81", ["8000:80/tcp", "8001:81/tcp"]),
        ("8000-8010:80", ["8000:80/tcp"]),
        ("80-81", ["49152:80/tcp", "49153:81/tcp"]),
    ],
)
def test_as_docker_writes_them(text: str, expected: list[str]) -> None:
    """Address and host's port may be left out, and both ports be ranges."""
    assert resolved(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no port"),
        ("0:80", "'0' is no port"),
        ("80:65536", "'65536' is no port"),
        ("81-80:80", "'81-80' ends before it begins"),
        ("8000-8001:80-82", "2 ports of the host for 3"),
        ("80:80/sctp", "unknown protocol"),
        ("x:80:80", "'x' is no address"),
        ("fd00::1:80:80", "'fd00::1' is no address"),
        ("[127.0.0.1]:80:80", "is no address"),
        ("[::1]:80:80", "leads ::1 to no container"),
        ("1-2-3:80", "'1-2-3' is no port"),
    ],
)
def test_refused(text: str, message: str) -> None:
    """What is none is refused, and the error names it whole."""
    with pytest.raises(Error) as caught:
        ports.parse(text)
    assert f"-p {text!r}" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("80:1", "80:2", True),
        ("80:1", "80:2/udp", False),
        ("80:1", "81:1", False),
        ("127.0.0.1:80:1", "127.0.0.2:80:1", False),
        ("127.0.0.1:80:1", "80:1", True),
        ("0.0.0.0:80:1", "[::]:80:1", False),
        ("0.0.0.0:80:1", "80:1", True),
        ("[fd00::1]:80:1", "0.0.0.0:80:1", False),
        ("[fd00::1]:80:1", "80:1", True),
    ],
)
def test_clashes(one: str, other: str, clash: bool) -> None:
    """Two containers can't have the same port of the same address and protocol; both hear who has it."""
    for first, second in ((one, other), (other, one)):
        there = ports.resolve([ports.parse(first)], (), free)
        if not clash:
            assert resolved(second, others=(("web", there[0]),))
            continue
        with pytest.raises(Error) as caught:
            resolved(second, others=(("web", there[0]),))
        assert str(caught.value).startswith(f"-p {second}: port 80/tcp: container 'web' publishes it")


def test_a_range_goes_on_where_one_is_taken() -> None:
    """Of a range the first port that is free is taken; none is an error that says why."""
    web = ("web", Port("", 8000, 80, "tcp"))
    assert resolved("8000-8001:80", others=(web,)) == ["8001:80/tcp"]
    assert resolved("8000-8002:80", "8000-8002:81", others=(web,)) == ["8001:80/tcp", "8002:81/tcp"]
    with pytest.raises(Error, match="no port of the range is free: a program of the host has it"):
        ports.resolve([ports.parse("8000-8001:80")], (), lambda _: "a program of the host has it")


def test_the_same_port_twice() -> None:
    """A container clashes with itself, too."""
    with pytest.raises(Error, match="'this one' publishes it"):
        resolved("80:1", "80:2")


@given(st.text(st.sampled_from("0123456789:-/[].tcpud"), max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text ends in anything but ports or the one Error."""
    try:
        found = ports.parse(text)
    except Error:
        return
    assert set(found.container) | set(found.host) <= set(range(1, 65536))
