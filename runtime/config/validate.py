"""What is refused before anything is touched: one check a rule, each a one-line error with its remedy.

``gather`` reads what the rules must know of the host, the checks decide from that and the options alone.
"""

from __future__ import annotations

import os

from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from runtime import claims, state, units
from runtime.config import volumes
from runtime.errors import RunError
from runtime.kernel import signals
from runtime.process import capabilities, users
from runtime.units import NAME_HINT, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.host import Host
    from runtime.command_line import Parsed

MIN_MEMORY_BYTES = 6 << 20
"""Docker's floor: below it the kernel kills a command before it has begun."""
MIN_NANO_CPUS = units.NANO_CPUS // 100
"""The kernel takes no quota under 1 ms, which is 0.01 of the usual period of 100 ms."""
SHARES = (2, 262144)
"""What cpu.shares can hold (kernel/sched/core.c, MIN_SHARES and MAX_SHARES)."""
MIN_QUOTA_USEC = 1000
RANGES = (
    ("cpu_period", 1000, 1_000_000),
    ("memory_swappiness", -1, 100),
    ("oom_score_adj", -1000, 1000),
    ("blkio_weight", 10, 1000),
)
"""What the kernel takes (sched-bwc.rst, memory.rst, proc(5)), and Docker."""
MAX_HOSTNAME = 64


class Facts(Record):
    """What the rules need to know of the host. CPUs and nodes are empty where no option asks for them."""

    stdin_tty: bool = True
    cpus: frozenset[int] = frozenset()
    mems: frozenset[int] = frozenset()
    taken: bool = False
    """A container of that name exists."""
    missing: tuple[str, ...] = ()
    """The sources of -v and --mount that do not exist."""
    rootfs_problem: str = ""


def _online(path: str, option: str) -> frozenset[int]:
    try:
        with open(path, encoding="utf-8") as file:  # what "ascii" is would have to be imported
            return units.cpu_numbers(file.read().strip(), option)
    except (OSError, ValueError):  # no NUMA: one node, number 0
        return frozenset((0,))


def _rootfs_problem(path: str) -> str:
    try:
        os.stat(f"{path}/.")
    except OSError as error:
        return reason(error).replace(f"{path}/.", path)
    return ""


def gather(options: Parsed, host: Host) -> Facts:
    """Read what the checks need to know, and no more than the options make necessary."""
    cpus = options["cpus"] is not None or options["cpuset_cpus"]
    return Facts(
        stdin_tty=os.isatty(0) if options["tty"] else False,
        cpus=_online(f"{host.sys}/devices/system/cpu/online", "cpu/online") if cpus else frozenset(),
        mems=_online(f"{host.sys}/devices/system/node/online", "node/online")
        if options["cpuset_mems"]
        else frozenset(),
        taken=bool(options["name"]) and state.exists(options["root"], options["name"]),
        missing=tuple(
            place.source for place in volumes.places(options) if place.source and not os.path.lexists(place.source)
        ),
        rootfs_problem=_rootfs_problem(options["rootfs"]) if options["rootfs"] else "",
    )


def streams(options: Parsed, facts: Facts) -> None:
    """A detached container's holder has its terminal and its input."""
    if not options["detach"]:
        tty(options, facts)


def tty(options: Parsed, facts: Facts) -> None:
    """A terminal that is to be typed at needs one to type at."""
    if options["tty"] and options["interactive"] and not facts.stdin_tty:
        raise RunError("-t: the input device is not a TTY", "leave out -t, or -i")


def name(options: Parsed, facts: Facts) -> None:
    """A name becomes the name of directories and cgroups, and is used once."""
    asked = options["name"]
    if asked is None:
        return
    if not is_name(asked):
        raise RunError(f"--name {asked!r}: not a name", NAME_HINT)
    if facts.taken:
        raise claims.taken(options["root"], asked)


def memory(options: Parsed, _facts: Facts) -> None:
    """Limits of memory fit one another."""
    limit, swap, reserved = options["memory"], options["memory_swap"], options["memory_reservation"]
    if limit is not None and limit < MIN_MEMORY_BYTES:
        raise RunError(f"-m {units.show(limit)}: too little to run anything", "give at least 6m")
    if swap is not None and limit is None:
        raise RunError("--memory-swap without -m: it counts memory and swap together", "set -m too")
    if swap is not None and limit is not None and -1 < swap < limit:
        raise RunError(
            f"--memory-swap {units.show(swap)}: less than -m {units.show(limit)}, and it counts both",
            "give at least as much, or -1",
        )
    if reserved is not None and limit is not None and reserved > limit:
        raise RunError(f"--memory-reservation {units.show(reserved)}: more than -m {units.show(limit)}", "give less")


def cpu(options: Parsed, facts: Facts) -> None:
    """Limits of CPU time and CPUs are ones the host can give."""
    nano, shares = options["cpus"], options["cpu_shares"]
    if nano is not None and nano < MIN_NANO_CPUS:
        raise RunError(f"--cpus {nano / units.NANO_CPUS:g}: too little for the kernel", "give at least 0.01")
    if nano is not None and nano > len(facts.cpus) * units.NANO_CPUS:
        raise RunError(
            f"--cpus {nano / units.NANO_CPUS:g}: the host has {len(facts.cpus)}",
            f"give at most {len(facts.cpus)}",
        )
    if shares is not None and not SHARES[0] <= shares <= SHARES[1]:
        raise RunError(f"--cpu-shares {shares}: out of range", f"give {SHARES[0]} to {SHARES[1]}")
    for option, asked, there, what in (
        ("--cpuset-cpus", options["cpuset_cpus"], facts.cpus, "CPUs"),
        ("--cpuset-mems", options["cpuset_mems"], facts.mems, "memory nodes"),
    ):
        if asked and (beyond := sorted(units.cpu_numbers(asked, option) - there)):
            have = ",".join(map(str, sorted(there)[:64]))
            raise RunError(f"{option} {asked!r}: the host has no {beyond[0]}", f"its {what} are {have}")


