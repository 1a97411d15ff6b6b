"""What a directory holds is copied to where it is about to be hidden: ``tmpcopyup`` (runc's), first use of a volume.

Everything is kept: owners, modes, times, extended attributes, hard links, holes, nodes. No link is followed out of
either directory, and no depth is too much: what is in them was made by others.
"""

from __future__ import annotations

import errno
import os

from runtime.kernel import attributes, beheld
from runtime.kernel.mountapi import openat2

CHUNK = 1 << 20
KIND, DIRECTORY, LINK, FILE = 0o170000, 0o040000, 0o120000, 0o100000
"""S_IFMT, S_IFDIR, S_IFLNK, S_IFREG."""
OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def copy(source: int, target: int) -> None:
    """Copy the directory open (by path) as ``source`` into the one open as ``target``."""
    todo: list[bytes] = [b"."]
    seen: dict[tuple[int, int], bytes] = {}
    for at in todo:  # which grows meanwhile: a directory comes before what it holds
        here, there = openat2(source, at, OPEN), openat2(target, at, OPEN)
        try:
            for name in os.listdir(here):
                name_ = os.fsencode(name)
                about = os.stat(name, dir_fd=here, follow_symlinks=False)
                path, key = at + b"/" + name_, (about.st_dev, about.st_ino)
                if about.st_nlink > 1 and key in seen:
                    os.link(seen[key], name_, src_dir_fd=target, dst_dir_fd=there, follow_symlinks=False)
                elif about.st_mode & KIND == DIRECTORY:
                    os.mkdir(name, 0o700, dir_fd=there)
                    todo.append(path)
                else:
                    _one(name_, about, here, there)
                    seen[key] = path
        finally:
            os.close(here)
            os.close(there)
    for at in reversed(todo):  # what is put into a directory changes its time
        here, there = openat2(source, at, OPEN), openat2(target, at, OPEN)
        try:
            attributes.same(here, there)
        finally:
            os.close(here)
            os.close(there)


def _one(name: bytes, about: os.stat_result, here: int, there: int) -> None:
    kind = about.st_mode & KIND
    if kind == FILE:
        _file(name, here, there)
        return
    if kind == LINK:
        os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
    else:
        os.mknod(name, about.st_mode, about.st_rdev, dir_fd=there)
    os.chown(name, about.st_uid, about.st_gid, dir_fd=there, follow_symlinks=False)
    if kind != LINK:
        beheld.change_mode(name, there, about.st_mode & 0o7777)
    attributes.copy(b"/proc/self/fd/%d/%b" % (here, name), b"/proc/self/fd/%d/%b" % (there, name))
    os.utime(name, ns=(about.st_atime_ns, about.st_mtime_ns), dir_fd=there, follow_symlinks=False)


def _file(name: bytes, here: int, there: int) -> None:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    place = beheld.look(name, here)
    try:
        source = beheld.read(place)
    finally:
        os.close(place)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=there)
        try:
            _content(source, target)
            attributes.same(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _content(source: int, target: int) -> None:
    """Copy what a file holds, and leave its holes (lseek(2), SEEK_DATA)."""
    size, at = os.fstat(source).st_size, 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # only a hole is left
                raise
            break
        end = os.lseek(source, at, os.SEEK_HOLE)
        os.lseek(target, at, os.SEEK_SET)
        while at < end:
            done = os.sendfile(target, source, at, min(CHUNK, end - at))
            if not done:
                break
            at += done
        at = max(at, end)
    os.ftruncate(target, size)
