"""Runs ip(8), nft(8), CNI plugins, and says what is wrong if they fail: which program or kernel module is missing."""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime.errors import RunError
from runtime.kernel import syscalls as sc
from runtime.process import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = {"ip": "iproute2", "nft": "nftables"}
ENDED = 126
"""The exit code where there is no such namespace (any more)."""
UNSUPPORTED = ("not supported", "Unknown device type", "No such file or directory", "Protocol not supported")
MODULES = (
    ("type bridge", "bridge"), ("type veth", "veth"), ("type nat", "nft_chain_nat"), ("masquerade", "nft_masq"),
    ("dnat", "nft_nat"), ("fib ", "nft_fib_inet"), ("ct st", "nft_ct"), ("cache initialization", "nf_tables"),
    ("table", "nf_tables"),
)  # fmt: skip
"""What is in a line that the kernel refuses, and the module that would take it."""


class Done(Record):
    """How a program ended: its exit code, 127 if it is not there, and what it wrote."""

    code: int
    out: str
    err: str


def _text(descriptor: int) -> str:
    data, at = b"", 0
    while part := os.pread(descriptor, 1 << 16, at):
        data, at = data + part, at + len(part)
    return data.decode("utf-8", "surrogateescape")


class Running:
    """A program that runs, in the network namespace of a path if one is given."""

    def __init__(
        self, argv: Sequence[str], stdin: str, namespace: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self._streams = tuple(
            descriptors.memory(data) for data in (stdin.encode("utf-8", "surrogateescape"), b"", b"")
        )
        self._pid = os.fork()
        if self._pid == 0:
            _become(argv, self._streams, namespace, {"PATH": PATH, "LC_ALL": "C", **(environment or {})})

    def end(self) -> Done:
        """Wait for its end."""
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        try:
            return Done(code, _text(self._streams[1]), _text(self._streams[2]))
        finally:
            for descriptor in self._streams:
                os.close(descriptor)


def run(argv: Sequence[str], stdin: str, namespace: str = "", environment: Mapping[str, str] | None = None) -> Done:
    """Run a program to its end."""
    return Running(argv, stdin, namespace, environment).end()


def _become(argv: Sequence[str], streams: Sequence[int], namespace: str, environment: dict[str, str]) -> None:
    what, code = namespace, ENDED
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, 9)
        for stream, descriptor in enumerate(streams):
            os.dup2(descriptor, stream)
        if namespace:
            sc.setns(os.open(namespace, os.O_RDONLY | os.O_CLOEXEC), sc.CLONE_NEWNET)
        what, code = argv[0], 127
        sc.close_on_exec(3)
        os.execvpe(argv[0], list(argv), environment)
    except OSError as error:
        os.write(2, f"{what}: {error.strerror}".encode())
    finally:
        os._exit(code)


def problem(program: str, done: Done, lines: Sequence[str]) -> RunError:
    """Return the Error of a program that failed, with its remedy; ``lines`` are what it was given."""
    if done.code == ENDED:
        return RunError(f"{done.err}: the container has ended", "start it again")
    if done.code == 127:
        package = PACKAGES[program]
        return RunError(f"{done.err}: networks need it", f"apt-get install {package}")
    said = [line for line in done.err.splitlines() if line.strip()]
    first = said[0] if said else f"exit code {done.code}"
    told = " ".join(said)
    if program == "ip":  # "Command failed -:3" names the line
        at = next((line.rpartition(":")[2] for line in said if line.startswith("Command failed")), "")
        line = lines[int(at) - 1] if at.isdecimal() and 0 < int(at) <= len(lines) else ""
        first, told = f"{line}: {first.removeprefix('RTNETLINK answers: ').removeprefix('Error: ')}", f"{line} {told}"
    if any(text in told for text in UNSUPPORTED):
        module = next((module for word, module in MODULES if word in told), "")
        if module:
            return RunError(
                f"the kernel can't do networks, it lacks {module} ({program}: {first})",
                f"modprobe {module}, or boot a kernel that has it",
            )
    return RunError(f"{program}: {first}", "see docs/networks.md for what networks need")


def ip(lines: Sequence[str], namespace: str = "", *, force: bool = False) -> None:
    """Carry out lines of ip(8), in order; raises an Error at the first that fails, ``force``: once all are done."""
    options = ("-force",) if force else ()
    done = run(("ip", *options, "-batch", "-"), "".join(f"{line}\n" for line in lines), namespace)
    if done.code:
        raise problem("ip", done, lines)


class Nft:
    """Carries out a text of nft(8), all or nothing, while this is entered: the kernel lets it wait for long.

    ``instead``: a text that does the same more quickly, if it can be done. Raises an Error if it is refused, unless
    there ``must`` be nothing.
    """

    def __init__(self, text: str, instead: str = "", *, must: bool = True) -> None:
        self._text, self._must, self._instead = text, must, instead

    def __enter__(self) -> None:
        self._running = Running(("nft", "-f", "-"), self._instead or self._text)

    def __exit__(self, kind: object, *_error: object) -> None:
        done = self._running.end()
        if kind is not None or not self._must:
            return
        if done.code and self._instead:
            done = run(("nft", "-f", "-"), self._text)
        if done.code:
            raise problem("nft", done, self._text.splitlines())
