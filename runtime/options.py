"""The options of ``pyproc-run`` and ``pyproc``: data, declared once.

``runtime.command_line`` reads by them at every start; click, which costs more than the rest of the start together, is
built from the same lists in ``runtime.help`` when somebody asks for help or completion.
"""

from __future__ import annotations

from runtime import places
from runtime.command_line import Option, Parsed, read
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_USAGE = "[OPTIONS] [--] COMMAND [ARG]..."


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
JSON = _flag("--json", about="Print JSON")
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

KERNEL = (
    Option(("--ulimit",), "Limit of each process (-1: none)", "NAME=SOFT[:HARD]", many=True),
    Option(("--sysctl",), "Kernel setting of its own namespaces", "NAME=VALUE", many=True),
    Option(("--device",), "Device of the host, or directory of such, to use inside", "SRC[:DST][:rwm]", many=True),
    Option(
        ("--device-cgroup-rule",),
        "Devices that it may use if it makes nodes of them",
        "'TYPE MAJOR:MINOR rwm'",
        many=True,
    ),
    Option(("--shm-size",), "Size of /dev/shm (default: 64m)", "SIZE", "size"),
    _choice("--ipc", "Shared memory: its own, none, or the host's", "private", "shareable", "none", "host"),
    _choice("--uts", "Host name: its own, or the host's", "private", "host"),
    _choice("--cgroupns", "Path of its cgroup: seen as /, or as the host sees it", "private", "host"),
    Option(("--domainname",), "NIS domain name inside", "NAME"),
)
"""What says how it meets the kernel."""

LABELS = (
    Option(("-l", "--label"), "Note something about it", "NAME[=VALUE]", many=True),
    Option(("--label-file",), "Read labels from the lines of a file", "FILE", many=True),
    Option(("--annotation",), "Note something about it for hooks, as OCI has it", "NAME=VALUE", many=True),
)
"""What is noted about it."""

NETWORK = (
    Option(
        ("--net", "--network"),
        "Network: loopback only (default), the host's, one with a bridge, a program's, another container's, CNI's",
        "none|host|bridge|NAME[:ip=ADDRESS,...]|slirp4netns|container:NAME|cni:NAME",
        choices=("none", "host", "bridge", "slirp4netns"),
        many=True,
        open=True,
    ),
    Option(
        ("-p", "--publish"), "Let a port of the host lead to one inside", "[IP:][HOST]:CONTAINER[/udp]", many=True
    ),
    _flag("-P", "--publish-all", about="Publish the ports of --expose and the image's, each on a free one"),
    Option(("--expose",), "Say that it listens on a port, for -P", "PORT[/udp]", many=True),
    Option(("--ip",), "IPv4 address (default: a free one)", "ADDRESS"),
    Option(("--ip6",), "IPv6 address (default: a free one)", "ADDRESS"),
    Option(("--mac-address",), "Hardware address (default: made of the IPv4 address)", "ADDRESS"),
    Option(("--net-alias", "--network-alias"), "Further name in its networks", "NAME", many=True),
    Option(("--dns",), "Name server (default: the host's, if there is a network)", "ADDRESS", many=True),
    Option(("--dns-search",), "Domain that names are looked for in", "DOMAIN", many=True),
    Option(("--dns-opt", "--dns-option"), "Option of resolv.conf(5)", "OPTION", many=True),
    Option(("--add-host",), "Line of /etc/hosts; host-gateway is the network's gateway", "NAME:ADDRESS", many=True),
)
"""What says which network it gets, and how."""

RUN = (
    Option(("--name",), "Name, which is also the id (12 random hex digits without it)", "NAME"),
    _flag("--rm", about="Remove the container when it ends"),
    Option(("--cidfile",), "Write its id to a file that is not there yet", "FILE"),
    Option(("--pidfile",), "Write the pid of its first process to a file", "FILE"),
    DETACH,
    INTERACTIVE,
    TTY,
    Option(("-m", "--memory"), "Memory limit (at least 6m)", "SIZE", "size"),
    Option(("--memory-swap",), "Limit of memory and swap together (default: twice -m; -1: none)", "SIZE", "swap"),
    Option(("--memory-reservation",), "Memory that is left to it under pressure", "SIZE", "size"),
    Option(("--cpus",), "CPU time, in CPUs (at least 0.01)", "N", "cpus"),
    Option(("-c", "--cpu-shares"), "Weight against others (2 to 262144; 1024 is the usual)", "N", "count"),
    Option(("--cpu-quota",), "CPU time in each period, in microseconds (-1: any)", "USEC", "pids"),
    Option(("--cpu-period",), "Length of a period, in microseconds (default: 100000)", "USEC", "count"),
    Option(("--cpuset-cpus",), "CPUs to run on", "LIST", "cpulist"),
    Option(("--cpuset-mems",), "Memory nodes to use", "LIST", "cpulist"),
    Option(("--memory-swappiness",), "How gladly the kernel swaps it out (cgroup v1; 0 to 100)", "N", "pids"),
    _flag("--oom-kill-disable", about="Let it wait when its memory is used up, instead of killing (cgroup v1)"),
    Option(("--oom-score-adj",), "Who is killed first when memory lacks (-1000 to 1000)", "N", "number"),
    Option(("--pids-limit",), "Limit of processes and threads (-1: none)", "N", "pids"),
    Option(("--blkio-weight",), "Weight of its reads and writes against others' (10 to 1000)", "N", "count"),
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
    Option(("--volumes-from",), "Show what another container has by -v and --mount", "NAME[:ro]", many=True),
    Option(("--tmpfs",), "Mount a tmpfs", "DST[:OPTIONS]", many=True),
    ENV,
    ENV_FILE,
    WORKDIR,
    USER,
    Option(("--group-add",), "Further group of its user, by name or number", "GROUP", many=True),
    Option(("--umask",), "File mode creation mask (default: 0022)", "OCTAL", "mask"),
    Option(("-h", "--hostname"), "Host name inside (default: the id)", "NAME"),
    _flag("--read-only", about="Make the root file system read-only"),
    _flag("--read-only-tmpfs", about="With it, mount a tmpfs on /run, /tmp and /var/tmp"),
    Option(("--cap-add",), "Add a capability, or ALL", "NAME", many=True),
    Option(("--cap-drop",), "Drop a capability, or ALL", "NAME", many=True),
    Option(
        ("--security-opt",),
        "Security option: no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, mask=PATH[:PATH],"
        " unmask=ALL|PATH[:PATH], systempaths=unconfined, label=disable",
        "OPTION",
        many=True,
    ),
    _flag("--privileged", about="Give it all capabilities and devices, and no filter of system calls"),
    *KERNEL,
    *LABELS,
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
    Option(
        ("--entrypoint",),
        "Program to run instead of the image's (--entrypoint= for none)",
        'PATH|["WORD", ...]',
    ),
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
    JSON,
    ROOT,
    STORAGE,
    VERSION,
    HELP,
)


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
