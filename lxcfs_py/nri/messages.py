"""The messages, by the numbers of their fields: ttrpc's requests, and those of NRI's pkg/api/api.proto (v1alpha1)."""

from __future__ import annotations

from lxcfs_py.nri import wire
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PACKAGE = "nri.pkg.api.v1alpha1"
PLUGIN, RUNTIME = f"{PACKAGE}.Plugin", f"{PACKAGE}.Runtime"
CREATE_CONTAINER = 4
"""The number of this event; those that are subscribed to are a mask in which event n is bit n - 1."""
HOOKS = {"createRuntime": 2, "createContainer": 3, "startContainer": 4, "poststart": 5, "poststop": 6}
"""The stages' numbers in a message of hooks."""
UNIMPLEMENTED = 12
"""gRPC's code for a method that is not known."""


class Request(Record):
    """A call of a method."""

    service: str
    method: str
    payload: bytes = b""


class Runtime(Record):
    """Who has called."""

    name: str
    version: str


def request(data: bytes) -> Request:
    """Read a request."""
    return Request(wire.text(data, 1), wire.text(data, 2), wire.content(data, 3))


def call(method: str, payload: bytes) -> bytes:
    """Return a request to the runtime."""
    return wire.message((1, RUNTIME), (2, method), (3, payload))


def reply(payload: bytes) -> bytes:
    """Return an answer to a request."""
    return wire.message((2, payload))


def refusal(code: int, why: str) -> bytes:
    """Return the answer that it can't be answered."""
    return wire.message((1, wire.message((1, code), (2, why))))


def refused(data: bytes) -> str:
    """Read why a request of ours failed, "" if it did not."""
    status = wire.content(data, 1)
    code = wire.number(status, 1)
    return (wire.text(status, 2) or f"code {code}") if code else ""


def registration(name: str, index: str) -> bytes:
    """Return who we are: RegisterPluginRequest."""
    return wire.message((1, name), (2, index))


def runtime(payload: bytes) -> Runtime:
    """Read a ConfigureRequest."""
    return Runtime(wire.text(payload, 2), wire.text(payload, 3))


def subscription(*events: int) -> bytes:
    """Return what we want to be asked about: ConfigureResponse."""
    return wire.message((2, sum(1 << event - 1 for event in events)))


def synchronized(payload: bytes) -> bytes:
    """Return the answer to what there is already: SynchronizeResponse; where more is to come, it may."""
    return wire.message((2, 1)) if wire.number(payload, 3) else b""


def notes(payload: bytes, annotation: str) -> tuple[str, str]:
    """Read a CreateContainerRequest: what the container's annotations say, and what its pod's, "" for nothing."""
    return wire.entry(wire.content(payload, 2), 6, annotation), wire.entry(wire.content(payload, 1), 6, annotation)


def _hook(hook: Mapping[str, Any]) -> bytes:
    words = [(number, word) for number, key in ((2, "args"), (3, "env")) for word in hook.get(key, ())]
    return wire.message((1, hook["path"]), *words, (4, wire.message((1, hook["timeout"]))))


def adjustment(hooks: Mapping[str, Mapping[str, Any]], annotations: Mapping[str, str]) -> bytes:
    """Return what is to be added to a container: CreateContainerResponse. ``hooks`` has one a stage."""
    noted = [(2, wire.message((1, key), (2, value))) for key, value in annotations.items()]
    hooked = [(5, wire.message(*((HOOKS[stage], _hook(hook)) for stage, hook in hooks.items())))] if hooks else []
    return wire.message((1, wire.message(*noted, *hooked)))
