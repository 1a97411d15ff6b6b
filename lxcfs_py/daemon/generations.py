"""Keeps the workers of a session running, and lets one generation of them follow another without a gap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import trio

from lxcfs_py import log
from lxcfs_py.daemon import notify
from lxcfs_py.daemon.mourning import ask_again, mourn_generation
from lxcfs_py.daemon.session import living
from lxcfs_py.daemon.task import pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from lxcfs_py.daemon.processes import Processes, Template
    from lxcfs_py.daemon.session import Session
    from lxcfs_py.daemon.task import Task

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 10.0
"""Before another template is started; while none gets as far as to serve it doubles up to the second."""
BEGIN_SECONDS = 30.0
"""A template that has not entered itself by then hangs (who is in the table is watched: ``hangs``)."""
LOOK_SECONDS = 0.01
LEAVE_SECONDS = 1.0
"""Workers that have not left by then are killed: they are at a request that takes long, and others wait."""
DIE_SECONDS = 10.0
"""A template that has not died by then is held by the kernel, and its generation with it: nobody waits for that."""


def _start(task: Task, parent: int, *, rehearse: bool) -> subprocess.Popen[bytes]:
    """Start a template, which waits to be told to serve; ``rehearse``: it proves first that its workers can."""
    module = [sys.executable, "-m", "lxcfs_py.daemon.workers"]
    return subprocess.Popen(
        [*module, pack(task), str(parent), f"{rehearse:d}"],
        pass_fds=task.descriptors,
        stdin=subprocess.PIPE,
        cwd="/",
        start_new_session=True,  # the terminal's Ctrl-C is ours
    )


class Stages(NamedTuple):
    """What is done on the way to a generation that serves."""

    ready: Callable[[], Awaitable[None]]
    """Before the first workers serve, when they could."""
    serving: Callable[[], None]
    """Whenever a generation has begun and the one before has left."""


async def keep(session: Session, task: Task, parent: int, stages: Stages) -> None:
    """Have workers serve until the mount is gone; they die with process ``parent``, 0 for nobody.

    Who serves is told to leave when others have proved that they can, and not before.
    """
    processes, former = session.processes, session.former
    begun, failures, limiter = False, 0, log.Limiter()
    while True:
        before = session.templates(task.host)
        if len(before) == 2:  # a supervisor was killed while one followed the other, or had not been let serve
            serving = {number // session.workers for number in processes.workers()}
            leaves = 1 if serving == {0} else 0
            await _retire(session, task, leaves, before.pop(leaves))
        generation = 1 if 0 in before else 0
        first = generation * session.workers
        others = before or (living(former, task.host) if former and not begun else {})
        try:
            template = _start(task.replace(first=first), parent, rehearse=bool(others))
        except OSError as error:  # too many processes, or no memory, for now: those that serve go on
            limiter.write(f"no template of workers was started: {log.cause(error)}")
            await trio.sleep(PAUSE_SECONDS)
            continue
        try:
            if served := await _entered(processes, generation, template):
                if not begun:
                    await stages.ready()
                    begun = True
                served = await _follow(session, task, generation, template, before)
            if served:
                notify.notify("READY=1\nSTATUS=")
                stages.serving()
                await _ended(template.pid)
        except trio.Cancelled:
            template.returncode = 0  # it goes on, or the mount goes: nobody waits for it
            raise
        finally:
            assert template.stdin is not None
            template.stdin.close()
        code = template.wait()
        if code == 0:
            return
        failures = 0 if served else failures + 1
        on = ", those of before serve on" if others and not served else ""
        what = f"the workers' template ended with {code}{on}"
        limiter.write(f"{what}; another one starts")
        if failures:
            notify.notify(f"STATUS={what}")
        await trio.sleep(pause(failures, served=bool(on)))


def pause(failures: int, *, served: bool) -> float:
    """Return after how many seconds another template starts, when so many in a row never served.

    ``served``: those of before do. If nobody does, readers wait.
    """
    return (
        min(PAUSE_SECONDS * 2.0 ** max(0, min(failures - 1, 10)), LONGEST_PAUSE_SECONDS) if served else PAUSE_SECONDS
    )


async def _follow(
    session: Session, task: Task, generation: int, template: subprocess.Popen[bytes], before: Mapping[int, Template]
) -> bool:
    """Have a template's workers serve, and those of before leave; return False if it has ended."""
    processes = session.processes
    if session.former is not None:  # who comes next is given its record, if the holder keeps it
        session.former.note_template(generation, processes.template(generation))
    assert template.stdin is not None
    with suppress(BrokenPipeError):  # it has just been killed
        os.write(template.stdin.fileno(), b"\n")
    while generation * task.workers not in processes.workers():
        if template.poll() is not None:
            return False
        await trio.sleep(LOOK_SECONDS)
    for number, each in before.items():
        await _retire(session, task, number, each)
    return True


async def _entered(processes: Processes, generation: int, template: subprocess.Popen[bytes]) -> bool:
    """Wait until a template has entered itself: it could serve; return False if it ended, or hung and was killed."""
    with trio.move_on_after(BEGIN_SECONDS):
        while template.poll() is None:
            if processes.template(generation).pid == template.pid:
                return True
            await trio.sleep(LOOK_SECONDS)
    if template.poll() is None:
        template.kill()
        await _ended(template.pid)  # the kernel may hold it, and the rest of us goes on meanwhile
    return False


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
