"""The network of a program: what is wanted of it, what it publishes, and what is told of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import process
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from runtime import options
from runtime.config import joined
from runtime.network import slirp, told, wish
from runtime.network.ports import Port
from runtime.request import NETWORK
from runtime.state import State

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_wanted() -> None:
    """It has ports and nothing else; its name servers are the program's unless others are asked for."""
    parsed = options.parse(["--network", "slirp4netns", "-p", "8080:80", "true"])
    found = wish.read(parsed.values, "", "h")
    assert found is not None
    assert (found.ends[0].name, found.by_program, found.ports[0].host[0], found.cni) == (
        "slirp4netns",
        True,
        8080,
        False,
    )
    assert joined.names(parsed).dns == (joined.RESOLVER,)
    own = options.parse(["--network", "slirp4netns", "--dns", "10.1.1.1", "true"])
    assert joined.names(own).dns == ("10.1.1.1",)
    assert not wish.is_name("slirp4netns")  # no network of another kind can be called so


@pytest.mark.parametrize(
    "option", ["--ip=10.0.2.9", "--ip6=fd00::1", "--mac-address=02:00:00:00:00:01", "--net-alias=x"]
)
def test_what_it_has_not(option: str) -> None:
    """Addresses and names of its own are refused."""
    values = options.parse(["--network", "slirp4netns", option, "true"]).values
    with pytest.raises(Error, match="with --network slirp4netns: it has one address, and nobody beside it"):
        wish.read(values, "", "h")
    with pytest.raises(Error, match="--add-host up:host-gateway: slirp4netns leads to none"):
        wish.read(options.parse(["--network", "slirp4netns", "true"]).values, "", "h", ("up",))


def test_ports_that_are_busy() -> None:
    """A port that somebody listens on can't be published there, and no IPv6 one anywhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = (Port("127.0.0.1", port, 80, "tcp"), Port("", port, 80, "tcp"))
        assert [slirp.busy(each) for each in taken] == ["Address already in use"] * 2
        assert slirp.busy(Port("127.0.0.1", port, 80, "udp")) == ""
    assert "no IPv6 ports" in slirp.busy(Port("::2", port, 80, "tcp"))


def test_what_is_told(tmp_path: Path) -> None:
    """What it publishes is told while it runs; afterwards the program is ended, whoever's child it is."""
    running = subprocess.Popen(["sleep", "1000"])
    about = process.stat(Host(), running.pid)
    assert about is not None
    (tmp_path / "web").mkdir()
    record = tmp_path / "web" / slirp.RECORD
    record.write_text(json.dumps([running.pid, about.start_ticks, [["", 8080, 80, "tcp"]]]))
    state = State("web", str(tmp_path / "web"), "", "", "", 0, annotations={NETWORK: slirp.NAME})
    other = State("other", str(tmp_path / "other"), "", "", "", 0)
    book = told.book([state, other])
    assert told.arrows(book.all_of(str(tmp_path), "web")) == "0.0.0.0:8080->80/tcp"
    found = told.settings(book, book.all_of(str(tmp_path), "web"))
    assert (found["IPAddress"], found["Gateway"], found["IPPrefixLen"]) == ("10.0.2.100", "10.0.2.2", 24)
    slirp.disconnect(state)
    assert not process.alive(Host(), running.pid, about.start_ticks)
    running.returncode = -9  # it was reaped
    assert os.listdir(tmp_path / "web") == []
    book = told.book([state, other])
    assert told.settings(book, book.all_of(str(tmp_path), "web"))["IPAddress"] == ""
    slirp.disconnect(state)
