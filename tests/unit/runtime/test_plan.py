"""The plan: what is done in the container's namespaces, compared as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.host import Host
from runtime import options
from runtime.config import bundle, spec
from runtime.lifecycle import daemon
from runtime.root import plan, rootfs
from runtime.root.mounts import Mask, Mount
from runtime.root.steps import Kernel

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.root.steps import Step


def steps(tmp_path: Path, view_paths: tuple[str, ...] = (), masked: tuple[str, ...] = (), **linux: str) -> list[Step]:
    """Return the plan of a container that sees these views."""
    facts = plan.Facts(Layout({}), rootfs.Facts(), views="/mnt/containers/web", view_paths=view_paths, masked=masked)
    line = ["--dry-run", "--name", "web", "--root", str(tmp_path), "true"]
    request = spec.build(options.parse(line), caller={})
    process = {**request.spec["process"], "apparmorProfile": "box", "selinuxLabel": "u:r:t"}
    request.spec.update(process=process, linux={**request.spec["linux"], **linux})
    request = request.replace(spec=bundle.complete(request.spec))
    return plan.build(request, "/base", "/pyproc/web", facts, plan.Channel(0, 1))


def test_pressure_is_bound_writable(tmp_path: Path) -> None:
    """Views are bound read-only, but for pressure files, which take triggers."""
    paths = ("proc/stat", "proc/pressure/cpu", "sys/devices/system/cpu/online")
    found = [step for step in steps(tmp_path, view_paths=paths) if isinstance(step, Mount) and "/mnt/" in step.source]
    assert [(step.source, step.target, step.options) for step in found] == [
        ("/mnt/containers/web/proc/stat", "/proc/stat", ("bind", "ro")),
        ("/mnt/containers/web/proc/pressure/cpu", "/proc/pressure/cpu", ("bind",)),
        ("/mnt/containers/web/" + paths[2], "/" + paths[2], ("bind", "ro")),
    ]


def test_labels(tmp_path: Path) -> None:
    """Security modules are told of the command; files get a label where the file system has none of the kernel's."""
    found = steps(tmp_path, mountLabel="u:o:t")
    assert Kernel("/proc/self/attr/apparmor/exec", "exec box") in found
    assert Kernel("/proc/self/attr/exec", "u:r:t") in found
    labelled = {step.target for step in found if isinstance(step, Mount) and 'context="u:o:t"' in step.options}
    assert labelled == {"/dev", "/dev/pts", "/dev/shm"}


def test_what_no_view_replaces_is_hidden(tmp_path: Path) -> None:
    """What would show the host's figures is hidden with the other masked paths."""
    assert Mask("/proc/pressure") in steps(tmp_path, masked=("/proc/pressure",))
    assert Mask("/proc/pressure") not in steps(tmp_path)


def test_pressure_by_host(tmp_path: Path) -> None:
    """The kernel's pressure files are replaced where cgroup2 has the like of them."""
    for name in ("cpu", "irq", "new"):
        (tmp_path / "pressure").mkdir(exist_ok=True)
        (tmp_path / f"pressure/{name}").touch()
        (tmp_path / f"{name}.pressure").touch()
    (tmp_path / "io.pressure").touch()
    host, unified = Host(str(tmp_path), str(tmp_path)), Hierarchy(2, str(tmp_path))
    assert daemon.paths(host, Layout({"": unified})) == ("proc/pressure/cpu", "proc/pressure/irq")
    assert daemon.paths(host, Layout({"memory": unified})) == ()
    assert daemon.paths(Host(proc="/nonexistent", sys=""), Layout({"": unified})) == ()
