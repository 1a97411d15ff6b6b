"""Any sequence of requests, also with numbers that were never given out: each is answered, none by a bug."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import struct
import tempfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pyfuse3
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule

from lxcfs_py import shared, tree
from lxcfs_py.container import start_ticks
from lxcfs_py.counters import Table
from lxcfs_py.files import Files
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.operations import Operations
from lxcfs_py.fuse.pressure import Pressure
from lxcfs_py.fuse.reading import Reading
from lxcfs_py.fuse.triggers import NO_TRIGGER
from lxcfs_py.host import Host
from lxcfs_py.nodes import ROOT, Nodes
from lxcfs_py.procfs import proc_cgroup
from lxcfs_py.reader import Reader
from lxcfs_py.registry import Registration, register, unregister
from lxcfs_py.served import FILES

if TYPE_CHECKING:
    from collections.abc import Coroutine

NO_TRIGGERS: Any = SimpleNamespace(
    write=lambda *_, **__: errno.EINVAL, poll=lambda *_: NO_TRIGGER, close=lambda *_: None
)
U64 = st.integers(0, (1 << 64) - 1)
OFFSETS = st.sampled_from((0, 1, 7, 100, 1 << 12, 1 << 62, (1 << 63) - 1)) | st.integers(0, (1 << 63) - 1)
NAMES = st.sampled_from(sorted({part for path in FILES for part in path.split("/")} | {"containers", "web", "sys"}))
NAMES |= st.sampled_from(("devices", "system", "cpu", "cpu0", "online", "power", ".", "..", "web@1", "x" * 255))
RAW_NAMES = NAMES.map(os.fsencode) | st.binary(min_size=1, max_size=255).map(
    lambda name: name.replace(b"/", b"?").replace(b"\0", b"?")  # which the kernel never asks for
)


class Worker:
    """One worker's handlers, over this machine, with one registered container: this process."""

    def __init__(self) -> None:
        self.run = tempfile.mkdtemp()
        self.host, self.logged = Host(run=self.run), list[Exception]()
        with open("/proc/self/cgroup", "rb") as file:
            paths = proc_cgroup.parse(file.read())
        ticks = start_ticks(self.host, Files(), os.getpid()) or 0
        register(self.host, Registration("web", os.getpid(), ticks, paths))
        self.shared = shared.Shared(os.memfd_create("shared"), 1, os.cpu_count() or 1, 4096)
        self.table = os.memfd_create("nodes")
        self.reader = Reader(self.host, store=self.shared.accounts)
        self.operations = Operations(
            0,
            self.reader,
            self.shared,
            Nodes(self.table),
            lambda _what, _key, error, _pid: self.logged.append(error),
            Pressure(self.reader, NO_TRIGGERS),
            Table(os.memfd_create("counters"), 1).row(0, lambda _key: None),
        )
        self.caller: Any = SimpleNamespace(pid=os.getpid(), uid=0, gid=0, umask=0)
        self.kernel, self.fuse = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.kernel, self.fuse):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * protocol.REQUEST_BYTES)
        self.reading = Reading(self.operations, self.fuse.fileno())

    def ask(self, answer: Coroutine[Any, Any, Any]) -> Any:
        """Return what a handler answers: a value, or an errno as an exception; nothing else passes."""
        try:
            answer.send(None)
        except StopIteration as done:
            return done.value
        except pyfuse3.FUSEError as error:
            return error
        finally:
            self.no_bug()
        raise AssertionError("a handler waits")

    def no_bug(self) -> None:
        """Fail if something else than an OSError was logged."""
        odd = [error for error in self.logged if not isinstance(error, OSError)]
        self.logged.clear()
        assert not odd, odd

    def request(self, opcode: int, inode: int, body: bytes) -> Any:
        """Return what is answered without libfuse: bytes, or an errno as an exception."""
        assert self.reading.answered(memoryview(protocol.request(opcode, 2, inode, os.getpid(), body)))
        self.no_bug()
        reply = self.kernel.recv(2 * protocol.REQUEST_BYTES, socket.MSG_DONTWAIT)
        error = protocol.reply_error(reply)
        return pyfuse3.FUSEError(error) if error else protocol.answer(reply)

    def open(self, inode: int, flags: int) -> Any:
        """Return the handle, or an errno."""
        found = self.request(protocol.OPEN, inode, protocol.open_body(flags))
        return found if isinstance(found, pyfuse3.FUSEError) else int(struct.unpack_from("=Q", found)[0])

    def read(self, file: int, offset: int, size: int) -> Any:
        """Return what is read, or an errno."""
        return self.request(protocol.READ, 0, protocol.read_body(file, offset, size))

    def release(self, file: int) -> Any:
        """Close."""
        return self.request(protocol.RELEASE, 0, protocol.release_body(file))

    def find(self, path: str) -> int:
        """Return the inode of a path."""
        at = ROOT
        for name in path.split("/"):
            at = self.ask(self.operations.lookup(at, os.fsencode(name), self.caller)).st_ino
        return at

    def close(self) -> None:
        """Give all back."""
        self.reader.files.close()
        self.kernel.close()
        self.fuse.close()
        os.close(self.table)
        os.close(self.shared.descriptor)
        shutil.rmtree(self.run)


