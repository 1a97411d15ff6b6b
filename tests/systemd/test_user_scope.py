"""Containers of an ordinary user in scopes of its own systemd, made from a session that is not below it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd import host

if TYPE_CHECKING:
    from collections.abc import Iterator

UID, NAME = 4242, "someone"
RUN, PYPROC = host.BIN / "pyproc-run", host.BIN / "pyproc"
MANAGER = Path(f"/sys/fs/cgroup/user.slice/user-{UID}.slice/user@{UID}.service")
SCOPE = MANAGER / "user.slice/pyproc-c.scope"
RUNTIME = f"/run/user/{UID}"
AS_USER = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all",
           "env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", f"HOME=/home/{NAME}")  # fmt: skip


class User:
    """The user; ``session`` is its environment."""

    def __init__(self) -> None:
        self.session: tuple[str, ...] = (f"XDG_RUNTIME_DIR={RUNTIME}",)

    def line(self, *command: str | Path) -> list[str]:
        """Return what runs a command as the user, in the cgroup of the tests."""
        return [*AS_USER, *self.session, *map(str, command)]

    def __call__(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one."""
        return host.run(*self.line(*command), check=check)

    def quietly(self, *command: str | Path) -> int:
        """Run one where what it leaves running has nobody's pipes; return its exit code."""
        null = subprocess.DEVNULL
        return subprocess.run(
            self.line(*command), stdin=null, stdout=null, stderr=null, timeout=120, check=False
        ).returncode

    def state(self) -> dict[str, Any]:
        """Return the container's state."""
        found: dict[str, Any] = json.loads(self(PYPROC, "state", "c").stdout)
        return found


@pytest.fixture(scope="module")
def systemd(installed: None) -> Iterator[None]:
    """Start a systemd for a user whom the host gives ids; afterwards nothing of either is left."""
    host.run("useradd", "-m", "-u", str(UID), NAME)
    for file in ("subuid", "subgid"):
        Path("/etc", file).write_text(f"{NAME}:300000:65536\n")
    host.systemctl("start", f"user@{UID}.service")
    host.systemctl("start", host.SERVICE)
    yield
    host.systemctl("stop", host.SERVICE)
    host.systemctl("stop", f"user@{UID}.service")
    host.run("userdel", "-r", NAME)


