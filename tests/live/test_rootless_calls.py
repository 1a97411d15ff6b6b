"""System calls that read no file, in containers of ordinary users: an agent for each user answers them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.cgroup import control, layout
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from lxcfs_py.seccomp import users
from tests.live import test_rootless
from tests.live.box import BIN
from tests.live.test_rootless import PRIVILEGES, UID, User, box_of
from tests.live.test_seccomp import LOOP, NEVER, agents, listeners
from tests.live.test_takeover import ACTS, processes
from tests.unit.test_seccomp_users import LINGERING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        for name in ("home2", "xdg2"):
            self.do_as_root("install", "-d", "-o", str(OTHER), "-m", "700", f"{base}/{name}")
        self.there = layout.detect(Host(), Files())
        self.path = f"/lxcfs-py-users-{os.getpid()}"
        limits = control.Limits(memory_bytes=64 * MIB, cpu_quota_usec=100_000, cpu_period_usec=100_000)
        control.create(Host(), self.there, self.path, limits)
        join = " && ".join(f"echo $$ >{door}" for door in control.doors(self.there, self.path))
        user = self.enter[len(self.root) :]
        self.enter = (*self.root, "sh", "-c", f'{join} && exec "$@"', "sh", *user)

    def serve(self, keeper: str) -> int:
        """Have another daemon serve; return its pid, or that of its keeper."""
        self.stop_daemon()
        enter, self.enter = self.enter, self.root
        try:
            return self.start_daemon(keeper=keeper).pid
        finally:
            self.enter = enter

    def do_as_root(self, *command: str) -> None:
        """Run a command as root there."""
        subprocess.run([*self.root, *command], check=True)

    def other(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the other user."""
        name = [word.replace(str(UID), str(OTHER)) for word in PRIVILEGES]
        own = [f"HOME={self.base}/home2", f"XDG_RUNTIME_DIR={self.base}/xdg2"]
        line = [
            *self.enter[: -len(self.mine[len(self.root) :])],
            *name,
            *self.mine[len(self.root) + len(PRIVILEGES) :],
        ]
        line += [*own, *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=120 * self.scale, check=False)

    def roots(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a container of root's."""
        places = ("--root", f"{self.base}/state", "--storage", f"{self.base}/storage")
        line = [*self.root, str(BIN / "pyproc-run"), *places, "--rm", *arguments]
        timeout = 60 * self.scale
        return subprocess.run(line, env=self.environment, capture_output=True, text=True, check=True, timeout=timeout)

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


wait_for = partial(test_rootless.wait_for, seconds=60)


@pytest.fixture(scope="module")
def both(time_scale: float) -> Iterator[Users]:
    """Yield the box."""
    with box_of(Users, "lxcfs-py-users-", time_scale) as found:
        yield found


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


def test_by_the_root_of_a_user_namespace(mine: Users) -> None:
    """Who is root of a user namespace already, as engines without root are, is who he is outside."""
    inside = ("unshare", "--user", "--map-auto", "--map-root-user", str(BIN / "pyproc-run"))
    places = ("--root", f"{mine.base}/xdg/inner", "--storage", f"{mine.base}/home/inner")
    line = [*mine.enter, *inside, *places, "--rm", "--", "sh", "-c", NUMBERS]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60 * mine.scale)
    assert (done.stdout.split(), done.stderr) == (["16384", "1"], "")


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
    names = {os.readlink(each): each.stat().st_mode & 0o777 for each in Path(f"/proc/{agent}/fd").iterdir()}
    assert [mode for name, mode in names.items() if "lxcfs-py-loads" in name] == [0o600], names
    look = f"cat /proc/{agent}/mem >/dev/null; ls -l /proc/{agent}/fd; cat /proc/{agent}/environ"
    tried = mine.other("sh", "-c", look)
    assert tried.stderr.count("Permission denied") == 3, tried
    tried_by_itself = subprocess.run([*mine.mine, "sh", "-c", look], capture_output=True, text=True, check=False)
    assert tried_by_itself.stderr.count("Permission denied") == 3, tried_by_itself


