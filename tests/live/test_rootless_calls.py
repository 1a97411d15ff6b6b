"""System calls that read no file, in containers of ordinary users: each user's are answered by an agent of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.cgroup import control, layout
from lxcfs_py.daemon import mount
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from lxcfs_py.seccomp import users
from tests.live.box import BIN, Box, sigkill
from tests.live.test_rootless import PRIVILEGES, UID, User
from tests.live.test_seccomp import LOOP, agents, agents_during, listeners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.anywhere  # who answers whom
MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]
OTHER = UID + 1
NUMBERS = "getconf _PHYS_PAGES; nproc"
HAND_OVER = f"""
import os, socket, sys
sys.path.insert(0, {str(ROOT)!r})
from runtime.kernel import syscalls as sc
from runtime.process import seccomp
run = os.environ['LXCFS_PY_RUNTIME_DIR']
path = run + '/lxcfs-py/seccomp-users.sock'
def connected():
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(path)
    return connection, connection.recv(500)
STATE = b'{{"fds": ["seccompFd"], "state": {{"id": "x"}}}}'
def listener():
    sc.prctl(38, 1)
    return seccomp.of({{'linux': {{'seccomp': seccomp.answered(None, path)}}}}, 'x', '/').load()
"""
"""What a hostile user may do without ``pyproc-run``."""


class Users(User):
    """A box with a second user, whose containers are in a session with limits."""

    def __init__(self, base: Path, scale: float) -> None:
        super().__init__(base, scale)
        self.mine = self.enter
        self.do_as_root("sh", "-c", f"echo 'other:x:{OTHER}:{OTHER}::/home:/bin/sh' >>/etc/passwd")
        self.there = layout.detect(Host(), Files())
        self.path = f"/lxcfs-py-users-{os.getpid()}"
        limits = control.Limits(memory_bytes=64 * MIB, cpu_quota_usec=100_000, cpu_period_usec=100_000)
        control.create(Host(), self.there, self.path, limits)
        join = " && ".join(f"echo $$ >{door}" for door in control.doors(self.there, self.path))
        user = self.enter[len(self.root) :]
        self.enter = (*self.root, "sh", "-c", f'{join} && exec "$@"', "sh", *user)

    def do_as_root(self, *command: str) -> None:
        """Run a command as root there."""
        subprocess.run([*self.root, *command], check=True)

    def other(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command as the other user."""
        name = [word.replace(str(UID), str(OTHER)) for word in PRIVILEGES]
        variables = self.mine[len(self.root) + len(PRIVILEGES) :]
        line = [*self.root, *name, *variables, *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=120 * self.scale, check=False)

    def script(self, text: str) -> subprocess.Popen[str]:
        """Start a script as the user, outside of any container."""
        line = [*self.mine, str(BIN / "python"), "-c", HAND_OVER + text]
        return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def agents(self) -> list[int]:
        """Return the user's agents."""
        assert self.served
        return [pid for pid in agents(self.daemon) if owner(pid) == UID]

    @property
    def daemon(self) -> int:
        """The supervisor."""
        assert self.served
        return self.served.pid

    def held(self) -> int:
        """Return how many listeners the supervisor holds."""
        return listeners(self.daemon)

    def close(self) -> None:
        """Remove the session too."""
        super().close()
        control.kill_all(Host(), self.there, self.path)
        control.remove(Host(), self.there, self.path)


def owner(pid: int) -> int:
    """Return whose a process is, -1 if it has ended."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[0])
    return -1


def wait_for(box: Box, condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + 60 * box.scale
    while not condition():
        assert time.monotonic() < deadline, box.log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def both(time_scale: float) -> Iterator[Users]:
    """Yield the box; pytest's own directories are closed to other users."""
    base = Path(tempfile.mkdtemp(prefix="lxcfs-py-users-"))
    base.chmod(0o755)
    found = Users(base, time_scale)
    yield found
    found.close()
    shutil.rmtree(base)


@pytest.fixture
def mine(both: Users) -> Iterator[Users]:
    """Yield the box; after a test nothing is held for its containers."""
    yield both
    for id_ in both.ids():
        both.pyproc("delete", "--force", id_)
    wait_for(both, lambda: both.held() == 0)


