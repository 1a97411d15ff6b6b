"""``pyproc`` as an OCI runtime: what engines ask of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lxcfs_py.cgroup import control
from runtime import places
from tests.live.busybox import BIN, HARD, PARENT, Bundle, Runtime, left, until

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


def test_namespaces_of_others(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """A pod: pid, network, ipc and uts namespaces are joined by path, the mount namespace is its own."""
    bundle.run("sleep 1000")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "pause")
    first = runtime.state("pause")["pid"]
    second = Bundle(tmp_path / "second", "true")
    second.linux["cgroupsPath"] = f"{PARENT}/{tmp_path.name}-2"
    second.config["hostname"] = ""
    names = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
    for kind, file in names.items():
        second.join(kind, f"/proc/{first}/ns/{file}")
    second.run(
        "for n in pid net ipc uts mnt; do readlink /proc/self/ns/$n; done; hostname; ps | grep -c 'sleep 1000'"
    )
    lines = runtime("run", "--bundle", str(second.write()), "member").stdout.split()
    theirs = [os.readlink(f"/proc/{first}/ns/{file}") for file in (*names.values(), "mnt")]
    assert (lines[:4], lines[4] != theirs[4], lines[5]) == (theirs[:4], True, "box")
    assert int(lines[6]) >= 1
    second.join("network", "/proc/1/ns/nosuch")
    refused = runtime("run", "--bundle", str(second.write()), "member", check=False)
    assert "network namespace /proc/1/ns/nosuch" in refused.stderr


def test_a_user_namespace(runtime: Runtime, bundle: Bundle) -> None:
    """Root inside is nobody outside; it has devices, mounts and a terminal's group of its own; exec is in it too."""
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    subprocess.run(["chown", "-R", "200000:200000", bundle.root], check=True)
    bundle.mount("/etc/hostname", "/etc/hostname", "bind", "ro")
    bundle.run(
        "id; cat /proc/self/uid_map; touch /x; echo x > /dev/null; stat -c %t:%T /dev/zero; echo ready; sleep 1000"
    )
    out = bundle.path / "out"
    with out.open("w") as file:
        subprocess.run(
            [*runtime.command, "run", "-d", "--bundle", bundle.write(), "c"], stdout=file, stderr=file, stdin=-3,
            check=True, env=runtime.environment,
        )  # fmt: skip
    deadline = time.monotonic() + 20 * runtime.scale
    while "ready" not in out.read_text():
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.05)
    assert out.read_text().split() == ["uid=0", "gid=0", "0", "200000", "65536", "1:5", "ready"]
    assert os.stat(bundle.root / "x").st_uid == 200000
    done = runtime("exec", "c", "sh", "-c", "id -u; grep CapEff /proc/self/status; touch /y")
    assert done.stdout.split()[0] == "0"
    assert os.stat(bundle.root / "y").st_uid == 200000
    assert "uid=1000" in runtime("exec", "--user", "1000", "c", "id").stdout


@pytest.mark.needs_timens
def test_time_offsets(runtime: Runtime, bundle: Bundle) -> None:
    """A new time namespace has the offsets that are asked for, and hooks have the host's clocks."""
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 5, "nanosecs": 6}}
    bundle.hook("createRuntime", "cut -d. -f1 /proc/uptime > $LOG")
    bundle.run("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets")
    bundle.config["annotations"] = {"io.lxcfs-py.view": "off"}
    up, *offsets = runtime("run", "--bundle", str(bundle.write()), "c").stdout.split()
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(int(up) - 1000000 - now) < 60 * runtime.scale
    assert offsets == ["monotonic", "5", "6", "boottime", "1000000", "0"]
    assert abs(int((bundle.path / "log").read_text()) - now) < 60 * runtime.scale


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


def test_update_ps_and_events(runtime: Runtime, bundle: Bundle) -> None:
    """Limits change while it runs, from a file and by options; ps names its processes, events tells what it uses."""
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    bundle.run("sleep 1000 & sleep 1000; true")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    resources = json.dumps({"memory": {"limit": 128 << 20, "swap": 256 << 20}, "pids": {"limit": 17}})
    with open(bundle.path / "in", "w+") as file:
        file.write(resources)
        file.seek(0)
        runtime("update", "--resources=-", "c", stdin=file)
    found = json.loads(runtime("events", "--stats", "c").stdout)
    assert (found["type"], found["id"]) == ("stats", "c")
    assert found["data"]["memory"]["usage"]["limit"] == 128 << 20
    assert found["data"]["pids"]["limit"] == 17
    assert found["data"]["memory"]["usage"]["usage"] > 0
    runtime("update", "--memory", "96m", "--pids-limit", "19", "c")
    data = json.loads(runtime("events", "--stats", "c").stdout)["data"]
    assert (data["memory"]["usage"]["limit"], data["pids"]["limit"]) == (96 << 20, 19)
    deadline = time.monotonic() + 20 * runtime.scale
    while len(pids := json.loads(runtime("ps", "--format", "json", "c").stdout)) != 3:
        assert time.monotonic() < deadline
    assert runtime.state("c")["pid"] in pids
    runtime("kill", "--all", "c", "KILL")
    until(runtime, "c", "stopped")


