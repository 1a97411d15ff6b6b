"""``pyproc`` as an OCI runtime: what engines ask of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.busybox import BIN, Bundle, Runtime, left

if TYPE_CHECKING:
    from pathlib import Path

ERRORS = {
    "nosuch": "executable file not found in $PATH",
    "/bin/nosuch": "no such file or directory",
    "/etc/file": "permission denied",
}


@pytest.mark.anywhere
@pytest.mark.parametrize("command", ERRORS)
def test_errors_as_engines_read_them(runtime: Runtime, bundle: Bundle, command: str, tmp_path: Path) -> None:
    """create fails with the words engines make 126 and 127 of, in the log as JSON too, and leaves nothing."""
    (bundle.root / "etc/file").write_text("x")
    bundle.process["args"] = [command]
    log = tmp_path / "log"
    runtime.command += ["--log", str(log), "--log-format", "json"]
    done = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
    assert (done.returncode != 0, ERRORS[command] in done.stderr, done.stderr.count("\n")) == (True, True, 1)
    record = json.loads(log.read_text())
    assert (record["level"], ERRORS[command] in record["msg"], record["time"][-1]) == ("error", True, "Z")
    assert runtime.status("c") == ""
    bundle.run("sleep 1000")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    assert ERRORS[command] in runtime("exec", "c", command, check=False).stderr


def test_a_program_of_another_machine(runtime: Runtime, bundle: Bundle) -> None:
    """What only execve finds out fails start, in a sentence."""
    (bundle.root / "bin/odd").write_text("\x00\x01")
    (bundle.root / "bin/odd").chmod(0o755)
    bundle.process["args"] = ["odd"]
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    assert "exec format error" in runtime("start", "c", check=False).stderr


def test_the_first_process_is_the_reapers(runtime: Runtime, bundle: Bundle) -> None:
    """After create and start the command is the child of the subreaper, who gets its exit status."""
    bundle.run("exit 42")
    place = bundle.write()
    script = (
        "import ctypes, os, subprocess, sys\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        f"pid_file = {str(place / 'pid')!r}\n"
        f"options = ['--bundle', {str(place)!r}, '--pid-file', pid_file]\n"
        f"subprocess.run({runtime.command!r} + ['create', *options, 'c'], check=True)\n"
        f"subprocess.run({runtime.command!r} + ['start', 'c'], check=True)\n"
        "pid, status = os.wait()\n"
        "print(pid == int(open(pid_file).read()), os.waitstatus_to_exitcode(status))\n"
    )
    done = subprocess.run(
        ["python3", "-c", script], capture_output=True, text=True, env=runtime.environment, check=True
    )
    assert done.stdout == "True 42\n"


@pytest.mark.anywhere
def test_descriptors(runtime: Runtime, bundle: Bundle) -> None:
    """Only the standard streams and the preserved descriptors get to the command."""
    bundle.run("ls /proc/self/fd; cat <&4; exit $(ls /proc/$$/fd | wc -l)")
    place = str(bundle.write())
    script = (
        "import os, subprocess, sys\n"
        "r, w = os.pipe(); os.write(w, b'through\\n'); os.close(w)\n"
        "os.dup2(r, 4) if r != 4 else None\n"
        "os.dup2(os.open('/dev/null', 0), 3); os.dup2(os.open('/etc', 0), 5)\n"
        f"command = {runtime.command!r} + ['run', '--preserve-fds', sys.argv[1], '--bundle', {place!r}, 'c']\n"
        "sys.exit(subprocess.run(command, pass_fds=(3, 4, 5)).returncode)\n"
    )

    def call(count: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["python3", "-c", script, count], capture_output=True, text=True, env=runtime.environment, check=False
        )

    done = call("2")
    assert done.stdout.split() == ["0", "1", "2", "3", "4", "5", "through"], done.stderr  # 5 is ls's own
    refused = runtime("run", "--preserve-fds", "1", "--bundle", place, "c", check=False)
    assert "descriptor 3 is not open" in refused.stderr


CONSOLE = r"""
import array, os, select, socket, subprocess, sys, time
path, *command = sys.argv[1:]
server = socket.socket(socket.AF_UNIX); server.bind(path); server.listen(1)
subprocess.run(command, check=True)
peer, _ = server.accept()
message, rights, _, _ = peer.recvmsg(100, socket.CMSG_SPACE(4))
master = array.array("i", rights[0][2])[0]
if len(sys.argv) > 1 and os.environ.get("THEN"):
    subprocess.run(os.environ["THEN"].split(), check=True)
out = b""
while True:
    try:
        data = os.read(master, 1000)
    except OSError:
        break
    if not data:
        break
    out += data
