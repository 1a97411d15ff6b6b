"""The options of ``pyproc-run`` and ``pyproc``: data, declared once, and a small reader of them.

The reader serves every start; click, which costs more than the rest of the start together, is built from the
same lists in ``runtime.help`` when somebody asks for help or completion.
"""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime import places, units
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

RUN_USAGE = "[OPTIONS] [--] COMMAND [ARG]..."


class Option(Record):
    """One option. ``kind`` is ``flag`` or a key of ``units.KINDS``; a ``many`` option may be repeated."""

    flags: tuple[str, ...]
    """Its spellings; the last one, long, names it."""
    help: str
    metavar: str = ""
    kind: str = "text"
    many: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""
    otherwise: Callable[[], str] | None = None
    """What it is if it isn't given, where that depends on who asks; ``help`` says it."""
    open: bool = False
    """Other values than the ``choices`` will do, too: these are what completion knows."""
    once: str = ""
    """What to do instead of saying it again with another value, which is an Error; "": the last one counts."""

    @property
    def name(self) -> str:
        """The key of its value: ``--cpu-shares`` is ``cpu_shares``."""
        return self.flags[-1][2:].replace("-", "_")

    def value(self, text: str, flag: str) -> Any:
        """Return what the text means; raises an Error naming the flag, the text and the remedy."""
        if self.choices and not self.open and text not in self.choices:
            raise RunError(f"{flag} {text!r}: unknown value", f"choose from {', '.join(self.choices)}")
        return units.KINDS[self.kind](text, flag)


def _flag(*flags: str, about: str) -> Option:
    return Option(flags, about, kind="flag")


def _choice(flag: str, about: str, *choices: str) -> Option:
    """Return an option that takes one of a few words, the first of them by default."""
    return Option((flag,), about, "|".join(choices), choices=choices, default=choices[0])


ROOT = Option(
    ("--root",),
    f"Directory of the containers' run-time state (default: {places.STATE}, a user's $XDG_RUNTIME_DIR/pyproc)",
    "DIR",
    otherwise=places.state,
)
STORAGE = Option(
    ("--storage",),
    f"Directory of the containers' files and logs (default: {places.STORAGE}, a user's $XDG_DATA_HOME/pyproc)",
    "DIR",
    otherwise=places.storage,
)
MANAGER = (
    Option(
        ("--cgroup-manager",),
        "Who makes its cgroup (default: cgroupfs, for a user systemd if it serves it); disabled: nobody",
        "cgroupfs|systemd|disabled",
        choices=("cgroupfs", "systemd", "disabled"),
        otherwise=lambda: "" if places.rootless() else "cgroupfs",
    ),
    _flag("--systemd-cgroup", about="The same as --cgroup-manager systemd"),
)
HELP = _flag("--help", about="Show this message and exit")
VERSION = _flag("--version", about="Show the version and exit")
COMMON = (
    ROOT,
    STORAGE,
    Option(("--log",), "Write errors and warnings to a file too", "FILE"),
    _choice("--log-format", "How they are written there", "text", "json"),
    _flag("--debug", about="Write there what is done, too"),
    *MANAGER,
    HELP,
)
"""What every verb of ``pyproc`` understands, before its name or after it."""

INTERACTIVE = _flag("-i", "--interactive", about="Pass the standard input on")
TTY = _flag("-t", "--tty", about="Give the command a terminal")
ENV = Option(("-e", "--env"), "Set NAME to VALUE; NAME alone copies yours", "NAME[=VALUE]", many=True)
ENV_FILE = Option(("--env-file",), "Read NAME=VALUE lines from a file", "FILE", many=True)
DETACH = _flag("-d", "--detach", about="Run in the background (pyproc-run prints the id)")
WORKDIR = Option(("-w", "--workdir"), "Working directory inside", "DIR")
USER = Option(("-u", "--user"), "User, and group, by name or number", "USER[:GROUP]")

BUNDLE = Option(("-b", "--bundle"), "Directory of config.json", "DIR", default=".")
CONSOLE_SOCKET = Option(("--console-socket",), "Socket that gets the terminal's master", "PATH")
PID_FILE = Option(("--pid-file",), "Write the process's pid to a file", "FILE")
PRESERVE_FDS = Option(("--preserve-fds",), "Hand through N descriptors from 3 on", "N", "count")
MAKING = (
    BUNDLE,
    CONSOLE_SOCKET,
    PID_FILE,
    PRESERVE_FDS,
    _flag("--no-pivot", about="Move the root instead of pivoting, for hosts that run from a ramfs"),
    _flag("--no-new-keyring", about="Leave it the session keyring of the caller"),
)
"""What making a container from a bundle takes."""

