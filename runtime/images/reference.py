"""The names of images, as Docker reads them: ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``."""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime.errors import RunError

LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
WORD = LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")
HEX = frozenset("0123456789abcdef")
DEFAULT_HOST, DEFAULT_TAG, OFFICIAL = "docker.io", "latest", "library/"
MAX_NAME, MAX_TAG = 255, 128


class Reference(Record):
    """A name, complete: with its registry, and a tag or a digest."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""
    """``sha256:HEX`` or ""; with one the tag only tells people what it was."""

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return f"{self.host}/{self.path}"

    @property
    def familiar(self) -> str:
        """The repository as people write it: ``busybox`` for ``docker.io/library/busybox``."""
        return self.repository.removeprefix(f"{DEFAULT_HOST}/{OFFICIAL}").removeprefix(f"{DEFAULT_HOST}/")

    def __str__(self) -> str:
        tag, digest = self.tag and f":{self.tag}", self.digest and f"@{self.digest}"
        return f"{self.repository}{tag}{digest}"


def is_digest(text: object) -> bool:
    """Say whether it is a digest we can verify."""
    return isinstance(text, str) and text[:7] == "sha256:" and len(text) == 71 and set(text[7:]) <= HEX


def _is_component(text: str) -> bool:
    """Say whether it is letters and digits in small, parted by ``.``, ``_``, ``__`` or any number of ``-``."""
    separator = ""
    for letter in f"{text}.":  # the last one stands for what must not be before an end
        if letter in LOWER:
            if separator not in ("", ".", "_", "__") and set(separator) != {"-"}:
                return False
            separator = ""
        elif letter in "._-":
            separator += letter
        else:
            return False
    return bool(text) and text[0] in LOWER and separator == "."


def _is_host(text: str) -> bool:
    name, colon, port = text.partition(":")
    labels = name.split(".")
    alphabet = WORD - {"_"} | {"-"}
    return all(label and set(label) <= alphabet and label[0] != "-" and label[-1] != "-" for label in labels) and (
        not colon or (port.isascii() and port.isdigit())
    )


def parse(text: str) -> Reference:
    """Return the complete reference of a name; raises an Error for what is none."""
    rest, at, digest = text.partition("@")
    head, slash, tail = rest.partition("/")
    host, path = DEFAULT_HOST, rest
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        host, path = head, tail
    path, colon, tag = path.partition(":")
    if host in (DEFAULT_HOST, "index.docker.io"):
        host, path = DEFAULT_HOST, path if "/" in path else OFFICIAL + path
    if not colon and not at:
        tag = DEFAULT_TAG
    if at and not is_digest(digest):
        raise RunError(f"image {text!r}: {digest!r} is not a digest", "write it as @sha256: and 64 hex digits")
    tagged = bool(tag) and set(tag) <= WORD | {".", "-"} and tag[0] in WORD and len(tag) <= MAX_TAG
    if (colon or not at) and not tagged:
        raise RunError(f"image {text!r}: {tag!r} is not a tag", "use letters, digits, '_', '.' and '-'")
    if not _is_host(host) or not all(map(_is_component, path.split("/"))) or len(host) + len(path) >= MAX_NAME:
        small = text.lower()
        hint = (
            f"write {small}" if small != text and _valid(small) else "write it as [HOST/]NAME[:TAG], in small letters"
        )
        raise RunError(f"image {text!r}: not an image's name", hint)
    return Reference(host, path, tag, digest)


def _valid(text: str) -> bool:
    try:
        parse(text)
    except RunError:
        return False
    return True
