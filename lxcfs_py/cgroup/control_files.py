"""Writing and reading files of cgroupfs once: few system calls, Errors that name file and value."""

from __future__ import annotations

import errno
import os

from lxcfs_py.errors import Error, reason

HINTS = {
    errno.EACCES: "run as root; in a cpuset, stay within its parent's CPUs and nodes",
    errno.EPERM: "run as root, outside of any container that may not change cgroups",
    errno.EROFS: "the cgroups are mounted read-only: mount -o remount,rw them",
    errno.ENOENT: "the kernel lacks it, or the cgroup has gone: leave the limit out, or start anew",
    errno.ENODEV: "there is no such disk, CPU or node: name one that the host has",
    errno.EBUSY: "what is in the cgroup uses more, or processes are in a cgroup that must have none",
    errno.EINVAL: "the kernel refuses the value: choose another",
    errno.ERANGE: "the value is out of the kernel's range: choose another",
    errno.ENOSPC: "the host has no more cgroups to give, or the parent's cpuset is empty",
    errno.EAGAIN: "the host's limit of cgroups (cgroup.max.*) or of tasks is reached: raise it",
    errno.ESRCH: "the process has ended",
    errno.EOPNOTSUPP: "a cgroup up the path is threaded, or the kernel can't: use another cgroup",
}
"""What to do about what the kernel says."""


def failure(error: OSError, value: str = "") -> Error:
    """Return the Error of an OSError: path, reason, the value that was written, what to do."""
    written = f" (writing {value!r})" if value else ""
    return Error(reason(error) + written, HINTS.get(error.errno or 0, "see the kernel's log: dmesg"))


def write(path: str, value: str) -> None:
    """Write a value in one write(2), as cgroupfs wants it; raises OSError naming the path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


def read(path: str) -> str:
    """Return the file's text; raises OSError naming the path."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8", "replace")


def value(path: str, key: str) -> int:
    """Return the number beside ``key`` in a flat keyed file; 0 if the file or the key is not there."""
    try:
        text = read(path)
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == key and number.isdecimal():
            return int(number)
    return 0


def below(directory: str) -> list[str]:
    """Return the cgroups below a directory, children before parents; none if it has gone."""
    try:
        if os.stat(directory).st_nlink == 2:  # kernfs counts subdirectories: the usual leaf costs one stat
            return []
        children = [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [path for child in children for path in (*below(child), child)]


def members(directory: str) -> set[int]:
    """Return the processes of a cgroup and all below it (not those of foreign pid namespaces: 0)."""
    found: set[int] = set()
    for each in (*below(directory), directory):
        try:
            found.update(map(int, read(f"{each}/cgroup.procs").split()))
        except OSError:
            continue  # it has gone, or is a threaded one (EOPNOTSUPP) whose parent lists them
    return found - {0}
