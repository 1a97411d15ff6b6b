"""proc/cpuinfo: the blocks of the CPUs the container may use, counted from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.procfs import cpuinfo

if TYPE_CHECKING:
    from collections.abc import Collection

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/cpuinfo"


def render(host: bytes, cpus: Collection[int]) -> bytes:
    """Return the host's text for these of its CPUs; unchanged if they are all there are."""
    blocks = cpuinfo.parse(host)
    there = {block.processor for block in blocks if block.processor is not None}
    if there <= set(cpus):
        return host
    found, n = [], sum(number in cpus for number in there)
    for block in blocks:
        if block.processor is None:
            found.append(block)  # what some architectures say about the machine, and the end of the text
        elif block.processor in cpus:
            at = sum(1 for other in found if other.processor is not None)
            text = block.text
            for name, value in (
                (b"processor", at),
                (b"physical id", 0),
                (b"siblings", n),
                (b"core id", at),
                (b"cpu cores", n),
            ):
                text = cpuinfo.with_field(text, name, value)
            found.append(block.replace(text=text))
    return cpuinfo.join(tuple(found))


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    return render(reader.host_bytes(PATH), reader.cpus(container))
