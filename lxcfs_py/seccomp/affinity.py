"""sched_getaffinity(2): no more CPUs than the container's quota is worth, out of those the task may really use."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING

from lxcfs_py import process
from lxcfs_py.seccomp.protocol import ARCHITECTURES, SCHED_GETAFFINITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lxcfs_py.host import Host

_libc = ctypes.CDLL(None, use_errno=True)
_NUMBER = ARCHITECTURES["SCMP_ARCH_X86_64"].numbers[SCHED_GETAFFINITY]
WORD_BYTES = 8
"""A length must be a multiple of it (of 4 for 32-bit callers, whose odd ones are left to the kernel)."""
MOST_BYTES = 8192
"""More than any kernel's mask: NR_CPUS is 8192 bits at most."""
NS_GET_PID_FROM_PIDNS = 0x8004B706
"""ioctl_nsfs(2), kernel 6.11: our number for a task of another pid namespace."""
MOST_SEARCHED = 1024
"""How many tasks are looked at before 6.11."""


def choose(real: Iterable[int], n: int, key: str) -> list[int]:
    """Return ``n`` neighbours, in a ring, of the CPUs of a mask.

    Which ones differs between containers but not between the tasks of one: programs pin their threads to what
    they are told, and the lowest n would crowd all containers onto the first CPUs.
    """
    cpus = sorted(real)
    start = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
    return sorted(cpus[(start + at) % len(cpus)] for at in range(min(n, len(cpus))))


def mask(cpus: Iterable[int], length: int) -> bytes:
    """Return CPUs as a mask of ``length`` bytes, as sched_setaffinity(2) lays it out on little-endian machines."""
    return sum(1 << cpu for cpu in cpus).to_bytes(length, "little")


def numbers(data: bytes) -> Iterator[int]:
    """Yield the CPUs of a mask."""
    bits = int.from_bytes(data, "little")
    return (cpu for cpu in range(len(data) * 8) if bits >> cpu & 1)


def real(tid: int, length: int) -> bytes | None:
    """Return what the kernel answers about a task given a buffer of ``length`` bytes, None for an error."""
    if length % WORD_BYTES:
        return None
    length = min(length, MOST_BYTES)
    buffer = ctypes.create_string_buffer(length)
    got = _libc.syscall(_NUMBER, tid, ctypes.c_size_t(length), buffer)
    return buffer.raw[:got] if got > 0 else None


def task(host: Host, caller: int, number: int, others: Callable[[], Iterable[int]]) -> int:
    """Return our number of the task that is ``number`` to the caller; 0 if there is none or it isn't found.

    ``others`` returns the processes that may have it, for kernels before 6.11.
    """
    if number == 0:
        return caller
    try:
        namespace = os.open(f"{host.proc}/{caller}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return fcntl.ioctl(namespace, NS_GET_PID_FROM_PIDNS, number)
    except ProcessLookupError:
        return 0
    except (OSError, OverflowError):
        return _search(host, caller, number, others)
    finally:
        os.close(namespace)


def _search(host: Host, caller: int, number: int, others: Callable[[], Iterable[int]]) -> int:
    """Look among the caller's threads and the main threads of others; one namespace down is where they agree."""
    depth = len(process.numbers(host, caller))
    for tid in _candidates(host, caller, others):
        found = process.numbers(host, tid)
        if len(found) >= depth > 0 and found[depth - 1] == number:
            return tid
    return 0


def _candidates(host: Host, caller: int, others: Callable[[], Iterable[int]]) -> Iterator[int]:
    try:
        yield from map(int, os.listdir(f"{host.proc}/{caller}/task")[:MOST_SEARCHED])
    except OSError:
        pass
    for at, pid in enumerate(others()):
        if at == MOST_SEARCHED:
            return
        yield pid
