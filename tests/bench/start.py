"""Runs a command for every line it reads, and prints the milliseconds from fork to exit and of CPU time."""

import resource
import subprocess
import sys
import time

for _ in sys.stdin:
    begun = time.perf_counter()
    subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    spent = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = used.ru_utime + used.ru_stime
    print(spent * 1000, total * 1000, flush=True)
