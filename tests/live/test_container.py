"""What a container is kept from, and what starting and ending one leaves."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

CANARY = "canary-7c1e"


@pytest.fixture
def canaries() -> Iterator[list[Path]]:
    """Yield files a container must not be able to read."""
    places = ["/root", "/home", "/var/lib", "/etc", "/etc/ssl/private"]
    found = [Path(place, f".{CANARY}") for place in places if os.path.isdir(place)]
    made = [Path(path) for path in (f"/{CANARY}", f"/etc/.{CANARY}.d", f"/etc/.{CANARY}.d/main")]
    for own in made:
        own.mkdir(exist_ok=True)
        own.chmod(0o755)
    found += [made[0] / "file", made[-1] / "secret.conf"]
    for path in found:
        path.write_text(CANARY)
        path.chmod(0o600)
    yield found
    for path in found:
        path.unlink()
    for own in reversed(made):
        own.rmdir()


def test_secrets_of_the_host(clean: Box, canaries: list[Path]) -> None:
    """Nothing planted in the host's directories can be read, nor its shadow file."""
    names = " ".join(map(str, [*canaries, "/etc/shadow"]))
    done = clean.run("--rm", "--", "sh", "-c", f"cat {names}; ls -a / /root /home", check=False)
    assert CANARY not in done.stdout
    place = canaries[-1].parent
    script = f"cd {place}; stat -c '%a %u %g %Y' .; ls -A; echo x >new; cat new"
    shown = clean.run("--rm", "--", "sh", "-c", script, check=False).stdout.splitlines()
    about = place.stat()
    assert shown == [f"755 {about.st_uid} {about.st_gid} {int(about.st_mtime)}", "x"]
    assert "root:*" not in done.stdout
    assert "root:!" not in done.stdout


def test_only_its_own_processes_and_mounts(clean: Box) -> None:
    """No process of the host is visible, and no mount point of the host's is."""
    text = clean.run("--rm", "--", "sh", "-c", "ls /proc; echo; cut -d' ' -f5 /proc/self/mountinfo").stdout
    pids, mounts = text.split("\n\n")
    assert sorted(name for name in pids.split() if name.isdigit()) in (["1", "2"], ["1", "3"])  # sh and ls
    tops = {"/", "/usr", "/opt", "/etc", "/proc", "/dev", "/sys", "/bin", "/sbin", "/lib", "/lib64", "/lib32"}
    assert all("/" + path.split("/")[1] in tops for path in mounts.split())


def test_kernel_settings_are_read_only(clean: Box) -> None:
    """Files of /proc/sys and /sys can't be written."""
    for path in ("/proc/sys/kernel/hostname", "/sys/kernel/profiling", "/proc/sysrq-trigger"):
        done = clean.run("--rm", "--", "sh", "-c", f"echo 1 > {path}", check=False)
        assert done.returncode != 0, path


def test_devices(clean: Box) -> None:
    """The node of a disk can be made but not opened, and mount fails."""
    disk = next(line.split()[:2] for line in Path("/proc/partitions").read_text().splitlines()[2:])
    script = f"mknod /tmp/disk b {disk[0]} {disk[1]} && head -c 1 /tmp/disk"
    done = clean.run("--rm", "--", "sh", "-c", script, check=False)
    assert "not permitted" in done.stderr or "denied" in done.stderr
    script = script.replace("/tmp/disk", "/dev/disk")  # /dev is a tmpfs that has devices: the rules alone
    done = clean.run("--rm", "--", "sh", "-c", script, check=False)
    assert "not permitted" in done.stderr, done.stderr
    assert clean.run("--rm", "--", "mount", "-t", "tmpfs", "x", "/mnt", check=False).returncode != 0


@pytest.mark.anywhere
def test_writes_stay_inside(clean: Box) -> None:
    """What is written to the root does not reach the host."""
    clean.run("--rm", "--", "sh", "-c", f"echo x > /usr/{CANARY}; echo x > /etc/{CANARY}; echo x > /{CANARY}")
    assert not any(os.path.exists(f"{at}/{CANARY}") for at in ("/usr", "/etc", ""))


def test_pids_limit(clean: Box) -> None:
    """A fork bomb is stopped, and the message says by what."""
    bomb = "import os, time\nfor _ in range(50):\n  try: os.fork()\n  except OSError: break\n"
    done = clean.run("--rm", "--pids-limit", "12", "--", "python3", "-c", bomb, check=False)
    assert "limit of 12 processes" in done.stderr


