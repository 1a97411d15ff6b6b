"""``-v``, ``--mount``, ``--tmpfs`` and an image's VOLUMEs as OCI mounts, and the volumes behind them: pure."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime import state, units, volumes
from runtime.errors import RunError
from runtime.volumes import Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from runtime.command_line import Parsed

TMPFS_OPTIONS = ("nosuid", "nodev", "noexec")
"""Docker's; each gives way to its opposite where that is asked for."""
PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
ATTRIBUTES = ("nosuid", "suid", "nodev", "dev", "noexec", "exec")
"""Podman's words after the last colon of ``-v``."""
NOTHING = ("rw", "z", "Z", "cached", "delegated", "consistent")
"""What changes nothing here: no SELinux labels are set, and files are always consistent."""
SHM = "/dev/shm"
"""The host's, with --ipc host: no volume."""
WRITABLE = ("/run", "/tmp", "/var/tmp")
"""What Podman leaves writable in a container that is read-only."""
KINDS = ("bind", "volume", "tmpfs")
KEYS = {
    "type": "", "source": "", "target": "", "readonly": "", "consistency": "",
    "bind-propagation": "bind", "bind-recursive": "bind", "bind-nonrecursive": "bind",
    "volume-nocopy": "volume", "volume-label": "volume", "volume-driver": "volume",
    "volume-subpath": "volume",
    "tmpfs-size": "tmpfs", "tmpfs-mode": "tmpfs",
}  # fmt: skip
"""The keys of ``--mount``, and the type each is for; "" for every one."""
SHORT = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
RECURSIVE = {
    "enabled": ("rbind", "rro"),
    "disabled": ("bind", "ro"),
    "writable": ("rbind", "ro"),
    "readonly": ("rbind", "rro"),
}
"""The values of ``bind-recursive``: how it is bound, and how read-only is said."""


class Place(Record):
    """One mount that was asked for."""

    said: str
    """As it was asked for: ``-v '/a:/b'``."""
    mount: dict[str, Any]
    """As OCI has it."""
    volume: Volume | None = None

    @property
    def source(self) -> str:
        """The path of the host that must be there, "" for none."""
        return str(self.mount["source"]) if self.mount["type"] == "bind" and self.volume is None else ""


def _destination(path: str, said: str) -> str:
    if not path.startswith("/"):
        raise RunError(f"{said}: the place inside must be an absolute path", "begin it with /")
    clean = os.path.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise RunError(f"{said}: the place inside can't be /", "--rootfs DIR replaces the root")
    return clean


def _bound(said: str, source: str, target: str, options: Iterable[str]) -> Place:
    if source.partition("/")[0] in (".", ".."):  # as a shell's user means it
        source = os.path.abspath(source)
    if not source.startswith("/"):
        raise RunError(f"{said}: the source must be an absolute path", f"write {os.path.abspath(source)}")
    kept = list(options)
    return Place(said, {"destination": target, "type": "bind", "source": source, "options": kept})


def _kept(storage: str, said: str, volume: Volume, target: str, options: Iterable[str]) -> Place:
    """Return the mount of a volume; no device of it means anything, as none of the container's root does."""
    if volume.name and not units.is_name(volume.name):
        raise RunError(f"{said}: {volume.name!r} is not a volume's name", units.NAME_HINT)
    named = volume if volume.name else volume.replace(name=volumes.new_name(), anonymous=True)
    source, kept = volumes.data(storage, named.name), ["bind", "private", "nodev", *options]
    mount = {"destination": target, "type": "bind", "source": source, "options": kept}
    return Place(said, mount, named.replace(data=source, target=target))


