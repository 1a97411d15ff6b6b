"""proc/loadavg: the load of the container's own tasks (see ``loads``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.loads import AS_HOST, FIXED_1, FSHIFT
from lxcfs_py.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxcfs_py.container import Container
    from lxcfs_py.loads import Load
    from lxcfs_py.reader import Reader

PATH = "proc/loadavg"
_THREADS = Rule(
    "the kernel's average of the threads in state R or D, of samples every 5 s",
    v2=("cgroup.threads",),
    v1=("tasks",),
    host=("proc/TID/task/TID/stat:state",),
    sampled=True,
)
LINES = {
    **dict.fromkeys(("1 minute", "5 minutes", "15 minutes"), _THREADS),
    "running": _THREADS.replace(formula="threads in state R at the last sample, at most the total"),
    "total": Rule(
        "threads; without the pids controller as of the last sample",
        v2=("pids.current", "cgroup.threads"),
        v1=("pids.current", "tasks"),
        sampled=True,
    ),
    "last pid": Rule(
        "the highest number, in the container's pid namespace, of the newest thread at any sample; in the host's "
        "namespace the host's",
        host=("proc/TID/status:NSpid",),
    ),
}


def rows(text: bytes, _cpus: Sequence[int]) -> dict[str, str]:
    """Return what ``explain`` shows of a text."""
    words = text.decode("utf-8", "replace").split()
    fields = [part for at, word in enumerate(words) for part in (word.split("/", 1) if at == 3 else [word])]
    return dict(zip(LINES, fields, strict=False))


def render(load: Load, total: int, last_pid: int) -> bytes:
    """Return the text; the kernel rounds to hundredths (fs/proc/loadavg.c)."""
    words = []
    for average in load.averages:
        rounded = max(0, average) + FIXED_1 // 200
        words.append(f"{rounded >> FSHIFT}.{(rounded % FIXED_1) * 100 >> FSHIFT:02d}")
    return f"{' '.join(words)} {max(0, min(load.running, total))}/{max(0, total)} {max(0, last_pid)}\n".encode()


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    load = reader.loads.load(container)
    total = reader.cgroups.task_count(container.cgroup)
    last_pid = load.last_pid
    if last_pid == AS_HOST or not container.init_pid:
        word = reader.host_bytes(PATH).split()[-1:]
        last_pid = int(word[0]) if word and word[0].isdigit() and len(word[0]) < 12 else 0
    return render(load, load.total if total is None else total, last_pid)
