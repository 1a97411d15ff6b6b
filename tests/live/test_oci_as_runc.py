"""Bundles that give the same with ``pyproc`` and with runc."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.busybox import Bundle, Runtime, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anywhere  # what runc does, and ours


SCENARIOS: dict[str, Callable[[Runtime, Bundle], Any]] = {}


def scenario(function: Callable[[Runtime, Bundle], Any]) -> Callable[[Runtime, Bundle], Any]:
    """Let a function be tried with both runtimes; what it returns must be the same."""
    SCENARIOS[function.__name__] = function
    return function


@scenario
def life(runtime: Runtime, bundle: Bundle) -> Any:
    """Every verb in every state of a container."""
    bundle.process["args"] = ["sleep", "1000"]
    place = str(bundle.write())
    told = []

    def say(*arguments: str) -> None:
        told.append((arguments[0], arguments[-1], runtime.quietly(*arguments) == 0, runtime.status("c")))

    say("start", "c")
    say("kill", "c", "KILL")
    say("delete", "c")
    say("delete", "--force", "c")
    say("create", "--bundle", place, "c")
    say("create", "--bundle", place, "c")
    say("resume", "c")
    say("start", "c")
    say("start", "c")
    say("delete", "c")
    say("pause", "c")
    say("pause", "c")
    say("exec", "c", "true")
    say("resume", "c")
    say("exec", "c", "true")
    say("exec", "c", "false")
    say("exec", "c", "nosuch")
    runtime("kill", "c", "KILL")
    until(runtime, "c", "stopped")
    say("start", "c")
    say("kill", "c", "TERM")
    say("pause", "c")
    say("exec", "c", "true")
    say("delete", "c")
    say("delete", "c")
    say("create", "--bundle", place, "c")
    say("kill", "c", "KILL")
    until(runtime, "c", "stopped")
    say("delete", "c")
    return told


@scenario
def the_state(runtime: Runtime, bundle: Bundle) -> Any:
    """What the specification orders of a state."""
    bundle.config["annotations"] = {"a": "b"}
    runtime.quietly("create", "--bundle", str(bundle.write()), "c")
    found = runtime.state("c")
    runtime("delete", "--force", "c")
    assert found["pid"] > 1
    return found["id"], found["status"], found["bundle"] == str(bundle.path), found["annotations"]


INSIDE = """
id; umask; hostname; cat /proc/sys/kernel/domainname; pwd; env | sort | grep -v ^SHLVL
grep -E '^(Cap|NoNew)' /proc/self/status; grep -E 'open files|core' /proc/self/limits
cat /proc/self/oom_score_adj; cat /proc/sys/net/ipv4/ip_unprivileged_port_start
ls -l /dev | grep -v core | cut -c1-10,26-38,57-
cut -d' ' -f4-6 /proc/self/mountinfo | sed 's,^[^ ]*/rootfs ,ROOT ,' | grep -v -e /sys/fs/cgroup -e '^/null'
cat /proc/keys | wc -c; ls /sys/firmware; echo x > /proc/sys/kernel/shmmax; ls /proc/self/fd | wc -l
ip link show lo | grep -o '<[A-Z,_]*>'; grep -c . /proc/self/cgroup; nice
"""


@scenario
def inside(runtime: Runtime, bundle: Bundle) -> Any:
    """What the command finds."""
    bundle.run(INSIDE)
    bundle.process["user"] |= {"uid": 1000, "gid": 1001, "additionalGids": [5, 77], "umask": 0o027}
    bundle.process["oomScoreAdj"] = 321
    bundle.process["cwd"] = "/made/here"
    bundle.process["rlimits"].append({"type": "RLIMIT_CORE", "hard": 7, "soft": 5})
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "81"}
    bundle.process["env"].append("A=b c")
    return runtime("run", "--bundle", str(bundle.write()), "c", check=False).stdout


@scenario
def mounts(runtime: Runtime, bundle: Bundle) -> Any:
    """Options of all kinds do what runc makes of them."""
    outer = bundle.path / "outer"
    (outer / "inner").mkdir(parents=True)
    (bundle.root / "etc/conf").write_text("kept")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid", "inner", outer / "inner"], check=True)
    try:
        bundle.mount("/a", outer, "bind", "ro")
        bundle.mount("/b", outer, "rbind", "ro", "rprivate")
        bundle.mount("/c", outer, "rbind", "nosuid", "nodev", "rslave")
        bundle.mount("/d/e/f", "/etc/hostname", "bind", "ro", "noexec", "noatime")
        bundle.mount("/t", "tmpfs", "nosuid", "size=1m", "mode=711", "ro", kind="tmpfs")
        bundle.mount("/etc", "tmpfs", "tmpcopyup", "nodev", kind="tmpfs")
        bundle.run(
            "cut -d' ' -f5-6 /proc/self/mountinfo | grep -E '^/([abcdt]|etc)'; cat /etc/conf; stat -c %a /t /etc;"
            "touch /a/x /a/inner/x /b/x /b/inner/x /c/x /t/x; ls /a /a/inner /b/inner /c"
        )
        done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
        return done.returncode, done.stdout, sorted(done.stderr.splitlines())
    finally:
        subprocess.run(["umount", outer / "inner"], check=True)


@scenario
def a_read_only_root(runtime: Runtime, bundle: Bundle) -> Any:
    """The root can't be written, what is mounted in it can."""
    bundle.config["root"]["readonly"] = True
    bundle.run("touch /x; touch /dev/shm/x && echo fine")
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    return done.returncode, done.stdout, done.stderr


