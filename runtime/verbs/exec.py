"""``pyproc exec``: run a command in a container that runs already.

    parent (the caller's; waits, relays)      ── clone ─  doorkeeper (in cgroup2)
        <── report: master, pid, or failure ──              joins the other cgroups, then all namespaces
                                                            makes the pty, in the container's devpts
                                                            ── fork ──  command (in the pid namespace)
                                                            exits            user, capabilities, execve
        adopts the command (child subreaper), forwards signals, relays its terminal

Joining a pid namespace holds for children only, hence the second fork. Until then nothing inside can see us, and
from then on nothing of the host's is left to be seen: the mount namespace and its root are the container's.
"""

from __future__ import annotations

import os

from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from runtime import cgroups, environment, options, seccomp, signals, spec, state, syscalls, terminal, users, validate
from runtime import process as runner  # everything is imported before we are inside
from runtime.errors import RunError
from runtime.report import Report, guarded, send
from runtime.verbs import Verb, kill

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from lxcfs_py.cgroup.layout import Layout
    from runtime.options import Parsed
    from runtime.state import State
else:
    import _socket

VERB = Verb(
    "exec",
    "Run a command in a container that runs.",
    "ID [--] COMMAND [ARG]...",
    2,
    None,
    (
        options.INTERACTIVE,
        options.TTY,
        options.DETACH,
        options.ENV,
        options.ENV_FILE,
        options.WORKDIR,
        options.USER,
    ),
    interspersed=False,
)
FLAGS = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
}
"""The CLONE_NEW* flag of each namespace OCI names (include/uapi/linux/sched.h)."""


def process(config: Mapping[str, Any], parsed: Parsed, caller: Mapping[str, str]) -> dict[str, Any]:
    """Return the OCI process to run: the container's own, with what the command line changes."""
    own = config["process"]
    term = [f"TERM={spec.TERM}"] if parsed["tty"] else []
    asked = environment.variables(parsed["env_file"], parsed["env"], caller)
    changes: dict[str, Any] = {
        "terminal": parsed["tty"],
        "args": list(parsed.rest[1:]),
        "env": environment.merge([*term, *own["env"]], asked),
    }
    if parsed["workdir"]:
        changes["cwd"] = parsed["workdir"]
    if parsed["user"]:
        changes["user"] = spec.user(parsed["user"])
    return {**own, **changes}


def namespaces(config: Mapping[str, Any]) -> int:
    """Return the flags of the namespaces the container has of its own."""
    flags = 0
    for namespace in config["linux"]["namespaces"]:
        flags |= FLAGS[namespace["type"]]
    return flags


def check(parsed: Parsed) -> None:
    """Refuse what can't work, as ``pyproc-run`` refuses it."""
    if parsed["detach"] and parsed["tty"]:
        raise RunError("-d with -t: nothing would hold its terminal", "leave out -t")
    if parsed["detach"] and parsed["interactive"]:
        raise RunError("-d with -i: nothing would feed its input", "leave out -i")
    facts = validate.Facts(stdin_tty=os.isatty(0))
    for each in (validate.tty, validate.workdir, validate.user):
        each(parsed, facts)


class Entry:
    """One command on its way into a container; its methods run in the children."""

    def __init__(self, found: State, config: Mapping[str, Any], parsed: Parsed, layout: Layout) -> None:
        self.found, self.parsed, self.layout = found, parsed, layout
        self.process = process(config, parsed, os.environ)
        self.namespaces = namespaces(config)
        self.filter = seccomp.of(config, found.id, found.bundle, kept=f"{parsed['storage']}/filters")
        self.agent = self.filter.connect() if self.filter and self.filter.asks else None

    def join(self, container: int, doors: Sequence[str]) -> None:
        """Enter the container's cgroups and namespaces; ``container`` is its first process's pidfd."""
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # nothing inside may look into us before the execve
        control.enter(doors)
        syscalls.setns(container, self.namespaces)

    def doorkeeper(self, container: int, doors: Sequence[str], report: _socket.socket) -> None:
        """Go in and start the command there; its pid, as the host counts, is reported."""
        empty = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the host's: inside anything may be there
        self.join(container, doors)
        slave = -1
        if self.parsed["tty"]:
            master, slave = terminal.make()
            send(report, b"terminal", master)
            os.close(master)
        pid = os.fork()
        if pid == 0:
            guarded(report, lambda: self.command(slave, empty, report))
        send(report, b"pid %d" % pid)

    def command(self, slave: int, empty: int, report: _socket.socket) -> NoReturn:
        """Become the command."""
        complete = users.complete(self.process)
        if slave >= 0:
            terminal.take(slave, complete["user"]["uid"])
        else:
            os.setsid()
            if not self.parsed["interactive"]:
                os.dup2(empty, 0)
            if self.parsed["detach"]:
                os.dup2(empty, 1)
                os.dup2(empty, 2)
        load = self.filter.loader(report, heard=self.agent is not None) if self.filter else lambda: None
        runner.apply(complete, load)


def enter(entry: Entry, container: int) -> Report:
    """Start the command; raises the Error a child reported, once the children have been waited for."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # the doorkeeper leaves its child to us
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    child, doors = cgroups.clone(0, entry.layout, entry.found.cgroup)
    if child == 0:
        ours.close()
        guarded(theirs, lambda: entry.doorkeeper(container, doors, theirs))
    theirs.close()
    result = Report()
    if entry.filter and entry.agent:
        hand_over, agent = entry.filter.hand_over, entry.agent
        result.on_listener = lambda listener, pid: hand_over(agent, listener, pid)
    try:
        result.read(ours)
    finally:
        ours.close()
        os.waitpid(child, 0)
    if result.error is not None:
        if result.pid:
            os.waitpid(result.pid, 0)
        raise result.error
    return result


def attend(result: Report, parsed: Parsed) -> int:
    """Serve the command until it ends; return its exit code, or 128 and the signal that killed it."""
    pidfd = os.pidfd_open(result.pid)

    def forward(number: int) -> None:
        try:
            kill.send(pidfd, number, "command")
        except Error:  # it has just ended: the relay is about to see that
            return

    with terminal.Signals(signals.FORWARDED) as got:
        stdin = 0 if parsed["interactive"] else -1
        terminal.relay(pidfd, got, forward, master=result.master, stdin=stdin, stdout=1)
    code = os.waitstatus_to_exitcode(os.waitpid(result.pid, 0)[1])
    return code if code >= 0 else 128 - code


def run(args: Sequence[str]) -> int:
    """Run the command; with -d return as soon as it has begun."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    check(parsed)
    from lxcfs_py.cgroup import layout
    from lxcfs_py.files import Files

    root = parsed["root"]
    found = state.load(root, state.find(root, parsed.rest[0]))
    container = kill.opened(root, found)
    try:
        entry = Entry(found, state.config(found), parsed, layout.detect(Host(), Files()))
        result = enter(entry, container)
    finally:
        os.close(container)
    return 0 if parsed["detach"] else attend(result, parsed)
