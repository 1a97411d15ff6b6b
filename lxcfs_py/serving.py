"""What is bound into a container."""

from __future__ import annotations

import os

from lxcfs_py.served import BOUND, PRESSURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.host import Host


def paths(host: Host, layout: Layout) -> tuple[str, ...]:
    """Return what is bound into a container: what is served, the host has and, of pressure, the container has too."""
    roots, unified = {"proc": host.proc, "sys": host.sys}, layout.hierarchies.get("")
    found = []
    for path in BOUND:
        top, _, rest = path.partition("/")
        stalls = f"{path.removeprefix(PRESSURE)[1:]}.pressure" if path.startswith(PRESSURE) else ""
        counted = not stalls or (unified is not None and os.path.exists(f"{unified.mount}/{stalls}"))
        if counted and os.path.lexists(f"{roots[top]}/{rest}"):
            found.append(path)
    return tuple(found)
