"""System calls that read no file: what programs are answered, at the container's figures and at nobody else's."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.live.box import BIN, Box
from tests.live.test_seccomp import CALLS


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
