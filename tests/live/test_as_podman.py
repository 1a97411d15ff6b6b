"""The same image, the same options, in one run with Podman: the same output, exit codes, volumes and images."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime.images import resolve
from tests.images import tree
from tests.live.test_images import mounted, store
from tests.live.test_run_image import archive
from tests.live.test_volumes import FILLED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

PARENT = "lxcfs-py-podman"
HYBRID = os.path.isdir("/sys/fs/cgroup/memory")
"""crun refuses such hosts."""
OWN = ("HOSTNAME=", "container=", "TERM=")
"""Of the environment: a name of each container's own, and what only Podman says."""


class Podman:
    """Podman with a storage of its own."""

    def __init__(self, base: str, scale: float) -> None:
        self.base, self.scale = base, scale
        places = ("--root", f"{base}/root", "--runroot", f"{base}/run", "--tmpdir", f"{base}/tmp")
        self.command = ("podman", *places, "--storage-driver=vfs", "--cgroup-manager=cgroupfs",
                        *(["--runtime=runc"] if HYBRID else []))  # fmt: skip

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of it."""
        done = subprocess.run(
            [*self.command, *words],
            capture_output=True,
            text=True,
            timeout=120 * self.scale,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, (words, done.stderr)
        return done

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a container; nobody here may raise limits, as Podman would."""
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
        return self("run", f"--cgroup-parent=/{PARENT}", *limits, "--network=none", *words, check=False)


@pytest.fixture(scope="module")
def podman(box: Box, time_scale: float) -> Iterator[Podman]:
    """Yield a Podman; both have the image ``it`` then."""
    (box.base / "it.tar").write_bytes(archive("localhost/it:latest", FILLED, Volumes={"/kept": {}}))
    box.pyproc("import", str(box.base / "it.tar"))
    with tempfile.TemporaryDirectory() as base:  # it takes no path of more than 50 bytes
        found = Podman(base, time_scale)
        found("load", "-q", "-i", str(box.base / "it.tar"))
        try:
            yield found
        finally:
            found("rm", "-f", "-a")
            found("volume", "rm", "-f", "-a")
            remove_cgroups(time.monotonic() + 30 * time_scale)
            subprocess.run(["umount", "-q", f"{base}/root/vfs"], check=False)


def remove_cgroups(deadline: float) -> None:
    """Remove the cgroups of Podman's containers, when its monitors have left them."""
    while left := [at for at, _, _ in os.walk("/sys/fs/cgroup", topdown=False) if f"/{PARENT}" in at]:
        assert time.monotonic() < deadline, left
        for at in left:
            with contextlib.suppress(OSError):
                os.rmdir(at)
        time.sleep(0.05)