def tuning(options: Parsed, _facts: Facts) -> None:
    """What the kernel takes in a range is in it, and CPU time is said once."""
    if options["cpus"] is not None and (options["cpu_quota"], options["cpu_period"]) != (None, None):
        raise RunError("--cpus with --cpu-quota or --cpu-period: it says both", "leave one out")
    for option, least, most in RANGES:
        value = options[option]
        if value is not None and not least <= value <= most:
            flag = f"--{option.replace('_', '-')}"
            raise RunError(f"{flag} {value}: out of range", f"give {least} to {most}")
    if options["cpu_quota"] is not None and -1 != options["cpu_quota"] < MIN_QUOTA_USEC:
        raise RunError(f"--cpu-quota {options['cpu_quota']}: too little for the kernel", "give at least 1000, or -1")


def pids(options: Parsed, _facts: Facts) -> None:
    """A limit of processes is one the kernel can reach; 0 means none, as with Docker, and -1 too."""
    limit = options["pids_limit"]
    if limit is not None and limit > 4 << 20:  # PID_MAX_LIMIT, include/linux/threads.h
        raise RunError(f"--pids-limit {limit}: more than the kernel can have", "give at most 4194304, or -1")


def files(options: Parsed, facts: Facts) -> None:
    """What is to be shown inside exists."""
    for place in volumes.places(options):
        if place.source in facts.missing:
            raise RunError(f"{place.said}: {place.source} does not exist", "create it, or correct the path")
    if facts.rootfs_problem:
        raise RunError(f"--rootfs {facts.rootfs_problem}", "name the directory of a root file system")


def workdir(options: Parsed, _facts: Facts) -> None:
    """A relative working directory would be relative to nothing."""
    asked = options["workdir"]
    if asked and not asked.startswith("/"):
        raise RunError(f"-w {asked!r}: not an absolute path", "begin it with /")


def user(options: Parsed, _facts: Facts) -> None:
    """USER[:GROUP] has a user, and its numbers are ones the kernel has; names are looked up at the start."""
    for group in options.values.get("group_add", ()):
        if not group or (group.isdigit() and users.number(group) is None) or set(group) & set(":,/ "):
            raise RunError(f"--group-add {group!r}: not a group", "write it by name or number")
    asked = options["user"]
    if not asked:
        return
    who, colon, group = asked.partition(":")
    for part in (who, group) if colon else (who,):
        too_big = part.isdigit() and users.number(part) is None
        if not part or too_big or part.startswith("-") or any(c.isspace() or c in ":,/" for c in part):
            raise RunError(f"-u {asked!r}: not a user", "write USER or USER:GROUP, by name or number")


def hostname(options: Parsed, _facts: Facts) -> None:
    """A host name fits the kernel and the lines of /etc/hosts."""
    asked = options["hostname"]
    if options["uts"] == "host" and (asked or options["domainname"]):
        raise RunError("-h with --uts host: it would rename the host", "leave one out")
    if asked and not (is_name(asked) and len(asked) <= MAX_HOSTNAME):
        raise RunError(f"-h {asked!r}: not a host name", "use letters, digits, - and ., 64 at most")


def privileges(options: Parsed, _facts: Facts) -> None:
    """Capabilities and security options exist."""
    capabilities.resolve(options["cap_add"], options["cap_drop"])
    for text in options["security_opt"]:
        security(text)


def security(text: str) -> tuple[str, bool | str]:
    """Return what one --security-opt is about, and what it says; raises an Error for one that is unknown."""
    name_, separator, value = text.replace("=", ":", 1).partition(":")
    if name_ in ("seccomp", "apparmor") and value:
        return name_, value
    if name_ == "no-new-privileges":
        return name_, units.boolean(value if separator else "true", "--security-opt no-new-privileges")
    if text in ("label=disable", "label:disable"):  # which is so: no SELinux labels are set
        return "label", "disable"
    if text in ("systempaths=unconfined", "systempaths:unconfined"):
        return "unmask", "ALL"
    if name_ in ("mask", "unmask") and value:
        if wrong := [path for path in value.split(":") if path != "ALL" and not path.startswith("/")]:
            raise RunError(f"--security-opt {text!r}: {wrong[0]!r} is not an absolute path", "begin it with /")
        return name_, value
    raise RunError(
        f"--security-opt {text!r}: unknown option",
        "there are no-new-privileges, seccomp, apparmor, mask, unmask, systempaths=unconfined and label=disable",
    )


def stopping(options: Parsed, _facts: Facts) -> None:
    """The signal that is to end it exists, and what is to begin again can."""
    if options["restart"] not in (None, "no") and not options["detach"]:
        raise RunError("--restart without -d: who waits for it would not see it again", "add -d")
    if options["restart"] not in (None, "no") and options["rm"]:
        raise RunError("--restart with --rm: what is removed can't begin again", "leave out one of both")
    if options["stop_signal"] is not None:
        try:
            signals.number(options["stop_signal"])
        except Error as error:
            raise RunError(f"--stop-signal {error.message}", error.hint) from error


CHECKS = (streams, name, memory, cpu, tuning, pids, files, workdir, user, hostname, privileges, stopping)


def check(options: Parsed, facts: Facts) -> None:
    """Apply every check; the first that fails raises its Error."""
    for each in CHECKS:
        each(options, facts)
