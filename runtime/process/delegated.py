"""The cgroup of a container that is not the host root's: of the user's own systemd, or below one that is delegated.

With what is offered there.
"""

from __future__ import annotations

import os

from lxcfs_py.cgroup import control
from lxcfs_py.cgroup.layout import UNIFIED, Layout
from lxcfs_py.procfs import proc_cgroup
from runtime.process import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.request import Request
    from runtime.systemd.scope import Unit


def top(proc: str, layout: Layout) -> str | None:
    """Return the topmost cgroup2 above our own that is ours to fill (cgroup-v2.rst, "Delegation"), None for none.

    v1 is never left to ordinary users: there who owns a cgroup could lift the limits of those above.
    """
    unified = layout.hierarchies.get(UNIFIED)
    if unified is None:
        return None
    with open(f"{proc}/self/cgroup", "rb") as file:
        at = proc_cgroup.parse(file.read()).get(UNIFIED, "")
    found = None
    while at and _fillable(unified.directory(at)):
        found, at = at, ("" if at == "/" else os.path.dirname(at))
    return found


def _fillable(directory: str) -> bool:
    files = (directory, f"{directory}/cgroup.procs", f"{directory}/cgroup.subtree_control")
    return all(os.access(file, os.W_OK) for file in files)


def place(proc: str, layout: Layout, request: Request) -> tuple[Layout, str, Unit | None]:
    """Return the hierarchy a container's cgroup is made in, its path, and its unit if the user's systemd makes it.

    None and "" where it can't have one. Raises an Error if it has to be systemd's and can't.
    """
    asked = request.spec["linux"].get("cgroupsPath", "")
    if request.manager == "systemd" or (request.manager == "" and _is_unit(asked) and cgroups.manageable(layout)):
        from runtime.systemd import bus, scope

        try:
            home = scope.users(proc)
            unit = cgroups.scoped(request, layout)
            return _offering(layout, home, "cgroup.controllers"), home + unit.path, unit
        except bus.UnreachableError as error:
            if request.manager:
                raise
            if isinstance(error, scope.OutsideError):  # it isn't that there is none
                os.write(2, f"pyproc: {error}\n".encode("utf-8", "replace"))
    own = None if request.manager == "disabled" else top(proc, layout)
    return *below(layout, asked, request.id, own), None


def _is_unit(asked: str) -> bool:
    return not asked or asked.count(":") == 2


def _offering(layout: Layout, path: str, file: str) -> Layout:
    unified = layout.hierarchies[UNIFIED]
    offered = tuple(control.read(f"{unified.directory(path)}/{file}").decode().split())
    return Layout({UNIFIED: unified.replace(controllers=offered)})


def below(layout: Layout, asked: str, id_: str, own: str | None) -> tuple[Layout, str]:
    """Return the same below the cgroup that is ours: with the controllers that are, or can be, enabled there."""
    if own is None:
        return Layout({}), ""
    directory = layout.hierarchies[UNIFIED].directory(own)
    inhabited = bool(control.read(f"{directory}/cgroup.procs").strip())  # then none can be enabled
    file = "cgroup.subtree_control" if inhabited and own != "/" else "cgroup.controllers"
    path = cgroups.path("" if _is_unit(asked) else asked, id_)
    whole = path if path.startswith(f"{own}/") else f"{own.rstrip('/')}{path}"
    return _offering(layout, own, file), whole


GIVES = "a systemd of your own gives one, on cgroup v2 (loginctl enable-linger starts it)"
CONTROLLED = {"cpuset_": "cpuset", "cpu_": "cpu", "memory_": "memory", "swap_": "memory", "oom_": "memory",
              "pids_": "pids", "io": "io", "hugetlb": "hugetlb", "rdma": "rdma", "net_": "net_cls"}  # fmt: skip
"""What the names of limits begin with, and the controller they take."""


def enforced(limits: control.Limits, layout: Layout) -> tuple[control.Limits, tuple[str, ...]]:
    """Return the limits ``layout`` can hold, and the controllers that are missing there for the others."""
    usual, missing = control.Limits(), []
    have = layout.hierarchies[UNIFIED].controllers if UNIFIED in layout.hierarchies else ()
    for name, value in limits.as_dict().items():
        if value == getattr(usual, name):
            continue
        if name == "unified":
            lacking = [file for file in value if file.partition(".")[0] not in (*have, "cgroup")]
            missing += [file.partition(".")[0] for file in lacking]
            limits = limits.replace(unified={file: value[file] for file in value if file not in lacking})
            continue
        controller = next(controller for prefix, controller in CONTROLLED.items() if name.startswith(prefix))
        if controller not in have:
            missing.append(controller)
            limits = limits.replace(**{name: getattr(usual, name)})
    return limits, tuple(dict.fromkeys(missing))


def lacking(controllers: tuple[str, ...], unit: Unit | None) -> str:
    """Return what the user is told of limits that are not held."""
    hint = "have root delegate more to user@.service (Delegate=)" if unit else GIVES
    return f"not limited, for want of a cgroup with it: {', '.join(controllers)}; {hint}"
