"""/proc/PID/cgroup: where a process is in each hierarchy (cgroups(7))."""

from __future__ import annotations


def parse(data: bytes) -> dict[str, str]:
    """Return the path by v1 controller ("memory", "name=systemd"), and by "" for cgroup2.

    Lines are ``ID:CONTROLLER[,CONTROLLER]...:PATH``; a path may hold colons. Other lines are left out.
    """
    found: dict[str, str] = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not number.isdigit() or not colon or not path.startswith("/"):
            continue
        path = path.removesuffix(" (deleted)")
        for controller in controllers.split(","):
            found[controller] = path
    return found
