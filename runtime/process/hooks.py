"""OCI's hooks: programs that are run at fixed moments of a container's life (config.md, "POSIX-platform Hooks").

Each gets the container's state as JSON on its standard input and its own environment, nothing else; what it writes is
told if it fails. They run in order; the first that fails, or takes longer than its timeout, ends the stage.
"""

from __future__ import annotations

import os
import select

from lxcfs_py import json_text
from runtime.errors import RunError
from runtime.kernel import syscalls as sc
from runtime.process import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any
else:
    import _signal

SAID_BYTES = 4096
"""How much of a failing hook's output is told."""


def _spawn(hook: Mapping[str, Any], stdin: int, output: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for stream, descriptor in enumerate((stdin, output, output)):
            os.dup2(descriptor, stream)
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
            _signal.signal(number, _signal.SIG_DFL)
        sc.close_on_exec(3)
        environment = dict(item.partition("=")[::2] for item in hook.get("env", ()))
        os.execve(hook["path"], hook.get("args") or [hook["path"]], environment)
    except OSError as error:
        os.write(2, f"{hook['path']}: {error.strerror}".encode())
    finally:
        os._exit(127)


def run(stage: str, hook: Mapping[str, Any], state: bytes) -> None:
    """Run one hook; raises an Error saying what it did."""
    stdin, output = descriptors.memory(state), descriptors.memory()
    try:
        pid = _spawn(hook, stdin, output)
        pidfd = os.pidfd_open(pid)
        waiting = select.poll()
        waiting.register(pidfd, select.POLLIN)
        timeout = hook.get("timeout")
        late = not waiting.poll(None if timeout is None else timeout * 1000)
        if late:
            _signal.pidfd_send_signal(pidfd, 9)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = os.pread(output, SAID_BYTES, 0).decode("utf-8", "replace").strip().replace("\n", "; ")
    finally:
        os.close(stdin)
        os.close(output)
    if late:
        raise RunError(f"{stage} hook {hook['path']}: still running after {timeout} s, killed", "give it more time")
    if code:
        how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
        raise RunError(f"{stage} hook {hook['path']}: {how}{': ' if said else ''}{said}", "mend it, or leave it out")


def stage(name: str, hooks: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Run a stage's hooks in order; raises the Error of the first that fails."""
    several = hooks.get(name, ())
    data = json_text.dumps(dict(state)) if several else b""
    for hook in several:
        run(name, hook, data)


def each(name: str, hooks: Mapping[str, Any], state: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    """Run all of a stage's hooks, whatever becomes of them: ``warn`` is told of those that fail (poststop)."""
    several: Iterable[Mapping[str, Any]] = hooks.get(name, ())
    for hook in several:
        try:
            run(name, hook, json_text.dumps(dict(state)))
        except RunError as error:
            warn(str(error))
