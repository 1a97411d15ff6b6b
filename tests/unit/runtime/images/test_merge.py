"""Image and command line, merged as Docker does."""

from __future__ import annotations

import pytest

from lxcfs_py.errors import Error
from runtime.images.manifest import Config
from runtime.images.merge import Asked, merge
from runtime.process import environment

IMAGE = Config(
    entrypoint=("/entry",),
    cmd=("a", "b"),
    env=("PATH=/own", "A=1", "broken", "=x"),
    user="bob",
    workdir="/work/",
    volumes=("/data/", "data", "/x/../y"),
    stop_signal="SIGINT",
)


@pytest.mark.parametrize(
    ("config", "args", "entrypoint", "expected"),
    [
        (IMAGE, (), None, ("/entry", "a", "b")),
        (IMAGE, ("c",), None, ("/entry", "c")),
        (IMAGE, (), "/mine", ("/mine",)),
        (IMAGE, ("c",), "/mine", ("/mine", "c")),
        (IMAGE, ("c",), "", ("c",)),
        (Config(cmd=("sh",)), (), None, ("sh",)),
        (Config(cmd=("sh",)), ("c", "d"), None, ("c", "d")),
        (Config(), ("c",), None, ("c",)),
    ],
)
def test_the_command(
    config: Config, args: tuple[str, ...], entrypoint: str | None, expected: tuple[str, ...]
) -> None:
    """Arguments replace Cmd; an entrypoint replaces the image's, and its Cmd with it."""
    assert merge(config, Asked(args=args, entrypoint=entrypoint)).args == expected


@pytest.mark.parametrize(("config", "entrypoint"), [(Config(), None), (IMAGE, "")])
def test_no_command(config: Config, entrypoint: str | None) -> None:
    """Neither an image with a command nor one given: an Error, 125."""
    with pytest.raises(Error, match="no command given") as refused:
        merge(config, Asked(entrypoint=entrypoint))
    assert refused.value.exit_code == 125


def test_the_environment() -> None:
    """The image's variables over the usual ones, those asked for over both; HOSTNAME and TERM as Docker sets them."""
    found = merge(IMAGE, Asked(env={"A": "2", "B": "3"}, hostname="h", tty=True)).env
    assert found == ("PATH=/own", "HOSTNAME=h", "TERM=xterm", "A=2", "B=3")
    assert merge(Config(cmd=("x",)), Asked()).env == (f"PATH={environment.PATH}", "HOSTNAME=")


def test_the_rest() -> None:
    """User, directory and signal are the image's unless asked for; volumes are absolute, each once."""
    own = merge(IMAGE, Asked())
    assert (own.user, own.workdir, own.stop_signal, own.volumes) == ("bob", "/work", "SIGINT", ("/data", "/y"))
    asked = merge(IMAGE, Asked(user="1:2", workdir="/", stop_signal="KILL"))
    assert (asked.user, asked.workdir, asked.stop_signal) == ("1:2", "/", "KILL")
    none = merge(Config(cmd=("x",)), Asked())
    assert (none.user, none.workdir, none.stop_signal, none.volumes) == ("0", "/", "SIGTERM", ())
    assert merge(Config(cmd=("x",), workdir="../a"), Asked()).workdir == "/a"
