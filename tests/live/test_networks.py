"""Several networks for one container, from its start or as it runs; what is remembered, and what a kill leaves."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.test_bridge import HERE, OUTSIDE, SERVE, Net

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.anywhere, pytest.mark.needs_inet]

KILLER = """#!/bin/sh
left=$(flock {base} sh -c 'read left <{base}/left; echo $left; echo $((left - 1)) >{base}/left')
flock -s {base}/busy /usr/bin/env PATH=/usr/sbin:/sbin:/usr/bin:/bin {program} "$@"
code=$?
if [ "$left" = 0 ]; then kill -STOP $PPID; flock {base}/busy kill -9 $PPID; sleep 60; fi
exit $code
"""
"""In the place of ip(8) and nft(8): kills who runs the program once it has done its work, if it is its turn.

What runs beside it is let end: it would end with who runs it, were it not a shell's child here."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory, time_scale: float) -> Iterator[Net]:
    """Yield a machine with networks, one of which leads nowhere, and a peer in each."""
    found = Net(tmp_path_factory.mktemp("nets"), time_scale)
    try:
        for name, *options in (("red", "--subnet", "10.81.0.0/24"), ("blue", "--ipv6"), ("inner", "--internal")):
            found.network("create", name, *options)
        yield found
    finally:
        found.close()


@pytest.fixture
def clean(net: Net) -> Iterator[Net]:
    """Yield it, and see that nothing is left of its containers."""
    before = net.kept()
    yield net
    if ids := net.ids():
        net.pyproc("delete", "--force", *ids)
    assert net.kept() == before


def settings(net: Net, name: str) -> dict[str, dict[str, object]]:
    """Return what a container is said to have of each network."""
    found = json.loads(net.pyproc("inspect", "--format", "{{json .NetworkSettings.Networks}}", name).stdout)
    assert isinstance(found, dict)
    return found


def inside(net: Net, name: str, script: str) -> str:
    """Return what a shell says in a container."""
    return net.pyproc("exec", name, "--", "sh", "-c", script).stdout.strip()


def way(net: Net, name: str) -> list[str]:
    """Return the gateway and the interface by which a container reaches everywhere."""
    words = inside(net, name, "ip -4 route show default").split()
    return [words[2], words[4]] if words else []


def test_several_from_the_start(clean: Net) -> None:
    """It has an interface in each, is known by name in each, goes out and is reached by the first that leads out."""
    for network in ("red", "inner"):
        clean.serve(f"peer-{network}", network)
    asked = ("--network", "inner", "--network", "red:ip=10.81.0.77,alias=db,interface_name=red0", "--network", "blue")
    clean.run("-d", "--name", "many", *asked, "-p", "8080:80", "--", "python3", "-c", SERVE, "80")
    found = settings(clean, "many")
    assert list(found) == ["inner", "red", "blue"]
    assert (found["red"]["IPAddress"], found["red"]["Aliases"]) == ("10.81.0.77", ["many", "db"])
    assert found["blue"]["GlobalIPv6Address"]
    links = inside(clean, "many", "ls /sys/class/net").split()
    assert sorted(links) == ["eth0", "eth1", "lo", "red0"]
    assert way(clean, "many") == ["10.81.0.1", "red0"]
    assert clean.ask(OUTSIDE, 7000, *clean.into("many")) == HERE
    assert clean.ask(HERE, 8080, *clean.there) == OUTSIDE
    assert clean.ask("127.0.0.1", 8080) == "10.81.0.1"
    inner = str(found["inner"]["IPAddress"])
    assert clean.ask("many", 80, *clean.into("peer-inner")) == clean.addresses("peer-inner", "inner")[0]
    assert clean.ask("db", 80, *clean.into("peer-red")) == clean.addresses("peer-red", "red")[0]
    assert clean.ask("peer-inner", 80, *clean.into("many")) == inner
    assert clean.ask("peer-red", 80, *clean.into("many")) == "10.81.0.77"
    assert clean.inspect("red")["containers"]["many"]["interface"] == "red0"
    rows = {line.split()[0]: line.split()[-1] for line in clean.network("ls").splitlines()}
    assert (rows["red"], rows["blue"], rows["inner"]) == ("2", "1", "2")
    assert clean.pyproc("port", "many").stdout.splitlines()[0] == "80/tcp -> 0.0.0.0:8080"


