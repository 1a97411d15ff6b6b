"""``pyproc-run``: makes a container, starts it and looks after it to its end."""

from __future__ import annotations

import os

from lxcfs_py.cgroup import control
from runtime import claims, listed, places, state
from runtime.lifecycle import cleanup, start
from runtime.lifecycle.create import Create

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from runtime.lifecycle.again import Before
    from runtime.request import Request

STUBBORN = 3
"""The SIGINT or SIGTERM that becomes SIGKILL: PID 1 without a handler ignores all others."""


def attend(pid: int, *, master: int, interactive: bool) -> int:
    """Serve signals and the terminal until our child ends; return its exit code."""
    from runtime.kernel import signals  # while the command begins
    from runtime.process import attend  # while the command begins

    stubborn, pidfd = 0, os.pidfd_open(pid)

    def forward(number: int) -> None:
        nonlocal stubborn
        stubborn += number in (2, 15)
        signals.send(pidfd, 9 if stubborn >= STUBBORN else number)

    attend.attend(pidfd, forward, master=master, interactive=interactive)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def finish(create: Create, code: int) -> None:
    """Say what the limits did, and remove what only a running container needs, or all with --rm."""
    found, limits = create.state, create.limits
    if control.oom_kills(create.layout, found.cgroup):
        limit = limits.memory_bytes
        text = f"limit of {limit >> 20} MiB" if limit else "limit of a cgroup above it, or of the machine"
        os.write(2, f"pyproc-run: the memory {text} was reached and a process was killed; give -m more\n".encode())
    if control.pids_max_hits(create.layout, found.cgroup):
        text = f"limit of {limits.pids_limit} processes was reached; give --pids-limit more"
        os.write(2, f"pyproc-run: the {text}\n".encode())
    try:
        held = state.lock(create.request.root, found.id)
    except state.MissingError:  # somebody was faster to remove it
        return
    try:
        now = state.load(create.request.root, found.id)  # by another name, maybe
        if now.pid != found.pid:  # or to start it again
            return
        if now.remove:
            cleanup.cleanup(now, create.layout, volumes=True)
        else:
            state.save(cleanup.ended(now.replace(exit_code=code), create.layout))
    finally:
        os.close(held)


def launch(create: Create) -> None:
    """Make and start it; leaves nothing if it can't be started."""
    create.create()
    try:
        hooks = create.request.spec["hooks"]
        create.state = start.begin(create.state, create.lock, create.filter(), hooks, create.starter)
        if not create.request.remove:
            claims.settle(create.state.directory)
    except BaseException:
        create.undo()
        raise


def run(request: Request, before: Before | None = None, *, as_json: bool = False) -> int:
    """Start the container, one that was there ``before`` again, and return the exit code.

    What runs in the background is named, ``as_json`` if asked. Raises an Error if it can't be started.
    """
    if before is None and state.RESTART in request.spec["annotations"]:
        _by_systemd(request)
        os.write(1, listed.said(request.id, as_json=as_json).encode())
        return 0
    views = ""
    if request.proc_view != "off":
        from runtime.lifecycle import daemon

        views = daemon.find(places.host(), request.proc_view)
    if request.detach:
        from runtime.lifecycle import hold

        if hold.by_systemd():
            return _detached(request, before, views, hold.ready)
        said = listed.said(request.id, as_json=as_json)
        return hold.apart(lambda say: _detached(request, before, views, say), said)
    create = Create(request, before)
    _sweep(create)
    create.prepare(views)
    launch(create)
    os.close(create.lock)
    code = attend(create.child, master=create.said.master, interactive=request.interactive)
    finish(create, code)
    return code


def _by_systemd(request: Request) -> None:
    """Have systemd start it, now and again; leaves nothing if it can't."""
    from runtime.lifecycle import again, ending, service

    asked = request.spec["annotations"][state.RESTART]
    service.policy(asked)
    service.refuse_without_systemd()
    cleanup.sweep(request.root, request.storage)
    found = again.put(request)
    try:
        grace = ending.manner(found, None, None)[1]
        service.install(found, service.unit(found, asked, grace, places.pyproc()))
    except BaseException:
        held = state.lock(request.root, request.id)
        try:
            cleanup.cleanup(state.load(request.root, request.id), volumes=True)  # it may have begun, and have cgroups
        finally:
            os.close(held)
        raise
    if told := service.linger(asked):
        os.write(2, f"pyproc-run: --restart {asked}: {told}\n".encode())


def _sweep(create: Create) -> None:
    if create.before is None:
        cleanup.sweep(create.request.root, create.request.storage)


def _detached(request: Request, before: Before | None, views: str, say: Callable[[], None]) -> NoReturn:
    from runtime.lifecycle import hold

    create = Create(request, before)
    _sweep(create)
    streams = hold.Streams(terminal=request.spec["process"]["terminal"], interactive=request.interactive)
    create.streams = streams.inner
    create.prepare(views)
    launch(create)
    try:
        hold.stay(create, streams, say)
    except BaseException:
        create.undo()
        raise


def describe(request: Request) -> list[str]:
    """Return what ``run`` would do, a line a step."""
    from runtime.lifecycle import daemon

    create = Create(request)
    create.prepare(daemon.serving(create.host) if request.proc_view != "off" else "")
    return create.describe()