def volume(text: str, storage: str) -> Place:
    """Return what ``-v [SOURCE:]DST[:WORD,...]`` asks for; raises an Error for any other shape."""
    said = f"-v {text!r}"
    source, *rest = text.split(":")
    if not rest:
        source, rest = "", [source]
    elif not source or len(rest) > 2:
        raise RunError(f"{said}: not a volume", "write it as [NAME:]/inside or /source:/inside, with :ro if it is")
    target = _destination(rest[0], said)
    words = [word for word in (rest[1] if len(rest) == 2 else "").split(",") if word]
    known = (*PROPAGATIONS, *ATTRIBUTES, *NOTHING, "ro", "nocopy")
    if wrong := [word for word in words if word not in known]:
        raise RunError(f"{said}: unknown mode {wrong[0]!r}", "use ro, rw, nocopy, noexec, nosuid, nodev or rprivate")
    options = [word for word in words if word in (*PROPAGATIONS, *ATTRIBUTES)]
    bind = "/" in source or source.startswith(".")
    if bind and "nocopy" in words:
        raise RunError(
            f"{said}: nocopy is for volumes", "leave it out: nothing is copied into directories of the host"
        )
    if bind:
        usual = [] if set(words) & set(PROPAGATIONS) else ["rprivate"]
        return _bound(said, source, target, ["rbind", *usual, *options, *(["rro"] if "ro" in words else [])])
    asked = Volume(source, copy="nocopy" not in words)
    return _kept(storage, said, asked, target, [*options, *(["ro"] if "ro" in words else [])])


def tmpfs(text: str) -> Place:
    """Return the mount of ``DST[:OPTION,...]`` with Docker's nosuid, nodev and noexec by default."""
    path, _, asked = text.partition(":")
    said, options = f"--tmpfs {text!r}", [option for option in asked.split(",") if option]
    return _tmpfs(said, _destination(path, said), options)