def test_connected_as_it_runs(clean: Net) -> None:
    """Names, ways and ports follow as it is put into networks and taken out, and are as told when it starts again."""
    clean.serve("peer", "red")
    shown = ("--network", "inner", "-p", "8080:80")
    clean.run("-d", "--name", "one", *shown, "--", "python3", "-c", SERVE, "80")
    assert way(clean, "one") == []
    clean.network("connect", "--ip", "10.81.0.9", "--alias", "db", "red", "one")
    assert way(clean, "one") == ["10.81.0.1", "eth1"]
    assert clean.ask("db", 80, *clean.into("peer")) == clean.addresses("peer", "red")[0]
    assert clean.ask("peer", 80, *clean.into("one")) == "10.81.0.9"
    assert clean.ask(HERE, 8080, *clean.there) == OUTSIDE
    clean.network("connect", "bridge", "one")
    assert clean.addresses("one", "bridge")[0] in inside(clean, "one", "cat /etc/hosts")
    clean.network("disconnect", "bridge", "one")
    clean.network("connect", "blue", "one")
    assert way(clean, "one") == ["10.81.0.1", "eth1"]
    clean.network("disconnect", "red", "one")
    gateway = clean.gateway("blue")
    assert way(clean, "one") == [gateway, "eth2"]
    assert "one" not in inside(clean, "peer", "cat /etc/hosts")
    assert "peer" not in inside(clean, "one", "cat /etc/hosts")
    assert clean.ask(HERE, 8080, *clean.there) == OUTSIDE
    assert clean.ask("127.0.0.1", 8080) == gateway
    assert clean.ask(HERE, 8080, *clean.into("one")) == gateway  # itself
    clean.network("disconnect", "inner", "one")
    clean.network("disconnect", "blue", "one")
    assert inside(clean, "one", "ls /sys/class/net") == "lo"
    assert settings(clean, "one") == {}
    clean.network("connect", "red", "one")
    assert clean.ask(HERE, 8080, *clean.there) == OUTSIDE
    clean.network("disconnect", "red", "one")
    clean.pyproc("stop", "-t", "0", "one")
    clean.pyproc("start", "one")
    assert inside(clean, "one", "ls /sys/class/net") == "lo"
    clean.pyproc("stop", "-t", "0", "one")
    clean.network("connect", "red", "one")
    assert list(settings(clean, "one")) == ["red"]
    assert settings(clean, "one")["red"]["IPAddress"] == ""
    assert "not in the subnet" in clean.network("connect", "--ip", "10.81.0.99", "blue", "one", check=False)
    clean.network("connect", "--alias", "later", "blue", "one")
    assert "network 'blue' is used by one" in clean.network("rm", "blue", check=False)
    assert clean.network("prune").split() == ["inner"]
    clean.network("create", "inner", "--internal")
    clean.pyproc("start", "one")
    found = settings(clean, "one")
    assert list(found) == ["red", "blue"]
    assert found["blue"]["Aliases"] == ["one", "later"]
    clean.until(lambda: clean.ask(HERE, 8080, *clean.there) == OUTSIDE)


def test_what_is_refused(clean: Net) -> None:
    """What is there already or not there, addresses of others, and containers without networks of their own."""
    clean.run("-d", "--name", "one", "--network", "red", "--", "sleep", "600")
    clean.run("-d", "--name", "alone", "--", "sleep", "600")
    clean.run("-d", "--name", "guest", "--network", "container:one", "--", "sleep", "600")
    clean.run("-d", "--name", "program", "--network", "slirp4netns", "--", "sleep", "600")
    before = settings(clean, "one")
    for words, message in (
        (("connect", "red", "one"), "container 'one' is in the network 'red' already"),
        (("connect", "none", "one"), "network 'none' does not exist"),
        (("connect", "blue", "alone"), "container 'alone' has no networks of its own"),
        (("connect", "blue", "guest"), "container 'guest' has the network of 'one'; connect one"),
        (("connect", "--ip", "10.1.1.1", "blue", "one"), "--ip 10.1.1.1: not in the subnet"),
        (("connect", "--ip", "x", "blue", "one"), "--ip 'x': not an IPv4 address"),
        (("connect", "--alias", "x", "bridge", "one"), "names are not resolved there"),
        (("disconnect", "blue", "one"), "container 'one' is not in the network 'blue'"),
        (("connect", "blue", "nobody"), "nobody"),
        (("connect", "blue", "program"), "container 'program' has a network by slirp4netns"),
        (("disconnect", "slirp4netns", "program"), "container 'program' has a network by slirp4netns"),
    ):
        assert message in clean.network(*words, check=False)
    clean.network("disconnect", "-f", "blue", "one")
    assert settings(clean, "one") == before
    assert "network 'red' is used by one" in clean.network("rm", "red", check=False)
    assert clean.network("rm", "-f", "nosuch") == ""


@pytest.fixture
def killer(net: Net, tmp_path: Path) -> Iterator[Path]:
    """Yield a directory: when its file ``left`` has counted to 0, who runs ip(8) or nft(8) is killed."""
    net.do("mount", "-t", "tmpfs", "none", "/usr/local/sbin")
    yield tmp_path
    net.do("umount", "/usr/local/sbin")


