"""What is fuzzed: functions that take any bytes and fail if something is answered that must not be.

``tests/fuzz/run TARGET`` looks for such bytes; those it found are kept in ``corpus/TARGET`` and tried by every run of
the unit tests.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat as stat_module
import struct
import tempfile
from typing import TYPE_CHECKING, Any

import pyfuse3

from lxcfs_py import json_text, oci, registry
from lxcfs_py.cgroup import parse as cgroup
from lxcfs_py.errors import Error
from lxcfs_py.fuse import protocol
from lxcfs_py.host import Host
from lxcfs_py.nri import frames, plugin
from lxcfs_py.nri.wire import Malformed
from lxcfs_py.procfs import (
    cpuinfo,
    cpulist,
    cpumask,
    meminfo,
    mountinfo,
    pid_stat,
    pressure,
    proc_cgroup,
    stat,
    status,
    vmstat,
)
from lxcfs_py.served import FILES
from tests.unit.test_hostile_operations import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NAMES = sorted({part for path in FILES for part in path.split("/")} | {"containers", "web", "sys", "cpu0", "power"})
PATHS = ("proc/stat", "containers/web/proc/meminfo")
TRIGGERS = (b"some 150000 2000000", b"full 1 2", b"", b"\xff" * 4000)
_state: dict[str, Any] = {}


def parsers(data: bytes) -> None:
    """No parser raises; what is parsed makes sense."""
    assert all(value >= 0 for value in meminfo.parse(data).values())
    assert all(value >= 0 for value in vmstat.parse(data).values())
    seen = cpulist.parse(data)
    assert cpulist.parse(cpulist.render(seen)) == seen
    assert all(cpu >= 0 for cpu in cpumask.parse(data))
    for block in cpuinfo.parse(data):
        repr(block)
    assert stat.btime_seconds(stat.parse(data)) >= 0
    for mount in mountinfo.parse(data):
        mountinfo.fstype_at([mount], "/a/b")
    found = pid_stat.parse(data)
    assert found is None or found.start_ticks >= 0
    trigger = pressure.trigger(data)
    assert trigger is None or pressure.trigger(trigger.text) == trigger
    assert all(path.startswith("/") for path in proc_cgroup.parse(data).values())
    status.pids(data), status.effective(data)
    for one in (cgroup.integer(data), cgroup.limit(data)):
        assert one is None or one >= 0
    cgroup.flat(data), cgroup.numbers(data), cgroup.devices(data)


def registrations(data: bytes) -> None:
    """A file is a registration of that id whose paths lead nowhere else, or is refused."""
    if "run" not in _state:
        _state["run"] = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, _state["run"])
        os.makedirs(registry.directory(Host(run=_state["run"])))
    host = Host(run=_state["run"])
    with open(f"{registry.directory(host)}/web.json", "wb") as file:
        file.write(data)
    try:
        found = registry.load(host, "web")
    except registry.RefusedError:
        return
    assert found.id == "web"
    assert found.init_pid > 0
    assert not any(".." in path.split("/") or "\0" in path for path in found.cgroups.values())
    json_text.dumps(found.as_dict())


def sessions(data: bytes) -> None:
    """The kernel's first request is answered in kind, or refused as none."""
    try:
        init = protocol.parse_init(data)
    except ValueError:
        return
    reply = protocol.init_reply(init)
    assert protocol.reply_error(reply) == 0
    assert struct.unpack_from("=I", reply)[0] == len(reply)
    protocol.worker_init(init)


