"""Containers of an ordinary user, on a machine whose /etc leaves it ids; the view is the system's daemon's."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.images import docker_archive, member, tar
from tests.live.apart import Apart
from tests.live.box import BIN
from tests.live.busybox import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = TypeVar("Kind", bound="User")
UID, FIRST, COUNT = 4242, 300000, 65536
"""The user, and the ids that are left to it."""
SETUP = f"""
mkdir -p "$1/etc" "$1/home" "$1/xdg" && mount -t tmpfs tmpfs "$1/etc" &&
cp -a /etc/. "$1/etc" && mount --move "$1/etc" /etc &&
echo 'someone:x:{UID}:{UID}::/home:/bin/sh' >>/etc/passwd &&
echo 'someone:{FIRST}:{COUNT}' >/etc/subuid && cp /etc/subuid /etc/subgid &&
chown {UID}:{UID} "$1/home" "$1/xdg"
"""
PRIVILEGES = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all")


class User(Apart):
    """A box whose containers are an ordinary user's, in the directories of its own; the daemon is root's."""

    def __init__(self, base: Path, scale: float) -> None:
        super().__init__(base, scale)
        self.do("sh", "-c", SETUP, "sh", str(base))
        self.root = self.enter
        self.start_daemon()
        own = {"HOME": base / "home", "XDG_RUNTIME_DIR": base / "xdg", "LXCFS_PY_RUNTIME_DIR": base / "run"}
        variables = (f"{key}={value}" for key, value in own.items())
        self.enter = (*self.root, *PRIVILEGES, "env", "-i", f"PATH={os.environ['PATH']}", *variables)
        self.places = ()

    def ask(self, *command: str) -> None:
        """Run a command as the user."""
        subprocess.run([*self.enter, *command], check=True)

    def left(self) -> list[str]:
        """Return what is left in the user's directories, and of processes with its ids."""
        places = ("xdg/pyproc", "home/.local/share/pyproc/containers", "home/.local/share/pyproc/layers")
        files = [str(path) for at in places for path in (self.base / at).glob("*")]
        return files + [f"process {pid}" for pid in processes()]


