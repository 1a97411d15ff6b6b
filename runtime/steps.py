"""What a plan is made of: records that say what they will do (``describe``) and do it (``execute``).

The steps before ``Pivot`` see the host's tree; those after it see the container's alone, with the host's below
``OLD`` until ``DropOld``: a link in an image then leads nowhere but into the image.
"""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime import syscalls as sc
from runtime.errors import RunError

FLAGS = {
    "ro": sc.MS_RDONLY, "nosuid": sc.MS_NOSUID, "nodev": sc.MS_NODEV, "noexec": sc.MS_NOEXEC,
    "relatime": sc.MS_RELATIME, "strictatime": sc.MS_STRICTATIME, "noatime": sc.MS_NOATIME,
    "bind": sc.MS_BIND, "rbind": sc.MS_BIND | sc.MS_REC,
}  # fmt: skip
IGNORED = ("rw", "rprivate", "private", "suid", "dev", "exec", "defaults")
"""Options that ask for what is so anyway: all mounts here are private."""


class Step(Record):
    """One step."""

    def describe(self) -> str:
        """Return one line: its name and fields."""
        fields = " ".join(f"{key}={value}" for key, value in self.as_dict().items() if value not in ("", (), 0))
        return f"{type(self).__name__.lower()} {fields}".rstrip().replace("\n", "\\n")

    def execute(self) -> None:
        """Do it."""
        raise NotImplementedError


class Await(Step):
    """Wait until the parent has written down and registered the container."""

    go: int
    """The descriptor it says so on."""

    def execute(self) -> None:
        """Wait; without a parent there is nobody to report to, and nothing to go on for."""
        if not os.read(self.go, 1):
            os._exit(1)


class Private(Step):
    """Cut the mount namespace off from the host's: no mount made here is seen there."""

    def execute(self) -> None:
        """See mount_namespaces(7)."""
        sc.mount(None, "/", None, sc.MS_PRIVATE | sc.MS_REC)


class Directory(Step):
    """Make a directory where there is none."""

    path: str
    mode: int = 0o755

    def execute(self) -> None:
        """Make it, and those above it."""
        if not os.path.isdir(self.path):
            os.makedirs(self.path, exist_ok=True)
            os.chmod(self.path, self.mode)


class Link(Step):
    """Make a symbolic link; what is there already stays."""

    target: str
    path: str

    def execute(self) -> None:
        """Make it."""
        try:
            os.symlink(self.target, self.path)
        except FileExistsError:
            return


class Node(Step):
    """Make a device node; 0:0 in an upper layer is a whiteout (overlayfs.rst)."""

    path: str
    major: int = 0
    minor: int = 0
    mode: int = 0o666
    block: bool = False

    def execute(self) -> None:
        """Make it."""
        _directory(os.path.dirname(self.path))
        kind = 0o060000 if self.block else 0o020000  # S_IFBLK, S_IFCHR
        os.mknod(self.path, kind | self.mode, os.makedev(self.major, self.minor))
        if self.mode:
            os.chmod(self.path, self.mode)  # whatever the umask is


class Text(Step):
    """Write a small file."""

    path: str
    text: str

    def execute(self) -> None:
        """Write it."""
        _directory(os.path.dirname(self.path))
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.text)


def _directory(path: str) -> None:
    """Make a directory where there is none; mostly there is, which one call tells."""
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)


class Mount(Step):
    """Mount something; the target is made: a file if the source of a bind is one."""

    source: str
    target: str
    fstype: str
    options: tuple[str, ...] = ()

    def execute(self) -> None:
        """Mount it; a bind's flags take a second call (mount(2), "Remounting an existing mount")."""
        flags, data = 0, []
        for option in self.options:
            if option in FLAGS:
                flags |= FLAGS[option]
            elif option not in IGNORED:
                data.append(option)
        if flags & sc.MS_BIND:
            self._bind(flags)
            return
        _directory(self.target)
        sc.mount(self.source, self.target, self.fstype, flags, ",".join(data) or None)

    def _bind(self, flags: int) -> None:
        if not os.path.lexists(self.source):
            raise RunError(f"-v {self.source}: no such file or directory", "make it first")
        if os.path.isdir(self.source):
            _directory(self.target)
        elif not os.path.lexists(self.target):
            _directory(os.path.dirname(self.target))
            os.close(os.open(self.target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        sc.mount(self.source, self.target, None, flags & (sc.MS_BIND | sc.MS_REC))
        if extra := flags & ~sc.MS_REC & ~sc.MS_BIND:
            _remount(self.target, extra)


def _remount(target: str, flags: int) -> None:
    """Add flags to a bind, keeping those it has."""
    have = os.statvfs(target).f_flag & (sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC | sc.MS_RDONLY)
    sc.mount(None, target, None, sc.MS_BIND | sc.MS_REMOUNT | flags | have)


class ReadOnly(Step):
    """Make a path read-only where it exists."""

    path: str

    def execute(self) -> None:
        """Bind it over itself, read-only."""
        try:
            sc.mount(self.path, self.path, None, sc.MS_BIND | sc.MS_REC)
        except FileNotFoundError:
            return
        _remount(self.path, sc.MS_RDONLY)


class Freeze(Step):
    """Make a mount read-only that is complete."""

    target: str

    def execute(self) -> None:
        """Remount it, not what is mounted on it."""
        _remount(self.target, sc.MS_RDONLY)


class Mask(Step):
    """Hide what a path holds: /dev/null over a file, an empty read-only tmpfs over a directory."""

    path: str

    def execute(self) -> None:
        """Hide it where it exists; a bind that is tried and fails costs 1 to 20 ms where the CPUs are busy (RCU)."""
        if os.path.isdir(self.path):
            sc.mount("tmpfs", self.path, "tmpfs", sc.MS_RDONLY)
        elif os.path.exists(self.path):
            sc.mount("/dev/null", self.path, None, sc.MS_BIND)


class Pivot(Step):
    """Make ``root`` the root; the host's is below ``/old`` from then on."""

    root: str
    old: str

    def execute(self) -> None:
        """See pivot_root(2)."""
        os.mkdir(f"{self.root}/{self.old}", 0o700)
        sc.pivot_root(self.root, f"{self.root}/{self.old}")
        os.chdir("/")


class DropOld(Step):
    """Let go of the host's tree."""

    old: str

    def execute(self) -> None:
        """Unmount it, and remove where it was."""
        sc.umount2(f"/{self.old}", sc.MNT_DETACH)
        os.rmdir(f"/{self.old}")


class CgroupNamespace(Step):
    """Make the container's cgroup the root of what it sees; after it was moved there."""

    def execute(self) -> None:
        """See cgroup_namespaces(7)."""
        sc.unshare(sc.CLONE_NEWCGROUP)


class Hostname(Step):
    """Set the host name of the UTS namespace."""

    name: str

    def execute(self) -> None:
        """See sethostname(2)."""
        sc.sethostname(self.name)


class Loopback(Step):
    """Bring the loopback interface up: one ioctl (netdevice(7), SIOCSIFFLAGS)."""

    def execute(self) -> None:
        """IFF_UP and IFF_RUNNING on ``lo``."""
        import _socket
        import fcntl
        import struct

        link = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            fcntl.ioctl(link.fileno(), 0x8914, struct.pack("16sh14x", b"lo", 0x41))
        finally:
            link.close()
