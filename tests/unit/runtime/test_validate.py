"""What is refused, and how it is said."""

from __future__ import annotations

import pytest

from lxcfs_py.errors import Error
from runtime import options, units
from runtime.config import validate
from runtime.config.validate import Facts

HOST = Facts(cpus=frozenset((0, 1)), mems=frozenset((0,)))


def refusal(line: str, facts: Facts = HOST) -> str:
    """Return the message a command line is refused with."""
    with pytest.raises(Error) as caught:
        validate.check(options.parse([*line.split(), "true"]), facts)
    assert caught.value.exit_code == 125
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-m 5m", "-m 5m: too little to run anything; give at least 6m"),
        ("--cpus 0.005", "--cpus 0.005: too little for the kernel; give at least 0.01"),
        ("--cpus 2.5", "--cpus 2.5: the host has 2; give at most 2"),
        (
            "-m 8m --memory-swap 7m",
            "--memory-swap 7m: less than -m 8m, and it counts both; give at least as much, or -1",
        ),
        ("--memory-swap 8m", "--memory-swap without -m: it counts memory and swap together; set -m too"),
        ("-m 8m --memory-reservation 9m", "--memory-reservation 9m: more than -m 8m; give less"),
        ("--cpuset-cpus 0-3", "--cpuset-cpus '0-3': the host has no 2; its CPUs are 0,1"),
        ("--cpuset-mems 1", "--cpuset-mems '1': the host has no 1; its memory nodes are 0"),
        ("--cpu-shares 1", "--cpu-shares 1: out of range; give 2 to 262144"),
        (
            "--pids-limit 4194305",
            "--pids-limit 4194305: more than the kernel can have; give at most 4194304, or -1",
        ),
        ("--cap-add FLY", "--cap-add 'FLY': unknown capability; capabilities(7) lists them; or ALL"),
        ("-v a/data:/data", "-v 'a/data:/data': the source must be an absolute path; write "),
        ("-v :/data", "-v ':/data': not a volume; write it as [NAME:]/inside or /source:/inside, with :ro if it is"),
        ("-v /a:/b:rx", "-v '/a:/b:rx': unknown mode 'rx'; use ro, rw, nocopy, noexec, nosuid, nodev or rprivate"),
        ("-v /a:/", "-v '/a:/': the place inside can't be /; --rootfs DIR replaces the root"),
        ("-v /a:/b -v /c:/b/", "'/b': two mounts for one place; leave one -v, --mount or --tmpfs out"),
        ("--tmpfs tmp", "--tmpfs 'tmp': the place inside must be an absolute path; begin it with /"),
        ("-u a:b:c", "-u 'a:b:c': not a user; write USER or USER:GROUP, by name or number"),
        ("-u 4294967295", "-u '4294967295': not a user; write USER or USER:GROUP, by name or number"),
        ("--name ../x", "--name '../x': not a name; use letters, digits, _ . and -, a letter or digit first"),
        ("--name .x", "--name '.x': not a name; use letters, digits, _ . and -, a letter or digit first"),
        ("--name=", "--name '': not a name; use letters, digits, _ . and -, a letter or digit first"),
        ("-h a/b", "-h 'a/b': not a host name; use letters, digits, - and ., 64 at most"),
        ("-w tmp", "-w 'tmp': not an absolute path; begin it with /"),
        ("-d --rm --restart always", "--restart with --rm: what is removed can't begin again; leave out one of both"),
        ("--stop-signal NONE", "--stop-signal 'NONE': no such signal; name one as TERM, SIGTERM or 15"),
        (
            "--security-opt label=type:x",
            "--security-opt 'label=type:x': unknown option; there are no-new-privileges, seccomp, apparmor, mask,",
        ),
        ("--security-opt mask=proc", "--security-opt 'mask=proc': 'proc' is not an absolute path; begin it with /"),
        ("--cpus 1 --cpu-quota 5000", "--cpus with --cpu-quota or --cpu-period: it says both; leave one out"),
        ("--cpu-quota 10", "--cpu-quota 10: too little for the kernel; give at least 1000, or -1"),
        ("--cpu-period 10", "--cpu-period 10: out of range; give 1000 to 1000000"),
        ("--oom-score-adj -1001", "--oom-score-adj -1001: out of range; give -1000 to 1000"),
        ("--memory-swappiness 101", "--memory-swappiness 101: out of range; give -1 to 100"),
        ("--blkio-weight 9", "--blkio-weight 9: out of range; give 10 to 1000"),
        ("--uts host -h x", "-h with --uts host: it would rename the host; leave one out"),
        ("--group-add a:b", "--group-add 'a:b': not a group; write it by name or number"),
    ],
)
def test_refused(line: str, message: str) -> None:
    """What can't work is refused by one line that names the value and the remedy."""
    assert refusal(line).startswith(message)


def test_the_hosts_part() -> None:
    """What is wrong with the host, not the words, is refused likewise."""
    assert refusal("--name web", HOST.replace(taken=True)).startswith("the name 'web' is taken; choose another")
    assert refusal("-it", HOST.replace(stdin_tty=False)).startswith("-t: the input device is not a TTY")
    assert refusal("-v /no:/x", HOST.replace(missing=("/no",))).startswith("-v '/no:/x': /no does not exist")
    gone = "/gone: No such file or directory"
    assert refusal("--rootfs /gone", HOST.replace(rootfs_problem=gone)).startswith(f"--rootfs {gone}")


@pytest.mark.parametrize(
    "line",
    [
        "-m 6m --cpus 0.01",
        "--cpus 2 --cpuset-cpus 0,1 --cpuset-mems 0",
        "-m 64m --memory-swap 64m",
        "-m 64m --memory-swap -1",
        "--pids-limit -1",
        "--cpu-shares 262144",
        "--name a.b_c-9 -h a.b_c-9",
        "-u bob:staff",
        "-u 4294967294",
        "-d",
        "-t",
        "--security-opt no-new-privileges",
        "--security-opt no-new-privileges=true",
        "--security-opt label=disable --security-opt systempaths=unconfined",
        "--security-opt mask=/a:/b --security-opt unmask=/proc/*:ALL",
        "--cpu-quota -1 --cpu-period 1000 --memory-swappiness -1 --oom-score-adj -1000 --blkio-weight 10",
        "--cap-drop ALL --cap-add chown",
        "--user= --workdir= --hostname=",
        "-v /a:/b:ro --tmpfs /c:size=1m",
    ],
)
def test_accepted(line: str) -> None:
    """What stands on the right side of every limit passes."""
    validate.check(options.parse([*line.split(), "true"]), HOST)


@pytest.mark.parametrize(
    ("text", "expected"), [("a", True), ("a" * 128, True), ("a" * 129, False), ("", False), ("é", False)]
)
def test_is_name(text: str, expected: bool) -> None:
    """A name is short enough for every file system and made of letters no shell or path minds."""
    assert units.is_name(text) is expected
