"""The reader of command lines, and click's view of the same lists."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime import foreign, options, verbs


def given_values(line: str) -> dict[str, Any]:
    """Return what a command line sets, apart from the defaults."""
    parsed = options.parse(line.split())
    usual = options.parse(["true"])
    return {name: value for name, value in parsed.values.items() if value != usual[name]}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("true", {}),
        ("-it true", {"interactive": True, "tty": True}),
        ("-m256m true", {"memory": 256 << 20}),
        ("-m=256m true", {"memory": 256 << 20}),
        ("-m 256m true", {"memory": 256 << 20}),
        ("--memory=256m true", {"memory": 256 << 20}),
        ("--memory 256m true", {"memory": 256 << 20}),
        ("-itm 256m true", {"interactive": True, "tty": True, "memory": 256 << 20}),
        ("-m 1m -m 2m true", {"memory": 2 << 20}),
        ("-e A=1 --env B=2 -eC true", {"env": ("A=1", "B=2", "C")}),
        ("-v /a:/b -v/c:/d:ro true", {"volume": ("/a:/b", "/c:/d:ro")}),
        ("--rm=true --init=false true", {"rm": True}),
        ("--cpus 1.5 true", {"cpus": 1_500_000_000}),
        ("--memory-swap -1 true", {"memory_swap": -1}),
        ("-h box true", {"hostname": "box"}),
        ("--network host true", {"network": ("host",)}),
        ("--net web -p 80 -p 53:53/udp true", {"network": ("web",), "publish": ("80", "53:53/udp")}),
        ("--device-write-iops /dev/sda:5 true", {"device_write_iops": (("/dev/sda", 5),)}),
        ("--env= true", {"env": ("",)}),
    ],
)
def test_parse(line: str, expected: dict[str, Any]) -> None:
    """Docker's ways of writing an option all mean the same."""
    assert given_values(line) == expected


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("top -b -n1", ("top", "-b", "-n1")),
        ("--rm -- -odd --name x", ("-odd", "--name", "x")),
        ("--rm sh -c --help", ("sh", "-c", "--help")),
        ("sh -- -m", ("sh", "--", "-m")),
        ("- x", ("-", "x")),
    ],
)
def test_the_command_keeps_its_own_options(line: str, command: tuple[str, ...]) -> None:
    """What follows the command belongs to the command."""
    assert options.parse(line.split()).rest == command


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--memroy 1m true", "unknown option --memroy; did you mean --memory?"),
        ("--frob host true", "unknown option --frob; pyproc-run --help lists them"),
        (
            "--gpus all true",
            "--gpus is an option that pyproc-run does not have; give the nodes by --device, as /dev/dri, and the"
            " libraries by -v",
        ),
        ("-x true", "unknown option -x; pyproc-run --help lists them"),
        ("-ix true", "unknown option -x; pyproc-run --help lists them"),
        ("-m", "-m needs a value; write -m SIZE"),
        ("--memory", "--memory needs a value; write --memory SIZE"),
        ("-m 12q true", "-m '12q': not a size; write a number with b, k, m or g after it, as 256m or 1.5g"),
        ("--rm=maybe true", "--rm 'maybe': neither true nor false; write --rm alone to switch it on"),
        ("--cpuset-cpus 1-0 true", "--cpuset-cpus '1-0': not a list of numbers; write it as 0-2,7"),
        ("--rm", "no command given; usage: pyproc-run [OPTIONS] [--] COMMAND [ARG]..."),
    ],
)
def test_refused(line: str, message: str) -> None:
    """An error is one line that names the option, the value and the remedy, and exits with 125."""
    with pytest.raises(Error) as caught:
        options.parse(line.split())
    assert str(caught.value) == message
    assert caught.value.exit_code == 125


