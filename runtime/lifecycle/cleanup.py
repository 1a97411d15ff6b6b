"""Removes what a container is on the host: processes, cgroups, registration, network, files, state; in this order.

Whatever is not there (any more) is fine, so that what a killed ``pyproc-run`` left half made goes the same way.
"""

from __future__ import annotations

import os
import time

from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error
from runtime import claims, places, state
from runtime.kernel.removal import remove_tree
from runtime.lifecycle import finding
from runtime.places import host
from runtime.request import NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from runtime.state import State


KILL_SECONDS = 10.0
"""How long what was killed may take to go."""


def ended(found: State, there: Layout) -> State:
    """Remove what only a running container needs: cgroups, registration and network, killing what is left.

    Return what it is from then on: what bore its name may be another's, as the cgroup, and is its no more.
    """
    found = finding.whole(found)
    _end_all(found, there)
    if not (found.cgroup or found.began_as):
        return found
    left = found.replace(began_as="", cgroup="", unit="")
    state.save(left)  # before anybody else can have the name
    _free(found)
    return left


def _end_all(found: State, there: Layout) -> None:
    from lxcfs_py import registry

    if found.cgroup:
        _empty(found, there)
    else:
        _end(found)
    if places.registers(host()):  # afterwards: where its pid is not known, it is one whose process does not live
        registry.unregister(host(), found.key, found.pid, found.start_ticks)
    if NETWORK in found.annotations or not found.created_nsec:  # or nobody knows
        from runtime.network import connect

        connect.disconnect(found)


def _free(found: State) -> None:
    """Free the names it was started by, and had since."""
    if found.began_as:
        for directory in filter(None, (os.path.dirname(found.storage), os.path.dirname(found.directory))):
            claims.forget(directory, found.id)


def _empty(found: State, there: Layout) -> None:
    """Remove its cgroups, and what lives there."""
    if found.unit:
        _stop(found, there)
    try:
        control.remove(host(), there, found.cgroup, timeout=0)
    except Error:  # something lives there yet
        _kill(found, there)


def _end(found: State) -> None:
    """Kill the first process and wait for its end: the others of its pid namespace go with it."""
    if not found.pid:
        return
    from select import poll

    try:
        pidfd = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return
    try:
        if state.alive(found.pid, found.start_ticks):
            os.kill(found.pid, 9)
            waiting = poll()
            waiting.register(pidfd, 1)  # POLLIN
            if not waiting.poll(KILL_SECONDS * 1000):
                raise _stubborn(found)
    finally:
        os.close(pidfd)


def _stop(found: State, there: Layout) -> None:
    """End the scope: systemd would end what lives in it slowly, so that is killed before."""
    from runtime.systemd import bus, scope

    if control.members(there, found.cgroup) and not control.kill_all(host(), there, found.cgroup, KILL_SECONDS):
        raise _stubborn(found)
    try:
        scope.stop(found.unit)
    except bus.UnreachableError:  # a user's ends with its last session
        if control.directories(there, found.cgroup):
            raise


def _stubborn(found: State) -> Error:
    return Error(f"container {found.id!r}: its processes don't die", "they hang in the kernel; try again later")


def reset(found: State, there: Layout) -> None:
    """Remove what an ended container has left of its last run, so that it can be started again."""
    ended(found, there)
    for name in (state.EXIT, state.SOCKET, state.HOLDER):
        try:
            os.unlink(f"{found.directory}/{name}")
        except FileNotFoundError:
            continue


def _kill(found: State, there: Layout) -> None:
    if not control.kill_all(host(), there, found.cgroup, KILL_SECONDS):
        raise _stubborn(found)
    control.remove(host(), there, found.cgroup)


def _remove(found: State, *, volumes: bool) -> None:
    """Remove its files, and its anonymous volumes if asked; a user's have owners that are not the user itself."""

    def act() -> None:
        if volumes:
            from runtime.volumes import forget

            forget(os.path.dirname(os.path.dirname(found.storage)), found.storage, found.id)
        remove_tree(found.storage)

    if not places.rootless():
        act()
    elif os.path.isdir(found.storage):
        from runtime.process import rootless

        rootless.inside(act)


def cleanup(found: State, there: Layout | None = None, *, volumes: bool = False) -> None:
    """Remove the container altogether, its anonymous volumes too if asked; the caller holds its lock.

    Raises an Error if its processes don't die.
    """
    found = finding.whole(found)
    _end_all(found, there or places.layout(found.cgroup))
    if found.storage:
        _remove(found, volumes=volumes)
        _prune(os.path.dirname(found.storage))
    config = _config(found)
    if (rdt := (config.get("linux") or {}).get("intelRdt")) is not None:
        from runtime.process import resctrl

        resctrl.remove(rdt, found.key)
    poststop = config.get("hooks") or {}
    remove_tree(found.directory)
    _free(found)
    if poststop.get("poststop"):
        from runtime import log
        from runtime.lifecycle import oci
        from runtime.process import hooks

        hooks.each("poststop", poststop, oci.state(found, state.STOPPED), log.warning)


def finish(found: State, there: Layout) -> None:
    """Remove what an ended container has no use for: all of it, if it was run with --rm."""
    if found.remove:
        cleanup(found, there, volumes=True)
    else:
        ended(found, there)


def _config(found: State) -> dict[str, Any]:
    try:
        return state.config(found)
    except Error:  # it was given up before it was written
        return {}


def _prune(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        return


def sweep(root: str, storage: str) -> None:
    """Remove containers whose maker was killed: half made ones, and ended ones that were to be removed."""
    for path in claims.abandoned(root, time.time()):
        remove_tree(path)
    for path in claims.loose(root, time.time()):
        os.unlink(path)
    for id_ in claims.unsettled(root):
        try:
            held = state.lock(root, id_, wait=False)
        except (BlockingIOError, Error):
            continue
        try:
            try:
                found = state.load(root, id_)
                never = not found.started_nsec and (found.storage or not found.pid)  # an engine's is its to remove
                left = (never or found.remove) and state.status(root, found, locked=True) == state.STOPPED
            except Error:
                found, left = state.remains(root, storage, id_), not os.path.exists(f"{root}/{id_}/state.json")
                if left and os.path.exists(f"{found.storage}/{state.REQUEST}"):  # its name was to come back
                    found = found.replace(storage="")
            if left:
                cleanup(found, volumes=True)
        except (Error, OSError):  # somebody else's trouble must not stop this start; pyproc delete will say it
            continue
        finally:
            os.close(held)
