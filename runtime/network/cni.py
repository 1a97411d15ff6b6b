"""Networks that CNI plugins make (https://www.cni.dev/docs/spec/): found by name, added, and deleted again.

What was asked is written down in the container's directory before the first plugin runs, so that whoever cleans up
after a killed one can have it deleted; a DEL of what was never added succeeds, as the specification has it.
"""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from runtime import log, state
from runtime.errors import RunError
from runtime.network import names, programs
from runtime.network.wish import CNI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from runtime.network.wish import Wish
    from runtime.state import State

FILE = "cni.json"
"""In the container's directory: the configuration, what its plugins were told, and their result."""
CONFIGURATIONS = os.environ.get("NETCONFPATH", "/etc/cni/net.d")
PLUGINS = os.environ.get("CNI_PATH", "/opt/cni/bin:/usr/lib/cni")
INTERFACE = "eth0"
ENDINGS = (".conflist", ".conf", ".json")


def configuration(name: str, texts: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """Return the list of plugins of a name, of files in order; raises an Error if there is none or it is garbled."""
    found, bad = [], []
    for path, text in texts:
        try:
            value = json_text.loads(text)
        except ValueError:
            bad.append(path)
            continue
        if not isinstance(value, dict):
            bad.append(path)
            continue
        if value.get("name") == name:
            plugins = value.get("plugins", [value])
            if not plugins or not all(isinstance(each, dict) and each.get("type") for each in plugins):
                raise RunError(f"{path}: no list of plugins", "see https://www.cni.dev/docs/spec/")
            return {"name": name, "cniVersion": value.get("cniVersion", "0.2.0"), "plugins": plugins}
        found.append(str(value.get("name")))
    also = f", and can't read {', '.join(bad)}" if bad else ""
    there = ", ".join(found) or "none"
    raise RunError(f"--network {CNI}{name}: {CONFIGURATIONS} has no network of that name{also}", f"it has {there}")


def capabilities(wish: Wish, ports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is wanted in the words of CONVENTIONS.md."""
    (end,) = wish.ends
    ips = [each for each in (end.address, end.address6) if each]
    aliases = {end.name: list(end.aliases)} if end.aliases else {}
    found = {"portMappings": list(ports), "ips": ips, "mac": end.mac, "aliases": aliases}
    return {name: value for name, value in found.items() if value}


def mappings(wish: Wish) -> list[dict[str, Any]]:
    """Return the published ports; raises an Error for one whose host's end is not exact."""
    found = []
    for each in wish.ports:
        if len(each.host) != len(each.container):
            raise RunError(f"-p {each.text}: CNI plugins choose no port of the host", "name it")
        for outside, inside in zip(each.host, each.container, strict=True):
            ip = {"hostIP": each.ip} if each.ip else {}
            found.append({"hostPort": outside, "containerPort": inside, "protocol": each.protocol, **ip})
    return found


def told(plan: Mapping[str, Any], index: int, previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a plugin reads: its own configuration, and what it can make use of."""
    plugin = plan["list"]["plugins"][index]
    offered = {name for name, has in plugin.get("capabilities", {}).items() if has}
    config = {name: value for name, value in plan["capabilities"].items() if name in offered}
    return {
        **plugin,
        "name": plan["list"]["name"],
        "cniVersion": plan["list"]["cniVersion"],
        **({"runtimeConfig": config} if config else {}),
        **({"prevResult": previous} if previous is not None else {}),
    }


def unheard(plan: Mapping[str, Any]) -> str:
    """Return a capability that is wanted and no plugin has, "" if there is none."""
    offered = {
        name for plugin in plan["list"]["plugins"] for name, has in plugin.get("capabilities", {}).items() if has
    }
    return next((name for name in plan["capabilities"] if name not in offered), "")


def addresses(result: Mapping[str, Any]) -> list[str]:
    """Return the container's addresses that a result tells, whatever version it is of."""
    entries = [*result.get("ips", ()), *(result[key] for key in ("ip4", "ip6") if key in result)]
    return [str(entry.get("address") or entry.get("ip")).partition("/")[0] for entry in entries]


def _files() -> Iterable[tuple[str, bytes]]:
    try:
        entries = sorted(name for name in os.listdir(CONFIGURATIONS) if name.endswith(ENDINGS))
    except OSError as error:
        raise RunError(
            f"CNI: {reason(error)}", "put a configuration there, or name the directory in NETCONFPATH"
        ) from error
    for name in entries:
        with open(f"{CONFIGURATIONS}/{name}", "rb") as file:
            yield f"{CONFIGURATIONS}/{name}", file.read()


def _plugin(kind: str) -> str:
    for directory in PLUGINS.split(":"):
        path = f"{directory}/{kind}"
        if "/" not in kind and os.access(path, os.X_OK):
            return path
    raise RunError(
        f"CNI plugin {kind!r} is not in {PLUGINS}",
        "apt-get install containernetworking-plugins, or name it in CNI_PATH",
    )


def _call(command: str, plan: Mapping[str, Any], index: int, previous: Mapping[str, Any] | None, netns: str) -> Any:
    """Run one plugin; return its result, None if it has none. Raises the Error it tells."""
    kind = plan["list"]["plugins"][index]["type"]
    environment = {
        "CNI_COMMAND": command, "CNI_CONTAINERID": plan["id"], "CNI_NETNS": netns,
        "CNI_IFNAME": plan.get("interface", INTERFACE), "CNI_PATH": PLUGINS,
    }  # fmt: skip
    text = json_text.dumps(told(plan, index, previous)).decode()
    done = programs.run((_plugin(kind),), text, environment=environment)
    try:
        said = json_text.loads(done.out.encode()) if done.out.strip() else None
    except ValueError:
        said = None
    if done.code:
        about = said if isinstance(said, dict) else {}
        why = ": ".join(filter(None, (str(about.get("msg", "")), str(about.get("details", "")))))
        why = why or done.err.strip() or f"exit code {done.code}"
        raise RunError(f"CNI plugin {kind} ({command}): {why}", f"see {CONFIGURATIONS} and the plugin's manual")
    return said


def add(wish: Wish, found: State, hosts: str) -> None:
    """Have the plugins connect a container; raises an Error naming the one that fails."""
    name = wish.ends[0].name
    list_ = configuration(name, _files())
    plan = {
        "id": found.key, "interface": wish.ends[0].interface or INTERFACE, "list": list_,
        "capabilities": capabilities(wish, mappings(wish)), "hosts": hosts, "hostname": wish.hostname, "result": None,
    }  # fmt: skip
    if what := unheard(plan):
        raise RunError(f"--network {CNI}{name}: no plugin of it has the capability {what}", "leave out what needs it")
    for plugin in list_["plugins"]:
        _plugin(plugin["type"])
    path = f"{found.directory}/{FILE}"
    state.write(path, plan)
    result = None
    for index in range(len(list_["plugins"])):
        result = _call("ADD", plan, index, result, f"/proc/{found.pid}/ns/net") or result
    state.write(path, {**plan, "result": result})


def used(found: State) -> bool:
    """Say whether a container has a network by CNI."""
    return os.path.exists(f"{found.directory}/{FILE}")


def _plan(found: State) -> dict[str, Any]:
    path = f"{found.directory}/{FILE}"
    with open(path, "rb") as file:
        try:
            plan = json_text.loads(file.read())
            plan["list"]["plugins"][0]["type"]
        except (ValueError, TypeError, LookupError):
            raise Error(f"{path}: not what CNI plugins were told", "remove it, and what they have made") from None
    return dict(plan)


def tell(found: State) -> None:
    """Write its own name into its /etc/hosts."""
    plan = _plan(found)
    names.write(plan["hosts"], (f"{each}\t{plan['hostname']}" for each in addresses(plan["result"] or {})))


def delete(found: State) -> None:
    """Have the plugins undo it, in reverse; one that fails or has gone is told, and keeps no container from going."""
    plan = _plan(found)
    netns = f"/proc/{found.pid}/ns/net" if found.pid and state.alive(found.pid, found.start_ticks) else ""
    for index in reversed(range(len(plan["list"]["plugins"]))):
        try:
            _call("DEL", plan, index, plan["result"], netns)
        except RunError as error:
            log.warning(str(error))
    os.unlink(f"{found.directory}/{FILE}")
