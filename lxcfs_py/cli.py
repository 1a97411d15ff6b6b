"""``lxcfs-py``: where errors are printed and exit codes given."""

from __future__ import annotations

import os
import sys

import click

from lxcfs_py import __version__
from lxcfs_py.errors import Error, reason
from lxcfs_py.host import Host

MOUNTPOINT = "/var/lib/lxcfs"
RUN = os.environ.get("LXCFS_PY_RUNTIME_DIR", "/run")
MOST_WORKERS = 4

mountpoint = click.argument("mountpoint", default=MOUNTPOINT, type=click.Path(resolve_path=True))
runtime_dir = click.option(
    "--runtime-dir", default=RUN, show_default=True, metavar="DIR", help="Registrations are in DIR/lxcfs-py."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-v", "--version", prog_name="lxcfs-py")
def cli() -> None:
    """A /proc that tells the truth inside a container."""


@cli.command()
@mountpoint
@runtime_dir
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", help="Processes that serve (default: CPUs, at most 4)."
)
@click.option("-p", "--pidfile", default="", metavar="FILE", help="Write our pid there.")
@click.option("-f", "--foreground", is_flag=True, help="What it does anyway; accepted as lxcfs's.")
@click.option("--enable-cfs", is_flag=True, help="What it does anyway; accepted as lxcfs's.")
def serve(mountpoint: str, runtime_dir: str, workers: int | None, pidfile: str, **_lxcfs: bool) -> None:
    """Serve at MOUNTPOINT (/var/lib/lxcfs) until SIGTERM."""
    if os.geteuid() != 0:
        raise Error(f"user {os.geteuid()} can't mount", "run it as root, with sudo")
    from lxcfs_py.daemon import supervisor

    count = workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    supervisor.run(supervisor.Options(mountpoint, count, Host(run=os.path.abspath(runtime_dir)), pidfile))


@cli.command()
@mountpoint
def umount(mountpoint: str) -> None:
    """Unmount MOUNTPOINT (/var/lib/lxcfs), also after a daemon that was killed."""
    from lxcfs_py.daemon import mount

    found = mount.mounted(mountpoint)
    if found is None or found.fstype != mount.FSTYPE:
        what = f"{found.source} ({found.fstype})" if found else "nothing"
        raise Error(f"{mountpoint}: {what} is mounted there", "name the mount point of an lxcfs-py")
    mount.umount(mountpoint)


@cli.command()
@click.argument("file")
@click.option("--pid", type=int, metavar="PID", help="As this process sees it.")
@click.option("--cgroup", metavar="PATH", help="As a process of this cgroup would see it.")
@click.option("--container", metavar="ID", help="As this registered container sees it.")
@runtime_dir
def show(file: str, pid: int | None, cgroup: str | None, container: str | None, runtime_dir: str) -> None:
    """Print FILE (meminfo, cpuinfo, stat, uptime, pressure/cpu, online, ...) without a mount."""
    from lxcfs_py.container import Callers, by_cgroup, by_registration
    from lxcfs_py.reader import Reader
    from lxcfs_py.views import VIEWS

    paths = [path for path in VIEWS if f"/{path}".endswith(f"/{file.lstrip('/')}")]
    if not paths:
        names = ", ".join(path.rpartition("/")[2] for path in VIEWS)
        raise Error(f"{file!r}: no such file is served", f"there are {names}")
    if [pid, cgroup, container].count(None) != 2:
        raise Error("whose file?", "name one of --pid, --cgroup and --container")
    reader = Reader(Host(run=os.path.abspath(runtime_dir)))
    if container is not None:
        found = by_registration(reader.host, reader.files, container)
    elif cgroup is not None:
        found = by_cgroup("/" + cgroup.strip("/"), tuple(reader.cgroups.layout.hierarchies))
    else:
        if not os.path.exists(f"{reader.host.proc}/{pid}"):
            raise Error(f"--pid {pid}: no such process", "ps ax lists those that are")
        called = Callers(reader.host, reader.files).container(pid or 0)
        if called is None:
            click.echo(reader.host_bytes(paths[0]), nl=False)
            return
        found = called
    click.echo(VIEWS[paths[0]].read(reader, found), nl=False)


def main() -> None:
    """Be ``lxcfs-py``."""
    try:
        cli(prog_name="lxcfs-py")
    except Error as error:
        click.echo(f"lxcfs-py: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.echo(f"lxcfs-py: {reason(error)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
