"""The one exception a person gets to see."""

from __future__ import annotations


class Error(Exception):
    """Something a person caused or can mend: what failed, on which path or value, and what to do.

    Raised once where it fails; printed, and turned into ``exit_code``, in a ``cli`` module only.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


def reason(error: OSError) -> str:
    """Return an OSError as people read it: ``/path: No such file or directory``."""
    text = error.strerror or str(error)
    name = error.filename
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    return f"{name}: {text}" if name else text
