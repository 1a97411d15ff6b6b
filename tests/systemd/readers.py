"""Processes that read on while the service is killed, and what is done about those that hang."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.systemd import host
from tests.systemd.host import BIN, MOUNTPOINT

READER = """
import ctypes, json, os, sys, time
kind, path, until = sys.argv[1:]
libc, buffer = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(112)

def read():
    with open(path) as file:
        return file.read()

def total(begins):
    def right():
        text = read()
        return text.startswith(begins) and text.endswith("\\n") and text.count(":") > 15
    return right

last = [0] * 10
def counters():
    text, before = read(), last[:]
    last[:] = map(int, text.split("\\n")[0].split()[1:])
    return text.endswith("\\n") and all(new >= old for new, old in zip(last, before))

peak = [0.0, 0.0, 0.0]
def loads():
    one, now, (most, since, before) = float(read().split()[0]), time.monotonic(), peak
    peak[2] = one
    steps = (now - since) / 5  # at each the kernel's arithmetic leaves 0.92 of it; some may come late or early
    if one != before and one >= most * 0.92 ** steps:
        peak[:2] = one, now
    return one >= most * 0.92 ** (steps + 3) - 0.02

def sysinfo():
    if libc.sysinfo(buffer):
        raise OSError(ctypes.get_errno(), "sysinfo")
    return int.from_bytes(buffer.raw[32:40], sys.byteorder) == 64 << 20

right = {
    "host": total("MemTotal:"), "container": total("MemTotal:          65536 kB\\n"),
    "counters": counters, "loads": loads, "sysinfo": sysinfo,
}[kind]
count, failed, wrong, worst, errors = 0, 0, 0, 0.0, []
print("begun", flush=True)
while not os.path.exists(until):
    since = time.monotonic()
    try:
        wrong += not right()
    except OSError as error:
        failed += 1
        errors = [*errors, str(error)][:5]
    count += 1
    worst = max(worst, time.monotonic() - since)
    time.sleep(0.005)  # a guest may have one CPU
print(json.dumps({"kind": kind, "count": count, "failed": failed, "wrong": wrong, "worst": worst, "errors": errors}))
"""
MEMINFO, CONTAINER = "/proc/meminfo", "reader"
EACH = min(3, len(os.sched_getaffinity(0)))
"""Where there is one CPU, more readers of a kind only wait for it, and so does the service."""
KINDS = (
    *(("host", f"{MOUNTPOINT}/proc/meminfo"),) * EACH,
    *(("container", MEMINFO),) * EACH,
    ("counters", "/proc/stat"),
    ("loads", "/proc/loadavg"),
    ("sysinfo", ""),
)
"""What each reader does: all but one read files, on the host or in the container; that makes system calls."""
BEGIN_SECONDS = 60
"""After so long one that was started hangs."""
END_SECONDS = 20
"""After so long a reader that was told to end hangs."""


class Readers:
    """Processes that read in a loop, until they are asked how it went."""

    def __init__(self, directory: Path, scale: float) -> None:
        self.until, self.scale = directory / "until", scale
        self.script = directory / "reader.py"
        self.script.write_text(READER)
        self.found: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        """Start them, and wait until each reads."""
        directory = self.script.parent
        shared = ("-v", f"{directory}:{directory}")
        busy = "while :; do for i in 1 2 3 4 5 6 7 8 9; do :; done; sleep .1; done"  # a counter that counts
        host.run(BIN / "pyproc-run", "-d", "--name", CONTAINER, "-m", "64m", *shared, "--", "sh", "-c", busy)
        python = ["/usr/bin/python3", str(self.script)]
        inside = [str(BIN / "pyproc"), "exec", CONTAINER, "--", *python]
        for kind, path in KINDS:
            command = [*(python if kind == "host" else inside), kind, path, str(self.until)]
            self.found.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        deadline = time.monotonic() + BEGIN_SECONDS * self.scale
        for reader in self.found:
            assert reader.stdout is not None
            there = select.select([reader.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert there, (f"{reader.args!r} has not begun", *map(whereabouts, self._running()), host.journal())
            assert reader.stdout.readline() == b"begun\n", host.journal()

    def end(self) -> list[dict[str, Any]]:
        """End them; return what each has seen. One that hangs fails the test, which then says where it does."""
        hanging = self._stop()
        assert not hanging, "\n".join((*hanging, host.journal()))
        return [json.loads(reader.communicate(timeout=END_SECONDS * self.scale)[0]) for reader in self.found]

    def _stop(self) -> list[str]:
        """Tell them to end; return where those are that don't. (What each says fits into a pipe.)"""
        self.until.touch()
        deadline = time.monotonic() + END_SECONDS * self.scale
        while (running := self._running()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return [whereabouts(pid) for pid in running]

    def _running(self) -> list[int]:
        """Return the readers that have not ended, and who waits for them."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:  # it has gone
                continue
            if os.fsencode(self.script) in words:
                found.append(int(path.parent.name))
        return found

    def close(self) -> None:
        """Leave nothing of them, also if they hang: then what they wait for is made to fail."""
        if hanging := self._stop():
            print(*hanging, host.journal(), sep="\n")
            host.abort()
            host.kill(*self._running())
        try:
            for reader in self.found:
                reader.communicate(timeout=END_SECONDS * self.scale)
        finally:
            host.run(BIN / "pyproc", "delete", "--force", CONTAINER)


def whereabouts(pid: int) -> str:
    """Return what a process is, and where in the kernel it waits."""
    found = [f"process {pid} hangs"]
    for name in ("cmdline", "stat", "wchan", "stack"):
        try:
            text = Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError as error:
            text = str(error)
        found.append(f"  {name}: {text[-1000:].strip()}")
    return "\n".join(found)