@pytest.fixture
def user(systemd: None, time_scale: float) -> Iterator[User]:
    """Yield the user; of its containers no cgroup is left."""
    found = User()
    yield found
    found(PYPROC, "delete", "--force", "c", check=False)
    host.wait(lambda: not scopes(), time_scale)
    units = found("systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "pyproc-*").stdout
    assert units == ""


def scopes() -> list[str]:
    """Return the cgroups of the user's containers."""
    return [at for at, _, _ in os.walk(MANAGER) if "pyproc" in os.path.basename(at)]


def test_limits(user: User) -> None:
    """Limits hold in the cgroup, the view agrees, what root has not delegated is named, and nothing is left."""
    script = "grep MemTotal: /proc/meminfo; grep -c ^processor /proc/cpuinfo; cat /proc/self/cgroup; sleep 1000"
    limits = ("-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "--device-write-bps", "/dev/loop0:1mb")
    line = user.line(RUN, "--rm", "--name", "c", "--proc-view", "require", *limits, "--", "sh", "-c", script)
    with subprocess.Popen(line, stdin=-3, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        said = [started.stdout.readline() for _ in range(3)]
        files = {
            "memory.max": str(64 << 20),
            "cpu.max": "50000 100000",
            "pids.max": "50",
            "memory.swap.max": str(64 << 20),
        }
        found = {name: (SCOPE / name).read_text().strip() for name in files}
        user(PYPROC, "kill", "c", "KILL")
        _, errors = started.communicate(timeout=60)
    assert said == ["MemTotal:          65536 kB\n", "1\n", "0::/\n"], errors
    assert found == files
    told = "not limited, for want of a cgroup with it: io; have root delegate more to user@.service"
    assert (started.returncode, told in errors) == (137, True), errors
    assert not scopes()


def test_calls(user: User) -> None:
    """What asks the kernel and no file is told the scope's limits too, and what enters is; the service's agent is the
    user.
    """
    script = "busybox free -m; getconf _PHYS_PAGES; nproc; sleep 1000"
    assert user.quietly(RUN, "-d", "--name", "c", "-m", "64m", "--cpus", "1", "--", "sh", "-c", script) == 0
    assert user(PYPROC, "exec", "c", "--", "sh", "-c", "getconf _PHYS_PAGES; nproc").stdout.split() == ["16384", "1"]
    lines = user(PYPROC, "logs", "c").stdout.splitlines()
    assert (lines[1].split()[:2], lines[-2:]) == (["Mem:", "64"], ["16384", "1"])
    agents = host.run("pgrep", "-u", str(UID), "-f", "lxcfs_py.seccomp.agent").stdout.split()
    assert len(agents) == 1
    assert host.SERVICE in Path(f"/proc/{agents[0]}/cgroup").read_text()


def test_again(user: User, time_scale: float) -> None:
    """--restart makes a unit of the user's own systemd, which the verbs look after; without lingering it is said."""
    text = Path(f"/home/{NAME}/.config/systemd/user/pyproc-c.service")

    def about(name: str) -> str:
        return user("systemctl", "--user", "show", "--value", "-p", name, text.name).stdout.strip()

    done = user(RUN, "-d", "--restart", "always", "--name", "c", "-m", "64m", "--", "sleep", "1000")
    assert done.stdout == "c\n"
    assert done.stderr == (
        "pyproc-run: --restart always: from your first login to your last logout; "
        f"to have it always: loginctl enable-linger {NAME}\n"
    )
    assert (about("ActiveState"), about("UnitFileState")) == ("active", "enabled")
    assert user(PYPROC, "generate", "systemd", "c").stdout == text.read_text()
    assert (SCOPE / "memory.max").read_text() == f"{64 << 20}\n"
    first = user.state()["pid"]
    os.kill(first, signal.SIGKILL)
    host.wait(lambda: user.state()["status"] == "running" and user.state()["pid"] != first, time_scale, 60)
    user(PYPROC, "stop", "-t", "0", "c")
    assert (about("ActiveState") in ("inactive", "failed"), user.state()["status"]) == (True, "stopped")
    user(PYPROC, "start", "c")
    assert (about("ActiveState"), user.state()["status"]) == ("active", "running")
    user(PYPROC, "rm", "--force", "c")
    assert (about("LoadState"), text.exists()) == ("not-found", False)


def test_memory_is_limited(user: User) -> None:
    """Who takes more than its limit is killed by the kernel."""
    script = "x = bytearray(100 << 20)"
    done = user(RUN, "--rm", "-m", "32m", "--memory-swap", "32m", "--", "python3", "-c", script, check=False)
    assert done.returncode == 137, done.stderr


def test_verbs(user: User) -> None:
    """Exec, pause, update and stats work as in any cgroup, from outside of the user's systemd too."""
    assert user.quietly(RUN, "-d", "--name", "c", "-m", "64m", "--", "sleep", "1000") == 0
    assert user(PYPROC, "exec", "c", "--", "sh", "-c", "cat /proc/self/cgroup; id -u").stdout == "0::/\n0\n"
    user(PYPROC, "exec", "-d", "c", "--", "sleep", "1001")
    pids = json.loads(user(PYPROC, "ps", "--format", "json", "c").stdout)
    assert len(pids) == 2
    assert {Path(f"/proc/{pid}/cgroup").read_text() for pid in pids} == {
        f"0::/{SCOPE.relative_to('/sys/fs/cgroup')}\n"
    }
    user(PYPROC, "pause", "c")
    assert user.state()["status"] == "paused"
    user(PYPROC, "resume", "c")
    user(PYPROC, "update", "--memory", "48m", "--memory-swap", "48m", "c")
    assert (SCOPE / "memory.max").read_text() == f"{48 << 20}\n"
    shown = user("systemctl", "--user", "show", "-p", "MemoryMax,Delegate", "pyproc-c.scope").stdout
    assert sorted(shown.split()) == ["Delegate=yes", f"MemoryMax={48 << 20}"]
    user("systemctl", "--user", "daemon-reload")
    assert (SCOPE / "memory.max").read_text() == f"{48 << 20}\n"
    user(PYPROC, "stop", "-t", "0", "c")
    assert not scopes()
    user(PYPROC, "rename", "c", "d")
    user(PYPROC, "rename", "d", "c")
    assert user.quietly(PYPROC, "start", "c") == 0
    assert (SCOPE / "memory.max").read_text() == f"{48 << 20}\n"


def test_killed_while_it_runs(user: User, time_scale: float) -> None:
    """A pyproc-run that is killed takes container and scope along."""
    line = user.line(RUN, "--name", "c", "--", "sh", "-c", "echo ready; sleep 1000")
    started = subprocess.Popen(line, stdin=-3, stdout=subprocess.PIPE, stderr=-3)
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    assert SCOPE.is_dir()
    started.kill()
    started.wait()
    started.stdout.close()
    host.wait(lambda: not scopes(), time_scale)
    assert user.state()["status"] == "stopped"


@pytest.mark.parametrize("step", [1, 4])
def test_cut_off(user: User, time_scale: float, step: int) -> None:
    """Wherever a start fails nothing is left at once; wherever it is killed nothing is left soon."""
    for how, code in (("fail", 125), ("kill", -signal.SIGKILL)):
        assert user.quietly("env", f"PYPROC_TEST_STOP={how}:{step}", RUN, "--name", "c", "--", "true") == code
        assert how == "kill" or not scopes()
        host.wait(lambda: not scopes(), time_scale)
    assert user(RUN, "--rm", "--", "true").returncode == 0
    assert user(PYPROC, "list", "-q").stdout == ""


def test_who_makes_it(user: User) -> None:
    """What is asked for is what is made: by systemd, or by ourselves where we may."""
    for manager in ("systemd", "cgroupfs"):
        done = user(
            RUN, f"--cgroup-manager={manager}", "--rm", "-m", "64m", "--", "grep", "MemTotal", "/proc/meminfo"
        )
        told = "not limited, for want of a cgroup with it: memory" in done.stderr
        assert (told, done.stdout.split()[1] == "65536") == ((False, True) if manager == "systemd" else (True, False))
    inside = ("systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes", RUN, "--rm", "-m", "64m")
    done = user(*inside, "--cgroup-manager=cgroupfs", "--", "grep", "MemTotal", "/proc/meminfo")
    assert (done.stdout.split()[1], "not limited" in done.stderr) == ("65536", False)


def test_without_a_systemd(user: User) -> None:
    """Where none serves the user it is told what is not limited; who asked for it is told which socket is missing."""
    user.session = (f"XDG_RUNTIME_DIR=/home/{NAME}",)
    done = user(RUN, "--rm", "-m", "64m", "--", "true")
    assert "not limited, for want of a cgroup with it: memory; a systemd of your own gives one" in done.stderr
    done = user(RUN, "--cgroup-manager=systemd", "--rm", "-m", "64m", "--", "true", check=False)
    assert done.returncode == 125
    assert f"can't reach systemd: /home/{NAME}/systemd: No such file or directory; " in done.stderr
    user.session = (f"XDG_RUNTIME_DIR={RUNTIME}",)


def test_by_the_root_of_a_user_namespace(user: User) -> None:
    """Engines without root are root of a user namespace, and ask for the user's systemd."""
    places = ("--root", f"{RUNTIME}/inner", "--storage", f"/home/{NAME}/inner", "--cgroup-manager=systemd")
    inside = ("unshare", "--user", "--map-auto", "--map-root-user", RUN, *places)
    done = user(*inside, "--rm", "--name", "c", "-m", "64m", "--", "grep", "MemTotal", "/proc/meminfo")
    assert (done.stdout.split()[1], "not limited" in done.stderr) == ("65536", False)


def test_nobody_looks_into_who_copies(user: User, time_scale: float) -> None:
    """`pyproc cp` works as root of the container's user namespace; that root sees it with --pid host, and no more."""
    secret = f"/home/{NAME}/secret"
    user("sh", "-c", f"echo secret >{secret}")
    assert user.quietly(RUN, "-d", "--name", "c", "--pid", "host", "--", "sleep", "1000") == 0
    space = os.readlink(f"/proc/{user.state()['pid']}/ns/user")
    null = subprocess.DEVNULL
    with subprocess.Popen(user.line(PYPROC, "cp", "-", "c:/tmp"), stdin=subprocess.PIPE, stdout=null) as copying:

        def within() -> list[str]:
            return [pid for pid in os.listdir("/proc") if pid.isdigit() and copies(pid) == space]

        host.wait(within, time_scale)
        look = (
            "for p in $*; do cat /proc/$p/status >&1; cat /proc/$p/root$0 /proc/$p/environ && echo seen; done; true"
        )
        done = user(PYPROC, "exec", "c", "--", "sh", "-c", look, secret, *within())
        copying.kill()
    assert "Name:\tpyproc" in done.stdout
    assert "secret" not in done.stdout and "seen" not in done.stdout
    assert done.stderr.count("Permission denied") >= 2, done.stderr


def copies(pid: str) -> str:
    """Return the user namespace of a process that copies, "" for others."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return os.readlink(f"/proc/{pid}/ns/user") if b"cp" in words else ""
    except OSError:
        return ""


def test_without_a_system_bus(user: User, time_scale: float) -> None:
    """From outside of the user's systemd one comes in by the system's bus: without one that is said."""
    told = f"your systemd can't take in what is started in {own_cgroup()}: no message bus: "
    remedy = "have root start dbus, or have your systemd start it: systemd-run --user pyproc-run"
    host.systemctl("stop", "dbus.socket", "dbus.service")
    try:
        done = user(RUN, "--rm", "-m", "64m", "--", "true", check=False)
        assert done.returncode == 0
        assert told in done.stderr and remedy in done.stderr and "not limited" in done.stderr, done.stderr
        done = user(RUN, "--cgroup-manager=systemd", "--rm", "--", "true", check=False)
        assert (done.returncode, told in done.stderr, remedy in done.stderr) == (125, True, True), done.stderr
        inside = ("systemd-run", "--user", "--quiet", "--collect", RUN, "--name", "c", "-m", "64m", "--")
        user(*inside, "sleep", "1000")
        host.wait(lambda: user(PYPROC, "state", "c", check=False).returncode == 0, time_scale)
        host.wait(lambda: user.state()["status"] == "running", time_scale)
        assert (SCOPE / "memory.max").read_text() == f"{64 << 20}\n"
    finally:
        host.systemctl("start", "dbus.socket", "dbus.service")


def own_cgroup() -> str:
    """Return the cgroup the tests are in."""
    return Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
