"""LXCFS's command line: what ``lxcfs-py serve`` makes of the options that are not its own too."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from lxcfs_py.served import FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Command = TypeVar("Command", bound="Callable[..., object]")

NONEMPTY = "nonempty"
"""The one mount option that changes something."""
MOUNT_OPTIONS = (
    "allow_other", "default_permissions", "direct_io", "entry_timeout", "attr_timeout", "nosuid", "nodev", "noexec",
    NONEMPTY,
)  # fmt: skip
"""What ``-o`` may name: it is so anyway, or LXCFS ignores it too."""


class Option(Record):
    """One flag: accepted because it asks for what is done anyway, or refused."""

    flags: tuple[str, ...]
    what: str
    """What it asks of LXCFS."""
    refusal: str = ""
    """Why it can't be had, and what to do."""

    @property
    def name(self) -> str:
        """The key of its value."""
        return self.flags[-1].lstrip("-").replace("-", "_")

    @property
    def help(self) -> str:
        """What ``--help`` says."""
        return f"LXCFS's: {self.what}; " + (f"refused: {self.refusal}" if self.refusal else "done anyway")


def _unless_served(path: str) -> str:
    return "" if path in FILES else f"{path} is not served, leave it out"


OPTIONS = (
    Option(("-f", "--foreground"), "stay in the foreground"),
    Option(("-s",), "one thread a process"),
    Option(("-l", "--enable-loadavg"), "serve loadavg", _unless_served("proc/loadavg")),
    Option(("--enable-cfs",), "count CPUs by quota"),
    Option(("--enable-pidfd",), "never take a new process for an old one of its number"),
    Option(("--enable-psi-poll",), "poll pressure", _unless_served("proc/pressure/cpu")),
    Option(("--enable-cgroup",), "serve a tree of cgroups", "a cgroup namespace does it, leave it out"),
    Option(("-u", "--disable-swap"), "hide swap", "limit it to nothing instead: --memory-swap as large as -m"),
    Option(("-d", "--debug"), "trace requests", "the log says what fails, leave it out"),
)


def accept(command: Command) -> Command:
    """Give a click command these options."""
    command = click.option("-o", "mount_options", metavar="OPT[,OPT]", default="", help=_mount_help())(command)
    for option in reversed(OPTIONS):
        command = click.option(*option.flags, is_flag=True, help=option.help)(command)
    return command


def _mount_help() -> str:
    return f"LXCFS's: mount options; all are so anyway but {NONEMPTY}, others are refused"


def check(given: Mapping[str, bool], mount_options: str) -> None:
    """Raise an Error if one that is refused was given."""
    for option in OPTIONS:
        if option.refusal and given[option.name]:
            raise Error(f"{option.flags[-1]} can't be had", option.refusal)
    for word in filter(None, mount_options.split(",")):
        if word.partition("=")[0] not in MOUNT_OPTIONS:
            raise Error(f"-o {word!r}: unknown mount option", f"there are {', '.join(MOUNT_OPTIONS)}")
