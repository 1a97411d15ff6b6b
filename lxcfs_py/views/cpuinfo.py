"""proc/cpuinfo: the blocks of the CPUs the container may use, counted from 0."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from lxcfs_py.procfs import cpuinfo
from lxcfs_py.reader import COUNT
from lxcfs_py.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/cpuinfo"
AGE_SECONDS = 0.02
"""How old the host's text may be: the kernel asks every CPU for its frequency."""
LINES = {
    "processors": COUNT,
    "processor *": Rule(
        "one of the first N CPUs of the cpuset, counted from 0",
        v2=("cpuset.cpus.effective",),
        v1=("cpuset.effective_cpus", "cpuset.cpus"),
        host=("sys/devices/system/cpu/online",),
    ),
}


def rows(text: bytes, cpus: Sequence[int]) -> dict[str, str]:
    """Return what ``explain`` shows of a text."""
    count = sum(block.processor is not None for block in cpuinfo.parse(text))
    return {"processors": str(count), **{f"processor {at}": str(cpu) for at, cpu in enumerate(cpus)}}


@functools.lru_cache(64)
def render(host: bytes, cpus: tuple[int, ...]) -> bytes:
    """Return the host's text for these of its CPUs; unchanged if they are all there are.

    N CPUs say they are N cores of one package. Where the host's own ids contradict that (several packages, two
    threads of one core), they are counted anew; else they stay.
    """
    blocks = cpuinfo.parse(host)
    shown = [block.text for block in blocks if block.processor in cpus and block.processor is not None]
    if not shown or len(shown) == sum(block.processor is not None for block in blocks):
        return host
    packages = {cpuinfo.field(text, b"physical id") for text in shown}
    cores = {cpuinfo.field(text, b"core id") for text in shown}
    apart = len(packages) == 1 and len(cores) == len(shown)
    texts = []
    for at, text in enumerate(shown):
        changes = {b"processor": at, b"siblings": len(shown), b"cpu cores": len(shown)}
        if not apart:
            changes |= {b"physical id": 0, b"core id": at}
        for name, value in changes.items():
            text = cpuinfo.with_field(text, name, value)
        texts.append(text)
    rest = [block.text for block in blocks if block.processor is None]  # about the machine, and the text's end
    return b"\n\n".join(texts + rest)


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    return render(reader.recent(PATH, AGE_SECONDS), reader.cpus(container))
