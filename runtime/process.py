"""Turns this process, already inside the container, into its command (OCI config.md, "Process")."""

from __future__ import annotations

import os

from runtime import capabilities, stub, syscalls
from runtime.errors import NOT_EXECUTABLE, NOT_FOUND, RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn
else:
    import _signal


def find(name: str, path: str) -> str:
    """Return the file a command names, as execvp(3) looks for it; raises RunError, exit code 127 or 126."""
    if "/" in name:
        if not os.path.lexists(name):
            raise RunError(f"{name}: no such file in the container", "check the path", NOT_FOUND)
        return name
    refused = ""
    for directory in path.split(":"):
        full = os.path.join(directory or ".", name)
        if os.path.isfile(full):
            if os.access(full, os.X_OK):
                return full
            refused = full
    if refused:
        raise RunError(f"{refused}: can't be executed", "make it executable", NOT_EXECUTABLE)
    raise RunError(f"{name!r}: not found in the container's PATH {path}", "name it by its path", NOT_FOUND)


def become(process: Mapping[str, Any], load: Callable[[], None]) -> None:
    """Take the filter, the user, capabilities and no_new_privs; nothing is regained afterwards.

    ``load`` loads the filter of system calls: at the very end, unless that takes a right which is given up before
    (without no_new_privs CAP_SYS_ADMIN, seccomp(2)).
    """
    if not process["noNewPrivileges"]:
        load()
    user, caps = process["user"], process["capabilities"]
    bounding, permitted = (capabilities.mask(caps[key]) for key in ("bounding", "permitted"))
    for number in range(len(capabilities.NAMES)):
        if not bounding >> number & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
            except OSError:  # a capability newer than this kernel
                break
    os.setgroups(user["additionalGids"])
    os.setresgid(*(user["gid"],) * 3)
    os.setresuid(*(user["uid"],) * 3)
    if user["uid"] == 0:  # for anyone else setresuid has cleared them, and execve would again
        syscalls.capset(permitted, permitted, capabilities.mask(caps["inheritable"]))
    if process["noNewPrivileges"]:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        load()


def enter(cwd: str) -> None:
    """Change to the working directory, which is made where it is not there, as Docker does.

    A directory of the host's, reached through a descriptor of ours, has no path here (CVE-2024-21626): nothing is
    made there, and nobody begins there.
    """
    try:
        _into(cwd)
    except OSError as error:
        raise RunError(f"-w {cwd}: {error.strerror}", "name a directory that can be entered") from error


def _into(path: str) -> None:
    try:
        os.chdir(path)
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise
        _into(parent or "/")
        os.mkdir(name)
        os.chdir(name)
    os.getcwd()


def apply(process: Mapping[str, Any], load: Callable[[], None]) -> NoReturn:
    """Become the command, ``load`` its filter (``become``); raises RunError if it can't be executed."""
    variables = dict(item.partition("=")[::2] for item in process["env"])
    enter(process["cwd"])
    program = stub.make(process["args"][0])  # before a filter may forbid it
    place = stub.by(program) if program >= 0 else -1
    become(process, load)
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # Python ignores them, and execve would keep that
        _signal.signal(number, _signal.SIG_DFL)
    syscalls.close_on_exec(3)
    command = find(process["args"][0], variables.get("PATH", os.defpath))
    try:
        stub.refuse(command, process["args"], variables)
        stub.execute(place, command, process["args"], variables)
        os.execve(command, process["args"], variables)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        raise RunError(
            f"{command}: can't be executed: {error.strerror}", "is it a program of this machine?", code
        ) from error
    raise AssertionError
