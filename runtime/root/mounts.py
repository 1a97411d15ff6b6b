"""The steps that mount, and that change the root (``runtime.root.steps`` says how they are used)."""

from __future__ import annotations

import errno
import os

from lxcfs_py.served import FILES
from runtime.errors import RunError
from runtime.kernel import mountapi
from runtime.kernel import syscalls as sc
from runtime.root import mount_options
from runtime.root.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.root.mount_options import Effect
    from runtime.root.tree import Tree

IN_PROC = {path.removeprefix("proc/") for path in FILES} | {"sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"}
"""What a bundle may mount something on below /proc: anything else there could disarm the runtime's own writes."""

MAX_DATA = 3500
"""Bytes of an overlay's paths, without what is between them, that surely are less than a page."""


class Propagation(Step):
    """Say which mounts made here are seen elsewhere, and the other way round (mount_namespaces(7))."""

    path: str
    flags: int

    def execute(self, _tree: Tree) -> None:
        """See mount(2), "Changing the propagation type"."""
        sc.mount(None, self.path, None, self.flags)


class Apart(Step):
    """Make the mount a path lies on private, so that the root that is mounted there is not seen elsewhere."""

    path: str

    def execute(self, _tree: Tree) -> None:
        """Try upwards: only the top of a mount can be named (EINVAL otherwise)."""
        path = os.path.realpath(self.path)
        while True:
            try:
                sc.mount(None, path, None, sc.MS_PRIVATE)
            except OSError as error:
                if error.errno != errno.EINVAL or path == "/":
                    raise
                path = os.path.dirname(path)
            else:
                return


class Enter(Step):
    """Let the directory be the container's root from now on; with ``bind`` it is mounted over itself first."""

    root: str
    bind: bool = False

    def execute(self, tree: Tree) -> None:
        """A root must be a mount of its own (pivot_root(2))."""
        if self.bind:
            copy = mountapi.open_tree(self.root, recursive=True)
            mountapi.set_attributes(copy, self.root, propagation=sc.MS_PRIVATE)
            place = os.open(self.root, os.O_PATH | os.O_CLOEXEC)
            mountapi.move_mount(copy, place, self.root)
            os.close(place)
            os.close(copy)
        tree.enter(self.root)


class Gather(Step):
    """Copy the sources of binds while they can be reached: root of a user namespace passes fewer directories."""

    sources: tuple[tuple[str, str, bool], ...]

    def execute(self, tree: Tree) -> None:
        """Keep them open."""
        for source in self.sources:
            tree.sources[source] = _source(*source)


def _source(source: str, subpath: str, recursive: bool) -> int:
    try:
        if not subpath:
            return mountapi.open_tree(source, recursive=recursive)
        return _below(source, subpath, recursive)
    except FileNotFoundError:
        what = f"no {subpath!r} in it" if subpath else "no such file or directory"
        raise RunError(f"mount {source}: {what}", "make it first") from None


def _below(source: str, subpath: str, recursive: bool) -> int:
    """Copy what a path below a directory leads to; whose links a container has made lead nowhere else."""
    top = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = mountapi.openat2(top, subpath, os.O_PATH)
    finally:
        os.close(top)
    try:
        return mountapi.open_tree("", recursive=recursive, at=place)
    finally:
        os.close(place)


