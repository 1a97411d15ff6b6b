"""``pyproc port``: which ports of the host lead into a container."""

from __future__ import annotations

import sys

from lxcfs_py.errors import Error
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "port", "Show the ports a container publishes, or where one of them is.", "ID [PORT[/udp]]", 1, 2, (JSON,)
)


def run(parsed: Parsed) -> int:
    """Print them, a line each."""
    from runtime.network import told

    found = finding.get(parsed, parsed.rest[0])
    ports = list(told.published(told.book([found]).all_of(parsed["root"], found.key)))
    if parsed.rest[1:]:
        asked = parsed.rest[1] if "/" in parsed.rest[1] else f"{parsed.rest[1]}/tcp"
        ports = [port for port in ports if port[0] == asked]
        if not ports:
            raise Error(
                f"container {found.id!r} does not publish {asked}", f"pyproc port {found.id} shows what it does"
            )
    if parsed["json"]:
        import json

        value = [{"port": inside, "host_ip": ip, "host_port": port} for inside, ip, port in ports]
        sys.stdout.write(json.dumps(value) + "\n")
        return 0
    for inside, ip, port in ports:
        shown = told.address(ip, port)
        sys.stdout.write(f"{shown}\n" if parsed.rest[1:] else f"{inside} -> {shown}\n")
    return 0
