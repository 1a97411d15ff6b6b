"""Executes a command so that /proc/self/exe is never our interpreter where the command can reach it.

Whoever is executed as ``/proc/self/exe``, as a script's interpreter for one, would be the host's python3, and could
open that for writing once nobody else runs it (CVE-2019-5736). So we become something of no value before: a program
of three hundred bytes in memory, which executes the command. Up to there we are not dumpable, and our ``exe``
can't be looked at from inside (proc(5)) but with CAP_SYS_PTRACE.

The program executes what its first argument names, with the further ones. If that fails it says so on standard error
and exits with 127 for ENOENT, 126 for anything else.

What a security module is to call the command by is for the program to say: the kernel takes that for the next execve
alone, and may not let what is labelled so execute the program itself.
"""

from __future__ import annotations

import errno
import os
from _struct import pack

from lxcfs_py import mountapi
from lxcfs_py.record import Record
from runtime.kernel import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CODE = {
    "x86_64": (
        62,
        "488b7c2408 488d742410 488b0c24 488d54cc10"  # path, arguments, their number, environment
        "6a3b58 0f05"  # execve
        "6a7e5b 83f8fe 7502 ffc3"  # 126; if it was ENOENT 127
        "6a0158 6a025f 488d3515000000 8b150b000000 0f05"  # write to standard error what follows the length
        "89df b8e7000000 0f05",  # exit_group
    ),
    "aarch64": (
        183,
        "e90340f9 e00740f9 e1430091 220c098b"  # number of arguments, path, arguments, environment
        "a81b80d2 010000d4"  # execve
        "d30f8052 1f080031 7316931a"  # 126; if it was ENOENT 127
        "400080d2 01010010 c2000018 080880d2 010000d4"  # write to standard error what follows the length
        "e003132a c80b80d2 010000d4",  # exit_group
    ),
}
"""By machine: the number of ELF (elf.h, EM_*), and instructions. The text's length and the text follow them."""

LABELLING: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "x86_64": (
        "4c8d053d000000 418b7804 498d7020 498d5008 6a18415a b8b5010000 0f05"  # openat2 the file in the directory
        "4189c1 6a0358 0f05"  # close the directory
        "4489cf 498d7040 418b10 6a0158 0f05"  # write the label
        "39d0 7406 4883642408 00"  # unless all of it was taken the command's path is none
        "e9",  # jump behind the label
        lambda size: pack("=i", size),
    ),
    "aarch64": (
        "89020010 200540b9 21810091 22210091 030380d2 a83680d2 010000d4"  # openat2 the file in the directory
        "ea03002a 200540b9 280780d2 010000d4"  # close the directory
        "e0030a2a 21010191 220140b9 080880d2 010000d4"  # write the label
        "1f0002eb 40000054 ff0700f9",  # unless all of it was taken the command's path is none
        lambda size: pack("=I", 0x14000000 | (size // 4 + 1)),  # jump behind the label
    ),
}
"""By machine: what goes before. Behind it are ``_labelling``'s data."""


class Label(Record):
    """What is to be written before the command is executed, and where.

    The kernel takes it from who has opened the file since its execve alone, and of no other process (with ``--init``
    the command is a child of who found the directory). So the program opens it: below a directory that was found to
    be right, and nothing mounted on the way meanwhile.
    """

    directory: int
    """Open; the program closes it."""
    name: str
    """A path, of at most 31 bytes. A link on it is followed, unless it is one of /proc's jumping ones."""
    text: str


def image(path: str, machine: str, label: Label | None = None, *, init: bool = False) -> bytes:
    """Return the program, an ELF file of one segment (elf(5)); ``init``: it is PID 1, and its child the command."""
    number, code = CODE[machine]
    why = f"is {label.text.removeprefix('exec ')!r} still known to the kernel, and it" if label else "is it"
    text = f"pyproc: exec {path}: can't be executed; {why} a program of this machine, with its interpreter there?\n"
    encoded = text.encode("utf-8", "surrogateescape")
    body = bytes.fromhex(code) + pack("=I", len(encoded)) + encoded
    before = b""
    if init:
        from runtime.kernel import init as reaper  # few want one

        before = bytes.fromhex(reaper.CODE[machine])
    return program.elf(number, before + (_labelling(label, machine) if label else b"") + body)


def _labelling(label: Label, machine: str) -> bytes:
    text = label.text.encode("utf-8", "surrogateescape")
    how = os.O_WRONLY | os.O_CLOEXEC, 0, mountapi.RESOLVE_NO_XDEV | mountapi.RESOLVE_NO_MAGICLINKS
    data = pack("=Ii3Q32s", len(text), label.directory, *how, label.name.encode()) + text
    data += bytes(-len(data) % 4)
    code, jump = LABELLING[machine]
    return bytes.fromhex(code) + jump(len(data)) + data


def make(path: str, label: Label | None = None, *, init: bool = False) -> int:
    """Return the program's descriptor, -1 where there can be none: this machine or its kernel has no such thing."""
    machine = os.uname().machine
    if machine not in CODE:
        return -1
    return program.in_memory("pyproc", image(path, machine, label, init=init))


def by(descriptor: int) -> str | int:
    """Return what to execute it by: a path, because profiles may forbid execveat(2), or itself where /proc isn't."""
    path = f"/proc/self/fd/{descriptor}"
    try:
        return path if os.path.samestat(os.stat(path), os.fstat(descriptor)) else descriptor
    except OSError:
        return descriptor


def execute(place: str | int, path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Execute the command by the program at ``place``; returns if that can't be executed itself."""
    try:
        os.execve(place, [path, *arguments], environment)
    except OSError:
        return


def refuse(path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raise OSError ENOEXEC for what the kernel knows no format of: once the program runs nobody hears of it.

    The kernel itself is asked, by a descriptor that is closed on execve, by which it executes no script.
    """
    try:
        command = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # what may be executed may be unreadable
        return
    try:
        if not os.pread(command, 4, 0).startswith((b"\x7fELF", b"#!")):
            os.execve(command, tuple(arguments), environment)
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            raise
    finally:
        os.close(command)
