"""What of others' namespaces a container gets, and what its files of /etc say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lxcfs_py.errors import Error
from runtime import options, state
from runtime.config import joined
from runtime.request import Names

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.command_line import Parsed


def parsed(line: str, root: Path | str = "/nonexistent") -> Parsed:
    """Return a command line that was read."""
    return options.parse(["--root", str(root), *line.split(), "true"])


def kinds(line: str, root: Path | str = "/nonexistent") -> dict[str, str]:
    """Return each namespace and its path."""
    return {each["type"]: each.get("path", "") for each in joined.kinds(parsed(line, root), time=False)}


def other(root: Path, pid: int, start_ticks: int) -> None:
    """Make a container on paper."""
    directory = root / "web"
    directory.mkdir()
    state.save(state.State("web", str(directory), "", "/storage/web", "/x", 1, pid=pid, start_ticks=start_ticks))
    state.write(str(directory / "config.json"), {"process": {}, "hostname": "theirs"})


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """Return the state of a container whose first process is the init of this machine."""
    with open("/proc/1/stat", "rb") as file:
        other(tmp_path, 1, int(file.read().rpartition(b")")[2].split()[19]))
    return tmp_path


def test_the_hosts() -> None:
    """The host's namespace is none of its own."""
    assert kinds("").keys() >= {"pid", "network"}
    assert "pid" not in kinds("--pid host")
    assert "network" not in kinds("--network host")
    assert kinds("--network bridge")["network"] == ""


def test_anothers(running: Path) -> None:
    """Another container's namespaces are joined, each alone; with its network go its names."""
    assert kinds("--network container:web", running)["network"] == "/proc/1/ns/net"
    assert kinds("--network container:web", running)["pid"] == ""
    assert kinds("--pid container:web", running)["pid"] == "/proc/1/ns/pid"
    assert joined.hostname(parsed("--network container:web", running), "own") == "theirs"
    assert joined.hostname(parsed("--pid container:web", running), "own") == "own"
    assert joined.names(parsed("--network container:web", running)) == Names(shared="/storage/web/etc")


@pytest.mark.parametrize("option", ["--dns 10.1.1.1", "--add-host a:10.1.1.1", "-h x", "--dns-search x"])
def test_names_go_with_the_network(running: Path, option: str) -> None:
    """What would be said in files that are the other's is refused."""
    with pytest.raises(Error, match="it shares that one's"):
        joined.names(parsed(f"--network container:web {option}", running))


def test_anothers_that_is_not_there(tmp_path: Path) -> None:
    """A container that has ended or never was has no namespaces to join."""
    with pytest.raises(Error, match="container 'web' does not exist"):
        kinds("--network container:web", tmp_path)
    other(tmp_path, 1, 1)
    with pytest.raises(Error, match="--pid container:web: it does not run"):
        kinds("--pid container:web", tmp_path)
    with pytest.raises(Error, match="--pid host without a cgroup"):
        kinds("--pid host --cgroup-manager disabled", tmp_path)
    with pytest.raises(Error, match="--pid 'x': unknown value; choose from host, container:NAME"):
        kinds("--pid x", tmp_path)


@pytest.mark.parametrize("text", ["a", "a:", ":1.2.3.4", "a:b", "a b:1.2.3.4", "a:1.2.3.4\nb"])
def test_hosts_that_are_none(text: str) -> None:
    """--add-host takes a name and an address."""
    with pytest.raises(Error, match="--add-host"):
        joined.names(options.parse(["--add-host", text, "true"]))


def test_hosts() -> None:
    """A line each; the gateway's names are left to the network, and need one."""
    line = "--add-host a:1.2.3.4 --add-host b=fd00::0:1 --add-host c:[fd00::2] --add-host gw:host-gateway"
    assert joined.names(parsed(line)).hosts == ("1.2.3.4\ta\n", "fd00::1\tb\n", "fd00::2\tc\n")
    wish = joined.wish(parsed(f"--network bridge {line}"), "h")
    assert wish is not None
    assert wish.gateways == ("gw",)
    with pytest.raises(Error, match="it has no gateway"):
        joined.wish(parsed(line), "h")
    assert joined.wish(parsed(""), "h") is None


HOST = "# made by x\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch example.org\noptions edns0\n"


@pytest.mark.parametrize(
    ("asked", "host", "upstream", "network", "expected"),
    [
        (Names(), HOST, "", None, HOST),
        (Names(dns=("10.2.2.2",)), HOST, "", None,
         "nameserver 10.2.2.2\nsearch example.org\noptions edns0\n"),
        (Names(), HOST, "", True, "nameserver 10.1.1.1\nsearch example.org\noptions edns0\n"),
        (Names(), "nameserver 127.0.0.53\n", "nameserver 10.3.3.3\nsearch lan\n", True,
         "nameserver 10.3.3.3\nsearch lan\n"),
        (Names(dns=("10.2.2.2", "fd00::2"), search=("a", "b"), options=("rotate", "ndots:2")), HOST, "", True,
         "nameserver 10.2.2.2\nnameserver fd00::2\nsearch a b\noptions rotate ndots:2\n"),
        (Names(search=(".",)), HOST, "", True, "nameserver 10.1.1.1\noptions edns0\n"),
        (Names(), HOST, "", False, ""),
        (Names(dns=("10.2.2.2",)), HOST, "", False, "nameserver 10.2.2.2\n"),
    ],
)  # fmt: skip
def test_resolv_conf(asked: Names, host: str, upstream: str, network: bool | None, expected: str) -> None:
    """What is asked for stands first, then the host's, without servers that can't be reached from a network."""
    assert joined.resolv(asked, host, upstream, network=network) == expected
