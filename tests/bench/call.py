"""Make a system call again and again; print median and p99 in us of each that the seccomp agent answers."""

import ctypes
import time

libc = ctypes.CDLL(None)
buffer = ctypes.create_string_buffer(1024)
for name, call, arguments in (
    ("sysinfo", libc.sysinfo, (buffer,)),
    ("sched_getaffinity", libc.syscall, (204, 0, 128, buffer)),
):
    times = []
    for _ in range(3000):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    times.sort()
    print(name, times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6)
