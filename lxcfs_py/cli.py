"""``lxcfs-py``: where errors are printed and exit codes given."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from lxcfs_py import __version__, lxcfs_options
from lxcfs_py.errors import Error, reason
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.daemon.session import Session

MOUNTPOINT = "/var/lib/lxcfs"
RUN = os.environ.get("LXCFS_PY_RUNTIME_DIR", "/run")
MOST_WORKERS = 4


def _resolved(_context: click.Context, _parameter: click.Parameter, path: str) -> str:
    """Return a mount point's real path without a look at the mount itself, which perhaps nobody serves just now."""
    directory, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(directory), name)


mountpoint = click.argument("mountpoint", default=MOUNTPOINT, callback=_resolved)
runtime_dir = click.option(
    "--runtime-dir", default=RUN, show_default=True, metavar="DIR", help="Registrations are in DIR/lxcfs-py."
)
as_json = click.option("--json", is_flag=True, help="Print JSON.")
version = click.version_option(__version__, "-v", "--version", prog_name="lxcfs-py")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version
def cli() -> None:
    """A /proc that tells the truth inside a container."""


def _begin(mountpoint: str, workers: int, keeper: str, *, nonempty: bool) -> Session:
    """Mount; where a process of ours is to keep the descriptors, we become it."""
    from lxcfs_py.daemon import holder
    from lxcfs_py.daemon.session import Session

    try:
        session = Session.make(mountpoint, workers, nonempty=nonempty)
    except Error as error:
        if keeper == "systemd":  # (RestartPreventExitStatus): it would be the same the next time
            error.exit_code = holder.GIVE_UP
        raise
    if keeper == "process":
        holder.become(session.descriptors)
    return session


@cli.command()
@mountpoint
@runtime_dir
@click.option(
    "--workers", type=click.IntRange(1, 64), metavar="N", help="Processes that serve (default: CPUs, at most 4)."
)
@click.option("-p", "--pidfile", default="", metavar="FILE", help="Write our pid there.")
@click.option(
    "--keeper",
    type=click.Choice(["process", "systemd", "none"]),
    default="process",
    show_default=True,
    help="Who keeps the mount when the daemon is killed or replaced: a small process, systemd's store, or nobody.",
)
@click.option("--held", default="", hidden=True, help="Descriptors that a keeper has: NAME=NUMBER,...")
@click.option("--ended", is_flag=True, hidden=True, help="The keeper was told to end while nobody served.")
@click.option(
    "--metrics", default="", metavar="ADDR", help="Tell Prometheus how it goes, at HOST:PORT or unix:/PATH."
)
@click.option(
    "--log-format",
    type=click.Choice(("text", "json")),
    default="text",
    help="What a line of the log is (default: text).",
)
@click.option("--verbose", is_flag=True, help="Log workers that begin and end, and new containers.")
@lxcfs_options.accept
@version
def serve(
    mountpoint: str,
    runtime_dir: str,
    workers: int | None,
    pidfile: str,
    keeper: str,
    held: str,
    ended: bool,
    metrics: str,
    log_format: str,
    verbose: bool,
    mount_options: str,
    **lxcfs: bool,
) -> None:
    """Serve at MOUNTPOINT (/var/lib/lxcfs) until SIGTERM."""
    lxcfs_options.check(lxcfs, mount_options)
    if os.geteuid() != 0:
        raise Error(f"user {os.geteuid()} can't mount", "run it as root, with sudo")
    from lxcfs_py import log
    from lxcfs_py.daemon import holder, mount, notify
    from lxcfs_py.daemon.session import Session

    log.configure(as_json=log_format == "json", verbose=verbose)
    count = workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    kept = notify.stored() if keeper == "systemd" else holder.given(held)
    session = Session.adopt(kept, mountpoint)
    if ended:
        if session is not None:
            mount.umount(mountpoint)
        return
    if session is None:
        if held:  # what was held is mounted no more: so it was unmounted, which is the end
            return
        session = _begin(mountpoint, count, keeper, nonempty=lxcfs_options.NONEMPTY in mount_options.split(","))
    if session.begun and session.former is None and keeper == "systemd":
        notify.keep(session.begun)
    from lxcfs_py.daemon import supervisor
    from lxcfs_py.daemon.processes import GENERATIONS

    options = supervisor.Options(Host(run=os.path.abspath(runtime_dir)), pidfile, keeper, metrics)
    try:
        code = supervisor.run(options, session)
    except Error as error:
        begun = any(session.processes.template(generation).pid for generation in GENERATIONS)
        if not begun and session.former is None:  # it has never begun, and would not the next time
            mount.umount(mountpoint)
            error.exit_code = holder.GIVE_UP if held else error.exit_code
        raise
    sys.exit(code)


