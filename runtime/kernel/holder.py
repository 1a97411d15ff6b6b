"""The process that a detached container's first one is a child of: a program of some two hundred bytes, no Python.

It copies what the container writes, to its pipe or its terminal, into the log, and notes the time of each piece; it
keeps the container's input open; at the end it takes the exit status, writes it down, and exits with it as a shell
would. Without it nobody but the host's init would hear how a detached container ended.

Its descriptors are ``INPUT`` and those after it. Of its 64 KiB of stack only used
pages exist.
"""

from __future__ import annotations

import os
from _struct import pack, unpack

from runtime.kernel import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

INPUT, LOG, TIMES, SOURCE, STATUS = range(5)
"""What the container's input is written to, or nothing; its four files."""
NAME = "pyproc-holder"
TIME = "=QQQ"
"""One note: seconds and nanoseconds since 1970, and the log's length before the piece."""
TIME_BYTES = 24
CODE = {
    "x86_64": (
        62,
        "4881ec20000100"  # a note, and room for a piece, on the stack
        "488d742420 ba00000100 6a035f 31c0 0f05"  # look: read 64 KiB from SOURCE
        "4883f8fc 74e9 4885c0 7e4e 4889c3"  # again after EINTR; nothing any more: to the end
        "b8e4000000 31ff 4889e6 0f05"  # clock_gettime
        "6a0858 6a015f 31f6 6a025a 0f05 4889442410"  # lseek: the log's length
        "6a0158 6a025f 4889e6 6a185a 0f05"  # write the note
        "488d742420 6a0158 6a015f 4889da 0f05"  # write to the log
        "4885c0 7ea0 4801c6 4829c3 75e8 eb96"  # the rest of it, then look again; what can't be written is lost
        "6a3d58 8b3d35000000 4889e6 31d2 4531d2 0f05"  # the end: wait4
        "4883f8fc 74e7 6a0158 6a045f 6a045a 0f05"  # write the status
        "0fb67c2401 8b0424 83e07f 7406 8db880000000 b8e7000000 0f05",  # exit_group: the code, or 128 + the signal
    ),
    "aarch64": (
        183,
        "ff4340d1 ff8300d1"  # a note, and room for a piece, on the stack
        "600080d2 e1830091 2200a0d2 e80780d2 010000d4"  # look: read 64 KiB from SOURCE
        "1f1000b1 40ffff54 1f0000f1 ad030054 f30300aa"  # again after EINTR; nothing any more: to the end
        "000080d2 e1030091 280e80d2 010000d4"  # clock_gettime
        "200080d2 010080d2 420080d2 c80780d2 010000d4 e00b00f9"  # lseek: the log's length
        "400080d2 e1030091 020380d2 080880d2 010000d4"  # write the note
        "f4830091 200080d2 e10314aa e20313aa 080880d2 010000d4"  # write to the log
        "1f0000f1 0dfcff54 9402008b 730200eb e1feff54 dcffff17"  # the rest of it, then look again; or it is lost
        "80020018 e1030091 020080d2 030080d2 882080d2 010000d4"  # the end: wait4
        "1f1000b1 20ffff54 800080d2 e1030091 820080d2 080880d2 010000d4"  # write the status
        "e0074039 e10340b9 21180072 40000054 20000211 c80b80d2 010000d4",  # exit_group
    ),
}
"""By machine: the number of ELF (elf.h, EM_*), and instructions. The pid to wait for follows them."""


def image(pid: int, machine: str) -> bytes:
    """Return the program."""
    number, code = CODE[machine]
    return program.elf(number, bytes.fromhex(code) + pack("=I", pid))


def make(pid: int) -> int:
    """Return the program's descriptor, -1 where there can be none."""
    machine = os.uname().machine
    return program.in_memory(NAME, image(pid, machine)) if machine in CODE else -1


def become(descriptor: int, streams: tuple[int, ...], about: str) -> NoReturn:
    """Be the program from now on; ``streams`` are its descriptors, in order. ``about`` is for ps(1) to show."""
    import fcntl

    high = [fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 16) for stream in streams]
    descriptor = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16)
    for number, stream in enumerate(high):
        os.dup2(stream, number)
    os.execve(f"/proc/self/fd/{descriptor}", [NAME, about], {})


def exit_code(status: bytes) -> int | None:
    """Return what it wrote of the end, as a shell would say it; None while it has not."""
    if len(status) != 4:
        return None
    code = os.waitstatus_to_exitcode(unpack("=I", status)[0])
    return code if code >= 0 else 128 - code
