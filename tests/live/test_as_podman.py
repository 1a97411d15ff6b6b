"""The same image, the same options, in one run with Podman: the same output, exit codes, volumes and images."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime.images import resolve
from tests import leaks
from tests.images import tree
from tests.live.test_images import mounted, store
from tests.live.test_run_image import archive
from tests.live.test_volumes import FILLED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

PARENT = "/lxcfs-py-podman"
HYBRID = os.path.isdir("/sys/fs/cgroup/memory")
"""crun refuses such hosts."""
OWN = ("HOSTNAME=", "container=", "TERM=")
"""Of the environment: a name of each container's own, and what only Podman says."""


class Podman:
    """Podman with a storage of its own."""

    def __init__(self, base: str, scale: float) -> None:
        self.base, self.scale = base, scale
        self.enter: tuple[str, ...] = ()
        """What leads into the namespaces that it runs in."""
        places = ("--root", f"{base}/root", "--runroot", f"{base}/run", "--tmpdir", f"{base}/tmp")
        self.command = ("podman", *places, "--storage-driver=vfs", "--cgroup-manager=cgroupfs",
                        *(["--runtime=runc"] if HYBRID else []))  # fmt: skip

    def __call__(self, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of it."""
        done = subprocess.run(
            [*self.enter, *self.command, *words],
            capture_output=True,
            text=True,
            timeout=120 * self.scale,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        assert not check or done.returncode == 0, (words, done.stderr)
        return done

    def run(self, *words: str, network: str = "none", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a container; nobody here may raise limits, as Podman would."""
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
        options = (f"--cgroup-parent={PARENT}", f"--network={network}", *limits)
        return self("run", *options, *words, check=False, **environment)


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
            leaks.remove_cgroups(PARENT, time.monotonic() + 30 * time_scale)
            subprocess.run(["umount", "-q", f"{base}/root/vfs"], check=False)


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
    "entrypoint taken away": (("--entrypoint=",), ("cat", "/data/new")),
    "entrypoint without its arguments": (("--entrypoint", "/bin/id"), ()),
    "group by number": (("-u", "bob:77"), ("id -u; id -g; id -G",)),
    "user of no name": (("-u", "4242"), ("id -u; id -g; id -G",)),
    "much at once": (
        (
            "-u",
            "bob",
            "--env-file",
            "HERE/variables",
            "-e",
            "B=of the line",
            "-e",
            "PASSED",
            "-e",
            "UNSET_HERE",
            "-e",
            "GREETING=",
            "-h",
            "me",
            "--add-host",
            "other:10.1.2.3",
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CHOWN",
            "--security-opt",
            "no-new-privileges",
            "--pids-limit",
            "33",
        ),
        (
            "env | busybox sort; id; echo $HOME $PWD; busybox hostname; echo $(cat /etc/hostname);"
            " grep other /etc/hosts; grep -E '^CapBnd|^NoNewPrivs' /proc/self/status; busybox ip -o link |"
            " busybox awk '{print $2}';"
            " cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max; umask",
        ),
    ),
    "a directory as command": (("--entrypoint", "/data"), ()),
    "not in PATH": (("--entrypoint=",), ("nosuch",)),
    "no such image": ((), ("id",)),
    "mounts": (
        (
            "-u",
            "0",
            "-v",
            "HERE:/b",
            "-v",
            "HERE:/c:ro",
            "--mount",
            "type=bind,source=HERE,target=/d,readonly",
            "--mount",
            "type=tmpfs,target=/t,tmpfs-mode=1700",
            "--mount",
            "type=volume,source=m,target=/kept/deep",
            "-v",
            "o:/kept:ro",
            "-v",
            "p:/many:nocopy",
            "-v",
            "/own",
        ),
        (
            "for d in /c /d /kept; do echo x > $d/written; echo $?; done; echo x > /b/y; cat /c/y; busybox rm /b/y;"
            " ls -l /kept /kept/deep /many /own | busybox awk '{print $1, $2, $3, $4, $NF}';"
            " stat -c '%a %u %g' /t /own",
        ),
    ),
    "a volume": (
        ("-u", "0", "-v", "v:/kept"),
        ("ls -l /kept /kept/deep | busybox awk '{print $1, $2, $3, $4, $NF}'",),
    ),
}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a directory of the host that both are shown."""
    (tmp_path / "there").write_text("the host's\n")
    (tmp_path / "variables").write_text("# none\nA=1 2\nPASSED\n\nB=of the file\n")
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_runs(clean: Box, podman: Podman, shared: Path, name: str) -> None:
    """Output and exit code are the same; of the environment, all but each one's own."""
    options, words = RUNS[name]
    options = tuple(word.replace("HERE", str(shared)) for word in options)
    image = "localhost/nosuch" if name == "no such image" else IMAGE
    theirs = podman.run("--rm", "--pull=never", *options, image, *words, PASSED="on")
    ours = clean.run("--rm", *options, "--image", image, "--", *words, check=False, PASSED="on")

    def said(done: subprocess.CompletedProcess[str]) -> list[str]:
        return [line for line in done.stdout.splitlines() if not line.startswith(OWN)]

    assert (ours.returncode, said(ours)) == (theirs.returncode, said(theirs)), (ours.stderr, theirs.stderr)
    assert ours.returncode or said(ours)
    assert not shared.joinpath("written").exists(), "who may not write did"


WRONG = {
    "no such user": (("-u", "nobodyknows"), ("id",)),
    "a place inside of a file": (("-v", "n:/data/new/x"), ("id",)),
    "a bind that is not there": (("-v", "/no/such/place:/b"), ("id",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_refused(clean: Box, podman: Podman, name: str) -> None:
    """What neither can do fails before anything runs; ours always says 125, as Docker does, and why."""
    options, words = WRONG[name]
    theirs = podman.run("--rm", *options, IMAGE, *words)
    ours = clean.run("--rm", *options, "--image", IMAGE, "--", *words, check=False)
    assert (ours.returncode, ours.stdout, ours.stderr.count("\n")) == (125, "", 1), ours.stderr
    assert (theirs.returncode in (125, 126), theirs.stdout) == (True, ""), theirs.stderr


ENDS = {
    "killed": ("echo up; exec busybox sleep 1000", ("kill", "-s", "KILL"), "137"),
    "stopped": ("trap 'exit 4' INT; echo up; while :; do busybox sleep 0.1; done", ("stop", "-t", "20"), "4"),
    "deaf": ("trap '' INT; echo up; exec busybox sleep 1000", ("stop", "-t", "1"), "137"),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends(clean: Box, podman: Podman, name: str) -> None:
    """In the background: signals, the image's stop signal, and the exit code that wait tells."""
    script, verb, code = ENDS[name]
    podman.run("-d", "--name", "e", IMAGE, script)
    clean.run("-d", "--name", "e", "--image", IMAGE, "--", script)
    deadline = time.monotonic() + 30 * clean.scale
    while any("up" not in ask("logs", "e").stdout for ask in (podman, clean.pyproc)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    podman(*verb, "e")
    clean.pyproc(*verb, "e")
    theirs, ours = podman("wait", "e").stdout.strip(), clean.pyproc("wait", "e").stdout.strip()
    assert ours == theirs == code
    podman("rm", "e")
    clean.pyproc("rm", "e")


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
