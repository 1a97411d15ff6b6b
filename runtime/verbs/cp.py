"""``pyproc cp``: copy files between a container, running or ended, and the host."""

from __future__ import annotations

import os
import sys

from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.kernel import beheld
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.lifecycle.copying import Packer
    from runtime.lifecycle.inside import Place

VERB = Verb(
    "cp",
    "Copy files between a container and the host; - is a tar stream.",
    "ID:SRC DST | SRC ID:DST",
    2,
    2,
    (
        Option(("-a", "--archive"), "Keep owners (else they become root's inside, yours outside)", kind="flag"),
        Option(("-L", "--follow-link"), "Copy what SRC leads to, if it is a link", kind="flag"),
    ),
)


class Side(Record):
    """One side of a copy; without a container the host's."""

    container: str
    path: str


def side(text: str) -> Side:
    """Return what an operand names; ``./a:b`` is a file of the host's."""
    container, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return Side("", text)
    return Side(container, path)


def sides(source: str, target: str) -> tuple[Side, Side]:
    """Return both; raises an Error unless one of them, and one alone, is a container's."""
    found = side(source), side(target)
    if bool(found[0].container) == bool(found[1].container):
        what = "two containers" if found[0].container else "no container"
        raise RunError(f"cp: {what} named", "write ID:PATH on one side, and a path, or -, on the other")
    for each in found:
        if each.container and not each.path:
            raise RunError(f"cp: {each.container}: has no path", "write it as ID:/PATH")
    return found


def last(path: str) -> bytes:
    """Return the name a copy gets; "" where only what is in the directory is meant: ``DIR/.``, ``/``."""
    name = os.path.basename(path.rstrip("/"))
    return b"" if name in ("", ".", "..") else os.fsencode(name)


class Source:
    """What is copied: a name in a directory, or a directory or file by itself."""

    def __init__(self, place: Place, path: str, *, follow: bool) -> None:
        self.name = last(path)
        whole = follow or not self.name or path.endswith("/")
        if whole:
            self.at = place.open(path, os.O_PATH)
        else:
            parent = place.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            try:
                self.at = beheld.look(self.name, parent)
            except OSError as error:
                raise OSError(error.errno, error.strerror, path) from error
            self.parent = parent
        kind = os.fstat(self.at).st_mode & 0o170000
        self.is_directory = kind == 0o040000
        if path.endswith("/") and not self.is_directory:
            raise Error(f"{path}: not a directory", "leave out the / at its end")
        self.whole = whole and kind in (0o040000, 0o100000)

    def pack(self, packer: Packer, called: bytes) -> None:
        """Add it to a tar by a name."""
        if self.is_directory:
            packer.directory(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.at), called)
        elif self.whole:
            packer.file(beheld.read(self.at), called)
        else:
            packer.add(self.parent, self.name, called)


def target(place: Place, path: str, source: Source) -> tuple[int, bytes]:
    """Return the directory a copy is put into and its name there, as cp(1) and Docker choose them."""
    try:
        return place.open(path, os.O_RDONLY | os.O_DIRECTORY), source.name
    except NotADirectoryError:
        if path.endswith("/"):
            raise Error(f"{path}: not a directory", "leave out the / at its end to replace the file") from None
        if source.is_directory:
            raise Error(f"{path}: a file is there, which no directory can replace", "name another") from None
    except FileNotFoundError:
        if path.endswith("/") and not source.is_directory:
            raise Error(f"{path}: no such directory", "make it first") from None
    above = os.path.dirname(path.rstrip("/"))
    return place.open(above, os.O_RDONLY | os.O_DIRECTORY), last(path)


def _place(parsed: Parsed, container: str) -> Place:
    from runtime.lifecycle import finding, inside

    held = finding.Locked(parsed, container)
    return inside.opened(held.root, held.load(), held.lock)


def _stream_out(source: Source, place: Place) -> None:
    from runtime.lifecycle.copying import Packer

    if os.isatty(1):
        raise RunError("cp: a tar stream on a terminal", "redirect it, or name a directory")
    with open(os.dup(1), "wb") as out:
        packer = Packer(out, place)
        source.pack(packer, source.name)
        packer.close()


def copy(parsed: Parsed, one: Side, other: Side) -> None:
    """Copy from one side to the other."""
    from runtime.lifecycle import copying, inside

    out = bool(one.container)
    place = _place(parsed, one.container or other.container)
    outside = inside.Place()
    archive = parsed["archive"]
    owner = (os.getuid(), os.getgid()) if out else place.owner(needed=not archive)
    if one == Side("", "-"):
        directory = place.open(other.path, os.O_RDONLY | os.O_DIRECTORY)
        with open(os.dup(0), "rb") as file, copying.Piped(file, "the standard input") as stream:
            copying.Into(directory, place, owner, archive=archive, wary=False).run(stream)
        return
    source = Source(place if out else outside, one.path, follow=parsed["follow_link"])
    if other == Side("", "-"):
        _stream_out(source, place)
        return
    directory, name = target(outside if out else place, other.path, source)
    there, here = (place, outside) if out else (outside, place)
    into = copying.Into(directory, here, owner, archive=archive, wary=out)
    copying.transfer(lambda packer: source.pack(packer, name), there, into.run)


def run(parsed: Parsed) -> int:
    """Copy."""
    one, other = sides(*parsed.rest)
    sys.stdout.flush()  # what forks would write it twice

    def act() -> None:
        try:
            copy(parsed, one, other)
        except OSError as error:
            raise Error(reason(error), "see that both paths are there") from error

    from runtime.lifecycle import finding, inside

    inside.within(parsed["root"], finding.get(parsed, one.container or other.container), act)
    return 0
