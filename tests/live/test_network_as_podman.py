"""Networks beside Podman's: the same image and options, in one run: who reaches what, and what it sees of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import leaks
from tests.images import docker_archive, member, tar
from tests.live.test_as_podman import PARENT, Podman
from tests.live.test_bridge import HERE, OUTSIDE, Net
from tests.live.test_run_image import BASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

APPLETS = ("hostname", "httpd", "ip", "nc", "sleep", "sort", "wget")
IMAGE = "localhost/net"
WEB, PEER, POD = "as-podman-web", "as-podman-peer", "as-podman-pod"
MANY, OTHER = "as-podman-many", "as-podman-other"
SECONDS = 0.7
"""After which nobody is taken to answer."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory, time_scale: float) -> Iterator[Net]:
    """Yield a machine with another beside it, and an image of a web server."""
    found = Net(tmp_path_factory.mktemp("net"), time_scale)
    layer = tar(
        *(member(f"bin/{name}", "symlink", linkname="busybox") for name in APPLETS),
        member("data/index.html", data=b"served"),
    )
    archive = docker_archive([BASE, layer], f"{IMAGE}:latest", Env=["PATH=/bin"], Cmd=["sleep", "1000"],
                             ExposedPorts={"80/tcp": {}})  # fmt: skip
    (found.base / "net.tar").write_bytes(archive)
    found.pyproc("import", str(found.base / "net.tar"))
    for path in ("/var/lib/cni", "/run"):  # Podman's plugins and it write there, wherever its own files are
        found.do("mount", "-t", "tmpfs", "none", path)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def podman(net: Net, time_scale: float) -> Iterator[Podman]:
    """Yield a Podman there."""
    with tempfile.TemporaryDirectory() as base:
        found = Podman(base, time_scale)
        found.enter = net.enter
        found.command = (*found.command, f"--network-config-dir={base}/net")
        found("load", "-q", "-i", str(net.base / "net.tar"))
        try:
            yield found
        finally:
            for each in ((POD,), ("-a",)):  # before the one whose network it has
                found("rm", "-f", "-t", "0", *each, check=False)
            leaks.remove_cgroups(PARENT, time.monotonic() + 30 * time_scale)
            with contextlib.suppress(Exception):
                net.do("umount", "-q", f"{base}/root/vfs")


class Side(NamedTuple):
    """How one of both starts a container, and runs a command in one."""

    run: Callable[..., str]
    inside: Callable[..., str]
    pid: Callable[[str], str]
    """Return a container's first process."""
    port: int
    """The first of the host's ports that it publishes."""
    do: Callable[..., subprocess.CompletedProcess[str]]
    """Run another command of it."""
    subnet: str
    """The beginning of addresses its networks may have."""


ASK = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for at in sys.argv[1:]:
    try:
        print(opener.open(f'http://{at}/', timeout=SECONDS).read().decode())
    except OSError:
        print('no')
""".replace("SECONDS", str(SECONDS))
SERVED = ("httpd", "-f", "-p", "80", "-h", "/data")
LOOK = (
    "ip -o link | grep -oE '^[0-9]+: [a-z0-9]+'; ip route | grep -oE '^default|^.* dev [a-z0-9]+' | grep -oE"
    " '^default|dev.*'; grep -vE '^#|^$' /etc/resolv.conf | sort; grep -c $(hostname -i) /etc/hosts; hostname"
)
"""What a container knows of its network, but for numbers that are each one's own."""


def answers(net: Net, *where: str, start: tuple[str, ...] = ()) -> list[str]:
    """Return what a web server says at each place, asked from this machine or where ``start`` leads."""
    line = [*(start or net.enter), "python3", "-c", ASK, *where]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()


def facts(net: Net, side: Side) -> dict[str, object]:
    """Return what one of both does."""
    port = side.port
    dns = ("--dns", "192.0.2.53", "--dns-search", "example.org", "--dns-option", "ndots:2")
    ports = ("-p", f"{port}:80", "-p", f"127.0.0.1:{port + 1}:80", "-p", f"{HERE}:{port + 2}:80")
    side.run("bridge", "-d", "--name", WEB, "-h", WEB, *dns, *ports, IMAGE, *SERVED)
    side.run("bridge", "-d", "--name", PEER, IMAGE, "sleep", "1000")
    side.run(f"container:{WEB}", "-d", "--name", POD, IMAGE, "sleep", "1000")
    (own,) = side.inside(WEB, "hostname -i").split()
    net.until(lambda: answers(net, f"{own}:80") == ["served"])
    shown = (f"{HERE}:{port}", f"{HERE}:{port + 1}", f"{HERE}:{port + 2}")
    web, peer, pod = (("nsenter", f"--target={side.pid(name)}", "--net") for name in (WEB, PEER, POD))
    same = "ip -o link; ip -o address"
    return {
        "here": answers(net, *(f"127.0.0.1:{port + number}" for number in range(4)), *shown),
        "another machine": answers(net, *shown, start=net.there),
        "a peer": answers(net, f"{own}:80", *shown, f"{OUTSIDE}:1", start=peer),
        "itself": answers(net, "127.0.0.1:80", f"{own}:80", *shown, start=web),
        "who shares it": answers(net, "127.0.0.1:80", f"{own}:80", *shown, start=pod),
        "they share": side.inside(WEB, same).split() == side.inside(POD, same).split(),
        "it sees": side.inside(WEB, LOOK),
        "with the host's": side.run("host", "--rm", IMAGE, "ip", "-o", "link", "show", "here").split()[1],
        "without": side.run("none", "--rm", IMAGE, "ip", "-o", "link").split()[1],
    }


