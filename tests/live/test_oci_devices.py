"""Network devices that a bundle moves into its container, where its memory comes from, and what exec keeps of it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.busybox import Bundle, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.anywhere]
DEVICE, PEER = "ocidev0", "ocidev1"
ADDRESSES = ("10.97.0.2/24", "2001:db8::2/64")


@pytest.fixture
def runtime(tmp_path: Path, time_scale: float) -> Iterator[Runtime]:
    """Yield our runtime; its container is gone afterwards."""
    found = Runtime("pyproc", tmp_path, time_scale)
    yield found
    found("delete", "--force", "c")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle whose container waits."""
    found = Bundle(tmp_path / "bundle", "sleep", "1000")
    found.linux["cgroupsPath"] = "/oci-live/c"
    return found


def ip(*words: str, check: bool = True) -> str:
    """Run ip(8)."""
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check).stdout


def addresses(name: str) -> set[str]:
    """Return the addresses for everybody that a device of this machine's has."""
    (found,) = json.loads(ip("-json", "address", "show", "dev", name))
    rows = [row for row in found["addr_info"] if row.get("scope") == "global"]
    return {f"{row['local']}/{row['prefixlen']}" for row in rows}


@pytest.fixture
def device() -> Iterator[str]:
    """Yield a device with two addresses, and one that is not to stay."""
    ip("link", "add", DEVICE, "type", "veth", "peer", "name", PEER)
    for address in ADDRESSES:
        ip("address", "add", address, "dev", DEVICE, *(("nodad",) if ":" in address else ()))
    ip("address", "add", "10.97.1.2/24", "dev", DEVICE, "valid_lft", "1000", "preferred_lft", "1000")
    ip("link", "set", DEVICE, "up")
    ip("link", "set", PEER, "up")
    yield DEVICE
    ip("link", "del", PEER, check=False)


def inside(runtime: Runtime, name: str) -> list[str]:
    """Return what ip(8) shows of a device in the container: its flags, and then its global addresses."""
    words = runtime("exec", "c", "ip", "address", "show", "dev", name).stdout.split()
    shown = [
        words[at + 1] for at, word in enumerate(words) if word in ("inet", "inet6") and "fe80" not in words[at + 1]
    ]
    return [words[2], *shown]


@pytest.mark.parametrize(("wish", "name"), [({}, DEVICE), ({"name": "lan0"}, "lan0"), ({"name": "lan%d"}, "lan0")])
def test_moved(runtime: Runtime, bundle: Bundle, device: str, wish: dict[str, str], name: str) -> None:
    """A device comes with the addresses that stay, under the name that is asked for, and is up; the host lacks it."""
    bundle.linux["netDevices"] = {device: wish}
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    runtime("start", "c")
    flags, *found = inside(runtime, name)
    assert "UP" in flags.strip("<>").split(",")
    assert sorted(found) == sorted(ADDRESSES)
    assert DEVICE not in ip("-brief", "link")


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ({"ocidev7": {}}, "linux.netDevices.ocidev7: No such device"),
        ({DEVICE: {"name": "lo"}}, f"linux.netDevices.{DEVICE}: there is a device lo"),
        ({DEVICE: {"name": "lan0"}, PEER: {"name": "lan0"}}, f"linux.netDevices.{PEER}: there is a device lan0"),
    ],
)
def test_not_moved(runtime: Runtime, bundle: Bundle, device: str, devices: dict[str, Any], said: str) -> None:
    """One that isn't there, or whose name is taken, is an error; those that were moved are back as they were."""
    bundle.linux["netDevices"] = devices
    done = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
    assert done.returncode == 125
    assert said in done.stderr
    assert addresses(device) >= set(ADDRESSES)
    assert runtime.status("c") == ""


def test_back_after_a_failure(runtime: Runtime, bundle: Bundle, device: str) -> None:
    """A container that fails later gives its devices back, as they were."""
    bundle.linux["netDevices"] = {device: {"name": "lan0"}}
    bundle.hook("createRuntime", "exit 1")
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 125
    assert addresses(device) >= set(ADDRESSES)
    assert "UP" in json.loads(ip("-json", "link", "show", "dev", device))[0]["flags"]


@pytest.mark.parametrize("flags", [[], ["MPOL_F_STATIC_NODES"]])
def test_memory_policy(runtime: Runtime, bundle: Bundle, flags: list[str]) -> None:
    """Memory comes from where the policy says, for every process of the container."""
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": flags}
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    runtime("start", "c")
    expected = "bind=static:0" if flags else "bind:0"
    with open(f"/proc/{runtime.state('c')['pid']}/numa_maps", encoding="utf-8") as file:
        assert {line.split()[1] for line in file} == {expected}
    shown = runtime("exec", "c", "cat", "/proc/self/numa_maps").stdout
    assert {line.split()[1] for line in shown.splitlines()} == {expected}


def test_no_memory_there(runtime: Runtime, bundle: Bundle) -> None:
    """A node that the machine lacks is an error that names the policy."""
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "900"}
    done = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
    assert done.returncode == 125
    assert "linux.memoryPolicy: MPOL_BIND 900: " in done.stderr


def test_personality_of_exec(runtime: Runtime, bundle: Bundle) -> None:
    """A further process has the container's personality."""
    bundle.linux["personality"] = {"domain": "LINUX32"}
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    runtime("start", "c")
    with open(f"/proc/{runtime.state('c')['pid']}/personality", encoding="ascii") as file:
        first = file.read()
    assert runtime("exec", "c", "cat", "/proc/self/personality").stdout == first == "00000008\n"