def test_the_agent_dies(mine: Users, lane: str) -> None:
    """A user that kills its own agent again and again hears of it in no wrong answer, and others not at all."""
    seconds = {"here": 2.5, "uml": 10, "qemu": 40}[lane]
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
        others = mine.other(str(BIN / "pyproc-run"), "--rm", "--", "sh", "-c", NUMBERS)
        assert (others.returncode, others.stdout.split()) == (0, ["16384", "1"]), others
        taken, _, said = hostile.stdout.readline().partition(" ")
        assert int(taken) <= users.MOST_LISTENERS and f"user {UID} has" in said, (taken, said)
        wait_for(mine, lambda: mine.held() <= users.MOST_LISTENERS)
        assert time.monotonic() - begun < 60 * mine.scale
        done = mine.run("--rm", "--", "sh", "-c", NUMBERS)
        assert "tell the host's figures" in done.stderr and str(users.MOST_LISTENERS) in done.stderr
        assert done.stdout.split()[0] != "16384"
        assert mine.roots("-m", "64m", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
        hostile.stdin.close()
    wait_for(mine, lambda: mine.held() == 0)
    assert mine.run("--rm", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"


def test_garbage(mine: Users) -> None:
    """Whoever connects and sends nothing, nonsense or other descriptors ends nothing, and is soon told to stop."""
    text = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
for state in (b'', b'{', b'[' * 9000, STATE, STATE[:-1], bytes(200000)):
    connection, answer = connected()
    assert answer == b'ready', answer
    for sent in (state[:3], state[3:]):
        try:
            socket.send_fds(connection, [sent], [0, 1, 2] * 20) if sent else None
        except OSError:  # it had enough
            break
    connection.close()
waiting = []
while len(waiting) < 40:
    waiting.append(connected())
answers = [answer for _, answer in waiting]
print(answers.count(b'ready'), max(answers).decode(), flush=True)
sys.stdin.read()
"""
    with mine.script(text) as hostile:
        assert hostile.stdout
        taken, _, said = hostile.stdout.readline().partition(" ")
        assert (int(taken), "from which nothing came yet" in said) == (users.MOST_COMING, True), said
        assert mine.roots("-m", "64m", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
        assert hostile.stdin
        hostile.stdin.close()
    assert mine.run("--rm", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"


def test_who_is_refused_and_leaves_something(mine: Users) -> None:
    """Nobody waits until what was sent by a connection that is refused lets itself be closed."""
    text = f"""
made, answers = [], []
for _ in range(40):
    exec({LINGERING!r})
    made.append((listening, lingers))
for listening, lingers in made:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    try:
        socket.send_fds(connection, [b'x'], [lingers.fileno()])
    except BrokenPipeError:  # it was quicker
        pass
    lingers.close()
    answers.append(connection)
print(sum(b'nothing came yet' in each.recv(500) for each in answers), flush=True)
sys.stdin.read()
"""
    daemon = mine.daemon
    with mine.script(text) as hostile:
        assert hostile.stdout and hostile.stdin
        assert int(hostile.stdout.readline()) > 0
        assert mine.roots("-m", "64m", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
        hostile.stdin.close()
    assert mine.run("--rm", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
    assert mine.daemon == daemon
    wait_for(mine, lambda: not children(daemon, "sleep"))


def children(pid: int, name: str) -> list[int]:
    """Return a process's children of that name."""
    found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [each for each in found if Path(f"/proc/{each}/comm").read_text() == f"{name}\n"]


def test_who_has_no_account(mine: Users) -> None:
    """Further ids of a user's (subuid(5)) are no users: they are told so, and nothing of theirs is taken."""
    stranger = [word.replace(str(UID), "300007") for word in PRIVILEGES]
    line = [*mine.root, *stranger, *mine.mine[len(mine.root) + len(PRIVILEGES) :]]
    script = HAND_OVER + "print(connected()[1].decode())"
    done = subprocess.run([*line, str(BIN / "python"), "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "who connects has no account on this host\n"
    root = subprocess.run(
        [*mine.root, "env", f"LXCFS_PY_RUNTIME_DIR={mine.base}/run", str(BIN / "python"), "-c", script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert root.stdout == "root has a socket of its own, seccomp.sock\n"


def test_what_the_kernel_refuses(mine: Users) -> None:
    """For memory that is not there, or may not be written, a call fails as it does without an agent."""
    script = """
import ctypes, errno, mmap
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
only_read = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
for address in (0, 1 << 47, only_read):
    print(libc.sysinfo(ctypes.c_void_p(address)), errno.errorcode[ctypes.get_errno()])
"""
    assert mine.run("--rm", "--", "python3", "-c", script).stdout == "-1 EFAULT\n" * 3


def test_a_file_that_never_closes(mine: Users) -> None:
    """It holds the user's own agent up, who gets another; root's calls and another user's are answered meanwhile."""
    at = mine.base / "never"
    at.mkdir()
    served = subprocess.Popen(
        [*mine.root, str(BIN / "python"), "-c", NEVER_CLOSES, str(at)], stdout=subprocess.PIPE, text=True
    )
    assert served.stdout
    try:
        assert served.stdout.readline() == "serves\n"
        text = f"""
connection, answer = connected()
socket.send_fds(connection, [STATE], [os.open('{at}/file', os.O_RDONLY)])
"""
        hostile = mine.script(text)  # which is held up by the file as well, when it ends
        assert [served.stdout.readline() for _ in range(2)] == ["closing\n"] * 2
        held_up = mine.agents()
        assert mine.roots("-m", "64m", "--", "getconf", "_PHYS_PAGES").stdout == "16384\n"
        done = mine.other(str(BIN / "pyproc-run"), "--rm", "--", "sh", "-c", NUMBERS)
        assert done.stdout.split() == ["16384", "1"], done
        wait_for(mine, lambda: set(mine.agents()) - set(held_up))
        assert mine.run("--rm", "--", "sh", "-c", NUMBERS).stdout.split() == ["16384", "1"]
    finally:
        served.kill()
        served.communicate()
        mine.do_as_root("umount", "-l", str(at))
        hostile.communicate(timeout=60 * mine.scale)
    wait_for(mine, lambda: not set(mine.agents()) & set(held_up))


@pytest.mark.parametrize("name", ["everything", "anew"])
def test_what_ends_below_a_keeper(mine: Users, lane: str, name: str) -> None:
    """Supervisor, agents, all: with a keeper no call of a user's fails or is answered wrongly."""
    holder = mine.serve("process")
    seconds = {"here": 2.5, "uml": 15, "qemu": 60}[lane]
    try:
        calling = subprocess.Popen(
            mine.command("--rm", "--", "python3", "-c", LOOP, str(seconds)), stdin=-3, stdout=-1, stderr=-1, text=True
        )
        wait_for(mine, lambda: users_agents(mine) or calling.poll() is not None)
        time.sleep(seconds / 3)
        ACTS[name](holder, mine.base)
        said, errors = calling.communicate()
        count, wrong, slowest = said.split()
        assert int(count) > 5 and wrong == "0" and float(slowest) < 4 * mine.scale, (
            said,
            errors,
            mine.log.read_text(),
        )
        assert mine.run("--rm", "--", "sh", "-c", NUMBERS).stdout.split() == ["16384", "1"]
    finally:
        mine.serve("none")
    wait_for(mine, lambda: not [pid for pid in users_agents(mine) if pid not in mine.agents()])


def users_agents(box: Users) -> list[int]:
    """Return the user's agents, whoever began them."""
    return [pid for pid in processes(0, box.base)["lxcfs_py.seccomp.agent"] if owner(pid) == UID]


NEVER_CLOSES = NEVER.replace(
    "    async def read(",
    """    async def flush(self, fh):
        print('closing', flush=True)
        await trio.sleep_forever()
    async def read(""",
)
