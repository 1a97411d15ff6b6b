"""Filters of system calls, loaded for real."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

import pytest

from runtime.filters.compiler import compile as compiled
from runtime.filters.numbers import NUMBERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.box import Box

pytestmark = pytest.mark.anywhere  # system calls

CALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for line in sys.argv[1:]:
    ctypes.set_errno(0)
    result = libc.syscall(*(ctypes.c_ulong(int(word)) for word in line.split(",")))
    print(os.strerror(ctypes.get_errno()) if result < 0 else "allowed")
"""
"""Makes system calls, ``NUMBER,ARGUMENT,...`` each, and says what became of them."""
COLUMN = {"x86_64": 0, "aarch64": 3}[platform.machine()]


def call(name: str, *arguments: int) -> str:
    """Return what ``CALL`` takes."""
    return ",".join(map(str, (NUMBERS[name][COLUMN], *arguments)))


def said(box: Box, options: tuple[str, ...], *calls: str, code: int = 0) -> list[str]:
    """Return what becomes of calls in a container."""
    done = box.run("--rm", *options, "--", "python3", "-c", CALL, *calls, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout.split("\n")[:-1]


REFUSED = (
    call("unshare", 0x10000000), call("mount", 0, 0, 0, 0, 0), call("bpf", 0, 0, 0), call("keyctl", 0, 0, 0),
    call("userfaultfd", 0), call("io_uring_setup", 0, 0), call("open_by_handle_at", 0, 0, 0), call("swapoff", 0),
    call("personality", 0x400000), call("socket", 40, 1, 0), call("perf_event_open", 0, 0, 0, 0, 0),
)  # fmt: skip


@pytest.mark.parametrize("options", [(), ("-u", "1000"), ("--security-opt", "no-new-privileges", "-u", "1000")])
def test_the_default_profile(clean: Box, options: tuple[str, ...]) -> None:
    """Whoever the command is, what a container needs not is refused, newer calls are ENOSYS, the rest works."""
    assert set(said(clean, options, *REFUSED)) == {"Operation not permitted"}
    newer = said(clean, options, call("clone3", 0, 0), "1000")
    assert newer == ["Function not implemented"] * 2
    assert (
        said(clean, options, call("getpid"), call("personality", 0xFFFFFFFF), call("socket", 1, 1, 0))
        == ["allowed"] * 3
    )


def test_it_can_be_gone_without(clean: Box) -> None:
    """seccomp=unconfined leaves the kernel's own judgement; the view's calls are answered all the same."""
    options = ("--security-opt", "seccomp=unconfined", "-m", "64m")
    assert said(clean, options, call("userfaultfd", 0xFFFF), call("clone3", 0, 0)) == ["Invalid argument"] * 2
    done = clean.run("--rm", *options, "--", "getconf", "_PHYS_PAGES")
    assert done.stdout == "16384\n"


def test_a_capability_widens_it(clean: Box) -> None:
    """With CAP_SYS_ADMIN a container may mount; with CAP_SYSLOG read the kernel's log."""
    clean.run("--rm", "--cap-add", "sys_admin", "--", "mount", "-t", "tmpfs", "none", "/mnt")
    assert said(clean, (), call("syslog", 99, 0, 0)) == ["Operation not permitted"]
    assert said(clean, ("--cap-add", "syslog"), call("syslog", 99, 0, 0)) == ["Invalid argument"]


def test_a_command_that_enters(clean: Box) -> None:
    """exec has the filter of the container."""
    id_ = clean.start("--", "sleep", "100")
    done = clean.pyproc("exec", id_, "--", "python3", "-c", CALL, *REFUSED)
    assert set(done.stdout.split("\n")[:-1]) == {"Operation not permitted"}
    clean.pyproc("delete", "--force", id_)


def test_threads_and_programs(clean: Box) -> None:
    """Threads, forks and a build's usual programs work below the profile."""
    script = """
python3 - <<'END'
import multiprocessing, subprocess, tempfile, threading
threads = [threading.Thread(target=lambda: None) for _ in range(20)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1]) == [1]
subprocess.run(["tar", "-cf", "/tmp/t.tar", "/etc/passwd"], check=True)
END
setpriv --reuid 1000 --clear-groups id -u; nice -n 5 ionice true; timeout 5 sh -c 'sleep .01 & wait'
flock /tmp/x true
"""
    assert clean.run("--rm", "--", "sh", "-ec", script).stdout.strip() == "1000"


@pytest.mark.parametrize(
    ("action", "becomes"),
    [
        ({"action": "SCMP_ACT_ERRNO"}, "Operation not permitted"),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 74}, "Bad message"),
        ({"action": "SCMP_ACT_TRACE"}, "Function not implemented"),
        ({"action": "SCMP_ACT_LOG"}, "allowed"),
        ({"action": "SCMP_ACT_TRAP"}, 128 + 31),
        ({"action": "SCMP_ACT_KILL_PROCESS"}, 128 + 31),
        ({"action": "SCMP_ACT_KILL"}, 128 + 31),
    ],
)
def test_actions(clean: Box, tmp_path: Path, action: dict[str, Any], becomes: str | int) -> None:
    """A profile of one's own does what it says: an errno, a signal, or nothing but a line in the log."""
    args = [{"index": 0, "value": 1 << 33, "op": "SCMP_CMP_GE"}]
    rows = [{"names": ["alarm", "times"], **action, "args": args}]
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rows}))
    options = ("--security-opt", f"seccomp={file}", "--proc-view", "off")
    name = "alarm" if platform.machine() == "x86_64" else "times"
    assert said(clean, options, call(name, 0)) == ["allowed"]
    if isinstance(becomes, int):
        said(clean, options, call(name, 1 << 33), code=becomes)
    else:
        assert said(clean, options, call(name, 1 << 33)) == [becomes]


