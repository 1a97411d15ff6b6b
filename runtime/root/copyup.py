"""``tmpcopyup``: what a directory holds is copied into the tmpfs that is mounted over it (runc's mount option)."""

from __future__ import annotations

import os

CHUNK = 1 << 20


def _same(descriptor: int, about: os.stat_result) -> None:
    os.fchown(descriptor, about.st_uid, about.st_gid)
    os.fchmod(descriptor, about.st_mode & 0o7777)


def copy(source: int, target: int) -> None:
    """Copy the directory open (by path) as ``source`` into the one open as ``target``: no link is followed."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    here = os.open(f"/proc/self/fd/{source}", flags & ~os.O_NOFOLLOW | os.O_DIRECTORY)
    there = os.open(f"/proc/self/fd/{target}", flags & ~os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        _same(there, os.fstat(here))
        for name in os.listdir(here):
            about = os.stat(name, dir_fd=here, follow_symlinks=False)
            kind = about.st_mode & 0o170000
            if kind == 0o040000:
                os.mkdir(name, 0o700, dir_fd=there)
                inner = os.open(name, os.O_PATH | flags, dir_fd=here), os.open(name, os.O_PATH | flags, dir_fd=there)
                try:
                    copy(*inner)
                finally:
                    os.close(inner[0])
                    os.close(inner[1])
            elif kind == 0o120000:
                os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
                os.chown(name, about.st_uid, about.st_gid, dir_fd=there, follow_symlinks=False)
            elif kind == 0o100000:
                _file(name, here, there)
            else:
                os.mknod(name, about.st_mode, about.st_rdev, dir_fd=there)
                os.chown(name, about.st_uid, about.st_gid, dir_fd=there, follow_symlinks=False)
    finally:
        os.close(here)
        os.close(there)


def _file(name: str, here: int, there: int) -> None:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    source = os.open(name, os.O_RDONLY | flags, dir_fd=here)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=there)
        try:
            while os.sendfile(target, source, None, CHUNK):
                pass
            _same(target, os.fstat(source))
        finally:
            os.close(target)
    finally:
        os.close(source)
