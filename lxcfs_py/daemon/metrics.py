"""The status as Prometheus' text, and the HTTP that scrapers ask for it.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from lxcfs_py import sockets
from lxcfs_py.counters import BUCKETS
from lxcfs_py.daemon import answering
from lxcfs_py.errors import Error, reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

UNIX = "unix:"
PATHS = ("/", "/metrics")
TYPE = "text/plain; version=0.0.4; charset=utf-8"

WORKER = (
    ("requests", "counter", "Requests it has taken up."),
    ("errors", "counter", "Requests it answered with an error."),
    ("fallbacks", "counter", "Reads it answered with the host's file because the container's could not be made."),
    ("starts", "counter", "How often one of its number was started."),
    ("age_seconds", "gauge", "Since it was started."),
    ("busy_usec", "gauge", "For how long it has been at its request, 0 when idle."),
)
"""What of each worker is told, under its name in the status."""


def listen(address: str) -> sockets.Listening:
    """Return a socket for ``HOST:PORT`` or ``unix:PATH``; raises an Error."""
    try:
        if address.startswith(UNIX):
            return sockets.listen(os.path.abspath(address.removeprefix(UNIX)))
        name, _, port = address.rpartition(":")
        if not name or not port.isdecimal() or not port.isascii() or int(port) > 0xFFFF:
            raise Error(f"--metrics {address!r}: not an address", "name HOST:PORT or unix:/PATH")
        host = name.removeprefix("[").removesuffix("]")
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return sockets.Listening(socket.create_server((host, int(port)), family=family))
    except OSError as error:
        raise Error(f"--metrics {address}: {reason(error)}", "name a free address of this host") from None


async def serve(listening: sockets.Listening, get: Callable[[], Awaitable[dict[str, Any]]]) -> None:
    """Answer scrapers with what ``get`` returns, as text."""

    async def answer(question: bytes) -> bytes:
        method, _, rest = question.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        if method not in (b"GET", b"HEAD"):
            return _reply("405 Method Not Allowed", "GET is all there is\n", method)
        if path not in PATHS:
            return _reply("404 Not Found", "there is /metrics\n", method)
        return _reply("200 OK", text(await get()), method)

    listening.socket.setblocking(False)
    await answering.serve(listening.socket, answering.Asked(b"\r\n\r\n", answer))


def _reply(status: str, body: str, method: bytes) -> bytes:
    data = body.encode()
    head = f"HTTP/1.0 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else data)


def text(found: dict[str, Any]) -> str:
    """Return the status as Prometheus' text."""
    return "".join(f"{line}\n" for line in _lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    about = {"version": found["version"], "mountpoint": found["mountpoint"]}
    yield from _metric("info", "gauge", "Which daemon this is.", [(about, 1)])
    for name, kind, what in WORKER:
        rows = [
            ({"worker": row["number"]}, row[name] / (1e6 if name == "busy_usec" else 1)) for row in found["workers"]
        ]
        suffix = "_total" if kind == "counter" else ""
        yield from _metric(f"worker_{name.replace('_usec', '_seconds')}{suffix}", kind, what, rows)
    ages = [({"process": name}, found[name]["age_seconds"]) for name in ("supervisor", "agent") if found[name]]
    yield from _metric("process_age_seconds", "gauge", "Since it was started; the agent answers trapped calls.", ages)
    yield from _histogram(found["files"])
    reads = [({"container": row["id"]}, row["reads"]) for row in found["containers"]]
    yield from _metric("container_reads_total", "counter", "Reads by registered containers.", reads)
    for name, kind, what, value in (
        (
            "other_reads_total",
            "counter",
            "Reads by containers that are not registered, or no more.",
            found["others"]["reads"],
        ),
        ("host_reads_total", "counter", "Reads by the host's processes.", found["host_reads"]),
        ("containers", "gauge", "Registered containers.", len(found["containers"])),
        ("seccomp_listeners", "gauge", "Filters whose calls are answered.", found["seccomp_listeners"]),
        ("triggers", "gauge", "Pressure triggers that are set.", found["triggers"]),
        ("log_lines_total", "counter", "Lines written to the log.", found["log"]["written"]),
        ("log_lines_left_out_total", "counter", "Lines like one of the same minute.", found["log"]["left_out"]),
    ):
        yield from _metric(name, kind, what, [({}, value)])


def _metric(name: str, kind: str, what: str, samples: Iterable[tuple[dict[str, Any], float]]) -> Iterator[str]:
    yield f"# HELP lxcfs_py_{name} {what}"
    yield f"# TYPE lxcfs_py_{name} {kind}"
    for labels, value in samples:
        yield f"lxcfs_py_{name}{_labels(labels)} {value!r}"


def _histogram(files: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield from _metric("read_seconds", "histogram", "How long a worker takes to make a file's text.", ())
    for file, times in files.items():
        below = 0
        for number, count in enumerate(times["buckets"]):
            below += count
            most = repr((1 << number) / 1e6) if number < BUCKETS - 1 else "+Inf"
            yield f"lxcfs_py_read_seconds_bucket{_labels({'file': file, 'le': most})} {below}"
        yield f"lxcfs_py_read_seconds_sum{_labels({'file': file})} {times['sum_usec'] / 1e6!r}"
        yield f"lxcfs_py_read_seconds_count{_labels({'file': file})} {below}"


def _labels(labels: dict[str, Any]) -> str:
    words = (f'{name}="{_escaped(str(value))}"' for name, value in labels.items())
    return f"{{{','.join(words)}}}" if labels else ""


def _escaped(value: str) -> str:
    plain = value.encode("utf-8", "replace").decode()
    return plain.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