class Forger:
    """One sequence of requests, on what those before have found or opened, and on what never was."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.operations, self.caller = worker, worker.operations, worker.caller
        self.inodes, self.files, self.directories = [1, *map(worker.find, PATHS)], [0], [0]
        self.requests = (
            self.lookup, self.about, self.open, self.opendir, self.read, self.readdir, self.write, self.release,
        )  # fmt: skip

    def ask(self, answer: Coroutine[Any, Any, Any]) -> Any:
        """Return what is answered, None for an errno."""
        found = self.worker.ask(answer)
        return None if isinstance(found, pyfuse3.FUSEError) else found

    def turn(self, what: int, which: int, number: int, offset: int) -> None:
        """Make one request."""
        inode = self.inodes[which % len(self.inodes)] ^ (number >> 14 << 20)
        known = self.directories if what % 8 in (3, 5) else self.files
        self.requests[what % 8](inode, known[which % len(known)] ^ number >> 12 << 33, number, abs(offset))

    def lookup(self, inode: int, _file: int, number: int, _offset: int) -> None:
        """Look up a name that may be there, or any."""
        name = os.fsencode(NAMES[number % len(NAMES)]) if number < 1 << 15 else bytes([number >> 4 & 127 or 1])
        if found := self.ask(self.operations.lookup(inode, name.replace(b"/", b"?"), self.caller)):
            self.inodes.append(found.st_ino)

    def about(self, inode: int, _file: int, _number: int, _offset: int) -> None:
        """Ask for attributes, and where a link leads."""
        self.ask(self.operations.getattr(inode, self.caller))
        self.ask(self.operations.readlink(inode, self.caller))

    def open(self, inode: int, _file: int, number: int, _offset: int) -> None:
        """Open what is no directory, with any flags."""
        about = self.ask(self.operations.getattr(inode, self.caller))
        if about and not stat_module.S_ISDIR(about.st_mode):
            found = self.worker.open(inode, number)
            self.files += [] if isinstance(found, pyfuse3.FUSEError) else [found]

    def opendir(self, inode: int, _file: int, _number: int, _offset: int) -> None:
        """Open a directory, or what is none."""
        if (found := self.ask(self.operations.opendir(inode, self.caller))) is not None:
            self.directories.append(found)

    def read(self, _inode: int, file: int, number: int, offset: int) -> None:
        """Read anywhere."""
        found = self.worker.read(file, offset << (number & 31), number)
        assert isinstance(found, pyfuse3.FUSEError) or len(found) <= number

    def readdir(self, _inode: int, file: int, _number: int, offset: int) -> None:
        """List from anywhere."""
        self.ask(self.operations.readdir(file, offset, None))

    def write(self, inode: int, file: int, number: int, offset: int) -> None:
        """Write, and poll."""
        self.ask(self.operations.write(file, offset, TRIGGERS[number % len(TRIGGERS)]))
        self.ask(self.operations.poll(inode, file, None, self.caller))

    def release(self, _inode: int, file: int, _number: int, _offset: int) -> None:
        """Close, also what is not open."""
        self.worker.release(file)


def requests(data: bytes) -> None:
    """Each 8 bytes are one request of the kernel's; none ends in a bug."""
    if "worker" not in _state:
        pyfuse3.readdir_reply = lambda *_: True
        _state["worker"] = Worker()
        atexit.register(_state["worker"].close)
    forger = Forger(_state["worker"])
    for turn in struct.iter_unpack("=BBHi", data[: len(data) // 8 * 8]):
        forger.turn(*turn)
    for handle in (*forger.files, *forger.directories):
        forger.worker.release(handle)


def conversations(data: bytes) -> None:
    """Whatever a container engine says is answered, whole, or ends the conversation."""
    reader, hook = frames.Reader(), oci.hook("/bin/lxcfs-py")
    try:
        found = [frame for at in range(0, len(data), 100) for frame in reader.feed(data[at : at + 100])]
        answers = [plugin.answer(frame, hook).data for frame in found]
    except (Error, Malformed):
        return
    heard = frames.Reader().feed(b"".join(answers))
    assert [frame.stream for frame in heard] == [frame.stream for frame in found if frame.connection == frames.PLUGIN]


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (parsers, registrations, sessions, requests, conversations)
}
