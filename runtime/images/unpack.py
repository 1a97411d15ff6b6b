"""Puts the entries of a layer into a directory, in overlayfs's form: whiteouts, opaque directories, all attributes.

Nothing outside of the directory can be reached: entries are checked (``entry``), directories are looked up by
openat2(2) below the root's descriptor, and the last component of a path is never followed.
"""

from __future__ import annotations

import errno
import os

from lxcfs_py.errors import Error
from runtime.images import entry as entries
from runtime.images.entry import Entry, refuse
from runtime.kernel import attributes, beheld
from runtime.kernel.mountapi import openat2
from runtime.places import unprivileged
from runtime.root.lower import is_directory, is_whiteout, opaque_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.images.stream import Stream
    from runtime.root.lower import Lower

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_CACHED = 64


class Unpack:
    """One layer in the making: ``root`` is a descriptor of its empty directory, ``lower`` what it will lie on."""

    def __init__(self, root: int, lower: Lower) -> None:
        self.root, self.lower = root, lower
        self.opaque_mark = opaque_mark()
        self.bytes = 0
        """What the files hold, together."""
        self.opaque: set[bytes] = set()
        self._whiteouts: set[bytes] = set()
        self._times: dict[bytes, int] = {}
        """Of directories: set at the end, since what is put into them changes them."""
        self._open: dict[bytes, int] = {}
        self._stale: list[int] = []
        self._kinds: dict[str, Callable[[Entry, Stream], None]] = {
            entries.FILE: self._file,
            entries.DIRECTORY: self._directory,
            entries.SYMLINK: self._symlink,
            entries.HARDLINK: self._hardlink,
            entries.NODE: self._node,
            entries.WHITEOUT: self._whiteout,
            entries.CLEARED: self._cleared,
            entries.NOTHING: lambda _entry, _stream: None,
        }

    def run(self, stream: Stream) -> str:
        """Unpack all of a tar and return its digest; raises an Error that names the entry."""
        for info in stream.entries():
            found = entries.decide(info)
            self._close_stale()
            try:
                self._kinds[found.kind](found, stream)
            except (ValueError, OverflowError) as error:  # a time or size no file can have
                raise refuse(found.path, str(error)) from error
            except OSError as error:
                if error.errno == errno.EINVAL and unprivileged():
                    text = (
                        f"unpacking {stream.what}: user {found.uid}:{found.gid}: your user namespace has no such id"
                    )
                    raise Error(text, "have root leave you more ids, in /etc/subuid and /etc/subgid") from error
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise Error(f"unpacking {stream.what}: {error.strerror}", "pyproc prune frees space") from error
                raise self._failed(found, error) from error
        self._finish()
        return stream.finish()

    def _failed(self, found: Entry, error: OSError) -> Error:
        return refuse(found.path, error.strerror or str(error))

    def close(self) -> None:
        """Close the directories that were kept open."""
        self._forget()
        self._close_stale()

    def _forget(self) -> None:
        """Look directories up anew: the path of one may have led through what is replaced now."""
        self._stale += self._open.values()  # one of them is in use
        self._open.clear()

    def _close_stale(self) -> None:
        for descriptor in self._stale:
            os.close(descriptor)
        self._stale.clear()

    def _finish(self) -> None:
        """Remove whiteouts that an opaque directory makes pointless (it would list them), and set times."""
        for path in self._whiteouts:
            parts = path.split(b"/")
            if any(b"/".join(parts[:end]) in self.opaque for end in range(len(parts))):
                os.unlink(parts[-1], dir_fd=self._at(b"/".join(parts[:-1])))
        for path, nsec in self._times.items():
            try:
                directory = openat2(self.root, path or b".", OPEN_DIRECTORY)
            except OSError:  # replaced by a later entry
                continue
            os.utime(directory, ns=(nsec, nsec))
            os.close(directory)
        self.close()

    def _at(self, path: bytes) -> int:
        """Return a descriptor of a directory, made with those above it where there is none."""
        if not path:
            return self.root
        if (found := self._open.get(path, -1)) >= 0:
            return found
        try:
            found = openat2(self.root, path, os.O_PATH | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            found = self._implied(path)
        if len(self._open) >= MAX_CACHED:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = found
        return found

    def _implied(self, path: bytes) -> int:
        """Make a directory that has no entry of its own as the layers below have it (as containerd does)."""
        parent, _, name = path.rpartition(b"/")
        directory = self._mkdir(self._at(parent), name, path, implied=True)
        about = self.lower.find(path)
        like = about if about and is_directory(about) else None
        os.fchown(directory, like.st_uid if like else 0, like.st_gid if like else 0)
        os.fchmod(directory, like.st_mode & 0o7777 if like else 0o755)
        self._times[path] = like.st_mtime_ns if like else 0
        return directory

    def _mkdir(self, parent: int, name: bytes, path: bytes, *, implied: bool = False) -> int:
        """Return a descriptor of a directory, there before or made; other things give way to an entry of its own."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            about = os.stat(name, dir_fd=parent, follow_symlinks=False)
            hid = is_whiteout(about)
            if implied and not hid and not is_directory(about):
                raise refuse(path, "it is a directory for some entries, and something else by its own") from None
            if not is_directory(about):
                self._remove(parent, name, path)
                os.mkdir(name, 0o700, dir_fd=parent)
            if hid:  # deleted and made anew: what it held below must not show
                self._hide(parent, name, path)
        return os.open(name, OPEN_DIRECTORY, dir_fd=parent)

    def _hide(self, parent: int, name: bytes, path: bytes) -> None:
        os.setxattr(b"/proc/self/fd/%d/%b" % (parent, name), self.opaque_mark, b"y", follow_symlinks=False)
        self.opaque.add(path)

    def _remove(self, parent: int, name: bytes, path: bytes) -> None:
        """Remove what an earlier entry of this layer has made."""
        self._whiteouts.discard(path)
        if is_directory(os.stat(name, dir_fd=parent, follow_symlinks=False)):
            from runtime.kernel.removal import remove_tree

            remove_tree(f"/proc/self/fd/{parent}/{os.fsdecode(name)}")
            self._times.pop(path, None)
            self.opaque.discard(path)
        else:
            os.unlink(name, dir_fd=parent)
        self._forget()

    def _anew(self, found: Entry, make: Callable[[int], int | None]) -> int:
        """Make something in its parent, in place of what was there; return what ``make`` returns."""
        parent = self._at(found.parent)
        try:
            result = make(parent)
        except FileExistsError:
            self._remove(parent, found.name, found.path)
            result = make(self._at(found.parent))
        return -1 if result is None else result

    def _file(self, found: Entry, stream: Stream) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = self._anew(found, lambda parent: os.open(found.name, flags, 0o600, dir_fd=parent))
        try:
            at = 0
            for offset, length in found.regions:
                if offset != at:
                    os.lseek(file, offset, os.SEEK_SET)
                for piece in stream.pieces(length):
                    rest = piece
                    while rest := rest[os.write(file, rest) :]:
                        pass
                at = offset + length
                self.bytes += length
            if at < found.size:
                os.ftruncate(file, found.size)
            self._attributes(file, found)
            os.utime(file, ns=(found.mtime_nsec, found.mtime_nsec))
        finally:
            os.close(file)

    def _directory(self, found: Entry, _stream: Stream) -> None:
        parent = self._at(found.parent)
        directory = self._mkdir(parent, found.name, found.path) if found.path else os.dup(self.root)
        try:
            self._attributes(directory, found)
        finally:
            os.close(directory)
        self._times[found.path] = found.mtime_nsec

    def _attributes(self, descriptor: int, found: Entry) -> None:
        """Give a file or directory owner, mode and extended attributes; in this order, as chown(2) clears these."""
        os.fchown(descriptor, found.uid, found.gid)
        os.fchmod(descriptor, found.mode)
        for name, value in found.xattrs:
            attributes.put(descriptor, name, value)

    def _unopened(self, found: Entry) -> None:
        """Give what can't be opened its owner, attributes and time."""
        parent = self._at(found.parent)
        os.chown(found.name, found.uid, found.gid, dir_fd=parent, follow_symlinks=False)
        for name, value in found.xattrs:
            attributes.put(b"/proc/self/fd/%d/%b" % (parent, found.name), name, value)
        if found.kind == entries.NODE:
            beheld.change_mode(found.name, parent, found.mode & 0o7777)
        os.utime(found.name, ns=(found.mtime_nsec, found.mtime_nsec), dir_fd=parent, follow_symlinks=False)

    def _symlink(self, found: Entry, _stream: Stream) -> None:
        self._anew(found, lambda parent: os.symlink(found.target, found.name, dir_fd=parent))
        self._unopened(found)

    def _node(self, found: Entry, _stream: Stream) -> None:
        device = os.makedev(*found.device)
        try:
            self._anew(found, lambda parent: os.mknod(found.name, found.mode, device, dir_fd=parent))
        except PermissionError:  # in a user namespace, where nobody could open it
            return
        self._unopened(found)

    def _hardlink(self, found: Entry, _stream: Stream) -> None:
        if found.target == found.path:
            raise refuse(found.path, "a hard link to itself")
        above, _, name = found.target.rpartition(b"/")
        try:
            source = openat2(self.root, above or b".", os.O_PATH | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            source = -1
        try:
            if source < 0 or is_whiteout(os.stat(name, dir_fd=source, follow_symlinks=False)):
                raise FileNotFoundError
            self._anew(
                found,
                lambda parent: os.link(name, found.name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False),
            )
        except FileNotFoundError:
            why = f"a hard link to {entries.shown(found.target)}, which is not in this layer before it"
            raise refuse(found.path, why) from None
        finally:
            if source >= 0:
                os.close(source)

    def _whiteout(self, found: Entry, _stream: Stream) -> None:
        if self.lower.find(found.path) is None:  # nothing to hide, and a directory of this layer alone would list it
            return
        parent = self._at(found.parent)
        try:
            os.mknod(found.name, 0o020000, 0, dir_fd=parent)
            self._whiteouts.add(found.path)
        except FileExistsError:  # of this layer: it stays, and only what is below goes
            if is_directory(os.stat(found.name, dir_fd=parent, follow_symlinks=False)):
                self._hide(parent, found.name, found.path)

    def _cleared(self, found: Entry, _stream: Stream) -> None:
        directory = self._at(found.path)
        os.setxattr(b"/proc/self/fd/%d" % directory, self.opaque_mark, b"y")
        self.opaque.add(found.path)
