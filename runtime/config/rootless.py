"""What of a configuration is different for an ordinary user (user_namespaces(7)): pure."""

from __future__ import annotations

from runtime.process import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.process.ids import Own


def adapt(config: dict[str, Any], own: Own) -> dict[str, Any]:
    """Return the configuration with a user namespace of the user's ids, and mounts that are possible there."""
    linux = config["linux"]
    kinds = {each["type"] for each in linux["namespaces"]}
    mounts = [_mount(mount, own, network="network" in kinds) for mount in config["mounts"]]
    return {
        **config,
        "mounts": mounts,
        "linux": {**linux, "namespaces": [{"type": "user"}, *linux["namespaces"]], **own.oci},
    }


def _mount(mount: dict[str, Any], own: Own, *, network: bool) -> dict[str, Any]:
    options = list(mount["options"])
    if mount["type"] == "sysfs" and not network:  # it belongs to a network namespace, and that is not ours
        changed = ["rbind", "rprivate", *(f"r{option}" for option in options)]
        return {**mount, "type": "bind", "source": "/sys", "options": changed}
    if mount["type"] == "devpts":
        options = [
            option for option in options if not option.startswith("gid=") or ids.has(own.gids, int(option[4:]))
        ]
    return {**mount, "options": options}