class Requests(RuleBasedStateMachine):
    """What the kernel, and somebody who forges its requests, may ask for."""

    inodes = Bundle("inodes")
    files = Bundle("files")
    directories = Bundle("directories")
    any_inode = inodes | U64
    any_file = files | directories | U64

    def __init__(self) -> None:
        super().__init__()
        self.worker = Worker()
        self.names: list[bytes] = []
        self.reply = mock.patch.object(pyfuse3, "readdir_reply", self._replied)
        self.reply.start()

    def _replied(self, _token: object, name: bytes, _entry: object, _next: int) -> bool:
        self.names.append(name)
        return len(self.names) < 50

    @initialize(target=inodes)
    def begin(self) -> Any:
        """The root, and two files by their names."""
        paths = ("proc/meminfo", "containers/web/proc/stat", "sys/devices/system/cpu")
        return multiple(ROOT, *(self.worker.find(path) for path in paths))

    @rule(target=inodes, parent=any_inode, name=RAW_NAMES)
    def lookup(self, parent: int, name: bytes) -> Any:
        """What is found has a number."""
        found = self.worker.ask(self.worker.operations.lookup(parent, name, self.worker.caller))
        return multiple() if isinstance(found, pyfuse3.FUSEError) else found.st_ino

    @rule(inode=any_inode)
    def about(self, inode: int) -> None:
        """Attributes, links, forgetting."""
        for answer in (
            self.worker.operations.getattr(inode, self.worker.caller),
            self.worker.operations.readlink(inode, self.worker.caller),
            self.worker.operations.forget([(inode, 1)]),
            self.worker.operations.statfs(self.worker.caller),
        ):
            self.worker.ask(answer)

    @rule(target=files, inode=any_inode, flags=st.integers(0, 1 << 22))
    def open(self, inode: int, flags: int) -> Any:
        """Open with any flags; what is known as a directory the kernel opens by another request."""
        about = self.worker.ask(self.worker.operations.getattr(inode, self.worker.caller))
        if not isinstance(about, pyfuse3.FUSEError) and stat.S_ISDIR(about.st_mode):
            return multiple()
        found = self.worker.open(inode, flags)
        return multiple() if isinstance(found, pyfuse3.FUSEError) else found

    @rule(target=directories, inode=any_inode)
    def opendir(self, inode: int) -> Any:
        """Open a directory, or what is none."""
        found = self.worker.ask(self.worker.operations.opendir(inode, self.worker.caller))
        return multiple() if isinstance(found, pyfuse3.FUSEError) else found

    @rule(file=files | U64, offset=OFFSETS, size=st.integers(0, 1 << 17))
    def read(self, file: int, offset: int, size: int) -> None:
        """Read anywhere."""
        found = self.worker.read(file, offset, size)
        assert isinstance(found, pyfuse3.FUSEError) or len(found) <= size

    @rule(file=any_file, start=st.integers(0, 1 << 62))
    def readdir(self, file: int, start: int) -> None:
        """List from anywhere."""
        self.names = []
        self.worker.ask(self.worker.operations.readdir(file, start, None))
        assert len(set(self.names)) == len(self.names)

    @rule(inode=any_inode, file=any_file, offset=OFFSETS, text=st.binary(max_size=100))
    def write(self, inode: int, file: int, offset: int, text: bytes) -> None:
        """Write, poll and flush."""
        self.worker.ask(self.worker.operations.write(file, offset, text))
        self.worker.ask(self.worker.operations.poll(inode, file, None, self.worker.caller))
        self.worker.ask(self.worker.operations.flush(file))

    @rule(file=consumes(files) | consumes(directories) | U64)
    def release(self, file: int) -> None:
        """Close, or what was never opened."""
        self.worker.release(file)

    @rule(again=st.booleans())
    def container(self, again: bool) -> None:
        """The container's registration goes, or is back."""
        ticks = start_ticks(self.worker.host, Files(1), os.getpid()) or 0
        if again:
            register(self.worker.host, Registration("web", os.getpid(), ticks, {"": "/"}))
        else:
            unregister(self.worker.host, "web", os.getpid(), ticks)

    def teardown(self) -> None:
        """All is given back."""
        self.reply.stop()
        self.worker.close()


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture
def worker() -> Any:
    """Yield a worker."""
    found = Worker()
    yield found
    found.close()


def test_names_that_are_not_there_use_up_no_number(worker: Worker) -> None:
    """A hundred thousand look-ups of names that are not there leave room for those that are."""
    parents = [worker.find(path) for path in ("proc", "containers", "containers/web/proc", "sys/devices/system/cpu")]
    with mock.patch.object(Nodes, "inode", side_effect=AssertionError):
        for number in range(25_000):
            for parent in parents:
                found = worker.ask(worker.operations.lookup(parent, b"x%d" % number, worker.caller))
                assert found.errno == errno.ENOENT


def test_a_read_in_the_middle_is_of_the_same_file(worker: Worker) -> None:
    """A file read whole and then from its middle says no word of what its slot was used for before."""
    other = worker.open(worker.find("proc/vmstat"), os.O_RDONLY)
    worker.read(other, 0, 1)
    worker.release(other)
    file = worker.open(worker.find("proc/meminfo"), os.O_RDONLY)
    whole = worker.read(file, 0, 1 << 17)
    digits = b"0123456789 "
    for offset in (1, 100, len(whole) - 1):
        part = worker.read(file, offset, 1 << 17)
        assert part.translate(None, digits) == whole[offset:].translate(None, digits)
    assert worker.read(file, len(whole), 10) == b""


def test_every_file_of_the_list_is_there(worker: Worker) -> None:
    """What is in the list and on this host is found by its path; so the requests above meet real files."""
    for path in FILES:
        if os.path.exists(f"/{path}"):
            assert tree.is_view(path) and worker.find(path) > ROOT
