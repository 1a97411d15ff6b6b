"""``pyproc-run --image``: containers of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime.images import resolve
from tests.images import docker_archive, member, tar
from tests.live.test_images import do, layers, podman

if TYPE_CHECKING:
    from tests.live.box import Box

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

BUSYBOX = Path("/usr/bin/busybox").read_bytes()
BASE = tar(
    *(member(name, "dir") for name in ("bin", "etc", "data")),
    member("tmp", "dir", mode=0o1777),
    member("bin/busybox", data=BUSYBOX, mode=0o755, uid=0, gid=0),
    *(
        member(f"bin/{name}", "symlink", linkname="busybox")
        for name in ("sh", "cat", "id", "env", "ls", "grep", "stat")
    ),
    member("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nbob:x:1000:100::/home/bob:/bin/sh\n"),
    member("etc/group", data=b"root:x:0:\nusers:x:100:\nextra:x:200:bob\n"),
    member("data/old", data=b"old\n"),
)
TOP = tar(member("data/.wh.old"), member("data/new", data=b"new\n", uid=1000, gid=100))
SAID = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo $GREETING $0 $PWD; id -un; id -G; ls /data"],
    "Env": ["PATH=/bin", "GREETING=hello"],
    "User": "bob",
    "WorkingDir": "/made/here",
    "StopSignal": "SIGINT",
}


def archive(name: str, *more: bytes, **config: Any) -> bytes:
    """Return an image of busybox."""
    return docker_archive([BASE, TOP, *more], name, **{**SAID, **config})


@pytest.fixture(scope="module")
def it(box: Box) -> str:
    """Import the image and return its name."""
    (box.base / "it.tar").write_bytes(archive("it:latest"))
    box.pyproc("import", str(box.base / "it.tar"))
    return "it"


def test_the_image_says(clean: Box, it: str) -> None:
    """Without more, the image's entrypoint, arguments, variables, user and directory hold."""
    done = clean.run("--rm", "--image", it)
    assert done.stdout.split("\n") == ["hello /bin/sh /made/here", "bob", "100 200", "new", ""]


def test_the_command_line_says(clean: Box, it: str) -> None:
    """What is asked for goes before: arguments, entrypoint, variables, user, directory."""
    assert clean.run("--rm", "--image", it, "--", "echo $GREETING").stdout == "hello\n"
    options = ("-e", "GREETING=bye", "-u", "0", "-w", "/data", "--entrypoint", "/bin/sh")
    done = clean.run("--rm", "--image", it, *options, "--", "-c", "echo $GREETING $PWD; id -u")
    assert done.stdout == "bye /data\n0\n"
    assert clean.run("--rm", "--image", it, "--entrypoint=", "--", "cat", "/data/new").stdout == "new\n"


def test_its_proc_tells_the_truth(clean: Box, it: str) -> None:
    """A container of an image sees its own limits, too."""
    done = clean.run("--rm", "-m", "64m", "--image", it, "--", "grep MemTotal /proc/meminfo")
    assert done.stdout.split() == ["MemTotal:", "65536", "kB"]


def test_writing_leaves_the_layers_alone(clean: Box, it: str) -> None:
    """What a container writes is its own: the next one of the image sees nothing of it."""
    script = "echo changed > /data/new; rm /etc/group; ls /data > /data/list; cat /data/new"
    assert clean.run("--rm", "-u", "0", "--image", it, "--", script).stdout == "changed\n"
    assert (
        clean.run("--rm", "--image", it, "--", "cat /data/new; ls /data; cat /etc/group | grep -c x").stdout
        == "new\nnew\n3\n"
    )


def test_an_image_in_use(clean: Box, it: str) -> None:
    """The image of a container is not removed, and by force its layers stay until the container is gone."""
    (clean.base / "other.tar").write_bytes(archive("other", tar(member("own", data=b"own"))))
    clean.pyproc("import", str(clean.base / "other.tar"))
    name = clean.start("--image", "other", "--entrypoint", "/bin/busybox", "--", "sleep", "1000")
    assert "container is made of it" in clean.pyproc("rmi", "other", check=False).stderr
    before = layers(clean)
    clean.pyproc("rmi", "-f", "other")
    assert layers(clean) == before
    assert clean.pyproc("exec", name, "/bin/cat", "/own").stdout == "own"
    clean.pyproc("delete", "--force", name)
    clean.pyproc("prune")
    assert len(layers(clean)) == len(before) - 1


def test_many_layers(clean: Box) -> None:
    """As many layers as an image may have, whose paths together are more than mount(2) takes."""
    more = [tar(member(f"n{number}", data=b"x")) for number in range(123)]
    (clean.base / "many.tar").write_bytes(archive("many", *more))
    clean.pyproc("import", str(clean.base / "many.tar"))
    assert len("".join(resolve.resolve(str(clean.base / "storage"), "many").lowers)) > 4096
    assert clean.run("--rm", "--image", "many", "--", "ls -d /n* | grep -c n; cat /data/new").stdout == "123\nnew\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--image", "none"), "pyproc pull none"),
        (("--image", "It"), "write it"),
        (("--image", "it", "--rootfs", "/"), "leave one out"),
        (("--entrypoint", "x", "true"), "no image"),
        (("--image", "it", "--entrypoint="), "no command given"),
    ],
)
def test_refused(clean: Box, it: str, options: tuple[str, ...], why: str) -> None:
    """An image that is not here, and what makes no sense, is one line and exit code 125."""
    done = clean.run("--rm", *options, check=False)
    assert (done.returncode, why in done.stderr, done.stderr.count("\n")) == (125, True, 1), done.stderr


def test_the_same_files_as_podman(clean: Box, it: str) -> None:
    """A container sees the files, owners and modes that Podman makes of the image (it sets no directory's time)."""
    script = "stat -c '%n %F %a %u %g' /bin/* /etc/passwd /etc/group /data /data/* /tmp"
    with podman(clean.base / "it.tar", "it") as at:
        assert clean.run("--rm", "--image", it, "--", script).stdout == do("chroot", at, "/bin/sh", "-c", script)


def test_a_signal_there_is_not(clean: Box) -> None:
    """An image that is to be stopped by no signal there is can't be run without another; nothing is left."""
    (clean.base / "odd.tar").write_bytes(archive("odd:latest", StopSignal="NOPE"))
    clean.pyproc("import", str(clean.base / "odd.tar"))
    done = clean.run("--image", "odd", "--", "true", check=False)
    assert (done.returncode, "StopSignal 'NOPE': no such signal" in done.stderr) == (125, True)
    assert clean.run("--rm", "--image", "odd", "--stop-signal", "TERM", "--", "exit 0").returncode == 0
