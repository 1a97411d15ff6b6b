"""A bundle's namespaces: others', a user's, a time of its own, mounts with other ids."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.busybox import PARENT, Bundle, Runtime

if TYPE_CHECKING:
    from pathlib import Path


def test_namespaces_of_others(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """A pod: pid, network, ipc and uts namespaces are joined by path, the mount namespace is its own."""
    bundle.run("sleep 1000")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "pause")
    first = runtime.state("pause")["pid"]
    second = Bundle(tmp_path / "second", "true")
    second.linux["cgroupsPath"] = f"{PARENT}/{tmp_path.name}-2"
    second.config["hostname"] = ""
    names = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
    for kind, file in names.items():
        second.join(kind, f"/proc/{first}/ns/{file}")
    second.run(
        "for n in pid net ipc uts mnt; do readlink /proc/self/ns/$n; done; hostname; ps | grep -c 'sleep 1000'"
    )
    lines = runtime("run", "--bundle", str(second.write()), "member").stdout.split()
    theirs = [os.readlink(f"/proc/{first}/ns/{file}") for file in (*names.values(), "mnt")]
    assert (lines[:4], lines[4] != theirs[4], lines[5]) == (theirs[:4], True, "box")
    assert int(lines[6]) >= 1
    second.join("network", "/proc/1/ns/nosuch")
    refused = runtime("run", "--bundle", str(second.write()), "member", check=False)
    assert "network namespace /proc/1/ns/nosuch" in refused.stderr


def test_a_user_namespace(runtime: Runtime, bundle: Bundle) -> None:
    """Root inside is nobody outside; it has devices, mounts and a terminal's group of its own; exec is in it too."""
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    subprocess.run(["chown", "-R", "200000:200000", bundle.root], check=True)
    bundle.mount("/etc/hostname", "/etc/hostname", "bind", "ro")
    bundle.run(
        "id; cat /proc/self/uid_map; touch /x; echo x > /dev/null; stat -c %t:%T /dev/zero; echo ready; sleep 1000"
    )
    out = bundle.path / "out"
    with out.open("w") as file:
        subprocess.run(
            [*runtime.command, "run", "-d", "--bundle", bundle.write(), "c"], stdout=file, stderr=file, stdin=-3,
            check=True, env=runtime.environment,
        )  # fmt: skip
    deadline = time.monotonic() + 20 * runtime.scale
    while "ready" not in out.read_text():
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.05)
    assert out.read_text().split() == ["uid=0", "gid=0", "0", "200000", "65536", "1:5", "ready"]
    assert os.stat(bundle.root / "x").st_uid == 200000
    done = runtime("exec", "c", "sh", "-c", "id -u; grep CapEff /proc/self/status; touch /y")
    assert done.stdout.split()[0] == "0"
    assert os.stat(bundle.root / "y").st_uid == 200000
    assert "uid=1000" in runtime("exec", "--user", "1000", "c", "id").stdout


@pytest.mark.needs_timens
def test_time_offsets(runtime: Runtime, bundle: Bundle) -> None:
    """A new time namespace has the offsets that are asked for, and hooks have the host's clocks."""
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 5, "nanosecs": 6}}
    bundle.hook("createRuntime", "cut -d. -f1 /proc/uptime > $LOG")
    bundle.run("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets")
    bundle.config["annotations"] = {"io.lxcfs-py.view": "off"}
    up, *offsets = runtime("run", "--bundle", str(bundle.write()), "c").stdout.split()
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(int(up) - 1000000 - now) < 60 * runtime.scale
    assert offsets == ["monotonic", "5", "6", "boottime", "1000000", "0"]
    assert abs(int((bundle.path / "log").read_text()) - now) < 60 * runtime.scale


@pytest.mark.needs_native
@pytest.mark.needs_layers  # an overlay can't be mounted with other ids either
@pytest.mark.parametrize("user", [False, True], ids=["host", "user-namespace"])
def test_a_mount_with_ids_of_its_own(runtime: Runtime, bundle: Bundle, *, user: bool) -> None:
    """What belongs to root on disk is another's inside, and what is made there is root's on disk."""
    volume = bundle.path / "volume"
    volume.mkdir()
    (volume / "file").touch()
    base = 200000 if user else 0
    mappings = [{"containerID": 0, "hostID": base + 1000, "size": 1}]
    bundle.mount("/volume", volume, "bind", "idmap")
    bundle.config["mounts"][-1] |= {"uidMappings": mappings, "gidMappings": mappings}
    if user:
        bundle.linux["namespaces"].append({"type": "user"})
        bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": base, "size": 65536}]
        bundle.linux["gidMappings"] = bundle.linux["uidMappings"]
        subprocess.run(["chown", "-R", f"{base}:{base}", bundle.root], check=True)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.run("stat -c '%u %g' /volume/file; touch /volume/new")
    assert runtime("run", "--bundle", str(bundle.write()), "c").stdout == "1000 1000\n"
    assert (volume / "new").stat().st_uid == 0