def test_a_profile_that_is_wrong(clean: Box, tmp_path: Path) -> None:
    """It is an error before anything is made."""
    file = tmp_path / "profile.json"
    file.write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "NO"}]}')
    done = clean.run("--security-opt", f"seccomp={file}", "--", "true", check=False)
    assert done.returncode == 125
    last = done.stderr.splitlines()[-1]  # where the storage can't hold an upper layer, that was said before
    assert last.startswith("pyproc-run: linux.seccomp.syscalls[0].action: unknown 'NO'; one of SCMP_ACT_")


def test_the_kernel_takes_the_longest(clean: Box, tmp_path: Path) -> None:
    """A program of almost 4096 instructions is loaded, and its last entry counts."""
    args = [{"index": 0, "op": "SCMP_CMP_EQ", "value": value} for value in range(1000, 1800)]
    rows = [{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [each]} for each in args]
    asked = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rows}
    assert 4000 < len(compiled(asked, platform.machine()).program) // 8 <= 4096
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(asked))
    options = ("--security-opt", f"seccomp={file}", "--proc-view", "off")
    assert said(clean, options, call("personality", 1799), call("personality", 0xFFFFFFFF)) == [
        "Operation not permitted",
        "allowed",
    ]


def test_privileged(clean: Box) -> None:
    """Such a container has no filter, our capabilities, the host's devices, and nothing masked or read-only."""
    script = """
grep Seccomp: /proc/self/status
mount -t tmpfs none /mnt && umount /mnt
head -c 0 /dev/kmsg
test -e /dev/console && touch /dev/shm/x
test -w /proc/sys/kernel/hostname && echo host >/proc/sys/kernel/hostname && hostname
mkdir /sys/fs/cgroup/*/own 2>/dev/null || mkdir /sys/fs/cgroup/own
"""
    done = clean.run("--rm", "--privileged", "--proc-view", "off", "--", "sh", "-ec", script)
    assert done.stdout.split() == ["Seccomp:", "0", "host"]
    assert done.stderr.count("\n") <= 1, done.stderr