def test_exec_is_inside(clean: Box) -> None:
    """`exec` sees the same MemTotal, and is in the same namespaces and cgroup."""
    name = clean.start("-m", "80m", "--", "sleep", "100")
    script = "grep MemTotal /proc/meminfo; "
    script += "for n in cgroup ipc mnt net pid uts; do readlink /proc/1/ns/$n /proc/self/ns/$n; done"
    lines = clean.pyproc("exec", name, "--", "sh", "-c", script).stdout.splitlines()
    assert lines[0].split()[1] == "81920"
    assert lines[1::2] == lines[2::2]
    assert clean.pyproc("exec", name, "nosuch", check=False).returncode == 127
    clean.pyproc("delete", "--force", name)


def test_cgroups_of_every_process(clean: Box) -> None:
    """The command, and what `exec` runs, are in the container's cgroup in every hierarchy that has controllers."""
    name = clean.start("--", "sleep", "100")
    clean.pyproc("exec", "-d", name, "--", "sleep", "101")
    first = json.loads((clean.base / "state" / name / "state.json").read_text())["pid"]
    own = os.readlink(f"/proc/{first}/ns/pid")
    pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
    pids = [
        pid for pid in pids if os.path.exists(f"/proc/{pid}/ns/pid") and os.readlink(f"/proc/{pid}/ns/pid") == own
    ]
    assert len(pids) == 2
    for pid in pids:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        elsewhere = [line for line in lines if not line.endswith(f":/pyproc/{name}")]
        assert all(":name=" in line for line in elsewhere), elsewhere
    clean.pyproc("delete", "--force", name)


ERRORS = {
    ("--", "nosuchcommand"): (127, "nosuchcommand"),
    ("--", "/etc/passwd"): (126, "/etc/passwd"),
    ("--rootfs", "/nosuchdir", "--", "true"): (125, "/nosuchdir"),
    ("-m", "5m", "--", "true"): (125, "5m"),
    ("-m", "12q", "--", "true"): (125, "12q"),
    ("--cpus", "0.001", "--", "true"): (125, "0.001"),
    ("--nosuchoption", "--", "true"): (125, "--nosuchoption"),
    ("-v", "/nosuchdir:/x", "--", "true"): (125, "/nosuchdir"),
}


@pytest.mark.anywhere
@pytest.mark.parametrize("arguments", ERRORS, ids=" ".join)
def test_errors_are_one_line(clean: Box, arguments: tuple[str, ...]) -> None:
    """A mistake is one line that names the value, has the right exit code and leaves nothing."""
    code, named = ERRORS[arguments]
    done = clean.run("--rm", *arguments, check=False)
    lines = [line for line in done.stderr.splitlines() if "upper layer" not in line]
    assert (done.returncode, len(lines)) == (code, 1), done.stderr
    assert named in lines[0]
    assert ";" in lines[0], "no remedy"


@pytest.mark.anywhere
def test_a_name_is_taken(clean: Box) -> None:
    """A second container of the same name is refused, and the first is left alone."""
    clean.start("--name", "one", "--", "sleep", "100")
    done = clean.run("--name", "one", "--", "true", check=False)
    assert (done.returncode, "'one'" in done.stderr) == (125, True)
    assert clean.ids() == ["one"]
    clean.pyproc("delete", "--force", "one")


def steps(box: Box) -> int:
    """Return how many steps a start has."""
    lines = box.run("--dry-run", "--proc-view", "off", "--", "true").stdout.splitlines()
    return sum(not line.startswith(("filter ", "execve ")) for line in lines)


@pytest.mark.slow
def test_a_failure_at_any_step_leaves_nothing(clean: Box, lane: str) -> None:
    """Whatever step fails, everything is undone and the step is named."""
    count = steps(clean)
    for number in range(0, count, 1 if lane == "here" else 7):
        done = clean.run("--proc-view", "off", "--", "true", check=False, PYPROC_TEST_STOP=f"fail:{number}")
        assert (done.returncode, f"step {number}" in done.stderr) == (125, True), done.stderr
        assert clean.left() == [], number


@pytest.mark.slow
def test_a_kill_at_any_step_is_cleaned_up(clean: Box, lane: str) -> None:
    """Whatever step pyproc-run is killed after, later starts clean up, those that are killed themselves too."""
    count = steps(clean)
    for number in range(0, count, 1 if lane == "here" else 7):
        done = clean.run("--rm", "--proc-view", "off", "--", "true", check=False, PYPROC_TEST_STOP=f"kill:{number}")
        assert done.returncode == -signal.SIGKILL, (number, done.stderr)
    deadline = time.monotonic() + 20 * clean.scale
    while clean.left() and time.monotonic() < deadline:
        clean.run("--rm", "--proc-view", "off", "--", "true")
    assert clean.left() == []


