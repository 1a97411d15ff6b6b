"""System calls that read no file: answered with the container's figures, also while the agent dies."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.daemon import mount
from lxcfs_py.seccomp import agent
from tests.live.box import BIN, Box, sigkill

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture
def own(tmp_path: Path, time_scale: float) -> Iterator[Box]:
    """Yield a box without a daemon yet."""
    found = Box(tmp_path, time_scale)
    yield found
    found.close()


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
    return sum(
        "seccomp notify" in os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()
    )


def test_programs(clean: Box) -> None:
    """busybox's free and uptime, getconf, nproc and Python tell the container's memory, uptime and CPUs."""
    script = """
busybox free -m; busybox uptime; getconf _PHYS_PAGES; nproc
python3 -c "import os; print(os.sysconf('SC_PHYS_PAGES'), len(os.sched_getaffinity(0)))"
"""
    lines = clean.run("--rm", "-m", "256m", "--cpus", "1", "--", "sh", "-c", script).stdout.splitlines()
    free, uptime, pages, cpus, python = lines[1], lines[-4], lines[-3], lines[-2], lines[-1]
    assert re.match(r"Mem: +256 ", free)
    assert int(free.split()[3]) > 200
    assert re.search(r" up [0-2] min", uptime)
    assert (pages, cpus, python) == ("65536", "1", "65536 1")


def test_exec(clean: Box) -> None:
    """A program that enters later is told the same."""
    name = clean.start("-m", "256m", "--cpus", "1", "--", "sleep", "100")
    script = "busybox free -m; nproc"
    lines = clean.pyproc("exec", name, "--", "sh", "-c", script).stdout.splitlines()
    clean.pyproc("delete", "--force", name)
    assert re.match(r"Mem: +256 ", lines[1])
    assert lines[-1] == "1"


def test_init(clean: Box) -> None:
    """Under --init the command and what it starts are told the same."""
    done = clean.run("--rm", "--init", "-m", "256m", "--", "sh", "-c", "getconf _PHYS_PAGES; getconf _PHYS_PAGES")
    assert done.stdout == "65536\n65536\n"


def test_figures_are_the_files(clean: Box) -> None:
    """Total and swap are meminfo's, uptime is uptime's, and procs counts the container's tasks."""
    script = (
        CALLS
        + """
import re, threading
gate = threading.Event()
for _ in range(3): threading.Thread(target=gate.wait, daemon=True).start()
files = {k: int(v) << 10 for k, v in re.findall(r'(\\w+): +(\\d+) kB', open('/proc/meminfo').read())}
up = float(open('/proc/uptime').read().split()[0])
got = sysinfo()
gate.set()
print(got['total'] - files['MemTotal'], got['swap'] - files['SwapTotal'], got['procs'], got['uptime'] - up)
print(abs(got['free'] - files['MemFree']))
"""
    )
    total, swap, procs, up, free = clean.run("--rm", "-m", "256m", "--", "python3", "-c", script).stdout.split()
    assert (total, swap, procs) == ("0", "0", "4")
    assert -0.1 < float(up) < 1 + 2 * clean.scale
    assert int(free) < 16 << 20


