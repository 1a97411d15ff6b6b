"""Containers that share others' namespaces: one network or one table of processes, views of their own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

pytestmark = pytest.mark.anywhere

TOTAL = "grep MemTotal /proc/meminfo"
SMALL, LARGE = "MemTotal:          65536 kB\n", "MemTotal:         131072 kB\n"


@pytest.fixture(scope="module")
def pod(box: Box) -> Iterator[Box]:
    """Yield a box with a container to be joined, of 64 MiB."""
    names = ("--hostname", "theirs", "--add-host", "db:192.0.2.5", "--dns", "192.0.2.6")
    box.start(
        "--name", "first", "-m", "64m", *names, "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "80"
    )
    yield box
    box.pyproc("delete", "--force", "first")


def joined(pod: Box, option: str, script: str) -> str:
    """Return what a container of 128 MiB prints."""
    return pod.run("--rm", "-m", "128m", option, "container:first", "--", "sh", "-c", script).stdout


def test_one_network(pod: Box) -> None:
    """The loopback, the names and the host name are the other's; processes and memory are not."""
    script = (
        f"{TOTAL}; hostname; grep 192 /etc/hosts /etc/resolv.conf; echo $$; "
        + """
python3 -c "
import time, urllib.request
for _ in range(600):
    try:
        print(urllib.request.urlopen('http://127.0.0.1').status)
        break
    except OSError:
        time.sleep(.1)
"
"""
    )
    said = joined(pod, "--network", script)
    names = "/etc/hosts:192.0.2.5\tdb\n/etc/resolv.conf:nameserver 192.0.2.6\n"
    assert said == f"{LARGE}theirs\n{names}1\n200\n"
    assert pod.pyproc("exec", "first", "--", "sh", "-c", TOTAL).stdout == SMALL


def test_one_table_of_processes(pod: Box) -> None:
    """The other's processes are seen and can be signalled; memory, load and host name are its own."""
    script = f"{TOTAL}; tr '\\0' ' ' </proc/1/cmdline; echo; kill -0 1 && echo mine; hostname | grep -c theirs; nproc"
    lines = joined(pod, "--pid", script).splitlines()
    assert lines[0] == LARGE.strip()
    assert lines[1].startswith("python3 -m http.server")
    assert lines[2:4] == ["mine", "0"]


def test_the_hosts_processes(pod: Box) -> None:
    """With --pid host the container sees the machine's processes, and its own memory."""
    done = pod.run("--rm", "-m", "128m", "--pid", "host", "--", "sh", "-c", f"{TOTAL}; test $$ -gt 1 && echo seen")
    assert done.stdout == f"{LARGE}seen\n"


def test_one_that_has_ended(pod: Box) -> None:
    """What does not run can't be joined, and the error names it."""
    pod.run("--name", "done", "--", "true")
    for option in ("--network", "--pid"):
        failed = pod.run("--rm", option, "container:done", "--", "true", check=False)
        assert failed.returncode == 125
        assert f"{option} container:done: it does not run" in failed.stderr
    pod.pyproc("delete", "done")


@pytest.mark.parametrize("option", ["--network", "--pid"])
def test_started_again(pod: Box, option: str) -> None:
    """It joins what the other has now, by its name; while that does not run it is not started, and says why."""
    kind = {"--network": "net", "--pid": "pid"}[option]
    other = ("-d", "--name", "base", "--", "sleep", "1000")
    pod.run(*other)
    pod.run("--name", "side", option, "container:base", "--", "readlink", f"/proc/self/ns/{kind}")
    pod.pyproc("stop", "-t", "0", "base")
    for verb in ("start", "restart"):
        refused = pod.pyproc(verb, "side", check=False)
        assert refused.returncode == 125 and f"{option} container:base: it does not run" in refused.stderr
    pod.pyproc("start", "base")
    (base,) = json.loads(pod.pyproc("inspect", "base").stdout)
    now = os.readlink(f"/proc/{base['State']['Pid']}/ns/{kind}")
    assert pod.pyproc("start", "-a", "side").stdout == f"{now}\n"
    (side,) = json.loads(pod.pyproc("inspect", "side").stdout)
    assert option == "--pid" or side["HostConfig"]["NetworkMode"] == "container:base"
    pod.pyproc("rm", "-f", "base")
    refused = pod.pyproc("start", "side", check=False)
    assert refused.returncode == 1 and "'base' does not exist" in refused.stderr
    pod.pyproc("rm", "side")
