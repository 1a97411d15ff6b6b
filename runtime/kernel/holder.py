"""The process that a detached container's first one is a child of: a program of some two hundred bytes, no Python.

It copies what the container writes, to its pipe or its terminal, into the log, and notes the time of each piece; it
keeps the container's input open; at the end it takes the exit status, writes it down, and exits with it as a shell
would. Without it nobody but the host's init would hear how a detached container ended.

When the log is as long as it may be, and at the end, it executes what its second argument names, with the further
ones: a program that does what must be thought about. That is the same process, the container's parent still, with
the same descriptors, and can be the holder again (``again``). What can't be executed is done without.

Its descriptors are ``INPUT`` and those after it; 1 and 2 lead nowhere, for what it executes. Of its 64 KiB of stack
only used pages exist.
"""

from __future__ import annotations

import fcntl
import os
from _struct import pack, unpack

from runtime.kernel import program, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

INPUT, LOG, TIMES, SOURCE, STATUS, PROGRAM = 0, 3, 4, 5, 6, 7
"""What the container's input is written to, or nothing; its four files; itself."""
NAME = "pyproc-holder"
TIME = "=QQQ"
"""One note: seconds and nanoseconds since 1970, and the log's length before the piece."""
TIME_BYTES = 24
ENDLESS = (1 << 63) - 1
"""The length of a log that may be as long as it likes."""
CODE = {
    "x86_64": (
        62,
        "4989e4 4881ec20000100"  # arguments; a note, and room for a piece, on the stack
        "488d742420 ba00000100 6a055f 31c0 0f05"  # look: read 64 KiB from SOURCE
        "4883f8fc 74e9 4885c0 7e62 4889c3"  # again after EINTR; nothing any more: to the end
        "b8e4000000 31ff 4889e6 0f05"  # clock_gettime
        "6a0858 6a035f 31f6 6a025a 0f05 4889442410 4989c5"  # lseek: the log's length
        "6a0158 6a045f 4889e6 6a185a 0f05"  # write the note
        "488d742420 6a0158 6a035f 4889da 0f05"  # write to the log
        "4885c0 7e0b 4801c6 4901c5 4829c3 75e5"  # the rest of it; what can't be written is lost
        "4c3b2d69000000 7289 e845000000 eb82"  # look again, if the log is full by way of leave
        "6a3d58 8b3d53000000 4889e6 31d2 4531d2 0f05"  # the end: wait4
        "4883f8fc 74e7 6a0158 6a065f 6a045a 0f05"  # write the status
        "e81a000000 0fb67c2401 8b0424 83e07f 7406 8db880000000"  # leave; the code, or 128 + the signal
        "b8e7000000 0f05"  # exit_group
        "498b7c2418 498d742418 498b0c24 498d54cc10 6a3b58 0f05 c3",  # leave: execve, and back if it fails
    ),
    "aarch64": (
        183,
        "f6030091 ff4340d1 ff8300d1"  # arguments; a note, and room for a piece, on the stack
        "a00080d2 e1830091 2200a0d2 e80780d2 010000d4"  # look: read 64 KiB from SOURCE
        "1f1000b1 40ffff54 1f0000f1 6d040054 f30300aa"  # again after EINTR; nothing any more: to the end
        "000080d2 e1030091 280e80d2 010000d4"  # clock_gettime
        "600080d2 010080d2 420080d2 c80780d2 010000d4 e00b00f9 f50300aa"  # lseek: the log's length
        "800080d2 e1030091 020380d2 080880d2 010000d4"  # write the note
        "f4830091 600080d2 e10314aa e20313aa 080880d2 010000d4"  # write to the log
        "1f0000f1 ad000054 9402008b b502008b 730200eb c1feff54"  # the rest of it; what can't be written is lost
        "60040058 bf0200eb 03fbff54 17000094 d6ffff17"  # look again, if the log is full by way of leave
        "a0030018 e1030091 020080d2 030080d2 882080d2 010000d4"  # the end: wait4
        "1f1000b1 20ffff54 c00080d2 e1030091 820080d2 080880d2 010000d4"  # write the status
        "08000094 e0074039 e10340b9 21180072 40000054 20000211"  # leave; the code, or 128 + the signal
        "c80b80d2 010000d4"  # exit_group
        "c00e40f9 c1620091 c20240f9 c20e028b 42400091 a81b80d2 010000d4 c0035fd6",  # leave: execve, back if it fails
    ),
}
"""By machine: the number of ELF (elf.h, EM_*), and instructions. The pid to wait for and the length follow them."""


def image(pid: int, length: int, machine: str) -> bytes:
    """Return the program; a log of that length is full."""
    number, code = CODE[machine]
    return program.elf(number, bytes.fromhex(code) + pack("=IQ", pid, length))


def make(pid: int, length: int) -> int:
    """Return the program's descriptor, -1 where there can be none."""
    machine = os.uname().machine
    return program.in_memory(NAME, image(pid, length, machine)) if machine in CODE else -1


def place(streams: Sequence[int], program_: int) -> None:
    """Have its descriptors where it finds them, and none beside; ``streams`` are those up to STATUS, in order."""
    empty = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    feed, *files = streams
    all_ = (feed, empty, empty, *files, program_)
    for number, stream in enumerate([fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 16) for each in all_]):
        os.dup2(stream, number)
    syscalls.close_on_exec(len(all_))


def lengthen(length: int) -> None:
    """Let the program, which does not run now, take a log of that length for full."""
    os.pwrite(PROGRAM, pack("=Q", length), os.fstat(PROGRAM).st_size - 8)


def again(about: str, after: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Be the program from now on; its descriptors are in their places.

    ``about`` is for ps(1) to show, ``after`` the command that it executes when the log is full, and at the end.
    """
    os.execve(f"/proc/self/fd/{PROGRAM}", [NAME, about, *after], dict(environment))


def exit_code(status: bytes) -> int | None:
    """Return what it wrote of the end, as a shell would say it; None while it has not."""
    if len(status) != 4:
        return None
    code = os.waitstatus_to_exitcode(unpack("=I", status)[0])
    return code if code >= 0 else 128 - code
