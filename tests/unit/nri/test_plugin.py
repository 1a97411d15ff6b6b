"""What the plugin answers to what a real containerd said, and to what none would say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import oci
from lxcfs_py.errors import Error
from lxcfs_py.nri import frames, messages, plugin, wire
from lxcfs_py.nri.frames import Frame
from lxcfs_py.nri.wire import Malformed

HEARD = Path(__file__).with_name("containerd-1.7.24").read_bytes()
"""All that containerd sent from registration on: two containers were created, whose pods say ``off`` and nothing."""
DECLARED = json.loads((Path(__file__).parents[3] / "deploy/oci/hooks.d/50-lxcfs-py.json").read_text())
HOOK = oci.hook("/usr/local/bin/lxcfs-py")


def answered(frame: Frame) -> bytes:
    """Return what is answered to a request, b"" for nothing."""
    (found,) = frames.Reader().feed(plugin.answer(frame, HOOK).data)
    assert (found.connection, found.stream, found.kind) == (frames.PLUGIN, frame.stream, frames.RESPONSE)
    assert not messages.refused(found.data)
    return wire.content(found.data, 2)


def asking(method: str, payload: bytes = b"", service: str = messages.PLUGIN) -> Frame:
    """Return a request."""
    return Frame(frames.PLUGIN, 9, frames.REQUEST, wire.message((1, service), (2, method), (3, payload), (4, 10**9)))


def hooks(response: bytes) -> dict[str, list[dict[str, Any]]]:
    """Read the hooks of a CreateContainerResponse, as config.json has them."""
    stages = {number: stage for stage, number in messages.HOOKS.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for key, value in wire.fields(wire.content(wire.content(response, 1), 5)):
        assert isinstance(value, bytes)
        words: dict[int, list[str]] = {}
        for number, word in wire.fields(value):
            assert isinstance(word, bytes)
            words.setdefault(number, []).append(word.decode())
        hook = {"path": words[1][0], "args": words[2], "timeout": wire.number(wire.content(value, 4), 1)}
        found.setdefault(stages[key], []).append({**hook, **({"env": words[3]} if 3 in words else {})})
    return found


def creation(pod: str = "", container: str = "") -> bytes:
    """Return a CreateContainerRequest with annotations."""
    noted = [(6, wire.message((1, "a"), (2, "b")))]
    pods, own = (
        wire.message(*noted, *([(6, wire.message((1, oci.ANNOTATION), (2, value)))] if value else []))
        for value in (pod, container)
    )
    return wire.message((1, pods), (2, own))


def test_a_conversation() -> None:
    """A real containerd's requests are answered as it wants them."""
    registered, configure, synchronize, off, plain = frames.Reader().feed(HEARD)
    assert plugin.answer(registered, HOOK) == plugin.Answer()
    assert answered(configure) == wire.message((2, 0b1000))
    assert plugin.answer(configure, HOOK).line.startswith("containerd 1.7.24")
    assert answered(synchronize) == b""
    assert plugin.answer(synchronize, HOOK).registered
    assert wire.entry(wire.content(answered(off), 1), 2, oci.ANNOTATION) == "off"
    assert hooks(answered(off)) == {}
    assert hooks(answered(plain)) == {stage: [DECLARED["hook"]] for stage in DECLARED["stages"]}


@given(st.lists(st.integers(0, len(HEARD)), max_size=20))
def test_any_pieces(cuts: list[int]) -> None:
    """However the bytes are cut, the messages are the same."""
    reader, at = frames.Reader(), sorted(cuts)
    pieces = [HEARD[begin:end] for begin, end in zip([0, *at], [*at, len(HEARD)], strict=True)]
    assert [frame for piece in pieces for frame in reader.feed(piece)] == frames.Reader().feed(HEARD)


@pytest.mark.parametrize(
    ("pod", "container", "expected"),
    [
        ("", "", {}),
        ("require", "", {"io.lxcfs-py.view": "require"}),
        ("reqire", "", {"io.lxcfs-py.view": "reqire"}),
        ("off", "require", {}),
        ("require", "auto", {}),
        ("x" * 10**5, "", {"io.lxcfs-py.view": "x" * 100}),
    ],
)
def test_annotations(pod: str, container: str, expected: dict[str, str]) -> None:
    """A pod's is handed on to its container, which may have its own."""
    found = answered(asking("CreateContainer", creation(pod, container)))
    assert list(hooks(found)) == DECLARED["stages"]
    adjusted = wire.content(found, 1)
    assert {key: value for key in (oci.ANNOTATION, "a") if (value := wire.entry(adjusted, 2, key))} == expected


