"""What the plugin says, and what it answers: decided here, sent by ``service``."""

from __future__ import annotations

from lxcfs_py import oci
from lxcfs_py.errors import Error
from lxcfs_py.nri import frames, messages
from lxcfs_py.nri.frames import Frame
from lxcfs_py.nri.wire import Malformed
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LONGEST = 100
"""How much of an annotation that is none of the known values is handed on, for the hook to complain of."""


class Answer(Record):
    """What to send, b"" for nothing; what to log; and whether this ends the runtime's questions about us."""

    data: bytes = b""
    line: str = ""
    registered: bool = False


def greeting(name: str, index: str) -> Frame:
    """Return what is said first."""
    called = messages.call("RegisterPlugin", messages.registration(name, index))
    return Frame(frames.RUNTIME, 1, frames.REQUEST, called)


def added(payload: bytes, hook: Mapping[str, Any]) -> bytes:
    """Return what a container gets: the hook; and the pod's annotation, which a runtime class may not let through.

    Also ``off`` is handed on: the runtime may be one that gives the view by itself.
    """
    own, pods = messages.notes(payload, oci.ANNOTATION)
    stages = () if (own or pods) == oci.OFF else oci.STAGES
    handed_on = {oci.ANNOTATION: pods[:LONGEST]} if pods and not own else {}
    return messages.adjustment(dict.fromkeys(stages, hook), handed_on)


def _answer(request: messages.Request, hook: Mapping[str, Any]) -> Answer:
    """Answer a request; raises Malformed."""
    if request.service != messages.PLUGIN:
        return Answer(messages.refusal(messages.UNIMPLEMENTED, f"no service {request.service}"))
    if request.method == "Configure":
        runtime = messages.runtime(request.payload)
        subscribed = messages.reply(messages.subscription(messages.CREATE_CONTAINER))
        return Answer(subscribed, f"{runtime.name} {runtime.version} asks what to add to its containers")
    if request.method == "Synchronize":
        payload = messages.synchronized(request.payload)
        return Answer(messages.reply(payload), registered=not payload)
    if request.method == "CreateContainer":
        return Answer(messages.reply(added(request.payload, hook)))
    if request.method == "Shutdown":
        return Answer(messages.reply(b""))
    return Answer(messages.refusal(messages.UNIMPLEMENTED, f"no method {request.method}"))


def answer(frame: Frame, hook: Mapping[str, Any]) -> Answer:
    """Answer a frame; raises an Error if the runtime won't have us, Malformed for what can't even be refused.

    A container whose request can't be read starts without the view: an error here would be an error of its start.
    """
    if (frame.connection, frame.kind) == (frames.RUNTIME, frames.RESPONSE):
        if why := messages.refused(frame.data):
            raise Error(f"the runtime takes no plugin: {why}", "see its log")
        return Answer()
    if (frame.connection, frame.kind) != (frames.PLUGIN, frames.REQUEST):
        raise Malformed(f"a message of kind {frame.kind} on connection {frame.connection}")
    request = messages.request(frame.data)
    try:
        found = _answer(request, hook)
    except Malformed as error:
        found = Answer(messages.reply(b""), f"{request.method}: {error}; nothing is added")
    return found.replace(data=frames.pack(Frame(frames.PLUGIN, frame.stream, frames.RESPONSE, found.data)))
