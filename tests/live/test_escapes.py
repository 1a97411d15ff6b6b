"""Published ways out of containers, tried on this runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.box import BIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

pytestmark = pytest.mark.anywhere  # what a container can reach

WRITER = """
import os, sys
held = os.open('/proc/self/exe', os.O_RDONLY)
os.set_inheritable(held, True)
os.execv('/bin/sh', ['sh', '-c', '''
for i in $(seq 100); do
    (exec 9<>/proc/self/fd/%d && echo evil >&9 && echo written) 2>/dev/null && exit
    sleep .05
done
echo tried''' % held])
"""
"""Keeps what it was executed as, becomes something else, and overwrites the former as soon as nobody runs it."""


@pytest.fixture
def interpreter(clean: Box, tmp_path: Path) -> Iterator[Path]:
    """Yield a python3 of a test's own, whose file nobody else runs, and that must come out as it was."""
    own = tmp_path / "python3"
    shutil.copy("/usr/bin/python3", own)
    before = own.read_bytes()
    yield own
    assert own.read_bytes() == before, "the host's interpreter was overwritten"


def launched(box: Box, interpreter: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the runtime's programs by that interpreter."""
    return subprocess.run(
        [interpreter, "-IS", BIN / program, *arguments],
        env=box.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60 * box.scale,
        check=False,
    )


def printed(box: Box, id_: str, seconds: float) -> str:
    """Return what a container prints until it ends, or for some seconds: whoever loops for ever may."""
    deadline = time.monotonic() + seconds
    while '"running"' in box.pyproc("state", id_).stdout and time.monotonic() < deadline:
        time.sleep(0.2)
    return box.pyproc("logs", id_).stdout


@pytest.mark.parametrize("how", ["itself", "shebang", "link"])
def test_the_interpreter_is_not_the_containers(clean: Box, tmp_path: Path, interpreter: Path, how: str) -> None:
    """CVE-2019-5736: a command that is /proc/self/exe, by a script's first line too, is not the host's python3."""
    image = tmp_path / "image"
    image.mkdir()
    (image / "writer").write_text(WRITER)
    (image / "shebang").write_text(f"#!/proc/self/exe\n{WRITER}")
    (image / "shebang").chmod(0o755)
    (image / "link").symlink_to("/proc/self/exe")
    command = {
        "itself": ("/proc/self/exe", "-IS", "/image/writer"),
        "shebang": ("/image/shebang",),
        "link": ("/image/link", "-IS", "/image/writer"),
    }[how]
    options = (*clean.places, "-d", "--proc-view", "off", "-v", f"{image}:/image")
    done = launched(clean, interpreter, "pyproc-run", *options, "--", *command)
    if done.returncode == 0:
        said = printed(clean, done.stdout.strip(), 7)
        assert "tried" not in said and "written" not in said, "it was the interpreter"
        clean.pyproc("delete", "--force", done.stdout.strip())


def test_nor_is_an_entering_commands(clean: Box, tmp_path: Path, interpreter: Path) -> None:
    """CVE-2019-5736, by exec: neither as the command, nor looked at from inside while it comes in."""
    look = (
        "import glob, os, time\n"
        "until = time.monotonic() + 4\n"
        "found = set()\n"
        "while time.monotonic() < until:\n"
        "    for path in glob.glob('/proc/[0-9]*/exe'):\n"
        "        try:\n"
        f"            if os.readlink(path) == {str(interpreter)!r}: found.add(path)\n"
        f"            if os.path.samestat(os.stat(path), os.stat({str(interpreter)!r})): found.add(path)\n"
        "        except OSError: pass\n"
        "print('found', sorted(found))\n"
    )
    id_ = clean.start("--proc-view", "off", "-v", f"{interpreter}:{interpreter}:ro", "--", "python3", "-c", look)
    for _ in range(10):
        launched(clean, interpreter, "pyproc", "exec", *clean.places, id_, "--", "true")
    done = launched(
        clean, interpreter, "pyproc", "exec", *clean.places, id_, "--", "/proc/self/exe", "-c", "print(1)"
    )
    assert done.returncode != 0
    assert "found []" in printed(clean, id_, 60 * clean.scale)
    clean.pyproc("delete", "--force", id_)


def test_it_needs_no_executable_memory() -> None:
    """CVE-2019-5736: where vm.memfd_noexec forbids that, in a pid namespace here, it is a file that lies nowhere."""
    script = """
import os
from runtime.kernel import stub
setting = "/proc/sys/vm/memfd_noexec"
if os.path.exists(setting):
    with open(setting, "w") as file: file.write("2")
program = stub.make("/bin/echo")
assert program >= 0 and os.fstat(program).st_mode & 0o111
stub.execute(stub.by(program), "/bin/echo", ["echo", "said"], {})
"""
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount-proc",
        "--pid",
        "--fork",
        sys.executable,
        "-c",
        script,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "said\n", done.stderr


@pytest.mark.parametrize("how", ["start", "exec"])
def test_no_descriptor_leads_out(clean: Box, tmp_path: Path, how: str) -> None:
    """CVE-2024-21626: no working directory is reached through a descriptor of the runtime's, by start or by exec.

    Nor through one that whoever called the runtime has left open; and nothing is made there. The command has none.
    """
    id_ = clean.start("--proc-view", "off", "--", "sleep", "1000")
    held = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        script = ("sh", "-ec", "ls -d $(pwd -P)/.; ls /proc/self/fd")
        enter = [str(BIN / "pyproc"), "exec", *clean.places, *options, id_, "--", *script]
        start = clean.command("--rm", "--proc-view", "off", *options, "--", *script)
        return subprocess.run(
            start if how == "start" else enter, env=clean.environment, text=True, stdin=subprocess.DEVNULL,
            capture_output=True, pass_fds=[held], timeout=60 * clean.scale, check=False,
        )  # fmt: skip

    assert run().stdout.split() == ["/" * 2 + ".", "0", "1", "2", "3"], "beside its streams only ls's own"
    places = [f"{number}/made-by-an-escape" for number in range(3, 16)]
    for place in (*places, held, f"{held}/..", f"{held}/made-by-an-escape"):
        done = run("-w", f"/proc/self/fd/{place}")
        assert (done.returncode, done.stdout[:4]) in ((125, ""), (0, "//.\n")), (place, done)
    os.close(held)
    clean.pyproc("delete", "--force", id_)
    found = ["find", str(tmp_path), str(clean.base), "/sys/fs/cgroup", "-name", "made-by-an-escape"]
    assert subprocess.run(found, capture_output=True, check=False).stdout == b""


def test_release_agents_are_not_the_containers(clean: Box) -> None:
    """CVE-2022-0492: no v1 hierarchy can be mounted, and none takes a release_agent.

    Without our filter the kernel lets a user namespace of the container's own mount what it sees anyway.
    """
    script = """
mkdir -p /tmp/c; cd /tmp; mount -t cgroup -o memory c c && echo mounted
unshare -UrmC sh -c "mount -t cgroup -o memory c c && { echo $1; echo /x >c/release_agent && echo written; }"
for file in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release); do
    echo 1 >$file && echo written
done
true
"""
    for options, word in (((), "mounted"), (("--security-opt", "seccomp=unconfined"), "")):
        assert clean.run("--rm", *options, "--", "sh", "-c", script, "sh", word).stdout.strip() == ""


def test_nothing_is_inherited(clean: Box) -> None:
    """CVE-2022-29162: a command, by start or by exec, has no inheritable capability."""
    script = "grep -E 'CapInh|CapAmb' /proc/self/status"
    none = ["CapInh:", "0" * 16, "CapAmb:", "0" * 16]
    assert clean.run("--rm", "--cap-add", "sys_admin", "--", "sh", "-c", script).stdout.split() == none
    id_ = clean.start("--", "sleep", "100")
    for user in ("0", "1000"):
        assert clean.pyproc("exec", "-u", user, id_, "--", "sh", "-c", script).stdout.split() == none
    clean.pyproc("delete", "--force", id_)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """Return a root file system of busybox."""
    root = tmp_path / "root"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/sh")
    return root


@pytest.mark.parametrize(
    "text",
    [
        "\0" * 65536, "nobody:x:99999999999:0::/:\n", "nobody:x:-1:-1::/:\n", "nobody:x:4294967295:0::/:\n",
        ":" * 100_000, "x" * (1 << 20),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_hostile_accounts(clean: Box, rootfs: Path, name: str, text: str) -> None:
    """Whatever /etc/passwd and /etc/group hold, a user that isn't there is an error and a number is that number."""
    (rootfs / "etc" / name).write_text(text)
    options = ("--rm", "--proc-view", "off", "--rootfs", str(rootfs))
    assert clean.run(*options, "-u", "5:6", "--", "/bin/sh", "-c", "echo $UID").returncode == 0
    done = clean.run(*options, "-u", "nobody", "--", "/bin/sh", "-c", ":", check=False)
    assert done.returncode == 125
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_accounts_that_are_no_files(clean: Box, rootfs: Path, name: str) -> None:
    """A fifo or a device in their place holds nobody up."""
    os.mkfifo(rootfs / "etc" / name)
    options = ("--rm", "--proc-view", "off", "--rootfs", str(rootfs))
    assert clean.run(*options, "-u", "5", "--", "/bin/sh", "-c", ":").returncode == 0


@pytest.mark.parametrize("place", ["proc", "sys", "dev", "etc", "tmp/deep"])
def test_links_in_an_image_lead_into_it(clean: Box, rootfs: Path, tmp_path: Path, place: str) -> None:
    """CVE-2019-19921, 2021-30465, 2023-27561, 2023-28642: a mount's target that is a link never leads to the host."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "kept").write_text("kept")
    target = rootfs / place
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(canary)
    volume = ("-v", f"{rootfs / 'bin'}:/{place}/volume")
    clean.run("--rm", "--proc-view", "off", "--rootfs", str(rootfs), *volume, "--", "/bin/sh", "-c", ":", check=False)
    assert sorted(os.listdir(canary)) == ["kept"]
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(canary) in line]


def test_no_socket_without_a_file(clean: Box) -> None:
    """CVE-2020-15257: with the host's network a container sees the host's abstract sockets; none of them is ours."""
    options = ("--network", "host", "--proc-view", "off")
    before = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if " @" in line}
    id_ = clean.start(*options, "--", "sh", "-c", "cat /proc/net/unix; sleep 1000")
    other = clean.start(*options, "--", "sleep", "1000")
    said = clean.pyproc("exec", id_, "--", "cat", "/proc/net/unix").stdout + clean.pyproc("logs", id_).stdout
    ours = {line.split()[-1] for line in said.splitlines() if " @" in line} - before
    assert [name for name in ours if "pyproc" in name or "lxcfs" in name or id_ in name or other in name] == []
    for each in (id_, other):
        clean.pyproc("delete", "--force", each)


def test_no_other_user_reaches_its_files(clean: Box) -> None:
    """CVE-2021-41091, CVE-2021-41103: programs that run as root inside are not the host's users' to run."""
    id_ = clean.start("--proc-view", "off", "--", "sleep", "1000")
    storage = clean.base / "storage"
    for below in (f"containers/{id_}/upper", f"containers/{id_}/init"):
        above = [path for path in (storage / below, *(storage / below).parents) if path.is_relative_to(storage)]
        assert any(not path.stat().st_mode & 0o001 for path in above if path != storage), below
    clean.pyproc("delete", "--force", id_)
