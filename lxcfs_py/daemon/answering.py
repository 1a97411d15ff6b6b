"""Answers short questions over stream sockets, so that whoever asks slowly, much or forever holds up nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from lxcfs_py import log

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from trio.socket import SocketType

MOST_CONNECTIONS = 16
"""At a time; more wait in the kernel's queue."""
MOST_BYTES = 8192
"""Of one question."""
SECONDS = 5.0
"""For the question and the answer together."""
PAUSE_SECONDS = 0.2


class Asked(NamedTuple):
    """How questions end, what is answered, and whom (all, unless ``may`` refuses)."""

    end: bytes
    answer: Callable[[bytes], Awaitable[bytes]]
    may: Callable[[SocketType], bool] = lambda _connection: True


async def serve(listening: socket.socket, asked: Asked) -> None:
    """Answer one question a connection, until cancelled."""
    accepting = trio.socket.from_stdlib_socket(listening)
    free, limiter = trio.Semaphore(MOST_CONNECTIONS), log.Limiter()
    async with trio.open_nursery() as nursery:
        while True:
            await free.acquire()
            try:
                connection, _ = await accepting.accept()
            except OSError:  # no descriptor is free, or who connected has gone
                free.release()
                await trio.sleep(PAUSE_SECONDS)
                continue
            nursery.start_soon(_answer, connection, asked, free, limiter)


async def _answer(connection: SocketType, asked: Asked, free: trio.Semaphore, limiter: log.Limiter) -> None:
    try:
        with connection, trio.move_on_after(SECONDS):
            if not asked.may(connection):
                return
            question = b""
            while asked.end not in question and len(question) < MOST_BYTES:
                data = await connection.recv(MOST_BYTES - len(question))
                if not data:
                    break
                question += data
            stream = trio.SocketStream(connection)
            await stream.send_all(await asked.answer(question))
            await stream.send_eof()
            while await connection.recv(MOST_BYTES):  # closed with bytes unread, the answer would be thrown away
                pass
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):  # it has gone
        return
    except Exception as error:  # noqa: BLE001  (one answer's trouble is nobody else's)
        limiter.write(log.Line(log.cause(error), subject="status"))
    finally:
        free.release()