@scenario
def exit_codes(runtime: Runtime, bundle: Bundle) -> Any:
    """The command's code is run's and exec's, 128 and the signal if that ended it."""
    told = []
    for script in ("exit 0", "exit 7", "kill -9 $$; exit 9"):
        bundle.run(script)
        told.append(runtime("run", "--bundle", str(bundle.write()), "c", check=False).returncode)
    bundle.run("sleep 1000")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    told += [runtime("exec", "c", "sh", "-c", script, check=False).returncode for script in ("exit 7", "kill -9 $$")]
    runtime("delete", "--force", "c")
    return told


@scenario
def devices(runtime: Runtime, bundle: Bundle) -> Any:
    """Nodes that are asked for are made, and only allowed ones can be opened."""
    bundle.linux["devices"] = [
        {"path": "/dev/sub/loopy", "type": "b", "major": 7, "minor": 99, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/kmesg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
    ]
    bundle.linux["resources"]["devices"] += [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]
    bundle.run("stat -c '%F %a %u %g %t %T' /dev/sub/loopy /dev/kmesg /dev/pipe; head -c1 /dev/sub/loopy;"
               "head -c1 /dev/kmesg | wc -c; echo x > /dev/kmesg; head -c3 /dev/zero | wc -c")  # fmt: skip
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    return done.stdout, sorted(done.stderr.splitlines())


@scenario
def a_process_file(runtime: Runtime, bundle: Bundle) -> Any:
    """exec takes user, limits, capabilities, environment and directory from the file, not from the container."""
    bundle.run("sleep 1000")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    process = {
        "args": ["sh", "-c", "id; pwd; env | sort; grep Cap /proc/self/status; grep files /proc/self/limits; cat"],
        "cwd": "/tmp", "user": {"uid": 5, "gid": 6, "additionalGids": [7]}, "env": ["PATH=/bin", "B=c"],
        "capabilities": {"bounding": ["CAP_KILL"], "effective": [], "permitted": []},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 99, "soft": 99}], "noNewPrivileges": False,
    }  # fmt: skip
    file = bundle.path / "process.json"
    file.write_text(json.dumps(process))
    with open(bundle.path / "in", "w+") as given:
        given.write("given\n")
        given.seek(0)
        done = runtime("exec", "--process", str(file), "c", stdin=given)
    runtime("delete", "--force", "c")
    return done.stdout


@pytest.mark.parametrize("name", SCENARIOS)
def test_as_runc(runtime: Runtime, bundle: Bundle, name: str, tmp_path: Path) -> None:
    """The same bundle gives the same with runc."""
    oracle = Runtime("runc", tmp_path, runtime.scale)
    again = Bundle(tmp_path / "again", "true")
    again.linux["cgroupsPath"] = bundle.linux["cgroupsPath"]
    assert SCENARIOS[name](runtime, bundle) == SCENARIOS[name](oracle, again)
