"""Errors of the runtime, with the exit codes Docker gives them."""

from __future__ import annotations

from lxcfs_py.errors import Error, reason

NOT_EXECUTABLE = 126
NOT_FOUND = 127


class RunError(Error):
    """The container could not be started as asked: exit code 125, as Docker's and Podman's."""

    exit_code = 125


def said(error: OSError) -> str:
    """Return an OSError's text as engines look for it: ``no such file or directory``, in small letters."""
    text = error.strerror or reason(error)
    return text[:1].lower() + text[1:]