NETWORK = (
    Option(
        ("--net", "--network"),
        "Network: loopback only, the host's, ours with a bridge, another container's, a CNI one",
        "none|host|bridge|NAME|container:NAME|cni:NAME",
        choices=("none", "host", "bridge"),
        default="none",
        open=True,
        once="connect it to the one where those are whom it is to reach",
    ),
    Option(
        ("-p", "--publish"), "Let a port of the host lead to one inside", "[IP:][HOST]:CONTAINER[/udp]", many=True
    ),
    Option(("--ip",), "IPv4 address (default: a free one)", "ADDRESS"),
    Option(("--ip6",), "IPv6 address (default: a free one)", "ADDRESS"),
    Option(("--mac-address",), "Hardware address (default: made of the IPv4 address)", "ADDRESS"),
    Option(("--net-alias", "--network-alias"), "Further name in its network", "NAME", many=True),
    Option(("--dns",), "Name server (default: the host's, if there is a network)", "ADDRESS", many=True),
    Option(("--dns-search",), "Domain that names are looked for in", "DOMAIN", many=True),
    Option(("--dns-option",), "Option of resolv.conf(5)", "OPTION", many=True),
    Option(("--add-host",), "Line of /etc/hosts; host-gateway is the network's gateway", "NAME:ADDRESS", many=True),
)
"""What says which network it gets, and how."""

RUN = (
    Option(("--name",), "Name, which is also the id (12 random hex digits without it)", "NAME"),
    _flag("--rm", about="Remove the container when it ends"),
    DETACH,
    INTERACTIVE,
    TTY,
    Option(("-m", "--memory"), "Memory limit (at least 6m)", "SIZE", "size"),
    Option(("--memory-swap",), "Limit of memory and swap together (default: twice -m; -1: none)", "SIZE", "swap"),
    Option(("--memory-reservation",), "Memory that is left to it under pressure", "SIZE", "size"),
    Option(("--cpus",), "CPU time, in CPUs (at least 0.01)", "N", "cpus"),
    Option(("--cpu-shares",), "Weight against others (2 to 262144; 1024 is the usual)", "N", "count"),
    Option(("--cpuset-cpus",), "CPUs to run on", "LIST", "cpulist"),
    Option(("--cpuset-mems",), "Memory nodes to use", "LIST", "cpulist"),
    Option(("--pids-limit",), "Limit of processes and threads (-1: none)", "N", "pids"),
    Option(("--device-read-bps",), "Limit of bytes read per second", "DEV:SIZE", "device-size", many=True),
    Option(("--device-write-bps",), "Limit of bytes written per second", "DEV:SIZE", "device-size", many=True),
    Option(("--device-read-iops",), "Limit of reads per second", "DEV:N", "device-count", many=True),
    Option(("--device-write-iops",), "Limit of writes per second", "DEV:N", "device-count", many=True),
    Option(
        ("-v", "--volume"),
        "Show a volume, or a file or directory of the host, inside",
        "[NAME:|SRC:]DST[:ro]",
        many=True,
    ),
    Option(("--mount",), "The same by keys: type=bind|volume|tmpfs,source=,target=,...", "KEY=VALUE,...", many=True),
    Option(("--tmpfs",), "Mount a tmpfs", "DST[:OPTIONS]", many=True),
    ENV,
    ENV_FILE,
    WORKDIR,
    USER,
    Option(("-h", "--hostname"), "Host name inside (default: the id)", "NAME"),
    _flag("--read-only", about="Make the root file system read-only"),
    Option(("--cap-add",), "Add a capability, or ALL", "NAME", many=True),
    Option(("--cap-drop",), "Drop a capability, or ALL", "NAME", many=True),
    Option(
        ("--security-opt",),
        "Security option: no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE|unconfined",
        "OPTION",
        many=True,
    ),
    _flag("--privileged", about="Give it all capabilities and devices, and no filter of system calls"),
    *NETWORK,
    Option(
        ("--pid",), "Processes it sees: the host's, or another container's (default: its own)", "host|container:NAME"
    ),
    Option(("--restart",), "When systemd starts it again: no, on-failure[:N], always or unless-stopped", "POLICY"),
    Option(("--stop-signal",), "What asks it to end (default: the image's, else TERM)", "SIGNAL"),
    Option(("--stop-timeout",), "Time it has then before it is killed (10s; -1: any)", "SECONDS", "grace"),
    _flag("--init", about="Run a small reaper as PID 1"),
    Option(("--log-opt",), "A new log begins at max-size=10m; max-file=3 stay", "KEY=VALUE", many=True),
    Option(("--image",), "Image to make it of: its root file system, command, variables and user", "IMAGE"),
    Option(("--entrypoint",), "Program to run instead of the image's (--entrypoint= for none)", "PATH"),
    Option(("--rootfs",), "Root file system (default: the host's programs and libraries)", "DIR"),
    _choice(
        "--proc-view",
        "Truthful /proc: start it if needed, insist on it, or do without",
        "auto",
        "require",
        "off",
    ),
    *MANAGER,
    _flag("--dry-run", about="Print what would be done, step by step, and do nothing"),
    ROOT,
    STORAGE,
    VERSION,
    HELP,
)