print(message, out.decode())
"""


@pytest.mark.anywhere
def test_a_console(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The terminal is the container's own, its /dev/console too, and its master goes to the socket; so for exec."""
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 101}
    bundle.process["user"]["uid"] = 1000
    bundle.run("tty; stty size; stat -c '%u %t' $(tty); [ /dev/console -ef $(tty) ] && echo same; echo hi > /dev/tty")
    create = [
        *runtime.command,
        "create",
        "--bundle",
        str(bundle.write()),
        "--console-socket",
        str(tmp_path / "s"),
        "c",
    ]
    done = subprocess.run(
        ["python3", "-c", CONSOLE, str(tmp_path / "s"), *create], check=True, capture_output=True, text=True,
        env={**runtime.environment, "THEN": " ".join([*runtime.command, "start", "c"])},
    )  # fmt: skip
    assert done.stdout.split("\n")[:5] == ["b'/dev/pts/ptmx' /dev/pts/0", "33 101", "1000 88", "same", "hi"]
    runtime("delete", "--force", "c")
    refused = runtime("create", "--bundle", str(bundle.path), "c", check=False)
    assert "--console-socket" in refused.stderr
    bundle.process["terminal"] = False
    bundle.run("sleep 1000")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    command = [*runtime.command, "exec", "--detach", "--tty", "--console-socket", str(tmp_path / "t"), "--pid-file",
               str(tmp_path / "pid"), "c", "sh", "-c", "tty; echo typed"]  # fmt: skip
    done = subprocess.run(
        ["python3", "-c", CONSOLE, str(tmp_path / "t"), *command], check=True, capture_output=True, text=True,
        env=runtime.environment,
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["b'/dev/pts/ptmx' /dev/pts/0", "typed"]
    assert int((tmp_path / "pid").read_text()) > 1


def test_views(box: Any, tmp_path: Path, bundle: Bundle, time_scale: float) -> None:
    """The truthful files come along, in exec too; an annotation leaves them out, or insists on them."""
    ours = Runtime("pyproc", tmp_path, time_scale, LXCFS_PY_RUNTIME_DIR=box.environment["LXCFS_PY_RUNTIME_DIR"])
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    bundle.run("grep MemTotal /proc/meminfo; sleep 1000")
    count = "grep MemTotal /proc/meminfo"
    assert ours.quietly("run", "-d", "--bundle", str(bundle.write()), "c") == 0
    assert ours("exec", "c", "sh", "-c", count).stdout.split() == ["MemTotal:", "65536", "kB"]
    registered = box.base / "run/lxcfs-py/containers/c.json"
    assert registered.exists()
    ours("delete", "--force", "c")
    assert not registered.exists()
    bundle.without("pid")  # the host's
    assert ours.quietly("run", "-d", "--bundle", str(bundle.write()), "c") == 0
    assert ours("exec", "c", "sh", "-c", count).stdout.split() == ["MemTotal:", "65536", "kB"]
    ours("delete", "--force", "c")
    bundle.config["annotations"] = {"io.lxcfs-py.view": "off"}
    bundle.run(count)
    assert int(ours("run", "--bundle", str(bundle.write()), "c").stdout.split()[1]) > 65536
    lonely = Runtime("pyproc", tmp_path, time_scale, LXCFS_PY_RUNTIME_DIR=str(tmp_path / "nobody"))
    bundle.config["annotations"] = {"io.lxcfs-py.view": "require"}
    done = lonely("run", "--bundle", str(bundle.write()), "c", check=False)
    assert "no lxcfs-py daemon serves" in done.stderr


def test_without_pivot_root(runtime: Runtime, bundle: Bundle) -> None:
    """--no-pivot moves the root instead: the host's tree is as far away, for exec too."""
    bundle.run("sleep 1000")
    assert runtime.quietly("run", "-d", "--no-pivot", "--bundle", str(bundle.write()), "c") == 0
    look = "ls / | tr '\\n' ' '; cut -d' ' -f5 /proc/self/mountinfo | grep -vE '^/(proc|sys|dev)?(/|$)'; echo done"
    assert runtime("exec", "c", "sh", "-c", look).stdout == "bin dev etc proc sys tmp done\n"


@pytest.mark.anywhere
def test_sockets_are_handed_on(runtime: Runtime, bundle: Bundle) -> None:
    """A caller's LISTEN_FDS are the command's, who is told so as sd_listen_fds(3) wants it."""
    bundle.run("echo $LISTEN_FDS $LISTEN_PID; readlink /proc/self/fd/3")
    script = (
        "import os, socket, subprocess, sys\n"
        "server = socket.socket(socket.AF_UNIX)\n"
        "os.dup2(server.fileno(), 3)\n"
        f"command = {runtime.command!r} + ['run', '--bundle', {str(bundle.write())!r}, 'c']\n"
        "subprocess.run(command, pass_fds=(3,), env={**os.environ, 'LISTEN_FDS': '1'}, check=True)\n"
    )
    done = subprocess.run(
        ["python3", "-c", script], capture_output=True, text=True, env=runtime.environment, check=True
    )
    assert re.fullmatch(r"1 1\nsocket:\[\d+\]\n", done.stdout)


def test_scheduling(runtime: Runtime, bundle: Bundle) -> None:
    """Policy, nice value, io priority and personality are those that are asked for; exec may be pinned to CPUs."""
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    bundle.linux["personality"] = {"domain": "LINUX32"}
    bundle.run("cut -d' ' -f19,41 /proc/self/stat; ionice; cat /proc/self/personality; sleep 1000")
    with (bundle.path / "out").open("w") as out:
        command = [*runtime.command, "run", "-d", "--bundle", str(bundle.write()), "c"]
        subprocess.run(command, stdin=-3, stdout=out, check=True, env=runtime.environment)
    deadline = time.monotonic() + 20 * runtime.scale
    while (bundle.path / "out").read_text().count("\n") < 3:
        assert time.monotonic() < deadline, (bundle.path / "out").read_text()
        time.sleep(0.02)
    found = (bundle.path / "out").read_text().splitlines()
    assert found == ["7 3", "best-effort: prio 6", "00000008"]  # PER_LINUX32 (personality(2))
    process = {**bundle.process, "args": ["grep", "Cpus_allowed_list", "/proc/self/status"]}
    file = bundle.path / "process.json"
    file.write_text(json.dumps({**process, "execCPUAffinity": {"initial": "0", "final": "0"}}))
    assert runtime("exec", "--process", str(file), "c").stdout.split()[1] == "0"


@pytest.mark.anywhere
def test_version_features_and_spec(runtime: Runtime, tmp_path: Path) -> None:
    """What engines ask before all else; the configuration to begin with is one that is understood."""
    lines = subprocess.run(
        [BIN / "pyproc", "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert re.fullmatch(r"pyproc version \S+", lines[0])
    assert re.fullmatch(r"spec: 1\.\d+\.\d+", lines[2])
    features = json.loads(runtime("features").stdout)
    assert {"rro", "tmpcopyup", "rslave"} <= set(features["mountOptions"])
    assert features["linux"]["cgroup"]["systemd"]
    assert features["linux"]["netDevices"] == {"enabled": True}
    assert "MPOL_BIND" in features["linux"]["memoryPolicy"]["modes"]
    runtime("spec", "--bundle", str(tmp_path))
    (tmp_path / "rootfs").mkdir()
    refused = runtime("create", "--bundle", str(tmp_path), "c", check=False)
    assert "nobody would hold the terminal" in refused.stderr


@pytest.mark.anywhere
@pytest.mark.slow
def test_a_kill_at_any_moment(runtime: Runtime, bundle: Bundle, lane: str) -> None:
    """create, start, exec or delete killed at any moment: delete --force leaves nothing."""
    bundle.run("sleep 1000")
    place = str(bundle.write())
    moments = 20 if lane == "here" else 6
    create, run = ["create", "--bundle", place, "c"], ["run", "-d", "--bundle", place, "c"]
    verbs = (
        (create, None),
        (["start", "c"], create),
        (["exec", "c", "sleep", "1"], run),
        (["delete", "-f", "c"], run),
    )
    for number in range(moments):
        for verb, before in verbs:
            assert before is None or runtime.quietly(*before) == 0
            process = runtime.start(*verb, stdout=-3, stderr=-3)
            time.sleep(number / moments * 0.1 * runtime.scale)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert runtime.quietly("delete", "--force", "c") == 0
            assert (runtime.status("c"), left()) == ("", [])


@pytest.mark.anywhere
def test_races(runtime: Runtime, bundle: Bundle) -> None:
    """Of many that create one id one succeeds, of many that start it one does, and many that delete it do no harm."""
    bundle.run("sleep 1000")
    place = str(bundle.write())

    def all_at_once(*arguments: str) -> int:
        several = [runtime.start(*arguments, stdout=-3, stderr=-3) for _ in range(8)]
        return [process.wait(60 * runtime.scale) for process in several].count(0)

    assert all_at_once("create", "--bundle", place, "c") == 1
    assert all_at_once("start", "c") == 1
    assert runtime.status("c") == "running"
    assert all_at_once("delete", "--force", "c") == 8
    assert (runtime.status("c"), left()) == ("", [])
