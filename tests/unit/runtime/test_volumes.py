"""What is asked for by -v, --mount and --tmpfs, and the store of volumes."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime import options, volumes
from runtime.config import volumes as asked
from runtime.volumes import Volume

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.command_line import Parsed

STORE = "/s"


def place(line: str) -> asked.Place:
    """Return what one option asks for."""
    return one(options.parse(["--storage", STORE, *line.split(), "true"]))


def one(parsed: Parsed) -> asked.Place:
    """Return the only place."""
    (found,) = asked.places(parsed)
    return found


@pytest.mark.parametrize(
    ("text", "path"), [(".", "."), ("./a b", "a b"), ("../x", "../x"), ("..", ".."), ("./a/../b/", "b")]
)
def test_from_where_one_is(text: str, path: str) -> None:
    """A source that begins with . or .. is meant from the working directory on, with -v and --mount."""
    there = os.path.abspath(path)
    assert one(options.parse(["-v", f"{text}:/d", "true"])).source == there
    assert one(options.parse(["--mount", f"type=bind,src={text},dst=/d", "true"])).source == there


@pytest.mark.parametrize(
    ("line", "source", "words"),
    [
        ("-v /a:/d", "/a", "rbind rprivate"),
        ("-v /a:/d:ro", "/a", "rbind rprivate rro"),
        ("-v /a:/d:rw,z,cached", "/a", "rbind rprivate"),
        ("-v /a:/d:rslave,noexec,ro", "/a", "rbind rslave noexec rro"),
        ("--mount type=bind,source=/a,target=/d", "/a", "rbind rprivate"),
        ("--mount type=bind,src=/a,dst=/d,ro", "/a", "rbind rprivate rro"),
        ("--mount type=bind,src=/a,dst=/d,readonly=true,bind-recursive=writable", "/a", "rbind rprivate ro"),
        ("--mount type=bind,src=/a,dst=/d,bind-recursive=disabled,ro", "/a", "bind rprivate ro"),
        ("--mount type=bind,src=/a,dst=/d,bind-nonrecursive=true", "/a", "bind rprivate"),
        ("--mount type=bind,src=/a,destination=/d,bind-propagation=rshared", "/a", "rbind rshared"),
        ('--mount type=bind,"src=/a,b",dst=/d', "/a,b", "rbind rprivate"),
        ("-v v:/d", "/s/volumes/v/_data", "bind private nodev"),
        ("-v v:/d:ro,nosuid", "/s/volumes/v/_data", "bind private nodev nosuid ro"),
        ("--mount src=v,dst=/d", "/s/volumes/v/_data", "bind private nodev"),
        ("--mount type=volume,src=v,dst=/d,ro,volume-driver=local", "/s/volumes/v/_data", "bind private nodev ro"),
        ("--mount type=tmpfs,dst=/d", "tmpfs", "nosuid nodev noexec"),
        ("--mount type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=700,ro", "tmpfs",
         "nosuid nodev noexec ro size=1048576 mode=700"),
    ],
)  # fmt: skip
def test_mounts(line: str, source: str, words: str) -> None:
    """Docker's ways of asking for a mount."""
    found = place(line).mount
    assert (found["destination"], found["source"], found["options"]) == ("/d", source, words.split())


def test_what_a_volume_is() -> None:
    """Its name, where it is, whether it is copied into, and its labels; without a name one is made up."""
    about: dict[str, Any] = {
        "name": "v",
        "data": "/s/volumes/v/_data",
        "target": "/d",
        "anonymous": False,
        "labels": {},
    }
    assert place("-v v:/d").volume == Volume(**{**about, "copy": True})
    assert place("-v v:/d:nocopy").volume == Volume(**{**about, "copy": False})
    line = "--mount src=v,dst=/d,volume-nocopy,volume-label=a=1,volume-label=b"
    assert place(line).volume == Volume(**{**about, "copy": False, "labels": {"a": "1", "b": ""}})
    assert place("-v /a:/d").volume is None
    for line in ("-v /d", "--mount dst=/d", "--mount type=volume,target=/d"):
        found = place(line).volume
        assert found is not None and found.anonymous and len(found.name) == 64
        assert place(line).volume != found