def cgroup_of_somebody_else(path: str) -> list[str]:
    """Make a cgroup in every hierarchy; return its directories."""
    there = places.layout(path)
    control.create(places.host(), there, path, control.Limits())
    return control.directories(there, path)


def test_a_cgroup_that_is_inhabited(runtime: Runtime, bundle: Bundle) -> None:
    """A cgroup in which others live is refused, as they would end with the container, and stays."""
    path = bundle.linux["cgroupsPath"]
    directories = cgroup_of_somebody_else(path)
    other = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: control.enter([f"{directories[0]}/cgroup.procs"]))
    try:
        refused = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
        assert f"linux.cgroupsPath: {path}: 1 processes are in that cgroup" in refused.stderr
        assert (refused.returncode, runtime.status("c"), other.poll()) == (125, "", None)
        assert all(map(os.path.isdir, directories))
    finally:
        other.kill()
        other.wait()
        control.remove(places.host(), places.layout(path), path)


@pytest.mark.parametrize("hook", ["createRuntime", ""])
def test_an_empty_cgroup_of_somebody_elses(runtime: Runtime, bundle: Bundle, hook: str) -> None:
    """A cgroup that is there and empty is the container's, but stays where nothing comes of the container."""
    path = bundle.linux["cgroupsPath"]
    directories = cgroup_of_somebody_else(path)
    if hook:
        bundle.hook(hook, "exit 1")
    else:
        bundle.process["args"] = ["nosuch"]
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 125 if hook else 127
    assert control.directories(places.layout(path), path) == directories
    control.remove(places.host(), places.layout(path), path)


@pytest.mark.parametrize(("version", "limit", "seen"), [
    ("1.0.2", 0, "max"), ("1.3.0", 0, "1"), ("1.3.0", -1, "max"), ("1.0.2", -1, "max"), ("1.0.2", 1, "1"),
])  # fmt: skip
def test_no_processes(runtime: Runtime, bundle: Bundle, version: str, limit: int, seen: str) -> None:
    """A limit of 0 processes is none at all before specification 1.3, and a number from then on; -1 is no limit."""
    bundle.config["ociVersion"] = version
    bundle.linux["resources"]["pids"] = {"limit": limit}
    bundle.process["args"] = ["sleep", "1000"]
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    path = bundle.linux["cgroupsPath"]
    which = places.layout(path).which("pids")
    assert which is not None
    file = Path(which.directory(path), "pids.max")
    assert file.read_text().strip() == seen
    resources = bundle.path / "resources"
    resources.write_text(json.dumps({"pids": {"limit": 0}}))
    runtime("update", "--pids-limit", "7", "c")
    runtime("update", "--resources", str(resources), "c")
    assert file.read_text().strip() == ("1" if version == "1.3.0" else "7")
    runtime("update", "--pids-limit", "0", "c")
    assert file.read_text().strip() == "max"


def test_a_container_with_cgroups_of_its_own(runtime: Runtime, bundle: Bundle) -> None:
    """exec works where the first process has moved to a cgroup below and hands controllers on, as systemd does."""
    bundle.mount("/sys/fs/cgroup", "cgroup", *HARD, kind="cgroup")
    bundle.run(
        "cd /sys/fs/cgroup; [ -d unified ] && cd unified; mkdir init && echo 1 > init/cgroup.procs;"
        "for c in $(cat cgroup.controllers); do echo +$c > cgroup.subtree_control; done; touch /ready; sleep 1000"
    )
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    deadline = time.monotonic() + 20 * runtime.scale
    while not (bundle.root / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert runtime("exec", "c", "echo", "in").stdout == "in\n"
    runtime("delete", "--force", "c")


@pytest.mark.needs_native
@pytest.mark.needs_layers  # an overlay can't be mounted with other ids either
@pytest.mark.parametrize("user", [False, True], ids=["host", "user-namespace"])
def test_a_mount_with_ids_of_its_own(runtime: Runtime, bundle: Bundle, *, user: bool) -> None:
    """What belongs to root on disk is another's inside, and what is made there is root's on disk."""
    volume = bundle.path / "volume"
    volume.mkdir()
    (volume / "file").touch()
    base = 200000 if user else 0
    mappings = [{"containerID": 0, "hostID": base + 1000, "size": 1}]
    bundle.mount("/volume", volume, "bind", "idmap")
    bundle.config["mounts"][-1] |= {"uidMappings": mappings, "gidMappings": mappings}
    if user:
        bundle.linux["namespaces"].append({"type": "user"})
        bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": base, "size": 65536}]
        bundle.linux["gidMappings"] = bundle.linux["uidMappings"]
        subprocess.run(["chown", "-R", f"{base}:{base}", bundle.root], check=True)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.run("stat -c '%u %g' /volume/file; touch /volume/new")
    assert runtime("run", "--bundle", str(bundle.write()), "c").stdout == "1000 1000\n"
    assert (volume / "new").stat().st_uid == 0


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
    moments = 40 if lane == "here" else 6
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
