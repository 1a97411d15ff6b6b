"""What lies in a container's root is its command's: of what the runtime goes by there is a short list."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runtime as package

if TYPE_CHECKING:
    from tests.live.busybox import Bundle, Runtime

pytestmark = pytest.mark.anywhere  # paths

IN_OPEN, IN_CREATE, IN_ISDIR = 0x20, 0x100, 0x40000000
LIBRARIES = ("lib", "lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/locale/C.utf8")
FILES = (
    "etc/ld.so.preload", "etc/ld.so.cache", "etc/nsswitch.conf", "etc/localtime", "etc/locale.alias", "bin/ps",
    "bin/tar", "usr/bin/python3", "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6",
    "lib/x86_64-linux-gnu/libnss_files.so.2", "usr/lib/x86_64-linux-gnu/gconv/gconv-modules",
    "usr/lib/locale/locale-archive", "usr/lib/locale/C.utf8/LC_MESSAGES",
)  # fmt: skip
READ = {"passwd", "group", "busybox", "sh", "cat", "sleep"}
"""What may be opened: accounts, and what is executed or copied."""


class Watch:
    """Tells what was opened below a directory, whatever mount it was reached by (inotify(7))."""

    def __init__(self, top: Path) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.places = {
            self.libc.inotify_add_watch(self.descriptor, os.fsencode(at), IN_OPEN | IN_CREATE): at
            for at, _, _ in os.walk(top)
        }
        self.seen()  # os.walk's own

    def seen(self) -> set[str]:
        """Return the paths of what was opened or made since."""
        found, data = set(), b""
        while True:
            try:
                data += os.read(self.descriptor, 1 << 20)
            except BlockingIOError:
                break
        while data:
            place, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16 : 16 + length].rstrip(b"\0").decode()
            data = data[16 + length :]
            if name or not mask & IN_ISDIR:
                found.add(f"{self.places[place]}/{name}")
        return found


def test_nothing_of_it_is_loaded(runtime: Runtime, bundle: Bundle) -> None:
    """No library, locale, module or program of the root is opened by what makes, enters, lists or copies it.

    CVE-2019-14271 (libraries of the container's, loaded to copy from it), CVE-2022-1227 (its ps), CVE-2026-41567.
    """
    modules = [path for path in (*sys.path, *sysconfig.get_paths().values()) if os.path.isabs(path)]
    for name in (*LIBRARIES, *(path[1:] for path in modules), str(Path(package.__file__).parent)[1:]):
        (bundle.root / name).mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (bundle.root / name).unlink(missing_ok=True)
        (bundle.root / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle.root / name).write_text("#!/bin/sh\ntouch /evil\n")
        (bundle.root / name).chmod(0o755)
    (bundle.root / "etc/passwd").write_text("me:x:7:7::/:/bin/sh\n")
    bundle.run("sleep 1000")
    watch = Watch(bundle.root)
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    runtime("start", "c")
    assert runtime("exec", "-u", "me", "c", "cat", "/etc/passwd").stdout.startswith("me:")
    assert "/none" in runtime("exec", "c", "/none", check=False).stderr
    assert "not in the container" in runtime("exec", "-u", "nobody", "c", "cat", check=False).stderr
    assert len(json.loads(runtime("top", "--json", "c").stdout)) == 1
    assert "sleep" in runtime("top", "c").stdout
    copied = subprocess.run(
        [*runtime.command, "cp", "c:/etc/passwd", "-"], env=runtime.environment, capture_output=True, check=True
    )
    assert b"me:" in copied.stdout
    opened = {path for path in watch.seen() if Path(path).name not in READ}
    places = tuple(f"{bundle.root}/{name}" for name in ("dev", "proc", "sys"))
    assert {path for path in opened if not path.startswith(places)} == set()