def test_the_image_gives_way() -> None:
    """An image's volume is anonymous, where nothing else is asked for at that place."""
    parsed = options.parse(["-v", "v:/data", "--tmpfs", "/x/y", "true"])
    found = {p.mount["destination"]: p for p in asked.places(parsed, ("/data/", "log", "/x/y"))}
    assert list(found) == ["/data", "/log", "/x/y"]
    log = found["/log"].volume
    assert log is not None and log.anonymous and log.copy
    assert found["/data"].volume is not None and found["/data"].volume.name == "v"
    assert found["/x/y"].mount["type"] == "tmpfs"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-v .v:/d", "the source must be an absolute path"),
        ("-v a/b:/d", "the source must be an absolute path"),
        ("-v v!:/d", "-v 'v!:/d': 'v!' is not a volume's name; use letters"),
        ("-v v:d", "the place inside must be an absolute path"),
        ("-v v:/d:ro:ro", "not a volume"),
        ("-v /a:/d:nocopy", "nocopy is for volumes"),
        ("-v v:/d:shiny", "unknown mode 'shiny'"),
        ("-v /", "the place inside can't be /"),
        ("--mount type=bind,dst=/d", "no source"),
        ("--mount type=bind,src=a,dst=/d", "absolute path"),
        ("--mount type=npipe,dst=/d", "unknown type 'npipe'; choose from bind, volume, tmpfs"),
        ("--mount src=v", "no target"),
        ("--mount dst=/d,dst=/e", "target is said twice"),
        ("--mount dst=/d,colour=red", "unknown key 'colour'"),
        ("--mount src=v,dst=/d,volume-subpath=/a", "volume-subpath '/a' leads out"),
        ("--mount src=v,dst=/d,volume-subpath=a/../../b", "leads out"),
        ("--mount dst=/d,volume-subpath=a", "of a new volume, which is empty"),
        ("--mount src=v,dst=/d,volume-driver=nfs", "unknown volume-driver 'nfs'; choose from local"),
        ("--mount type=bind,src=/a,dst=/d,volume-nocopy", "volume-nocopy is not for type bind"),
        ("--mount type=tmpfs,dst=/d,volume-label=a", "volume-label is not for type tmpfs"),
        ("--mount type=tmpfs,dst=/d,tmpfs-mode=9", "not an octal number"),
        ("--mount type=tmpfs,dst=/d,tmpfs-size=x", "not a size"),
        ("--mount type=tmpfs,src=x,dst=/d", "a tmpfs has no source"),
        ("--mount dst=/d,ro=perhaps", "neither true nor false"),
        ("--mount type=bind,src=/a,dst=/d,bind-recursive=so", "unknown bind-recursive 'so'"),
        ("--mount dst=/d,volume-driver=nfs", "unknown volume-driver 'nfs'"),
        ("-v v:/d --mount src=w,dst=/d", "'/d': two mounts for one place"),
    ],
)
def test_refused(line: str, message: str) -> None:
    """One line that names the option, its text and what is wrong, exit code 125."""
    with pytest.raises(Error) as caught:
        place(line)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 125


