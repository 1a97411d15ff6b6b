"""Open, read to the end and close a file again and again; print median and p99 in us, and cycles a second."""

import os
import sys
import time

path, seconds = sys.argv[1], float(sys.argv[2])
times = []
until = time.perf_counter() + seconds
while (start := time.perf_counter()) < until:
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, 65536):
        pass
    os.close(descriptor)
    times.append(time.perf_counter() - start)
times.sort()
print(times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6, len(times) / seconds)
