"""What happens to containers, seen from outside: two looks at all of them differ by events.

Nobody need tell: who starts and ends containers may be an engine, or be killed. What begins and ends between two
looks, a hundredth of a second after the kernel says that something has changed, is not seen.
"""

from __future__ import annotations

import os
import select
import time

from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime import places, state
from runtime.kernel import inotify
from runtime.lifecycle import listing, oci, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout

LOOK_SECONDS = 0.5
"""How long a pause or a kill for lack of memory may go unseen: no file of ours changes."""
SETTLE_SECONDS = 0.01


class Seen(Record):
    """One container at one look."""

    status: str
    started_nsec: int = 0
    exit_code: int | None = None
    oom_kills: int = 0
    image: str = ""
    created_nsec: int = 0


class Event(Record):
    """Something that has happened, in Docker's words."""

    event: str
    container: str
    nsec: int
    attributes: Mapping[str, Any] = {}

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        about = {"time": oci.timestamp(self.nsec), "type": "container"}
        return {**about, "event": self.event, "id": self.container, "attributes": dict(self.attributes)}

    def keys(self) -> dict[str, Any]:
        """Return what a template can name, as Docker has it."""
        about = {"Time": self.nsec // 1_000_000_000, "TimeNano": self.nsec, "Type": "container", "Action": self.event}
        attributes = dict(self.attributes)
        who = {"ID": self.container, "Attributes": {"name": self.container, **attributes}}
        return {
            **about,
            "Status": self.event,
            "ID": self.container,
            "From": attributes.get("image", ""),
            "Actor": who,
        }

    def __str__(self) -> str:
        about = ", ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{oci.timestamp(self.nsec)} container {self.event} {self.container}" + (
            f" ({about})" if about else ""
        )


def _begun(before: Seen | None, after: Seen) -> Iterator[str]:
    """Yield what has led to what is seen now."""
    was = before.status if before is not None else ""
    began = before.started_nsec if before is not None else 0
    if before is None:
        yield "create"
    if after.started_nsec != began:
        if was in listing.LIVE:  # it has ended, too, and begun again
            yield "die"
        yield "start"
    if before is not None and after.oom_kills > before.oom_kills:
        yield "oom"
    if after.status == oci.PAUSED != was:
        yield "pause"
    if was == oci.PAUSED and after.status == state.RUNNING:
        yield "unpause"
    if after.status == state.STOPPED and (after.started_nsec != began or was not in (state.STOPPED, "")):
        yield "die"


def changes(before: Mapping[str, Seen], after: Mapping[str, Seen], nsec: int) -> list[Event]:
    """Return what happened between two looks."""
    found = []
    gone = {was.created_nsec: id_ for id_, was in before.items() if id_ not in after and was.created_nsec}
    old = {id_: gone.get(now.created_nsec, id_) for id_, now in after.items() if id_ not in before}
    for id_, now in after.items():
        about = {"image": now.image} if now.image else {}
        if id_ != old.get(id_, id_):
            found.append(Event("rename", id_, nsec, {**about, "oldName": old[id_]}))
        for word in _begun(before.get(old.get(id_, id_)), now):
            more = {"exitCode": now.exit_code} if word == "die" and now.exit_code is not None else {}
            found.append(Event(word, id_, nsec, {**about, **more}))
    for id_, was in before.items():
        if id_ not in after and id_ not in old.values():
            words = ("die", "destroy") if was.status in listing.LIVE else ("destroy",)
            found += [Event(word, id_, nsec, {"image": was.image} if was.image else {}) for word in words]
    return found


def look(root: str, there: Layout) -> dict[str, Seen]:
    """Return all containers that are whole; those in the making are not there yet."""
    found = {}
    for id_ in state.ids(root):
        try:
            container = state.load(root, id_)
            status = oci.status(root, container)
        except Error:
            continue
        if status != state.CREATING:
            code = outcome.of(container).exit_code if status == state.STOPPED else None
            kills = control.oom_kills(there, container.cgroup) if container.cgroup else 0
            found[id_] = Seen(
                status, container.started_nsec, code, kills, listing.image(container), container.created_nsec
            )
    return found


def past(root: str) -> list[Event]:
    """Return what is known to have happened, in order: of each container that is there the last of each kind."""
    found = []
    for each in listing.gather(root):
        about = {"image": each["image"]} if each["image"] else {}
        code = {} if each.get("exitCode") is None else {"exitCode": each["exitCode"]}
        for word, nsec in zip(("create", "start", "die"), each["_nsec"], strict=True):
            if nsec:
                found.append(Event(word, each["id"], nsec, {**about, **(code if word == "die" else {})}))
    return sorted(found, key=lambda event: event.nsec)


def watch(root: str, until_nsec: int | None = None) -> Iterator[Event]:
    """Yield what happens from now on, for ever or up to a time."""
    os.makedirs(root, mode=0o711, exist_ok=True)
    there, told = places.layout("/"), inotify.Watch()
    told.add(root, inotify.MOVED_TO | inotify.CREATE | inotify.DELETE)
    before = look(root, there)
    while True:
        for id_ in before:
            try:
                told.add(f"{root}/{id_}", inotify.MOVED_TO | inotify.MODIFY)
            except OSError:  # just removed
                continue
        left = LOOK_SECONDS if until_nsec is None else (until_nsec - time.time_ns()) / 1e9
        if left <= 0:
            return
        if select.select([told.descriptor], [], [], min(LOOK_SECONDS, left))[0]:
            time.sleep(SETTLE_SECONDS)  # several files change at once
            told.drain()
        after = look(root, there)
        yield from changes(before, after, time.time_ns())
        before = after