class Parsed(Record):
    """What a command line said: a value for every option of the list, and the operands."""

    values: Mapping[str, Any]
    rest: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def defaults(options: Iterable[Option]) -> dict[str, Any]:
    """Return what holds when nothing is said: False, () where repeatable, else the default or None."""
    return {
        option.name: False if option.kind == "flag" else () if option.many else option.default or None
        for option in options
    }


def read(program: str, options: Sequence[Option], argv: Sequence[str], *, interspersed: bool = False) -> Parsed:
    """Read a command line as Docker does: ``-it``, ``-m256m``, ``--memory=256m``, ``--``.

    The first operand ends the options unless they may be ``interspersed``. ``--help`` and ``--version`` end
    the reading. Raises an Error for what is not in the list, lacks its value or has a bad one.
    """
    known = {flag: option for option in options for flag in option.flags}
    values = defaults(options)
    operands: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            operands += rest
            break
        if len(word) < 2 or word[0] != "-":
            operands.append(word)
            if interspersed:
                continue
            operands += rest
            break
        if _take(program, known, word, rest, values) in ("help", "version"):
            break
    for option in options:
        if option.otherwise is not None and values[option.name] is None:
            values[option.name] = option.otherwise()
    return Parsed(values, tuple(operands))


def _take(program: str, known: Mapping[str, Option], word: str, rest: list[str], values: dict[str, Any]) -> str:
    """Enter one word (and its value, from ``rest``) into ``values``; return the last option's name."""
    if word.startswith("--"):
        flag, equals, text = word.partition("=")
        return _enter(program, known, flag, text if equals else None, rest, values)
    letters = word[1:]
    while True:  # a cluster: flags, and at its end perhaps an option with its value
        flag, letters = "-" + letters[0], letters[1:]
        option = known.get(flag)
        if option is None or option.kind != "flag":
            return _enter(program, known, flag, letters.removeprefix("=") if letters else None, rest, values)
        name = _enter(program, known, flag, None, rest, values)
        if not letters:
            return name


def _enter(
    program: str,
    known: Mapping[str, Option],
    flag: str,
    text: str | None,
    rest: list[str],
    values: dict[str, Any],
) -> str:
    option = known.get(flag)
    if option is None:
        raise RunError(f"unknown option {flag}", _suggestion(program, flag, known))
    name = option.name
    if option.kind == "flag":
        values[name] = True if text is None else units.boolean(text, flag)
        return name
    if text is None:
        if not rest:
            raise RunError(f"{flag} needs a value", f"write {flag} {option.metavar}")
        text = rest.pop(0)
    value = option.value(text, flag)
    if option.once and values[name] not in (option.default or None, value):
        raise RunError(f"{flag} {text!r}: {values[name]!r} was said before, and there can be one", option.once)
    values[name] = (*values[name], value) if option.many else value
    return name


def _suggestion(program: str, flag: str, known: Iterable[str]) -> str:
    """Return what to do about an option that does not exist (off the usual path, so imports may cost)."""
    from difflib import get_close_matches

    close = get_close_matches(flag, [name for name in known if name.startswith("--")], n=1, cutoff=0.7)
    return f"did you mean {close[0]}?" if close else f"{program} --help lists them"


def parse(argv: Sequence[str]) -> Parsed:
    """Read ``pyproc-run``'s arguments; ``rest`` is the command and what follows it, untouched."""
    parsed = read("pyproc-run", RUN, argv)
    if not parsed.rest and not (parsed["image"] or parsed["help"] or parsed["version"]):
        raise RunError("no command given", f"usage: pyproc-run {RUN_USAGE}")
    return parsed


def manager(parsed: Parsed) -> str:
    """Return who is to make cgroups, of ``MANAGER``'s words; "" leaves it to what a user has."""
    return "systemd" if parsed["systemd_cgroup"] else str(parsed["cgroup_manager"])


def split(argv: Sequence[str]) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Cut ``pyproc``'s arguments into options before the verb, the verb ("" if none) and what follows it."""
    takes_value = {flag for option in COMMON if option.kind != "flag" for flag in option.flags}
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        index += 2 if argv[index] in takes_value else 1
    return tuple(argv[:index]), "".join(argv[index : index + 1]), tuple(argv[index + 1 :])
