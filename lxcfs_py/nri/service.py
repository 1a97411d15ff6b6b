"""``lxcfs-py nri``: speaks to a runtime, for ever; or as the runtime's own child, until that ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from lxcfs_py import log, oci, sockets
from lxcfs_py.daemon.notify import notify
from lxcfs_py.errors import Error, reason
from lxcfs_py.nri import frames, plugin
from lxcfs_py.nri.wire import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

SOCKET = "/var/run/nri/nri.sock"
NAME, INDEX = "lxcfs-py", "10"
"""By what runtimes know us, and when among other plugins it is our turn."""
VARIABLES = "NRI_PLUGIN_NAME", "NRI_PLUGIN_IDX", "NRI_PLUGIN_SOCKET"
"""What a runtime tells the plugins that it starts itself: the last is a descriptor's number."""
WAIT_SECONDS = 5.0
"""How long a runtime may take to register us, or to read an answer."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
"""Between attempts: the first, as long as nobody listens; up to the second if a runtime does, and won't keep us."""
CHUNK = 1 << 16


def attend(
    connection: socket.socket, identity: tuple[str, str], hook: Mapping[str, Any], registered: Callable[[], None]
) -> None:
    """Register and answer until the runtime hangs up; raises an Error, Malformed or OSError for any other end."""
    reader, waiting = frames.Reader(), True
    connection.settimeout(WAIT_SECONDS)
    connection.sendall(frames.pack(plugin.greeting(*identity)))
    while True:
        if not select.select([connection], [], [], WAIT_SECONDS if waiting else None)[0]:
            raise Error(f"the runtime has not registered us within {WAIT_SECONDS:g} s", "see its log")
        data = connection.recv(CHUNK)
        if not data:
            return
        for frame in reader.feed(data):
            answer = plugin.answer(frame, hook)
            connection.sendall(answer.data)
            if answer.line:
                log.write(answer.line)
            if answer.registered and waiting:
                waiting = False
                registered()


class _Service:
    """One that connects again whenever the runtime was away. Changes are logged, not each attempt."""

    def __init__(self, path: str, identity: tuple[str, str], hook: Mapping[str, Any]) -> None:
        self.path, self.identity, self.hook = path, identity, hook
        self.last = ""

    def say(self, text: str) -> None:
        """Log what has changed, and tell systemd, for which an attempt is enough: no boot waits for a runtime."""
        text = " ".join(text.split())  # a runtime's words may have several lines
        if text != self.last:
            log.write(text)
            notify(f"READY=1\nSTATUS={text}")
            self.last = text

    def once(self) -> bool:
        """Speak to the runtime until that fails; return whether it was there and would not keep us for long."""
        began = time.monotonic()
        try:
            connection = sockets.connect(self.path, WAIT_SECONDS)
        except OSError as error:
            self.say(f"{reason(error)}: no runtime listens at {self.path}; enable NRI in its configuration")
            return False
        with connection:
            try:
                attend(connection, self.identity, self.hook, lambda: self.say(f"registered at {self.path}"))
                self.say(f"the runtime at {self.path} has hung up")
            except (Error, Malformed, OSError) as error:
                self.say(f"{self.path}: {reason(error) if isinstance(error, OSError) else error}")
        return time.monotonic() - began < LONGEST_PAUSE_SECONDS

    def run(self) -> None:
        """Go on for ever."""
        pause = PAUSE_SECONDS
        while True:
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS) if self.once() else PAUSE_SECONDS
            time.sleep(pause)


def main(program: str, path: str = SOCKET) -> int:
    """Be the plugin; ``program`` is where ``lxcfs-py`` is. Returns the exit code if the runtime has started it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    name, index, descriptor = (os.environ.get(variable, "") for variable in VARIABLES)
    identity, hook = (name or NAME, index or INDEX), oci.hook(program)
    if not descriptor:
        _Service(path, identity, hook).run()
    try:
        with socket.socket(fileno=int(descriptor)) as connection:
            connection.set_inheritable(False)
            attend(connection, identity, hook, lambda: None)
    except (Error, Malformed, OSError, ValueError) as error:
        log.write(f"descriptor {descriptor}, by {VARIABLES[2]}: {error}")
        return 1
    return 0
