"""How long a detached container's log may become: ``--log-opt``, and the annotations it becomes."""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime import units
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_SIZE, MAX_FILE = "io.lxcfs-py.log.max-size", "io.lxcfs-py.log.max-file"
"""The annotations, in bytes and files."""
LEAST_BYTES = 1 << 16
"""What the holder reads at once: less would be passed by every piece."""
HINT = "there are max-size=10m and max-file=3"


class Rotation(Record):
    """A log of so many bytes becomes the first of so many files, the newest among them; 0 bytes: of any number."""

    bytes: int = 0
    files: int = 1


def said(texts: Iterable[str]) -> dict[str, str]:
    """Return what --log-opt becomes; raises an Error naming what is wrong."""
    found: dict[str, int] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in ("max-size", "max-file") or not equals:
            raise RunError(f"--log-opt {text!r}: unknown", HINT)
        found[key] = (units.size if key == "max-size" else units.count)(value, f"--log-opt {key}")
    if not found:
        return {}
    if found.get("max-size", LEAST_BYTES) < LEAST_BYTES:
        raise RunError(f"--log-opt max-size={found['max-size']}: less than one piece of a log", "give at least 64k")
    if "max-size" not in found:
        raise RunError(
            "--log-opt max-file without max-size: the log would never be full", "add --log-opt max-size=10m"
        )
    if found.get("max-file", 1) < 1:
        raise RunError("--log-opt max-file=0: the log is a file itself", "give at least 1")
    return {MAX_SIZE: str(found["max-size"]), MAX_FILE: str(found.get("max-file", 1))}


def rotation(annotations_: Mapping[str, str]) -> Rotation:
    """Return what a container was made with; what is no number there never was ours."""
    size, files = (annotations_.get(name, "") for name in (MAX_SIZE, MAX_FILE))
    if not (size.isdecimal() and files.isdecimal()):
        return Rotation()
    return Rotation(max(LEAST_BYTES, int(size)), max(1, int(files)))
