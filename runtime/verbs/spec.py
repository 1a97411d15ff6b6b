"""``pyproc spec``: write a config.json to begin with."""

from __future__ import annotations

import os

from runtime import options
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.command_line import Parsed

ROOTLESS = Option(("--rootless",), "For an ordinary user, with its own id as root", kind="flag")
VERB = Verb("spec", "Write a config.json to begin with.", "", 0, 0, (options.BUNDLE, ROOTLESS))


def template(*, alone: bool = False) -> dict[str, Any]:
    """Return the configuration: a shell at a terminal, on a root below ``rootfs`` that is read-only.

    ``alone``: with a user namespace of our own id alone, which takes no help of root's.
    """
    from runtime.config import spec

    parsed = options.parse(("-t", "--read-only", "--", "sh"))
    found = spec.config(parsed, "pyproc", {}, time=False)
    for field in ("cgroupsPath", "rootfsPropagation"):
        found["linux"].pop(field, None)
    found["linux"]["namespaces"].append({"type": "network"})
    kinds = {each["type"]: each for each in found["linux"]["namespaces"]}
    found["linux"]["namespaces"] = list(kinds.values())
    found["process"]["user"] = {"uid": 0, "gid": 0}
    if not alone:
        return found
    from runtime.config import rootless
    from runtime.process import ids

    return rootless.adapt(found, ids.Own(ids.rows(os.geteuid(), ()), ids.rows(os.getegid(), ())))


def run(parsed: Parsed) -> int:
    """Write it, unless there is one."""
    import json

    path = f"{os.path.abspath(parsed['bundle'])}/config.json"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(template(alone=parsed["rootless"]), indent=2) + "\n")
    except FileExistsError:
        raise RunError(f"{path} exists", "remove it first, or name another --bundle") from None
    return 0