@cli.command()
@runtime_dir
@as_json
def status(runtime_dir: str, json: bool) -> None:
    """Say how the daemon goes: its workers, how long reads take, who reads; exit with 1 if none serves."""
    from lxcfs_py import control, status

    found = control.ask(Host(run=os.path.abspath(runtime_dir)), "status")
    if json:
        _print_json(found)
    else:
        click.echo(status.table(found))


@cli.command()
@mountpoint
@runtime_dir
@click.option("--unserved", is_flag=True, help="Only if no daemon serves there.")
def umount(mountpoint: str, runtime_dir: str, unserved: bool) -> None:
    """Unmount MOUNTPOINT (/var/lib/lxcfs), also after a daemon that was killed."""
    from lxcfs_py.daemon import mount

    if unserved:
        mount.forget(mountpoint, Host(run=os.path.abspath(runtime_dir)))
    found = mount.mounted(mountpoint)
    if found is None or found.fstype != mount.FSTYPE:
        what = f"{found.source} ({found.fstype})" if found else "nothing"
        raise Error(f"{mountpoint}: {what} is mounted there", "name the mount point of an lxcfs-py")
    mount.umount(mountpoint)


def whose(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a container."""
    for option in (
        runtime_dir,
        click.option("--container", metavar="ID", help="As this registered container sees it."),
        click.option("--cgroup", metavar="PATH", help="As a process of this cgroup would see it."),
        click.option("--pid", type=click.IntRange(1), metavar="PID", help="As this process sees it."),
        click.argument("file"),
    ):
        command = option(command)
    return command


@cli.command()
@whose
def show(file: str, runtime_dir: str, **names: Any) -> None:
    """Print FILE (meminfo, pressure/cpu, /sys/devices/system/cpu/online, ...) as it is served, without a mount."""
    from lxcfs_py import target
    from lxcfs_py.loads import of_daemon
    from lxcfs_py.reader import Reader

    path, host = target.path(file), Host(run=os.path.abspath(runtime_dir))
    reader = Reader(host, loads=of_daemon(host))
    click.echo(target.text(reader, path, target.container(reader, target.Whose(**names))), nl=False)


@cli.command()
@whose
@as_json
def explain(file: str, runtime_dir: str, json: bool, **names: Any) -> None:
    """Print each line of FILE: what is served, what the host has, the rule, and the kernel files it came from."""
    from lxcfs_py import explain, target
    from lxcfs_py.loads import of_daemon
    from lxcfs_py.reader import Reader

    path, host, recorder = target.path(file), Host(run=os.path.abspath(runtime_dir)), explain.Recorder()
    reader = Reader(host, recorder, loads=of_daemon(host))
    lines = explain.explain(reader, recorder, path, target.container(reader, target.Whose(**names)))
    if json:
        _print_json(explain.plain(lines))
    else:
        click.echo(explain.table(lines, shutil.get_terminal_size().columns))


@cli.command()
@runtime_dir
@as_json
def doctor(runtime_dir: str, json: bool) -> None:
    """Say what this host can and can't do, and how to mend it; exit with 1 if nothing can be served or run."""
    from lxcfs_py import doctor, facts

    found = doctor.findings(facts.gather(Host(run=os.path.abspath(runtime_dir)), MOUNTPOINT))
    if json:
        _print_json([finding.as_dict() for finding in found])
    else:
        click.echo(doctor.table(found))
    if doctor.fails(found):
        sys.exit(1)


@cli.command()
def hook() -> None:
    """Be an OCI hook at createRuntime and poststop (see docs/engines.md): give a container the view."""
    from lxcfs_py import hook

    sys.exit(hook.main())


@cli.command(context_settings={"allow_interspersed_args": False})
@click.argument("runtime")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def runtime(runtime: str, arguments: tuple[str, ...]) -> None:
    """Be the OCI runtime RUNTIME, with our hook added to each container: for Docker and ctr (see docs/engines.md)."""
    from lxcfs_py import wrapper

    sys.exit(wrapper.main(os.path.realpath(sys.argv[0]), (runtime, *arguments)))


@cli.command()
@click.option(
    "--socket",
    "path",
    default=None,
    metavar="PATH",
    help="Where the runtime listens (default: /var/run/nri/nri.sock).",
)
def nri(path: str | None) -> None:
    """Be an NRI plugin (see docs/engines.md): containerd's and CRI-O's containers get the view by the hook."""
    from lxcfs_py.nri import service

    sys.exit(service.main(os.path.realpath(sys.argv[0]), path or service.SOCKET))


def _print_json(found: object) -> None:
    import json

    click.echo(json.dumps(found, indent=2))


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
