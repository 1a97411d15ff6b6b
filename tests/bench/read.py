"""Open, read to the end and close a file again and again, with a pause if one is named; print median and p99 in us, and cycles a second."""

import os
import sys
import time

path, seconds, *pause = sys.argv[1], *map(float, sys.argv[2:])
times = []
until = time.perf_counter() + seconds
while (start := time.perf_counter()) < until:
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, 65536):
        pass
    os.close(descriptor)
    times.append(time.perf_counter() - start)
    for each in pause:
        time.sleep(each)
times.sort()
print(times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6, len(times) / seconds)
