"""Links of an image lead nowhere but into it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.busybox import Bundle, Runtime

pytestmark = pytest.mark.anywhere  # paths


HOSTILE = {
    "/volume": ("/volume", "../../../../../../../../{outside}"),
    "/deep/er/target": ("/deep", "{outside}"),
    "/dev/link": ("/dev", "{outside}"),
}


@pytest.mark.parametrize("destination", HOSTILE)
def test_links_of_the_image(runtime: Runtime, bundle: Bundle, destination: str, tmp_path: Path) -> None:
    """A link where a mount or a device goes leads nowhere but into the root: nothing outside is made or covered."""
    outside = tmp_path / "outside"
    outside.mkdir()
    place, leads = HOSTILE[destination]
    target = bundle.root / place[1:]
    if target.is_dir():
        target.rmdir()
        bundle.config["mounts"] = [
            each for each in bundle.config["mounts"] if not each["destination"].startswith(place)
        ]
    os.symlink(leads.format(outside=str(outside)), target)
    bundle.mount(destination, bundle.path, "bind", "ro")
    bundle.run("ls " + destination)
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    assert list(outside.iterdir()) == []
    assert "rootfs" in done.stdout, done.stderr


@pytest.mark.parametrize("place", ["/proc/self/attr", "/proc", "/proc/sys"])
def test_nothing_is_mounted_into_proc(runtime: Runtime, bundle: Bundle, place: str) -> None:
    """Neither by name nor through a link of the image does a volume get into the container's /proc."""
    os.symlink(place, bundle.root / "innocent")
    bundle.mount("/innocent", bundle.path, "bind")
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    assert (done.returncode != 0, "inside the container's /proc" in done.stderr) == (True, True), done.stderr


def test_a_proc_that_is_a_link(runtime: Runtime, bundle: Bundle) -> None:
    """procfs goes on a plain directory: elsewhere what is masked would not be (CVE-2019-19921)."""
    (bundle.root / "proc").rmdir()
    os.symlink("tmp", bundle.root / "proc")
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    assert "a link leads to /tmp" in done.stderr


RACE = """
while :; do
    for name in dev/null dev/console dev/pts volume; do
        mv $name $name.away; ln -s {outside} $name; rm $name; mv $name.away $name
    done
    mv dev/null dev/null.away; ln -s /proc/sys/kernel/domainname dev/null; rm dev/null; mv dev/null.away dev/null
done 2>/dev/null
"""
"""Each place of a mount is now and then a link to the host's, or to what a mask would then show and let write."""


def test_places_that_change_meanwhile(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Who swaps the root's directories and nodes for links while a container is made gains nothing by it.

    CVE-2021-30465: a volume is mounted on the host; CVE-2025-31133: /dev/null for masks is another file;
    CVE-2025-52565: so is /dev/console; CVE-2025-52881: what is written goes to another file of /proc.
    """
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    bundle.config["mounts"] = [
        each for each in bundle.config["mounts"] if each["destination"] in ("/proc", "/sys", "/dev/pts")
    ]
    for name in ("dev/pts", "volume"):
        (bundle.root / name).mkdir()
    for name in ("null", "console"):
        (bundle.root / "dev" / name).touch()
    bundle.mount("/volume", bundle.path, "bind")
    bundle.process["terminal"] = True
    look = (
        "head -c 9 /proc/keys | wc -c; stat -c %t:%T /proc/keys; echo x >/proc/keys; cat /proc/sys/kernel/domainname"
    )
    bundle.run(look)
    before = os.uname(), os.listdir("/dev"), os.stat("/dev/null").st_rdev, os.stat("/dev/console").st_rdev
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "console"))
    server.listen(100)
    racer = subprocess.Popen(["sh", "-c", RACE.format(outside=outside)], cwd=bundle.root)
    masters: list[int] = []

    def hold() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            masters.extend(socket.recv_fds(peer, 100, 1)[1])
            peer.close()

    holder = threading.Thread(target=hold)
    holder.start()
    made, tried, deadline = 0, 0, time.monotonic() + 60 * runtime.scale
    try:
        bundle.write()
        while made < 2 or tried < 12:
            assert time.monotonic() < deadline, (made, tried)
            tried += 1
            create = ("create", "--bundle", str(bundle.path), "--console-socket", str(tmp_path / "console"), "c")
            if runtime.quietly(*create) == 0:
                made += 1
                seen = runtime("exec", "c", "sh", "-c", look, check=False)
                assert seen.stdout.split("\n")[:2] == ["0", "1:3"], seen
                assert "x" not in seen.stdout.split("\n")[2], seen
            runtime("delete", "--force", "c")
            assert os.listdir(outside) == ["kept"]
            assert os.listdir(outside / "kept") == []
    finally:
        racer.kill()
        racer.wait()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        holder.join()
        for master in masters:
            os.close(master)
    assert (os.uname(), os.listdir("/dev"), os.stat("/dev/null").st_rdev, os.stat("/dev/console").st_rdev) == before
