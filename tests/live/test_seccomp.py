"""System calls that read no file: answered with the container's figures, also while the agent dies."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from lxcfs_py.daemon import mount
from lxcfs_py.seccomp import agent
from tests.live.box import BIN, Box, sigkill

pytestmark = pytest.mark.alone

CALLS = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(112)
def sysinfo():
    assert libc.sysinfo(buffer) == 0, os.strerror(ctypes.get_errno())
    words = memoryview(buffer.raw).cast('Q')
    return dict(uptime=words[0], total=words[4], free=words[5], swap=words[8], procs=words[10] & 0xffff)
"""
LOOP = (
    CALLS
    + """
until, slowest, count, wrong = time.monotonic() + float(sys.argv[1]), 0, 0, 0
while time.monotonic() < until:
    begun = time.monotonic()
    found = sysinfo(), len(os.sched_getaffinity(0))
    slowest = max(slowest, time.monotonic() - begun)
    wrong += found[0]['total'] != 64 << 20 or found[1] != 1
    count += 1
print(count, wrong, slowest)
"""
)
"""For ``-m 64m --cpus 1``: how often both calls were answered, how often wrongly, and the slowest pair in seconds."""


def agents(daemon: int) -> list[int]:
    """Return the agents a daemon has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            words = (path.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == daemon and b"lxcfs_py.seccomp.agent" in words:
            found.append(int(path.parent.name))
    return found


def agents_during(running: subprocess.Popen[str], daemon: int) -> set[int]:
    """Return all agents that a daemon had while a command ran; each lives for an interpreter's start at least."""
    found: set[int] = set()
    while running.poll() is None:
        found.update(agents(daemon))
        time.sleep(0.01)
    return found


def listeners(pid: int) -> int:
    """Return how many listeners a process holds."""
    return sum("seccomp notify" in target(path) for path in Path(f"/proc/{pid}/fd").iterdir())


def target(link: Path) -> str:
    """Return where a link leads, "" if it has gone."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def loop(box: Box, name: str, seconds: float) -> subprocess.Popen[str]:
    """Start the loop in a container."""
    return subprocess.Popen(
        [BIN / "pyproc", "exec", *box.places, name, "--", "python3", "-c", LOOP, str(seconds)],
        stdout=subprocess.PIPE,
        env=box.environment,
        text=True,
    )


def result(running: subprocess.Popen[str], scale: float) -> tuple[int, int, float]:
    """Return what the loop says."""
    output, _ = running.communicate(timeout=120 * scale)
    count, wrong, slowest = output.split()
    return int(count), int(wrong), float(slowest)


@pytest.mark.anywhere
@pytest.mark.parametrize("stage", agent.STAGES)
def test_the_agent_dies_at_every_stage(own: Box, lane: str, stage: str) -> None:
    """An agent that is killed at a stage of every third call: no wrong answer, and no call waits for 2 s."""
    daemon = own.start_daemon(**{agent.STOP: f"{stage}:3"})
    name = own.start("-m", "64m", "--cpus", "1", "--", "sleep", "1000")
    running = loop(own, name, 4 if lane == "here" else 15)
    killed = agents_during(running, daemon.pid)
    count, wrong, slowest = result(running, own.scale)
    assert (len(killed) > 3, count > 2, wrong) == (True, True, 0)
    assert slowest < 2 * own.scale


@pytest.mark.anywhere
@pytest.mark.parametrize("stage", ["computed", "opened", "written"])
def test_a_call_that_kills_agents(own: Box, lane: str, stage: str) -> None:
    """A call that would kill every agent is left to the kernel by the third: nothing hangs."""
    daemon = own.start_daemon(**{agent.STOP: f"{stage}:1"})
    asking = own.command("--rm", "-m", "64m", "--", "getconf", "_PHYS_PAGES")
    with subprocess.Popen(asking, env=own.environment, stdout=subprocess.PIPE, text=True) as running:
        assert len(agents_during(running, daemon.pid)) == 3
        said = running.communicate()[0]
    assert said == subprocess.run(["getconf", "_PHYS_PAGES"], capture_output=True, text=True).stdout
    assert "another one starts" in own.log.read_text()


@pytest.mark.anywhere
def test_the_agent_dies_at_random(own: Box, lane: str) -> None:
    """An agent killed at random moments under two loops: no wrong answer, and no call waits for 2 s."""
    daemon = own.start_daemon()
    name = own.start("-m", "64m", "--cpus", "1", "--", "sleep", "1000")
    running = [loop(own, name, 6 if lane == "here" else 20) for _ in range(2)]
    kills, began = 0, time.monotonic()
    while any(each.poll() is None for each in running):
        time.sleep((0.31 + kills * 0.0173 % 0.2) * own.scale)
        for pid in agents(daemon.pid):
            sigkill(pid)
            kills += 1
    for count, wrong, slowest in (result(each, own.scale) for each in running):
        assert (count > 10, wrong) == (True, 0)
        assert slowest < 2 * own.scale
    assert kills > 3
    assert time.monotonic() - began < 60 * own.scale


@pytest.mark.anywhere
def test_the_daemon_dies(own: Box) -> None:
    """After SIGKILL of the daemon its agent answers the containers that run, and ends with the last of them."""
    daemon = own.start_daemon()
    name = own.start(
        "-m", "64m", "--init", "--", "sh", "-c", "while [ ! -e /go ]; do sleep .1; done; getconf _PHYS_PAGES"
    )
    (left,) = agents(daemon.pid)
    daemon.kill()
    daemon.wait()
    own.served = None
    own.pyproc("exec", name, "--", "touch", "/go")
    deadline = time.monotonic() + 30 * own.scale
    while own.pyproc("logs", name).stdout != "16384\n" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert own.pyproc("logs", name).stdout == "16384\n"
    own.pyproc("delete", "--force", name)
    while os.path.exists(f"/proc/{left}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{left}")
    mount.umount(str(own.mountpoint))


@pytest.mark.anywhere
def test_nothing_is_kept_of_containers_that_ended(own: Box, lane: str) -> None:
    """After many containers neither the daemon nor its agent holds a listener."""
    daemon = own.start_daemon()
    for _ in range(50 if lane == "here" else 8):
        own.run("--rm", "--", "true")
    name = own.start("--", "sleep", "1000")
    for _ in range(3):
        own.pyproc("exec", name, "--", "true")
    pids = [daemon.pid, *agents(daemon.pid)]
    deadline = time.monotonic() + 10 * own.scale
    while [listeners(pid) for pid in pids] != [1, 1] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [listeners(pid) for pid in pids] == [1, 1]


NEVER = """
import errno, stat, sys, pyfuse3, trio
class Never(pyfuse3.Operations):
    async def getattr(self, inode, ctx=None):
        entry = pyfuse3.EntryAttributes()
        entry.st_ino, entry.st_size = inode, 4096
        entry.st_mode = stat.S_IFDIR | 0o755 if inode == 1 else stat.S_IFREG | 0o644
        return entry
    async def lookup(self, parent, name, ctx=None):
        if name != b'file':
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(2)
    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=1)
    async def read(self, fh, offset, size):
        print('asked', flush=True)
        await trio.sleep_forever()
