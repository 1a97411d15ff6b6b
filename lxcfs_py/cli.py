"""``lxcfs-py``: where errors are printed and exit codes given."""

from __future__ import annotations

import os
import sys

import click

from lxcfs_py import __version__, lxcfs_options
from lxcfs_py.errors import Error, reason
from lxcfs_py.host import Host

MOUNTPOINT = "/var/lib/lxcfs"
RUN = os.environ.get("LXCFS_PY_RUNTIME_DIR", "/run")
MOST_WORKERS = 4

mountpoint = click.argument("mountpoint", default=MOUNTPOINT, type=click.Path(resolve_path=True))
runtime_dir = click.option(
    "--runtime-dir", default=RUN, show_default=True, metavar="DIR", help="Registrations are in DIR/lxcfs-py."
)
version = click.version_option(__version__, "-v", "--version", prog_name="lxcfs-py")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version
def cli() -> None:
    """A /proc that tells the truth inside a container."""


@cli.command()
@mountpoint
@runtime_dir
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", help="Processes that serve (default: CPUs, at most 4)."
)
@click.option("-p", "--pidfile", default="", metavar="FILE", help="Write our pid there.")
@lxcfs_options.accept
@version
def serve(
    mountpoint: str, runtime_dir: str, workers: int | None, pidfile: str, mount_options: str, **lxcfs: bool
) -> None:
    """Serve at MOUNTPOINT (/var/lib/lxcfs) until SIGTERM."""
    lxcfs_options.check(lxcfs, mount_options)
    if os.geteuid() != 0:
        raise Error(f"user {os.geteuid()} can't mount", "run it as root, with sudo")
    from lxcfs_py.daemon import supervisor

    count = workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    host = Host(run=os.path.abspath(runtime_dir))
    nonempty = lxcfs_options.NONEMPTY in mount_options.split(",")
    supervisor.run(supervisor.Options(mountpoint, count, host, pidfile, nonempty))


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
    """Print FILE (meminfo, pressure/cpu, /sys/devices/system/cpu/online, ...) without a mount."""
    from lxcfs_py.container import Callers, by_cgroup, by_registration
    from lxcfs_py.loads import of_daemon
    from lxcfs_py.reader import Reader
    from lxcfs_py.served import CPU, FILES
    from lxcfs_py.views import read

    path = os.path.normpath(file).lstrip("/")
    if not path.startswith(CPU + "/"):
        path = next((f"proc/{name}" for name in (path, path.removeprefix("proc/")) if f"proc/{name}" in FILES), "")
    if not path:
        names = ", ".join(known.removeprefix("proc/") for known in FILES)
        raise Error(f"{file!r}: no such file is served", f"there are {names}, and those in /{CPU}")
    if [pid, cgroup, container].count(None) != 2:
        raise Error("whose file?", "name one of --pid, --cgroup and --container")
    host = Host(run=os.path.abspath(runtime_dir))
    reader = Reader(host, loads=of_daemon(host))
    if container is not None:
        found = by_registration(reader.host, reader.files, container)
    elif cgroup is not None:
        found = by_cgroup("/" + cgroup.strip("/"), tuple(reader.cgroups.layout.hierarchies))
    else:
        if not os.path.exists(f"{reader.host.proc}/{pid}"):
            raise Error(f"--pid {pid}: no such process", "ps ax lists those that are")
        called = Callers(reader.host, reader.files).container(pid or 0)
        if called is None:
            click.echo(reader.host_bytes(path), nl=False)
            return
        found = called
    click.echo(read(reader, found, path), nl=False)


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
