"""proc/loadavg: the load of the container's own tasks (see ``loads``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.loads import AS_HOST, FIXED_1, FSHIFT

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.loads import Load
    from lxcfs_py.reader import Reader

PATH = "proc/loadavg"


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