pyfuse3.init(Never(), sys.argv[1], {'allow_other'})
print('serves', flush=True)
trio.run(pyfuse3.main)
"""
"""A file whose reads are never answered."""


@pytest.mark.anywhere
def test_memory_that_never_answers(own: Box) -> None:
    """A buffer that is a file of a dead file system holds an agent up once: the next serves all others.

    That agent can't even be killed until the file system has gone; the daemon is not held up by it.
    """
    daemon = own.start_daemon()
    at = own.base / "never"
    at.mkdir()
    server = subprocess.Popen([BIN / "python", "-c", NEVER, at], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == "serves\n"
        script = """
import ctypes, mmap, os
page = mmap.mmap(os.open('/never/file', os.O_RDONLY), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
ctypes.CDLL(None).sysinfo(ctypes.byref(ctypes.c_char.from_buffer(page)))
"""
        bad = own.start("-v", f"{at}:/never", "--", "python3", "-c", script)
        assert server.stdout.readline() == "asked\n"
        held_up = agents(daemon.pid)
        begun = time.monotonic()
        assert own.run("--rm", "-m", "64m", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
        assert time.monotonic() - begun < 15 * own.scale
        assert "its calls are left to the kernel" in own.log.read_text()
        begun = time.monotonic()
        assert own.run("--rm", "-m", "64m", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
        assert time.monotonic() - begun < 4 * own.scale
    finally:
        server.kill()
        server.communicate()
        mount.umount(str(at))
    own.pyproc("delete", "--force", bad)
    deadline = time.monotonic() + 10 * own.scale
    while set(held_up) & set(agents(daemon.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(held_up) & set(agents(daemon.pid))


@pytest.mark.anywhere
def test_garbage_is_no_listener(own: Box) -> None:
    """Whoever connects and sends nothing, nonsense or another descriptor ends nothing."""
    import socket

    own.start_daemon()
    os.chdir(own.base / "run/lxcfs-py")
    try:
        assert os.stat("seccomp.sock").st_mode & 0o777 == 0o600
        for text in (b"", b"{", b"[" * 9000, b'{"fds": ["seccompFd"], "state": {"id": "x"}}'):
            with socket.socket(socket.AF_UNIX) as runtime:
                runtime.connect("seccomp.sock")
                if text:
                    socket.send_fds(runtime, [text], [0, 1])
    finally:
        os.chdir("/")
    assert own.run("--rm", "-m", "64m", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"


@pytest.mark.anywhere
def test_a_neighbour_that_hammers(clean: Box) -> None:
    """Eight processes that call without pause cost another container's call no more than its turn."""
    hammer = CALLS + "for _ in range(3): os.fork()\nwhile 1: sysinfo()"
    measure = (
        CALLS
        + """
times = []
for _ in range(100):
    begun = time.monotonic()
    sysinfo()
    times.append(time.monotonic() - begun)
    time.sleep(.005)
print(sorted(times)[50])
"""
    )
    other = clean.start("--cpus", "1", "--", "python3", "-c", hammer)
    median = float(clean.run("--rm", "--", "python3", "-c", measure).stdout)
    clean.pyproc("delete", "--force", other)
    assert median < 0.02 * clean.scale
