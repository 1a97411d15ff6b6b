"""What starting a container takes, decided before anything is done: a list of steps, pure."""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from lxcfs_py.served import PRESSURE
from runtime.kernel import syscalls as sc
from runtime.process import labels, namespaces
from runtime.root import mount_options
from runtime.root.mounts import (
    Apart,
    Enter,
    Freeze,
    Gather,
    Mask,
    Mount,
    Pivot,
    Propagation,
    ReadOnly,
    View,
)  # fmt: skip
from runtime.root.steps import (
    Await,
    BecomeRoot,
    CgroupNamespace,
    Directory,
    Hostname,
    Kernel,
    Keyring,
    Label,
    Link,
    Loopback,
    Node,
    OomScore,
    Step,
    Text,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from runtime.request import Request
    from runtime.root import rootfs

DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin"), ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"), ("pts/ptmx", "/dev/ptmx"), ("/proc/kcore", "/dev/core"),
)  # fmt: skip
LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
UNLABELLED = ("proc", "sysfs", "mqueue")
"""Whose files have the kernel's labels, or only such that are set afterwards."""
KINDS = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}


class Facts(Record):
    """What of the host decides what is done."""

    layout: Layout
    root: rootfs.Facts | None = None
    """For a root of our own making."""
    views: str = ""
    """The directory of the daemon's mount that is bound from, "" for the kernel's own /proc."""
    view_paths: tuple[str, ...] = ()
    """What is bound from there: ``proc/meminfo``, ..."""
    masked: tuple[str, ...] = ()
    """What would show the host's figures, and no view replaces."""
    resolv: str = ""
    """The text of resolv.conf."""
    nodes: bool = True
    """Whether we may make device nodes, or have to bind the host's."""
    prepared: Mapping[int, int] = {}
    """Sources of mounts that are copied already, by the mount's place in the configuration (``root.idmap``)."""


class Channel(Record):
    """The descriptors by which parent and child speak."""

    go: int = -1
    """The parent says here, a byte each time, that the child may go on."""
    report: int = -1
    """What the child has to say (``runtime.report``)."""


def cgroup_mounts(
    layout: Layout, target: str, options: tuple[str, ...], cgroup: str, label: str = "", *, own: bool
) -> list[Step]:
    """Return the mounts that show the container its cgroups at ``target``, as its host's are.

    ``own``: it has a cgroup namespace; else the directories of its ``cgroup`` are bound.
    """
    above = ("nosuid", "nodev", "noexec", "mode=755", *mount_options.context(label))
    names = {name: h for name, h in layout.hierarchies.items() if not name.startswith("name=")}
    bind = tuple(option for option in options if option in mount_options.ATTRIBUTES)

    def mount(at: str, fstype: str, *data: str) -> Step:
        hierarchy = names[data[0] if data else ""]
        if own:
            return Mount(fstype, at, fstype, (*options, *data))
        return Mount(hierarchy.directory(cgroup), at, "bind", ("bind", *bind))

    if not names:  # what of the host's shows there is hidden
        return [Mount("tmpfs", target, "tmpfs", ("ro", *above))]
    if not any(h.version == 1 for h in names.values()):
        return [mount(target, "cgroup2")]
    found: list[Step] = [Mount("tmpfs", target, "tmpfs", above)]
    for path, hierarchy in {h.mount: h for h in names.values()}.items():
        at = os.path.basename(path)
        if hierarchy.version == 2:
            found.append(mount(f"{target}/{at}", "cgroup2"))
        else:
            found.append(mount(f"{target}/{at}", "cgroup", *hierarchy.controllers))
            found += [Link(at, f"{target}/{name}") for name in hierarchy.controllers if name != at and "," in at]
    named = (h.mount for name, h in layout.hierarchies.items() if name.startswith("name="))
    found += [Directory(f"{target}/{os.path.basename(path)}") for path in named]  # Podman's --systemd binds one there
    return [*found, Freeze(target)] if "ro" in options else found


def _view(facts: Facts, path: str) -> Step:
    """Return the bind of a view; a pressure file is written to (psi.rst), which a read-only mount would refuse."""
    options = ("bind",) if path.startswith(f"{PRESSURE}/") else ("bind", "ro")
    return View(f"{facts.views}/{path}", f"/{path}", "bind", options)


