"""The plan: what is done in the container's namespaces, compared as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py import serving
from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.host import Host
from runtime import options
from runtime.config import bundle, spec
from runtime.root import plan, rootfs
from runtime.root.beneath import Beneath, targets
from runtime.root.fill import Fill
from runtime.root.mounts import Freeze, Mask, Mount, Overlay
from runtime.root.steps import Directory, Label

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.root.steps import Step


def steps(
    tmp_path: Path,
    view_paths: tuple[str, ...] = (),
    masked: tuple[str, ...] = (),
    line: tuple[str, ...] = (),
    **linux: str,
) -> list[Step]:
    """Return the plan of a container that sees these views, and was asked for so."""
    facts = plan.Facts(Layout({}), rootfs.Facts(), views="/mnt/containers/web", view_paths=view_paths, masked=masked)
    words = ["--dry-run", "--name", "web", "--root", str(tmp_path), "--storage", "/s", *line, "true"]
    request = spec.build(options.parse(words), caller={})
    request.spec.update(linux={**request.spec["linux"], **linux})
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
    """Files get a label where the file system has none of the kernel's."""
    found = steps(tmp_path, mountLabel="u:o:t")
    labelled = {step.target for step in found if isinstance(step, Mount) and 'context="u:o:t"' in step.options}
    assert labelled == {"/dev", "/dev/pts", "/dev/shm", "/sys/fs/cgroup"}
    assert Label("/dev/mqueue", "u:o:t") in found
    assert {step.label for step in found if isinstance(step, Mask)} == {"u:o:t"}


def test_cgroups_of_v1() -> None:
    """Where named hierarchies are, there are directories to mount them on (Podman does) before all is read-only."""
    layout = Layout({"pids": Hierarchy(1, "/c/pids", "/", ("pids",)), "name=systemd": Hierarchy(1, "/c/systemd")})
    found = plan.cgroup_mounts(layout, "/sys/fs/cgroup", ("ro", "nosuid"), "/web", own=True)
    assert found[1:] == [
        Mount("cgroup", "/sys/fs/cgroup/pids", "cgroup", ("ro", "nosuid", "pids")),
        Directory("/sys/fs/cgroup/systemd"),
        Freeze("/sys/fs/cgroup"),
    ]


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
    assert serving.paths(host, Layout({"": unified})) == ("proc/pressure/cpu", "proc/pressure/irq")
    assert serving.paths(host, Layout({"memory": unified})) == ()
    assert serving.paths(Host(proc="/nonexistent", sys=""), Layout({"": unified})) == ()


def test_the_upper_layer_is_the_containers_alone(tmp_path: Path) -> None:
    """What the runtime makes is made in a layer of its own, before the overlay that it lies in is mounted."""
    found = steps(tmp_path, line=("-v", "v:/data", "-v", "/:/data/sub", "--tmpfs", "/etc/t", "-w", "/work/here"))
    (beneath,) = (step for step in found if isinstance(step, Beneath))
    overlays = [step for step in found if isinstance(step, Overlay)]
    assert found.index(beneath) < found.index(overlays[0])
    assert [overlay.lowers[0] for overlay in overlays] == ["/base/init/root"]
    assert dict(beneath.places) == {
        **dict.fromkeys(("/proc", "/dev", "/sys", "/etc/t", "/work/here"), ""),
        "/data": "/s/volumes/v/_data",
        **{f"/etc/{name}": f"/base/etc/{name}" for name in ("hostname", "hosts", "resolv.conf")},
    }


def test_volumes_are_filled_before_anything_is_mounted(tmp_path: Path) -> None:
    """What is copied into a volume is what the image holds, so that nothing may cover it; binds are left alone."""
    line = ("-v", "v:/data", "-v", "w:/data/sub:nocopy", "-v", f"{tmp_path}:/host", "--mount", "src=x,dst=/x")
    found = steps(tmp_path, line=line)
    fills = [step for step in found if isinstance(step, Fill)]
    assert [(step.data, step.target) for step in fills] == [
        ("/s/volumes/v/_data", "/data"),
        ("/s/volumes/x/_data", "/x"),
    ]
    first = next(step for step in found if isinstance(step, Mount) and step.target == "/proc")
    assert found.index(fills[-1]) < found.index(first)


def test_places() -> None:
    """Only what lies in the root's own file system is made there: the rest is below another mount."""
    mounts = [Mount("tmpfs", "/a", "tmpfs"), Mount("/src", "/a/b", "bind"), Mount("/src", "//c/../d/", "bind")]
    assert targets(mounts, ("/a/x", "/", "/e")) == (("/a", ""), ("/d", "/src"), ("/e", ""))