def test_no_limits(clean: Box) -> None:
    """Without limits the total and the CPUs are the host's."""
    script = CALLS + "print(sysinfo()['total'] >> 10, sorted(os.sched_getaffinity(0)))"
    found = re.search(r"^MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    assert found
    text = clean.run("--rm", "--", "python3", "-c", script).stdout
    assert text == f"{found[1]} {sorted(os.sched_getaffinity(0))}\n"


@pytest.mark.needs_cpus(2)
def test_affinity(clean: Box) -> None:
    """As many CPUs as the quota is worth, real ones; of other tasks too, and what the kernel refuses is refused.

    The call that sets is left alone.
    """
    script = (
        CALLS
        + f"""
import subprocess, threading
def raw(pid, length):
    bits = ctypes.create_string_buffer(max(length, 1))
    result = libc.syscall(204, pid, ctypes.c_uint(length), bits)
    return result if result >= 0 else -ctypes.get_errno()
child = subprocess.Popen(['sleep', '100'])
tid = []
gate = threading.Event()
thread = threading.Thread(target=lambda: (tid.append(threading.get_native_id()), gate.wait()), daemon=True)
thread.start()
while not tid: time.sleep(.01)
masks = [os.sched_getaffinity(pid) for pid in (0, os.getpid(), child.pid, tid[0], 1)]
gate.set()
child.kill()
print(all(mask == masks[0] for mask in masks), len(masks[0]), masks[0] <= {set(os.sched_getaffinity(0))!r})
print(raw(0, 128) == raw(0, 1024) > 0, raw(0, 0), raw(0, 9), raw(-1, 128) < 0, raw(99999, 128))
print(libc.syscall(204, 0, 128, ctypes.c_void_p(8)), ctypes.get_errno())
os.sched_setaffinity(0, {{1}})
print(os.sched_getaffinity(0))
"""
    )
    lines = clean.run("--rm", "--init", "--cpus", "1", "--", "python3", "-c", script).stdout.splitlines()
    assert lines == ["True 1 True", "True -22 -22 True -3", "-1 14", "{1}"]


@pytest.mark.needs_cpus(2)
def test_a_quota_that_changes(clean: Box) -> None:
    """A quota that is set and lifted while the container runs is seen at the next call."""
    name = clean.start("--cpus", "1", "--", "sleep", "100")
    root = Path("/sys/fs/cgroup")
    v2 = (root / f"pyproc/{name}/cpu.max").exists()
    file = root / (f"pyproc/{name}/cpu.max" if v2 else f"cpu/pyproc/{name}/cpu.cfs_quota_us")
    counts = []
    for quota in ("100000", "max" if v2 else "-1", "100000"):
        file.write_text(quota)
        counts.append(clean.pyproc("exec", name, "--", "nproc").stdout.strip())
    clean.pyproc("delete", "--force", name)
    assert counts == ["1", str(len(os.sched_getaffinity(0))), "1"]


@pytest.mark.anywhere
@pytest.mark.needs_ia32
def test_32_bit_calls(clean: Box) -> None:
    """A 32-bit sysinfo is answered in its own layout, and its affinity too."""
    script = """
import ctypes, mmap, struct
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
page = libc.mmap(None, 4096, 7, 0x62, -1, 0)  # executable, MAP_32BIT
def call(number, *words):
    code = b'\\x53\\xb8' + struct.pack('<I', number)
    code += b''.join(bytes([op]) + struct.pack('<I', word) for op, word in zip(b'\\xbb\\xb9\\xba', words))
    code += b'\\xcd\\x80\\x5b\\xc3'  # int $0x80
    ctypes.memmove(page, code, len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()
print(call(116, page + 1024), *struct.unpack_from('<9I', ctypes.string_at(page + 1040, 64))[0:1], end=' ')
print(call(242, 0, 128, page + 2048) > 0, bin(int.from_bytes(ctypes.string_at(page + 2048, 8), 'little')).count('1'))
"""
    assert clean.run("--rm", "-m", "256m", "--cpus", "1", "--", "python3", "-c", script).stdout == (
        f"0 {256 << 20} True 1\n"
    )


@pytest.mark.needs_timens
def test_one_clock(clean: Box) -> None:
    """uptime, btime, a process's start time and sysinfo agree with the clocks of the time namespace."""
    script = (
        CALLS
        + """
time.sleep(1.2)
up = float(open('/proc/uptime').read().split()[0])
btime = next(int(line.split()[1]) for line in open('/proc/stat') if line.startswith('btime'))
start = int(open('/proc/self/stat').read().rpartition(')')[2].split()[19]) / 100
now = time.clock_gettime(time.CLOCK_BOOTTIME)
print(now - up, time.time() - btime - up, start, sysinfo()['uptime'] - up)
"""
    )
    clock, btime, start, info = map(float, clean.run("--rm", "--", "python3", "-c", script).stdout.split())
    assert abs(clock) < 0.1 * clean.scale
    assert -0.2 <= btime < 1.1 + clean.scale  # two starts, each cut to whole seconds
    assert 0 <= start < 1 * clean.scale
    assert -0.1 < info < 1 + 0.5 * clean.scale


@pytest.mark.anywhere
def test_signals_do_not_disturb(clean: Box) -> None:
    """Under a timer of a millisecond that restarts system calls, every call returns, and rightly."""
    script = (
        CALLS
        + """
import signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, .001, .001)
print(all(sysinfo()['total'] == 64 << 20 for _ in range(300)))
"""
    )
    assert clean.run("--rm", "-m", "64m", "--", "python3", "-c", script).stdout == "True\n"


def test_off_and_require(clean: Box) -> None:
    """--proc-view off leaves the calls to the kernel; require has them answered; --dry-run names the filter."""
    pages = "getconf", "_PHYS_PAGES"
    host = subprocess.run(pages, capture_output=True, text=True, check=True).stdout
    assert clean.run("--rm", "--proc-view", "off", "-m", "64m", "--", *pages).stdout == host
    assert clean.run("--rm", "--proc-view", "require", "-m", "64m", "--", *pages).stdout == "16384\n"
    assert "sysinfo,sched_getaffinity answered by" in clean.run("--dry-run", "--", "true").stdout
    assert "answered by" not in clean.run("--dry-run", "--proc-view", "off", "--", "true").stdout


def test_below_another_listener(clean: Box) -> None:
    """Where a filter above has a listener of its own, auto starts all the same and says so; require refuses."""
    code = """
import ctypes, os, struct, sys
from runtime.kernel import syscalls
os.set_inheritable(syscalls.seccomp(1, 8, struct.pack('=HBBI', 6, 0, 0, 0x7fff0000)), True)
os.execv(sys.argv[1], sys.argv[1:])
"""
    for view, expected in (("auto", 0), ("require", 125)):
        done = subprocess.run(
            [BIN / "python", "-c", code, *clean.command("--rm", "--proc-view", view, "--", "true")],
            env=clean.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        assert "busy" in done.stderr


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
