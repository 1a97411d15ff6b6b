"""Idmapped mounts: a bind whose files belong to others than on disk (config.md, "Mounts"; mount_setattr(2)).

Their ids are those of a user namespace that is made for that alone. The runtime makes them, not the child: in a user
namespace of its own it lacks the right, and finding a mount's source too.
"""

from __future__ import annotations

import os

from runtime.kernel import mountapi
from runtime.kernel import syscalls as sc
from runtime.process import ids
from runtime.root import mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def user_namespace(proc: str, mappings: Mapping[str, Any]) -> int:
    """Return a descriptor of a new user namespace with these ``uidMappings`` and ``gidMappings``."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = sc.clone(sc.CLONE_NEWUSER)
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)  # until it is open, or its maker has gone
        os._exit(0)
    try:
        ids.give(proc, pid, mappings)
        return os.open(f"{proc}/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(pid, 0)


def prepare(proc: str, bundle: str, mounts: list[dict[str, Any]]) -> dict[int, int]:
    """Return the copied tree of each mount with ids of its own, by its place in the list."""
    found = {}
    for index, mount in enumerate(mounts):
        if not mount.get("uidMappings"):
            continue
        effect = mount_options.effect(mount["options"])
        source = os.path.normpath(os.path.join(bundle, mount["source"]))
        tree = mountapi.open_tree(source, recursive=effect.recursive)
        mapped = user_namespace(proc, mount)
        below = "ridmap" in effect.extra
        mountapi.set_attributes(tree, source, set_=mountapi.IDMAP, recursive=below, userns=mapped)
        os.close(mapped)
        found[index] = tree
    return found
