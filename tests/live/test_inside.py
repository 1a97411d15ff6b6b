"""What a container is given: namespaces, environment, privileges, devices, files, streams."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.box import Box

DOCKERS_CAPABILITIES = "00000000a80425fb"
"""As Docker's documentation lists them, and /proc/self/status inside its containers shows them."""
KINDS = ("mnt", "pid", "uts", "ipc", "cgroup")
LINKS = "for n in mnt pid uts ipc cgroup net; do readlink /proc/self/ns/$n; done"


def links(text: str) -> dict[str, str]:
    """Return namespaces by kind."""
    return {kind: line for line in text.split() for kind, colon, _ in [line.partition(":")] if colon}


@pytest.mark.parametrize("network", ["none", "host"])
def test_namespaces(clean: Box, network: str) -> None:
    """Every namespace is the container's own, but the network if the host's was asked for."""
    inside = links(clean.run("--rm", "--network", network, "--", "sh", "-c", LINKS).stdout)
    outside = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in (*KINDS, "net")}
    shared = {kind for kind in outside if outside[kind] == inside[kind]}
    assert shared == ({"net"} if network == "host" else set())


@pytest.mark.needs_timens
def test_clocks_start_with_the_container(clean: Box) -> None:
    """Where the kernel has time namespaces the container has one."""
    assert clean.run("--rm", "--", "readlink", "/proc/self/ns/time").stdout.strip() != os.readlink(
        "/proc/self/ns/time"
    )


@pytest.mark.anywhere
def test_environment(clean: Box) -> None:
    """The environment is PATH, HOME, HOSTNAME and what -e says, nothing of the caller's."""
    text = clean.run("--rm", "--hostname", "me", "-e", "A=1", "-e", "MINE", "--", "env", MINE="2", OTHER="3").stdout
    names = dict(line.split("=", 1) for line in text.splitlines())
    assert names.pop("PATH").split(":")[-1] == "/bin"
    assert names == {"HOME": "/root", "HOSTNAME": "me", "A": "1", "MINE": "2"}


@pytest.mark.parametrize(
    ("options", "capabilities", "no_new_privs"),
    [
        ((), DOCKERS_CAPABILITIES, "0"),
        (("--cap-drop", "ALL", "--cap-add", "CHOWN"), f"{1:016x}", "0"),
        (("--security-opt", "no-new-privileges"), DOCKERS_CAPABILITIES, "1"),
    ],
)
def test_privileges(clean: Box, options: tuple[str, ...], capabilities: str, no_new_privs: str) -> None:
    """The command has Docker's capabilities, or those asked for, and no_new_privs on request."""
    script = "awk '/^Cap(Eff|Prm|Bnd|Inh|Amb)|^NoNewPrivs/ {print $2}' /proc/self/status"
    inherited, *rest, ambient, found = clean.run("--rm", *options, "--", "sh", "-c", script).stdout.split()
    assert set(rest) == {capabilities}
    assert (int(inherited, 16), int(ambient, 16), found) == (0, 0, no_new_privs)


def test_hidden_paths(clean: Box) -> None:
    """What tells of the host's kernel is empty, and cgroups can't be changed from inside."""
    script = (
        "cat /proc/kcore /proc/keys /proc/timer_list; ls /sys/firmware; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/*/x"
    )
    done = clean.run("--rm", "--", "sh", "-c", script, check=False)
    assert done.stdout == ""
    assert done.returncode != 0


def test_devices_there_are(clean: Box) -> None:
    """/dev is minimal, with terminals and shared memory of its own."""
    script = (
        "ls /dev /dev/pts; echo x >/dev/shm/x; echo y >/dev/null; head -c 3 /dev/zero | wc -c; stat -fc %T /dev/shm"
    )
    names = clean.run("--rm", "--", "sh", "-c", script).stdout.split()
    usual = {
        "core",
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
    }
    usual |= {"urandom", "zero"}
    assert names == ["/dev:", *sorted(usual), "/dev/pts:", "ptmx", "3", "tmpfs"]