def _mounts(request: Request, facts: Facts, cgroup: str, kinds: frozenset[str]) -> list[Step]:
    found: list[Step] = []
    label = request.spec["linux"].get("mountLabel", "")
    for index, mount in enumerate(request.spec["mounts"]):
        target, fstype, options = mount["destination"], mount["type"], tuple(mount["options"])
        if not target.startswith("/"):  # allowed up to 1.0, and meant from the root on
            target = f"/{target}"
        if fstype == "cgroup":
            kept = tuple(o for o in options if o != "relatime")
            found += cgroup_mounts(facts.layout, target, kept, cgroup, label, own="cgroup" in kinds)
        elif fstype == "bind":
            source = mount["source"]
            whole = source if source.startswith("/") else os.path.normpath(f"{request.bundle}/{source}")
            found.append(Mount(whole, target, "bind", options, facts.prepared.get(index, 0)))
        else:
            context = mount_options.context(label) if fstype not in UNLABELLED else ()
            found.append(Mount(mount["source"] or fstype, target, fstype, (*options, *context)))
            if label and fstype == "mqueue":
                found.append(Label(target, label))
        if (place := os.path.normpath(target)) in ("/proc", "/sys"):  # before anything could cover them
            found += [_view(facts, p) for p in facts.view_paths if f"/{p}".startswith(f"{place}/")]
    return found


def _etc(request: Request, base: str, facts: Facts) -> tuple[list[Step], list[Step]]:
    """Return how the container's own files of /etc are written, and how they are bound."""
    name, names = request.spec["hostname"], request.names
    own = "" if request.network else f"127.0.1.1\t{name}\n"  # with a network its address there
    texts = {"hostname": f"{name}\n"}
    if not names.shared:
        texts["hosts"] = f"{LOCALHOST}{own}{''.join(names.hosts)}"
        texts["resolv.conf"] = facts.resolv
    write: list[Step] = [Text(f"{base}/etc/{file}", text) for file, text in texts.items()]
    bind: list[Step] = [
        Mount(f"{f'{base}/etc' if file in texts else names.shared}/{file}", f"/etc/{file}", "bind", ("bind",))
        for file in ("hostname", "hosts", "resolv.conf")
    ]
    return write, bind


def _devices(linux: dict[str, Any], *, made: bool) -> list[Step]:
    """Return the nodes of /dev: asked for and usual ones; a user namespace can't make them, and gets the host's."""
    from runtime.process.devices import default_nodes

    nodes = {node["path"]: node for node in (*default_nodes(), *linux["devices"])}.values()
    if not made:
        return [Mount(node["path"], node["path"], "bind", ("bind",)) for node in nodes if node["type"] != "p"]
    return [
        Node(
            node["path"], node.get("major", 0), node.get("minor", 0), node.get("fileMode", 0o666) & 0o7777,
            KINDS[node["type"]], node.get("uid", 0), node.get("gid", 0),
        )
        for node in nodes
    ]  # fmt: skip


def _volumes(request: Request) -> list[Step]:
    """Return the first uses of volumes: before anything is mounted, the root shows what the image holds."""
    wanted = [volume for volume in request.volumes if volume.copy]
    if not wanted:
        return []
    from runtime.root.fill import Fill

    return [Fill(volume.data, volume.target) for volume in wanted]


def _root(
    request: Request, base: str, facts: Facts, mounts: Sequence[Step]
) -> tuple[list[Step], list[Step], list[str]]:
    """Return how the root is made, what is mounted last in it, and which of its mounts ``readonly`` means."""
    if facts.root is not None:
        from runtime.root import beneath, rootfs

        write, bind = _etc(request, base, facts)
        wanted = (step for step in (*mounts, *bind) if isinstance(step, Mount))
        places = beneath.targets(wanted, (request.spec["process"]["cwd"],))
        root, made = rootfs.steps(request.lowers, base, facts.root, places)
        filled = _volumes(request)
        return [*write, *made, Enter(root), *filled], bind, rootfs.mounted(request.lowers, facts.root)
    path = os.path.normpath(os.path.join(request.bundle, request.spec["root"]["path"]))
    return [Apart(path), Enter(path, bind=True)], [], ["/"]


