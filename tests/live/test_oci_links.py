"""Links of an image lead nowhere but into it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
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


def test_the_hosts_cgroups_stay_read_only(runtime: Runtime, bundle: Bundle) -> None:
    """CVE-2023-25809: without a cgroup namespace /sys/fs/cgroup is as read-only as it was asked to be, all of it."""
    bundle.without("cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "ro", "nosuid", kind="cgroup")
    bundle.run("for each in $(find /sys/fs/cgroup -type d); do mkdir $each/made && echo made; done 2>/dev/null; true")
    assert runtime("run", "--bundle", str(bundle.write()), "c").stdout == ""


LOOK = "head -c 9 /proc/keys | wc -c; stat -c %t:%T /proc/keys; (echo x >{at}) 2>&1; cat /proc/sys/kernel/domainname"
DOMAIN = "/proc/sys/kernel/domainname"
"""A file that root may write to, if only it is shown where it isn't read-only."""


@pytest.mark.parametrize("instead", [f"ln -s {DOMAIN}", "ln -s /etc/other", "ln -s {outside}", "mkfifo"])
def test_masks_are_the_hosts(runtime: Runtime, bundle: Bundle, tmp_path: Path, instead: str) -> None:
    """CVE-2025-31133: who swaps /dev/null before what is masked with it shows and gives nothing by that.

    A hook swaps it at that very moment, as a container could that shares a volume with this one.
    """
    (bundle.root / "etc/other").write_text("other\n")
    swap = f"cd {bundle.root}/dev && rm null && {instead.format(outside=tmp_path)} null"
    bundle.hook("createContainer", swap)
    bundle.run(LOOK.format(at="/proc/keys"))
    done = runtime("run", "--bundle", str(bundle.write()), "c")
    assert done.stdout.split("\n")[:2] == ["0", "1:3"], done
    assert "x" not in done.stdout.split("\n")[2:], done


def test_the_console_is_the_terminal(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2025-52565: what is at the terminal's name is not what is bound on /dev/console, to be written to."""
    for each in bundle.config["mounts"]:
        each["destination"] = {"/dev/pts": "/pts"}.get(each["destination"], each["destination"])
    bundle.config["mounts"] = [each for each in bundle.config["mounts"] if each["destination"] in ("/proc", "/pts")]
    (bundle.root / "dev/pts").mkdir()
    (bundle.root / "dev/pts/ptmx").symlink_to("/pts/ptmx")
    for number in range(8):
        (bundle.root / f"dev/pts/{number}").symlink_to(DOMAIN)
    bundle.process["terminal"] = True
    bundle.run("sleep 1000")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "console"))
        server.listen()
        runtime.quietly("create", "--bundle", str(bundle.write()), "--console-socket", str(tmp_path / "console"), "c")
        peer, _ = server.accept()
        master = socket.recv_fds(peer, 100, 1)[1][0]
        peer.close()
    runtime("start", "c")
    seen = runtime("exec", "c", "sh", "-c", LOOK.format(at="/dev/console") + "; stat -c %t /dev/console")
    os.close(master)
    assert seen.stdout.endswith("\n88\n"), "it is no slave of a pty"
    assert "\nx\n" not in seen.stdout


@pytest.mark.parametrize("there", ["/proc/self/fd/0", "/proc/self/exe", "/dev/null", "fifo"])
def test_a_terminal_that_is_none(runtime: Runtime, bundle: Bundle, tmp_path: Path, there: str) -> None:
    """What stands for the container's ptmx can be no file of ours, and holds nobody up who comes in by a terminal."""
    bundle.config["mounts"] = [each for each in bundle.config["mounts"] if each["destination"] == "/proc"]
    (bundle.root / "dev/pts").mkdir()
    if there == "fifo":
        os.mkfifo(bundle.root / "dev/pts/ptmx")
    else:
        (bundle.root / "dev/pts/ptmx").symlink_to(there)
    bundle.run("sleep 1000")
    assert runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c") == 0
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "console"))
        server.listen()
        terminal = ("--tty", "--console-socket", str(tmp_path / "console"))
        done = runtime("exec", *terminal, "c", "touch", "/ran", check=False)
    assert (done.returncode, "/dev/pts/ptmx: " in done.stderr) == (125, True), done
    assert not (bundle.root / "ran").exists()


RACING = """
import os, sys
from runtime.kernel import syscalls as sc
from runtime.root.mounts import Enter, Mask, Mount, ReadOnly
from runtime.root.steps import Link, Node, Text
from runtime.root.tree import Tree

root, outside, source = sys.argv[1:4]

class Swapped(Tree):
    '''As soon as a path was found, what it leads to is something else.'''

    def swapped(self, path, found):
        if path.startswith("/in/"):
            os.rename(f"{root}/in", f"{root}/away")
            os.symlink(outside, f"{root}/in")
        return found

    def open(self, path, *more):
        return self.swapped(path, super().open(path, *more))

    def parent(self, path):
        return self.swapped(path, super().parent(path))

sc.mount(None, "/", None, sc.MS_PRIVATE | sc.MS_REC)
tree = Swapped()
Enter(root, bind=True).execute(tree)
Step = {
    "bind": lambda: Mount(source, "/in/directory", "bind", ("bind",)),
    "file": lambda: Mount(f"{source}/text", "/in/file", "bind", ("bind",)),
    "tmpfs": lambda: Mount("tmpfs", "/in/directory", "tmpfs"),
    "mask": lambda: Mask("/in/file"),
    "hide": lambda: Mask("/in/directory"),
    "read-only": lambda: ReadOnly("/in/directory"),
    "link": lambda: Link("x", "/in/made"),
    "node": lambda: Node("/in/made", 1, 3),
    "text": lambda: Text("/in/made", "x"),
}[sys.argv[4]]
Step().execute(tree)
mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
print(*(at for at in mounts if at.startswith((f"{root}/", outside))), *os.listdir(outside))
"""


@pytest.mark.parametrize("step", ["bind", "file", "tmpfs", "mask", "hide", "read-only", "link", "node", "text"])
def test_a_place_that_changes_meanwhile(tmp_path: Path, step: str) -> None:
    """CVE-2021-30465, CVE-2024-45310: once a place was found, nobody leads what is done there outside by a link.

    What is mounted is at the directory that was found, wherever that is now; nothing is made elsewhere.
    """
    for name in ("root/in", "outside", "source"):
        for kind in ("directory", "file", "text"):
            at = tmp_path / name / kind
            at.mkdir(parents=True) if kind == "directory" else at.touch()
    arguments = [str(tmp_path / name) for name in ("root", "outside", "source")]
    command = ["unshare", "-m", sys.executable, "-c", RACING, *arguments, step]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {"file": "file", "mask": "file", "link": "", "node": "", "text": ""}.get(step, "directory")
    mounted = [f"{tmp_path}/root/away/{found}"] if found else []
    assert sorted(done.stdout.split()) == sorted([*mounted, "directory", "file", "text"])
    assert (tmp_path / "root/away/made").is_symlink() or found or (tmp_path / "root/away/made").exists()