@pytest.mark.parametrize(("pod", "container", "told"), [("off", "", "off"), ("", "off", ""), ("require", "off", "")])
def test_off(pod: str, container: str, told: str) -> None:
    """A container that wants none has no hook; its runtime, which may be pyproc, is told what its pod says."""
    found = wire.content(answered(asking("CreateContainer", creation(pod, container))), 1)
    assert [key for key, _ in wire.fields(found)] == ([2] if told else [])
    assert wire.entry(found, 2, oci.ANNOTATION) == told


def test_the_hooks_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """With registrations elsewhere the hook is told where."""
    monkeypatch.setenv("LXCFS_PY_RUNTIME_DIR", "/x")
    data = plugin.added(creation(), oci.hook("/bin/lxcfs-py"))
    assert [each["env"] for each in hooks(data)["poststop"]] == [["LXCFS_PY_RUNTIME_DIR=/x"]]


def test_a_part_of_what_there_is() -> None:
    """A runtime with many containers tells of them in parts; the last one ends the registration."""
    found = plugin.answer(asking("Synchronize", wire.message((3, 1))), HOOK)
    assert not found.registered
    assert wire.content(frames.Reader().feed(found.data)[0].data, 2) == wire.message((2, 1))


@pytest.mark.parametrize(
    "frame", [asking("Levitate"), asking("Configure", service="grpc.health.v1.Health"), asking("", service="")]
)
def test_unknown(frame: Frame) -> None:
    """A method or service that is not known is refused as such."""
    (found,) = frames.Reader().feed(plugin.answer(frame, HOOK).data)
    assert wire.number(wire.content(found.data, 1), 1) == messages.UNIMPLEMENTED
    assert messages.refused(found.data).startswith("no ")


@pytest.mark.parametrize("payload", [b"\xff", b"\x0a\x7f", b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f", HEARD[:500]])
def test_what_cannot_be_read(payload: bytes) -> None:
    """A container starts also if its request can't be read; the log says so."""
    found = plugin.answer(asking("CreateContainer", payload), HOOK)
    assert found.line.startswith("CreateContainer: ")
    assert answered(asking("CreateContainer", payload)) == b""


@pytest.mark.parametrize(
    "frame",
    [
        Frame(frames.PLUGIN, 1, frames.RESPONSE),
        Frame(frames.PLUGIN, 1, 3),
        Frame(frames.RUNTIME, 1, frames.REQUEST),
        Frame(frames.PLUGIN, 1, frames.REQUEST, b"\xff"),
        Frame(frames.RUNTIME, 1, frames.RESPONSE, b"\xff"),
    ],
)
def test_what_cannot_be_answered(frame: Frame) -> None:
    """What can't even be refused ends the connection."""
    with pytest.raises(Malformed):
        plugin.answer(frame, HOOK)


def test_refused() -> None:
    """A runtime that won't have us says why."""
    frame = Frame(frames.RUNTIME, 1, frames.RESPONSE, messages.refusal(2, "invalid plugin index"))
    with pytest.raises(Error, match="invalid plugin index"):
        plugin.answer(frame, HOOK)


def test_greeting() -> None:
    """The plugin names itself and its turn."""
    greeting = plugin.greeting("lxcfs-py", "10")
    request = messages.request(greeting.data)
    assert (request.service, request.method) == ("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin")
    assert (wire.text(request.payload, 1), wire.text(request.payload, 2)) == ("lxcfs-py", "10")
    assert (greeting.connection, greeting.stream % 2) == (frames.RUNTIME, 1)


@pytest.mark.parametrize("size", [0, 4096 - 10, 4096, 10**5, frames.MOST])
def test_frames(size: int) -> None:
    """No piece is longer than a runtime's buffer, and they make the whole again."""
    frame = Frame(frames.PLUGIN, 7, frames.RESPONSE, b"x" * size)
    data, at = frames.pack(frame), 0
    assert frames.Reader().feed(data) == [frame]
    while at < len(data):
        length = frames.PIECES.unpack_from(data, at)[1]
        assert 0 < length <= 4096
        at += frames.PIECES.size + length


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (frames.PIECES.pack(frames.PLUGIN, 0xFFFF_FFFF), "a piece of 4294967295 bytes"),
        (
            frames.PIECES.pack(frames.PLUGIN, 10) + frames.MESSAGES.pack(frames.MOST + 1, 1, 1, 0),
            "a message of 4194305",
        ),
    ],
)
def test_lengths(data: bytes, why: str) -> None:
    """Lengths that no message has are not waited for."""
    with pytest.raises(Malformed, match=why):
        frames.Reader().feed(data)


def test_connections_of_others() -> None:
    """What is sent on connections that are not ours is nobody's, and not kept."""
    reader = frames.Reader()
    assert reader.feed(frames.PIECES.pack(7, 3) + b"abc" + HEARD) == frames.Reader().feed(HEARD)