@pytest.mark.anywhere
def test_many_at_once(clean: Box, lane: str) -> None:
    """Fifty containers at once (fewer where Python is slow) start, and leave nothing when they are stopped."""
    count = 50 if lane == "here" else 8
    started = [
        subprocess.Popen(
            clean.command("-d", "--name", f"c{n}", "--", "sleep", "100"), env=clean.environment, stdin=-3, stdout=-3
        )
        for n in range(count)
    ]
    assert [process.wait(200 * clean.scale) for process in started] == [0] * count
    assert len(clean.ids()) == count
    clean.pyproc("delete", "--force", *clean.ids())
    assert not re.search(r"fuse\.lxcfs-py.*containers", Path("/proc/self/mountinfo").read_text())


@pytest.mark.anywhere
def test_sigterm_is_forwarded_and_the_third_kills(clean: Box) -> None:
    """A command with a handler gets SIGTERM; one that ignores it is killed at the third."""
    for script, count, code in (("trap 'exit 9' TERM; while :; do sleep 0.1; done", 1, 9), ("sleep 100", 3, 137)):
        process = subprocess.Popen(
            clean.command("--rm", "--", "sh", "-c", f"echo ready; {script}"),
            env=clean.environment, stdout=subprocess.PIPE, stdin=-3, stderr=-3,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3 * clean.scale)
        for _ in range(count):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3 * clean.scale)
        assert process.wait(30 * clean.scale) == code
        process.stdout.close()


@pytest.mark.anywhere
def test_a_volume_and_users(clean: Box, tmp_path: Path) -> None:
    """A volume is written, a read-only one is not; -u, -w, -e and --hostname hold."""
    (tmp_path / "ro").mkdir()
    tmp_path.chmod(0o777)
    done = clean.run(
        "--rm", "-v", f"{tmp_path}:/v", "-v", f"{tmp_path}/ro:/ro:ro", "-e", "A=b c", "-w", "/v", "--hostname", "me",
        "--", "sh", "-c", "echo $A > f; hostname >> f; touch /ro/x || echo read-only >> f; id -u >> f",
    )  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "f").read_text().split("\n") == ["b c", "me", "read-only", "0", ""]
    text = clean.run("--rm", "-u", "1234:55", "--", "sh", "-c", "id -u; id -g; grep CapEff /proc/self/status").stdout
    assert text.split() == ["1234", "55", "CapEff:", "0000000000000000"]


@pytest.mark.anywhere
@pytest.mark.slow
def test_a_kill_at_any_moment_is_cleaned_up(clean: Box, lane: str) -> None:
    """pyproc-run killed at random moments of a start: the next start cleans up."""
    chance = random.Random(1)  # the same moments each time
    for _ in range(100 if lane == "here" else 8):
        process = subprocess.Popen(
            clean.command("--rm", "--", "sleep", "0.01"), env=clean.environment, stdin=-3, stdout=-3, stderr=-3
        )
        time.sleep(chance.random() * 0.15 * clean.scale)
        process.kill()
        process.wait()
    deadline = time.monotonic() + 20 * clean.scale
    while clean.left() and time.monotonic() < deadline:
        clean.run("--rm", "--", "true")
    assert clean.left() == []


def test_an_io_limit(clean: Box, disk: tuple[str, Path]) -> None:
    """A direct write to a loop device takes as long as its limit says."""
    loop, at = disk
    script = "dd if=/dev/zero of=/at/f bs=64k count=48 oflag=direct 2>&1 | grep -o '[0-9.]* s,'"
    options = ("--rm", "--device-write-bps", f"{loop}:1m", "-v", f"{at}:/at")
    text = clean.run(*options, "--", "sh", "-c", script).stdout
    assert 2.0 < float(text.split()[0]) < 4.5 * max(1, clean.scale / 4), text


def test_a_file_written_to_a_disk_is_cache(clean: Box, lane: str) -> None:
    """Writing 50 MiB to a disk raises Cached and leaves MemAvailable; with a tmpfs MemAvailable falls."""
    script = """
import re, sys
def info():
    return {k: int(v) >> 10 for k, v in re.findall(r'(\\w+): +(\\d+) kB', open('/proc/meminfo').read())}
a = info()
open(sys.argv[1] + '/file', 'wb').write(bytes(50 << 20))
b = info()
print(b['Cached'] - a['Cached'], a['MemAvailable'] - b['MemAvailable'])
"""
    options = ["--rm", "-m", "256m", "--tmpfs", "/shm", "--"]
    cached, available = map(int, clean.run(*options, "python3", "-c", script, "/shm").stdout.split())
    assert cached == pytest.approx(50, abs=3)
    assert available == pytest.approx(50, abs=3)
    if lane == "here":  # the guests' disks are memory
        cached, available = map(int, clean.run(*options, "python3", "-c", script, "/tmp").stdout.split())
        assert cached == pytest.approx(50, abs=3)
        assert abs(available) < 5
