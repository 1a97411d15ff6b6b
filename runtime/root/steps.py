"""What a plan is made of: records that say what they will do (``describe``) and do it (``execute``).

Nearly all are done while the host's tree is seen, so that sources of mounts are what the host means by them; what is
inside is found below the ``Tree`` they are given (``root.tree``), and never outside of it. Here are those that
make files and set what belongs to a process or a namespace; ``runtime.root.mounts`` has the others.
"""

from __future__ import annotations

import errno
import os

from lxcfs_py.record import Record
from runtime import places
from runtime.errors import RunError
from runtime.kernel import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.root.tree import Tree


class Step(Record):
    """One step."""

    def describe(self) -> str:
        """Return one line: its name and fields."""
        fields = " ".join(f"{key}={value}" for key, value in self.as_dict().items() if value not in ("", (), 0))
        return f"{type(self).__name__.lower()} {fields}".rstrip().replace("\n", "\\n")

    def execute(self, tree: Tree) -> None:
        """Do it."""
        raise NotImplementedError


class Await(Step):
    """Wait until the parent has written down and registered the container."""

    go: int
    """The descriptor it says so on."""

    def execute(self, _tree: Tree) -> None:
        """Wait; without a parent there is nobody to report to, and nothing to go on for."""
        if not os.read(self.go, 1):
            os._exit(1)


class BecomeRoot(Step):
    """Be the user namespace's root, so that what is made is its own."""

    groups: bool = True
    """Whether setgroups(2) is allowed there."""

    def execute(self, _tree: Tree) -> None:
        """See user_namespaces(7)."""
        if self.groups:
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        sc.prctl(sc.PR_SET_DUMPABLE, 0)


class Directory(Step):
    """Make a directory where there is none."""

    path: str
    mode: int = 0o755

    def execute(self, tree: Tree) -> None:
        """Make it, and those above it."""
        os.close(tree.directory(self.path, self.mode))


class Link(Step):
    """Make a symbolic link; what is there already stays."""

    target: str
    path: str

    def execute(self, tree: Tree) -> None:
        """Make it."""
        parent, name = tree.parent(self.path)
        try:
            os.symlink(self.target, name, dir_fd=parent)
        except FileExistsError:
            return
        finally:
            os.close(parent)


class Node(Step):
    """Make a device node or a fifo."""

    path: str
    major: int = 0
    minor: int = 0
    mode: int = 0o666
    kind: int = 0o020000
    """S_IFCHR, S_IFBLK or S_IFIFO."""
    uid: int = 0
    gid: int = 0

    def execute(self, tree: Tree) -> None:
        """Make it; the same device may be there."""
        parent, name = tree.parent(self.path)
        device = os.makedev(self.major, self.minor)
        try:
            os.mknod(name, self.kind | self.mode, device, dir_fd=parent)
        except FileExistsError:
            about = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if (about.st_mode & 0o170000, about.st_rdev) != (self.kind, device):
                raise RunError(f"device {self.path}: something else is there", "remove it from the root") from None
        finally:
            if self.mode or self.uid or self.gid:
                made = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                if self.uid or self.gid:
                    os.chown(f"/proc/self/fd/{made}", self.uid, self.gid)
                os.chmod(f"/proc/self/fd/{made}", self.mode)  # whatever the umask is
                os.close(made)
            os.close(parent)


class Text(Step):
    """Write a small file."""

    path: str
    text: str

    def execute(self, tree: Tree) -> None:
        """Write it."""
        parent, name = tree.parent(self.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            file = os.open(name, flags, 0o644, dir_fd=parent)
        finally:
            os.close(parent)
        os.write(file, self.text.encode())
        os.close(file)


class Kernel(Step):
    """Write to a file of the kernel's, in the host's /proc, that concerns this process or its namespaces."""

    path: str
    text: str

    def execute(self, _tree: Tree) -> None:
        """Write it."""
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.text)


class Label(Step):
    """Give a file SELinux's label: where the kernel takes none as an option of the mount."""

    path: str
    label: str

    def execute(self, tree: Tree) -> None:
        """Set it; what is made there has it too."""
        place = tree.open(self.path)
        os.setxattr(f"/proc/self/fd/{place}", "security.selinux", self.label.encode())
        os.close(place)


class OomScore(Kernel):
    """Say how soon this process is killed when memory lacks."""

    def execute(self, tree: Tree) -> None:
        """Write it; while we are not dumpable the file is root's, and an ordinary user can't open it (proc(5))."""
        try:
            super().execute(tree)
        except PermissionError:
            if not places.unprivileged():
                raise
            sc.prctl(sc.PR_SET_DUMPABLE, 1)
            try:
                super().execute(tree)
            finally:
                sc.prctl(sc.PR_SET_DUMPABLE, 0)


class CgroupNamespace(Step):
    """Make the container's cgroup the root of what it sees; after it was moved there."""

    def execute(self, _tree: Tree) -> None:
        """See cgroup_namespaces(7)."""
        sc.unshare(sc.CLONE_NEWCGROUP)


class Hostname(Step):
    """Set the names of the UTS namespace."""

    name: str
    domain: str = ""

    def execute(self, _tree: Tree) -> None:
        """See sethostname(2) and setdomainname(2)."""
        if self.name:
            sc.sethostname(self.name)
        if self.domain:
            sc.setdomainname(self.domain)


class Keyring(Step):
    """Have a session keyring of its own, not the caller's."""

    name: str

    def execute(self, _tree: Tree) -> None:
        """See session-keyring(7); a kernel without keyrings has none to share."""
        try:
            sc.join_session_keyring(self.name)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise


class Loopback(Step):
    """Bring the loopback interface up: one ioctl (netdevice(7), SIOCSIFFLAGS)."""

    def execute(self, _tree: Tree) -> None:
        """IFF_UP and IFF_RUNNING on ``lo``."""
        import _socket
        import fcntl
        from _struct import pack

        link = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            fcntl.ioctl(link.fileno(), 0x8914, pack("16sh14x", b"lo", 0x41))
        finally:
            link.close()