@pytest.mark.anywhere
def test_read_only_root(clean: Box) -> None:
    """With --read-only the root can't be written, a tmpfs can."""
    script = "echo x >/x; echo x >/etc/x; echo x >/tmp/x && cat /tmp/x"
    done = clean.run("--rm", "--read-only", "--tmpfs", "/tmp", "--", "sh", "-c", script)
    assert done.stdout == "x\n"
    assert done.stderr.count("Read-only file system") == 2


@pytest.mark.anywhere
def test_pid_1(clean: Box) -> None:
    """PID 1 is the command itself; with --init it is a reaper that leaves no zombies and passes the exit code on."""
    assert clean.run("--rm", "--", "sh", "-c", "echo $$").stdout == "1\n"
    script = "(sh -c 'sleep 0.1 &' ); sleep 0.5; ps -o stat= ax | grep -c Z; echo $$; exit 7"
    done = clean.run("--rm", "--init", "--", "sh", "-c", script, check=False)
    zombies, pid = map(int, done.stdout.split())
    assert (zombies, pid > 1, done.returncode) == (0, True, 7)


@pytest.mark.anywhere
def test_an_image_in_place_of_a_command(clean: Box) -> None:
    """Who writes it as after docker run is told how an image is named; the exit code is that of what is not there."""
    done = clean.run("--rm", "--", "nosuchimage", "sh", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (127, 1)
    assert done.stderr.endswith("or is nosuchimage an image? pyproc-run --image nosuchimage\n")
    assert "an image?" not in clean.run("--rm", "--", "/nosuch", check=False).stderr


def test_pid_1_has_no_more_than_the_command(clean: Box) -> None:
    """The reaper has the command's user, rights, filter and environment, and nothing of the caller's."""
    script = (
        "for p in 1 self; do tr '\\0' '\\n' </proc/$p/environ;"
        " grep -E '^(Uid|Gid|Groups|Cap|NoNew|Seccomp)' /proc/$p/status; echo; done;"
        " ls /proc/1/fd | wc -l; cat /proc/1/comm"
    )
    options = ("--rm", "--init", "-u", "12:34", "--cap-add", "SYS_PTRACE", "--security-opt", "no-new-privileges")
    first, own, rest = clean.run(*options, "--", "sh", "-c", script, CALLERS="secret").stdout.split("\n\n")
    assert first.replace("_=", "") == own.replace("PWD=/\n", "") and "Uid:\t12" in first and "secret" not in first
    assert rest.split() == ["0", "pyproc-init"]


@pytest.mark.anywhere
def test_its_own_files_of_etc(clean: Box) -> None:
    """hostname and hosts are the container's, and writing them changes neither its upper layer's nor the host's."""
    script = "cat /etc/hostname; getent hosts me; echo '10.1.2.3 other' >>/etc/hosts; getent hosts other"
    lines = clean.run("--rm", "--hostname", "me", "--", "sh", "-c", script).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["me", "127.0.1.1", "10.1.2.3"]
    with open("/etc/hosts") as hosts:
        assert "10.1.2.3" not in hosts.read()


@pytest.mark.anywhere
def test_streams(clean: Box) -> None:
    """With -i the input is the caller's, without it empty; output and errors stay apart."""
    for options, expected in ((("-i",), "12"), ((), "0")):
        done = subprocess.run(
            clean.command("--rm", *options, "--", "sh", "-c", "wc -c; echo bad >&2"),
            env=clean.environment, input=b"twelve bytes", capture_output=True, check=True,
        )  # fmt: skip
        assert done.stdout.decode().strip() == expected
        assert done.stderr.endswith(b"bad\n")


@pytest.mark.anywhere
def test_another_root(clean: Box) -> None:
    """--rootfs is the lower layer of an overlay: it is seen, and what is written does not reach it."""
    root = clean.base / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    script = "/bin/busybox ls /; echo x >/bin/x; /bin/busybox cat /bin/x; /bin/busybox grep MemTotal /proc/meminfo"
    done = clean.run("--rm", "-m", "64m", "--rootfs", str(root), "--", "/bin/busybox", "sh", "-c", script)
    assert done.stdout.split() == ["bin", "dev", "etc", "proc", "sys", "x", "MemTotal:", "65536", "kB"]
    assert not (root / "bin/x").exists()
