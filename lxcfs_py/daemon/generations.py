"""Keeps the workers of a session running, and lets one generation of them follow another without a gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from lxcfs_py import log, process
from lxcfs_py.daemon import notify
from lxcfs_py.daemon.mourning import ask_again, mourn_generation
from lxcfs_py.daemon.processes import Processes, Template
from lxcfs_py.daemon.session import living
from lxcfs_py.daemon.task import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.daemon.session import Session
    from lxcfs_py.daemon.task import Task

PAUSE_SECONDS = 0.2
BEGIN_SECONDS = 30.0
"""A template that has not entered itself by then hangs (who is in the table is watched: ``hangs``)."""
LEAVE_SECONDS = 1.0
"""Workers that have not left by then are killed: they are at a request that takes long, and others wait."""
DIE_SECONDS = 10.0
"""A template that has not died by then is held by the kernel, and its generation with it: nobody waits for that."""


def _start(task: Task, parent: int) -> subprocess.Popen[bytes]:
    """Start a template."""
    module = [sys.executable, "-m", "lxcfs_py.daemon.workers"]
    return subprocess.Popen(
        [*module, pack(task), str(parent)],
        pass_fds=task.descriptors,
        stdin=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # the terminal's Ctrl-C is ours
    )


async def keep(session: Session, task: Task, parent: int, serving: Callable[[], None]) -> None:
    """Have workers serve until the mount is gone; they die with process ``parent``, 0 for nobody.

    ``serving`` is told whenever a generation has begun and the one before has left.
    """
    processes, former = session.processes, session.former
    while True:
        before = session.templates(task.host)
        if len(before) == 2:  # a supervisor was killed while one followed the other
            await _retire(session, task, 0, before.pop(0))
        generation = 1 if 0 in before else 0
        first = generation * session.workers
        try:
            template = _start(task.replace(first=first), parent)
        except OSError as error:  # too many processes, or no memory, for now: those that serve go on
            log.write(f"no template of workers was started: {log.cause(error)}")
            await trio.sleep(PAUSE_SECONDS)
            continue
        begun = process.stat(task.host, template.pid)
        if former is not None and begun is not None:  # who comes next is given its record, if the holder keeps it
            former.note_template(generation, Template(template.pid, begun.start_ticks))
        deadline = trio.current_time() + BEGIN_SECONDS
        try:
            while processes.template(generation).pid != template.pid or first not in processes.workers():
                if template.poll() is not None:
                    break
                if trio.current_time() > deadline and processes.template(generation).pid != template.pid:
                    template.kill()
                await trio.sleep(0.01)
            else:
                for number, each in before.items():
                    await _retire(session, task, number, each)
                notify.notify("READY=1")
                serving()
                await _ended(template.pid)
        except trio.Cancelled:
            template.returncode = 0  # it goes on, or the mount goes: nobody waits for it
            raise
        code = template.wait()
        if code == 0:
            return
        log.write(f"the workers' template ended with {code}; another one starts")
        await trio.sleep(PAUSE_SECONDS)


async def dismiss(former: Processes, task: Task) -> None:
    """Have the workers leave whose memory has another layout: a file that they open is none that ours know.

    One that stays is killed only where the kernel asks again: of what it holds nobody can tell the number.
    """
    templates = living(former, task.host)
    for signals in (signal.SIGTERM, 0 if task.relay else signal.SIGKILL):
        for template in templates.values():
            with suppress(ProcessLookupError):
                os.kill(template.pid, signals)
        with trio.move_on_after(LEAVE_SECONDS) as late:
            for template in templates.values():
                await _ended(template.pid)
        if not late.cancelled_caught:
            break
    if templates and not task.relay:
        ask_again(task)


async def _retire(session: Session, task: Task, generation: int, template: Template) -> None:
    """Have the workers of a template leave, and it with them; see to the requests of those that had to be killed."""
    with suppress(ProcessLookupError):
        os.kill(template.pid, signal.SIGTERM)
        with trio.move_on_after(LEAVE_SECONDS):
            await _ended(template.pid)
        os.kill(template.pid, signal.SIGKILL)  # if it is still there: its workers die with it
    with trio.move_on_after(DIE_SECONDS):
        await _ended(template.pid)
    if session.processes.hold(generation):
        await trio.to_thread.run_sync(mourn_generation, task, session.processes, generation)  # it waits
        session.processes.let_go(generation)


async def _ended(pid: int) -> None:
    """Wait until a process has ended."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
