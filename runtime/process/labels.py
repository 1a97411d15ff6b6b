"""What security modules are told of a command: AppArmor's profile, SELinux's label, for the next execve."""

from __future__ import annotations

import errno
import os

from lxcfs_py.cgroup.setting import write
from lxcfs_py.errors import reason
from runtime.errors import RunError, said
from runtime.kernel import mountapi
from runtime.kernel.stub import Label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

APPARMOR, SELINUX = "/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"
"""Take the profile (aa_change_onexec(2)) and the label (setexeccon(3)) of what is executed next."""
PROC_ROOT_INO = 1
"""include/linux/proc_ns.h: what is bound from inside a procfs has another number."""
KEYCREATE, SOCKCREATE = "/proc/self/attr/keycreate", "/proc/self/attr/sockcreate"
"""Take the label of keys and of sockets that are made from then on, until the next execve."""
FIELDS = ("apparmorProfile", "selinuxLabel")


def without(name: str) -> str:
    """Return what is said where a module is missing."""
    return f"this kernel runs without {name}"


def has_module(name: str) -> bool:
    """Say whether a security module is active."""
    try:
        with open("/sys/kernel/security/lsm", encoding="utf-8") as file:
            return name in file.read().strip().split(",")
    except OSError:  # securityfs is not mounted
        return os.path.isdir("/sys/fs/selinux") if name == "selinux" else _enabled(name)


def _enabled(name: str) -> bool:
    try:
        with open(f"/sys/module/{name}/parameters/enabled", encoding="utf-8") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def of(process: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what is written where; the kernel has one of these modules at a time."""
    if profile := process.get("apparmorProfile"):
        return APPARMOR, f"exec {profile}"
    return (SELINUX, process["selinuxLabel"]) if process.get("selinuxLabel") else None


def check(process: Mapping[str, Any], *, option: bool = False) -> None:
    """Ask the kernel whether it knows the profile or label, as the host sees it; raises an Error if not.

    Nothing is changed: AppArmor has a word for asking, and SELinux takes a label back. ``option``: it is from
    pyproc-run's command line.
    """
    profile, label = map(process.get, FIELDS)
    if profile:
        field = f"config.json: process.apparmorProfile: {profile!r}"
        what = f"--security-opt apparmor={profile}" if option else field
        asking = (("/proc/self/attr/apparmor/current", f"permprofile {profile}"),)
        _ask("apparmor", "AppArmor", what, asking, "is it loaded? apparmor_parser -r FILE loads one")
    elif label:
        _ask_selinux("process.selinuxLabel", SELINUX, label)


def check_files(linux: Mapping[str, Any]) -> None:
    """Ask it about the label of the container's own files; ``fscreate`` would take unknown ones from who is root."""
    if label := linux.get("mountLabel"):
        _ask_selinux("linux.mountLabel", SOCKCREATE, label)


def _ask_selinux(field: str, path: str, label: str) -> None:
    what = f"config.json: {field}: {label!r}"
    _ask("selinux", "SELinux", what, ((path, label), (path, "\n")), "has the policy such a label?")


def _ask(module: str, name: str, what: str, writes: tuple[tuple[str, str], ...], hint: str) -> None:
    if not has_module(module):
        raise RunError(f"{what}: {without(name)}", "leave it out")
    for path, text in writes:
        try:
            write(path, text)
        except OSError as error:
            raise RunError(f"{what}: {said(error)}", hint) from error


def opened(process: Mapping[str, Any]) -> Label | None:
    """Return what the command's process is to write, inside the container: None without a label.

    The container may mount something else over its /proc at any moment, and would have the command run without
    its label, or our words written to another file (CVE-2025-52881). So we hold the top of a procfs that is a whole
    one: from there the file is opened, by whoever becomes the command, without crossing a mount.
    """
    if (found := of(process)) is None:
        return None
    path, text = found
    name = path.removeprefix("/proc/")
    try:
        top = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if mountapi.file_system(top) != mountapi.PROC_SUPER_MAGIC or os.fstat(top).st_ino != PROC_ROOT_INO:
            raise OSError(errno.EXDEV, "it is no procfs, or a part of one", "/proc")
        os.close(mountapi.open_unmounted(top, name, os.O_PATH))
    except OSError as error:
        hint = "mount a procfs at /proc in the container, and nothing over its parts"
        raise RunError(f"{text!r} can't be said to the kernel: {reason(error)}", hint) from error
    return Label(directory=top, name=name, text=text)


def apply(label: Label) -> None:
    """Have the next execve of this process be labelled."""
    file = mountapi.open_unmounted(label.directory, label.name, os.O_WRONLY)
    try:
        os.write(file, label.text.encode())
    finally:
        os.close(file)
