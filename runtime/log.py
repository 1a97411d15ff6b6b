"""The log an engine reads: ``--log FILE``, with runc's records (level, msg, time) as text or JSON, a line each."""

from __future__ import annotations

import os
import time

from lxcfs_py import json_text
from lxcfs_py.errors import reason
from runtime import command_line, options
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class _Log:
    descriptor = -1
    json = debug = False


def configure(before: Sequence[str]) -> None:
    """Open the log that the options before the verb name; raises an Error naming the file."""
    if not before:
        return
    parsed = command_line.read("pyproc", (*options.COMMON, options.VERSION), before)
    _Log.json, _Log.debug = parsed["log_format"] == "json", parsed["debug"]
    if parsed["log"]:
        try:
            _Log.descriptor = os.open(parsed["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RunError(f"--log {reason(error)}", "name a file that can be written") from error


def record(level: str, text: str) -> None:
    """Add one record, whole; a log that can't be written is no reason to fail."""
    if _Log.descriptor < 0 or (level == "debug" and not _Log.debug):
        return
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if _Log.json:
        line = json_text.dumps({"level": level, "msg": text, "time": when})
    else:
        quoted = json_text.dumps(text)
        line = f'time="{when}" level={level} msg='.encode() + quoted
    try:
        os.write(_Log.descriptor, line + b"\n")
    except OSError:
        return


def warning(text: str) -> None:
    """Tell what did not work, and stops nothing."""
    os.write(2, f"pyproc: warning: {text}\n".encode("utf-8", "surrogateescape"))
    record("warning", text)
