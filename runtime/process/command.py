"""Turns this process, already inside the container, into its command (OCI config.md, "Process")."""

from __future__ import annotations

import os

from runtime.errors import NOT_EXECUTABLE, NOT_FOUND, RunError, said
from runtime.kernel import stub, syscalls
from runtime.process import capabilities, labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn
else:
    import _signal


IDS_HINT = "have root leave the container's user more ids, in /etc/subuid and /etc/subgid"


def find(name: str, path: str) -> str:
    """Return the file a command names, as execvp(3) looks for it; raises RunError, exit code 127 or 126.

    The words are those engines tell 126 and 127 by.
    """
    if "/" in name:
        if not os.path.lexists(name):
            raise RunError(f"exec {name}: no such file or directory", "check its path in the container", NOT_FOUND)
        if not os.path.isfile(name) or not os.access(name, os.X_OK, effective_ids=True):
            raise RunError(
                f"exec {name}: permission denied", "name a program, and make it executable", NOT_EXECUTABLE
            )
        return name
    refused = ""
    for directory in path.split(":"):
        full = os.path.join(directory or ".", name)
        if os.path.isfile(full):
            if os.access(full, os.X_OK, effective_ids=True):
                return full
            refused = full
    if refused:
        raise RunError(f"exec {refused}: permission denied", "make it executable", NOT_EXECUTABLE)
    raise RunError(
        f"exec {name!r}: executable file not found in $PATH, which is {path} in the container",
        "name it by its path",
        NOT_FOUND,
    )


def look(process: Mapping[str, Any], *, make: bool) -> str:
    """Change to the working directory, made if it is to be, and return the command's file, as its user may find it.

    Raises RunError.
    """
    user = process["user"]
    enter(process["cwd"], make=make)
    variables = dict(item.partition("=")[::2] for item in process["env"])
    before = os.getgroups(), os.getegid(), os.geteuid()
    set_groups(user["additionalGids"], user["gid"])
    try:
        os.setegid(user["gid"])
        os.seteuid(user["uid"])
    except OSError as error:  # the kernel's word is "invalid argument"
        raise RunError(f"user {user['uid']}:{user['gid']}: this user namespace has no such id", IDS_HINT) from error
    try:
        return find(process["args"][0], variables.get("PATH", os.defpath))
    finally:
        os.seteuid(before[2])
        os.setegid(before[1])
        set_groups(before[0], before[1])


def set_groups(gids: Sequence[int], own: int) -> None:
    """Set the supplementary groups; in a user namespace that may not (user_namespaces(7)) they stay.

    ``own`` is the group itself, which may be among them without another to be set.
    """
    try:
        os.setgroups(gids)
    except PermissionError:
        if {*gids} - {own} and list(gids) != os.getgroups():
            text = f"supplementary groups {','.join(map(str, gids))}: this user namespace may not set them"
            raise RunError(text, IDS_HINT) from None


def held() -> int:
    """Return the capabilities we have to give, as a mask (proc_pid_status(5), CapPrm)."""
    _, permitted, _ = syscalls.capget()
    return permitted


def become(process: Mapping[str, Any]) -> None:
    """Take the user and the capabilities; nothing is regained afterwards, nothing given that we don't have."""
    user, ours = process["user"], held()
    masks = {key: capabilities.mask(names) & ours for key, names in process["capabilities"].items()}
    for number in range(len(capabilities.NAMES)):
        if not masks["bounding"] >> number & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
            except OSError:  # a capability newer than this kernel
                break
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)  # until execve, which decides by the sets below
    set_groups(user["additionalGids"], user["gid"])
    os.setresgid(*(user["gid"],) * 3)
    os.setresuid(*(user["uid"],) * 3)
    syscalls.capset(masks["effective"], masks["permitted"], masks["inheritable"])
    for number in range(len(capabilities.NAMES)):
        if masks["ambient"] >> number & 1:
            try:
                syscalls.prctl(syscalls.PR_CAP_AMBIENT, 2, number)  # PR_CAP_AMBIENT_RAISE
            except OSError:  # only what is permitted and inheritable can be (capabilities(7))
                continue
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)


def enter(cwd: str, *, make: bool) -> None:
    """Change to the working directory, which is made where it is not there, as Docker does, if it is to be.

    A directory of the host's, reached through a descriptor of ours, has no path here (CVE-2024-21626): nothing is
    made there, and nobody begins there.
    """
    try:
        _into(cwd, make=make)
    except OSError as error:
        raise RunError(f"working directory {cwd}: {said(error)}", "name a directory that can be entered") from error


def _into(path: str, *, make: bool) -> None:
    try:
        os.chdir(path)
    except FileNotFoundError:
        parent, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", "..") or not make:
            raise
        _into(parent or "/", make=make)
        os.mkdir(name)
        os.chdir(name)
    os.getcwd()


def apply(
    process: Mapping[str, Any], command: str, load: Callable[[], None], preserved: int = 0, *, init: bool = False
) -> NoReturn:
    """Become the command, a file that ``look`` has found; raises RunError if it can't be executed.

    ``load`` loads the system call filter: at the very end, unless that takes a right which is given up before
    (without no_new_privs CAP_SYS_ADMIN, seccomp(2)). ``preserved`` descriptors
    from 3 on stay open, beside the standard streams. With ``init`` this process becomes a reaper of the same rights,
    and the command is its child.
    """
    variables = dict(item.partition("=")[::2] for item in process["env"])
    label = labels.opened(process)
    program = stub.make(process["args"][0], label, init=init)  # before a filter may forbid it
    if init and program < 0:
        raise RunError("--init: this kernel executes nothing that is in memory (vm.memfd_noexec)", "leave it out")
    place = stub.by(program) if program >= 0 and not label else program
    for number in range(3, 3 + preserved):
        os.set_inheritable(number, True)
    syscalls.close_on_exec(3 + preserved)  # before a filter may forbid it
    if label and program >= 0:
        os.set_inheritable(label.directory, True)
    if not process["noNewPrivileges"]:
        load()
    become(process)
    if process["noNewPrivileges"]:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        load()
    for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ):  # by Python, and execve would keep that
        _signal.signal(ignored, _signal.SIG_DFL)
    try:
        stub.refuse(command, process["args"], variables)
        stub.execute(place, command, process["args"], variables)
        if label and program >= 0:  # by its path it might be somebody else's program, and ours would tell nobody
            hint = "have the filter of system calls allow execveat, close and openat2"
            raise RunError(f"exec {command}: the program that tells its label can't be executed", hint)
        if label:
            labels.apply(label)
        os.execve(command, process["args"], variables)
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        raise RunError(f"exec {command}: {said(error)}", "is it a program of this machine?", code) from error
    raise AssertionError