def test_programs(mine: Users) -> None:
    """busybox's free and uptime, getconf and nproc tell the session's limits, in the container and in what enters."""
    script = f"busybox free -m; busybox uptime; {NUMBERS}"
    done = mine.run("--rm", "--", "sh", "-c", script)
    lines = done.stdout.splitlines()
    assert re.match(r"Mem: +64 ", lines[1]), lines
    assert re.search(r" up [0-2] min", lines[-3])
    assert (lines[-2:], done.stderr) == (["16384", "1"], "")
    name = mine.start("--", "sleep", "1000")
    assert mine.pyproc("exec", name, "--", "sh", "-c", NUMBERS).stdout.split() == ["16384", "1"]
    assert mine.run("--rm", "-u", "7:8", "--", "sh", "-c", NUMBERS).stdout.split() == ["16384", "1"]


def test_whose_agent_it_is(mine: Users) -> None:
    """It is the user, without any right beyond, last in line for the processor and first to go for want of memory."""
    mine.start("--", "sleep", "1000")
    (agent,) = mine.agents()
    status = Path(f"/proc/{agent}/status").read_text()
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert found["Uid"].split() == [str(UID)] * 4
    assert (found["Gid"].split(), found["Groups"].split()) == ([str(users.NOGROUP)] * 4, [])
    assert (int(found["CapPrm"], 16), int(found["CapEff"], 16), found["NoNewPrivs"]) == (0, 0, "1")
    assert Path(f"/proc/{agent}/oom_score_adj").read_text() == f"{users.OOM_SCORE_ADJ}\n"
    assert os.getpriority(os.PRIO_PROCESS, agent) == users.NICE
    look = f"cat /proc/{agent}/mem >/dev/null; ls -l /proc/{agent}/fd; cat /proc/{agent}/environ"
    tried = mine.other("sh", "-c", look)
    assert tried.stderr.count("Permission denied") == 3, tried
    tried_by_itself = subprocess.run([*mine.mine, "sh", "-c", look], capture_output=True, text=True, check=False)
    assert tried_by_itself.stderr.count("Permission denied") == 3, tried_by_itself


def test_the_agent_dies(mine: Users, lane: str) -> None:
    """A user that kills its own agent again and again hears of it in no wrong answer, and others not at all."""
    seconds = {"here": 4, "uml": 10, "qemu": 40}[lane]
    calling = subprocess.Popen(
        mine.command("--rm", "--", "python3", "-c", LOOP, str(seconds)), stdin=-3, stdout=-1, stderr=-1, text=True
    )
    kills = 0
    while calling.poll() is None:
        for pid in mine.agents():
            subprocess.run([*mine.mine, "kill", "-9", str(pid)], check=False, capture_output=True)
            kills += 1
        time.sleep(0.5)
    said, errors = calling.communicate()
    count, wrong, _ = said.split()
    assert kills > 1 and int(count) > 5 and wrong == "0", (kills, said, errors)


def test_ten_thousand_listeners(mine: Users) -> None:
    """A user has so many and is told so; meanwhile another's are taken; when it has ended all places are free."""
    text = """
found, taken, said = listener(), 0, set()
for _ in range(10000):
    connection, answer = connected()
    if answer == b'ready':
        socket.send_fds(connection, [STATE], [found])
        taken += 1
    else:
        said.add(answer.decode())
    connection.close()
print(taken, said, flush=True)
sys.stdin.read()
"""
    with mine.script(text) as hostile:
        assert hostile.stdin and hostile.stdout
        begun = time.monotonic()
        others = mine.other("sh", "-c", f"HOME={mine.base}/home true")
        assert others.returncode == 0
        taken, _, said = hostile.stdout.readline().partition(" ")
        assert int(taken) <= users.MOST_LISTENERS and f"user {UID} has" in said, (taken, said)
        wait_for(mine, lambda: mine.held() <= users.MOST_LISTENERS)
        assert time.monotonic() - begun < 60 * mine.scale
        done = mine.run("--rm", "--", "sh", "-c", NUMBERS)
        assert "tell the host's figures" in done.stderr and str(users.MOST_LISTENERS) in done.stderr
        assert done.stdout.split()[0] != "16384"
        root = [
            *mine.root,
            str(BIN / "pyproc-run"),
            "--root",
            f"{mine.base}/state",
            "--storage",
            f"{mine.base}/storage",
        ]
        found = subprocess.run(
            [*root, "--rm", "-m", "64m", "--", "getconf", "_PHYS_PAGES"],
            env=mine.environment, capture_output=True, text=True, check=True, timeout=60 * mine.scale,
        )  # fmt: skip
        assert found.stdout == "16384\n"
        hostile.stdin.close()
    wait_for(mine, lambda: mine.held() == 0)
    assert mine.run("--rm", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