def _tmpfs(said: str, target: str, options: list[str]) -> Place:
    kept = [option for option in TMPFS_OPTIONS if option.removeprefix("no") not in options and option not in options]
    mount = {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": [*kept, *options]}
    return Place(said, mount)


def fields(text: str) -> Iterator[str]:
    """Yield what commas part (RFC 4180: a field in quotes may have some, and "" for a quote)."""
    field, quoted = "", False
    for index, letter in enumerate(text):
        if letter == '"':
            field += '"' if quoted is False and index and text[index - 1] == '"' else ""
            quoted = not quoted
        elif letter == "," and not quoted:
            yield field
            field = ""
        else:
            field += letter
    yield field


class _Keys:
    """What ``--mount KEY=VALUE,...`` says; raises an Error naming the key that is wrong."""

    def __init__(self, text: str) -> None:
        self.said = f"--mount {text!r}"
        self.labels: dict[str, str] = {}
        self.values: dict[str, str] = {}
        for field in fields(text):
            key, equals, value = field.partition("=")
            key = SHORT.get(key, key)
            if key not in KEYS:
                raise RunError(f"{self.said}: unknown key {key!r}", f"there are {', '.join(KEYS)}")
            if key == "volume-label":
                name, _, label = value.partition("=")
                self.labels[name] = label
            elif key in self.values:
                raise RunError(f"{self.said}: {key} is said twice", "leave one out")
            else:
                self.values[key] = value if equals else "true"
        self.kind = self.values.get("type", "volume")
        if self.kind not in KINDS:
            raise RunError(f"{self.said}: unknown type {self.kind!r}", f"choose from {', '.join(KINDS)}")
        for key in (*self.values, *(["volume-label"] if self.labels else [])):
            if KEYS[key] not in ("", self.kind):
                raise RunError(f"{self.said}: {key} is not for type {self.kind}", f"it is for type={KEYS[key]}")
        if not self.values.get("target"):
            raise RunError(f"{self.said}: no target", "say where it is to be inside: target=/PATH")
        self.target = _destination(self.values["target"], self.said)

    def choice(self, key: str, known: Iterable[str], otherwise: str) -> str:
        """Return the value of a key, one of a few words."""
        value = self.values.get(key, otherwise)
        if value not in known:
            raise RunError(f"{self.said}: unknown {key} {value!r}", f"choose from {', '.join(known)}")
        return value

    def subpath(self) -> str:
        """Return the part of a volume that is wanted, "" for all of it."""
        path = self.values.get("volume-subpath", "")
        if path.startswith("/") or ".." in path.split("/"):
            raise RunError(f"{self.said}: volume-subpath {path!r} leads out", "write it relative to the volume")
        return path

    def flag(self, key: str) -> bool:
        """Say whether a key is there and true."""
        return units.boolean(self.values.get(key, "false"), f"{self.said}: {key}")


def _below(subpath: str) -> str:
    """Return the option of a mount of a part of its source."""
    from runtime.root.mount_options import SUBPATH  # only now: it imports the system calls

    return f"{SUBPATH}{subpath}"


def mount(text: str, storage: str) -> Place:
    """Return what ``--mount`` asks for."""
    keys = _Keys(text)
    read_only, source = keys.flag("readonly"), keys.values.get("source", "")
    if keys.kind == "bind":
        if not source:
            raise RunError(f"{keys.said}: no source", "say what is to be shown: source=/PATH")
        recursive = "disabled" if keys.flag("bind-nonrecursive") else "enabled"
        how, ro = RECURSIVE[keys.choice("bind-recursive", RECURSIVE, recursive)]
        propagation = keys.choice("bind-propagation", PROPAGATIONS, "rprivate")
        return _bound(keys.said, source, keys.target, [how, propagation, *([ro] if read_only else [])])
    if keys.kind == "volume":
        keys.choice("volume-driver", ("local",), "local")
        subpath = keys.subpath()
        if subpath and not source:
            raise RunError(f"{keys.said}: volume-subpath of a new volume, which is empty", "say which: source=NAME")
        asked = Volume(source, copy=not (subpath or keys.flag("volume-nocopy")), labels=keys.labels)
        below = [_below(subpath)] if subpath else []
        return _kept(storage, keys.said, asked, keys.target, [*(["ro"] if read_only else []), *below])
    if source:
        raise RunError(f"{keys.said}: a tmpfs has no source", "leave it out")
    options = ["ro"] if read_only else []
    if "tmpfs-size" in keys.values:
        options.append(f"size={units.size(keys.values['tmpfs-size'], f'{keys.said}: tmpfs-size')}")
    if mode := keys.values.get("tmpfs-mode"):
        if not set(mode) <= set("01234567"):
            raise RunError(f"{keys.said}: tmpfs-mode {mode!r} is not an octal number", "write it as 1777")
        options.append(f"mode={mode}")
    return _tmpfs(keys.said, keys.target, options)


def inherited(text: str, root: str, storage: str) -> Iterator[Place]:
    """Yield the volumes and binds of another container, ``NAME[:ro]``; raises an Error for none."""
    said = f"--volumes-from {text!r}"
    name, _, mode = text.partition(":")
    if mode not in ("", "ro", *NOTHING):
        raise RunError(f"{said}: unknown mode {mode!r}", "use ro or rw")
    try:
        config = state.config(state.get(root, name))
    except Error as error:
        raise RunError(f"{said}: {error.message}", error.hint) from error
    for mount in config.get("mounts", ()):
        target, source = mount["destination"], mount.get("source", "")
        if mount.get("type") == "bind" and target != SHM:
            kept = [*mount["options"], *(["rro" if "rbind" in mount["options"] else "ro"] if mode == "ro" else [])]
            named = volumes.name_of(storage, source)
            yield Place(
                said,
                {**mount, "options": kept},
                Volume(named, data=source, target=target, copy=False) if named else None,
            )


def places(options: Parsed, of_image: Iterable[str] = ()) -> list[Place]:
    """Return all of them, outer directories before inner ones; a place named twice is an Error.

    ``of_image`` are the places an image has volumes at, which give way to what is asked for.
    """
    storage = os.path.abspath(options["storage"])
    found: dict[str, Place] = {}
    readers: tuple[tuple[str, Callable[[str], Place]], ...] = (
        ("volume", lambda text: volume(text, storage)),
        ("mount", lambda text: mount(text, storage)),
        ("tmpfs", tmpfs),
    )
    for name, read in readers:
        for place in map(read, options[name]):
            target = place.mount["destination"]
            if target in found:
                raise RunError(f"{target!r}: two mounts for one place", "leave one -v, --mount or --tmpfs out")
            found[target] = place
    for text in options["volumes_from"]:
        for place in inherited(text, options["root"], storage):
            found.setdefault(place.mount["destination"], place)
    if options["read_only"] and options["read_only_tmpfs"]:
        for path in WRITABLE:
            found.setdefault(path, _tmpfs("--read-only-tmpfs", path, ["exec", "mode=1777"]))
    for path in of_image:
        said = f"VOLUME {path!r} of the image"
        if (target := _destination(path if path.startswith("/") else f"/{path}", said)) not in found:
            found[target] = _kept(storage, said, Volume(""), target, [])
    return sorted(found.values(), key=lambda place: str(place.mount["destination"]).count("/"))
