"""For every line it reads, runs command lines one after the other, and prints each one's milliseconds, and those of CPU time
of all.

``start.py COMMAND...``, each a JSON list; an empty one waits for the end of the container that was started, whose parent
this becomes as an engine's monitor does.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def run(command: list[str]) -> float:
    """Run one; return its milliseconds."""
    begun = time.perf_counter()
    if command:
        # a container keeps the streams it gets
        null = subprocess.DEVNULL
        code = subprocess.run(command, stdin=null, stdout=null, stderr=null, check=False).returncode
    else:
        code = os.waitstatus_to_exitcode(os.wait()[1])
    spent = time.perf_counter() - begun
    if code:
        sys.exit(f"{' '.join(command) or 'the container'}: {code}")
    return spent * 1000


def main(commands: list[list[str]]) -> None:
    """Serve the lines."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    for _ in sys.stdin:
        spent = [run(command) for command in commands]
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(*spent, (used.ru_utime + used.ru_stime) * 1000, flush=True)


if __name__ == "__main__":
    main([json.loads(word) for word in sys.argv[1:]])
