"""What a list of containers says: their states in people's words, and which of them are asked for."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from runtime import listed, state
from runtime.config import joined
from runtime.errors import RunError
from runtime.lifecycle import oci, outcome
from runtime.request import NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.network.leases import Book

BROKEN = "broken"
"""The status of a container whose state can't be read."""
STATUSES = (state.CREATING, state.CREATED, state.RUNNING, oci.PAUSED, state.STOPPED, BROKEN)
LIVE = (state.CREATING, state.RUNNING, oci.PAUSED)
SPANS = (
    (1, "Less than a second", 0), (2, "1 second", 0), (60, "{} seconds", 1), (120, "About a minute", 0),
    (3600, "{} minutes", 60), (7200, "About an hour", 0), (48 * 3600, "{} hours", 3600),
    (14 * 86400, "{} days", 86400), (60 * 86400, "{} weeks", 7 * 86400), (730 * 86400, "{} months", 30 * 86400),
)  # fmt: skip
"""Below so many seconds it is called so, counted in units of so many; beyond that in years. Docker's words."""


def span(seconds: float) -> str:
    """Return a length of time in words."""
    for below, words, unit in SPANS:
        if seconds < below:
            return words.format(int(seconds // unit)) if unit else words
    return f"{int(seconds // (365 * 86400))} years"


def ago(date: str, now_seconds: float) -> str:
    """Return how long an RFC 3339 date is past, in words; "" where it is none."""
    from datetime import datetime

    try:
        return f"{span(now_seconds - datetime.fromisoformat(date).timestamp())} ago"
    except ValueError:
        return ""


def image(found: state.State) -> str:
    """Return the name or id of the image it is made of, "" for none."""
    name, id_ = _image(found)
    return name or id_[:12]


def _image(found: state.State) -> tuple[str, str]:
    """Return the name and the id of the image it is made of, each "" for none."""
    if not found.storage:
        return "", ""
    from runtime.images.resolve import USE

    try:
        with open(f"{found.storage}/{USE}", "rb") as file:
            about = json_text.loads(file.read())
        return str(about["name"] or ""), str(about["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def is_image(called: str, asked: str, id_: str = "") -> bool:
    """Say whether an image is the one asked for by its id, or by a name as people write it, with a tag or without."""
    from runtime.images import reference

    start = asked.removeprefix("sha256:")
    if len(start) >= 4 and set(start) <= reference.HEX and (id_ or called).startswith(start):
        return True
    try:
        one, other = reference.parse(called), reference.parse(asked)
    except RunError:
        return False
    return str(one) == str(other) if ":" in asked.rpartition("/")[2] else one.repository == other.repository


def describe(root: str, found: state.State) -> dict[str, Any]:
    """Return ``oci.describe``, the image, and when it began and ended ("" where it has not).

    ``_image`` is the image's id; ``_nsec`` has when it was made, began and ended (0: never), ``_state`` its state
    (None if that can't be read).
    """
    what = oci.describe(root, found)
    name, id_ = _image(found)
    ended = outcome.of(found).finished_nsec if what["status"] == state.STOPPED else 0
    begun = found.started_nsec
    return {
        **what,
        "image": name or id_[:12],
        "_image": id_,
        "started": oci.timestamp(begun) if begun else "",
        "finished": oci.timestamp(ended) if ended else "",
        "_nsec": (found.created_nsec, begun, ended),
        "_state": found,
    }


def sentence(found: Mapping[str, Any], now_nsec: int) -> str:
    """Return what Docker says of a container: ``Up 5 minutes (Paused)``, ``Exited (3) 2 hours ago``."""
    status, (_, begun, ended) = found["status"], found["_nsec"]
    if status in (state.RUNNING, oci.PAUSED):
        return f"Up {span((now_nsec - begun) / 1e9)}" + (" (Paused)" if status == oci.PAUSED else "")
    if status != state.STOPPED:
        return str(status).capitalize()
    code = found.get("exitCode", "?")
    return f"Exited ({code})" + (f" {span((now_nsec - ended) / 1e9)} ago" if ended else "")


def config(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a container's configuration, as much of it as can be read."""
    try:
        return state.config(found["_state"]) if found["_state"] is not None else {}
    except Error:
        return {}


def mounts(found: Mapping[str, Any]) -> list[str]:
    """Return the volumes and directories of the host it is shown, by name or path."""
    from runtime import volumes

    storage = os.path.dirname(os.path.dirname(found["_state"].storage)) if found["_state"] is not None else ""
    sources = [mount["source"] for mount in config(found).get("mounts", ()) if mount.get("type") == "bind"]
    return [volumes.name_of(storage, source) or source for source in sources]


def _mounted(found: Mapping[str, Any], value: str) -> bool:
    targets = [mount.get("destination") for mount in config(found).get("mounts", ()) if mount.get("type") == "bind"]
    return value in mounts(found) or value in targets


def mode(annotations: Mapping[str, str], about: Mapping[str, Any]) -> str:
    """Return what network it was to have: ``host``, ``none``, a network's name, ``container:NAME`` or a path."""
    spaces = [space for space in about.get("linux", {}).get("namespaces", ()) if space["type"] == "network"]
    if other := annotations.get(joined.JOINED["network"]):
        return f"{joined.OTHER}{other}"
    return spaces[0].get("path") or annotations.get(NETWORK, "none") if spaces else "host"


def networks(found: Mapping[str, Any], book: Book | None = None) -> list[str]:
    """Return the networks it is in, and what it was to have."""
    from runtime.network import told

    state_ = found["_state"]
    known = book if book is not None else told.book([state_] if state_ else ())
    there = told.settings(known, known.all_of(os.path.dirname(state_.directory), state_.key)) if state_ else {}
    return list(dict.fromkeys((*there.get("Networks", ()), mode(found["annotations"], config(found)))))


HEADINGS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED", "Status": "STATUS",
    "Ports": "PORTS", "Names": "NAMES", "CreatedAt": "CREATED AT", "State": "STATE", "Pid": "PID",
    "ExitCode": "EXIT CODE", "Labels": "LABELS", "Label": "", "Mounts": "MOUNTS", "Networks": "NETWORKS",
}  # fmt: skip
CONTAINERS = listed.Listing(
    HEADINGS,
    ("ID", "Image", "Command", "RunningFor", "Status", "Ports"),
    {
        "id": lambda found, value: found["id"].startswith(value),
        "name": lambda found, value: value in found["id"],
        "status": lambda found, value: found["status"] == (state.STOPPED if value == "exited" else value),
        "exited": lambda found, value: str(found.get("exitCode")) == value,
        "ancestor": lambda found, value: is_image(found["image"], value, found["_image"]),
        "label": lambda found, value: listed.labelled(found["annotations"], value),
        "volume": _mounted,
        "network": lambda found, value: value in networks(found),
        "before": lambda found, value: found["_nsec"][0] < int(value),
        "since": lambda found, value: found["_nsec"][0] > int(value),
    },
    {
        "created": lambda found: found["_nsec"][0],
        "id": lambda found: found["id"],
        "image": lambda found: found["image"],
        "command": lambda found: found["command"],
        "status": lambda found: found["status"],
        "pid": lambda found: found["pid"],
    },
    {"status": (*STATUSES, "exited")},
    "ID",
    "ids",
)
SHORT = 20
"""How many letters of a command are shown."""


class Rows:
    """What is shown of containers, as Docker has it."""

    def __init__(self, root: str, found: Sequence[Mapping[str, Any]], now_nsec: int, *, whole: bool) -> None:
        self.root, self.found, self.now, self.whole = root, found, now_nsec, whole
        self.known: Book | None = None

    def book(self) -> Book:
        """Return the leases of all of them, read once."""
        from runtime.network import told

        if self.known is None:
            self.known = told.book(each["_state"] for each in self.found if each["_state"])
        return self.known

    def row(self, found: Mapping[str, Any]) -> listed.Lazy:
        """Return what there is of one of them, by ``HEADINGS``."""
        from runtime.network import told

        created, labels = found["_nsec"][0], found["annotations"]
        key = found["id"] if found["_state"] is None else found["_state"].key
        command = " ".join(found["command"])
        short = command if self.whole or len(command) <= SHORT else f"{command[: SHORT - 1]}…"
        return listed.Lazy(
            {
                "ID": lambda: found["id"],
                "Image": lambda: found["image"],
                "Command": lambda: f'"{short}"',
                "RunningFor": lambda: f"{span((self.now - created) / 1e9)} ago" if found["created"] else "",
                "Status": lambda: sentence(found, self.now),
                "Ports": lambda: told.arrows(self.book().all_of(self.root, key)),
                "Names": lambda: found["id"],
                "CreatedAt": lambda: found["created"],
                "State": lambda: "exited" if found["status"] == state.STOPPED else found["status"],
                "Pid": lambda: found["pid"],
                "ExitCode": lambda: found.get("exitCode"),
                "Labels": lambda: listed.pairs(labels),
                "Label": lambda: labels,
                "Mounts": lambda: ",".join(mounts(found)),
                "Networks": lambda: ",".join(networks(found, self.book())),
            }
        )


def _placed(asked: listed.Asked, found: Sequence[Mapping[str, Any]]) -> listed.Asked:
    """Return the filters with the times at which the containers were made that ``before`` and ``since`` name."""
    times = {each["id"]: each["_nsec"][0] for each in found}
    for key, value in asked:
        if key in ("before", "since") and value not in times:
            raise state.missing(value)
    return [(key, str(times[value]) if key in ("before", "since") else value) for key, value in asked]


def gather(root: str, storage: str = "", asked: listed.Asked = ()) -> list[dict[str, Any]]:
    """Return every container that is asked for as JSON values; one whose state can't be read is ``broken``.

    With ``storage`` those are found, too, that were there before the host was started again.
    """
    if storage:
        from runtime.lifecycle import again

        again.revive(root, storage)
    found = []
    for id_ in state.ids(root):
        try:
            found.append(describe(root, state.load(root, id_)))
        except Error:
            if state.exists(root, id_):  # else it was removed while we looked
                found.append(
                    {
                        "id": id_, "pid": 0, "status": BROKEN, "created": "", "command": [], "image": "",
                        "_image": "", "bundle": f"{root}/{id_}", "annotations": {}, "_nsec": (0, 0, 0),
                        "_state": None,
                    }
                )  # fmt: skip
    placed = _placed(asked, found)
    return [each for each in found if CONTAINERS.fits(each, placed)]