@given(st.text(alphabet='a/:,=".v ro-typesrcdst', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No -v and no --mount ends in anything but places or the one Error."""
    for name in ("volume", "mount", "tmpfs"):
        parsed = options.parse(["true"])
        try:
            asked.places(parsed.replace(values={**parsed.values, name: (text,)}))
        except Error:
            continue


def container(storage: Path, name: str, *wanted: Volume) -> str:
    """Make a container's storage that uses volumes."""
    at = storage / "containers" / name
    at.mkdir(parents=True)
    volumes.claim(wanted, str(storage), str(at))
    return str(at)


def test_the_store(tmp_path: Path) -> None:
    """A volume is there once it is asked for, is kept while it is used, and goes whole."""
    storage = str(tmp_path)
    assert volumes.names(storage) == []
    at = container(tmp_path, "web", Volume("data", labels={"a": "1"}), Volume("f" * 64, anonymous=True))
    assert volumes.names(storage) == ["data", "f" * 64]
    assert volumes.uses(storage) == {"data": ["web"], "f" * 64: ["web"]}
    assert volumes.describe(storage, "data", volumes.uses(storage))["labels"] == {"a": "1"}
    assert os.stat(volumes.data(storage, "data")).st_mode & 0o7777 == 0o755
    assert os.stat(volumes.directory(storage)).st_mode & 0o7777 == 0o700
    (tmp_path / "volumes/data/_data/f").write_text("x")
    assert not volumes.create(storage, Volume("data", labels={"a": "2"}))
    assert (tmp_path / "volumes/data/_data/f").read_text() == "x"
    with pytest.raises(Error, match="volume 'data' is in use by web; remove the container first: pyproc rm web"):
        volumes.remove(storage, ["data"])
    assert volumes.prune(storage, lambda _about: True) == []
    volumes.forget(storage, at, "web")
    assert volumes.names(storage) == ["data"]
    os.unlink(f"{at}/{volumes.USES}")
    volumes.remove(storage, ["data"])
    assert volumes.names(storage) == [] and os.listdir(volumes.directory(storage)) == [".lock"]


def test_all_or_none(tmp_path: Path) -> None:
    """If one of several can't be removed none is; what is no volume's name leads nowhere."""
    storage = str(tmp_path)
    volumes.create(storage, Volume("a"))
    for wrong in ("b", "../a", ".lock", ""):
        with pytest.raises(Error, match="does not exist"):
            volumes.remove(storage, ["a", wrong])
    assert volumes.names(storage) == ["a"]


def test_an_anonymous_one_that_another_uses(tmp_path: Path) -> None:
    """Who has it by its name keeps it when the container that made it goes."""
    made = Volume("f" * 64, anonymous=True)
    at = container(tmp_path, "one", made)
    container(tmp_path, "two", made.replace(anonymous=False))
    volumes.forget(str(tmp_path), at, "one")
    assert volumes.names(str(tmp_path)) == [made.name]


def test_prune(tmp_path: Path) -> None:
    """Unused anonymous ones go, and what was cut off; of damaged ones nothing is known, and they stay."""
    storage = str(tmp_path)
    for volume in (Volume("a"), Volume("b" * 64, anonymous=True), Volume("c")):
        volumes.create(storage, volume)
    (tmp_path / "volumes/c/volume.json").write_text("{")
    for name in (".new.1.x", ".dead.x"):
        (tmp_path / "volumes" / name / "_data").mkdir(parents=True)
    assert volumes.prune(storage, lambda about: bool(about["anonymous"])) == ["b" * 64]
    assert sorted(os.listdir(tmp_path / "volumes")) == [".lock", "a", "c"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"volumes": 1}', '{"volumes": [1]}', '{"volumes": [{"name": 1}]}']
)
def test_uses_that_cant_be_known(tmp_path: Path, text: str) -> None:
    """A damaged list may name any volume: none is removed and the file is named, yet its container can go."""
    storage, made = str(tmp_path), Volume("f" * 64, anonymous=True)
    at = container(tmp_path, "web", Volume("v"))
    other = container(tmp_path, "other", made)
    (tmp_path / "containers/web/volumes.json").write_text(text)
    for act in (lambda: volumes.prune(storage, lambda _: True), lambda: volumes.remove(storage, ["v"])):
        with pytest.raises(Error, match=f"{at}/volumes.json: not a list of volumes; remove .*: pyproc rm web"):
            act()
    volumes.forget(storage, at, "web")
    volumes.forget(storage, other, "other")
    assert volumes.names(storage) == [made.name, "v"]
    os.unlink(f"{at}/{volumes.USES}")
    volumes.forget(storage, other, "other")
    assert volumes.prune(storage, lambda _: True) == ["v"] and volumes.names(storage) == []


def test_made_at_the_same_time(tmp_path: Path) -> None:
    """Of many who want a volume at once one makes it, and nothing else is left."""
    made: list[Any] = []
    threads = [
        threading.Thread(target=lambda: made.append(volumes.create(str(tmp_path), Volume("v")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert sorted(os.listdir(tmp_path / "volumes")) == [".lock", "v"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/s/volumes/data/_data", "data"),
        ("/s/volumes/data/_data/sub/dir", "data"),
        ("/s/volumes/data", ""),
        ("/s/volumes/data/_data2", ""),
        ("/srv/_data", ""),
        ("/other/volumes/data/_data", ""),
    ],
)
def test_whose_directory(path: str, name: str) -> None:
    """A directory of the storage is told to be a volume's, and no other is."""
    assert volumes.name_of("/s", path) == name