def words(process: Path) -> list[str]:
    """Return a process's command line."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return (process / "cmdline").read_text(errors="replace").split("\0")
    return []


def processes() -> list[int]:
    """Return those of the user and its ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            uid = path.stat().st_uid
            text = (path / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        real = int(text.partition("Uid:")[2].split()[0])
        if "lxcfs_py.seccomp.agent" in words(path):  # it is the daemon's, and goes when it has rested a while
            continue
        if any(each == UID or FIRST <= each < FIRST + COUNT for each in (uid, real)) and "State:\tZ" not in text:
            found.append(int(path.name))
    return found


@contextlib.contextmanager
def box_of(kind: Callable[[Path, float], Kind], prefix: str, scale: float) -> Iterator[Kind]:
    """Yield a user's box in a directory of its own: pytest's are closed to other users."""
    base = Path(tempfile.mkdtemp(prefix=prefix))
    base.chmod(0o755)
    found = kind(base, scale)
    yield found
    found.close()
    shutil.rmtree(base)


def wait_for(box: User, condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds * box.scale
    while not condition():
        assert time.monotonic() < deadline, box.log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def user(time_scale: float) -> Iterator[User]:
    """Yield the user's box."""
    with box_of(User, "lxcfs-py-user-", time_scale) as found:
        yield found
        for id_ in found.ids():
            found.pyproc("delete", "--force", id_)


@pytest.fixture
def mine(user: User) -> Iterator[User]:
    """Yield the box, and see that a test's containers leave nothing."""
    yield user
    for id_ in user.ids():
        user.pyproc("delete", "--force", id_)
    deadline = time.monotonic() + 10 * user.scale
    while (left := user.left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


@pytest.mark.anywhere
def test_who_one_is(mine: User) -> None:
    """The user is root inside, its further ids follow, a filter is loaded, and what is root's is out of reach."""
    volume = mine.base / "home/v"
    mine.ask("mkdir", str(volume))
    script = """id -u; cat /proc/self/uid_map; grep -w Seccomp: /proc/self/status; touch /v/root
    cat /etc/shadow && echo shadow; ls /root /home; mknod /tmp/n c 1 3 && echo node
    echo x >/etc/new && cat /etc/new; echo zero >/dev/zero && echo device; cat /sys/class/net/lo/operstate"""
    done = mine.run("--rm", "-v", f"{volume}:/v", "--", "sh", "-c", script, check=False)
    assert done.stdout.split() == [
        "0", "0", str(UID), "1", "1", str(FIRST), str(COUNT), "Seccomp:", "2", "/home:", "/root:", "x", "device",
        "unknown",
    ]  # fmt: skip
    mine.ask("chmod", "777", str(volume))
    mine.run("--rm", "-u", "1000:1001", "-v", f"{volume}:/v", "--", "touch", "/v/other")
    owners = {
        path.name: (path.stat().st_uid, path.stat().st_gid) for path in (mine.inside / str(volume)[1:]).iterdir()
    }
    assert owners == {"root": (UID, UID), "other": (FIRST + 999, FIRST + 1000)}


@pytest.mark.anywhere
def test_the_view(mine: User) -> None:
    """What /proc says comes from the system's daemon, judged by who reads, and its uptime is the container's."""
    done = mine.run("--rm", "--", "sh", "-c", "cut -d. -f1 /proc/uptime; cat /proc/self/mountinfo")
    uptime, _, mounts = done.stdout.partition("\n")
    assert int(uptime) < 60 * mine.scale
    served = {line.split()[4] for line in mounts.splitlines() if "fuse.lxcfs-py" in line}
    wanted = {"/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/cpuinfo", "/sys/devices/system/cpu"}
    assert {path for path in wanted if any(f"{each}/".startswith(f"{path}/") for each in served)} == wanted


@pytest.mark.anywhere
def test_the_verbs(mine: User) -> None:
    """A detached container is listed, entered, logged, looked at, signalled and deleted; it can't be paused."""
    script = "trap 'echo got; exit' TERM; echo ready; while :; do sleep 0.1; done"
    mine.run("-d", "--name", "web", "--", "sh", "-c", script)
    assert mine.ids() == ["web"]
    wait_for(mine, lambda: mine.pyproc("logs", "web").stdout == "ready\n")
    assert json.loads(mine.pyproc("state", "web").stdout)["status"] == "running"
    done = mine.pyproc(
        "exec", "-u", "7:8", "web", "--", "sh", "-c", "id -u; id -g; cat /proc/1/comm; exit 3", check=False
    )
    assert (done.stdout.split(), done.returncode) == (["7", "8", "sh"], 3)
    pids = json.loads(mine.pyproc("ps", "--format", "json", "web").stdout)
    assert json.loads(mine.pyproc("state", "web").stdout)["pid"] in pids
    for verb, *options in (("pause",), ("update", "--memory", "64m")):
        done = mine.pyproc(verb, *options, "web", check=False)
        assert (done.returncode, "it has no cgroup of its own" in done.stderr) == (1, True), done.stderr
    done = mine.pyproc("delete", "web", check=False)
    assert (done.returncode, "is running" in done.stderr) == (1, True)
    mine.pyproc("kill", "web", "TERM")
    wait_for(mine, lambda: json.loads(mine.pyproc("state", "web").stdout)["status"] == "stopped")
    assert mine.pyproc("logs", "web").stdout == "ready\ngot\n"
    mine.pyproc("delete", "web")
    mine.run("-d", "--name", "all", "--", "sh", "-c", "sleep 100 & sleep 100")
    mine.pyproc("kill", "--all", "all", "KILL")
    wait_for(mine, lambda: json.loads(mine.pyproc("state", "all").stdout)["status"] == "stopped")


@pytest.mark.anywhere
def test_files_of_other_ids(mine: User) -> None:
    """What belongs to ids of the container's goes like what is the user's own: volumes with --rm, and by prune."""
    volumes = mine.inside / str(mine.base)[1:] / "home/.local/share/pyproc/volumes"
    made = "mkdir -m 700 {0}/d && touch {0}/d/f && chown -R 5:6 {0}/d && chown 5:6 {0}"
    mine.run("--rm", "-v", "/v", "--", "sh", "-c", made.format("/v"))
    assert os.listdir(volumes) == [".lock"]
    mine.run("--name", "one", "--", "sh", "-c", made.format("/srv"))
    assert mine.pyproc("prune", "--containers").stdout.splitlines()[0] == "removed one"


@pytest.mark.anywhere
def test_how_verbs_among_the_users_ids_end(mine: User) -> None:
    """A reader that has left is no error, and one that is has its message once."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*mine.enter, str(BIN / "pyproc"), "volume", "ls"],
        stdin=-3,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
    missing = mine.pyproc("volume", "rm", "nosuch", check=False)
    assert (missing.returncode, missing.stderr.count("'nosuch' does not exist")) == (1, 1), missing.stderr


@pytest.mark.needs_layers
@pytest.mark.anywhere
@pytest.mark.parametrize("running", [True, False])
def test_copies(mine: User, running: bool) -> None:
    """Trees go in and come out, running or not: what is root's inside is the user's outside; -a keeps owners."""
    home = mine.base / "home"
    make = "mkdir -p in/sub out && echo text >in/sub/f && chmod 640 in/sub/f && ln -s /etc/shadow in/link"
    mine.ask("sh", "-c", f"cd {home} && rm -rf in out && {make}")
    script = f"mkdir /srv/own && touch /srv/own/f && chown -R 5:6 /srv/own && {'sleep 1000' if running else 'true'}"
    mine.run("-d", "--name", "c", "--", "sh", "-c", script)
    if not running:
        mine.pyproc("wait", "c")
    wait_for(mine, lambda: mine.pyproc("cp", "-a", "c:/srv/own/f", f"{home}/out", check=False).returncode == 0)
    mine.pyproc("cp", f"{home}/in", "c:/root/new")
    mine.pyproc("cp", "c:/root/new", f"{home}/out")
    mine.pyproc("cp", "c:/srv/own", f"{home}/out")
    mine.pyproc("cp", "-a", f"{home}/out/f", "c:/root/kept")
    there = mine.inside / str(home)[1:] / "out"
    assert (there / "new/sub/f").read_text() == "text\n"
    assert os.readlink(there / "new/link") == "/etc/shadow"
    found = {name: (there / name).stat() for name in ("new/sub/f", "own/f", "f")}
    owners = {name: (about.st_uid, about.st_gid) for name, about in found.items()}
    assert owners == {"new/sub/f": (UID, UID), "own/f": (UID, UID), "f": (FIRST + 4, FIRST + 5)}
    line = [*mine.enter, str(BIN / "pyproc"), "cp", "c:/root", "-"]
    with tarfile.open(fileobj=io.BytesIO(subprocess.run(line, check=True, capture_output=True).stdout)) as tar:
        assert {each.name: (each.uid, each.gid) for each in tar if each.name == "root/kept"} == {"root/kept": (5, 6)}
    for source, target, text in (
        ("c:/none", str(home), "none"), ("/etc/shadow", "c:/root", "shadow: Permission denied"),
        ("c:/root/new", "/etc", "new: can't be written: Permission denied"),
    ):  # fmt: skip
        refused = mine.pyproc("cp", source, target, check=False)
        assert (refused.returncode, text in refused.stderr, refused.stderr.count("\n")) == (1, True, 1), refused


@pytest.mark.anywhere
def test_what_is_not_to_be_had(mine: User) -> None:
    """Refused: others' namespaces, the host's processes where no cgroup tells which, units of no systemd."""
    mine.run("-d", "--name", "c", "--", "sleep", "1000")
    for option, text in (
        ("--network=container:c", "the network namespace of another is its user namespace's"),
        ("--pid=container:c", "the pid namespace of another is its user namespace's"),
        (
            "--restart=always",
            f"--restart: no systemd of user {UID} serves at {mine.base}/xdg/systemd/private; loginctl enable",
        ),
        ("--pid=host", "--pid host without a cgroup: nothing tells its processes; a systemd of your own gives one"),
    ):
        done = mine.run("-d", option, "--", "true", check=False)
        assert (done.returncode, text in done.stderr, done.stderr.count("\n")) == (125, True, 1), done.stderr


@pytest.mark.anywhere
def test_limits_that_are_not_held(mine: User) -> None:
    """Without a cgroup of the user's own the container runs, and is told what does not limit it."""
    done = mine.run("--rm", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "--", "true")
    assert (
        "not limited, for want of a cgroup with it: memory, cpu, pids; a systemd of your own gives one" in done.stderr
    )
    assert "not limited" not in mine.run("--rm", "--", "true").stderr


def test_a_delegated_cgroup(mine: User, tmp_path: Path) -> None:
    """In a cgroup2 that is the user's the container has one of its own, with what limits are offered there."""
    top = Path("/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup")
    own = top / f"{tmp_path.name}-{os.getpid()}"
    (own / "here").mkdir(parents=True)
    offered = (top / "cgroup.controllers").read_text().split()
    try:
        for name in set(offered) & {"cpu", "memory", "pids"}:
            (top / "cgroup.subtree_control").write_text(f"+{name}")
        for at in (own, own / "here"):
            for path in (at, *(at / file for file in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"))):
                os.chown(path, UID, UID)
        join = ("sh", "-c", f'echo $$ >{own}/here/cgroup.procs && exec "$@"', "sh")
        root, user = mine.root, mine.enter[len(mine.root) :]
        mine.enter = (*join, *root, *user)
        script = "grep MemTotal: /proc/meminfo; cat /proc/self/cgroup /sys/fs/cgroup/cgroup.procs; sleep 1000"
        done = mine.run("-d", "--name", "c", "-m", "64m", "--pids-limit", "20", "--", "sh", "-c", script)
        wait_for(mine, lambda: len(mine.pyproc("logs", "c").stdout.splitlines()) >= 3)
        said = mine.pyproc("logs", "c").stdout
        held = "memory" in offered
        assert (("not limited" in done.stderr), "MemTotal:          65536 kB" in said) == (not held, held)
        assert "0::/\n" in said
        pid = json.loads(mine.pyproc("state", "c").stdout)["pid"]
        assert f"0::/{own.name}/pyproc/c\n" in Path(f"/proc/{pid}/cgroup").read_text()
        mine.pyproc("pause", "c")
        assert json.loads(mine.pyproc("state", "c").stdout)["status"] == "paused"
        mine.pyproc("resume", "c")
        assert mine.pyproc("exec", "c", "--", "grep", "0::", "/proc/self/cgroup").stdout == "0::/\n"
        mine.pyproc("delete", "--force", "c")
        assert sorted(path.name for path in own.iterdir() if path.is_dir()) == ["here"]
    finally:
        mine.enter = (*mine.root, *mine.enter[-len(user) :])
        wait_for(mine, lambda: not (own / "here/cgroup.procs").read_text())  # the holder cleans up there
        for at in (own / "pyproc", own / "here", own):
            if at.exists():
                at.rmdir()


@pytest.mark.anywhere
def test_one_id_alone(mine: User) -> None:
    """A user without further ids is root inside, is told why there are no others, and can be no one else."""
    enter = mine.enter
    try:
        hide = 'mount --bind /dev/null /etc/subuid && exec "$@"'
        mine.enter = (*mine.root, "unshare", "--mount", "sh", "-c", hide, "sh", *enter[len(mine.root) :])
        done = mine.run("--rm", "--", "sh", "-c", "id -u; cat /proc/self/gid_map; ls -ld /dev/pts/ptmx | cut -c1-10")
        assert done.stdout.split() == ["0", "0", str(UID), "1", "crw-rw-rw-"]
        assert "your own id alone, as root: /etc/subuid leave someone none" in done.stderr
        done = mine.run("--rm", "-u", "5", "--", "true", check=False)
        assert (done.returncode, "user 5:60: this user namespace has no such id" in done.stderr) == (125, True), done
    finally:
        mine.enter = enter


@pytest.mark.anywhere
def test_ids_that_overlap(mine: User) -> None:
    """Lines of /etc/subuid that give the same ids twice, or the user's own, give each once."""
    lines = f"someone:{FIRST}:10\n{UID}:{FIRST}:20\nsomeone:{UID - 2}:5\n"
    with covered(mine, "/etc/subuid", lines):
        done = mine.run("--rm", "--", "cat", "/proc/self/uid_map")
    assert [int(word) for word in done.stdout.split()] == [
        0, UID, 1, 1, FIRST, 10, 11, FIRST + 10, 10, 21, UID - 2, 2, 23, UID + 1, 2,
    ]  # fmt: skip


@pytest.mark.anywhere
@pytest.mark.parametrize("name", ["newuidmap", "newgidmap"])
def test_a_helper_that_fails(mine: User, name: str) -> None:
    """What the helper says against it is told, and nothing is left, be it at a start or at other verbs."""
    with covered(mine, f"/usr/bin/{name}", f"#!/bin/sh\necho {name}: not today >&2; exit 1\n"):
        done = mine.run("--rm", "--", "true", check=False)
        assert (done.returncode, done.stderr.count("\n")) == (125, 1), done.stderr
        field = {"newuidmap": "uidMappings", "newgidmap": "gidMappings"}[name]
        assert f"linux.{field}: {name}: not today; have root give you ranges" in done.stderr
        done = mine.pyproc("volume", "ls", check=False)
        assert (done.returncode, f"{name}: not today" in done.stderr) == (125, True), done.stderr


@contextlib.contextmanager
def covered(mine: User, path: str, text: str) -> Iterator[None]:
    """Let a file say something else to the user meanwhile."""
    source = mine.base / "covering"
    source.write_text(text)
    source.chmod(0o755)
    enter = mine.enter
    script = f'mount --bind {source} {path} && exec "$@"'
    mine.enter = (*mine.root, "unshare", "--mount", "sh", "-c", script, "sh", *enter[len(mine.root) :])
    try:
        yield
    finally:
        mine.enter = enter
        source.unlink()


@pytest.mark.anywhere
def test_directories_of_others(mine: User) -> None:
    """What su(1) hands on of another user's is not used; a home that can't be written is named."""
    enter = mine.enter
    try:
        mine.enter = (*enter, "XDG_RUNTIME_DIR=/run")
        mine.run("--name", "c", "--", "true")
        assert Path(f"/tmp/pyproc-{UID}").stat().st_mode & 0o7777 == 0o700
        assert mine.ids() == ["c"]
        mine.pyproc("delete", "c")
        mine.enter = (*enter, "HOME=/usr")
        done = mine.run("--rm", "--", "true", check=False)
        assert (done.returncode, done.stderr.count("\n")) == (125, 1), done.stderr
        assert "/usr/.local" in done.stderr and "give a --root and a --storage of your own" in done.stderr
    finally:
        mine.enter = enter
        shutil.rmtree(f"/tmp/pyproc-{UID}")


@pytest.mark.needs_layers
@pytest.mark.anywhere
def test_what_others_reach(mine: User) -> None:
    """Others reach no file of a container: one with its owner's rights would give them the user's; umask or not."""
    script = "cp /bin/sh /srv/sh && chmod 6755 /srv/sh && cp /bin/sh /v/sh && chmod 6755 /v/sh"
    enter = mine.enter
    mine.enter = (*enter, "sh", "-c", 'umask 0; exec "$@"', "sh")
    try:
        mine.run("--name", "c", "-v", "v:/v", "--", "sh", "-c", script)
    finally:
        mine.enter = enter
    tops = [mine.inside / str(mine.base / at)[1:] for at in ("home/.local/share/pyproc", "xdg/pyproc")]
    assert [path.name for path in tops[0].rglob("sh") if path.lstat().st_mode & 0o4000] == ["sh", "sh"]
    assert not [path for top in tops for path in top.rglob("*") if _writable(path)]
    look = ["find", *(str(mine.base / at) for at in ("home/.local/share/pyproc", "xdg/pyproc")), "-type", "f"]
    other = [word.replace(str(UID), str(UID + 1)) for word in PRIVILEGES]
    found = subprocess.run([*mine.root, *other, *look], capture_output=True, text=True, check=False).stdout
    assert found == ""
    mine.pyproc("delete", "c")
    mine.pyproc("volume", "rm", "v")


def _writable(path: Path) -> bool:
    about = path.lstat()
    inside = {"upper", "init", "work", "_data", "data"} & set(path.parts)
    return bool(about.st_mode & 0o022) and about.st_mode & 0o170000 != 0o120000 and not inside


@pytest.mark.needs_layers
@pytest.mark.anywhere
def test_after_a_reboot(mine: User) -> None:
    """What a reboot takes of a container is made anew of what it leaves: it is listed, started and deleted."""
    mine.run("--name", "c", "--", "sh", "-c", "echo once >>/srv/f; cat /srv/f")
    shutil.rmtree(mine.inside / str(mine.base / "xdg/pyproc")[1:])
    assert "c" in mine.pyproc("ps", "-a").stdout
    mine.pyproc("start", "c")
    mine.pyproc("wait", "c")
    shutil.rmtree(mine.inside / str(mine.base / "xdg/pyproc")[1:])
    assert mine.ids() == ["c"]
    mine.pyproc("delete", "c")


@pytest.mark.anywhere
def test_root_of_a_user_namespace(mine: User) -> None:
    """Who is root of a user namespace already, as engines without root are, needs no other."""
    places = ("--root", str(mine.base / "xdg/inner"), "--storage", str(mine.base / "home/inner"))
    inside = ("unshare", "--user", "--map-auto", "--map-root-user")
    line = [*mine.enter, *inside, str(BIN / "pyproc-run"), *places, "--rm", "-m", "64m", "--", "sh", "-c"]
    script = f"cat /proc/self/uid_map; ls /dev/null; cut -d. -f1 /proc/uptime; ls -d {mine.base} || echo apart"
    done = subprocess.run([*line, script], capture_output=True, text=True, stdin=-3, check=True)
    *said, uptime, apart = done.stdout.split()
    assert said == ["0", str(UID), "1", "1", str(FIRST), str(COUNT - 1), "/dev/null"]
    assert (int(uptime) < 60 * mine.scale, apart) == (True, "apart")
    assert "not limited, for want of a cgroup with it: memory" in done.stderr
    assert not list((mine.base / "xdg/inner").iterdir())


def test_no_network_of_its_own(mine: User) -> None:
    """Bridges are root's to make: that is said, and nothing is begun."""
    done = mine.run("--network", "bridge", "--", "true", check=False)
    assert (done.returncode, done.stderr.count("root's to make")) == (125, 1), done.stderr


@pytest.mark.anywhere
def test_the_hosts_network(mine: User) -> None:
    """With the host's network /sys is the host's, read-only, and cgroups of the host's don't show."""
    script = "ls /sys/class/net | wc -l; ls /sys/fs/cgroup | wc -l; grep -c ' / /sys ro' /proc/self/mountinfo"
    done = mine.run("--rm", "--network", "host", "--", "sh", "-c", script)
    assert done.stdout.split() == [str(len(os.listdir("/sys/class/net"))), "0", "1"]


@pytest.mark.needs_layers
@pytest.mark.anywhere
def test_what_the_kernel_is_asked(mine: User) -> None:
    """Limits, settings, groups, devices and spaces of the host's are a user's to choose, too."""
    options = (
        "--ipc host --uts host --ulimit core=0 --sysctl net.ipv4.ip_forward=1 --umask 077 --oom-score-adj 500"
        " --device /dev/fuse --group-add 77 --init"
    )
    script = (
        "cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; ulimit -c; umask; id -G; hostname;"
        " stat -c %t:%T /dev/fuse; cat /proc/1/comm"
    )
    done = mine.run("--rm", *options.split(), "--", "sh", "-c", script)
    assert done.stdout.split() == ["1", "500", "0", "0077", "0", "77", os.uname().nodename, "a:e5", "pyproc-init"]
    assert mine.run("--rm", "--shm-size", "1m", "--", "df", "/dev/shm").stdout.split()[-5] == "1024"
    refused = mine.run("--rm", "--device", "/dev/fuse:/dev/other", "--", "true", check=False)
    assert (refused.returncode, "write /dev/fuse" in refused.stderr) == (125, True)


@pytest.mark.anywhere
def test_images(mine: User, tmp_path: Path) -> None:
    """An image is imported, run with the owners and deletions of its layers, written out again and removed."""
    busybox = Path("/bin/busybox").read_bytes()
    own: dict[str, Any] = {"uid": 0, "gid": 0}
    base = tar(
        member("bin", "dir", **own), member("bin/busybox", data=busybox, mode=0o755, **own),
        member("bin/sh", "symlink", linkname="busybox", **own), member("d", "dir", uid=5, gid=6),
        member("d/old", data=b"1", uid=7, gid=8), member("gone", data=b"1", **own),
        member("dev", "dir", **own), member("dev/disk", "block", devmajor=8, devminor=0, **own),
    )  # fmt: skip
    above = tar(member(".wh.gone", **own), member("d/.wh..wh..opq", **own), member("d/new", uid=9, gid=9))
    archive = mine.base / "home/image.tar"
    archive.write_bytes(docker_archive([base, above], "me/try:1", Cmd=["/bin/sh"]))
    id_ = mine.pyproc("import", "-q", str(archive)).stdout.strip()
    assert id_ in mine.pyproc("images", "--no-trunc").stdout
    script = "busybox stat -c '%u %g %n' /d /d/*; busybox ls /; busybox touch /d/x; busybox chown 11:12 /d/x"
    done = mine.run("--image", "me/try:1", "--name", "c", "--", "/bin/sh", "-c", script)
    assert done.stdout.splitlines() == ["5 6 /d", "9 9 /d/new", "bin", "d", "dev", "etc", "proc", "sys"]
    mine.pyproc("delete", "c")
    mine.pyproc("export", "-q", "-o", str(mine.base / "home/out.tar"), "me/try:1")
    with tarfile.open(mine.base / "home/out.tar") as out:
        assert {"index.json", "oci-layout"} <= set(out.getnames())
    mine.pyproc("rmi", "me/try:1")


@pytest.mark.anywhere
def test_a_bundle(mine: User) -> None:
    """A bundle of pyproc spec --rootless is created, started and deleted by its user; one without ids is refused."""
    bundle = Bundle(mine.base / "home/bundle")
    subprocess.run(["chown", "-R", f"{UID}:{UID}", bundle.path], check=True)
    mine.pyproc("spec", "--rootless", "--bundle", str(bundle.path))
    path = bundle.path / "config.json"
    config = json.loads(path.read_text())
    config["process"] |= {"terminal": False, "args": ["sh", "-c", "id -u >/proc/1/fd/1; sleep 100"]}
    config["root"]["readonly"] = False
    path.write_text(json.dumps(config))
    try:
        line = [*mine.enter, str(BIN / "pyproc"), "create", "--bundle", str(bundle.path), "b"]
        subprocess.run(line, check=True, stdin=-3, stdout=-3, stderr=-3)  # the container keeps them
        found = json.loads(mine.pyproc("state", "b").stdout)
        assert found["status"] == "created"
        assert json.loads(mine.pyproc("ps", "--format", "json", "b").stdout) == [found["pid"]]
        for words in (("exec", "b", "--", "true"), ("cp", "b:/bin/sh", "-")):  # nobody but root may look into it
            assert "Permission denied; start it first" in mine.pyproc(*words, check=False).stderr
        mine.pyproc("start", "b")
        assert mine.pyproc("exec", "b", "--", "id", "-u").stdout == "0\n"
        mine.pyproc("delete", "--force", "b")
        config["linux"]["namespaces"].remove({"type": "user"})
        path.write_text(json.dumps(config))
        done = mine.pyproc("create", "--bundle", str(bundle.path), "b", check=False)
        assert (done.returncode, "needs a user namespace" in done.stderr) == (125, True)
    finally:
        shutil.rmtree(bundle.path)


@pytest.mark.anywhere
def test_what_fails_leaves_nothing(mine: User, lane: str) -> None:
    """Whatever step fails, all is undone; whatever step it is killed after, the next start cleans up."""
    shown = mine.run("--dry-run", "--proc-view", "off", "--", "true").stdout.splitlines()
    count = len([line for line in shown if not line.startswith(("execve", "filter"))])
    enter, plain = mine.enter, ("--rm", "--proc-view", "off", "--", "true")
    for number in range(0, count, 6 if lane == "here" else 15):
        for how, code in (("fail", 125), ("kill", -signal.SIGKILL)):
            mine.enter = (*enter, f"PYPROC_TEST_STOP={how}:{number}")
            try:
                done = mine.run(*plain, check=False)
            finally:
                mine.enter = enter
            assert done.returncode == code, (number, done.stderr)
            assert how == "kill" or (f"step {number}" in done.stderr and mine.left() == []), number
        wait_for(mine, lambda: mine.run(*plain) and not mine.left())


@pytest.mark.anywhere
def test_a_killed_start_takes_the_container_along(mine: User) -> None:
    """pyproc-run in the foreground that is killed leaves no process, and the next start removes the rest."""
    started = subprocess.Popen(
        mine.command("--rm", "--", "sh", "-c", "echo ready; sleep 1000"), stdin=-3, stdout=subprocess.PIPE, stderr=-3
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    started.kill()
    started.wait()
    started.stdout.close()
    wait_for(mine, lambda: not processes())
    mine.run("--rm", "--", "true")


@pytest.mark.needs_layers
@pytest.mark.anywhere
def test_a_day(mine: User) -> None:
    """A changed container is looked at, saved while it runs, renamed, and goes; what is root's says whose it is."""
    busybox = Path("/bin/busybox").read_bytes()
    archive = mine.base / "home/day.tar"
    layer = tar(member("bin", "dir", uid=0, gid=0), member("bin/busybox", data=busybox, mode=0o755, uid=0, gid=0))
    archive.write_bytes(docker_archive([layer], "me/day:1", Cmd=["/bin/busybox"]))
    mine.pyproc("import", "-q", str(archive))
    script = "/bin/busybox touch /new && while /bin/busybox sleep 0.1; do /bin/busybox echo tick; done"
    mine.run("-d", "--name", "one", "--image", "me/day:1", "--", "/bin/busybox", "sh", "-c", script)
    wait_for(mine, lambda: "tick" in mine.pyproc("logs", "one").stdout)
    assert "A /new" in mine.pyproc("diff", "one").stdout.splitlines()
    assert "sleep 0.1" in mine.pyproc("top", "one").stdout
    refused = mine.pyproc("commit", "one", "me/day:2", check=False)
    assert (refused.returncode, "it has no cgroup of its own; give --pause=false" in refused.stderr) == (1, True)
    mine.pyproc("commit", "--pause=false", "one", "me/day:2")
    assert mine.pyproc("stats", "--no-stream", "one").stdout.splitlines()[1].split()[0] == "one"
    mine.pyproc("restart", "-t", "0", "one")
    mine.pyproc("stop", "-t", "0", "one")
    mine.pyproc("rename", "one", "two")
    assert mine.pyproc("inspect", "--format", "{{.State.Status}}", "two").stdout == "exited\n"
    mine.pyproc("rm", "two")
    done = mine.run("--rm", "--image", "me/day:2", "--", "/bin/busybox", "ls", "/new")
    assert done.stdout == "/new\n"
    refused = mine.pyproc("network", "ls", check=False)
    assert refused.returncode == 125
    assert "interfaces of the host are root's to make; --network slirp4netns needs no root" in refused.stderr
    mine.pyproc("rmi", "me/day:1", "me/day:2")