def several(net: Net, side: Side) -> dict[str, object]:
    """Return what one of both does with several networks."""

    def links(name: str) -> list[str]:
        return side.inside(name, "ip -o link | grep -oE ' [a-z0-9]+@' | sort").split()

    def networks(name: str) -> dict[str, dict[str, object]]:
        found = side.do("inspect", "--format", "{{json .NetworkSettings.Networks}}", name).stdout
        return dict(json.loads(found))

    def address(name: str, network: str) -> str:
        return str(networks(name)[network]["IPAddress"])

    first, second = f"{side.subnet}.1", f"{side.subnet}.2"
    side.do("network", "create", "--subnet", f"{first}.0/24", "--label", "a=b", "one")
    side.do("network", "create", "--subnet", f"{second}.0/24", "--ip-range", f"{second}.64/26", "two")
    side.run("one", "--network", f"two:ip={second}.70", "-d", "-P", "--name", MANY, IMAGE, *SERVED)
    side.run("two", "-d", "--name", OTHER, IMAGE, "sleep", "1000")
    peer = ("nsenter", f"--target={side.pid(OTHER)}", "--net")
    net.until(lambda: answers(net, f"{address(MANY, 'one')}:80") == ["served"])
    port = side.do("port", MANY, "80").stdout.splitlines()[0].rpartition(":")[2]
    begun = {
        "links": links(MANY),
        "way": side.inside(MANY, "ip route | grep -o '^default.*' | head -n 1").split()[2:].count(f"{first}.1"),
        "networks": sorted(networks(MANY)),
        "own address": address(MANY, "two") == f"{second}.70",
        "of the part": 64 <= int(address(OTHER, "two").rpartition(".")[2]) < 128,
        "published": answers(net, f"{HERE}:{port}", start=net.there),
        "a peer": answers(net, f"{second}.70:80", f"{address(MANY, 'one')}:80", start=peer)[0],
        "label": side.do("network", "ls", "-q", "--filter", "label=a=b").stdout.split(),
        "in use": side.do("network", "rm", "two", check=False).returncode != 0,
    }
    side.do("network", "disconnect", "two", MANY)
    kept = links(MANY)
    without = [len(kept), sorted(networks(MANY)), answers(net, f"{second}.70:80", start=peer)]
    side.do("network", "connect", "--ip", f"{second}.100", "two", MANY)
    again = [links(MANY), sorted(networks(MANY)), answers(net, f"{second}.100:80", start=peer)]
    twice = side.do("network", "connect", "two", MANY, check=False).returncode != 0
    side.do("stop", "-t", "0", MANY)
    side.do("start", MANY)
    net.until(lambda: answers(net, f"{second}.100:80") == ["served"])
    later = [links(MANY), sorted(networks(MANY))]
    for name in (MANY, OTHER):
        side.do("stop", "-t", "0", name)
    side.do("rm", "-f", MANY, OTHER)
    removed = side.do("network", "rm", "one", "two").stdout.split()
    return {
        **begun,
        "kept": kept,
        "without": without,
        "again": again,
        "twice": twice,
        "later": later,
        "removed": removed,
    }


def both(net: Net, podman: Podman) -> tuple[Side, Side]:
    """Return Podman and ours."""

    def theirs(network: str, *words: str) -> str:
        done = podman.run(*words, network=network)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ours(network: str, *words: str) -> str:
        at = words.index(IMAGE)
        return net.run("--network", network, *words[:at], "--image", IMAGE, "--", *words[at + 1 :]).stdout

    def do(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        at = 2 if words[0] == "network" else 1
        return net.pyproc(" ".join(words[:at]), *words[at:], check=check)

    return (
        Side(theirs, lambda name, script: podman("exec", name, "sh", "-c", script).stdout,
             lambda name: podman("inspect", "-f", "{{.State.Pid}}", name).stdout.strip(), 18080, podman, "10.71"),
        Side(ours, lambda name, script: net.pyproc("exec", name, "sh", "-c", script).stdout,
             lambda name: net.pyproc("inspect", "-f", "{{.State.Pid}}", name).stdout.strip(), 28080, do, "10.72"),
    )  # fmt: skip


def test_the_same_as_podman(net: Net, podman: Podman) -> None:
    """Published ports, other containers, the host, a shared network, names and resolv.conf are alike."""
    found = [facts(net, side) for side in both(net, podman)]
    assert found[1] == found[0]
    assert found[1]["here"] == [*(["served"] * 2), *(["no"] * 2), "served", "no", "served"]
    assert found[1]["another machine"] == ["served", "no", "served"]
    assert found[1]["a peer"] == ["served", "served", "no", "served", "no"]
    assert found[1]["itself"] == found[1]["who shares it"] == ["served", "served", "served", "no", "served"]
    port = podman("port", WEB).stdout.splitlines()
    assert {line.replace("18", "28", 1) for line in port} == {
        line for line in net.pyproc("port", WEB).stdout.splitlines() if "[" not in line
    }
    net.pyproc("delete", "--force", *net.ids())


def test_several_as_podman(net: Net, podman: Podman) -> None:
    """So are several networks: interfaces, ways, ports of the image, connecting, disconnecting, starting again."""
    found = [several(net, side) for side in both(net, podman)]
    way, kept = ([each.pop(key) for each in found][1] for key in ("way", "kept"))
    assert way and kept == ["eth0@"]  # Podman's may be either: it adds networks in no order
    assert found[1] == found[0]
    assert found[1]["links"] == ["eth0@", "eth1@"]
    assert (found[1]["published"], found[1]["a peer"]) == (["served"], "served")
    assert found[1]["without"] == [1, ["one"], ["no"]]
