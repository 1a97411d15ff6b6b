"""Labels and annotations: what a container's annotations say beside what the runtime itself writes there."""

from __future__ import annotations

from runtime.errors import RunError
from runtime.process import environment
from runtime.request import OWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runtime.command_line import Parsed

MEANT = (OWN, "io.pyproc.", "org.systemd.property.", "org.opencontainers.image.stopSignal")
"""What annotations that mean something to us, or to systemd, begin with: no image may say such a thing."""


def _pairs(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for said, text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise RunError(f"{said} {text!r}: it has no name", "write it as NAME=VALUE")
        if name.startswith(MEANT):
            raise RunError(f"{said} {text!r}: such names are the runtime's", "choose another")
        yield name, value


def labels(options: Parsed) -> dict[str, str]:
    """Return what --label-file and --label say, --label last."""
    files = (pair for path in options["label_file"] for pair in environment.lines(path, "--label-file"))
    return dict(_pairs((*files, *(("--label", text) for text in options["label"]))))


def notes(options: Parsed, of_image: Mapping[str, str]) -> dict[str, str]:
    """Return all of it: an image's labels, which give way to what is asked for."""
    allowed = {name: value for name, value in of_image.items() if not name.startswith(MEANT)}
    said = (("--annotation", text) for text in options["annotation"])
    return {**allowed, **labels(options), **dict(_pairs(said))}