OF_VERBS = {"--platform"}
"""What remedies name of pyproc's verbs."""
ASKED_FOR = """--name --rm -d --detach -i -t -m --memory --memory-swap --memory-reservation --cpus
--cpu-shares --cpuset-cpus --cpuset-mems --pids-limit --device-read-bps --device-write-bps --device-read-iops
--device-write-iops -v --volume --tmpfs -e --env --env-file -w --workdir -u --user -h --hostname --read-only
--cap-add --cap-drop --security-opt --network -p --publish -P --publish-all --expose --ip --ip6 --mac-address
--network-alias --dns --dns-search --dns-option --add-host --ulimit --sysctl --device --device-cgroup-rule
--shm-size --ipc --uts --cgroupns
--domainname -l --label --label-file --annotation --group-add --umask --cidfile --pidfile -c --cpu-quota --cpu-period
--memory-swappiness --oom-kill-disable --oom-score-adj --blkio-weight --read-only-tmpfs
--volumes-from --pid --init --rootfs --proc-view --root --storage --dry-run --version
--help"""


def test_all_options_are_there() -> None:
    """The documented options exist under their documented spellings."""
    known = {flag for option in options.RUN for flag in option.flags}
    assert set(ASKED_FOR.split()) <= known


def test_what_is_said_of_other_options() -> None:
    """What is said of options of docker's and podman's is said of none that is here, and names none that isn't."""
    known = {flag for option in options.RUN for flag in option.flags}
    assert not known & foreign.OPTIONS.keys()
    for flag, remedy in foreign.OPTIONS.items():
        assert "\n" not in remedy and not remedy.endswith("."), flag
        ours = remedy.partition("pyproc ")[0].partition("by ")[0] if "env -" in remedy else remedy
        named = {word.strip(",;:()'").partition("=")[0] for word in ours.split() if word.startswith("--")}
        assert named <= known | OF_VERBS, (flag, named - known)


def test_what_is_said_of_other_commands() -> None:
    """The same of commands."""
    assert not foreign.VERBS.keys() & {*verbs.VERBS, *verbs.ALIASES}
    with pytest.raises(Error, match="'login' is a command that pyproc does not have; skopeo does it"):
        verbs.resolve("login")
    with pytest.raises(Error, match="unknown command 'inspec'; did you mean inspect"):
        verbs.resolve("inspec")


def test_no_spelling_is_used_twice() -> None:
    """Each spelling belongs to one option."""
    flags = [flag for option in options.RUN for flag in option.flags]
    assert len(flags) == len(set(flags))


def test_help_ends_the_reading() -> None:
    """--help works without a command and before what would be an error."""
    assert options.parse(["--help"])["help"]
    assert options.parse(["--help", "--nonsense"])["help"]
    assert options.parse(["--version"])["version"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("list -q", ((), "list", ("-q",))),
        ("--root /x list", (("--root", "/x"), "list", ())),
        ("--root=/x --storage /y rm a", (("--root=/x", "--storage", "/y"), "rm", ("a",))),
        ("--help", (("--help",), "", ())),
        ("--root", (("--root",), "", ())),
        ("", ((), "", ())),
    ],
)
def test_split(line: str, expected: object) -> None:
    """Options before pyproc's verb are told from the verb, with the values they take."""
    assert options.split(line.split()) == expected


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_line_is_read_or_refused(argv: list[str]) -> None:
    """No command line, however odd, ends in anything but a result or the one Error."""
    try:
        options.parse(argv)
    except Error:
        return


def test_the_reader_stays_cheap() -> None:
    """Reading options and making a configuration imports none of the modules that cost time."""
    code = (
        "import sys; before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(__file__).split('/tests/', maxsplit=1)[0]!r})\n"
        "from runtime import options, state\nfrom runtime.config import spec\n"
        "from runtime.process import terminal, users\n"
        "spec.config(options.parse(['-it', '-m', '256m', 'true']), 'x', {}, time=True)\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-ISc", code], capture_output=True, text=True, check=True)
    costly = {
        "typing", "dataclasses", "re", "json", "enum", "signal", "socket", "subprocess", "pathlib",
        "logging", "argparse", "shutil", "tempfile", "contextlib", "functools", "collections", "click",
        "ctypes",
    }  # fmt: skip
    assert not costly & set(done.stdout.split())