def groups(linux: Mapping[str, Any]) -> bool:
    """Say whether a user namespace with these ids lets groups be set: not one that maps a user's own alone."""
    return sum(row["size"] for row in linux["gidMappings"]) > 1 or not linux["gidMappings"]


def _propagation(word: str) -> tuple[int, int]:
    """Return what / is made while the root is made from it, and what the root is made then."""
    flags = mount_options.effect((word,)).propagation
    first = sc.MS_PRIVATE if flags & sc.MS_UNBINDABLE else flags  # nothing could be bound from there
    return first | sc.MS_REC, flags if flags & (sc.MS_SHARED | sc.MS_UNBINDABLE) else 0


def _console(request: Request, channel: Channel) -> list[Step]:
    if not request.spec["process"]["terminal"]:
        return []
    from runtime.root.console import Console

    return [Console(channel.report, request.spec["process"].get("consoleSize"))]


def _hooks(request: Request, channel: Channel, pid_known: dict[str, Any]) -> list[Step]:
    """Return the stages before the root is changed; the first two are the parent's to run."""
    hooks = request.spec["hooks"]
    if not hooks:
        return []
    from runtime.root.hook_steps import Hooks, ParentHooks

    found: list[Step] = []
    if hooks.get("prestart") or hooks.get("createRuntime"):
        found.append(ParentHooks(channel.report, channel.go))
    if hooks.get("createContainer"):
        found.append(Hooks("createContainer", hooks, pid_known))
    return found


def _named(spec: Mapping[str, Any]) -> bool:
    return bool(spec["hostname"] or spec["domainname"])


def build(
    request: Request, base: str, cgroup: str, facts: Facts, channel: Channel, state: dict[str, Any] | None = None
) -> list[Step]:
    """Return what is done in the container's namespaces, in order.

    ``base`` is the directory of the container's files, ``state`` what hooks are told, but for the pid.
    """
    spec, linux, process = request.spec, request.spec["linux"], request.spec["process"]
    plan = namespaces.decide(linux)
    kinds, user = plan.kinds, "user" in plan.kinds
    asked = _mounts(request, facts, cgroup, kinds)
    root, own, readonly = _root(request, base, facts, asked)
    mounts = [*asked, *own]
    nodes = _devices(linux, made=facts.nodes and not user)
    sources = [
        (step.source, effect.subpath, effect.recursive)
        for step in (*mounts, *nodes)
        if isinstance(step, Mount) and not step.prepared and (effect := mount_options.effect(step.options)).bind
    ]
    before, after = _propagation(linux["rootfsPropagation"])
    persistent = request.bundle and not request.no_new_keyring
    label, files = process.get("selinuxLabel", ""), linux.get("mountLabel", "")
    return [
        *([Await(channel.go)] if user else []),
        *([CgroupNamespace()] if "cgroup" in plan.fresh else []),
        *([Kernel(labels.KEYCREATE, label)] if persistent and label else []),
        *([Keyring(f"_ses.{request.id}")] if persistent else []),
        *([OomScore("/proc/self/oom_score_adj", str(process["oomScoreAdj"]))] if "oomScoreAdj" in process else []),
        Propagation("/", before),
        *root,
        *([Gather(tuple(sources)), BecomeRoot(groups(linux))] if user else [Await(channel.go)]),  # as late as can be
        *mounts,
        *nodes,
        *(Link(target, path) for target, path in DEV_LINKS),
        *_console(request, channel),
        *(Kernel(f"/proc/sys/{name.replace('.', '/')}", value) for name, value in linux["sysctl"].items()),
        *_hooks(request, channel, state or {}),
        *map(ReadOnly, linux["readonlyPaths"]),
        *(Mask(path, files) for path in (*linux["maskedPaths"], *facts.masked)),
        *(map(Freeze, readonly) if spec["root"]["readonly"] else ()),
        Pivot(request.no_pivot, after),
        *([Hostname(spec["hostname"], spec["domainname"])] if "uts" in kinds and _named(spec) else []),
        *([Loopback()] if "network" in plan.fresh else []),
    ]