@pytest.mark.parametrize("what", ["connect", "disconnect"])
def test_killed_at_any_step(clean: Net, killer: Path, what: str) -> None:
    """Whoever is killed over connecting leaves what can be done again, or undone, and of which nothing stays."""
    for program in ("ip", "nft"):
        text = KILLER.format(base=killer, program=program)
        clean.do(
            "sh", "-c", f"cat >/usr/local/sbin/{program} <<'END'\n{text}\nEND\nchmod +x /usr/local/sbin/{program}"
        )
    left = killer / "left"
    left.write_text("1000")
    clean.serve("peer", "red")
    clean.run("-d", "--name", "one", "--network", "inner", "-p", "8080:80", "--", "python3", "-c", SERVE, "80")
    words = (what, "red", "one")
    for number in range(10):
        if what == "disconnect":
            clean.network("connect", "red", "one")
            clean.network("connect", "blue", "one")
        left.write_text(str(number))
        done = subprocess.run(clean.line("network", *words), capture_output=True, check=False, env=clean.environment)
        left.write_text("1000")
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        clean.network("disconnect", "-f", "red", "one")
        if what == "disconnect":
            assert way(clean, "one") == [clean.gateway("blue"), "eth2"]
            assert clean.ask(HERE, 8080, *clean.there) == OUTSIDE
            clean.network("disconnect", "blue", "one")
        assert inside(clean, "one", "ls /sys/class/net").split() == ["eth0", "lo"]
        clean.network("connect", "red", "one")
        assert clean.ask(HERE, 8080, *clean.there) == OUTSIDE
        assert clean.addresses("one", "red")[0] in inside(clean, "peer", "cat /etc/hosts")
        clean.network("disconnect", "red", "one")
    assert 2 < number < 9


def test_all_ports_are_published(clean: Net) -> None:
    """With -P each port that is exposed gets one of the host's, which is told."""
    line = ("-d", "--name", "all", "--network", "red", "-P", "--expose", "80", "--expose", "81/udp", "-p", "8080:82")
    clean.run(*line, "--", "python3", "-c", SERVE, "80", "81", "82")
    ports = dict(line.split(" -> ") for line in clean.pyproc("port", "all").stdout.splitlines() if "0.0.0.0" in line)
    assert ports["82/tcp"] == "0.0.0.0:8080"
    for inner, kind in (("80/tcp", "tcp"), ("81/udp", "udp")):
        assert clean.ask(HERE, int(ports[inner].rpartition(":")[2]), *clean.there, kind=kind) == OUTSIDE


def test_networks_as_asked(clean: Net) -> None:
    """Part of a subnet, a bridge's name, a length of packets, and that those not isolated reach one another."""
    said = ("--opt", "com.docker.network.bridge.name=mybr", "--opt", "mtu=1400", "--opt", "isolate=false")
    clean.network(
        "create", "made", "--subnet", "10.82.0.0/24", "--ip-range", "10.82.0.64/26", "--label", "a=b", *said
    )
    clean.network("create", "next", "-d", "bridge", "--opt", "isolate=false", "--label", "a=c")
    made = clean.serve("made", "made")
    assert made == "10.82.0.64"
    clean.serve("next", "next")
    clean.serve("shut", "red")
    assert " mtu 1400 " in clean.do("ip", "link", "show", "mybr")
    assert inside(clean, "made", "cat /sys/class/net/eth0/mtu") == "1400"
    assert clean.ask(made, 80, *clean.into("next")) == "10.82.0.1"
    assert clean.ask(made, 80, *clean.into("shut"), seconds=0.3) == "no answer"
    assert clean.network("ls", "-q", "--filter", "label=a=b").split() == ["made"]
    assert clean.network("ls", "--filter", "label=a", "--format", "{{.Name}} {{.MTU}}") == "made 1400\nnext null\n"
    found = clean.network("ls", "-q", "--filter", "dangling=true", "--filter", "name=e").split()
    assert "blue" in found
    assert not {"red", "made", "next"} & {*found}
    assert json.loads(clean.network("ls", "--format", "json", "--filter", "name=made"))[0]["isolated"] is False
    assert clean.network("inspect", "--format", "{{.interface}}", "made") == "mybr\n"
    assert "unknown" in clean.network("ls", "--filter", "x=y", check=False)
    clean.pyproc("delete", "--force", "made", "next")
    clean.do("ip", "link", "add", "mybr", "type", "bridge")
    done = clean.run("--rm", "--network", "made", "--", "true", check=False)
    assert "the host has an interface mybr, which is none of ours" in done.stderr
    clean.do("ip", "link", "delete", "mybr")
    clean.network("rm", "made", "next")


def test_many_networks_cut_off(clean: Net) -> None:
    """A start with several networks that fails, or is killed, at any step leaves nothing of any of them."""
    before = clean.kept()
    for how in ("fail", "kill"):
        for step in (4, 5):
            stop = {"PYPROC_TEST_STOP": f"{how}:{step}"}
            asked = ("--network", "red", "--network", "blue", "-p", "8090:80")
            done = clean.run("--rm", *asked, "--", "true", check=False, **stop)
            assert done.returncode == (125 if how == "fail" else -9), done.stderr
            if how == "kill":
                clean.run("--rm", *asked, "--", "true")
            assert clean.kept() == before
    done = clean.run("--rm", "--network", "red", "--network", "nosuch", "--", "true", check=False)
    assert "network 'nosuch' does not exist" in done.stderr
    assert clean.kept() == before
