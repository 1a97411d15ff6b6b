"""What a list of containers says: their states in people's words, and which of them are asked for."""

from __future__ import annotations

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from runtime import state
from runtime.errors import RunError
from runtime.lifecycle import oci, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

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


def image(found: state.State) -> str:
    """Return the name or id of the image it is made of, "" for none."""
    if not found.storage:
        return ""
    from runtime.images.resolve import USE

    try:
        with open(f"{found.storage}/{USE}", "rb") as file:
            about = json_text.loads(file.read())
        return str(about["name"] or about["id"][:12])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def describe(root: str, found: state.State) -> dict[str, Any]:
    """Return ``oci.describe``, the image, and when it began and ended ("" where it has not)."""
    what = oci.describe(root, found)
    ended = outcome.of(found).finished_nsec if what["status"] == state.STOPPED else 0
    begun = found.started_nsec
    return {
        **what,
        "image": image(found),
        "started": oci.timestamp(begun) if begun else "",
        "finished": oci.timestamp(ended) if ended else "",
        "nsec": (found.created_nsec, begun, ended),
    }


def sentence(found: dict[str, Any], now_nsec: int) -> str:
    """Return what Docker says of a container: ``Up 5 minutes (Paused)``, ``Exited (3) 2 hours ago``."""
    status, (_, begun, ended) = found["status"], found["nsec"]
    if status in (state.RUNNING, oci.PAUSED):
        return f"Up {span((now_nsec - begun) / 1e9)}" + (" (Paused)" if status == oci.PAUSED else "")
    if status != state.STOPPED:
        return str(status).capitalize()
    code = found.get("exitCode", "?")
    return f"Exited ({code})" + (f" {span((now_nsec - ended) / 1e9)} ago" if ended else "")


def filters(asked: Iterable[str], known: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return pairs of key and value; raises an Error for one that is not ``known``, of containers by default."""
    known = known or FILTERS
    found = []
    for text in asked:
        key, equals, value = text.partition("=")
        if key not in known or not equals:
            raise RunError(f"--filter {text!r}: unknown", f"write KEY=VALUE; the keys are {', '.join(known)}")
        if key == "status" and value not in (*STATUSES, "exited"):
            raise RunError(f"--filter {text!r}: no such status", f"choose from {', '.join(STATUSES)}")
        found.append((key, value))
    return tuple(found)


def labelled(labels: Mapping[str, str], value: str) -> bool:
    """Say whether a label is there, and has the value that is named."""
    key, equals, wanted = value.partition("=")
    there = labels.get(key)
    return there is not None and (not equals or there == wanted)


FILTERS: Mapping[str, Callable[[dict[str, Any], str], bool]] = {
    "id": lambda found, value: found["id"].startswith(value),
    "name": lambda found, value: value in found["id"],
    "status": lambda found, value: found["status"] == (state.STOPPED if value == "exited" else value),
    "exited": lambda found, value: str(found.get("exitCode")) == value,
    "ancestor": lambda found, value: value in (found["image"], found["image"].rpartition(":")[0]),
    "label": lambda found, value: labelled(found["annotations"], value),
}
"""What can be asked of a container, by key."""


def matches(
    found: dict[str, Any],
    asked: Sequence[tuple[str, str]],
    known: Mapping[str, Callable[[dict[str, Any], str], bool]] = FILTERS,
) -> bool:
    """Say whether something is asked for, by default a container: one value of each key must fit, as with Docker."""
    keys = {key for key, _ in asked}
    return all(any(known[key](found, value) for other, value in asked if other == key) for key in keys)


def gather(root: str, storage: str = "", asked: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
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
                        "bundle": f"{root}/{id_}", "annotations": {}, "nsec": (0, 0, 0),
                    }
                )  # fmt: skip
    return [each for each in found if matches(each, asked)]


def plain(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return them as they are printed."""
    return [{key: value for key, value in each.items() if key != "nsec"} for each in found]
