"""The layer below the upper one: the places where the runtime mounts something, made where an image has none.

Were they made in the upper layer, they would count as changes of the container's, and be committed. So they are
made, before the overlay is mounted, in a directory that becomes its topmost lower layer. Directories above them
look as they do in the layers below, so that nothing changes by their being there.
"""

from __future__ import annotations

import os

from runtime.kernel import attributes
from runtime.kernel.mountapi import openat2
from runtime.root import mount_options
from runtime.root.lower import Lower, is_directory, is_link, is_whiteout, opaque_mark
from runtime.root.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.root.mounts import Mount
    from runtime.root.tree import Tree

MODE = 0o755
"""Of a directory that nobody says anything else of, whatever the umask is."""
MAX_LINKS = 40
"""As the kernel's MAXSYMLINKS."""


def _source(mount: Mount) -> str:
    subpath = mount_options.effect(mount.options).subpath
    return f"{mount.source}\0{subpath}" if subpath else mount.source


def targets(mounts: Iterable[Mount], directories: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the places that lie in the root's own file system, each with the source of a bind, or "".

    What is below the place of another mount is found or made there.
    """
    found: dict[str, str] = {}
    wanted = [(mount.target, _source(mount) if "bind" in mount.fstype else "") for mount in mounts]
    for target, source in (*wanted, *((path, "") for path in directories)):
        path = os.path.normpath("/" + target.lstrip("/"))
        if path != "/" and not any(path == other or path.startswith(f"{other}/") for other in found):
            found[path] = source
    return tuple(found.items())


def _is_whole(source: str) -> bool:
    """Say whether a directory is mounted; a zero byte parts a source from the path below it, which stays below."""
    top, below, subpath = source.partition("\0")
    if not below:
        return not source or os.path.isdir(source)
    directory = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(openat2(directory, subpath, os.O_PATH | os.O_DIRECTORY))
    except OSError:  # a file, or what the mount itself will complain of
        return False
    finally:
        os.close(directory)
    return True


class Beneath(Step):
    """Make the ``places`` in the directories of ``parts``.

    A part is the name at the root of what an overlay shows ("" for the root itself), our directory, the layers below
    it, the topmost first, and the upper directory, which is made, and looks like them at first.
    """

    parts: tuple[tuple[str, str, tuple[str, ...], str], ...]
    places: tuple[tuple[str, str], ...]
    user: bool = False
    """Whether ids may be unknown here, in a user's namespace (``attributes.own``)."""
    hidden: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What of the layers below must not show: the name of a part, and paths in it."""

    def execute(self, _tree: Tree) -> None:
        """Find each place as the kernel will, and make what is missing."""
        made = [_Part(*part, user=self.user) for part in self.parts]
        parts = {part.name: part for part in made}
        try:
            for name, paths in self.hidden:
                for path in paths:
                    parts[os.fsencode(name)].hide(os.fsencode(path))
            for path, source in self.places:
                _make(parts, os.fsencode(path), whole=_is_whole(source))
            for part in made:
                part.finish()
        finally:
            for part in made:
                part.lower.close()


class _Part:
    def __init__(self, name: str, ours: str, lowers: tuple[str, ...], upper: str, *, user: bool) -> None:
        self.name, self.user = os.fsencode(name), user
        self.lower = Lower((ours, *lowers))
        self.top = self.lower.layers[0]
        self._like: list[tuple[bytes, bytes]] = []
        """Our directories of which there are some below, and these."""
        fresh = _fresh(upper)
        if lowers:
            attributes.same(self.lower.layers[1], self.top, user=user)
            if fresh >= 0:
                attributes.same(self.lower.layers[1], fresh, user=user)
            self._like.append((b"/proc/self/fd/%d" % self.top, b"/proc/self/fd/%d" % self.lower.layers[1]))

        if fresh >= 0:
            os.close(fresh)

    def make(self, path: bytes, *, whole: bool) -> None:
        """Make a directory or file, and those above it as they are below."""
        parts = path.split(b"/")
        for end in range(1, len(parts)):
            self._above(b"/".join(parts[:end]))
        about = _own(self.top, path)
        if about is not None and is_whiteout(about):  # what it hides must not show again
            os.unlink(path, dir_fd=self.top)
        if whole:
            os.mkdir(path, dir_fd=self.top)
            os.chmod(path, MODE, dir_fd=self.top)
            if about is not None:
                os.setxattr(b"/proc/self/fd/%d/%b" % (self.top, path), opaque_mark(), b"y")
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(path, flags, 0o644, dir_fd=self.top))

    def hide(self, path: bytes) -> None:
        """Let what is below not show, by overlayfs's mark: a character device 0:0."""
        parts = path.split(b"/")
        try:
            for end in range(1, len(parts)):
                self._above(b"/".join(parts[:end]))
            os.mknod(path, 0o020000, 0, dir_fd=self.top)
        except (FileExistsError, NotADirectoryError):  # the container was started before: hidden already, or a place
            return

    def _above(self, path: bytes) -> None:
        if _own(self.top, path) is not None:
            return
        like, about = self.lower.directory(path), self.lower.find(path)
        os.mkdir(path, dir_fd=self.top)
        os.chmod(path, MODE, dir_fd=self.top)
        if about is not None:
            where = b"/proc/self/fd/%d/%b" % (self.top, path)
            attributes.own(where, about, user=self.user)
            os.chmod(where, about.st_mode & 0o7777)
            attributes.copy(like, where)
            self._like.append((where, like))

    def finish(self) -> None:
        """Set the times, which what was put into a directory has changed."""
        for where, like in self._like:
            about = os.stat(like)
            os.utime(where, ns=(about.st_atime_ns, about.st_mtime_ns))


def _fresh(upper: str) -> int:
    """Make an upper directory and return it open, -1 if it is there: the container's, which was started before."""
    try:
        os.mkdir(upper)
    except FileExistsError:
        return -1
    made = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchmod(made, MODE)
    return made


def _own(top: int, path: bytes) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=top, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _make(parts: dict[bytes, _Part], path: bytes, *, whole: bool) -> None:
    """Walk the path through links, as in the container, to the first component that is missing, and make the rest."""
    todo, done, links = path.split(b"/"), list[bytes](), 0
    while todo:
        name = todo.pop(0)
        if name in (b"", b"."):
            continue
        if name == b"..":
            done = done[:-1]
            continue
        part = parts.get((done or [name])[0], parts[b""])
        where = b"/".join([*done, name][1 if part.name else 0 :])
        if not where:  # where a part is mounted
            done.append(name)
            continue
        about = part.lower.find(where)
        if about is not None and is_link(about):
            links += 1
            if links > MAX_LINKS:  # mounting will say so
                return
            text = part.lower.link(where)
            todo = [*text.split(b"/"), *todo]
            done = [] if text.startswith(b"/") else done
            continue
        if about is None:
            part.make(where, whole=whole or any(each not in (b"", b".") for each in todo))
        elif not is_directory(about):
            return
        done.append(name)
