"""The child that becomes the container's first process: carries out the plan, waits, executes the command.

From ``clear`` on nothing is imported any more: the files that would be found are the container's.
"""

from __future__ import annotations

import os
import sys

from lxcfs_py.cgroup import control
from runtime.errors import RunError, said
from runtime.kernel import syscalls as sc
from runtime.process import command as runner
from runtime.process import scheduling, users
from runtime.report import GO, NETWORK, guarded, send, stop_at
from runtime.root.tree import Tree
from runtime.state import CREATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    import socket as _socket
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from runtime.lifecycle.create import Create
    from runtime.process.seccomp import Filter
else:
    import _signal
    import _socket


MOST = 300
"""Letters of a step that an error shows."""


def _imports(create: Create) -> None:
    """Import what may be needed where nothing can be imported."""
    spec = create.request.spec
    if create.request.init:
        from runtime.kernel import init  # noqa: F401
    if spec["process"]["terminal"]:
        from runtime.process import terminal  # noqa: F401
    if spec["hooks"]:
        from runtime.process import hooks  # noqa: F401
    if any("tmpcopyup" in mount["options"] for mount in spec["mounts"]):
        from runtime.root import copyup  # noqa: F401


def enter(create: Create, doors: Sequence[str]) -> None:
    """Be the first process, as far as ``create`` makes it; then wait. Never returns but by an error.

    ``doors`` are of the cgroups that it has to enter by itself.
    """
    create.child = 0
    sc.prctl(sc.PR_SET_PDEATHSIG, 9)  # a start that is cut off leaves nothing running
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    if create.request.network is not None and create.request.network.by_program:
        _tell_network(create.theirs)
    create.report.close()
    os.close(create.say_go)  # ours, so that the parent's end is the last
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _imports(create)
    filter_ = create.filter()
    if create.rdt is not None:
        from runtime.process import resctrl

        doors = (*doors, *resctrl.doors(create.rdt, create.state.id))
    sys.meta_path.clear()
    control.enter(doors)
    request, spec = create.request, create.request.spec
    empty = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    tree = Tree()
    for number, step in enumerate(create.steps, len(create.stages())):
        try:
            step.execute(tree)
        except OSError as error:
            at = f"{error.filename}: " if error.filename else ""
            what = step.describe()
            what = what if len(what) <= MOST else f"{what[:MOST]}..."
            raise RunError(f"{what}: {at}{said(error)}", "see --dry-run for all steps") from error
        stop_at(number, create.theirs)
    command = users.complete(spec["process"])
    uid = command["user"]["uid"]
    if tree.terminal >= 0:
        from runtime.process import terminal

        terminal.take(tree.terminal, uid)
    else:
        os.setsid()
        if not (request.interactive or request.bundle):
            os.dup2(empty, 0)
        for number, stream in enumerate(create.streams):
            os.dup2(stream, number)
        if request.bundle or create.streams:
            _own_streams(uid)
    file = runner.look(command, make=True)
    scheduling.apply(command, spec["linux"])
    if request.detach:
        sc.prctl(sc.PR_SET_PDEATHSIG, 0)
    send(create.theirs, b"ready")
    if not os.read(create.go, 1):
        os._exit(1)
    os.close(create.lock)
    create.theirs.close()
    starter = _wait(create.listener)
    guarded(starter, lambda: _execute(create, command, file, filter_, starter))


def _tell_network(report: _socket.socket) -> None:
    """Hand out our network namespace, which others can't take."""
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    send(report, NETWORK, namespace)
    os.close(namespace)


def _own_streams(uid: int) -> None:
    """Let the user open its standard streams anew (/dev/stdout), where they are pipes or files of its own."""
    for stream in range(3):
        try:
            if os.fstat(stream).st_rdev != os.makedev(1, 3):
                os.fchown(stream, uid, -1)
        except OSError:
            continue


def _wait(listener: _socket.socket) -> _socket.socket:
    """Wait for ``start``; one that goes away without a word was cut off, and the container has failed."""
    listener.settimeout(None)
    raw: Any = listener  # socket.accept is in a module that is slow to import
    descriptor, _ = raw._accept()
    listener.close()
    return _socket.socket(fileno=descriptor)


def _execute(
    create: Create, command: dict[str, Any], file: str, filter_: Filter | None, starter: _socket.socket
) -> NoReturn:
    word = starter.recv(64)
    if not word:
        os._exit(1)
    spec, request = create.request.spec, create.request
    if spec["hooks"].get("startContainer"):
        from runtime.process import hooks

        hooks.stage("startContainer", spec["hooks"], {**create.told(CREATED), "pid": os.getpid()})

    load = filter_.loader(starter, heard=word == GO) if filter_ is not None else lambda: None

    runner.apply(command, file, load, request.preserve_fds, init=request.init)