def escaped(path: str) -> str:
    """Protect what separates overlay's options and layers."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


class Mount(Step):
    """Mount something; the target is made: a file if the source of a bind is one."""

    source: str
    target: str
    fstype: str
    options: tuple[str, ...] = ()
    prepared: int = 0
    """The source, copied by the parent (``runtime.root.idmap``)."""

    def execute(self, tree: Tree) -> None:
        """Mount it on the very directory that was found and judged."""
        effect = mount_options.effect(self.options)
        copy = -1
        if effect.bind:
            where = self.source, effect.subpath, effect.recursive
            copy = self.prepared or tree.sources.pop(where, -1)
            copy = copy if copy >= 0 else _source(*where)
            self._attributes(copy, effect)
        whole = copy < 0 or os.fstat(copy).st_mode & 0o170000 == 0o040000  # S_IFMT, S_IFDIR
        place = tree.place(self.target, whole=whole)
        try:
            if tree.path != "/":
                self.judge(tree, place, copy)
            if copy >= 0:
                mountapi.move_mount(copy, place, self.target)
                os.close(copy)
                return
            self._new(tree, place, effect)
        finally:
            os.close(place)

    def _new(self, tree: Tree, place: int, effect: Effect) -> None:
        copied = "tmpcopyup" in effect.extra
        flags = effect.flags & ~(sc.MS_RDONLY if copied else 0)
        try:
            sc.mount(self.source, f"/proc/self/fd/{place}", self.fstype, flags, ",".join(effect.data) or None)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.target) from error
        if copied:
            from runtime.root import copyup

            copyup.copy(place, made := tree.open(self.target))
            os.close(made)
        if copied or effect.propagation or effect.below_set or effect.below_clear:
            made = tree.open(self.target)
            self._attributes(made, effect.replace(set=effect.set & mountapi.RDONLY, clear=0))
            os.close(made)

    def _attributes(self, mount: int, effect: Effect) -> None:
        for set_, clear, recursive in (
            (effect.set, effect.clear, False),
            (effect.below_set, effect.below_clear, True),
        ):
            if set_ or clear:
                clear |= mountapi.ATIME if set_ & mountapi.ATIME else 0
                mountapi.set_attributes(mount, self.target, set_=set_, clear=clear, recursive=recursive)
        if effect.propagation:
            mountapi.set_attributes(
                mount,
                self.target,
                propagation=effect.propagation & ~sc.MS_REC,
                recursive=bool(effect.propagation & sc.MS_REC),
            )

    def judge(self, tree: Tree, place: int, copy: int) -> None:
        """Refuse a place that a link of the image has led to, where that could disarm what is done later."""
        where = tree.where(place)
        if self.fstype in ("proc", "sysfs"):
            if where != os.path.normpath(self.target):
                raise RunError(f"mount {self.target}: a link leads to {where}", "make it a plain directory")
        elif where.removeprefix("/proc/") not in IN_PROC and in_proc(place) and not (copy >= 0 and in_proc(copy)):
            raise RunError(f"mount {self.target}: {where} is inside the container's /proc", "mount it elsewhere")


def in_proc(descriptor: int) -> bool:
    """Say whether it is on a procfs."""
    return mountapi.file_system(descriptor) == mountapi.PROC_SUPER_MAGIC


class Overlay(Mount):
    """An overlay over ``lowers``, the topmost first."""

    lowers: tuple[str, ...] = ()

    def execute(self, tree: Tree) -> None:
        """Name the layers by their paths, or by descriptors where these are too long: mount(2) takes a page."""
        opened: list[int] = []
        names = [escaped(lower) for lower in self.lowers]
        try:
            if sum(map(len, (*names, *self.options))) > MAX_DATA:
                opened = [os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for lower in self.lowers]
                names = [f"/proc/self/fd/{number}" for number in opened]
            options = (*self.options, f"lowerdir={':'.join(names)}")
            Mount(self.source, self.target, self.fstype, options).execute(tree)
        finally:
            for number in opened:
                os.close(number)


class View(Mount):
    """Bind a file the daemon serves; it belongs below /proc or /sys, which no link of the image stands for."""

    def judge(self, tree: Tree, place: int, copy: int) -> None:  # noqa: ARG002
        """See that it is where it belongs."""
        if (where := tree.where(place)) != self.target:
            raise RunError(f"{self.target}: a link leads to {where}", "make it a plain directory")


class ReadOnly(Step):
    """Make a path read-only where it exists."""

    path: str

    def execute(self, tree: Tree) -> None:
        """Bind it over itself, read-only."""
        place = tree.exists(self.path)
        if place < 0:
            return
        copy = mountapi.open_tree("", recursive=True, at=place)
        mountapi.set_attributes(copy, self.path, set_=mountapi.RDONLY)
        mountapi.move_mount(copy, place, self.path)
        os.close(copy)
        os.close(place)


class Freeze(Step):
    """Make a mount read-only that is complete."""

    target: str

    def execute(self, tree: Tree) -> None:
        """Change it, not what is mounted on it."""
        mount = tree.open(self.target)
        mountapi.set_attributes(mount, self.target, set_=mountapi.RDONLY)
        os.close(mount)


class Mask(Step):
    """Hide what a path holds: /dev/null over a file, an empty read-only tmpfs over a directory."""

    path: str
    label: str = ""

    def execute(self, tree: Tree) -> None:
        """Hide it where it exists; a mount that is tried and fails costs 1 to 20 ms where the CPUs are busy (RCU).

        The device is the host's: the container's /dev/null may be something else. Read-only, its owner stays.
        """
        place = tree.exists(self.path)
        if place < 0:
            return
        if os.fstat(place).st_mode & 0o170000 == 0o040000:  # S_IFMT, S_IFDIR
            data = ",".join(("nr_blocks=1,nr_inodes=1", *mount_options.context(self.label)))
            sc.mount("tmpfs", f"/proc/self/fd/{place}", "tmpfs", sc.MS_RDONLY, data)
        else:
            copy = mountapi.open_tree("/dev/null", recursive=False)
            mountapi.set_attributes(copy, self.path, set_=mountapi.RDONLY | mountapi.NOSUID | mountapi.NOEXEC)
            mountapi.move_mount(copy, place, self.path)
            os.close(copy)
        os.close(place)


class Pivot(Step):
    """Make the tree the root, and let go of the host's."""

    move: bool = False
    """Move it over / and change there instead (``--no-pivot``): a host that booted into a ramfs can't pivot."""
    propagation: int = 0

    def execute(self, tree: Tree) -> None:
        """See pivot_root(2), "pivot_root(".", ".")": the host's tree is stacked on ours, and taken off."""
        os.fchdir(tree.top)
        if self.move:
            sc.mount(".", "/", None, sc.MS_MOVE)
            os.chroot(".")
        else:
            host = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            sc.pivot_root(".", ".")
            os.fchdir(host)
            sc.mount(None, ".", None, sc.MS_SLAVE | sc.MS_REC)  # the host's mounts stay
            sc.umount2(".", sc.MNT_DETACH)
            os.close(host)
        os.chdir("/")
        os.close(tree.top)
        if self.propagation:
            sc.mount(None, "/", None, self.propagation)