IMAGE = "localhost/it"
FILES = (
    "for d in /bin /data /kept /many /made /tmp /vol /t /var; do [ -e $d ] && busybox find $d; done | busybox sort |"
    " while read f; do stat -c '%n %F %a %u %g' $f; [ -f $f ] && busybox md5sum $f; done | grep -v '^/t '"
)
RUNS = {
    "the image's own": ((), ()),
    "environment": (("-e", "GREETING=x", "-e", "B=1 2"), ("env | busybox sort",)),
    "user": (("-u", "bob:extra"), ("id -u; id -g; id -G",)),
    "user by number": (("-u", "12:34"), ("id -u; id -g; id -G",)),
    "directory": (("-w", "/data"), ("busybox pwd",)),
    "entrypoint": (("--entrypoint", "/bin/cat"), ("/data/new",)),
    "files": (("-u", "0", "-v", "fresh:/vol", "--tmpfs", "/t"), (FILES,)),
    "read-only": (
        ("-u", "0", "--read-only", "--tmpfs", "/t"),
        ("echo x > /data/x; echo $?; echo x > /t/x; echo $?",),
    ),
    "a status": ((), ("exit 3",)),
    "a signal": ((), ("busybox sh -c 'kill -9 $$'; echo $?",)),
    "not there": (("--entrypoint", "/nosuch"), ()),
    "not executable": (("--entrypoint", "/data/new"), ()),
    "a volume": (
        ("-u", "0", "-v", "v:/kept"),
        ("ls -l /kept /kept/deep | busybox awk '{print $1, $2, $3, $4, $NF}'",),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs(clean: Box, podman: Podman, name: str) -> None:
    """Output and exit code are the same; of the environment, all but each one's own."""
    options, words = RUNS[name]
    theirs = podman.run("--rm", *options, IMAGE, *words)
    ours = clean.run("--rm", *options, "--image", IMAGE, "--", *words, check=False)

    def said(done: subprocess.CompletedProcess[str]) -> list[str]:
        return [line for line in done.stdout.splitlines() if not line.startswith(OWN)]

    assert (ours.returncode, said(ours)) == (theirs.returncode, said(theirs)), (ours.stderr, theirs.stderr)
    assert ours.returncode or said(ours)


def test_first_use_of_a_volume(clean: Box, podman: Podman) -> None:
    """A volume that was used first has the same tree: contents, owners, modes, links, times of files, attributes."""
    done = podman.run("--rm", "-v", "w:/kept", IMAGE, "exit 0")
    assert done.returncode == 0, done.stderr
    clean.run("--rm", "-v", "w:/kept", "--image", IMAGE, "--", "exit 0")
    theirs = json.loads(podman("volume", "inspect", "w").stdout)[0]["Mountpoint"]
    ours = clean.base / "storage/volumes/w/_data"
    found = [tree(at, root=True) for at in (theirs, ours)]
    for each in found:
        for about in each.values():
            about.pop("mtime_ns") if int(about["mode"], 8) & 0o170000 != 0o100000 else None
    assert found[0] == found[1]
    clean.pyproc("volume prune", "-a")


CHANGES = (
    "cd /; echo x > /data/more; echo y >> /data/new; busybox rm -r /many /kept/../tmp/x; busybox mkdir -p /a/b;"
    " busybox chown 5:6 /a; busybox chmod 4711 /data/more; busybox ln -s /a /to; echo v > /vol/f; busybox rm -r /var"
)


def test_commit(clean: Box, podman: Podman) -> None:
    """What is committed is the same tree, and says the same."""
    options, change = ("-u", "0", "-e", "A=1", "-v", "w:/vol", "-w", "/data"), ("-c", "CMD ls", "-c", "ENV B=2")
    podman.run("--name", "c", *options, IMAGE, CHANGES)
    podman("commit", "-q", *change, "c", "localhost/new")
    clean.run("--name", "c", *options, "--image", IMAGE, "--", CHANGES, check=False)
    id_ = clean.pyproc("commit", *change, "c", "localhost/new").stdout.strip()
    theirs = Path(podman("image", "mount", "localhost/new").stdout.strip())
    made = {"run", "vol", "proc", "sys", "dev", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}
    with mounted(clean, "localhost/new", clean.base / "mounted") as ours:
        found = [tree(at, leave_out=["mtime_ns"]) for at in (theirs, ours)]
    podman("image", "umount", "-a")
    for each in found:  # the places of mounts are in Podman's image, and not in ours
        for path in [path for path in each if path in made or path.startswith(("run/", "dev/"))]:
            del each[path]
    assert found[0] == found[1]
    assert {"data/more", "a/b", "to"} <= found[1].keys() and not {"many", "var"} & found[1].keys()

    def says(config: dict[str, Any]) -> dict[str, Any]:
        return {
            **{key: config.get(key) for key in ("Cmd", "Entrypoint", "WorkingDir", "StopSignal", "User")},
            "Env": sorted(item for item in config["Env"] if not item.startswith(OWN)),
        }

    theirs_says = json.loads(podman("image", "inspect", "localhost/new").stdout)[0]["Config"]
    ours_says = json.loads(store(clean).read(f"sha256:{id_}"))["config"]
    assert says(ours_says) == says(theirs_says)
    assert resolve.resolve(str(clean.base / "storage"), "localhost/new").id == id_
    clean.pyproc("delete", "-v", "c")
    clean.pyproc("volume prune", "-a")
