"""From options to an OCI configuration (config.json of the runtime specification), with Docker's defaults."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from runtime.config import joined, linux, logs, validate, volumes
from runtime.errors import RunError
from runtime.kernel import signals
from runtime.options import manager
from runtime.process import capabilities, environment
from runtime.request import NETWORK, Request
from runtime.state import OCI_VERSION, RESTART

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lxcfs_py.host import Host
    from runtime.command_line import Parsed
    from runtime.config.volumes import Place
    from runtime.images.manifest import Config
    from runtime.images.merge import Asked
    from runtime.images.resolve import Resolved
    from runtime.network.wish import Wish

TERM = "xterm"
STOP_SIGNAL = "org.opencontainers.image.stopSignal"
"""The annotation that an image's StopSignal becomes (conversion.md of the image specification)."""
STOP_TIMEOUT = "io.lxcfs-py.stop-timeout"
"""The annotation that --stop-timeout becomes, in seconds."""


def new_id() -> str:
    """Return twelve random hex digits: what Docker shows of its sixty-four.

    It becomes a host name, so they are not all decimal: that would be an address (inet_aton(3)).
    """
    while (found := os.urandom(6).hex()).isdigit():
        pass
    return found


def said(options: Parsed, name: str) -> bool | str | None:
    """Return what --security-opt says of one thing, the last time it does; None for nothing."""
    return dict(map(validate.security, options["security_opt"])).get(name)


def _process(
    options: Parsed, hostname: str, caller: Mapping[str, str], image: Resolved | None = None
) -> dict[str, Any]:
    names, profile = list(granted(options)), said(options, "apparmor")
    base = [f"PATH={environment.PATH}", f"HOSTNAME={hostname}", *([f"TERM={TERM}"] if options["tty"] else [])]
    asked = environment.variables(options["env_file"], options["env"], caller)
    return {
        "terminal": options["tty"],
        "user": _user(options, options["user"] or "0"),
        "args": list(options.rest),
        "env": environment.merge(base, asked),
        "cwd": options["workdir"] or "/",
        "capabilities": {  # inheritable and ambient ones would pass to programs that are not root's
            "bounding": names,
            "effective": names,
            "permitted": names,
            "inheritable": [],
            "ambient": [],
        },
        "noNewPrivileges": said(options, "no-new-privileges") is True,
        **({} if profile in (None, "unconfined") else {"apparmorProfile": profile}),
        **({} if options["oom_score_adj"] is None else {"oomScoreAdj": options["oom_score_adj"]}),
        "rlimits": linux.rlimits(options),
        **(_of_image(options, hostname, asked, image.config) if image else {}),
    }


def _asked(options: Parsed, hostname: str) -> Asked:
    from runtime.images.merge import Asked

    return Asked(
        args=options.rest,
        entrypoint=options["entrypoint"],
        user=options["user"],
        workdir=options["workdir"],
        tty=options["tty"],
        hostname=hostname,
        labels=_labels(options),
    )


def _of_image(options: Parsed, hostname: str, env: Mapping[str, str], image: Config) -> dict[str, Any]:
    """Return the part of the process that an image has a say in."""
    from runtime.images.merge import merge

    found = merge(image, _asked(options, hostname).replace(env=env))
    return {
        "user": _user(options, found.user),
        "args": list(found.args),
        "env": list(found.env),
        "cwd": found.workdir,
    }


def granted(options: Parsed) -> tuple[str, ...]:
    """Return the capabilities of the container."""
    added = (*options["cap_add"], *(("ALL",) if options["privileged"] else ()))
    return capabilities.resolve(added, options["cap_drop"])


def user(asked: str) -> dict[str, Any]:
    """Return OCI's user of ``USER[:GROUP]``; ``users.complete`` fills in the numbers inside the container."""
    return {"uid": 0, "gid": 0, "additionalGids": [], "username": asked}


def _user(options: Parsed, asked: str) -> dict[str, Any]:
    """Return OCI's user with further groups, which are looked up inside, too, and its mask."""
    groups, mask = list(options["group_add"]), options["umask"]
    return {**user(asked), **({"groups": groups} if groups else {}), **({} if mask is None else {"umask": mask})}


def host_name(options: Parsed, id_: str) -> str:
    """Return the host name inside."""
    if options["uts"] == "host":
        return os.uname().nodename
    return options["hostname"] or joined.hostname(options, id_[: validate.MAX_HOSTNAME])


def _labels(options: Parsed) -> dict[str, str]:
    if not (options["label"] or options["label_file"]):
        return {}
    from runtime.config import notes  # what few ask for

    return notes.labels(options)


def _stop_signal(image: Resolved) -> str:
    """Return the signal that an image says is to end it; raises an Error for one there isn't."""
    found = image.config.stop_signal
    if found:
        try:
            signals.number(found)
        except Error as error:
            text = f"image {image.name or image.id[:12]}: StopSignal {error.message}"
            raise RunError(text, "give --stop-signal TERM") from error
    return found


NOTES = ("label", "label_file", "annotation")


def _notes(options: Parsed, of_image: Mapping[str, str]) -> dict[str, str]:
    from runtime.config import notes  # what few ask for

    return notes.notes(options, of_image)


def _annotations(options: Parsed, network: Wish | None, image: Resolved | None) -> dict[str, str]:
    """Return those that say how it is asked to end, whether it begins again, and what it is connected to."""
    signal = options["stop_signal"] or (_stop_signal(image) if image else "")
    seconds = options["stop_timeout"]
    restart = options["restart"]
    of_image = image.config.labels if image else {}
    return {
        **(_notes(options, of_image) if of_image or any(options[name] for name in NOTES) else {}),
        **({RESTART: restart} if restart and restart != "no" else {}),
        **(logs.said(options["log_opt"]) if options["log_opt"] else {}),
        **({STOP_SIGNAL: signal} if signal else {}),
        **({STOP_TIMEOUT: f"{seconds:g}"} if seconds is not None else {}),
        **({NETWORK: network.ends[0].name} if network else {}),
        **joined.joins(options),
    }


def config(
    options: Parsed,
    id_: str,
    caller: Mapping[str, str],
    *,
    time: bool,
    filtered: Mapping[str, Any] | None = None,
    image: Resolved | None = None,
    network: Wish | None = None,
    mounted: Sequence[Place] | None = None,
) -> dict[str, Any]:
    """Return the OCI configuration; ``time`` says whether the kernel has time namespaces.

    ``filtered`` is ``linux.seccomp``, None to leave it out; ``mounted`` are the mounts that are asked for.
    """
    asked = volumes.places(options) if mounted is None else mounted
    hostname, spaces = host_name(options, id_), joined.kinds(options, time=time)
    return {
        "ociVersion": OCI_VERSION,
        "root": {"path": "rootfs", "readonly": options["read_only"]},
        "process": _process(options, hostname, caller, image),
        "annotations": _annotations(options, network, image),
        "hostname": hostname,
        **({"domainname": options["domainname"]} if options["domainname"] else {}),
        "mounts": [*linux.mounts(options), *(place.mount for place in asked)],
        "linux": linux.build(options, id_, spaces=spaces, filtered=filtered),
    }


def wanted(options: Parsed) -> dict[str, Any] | None:
    """Return the filter that is asked for, Docker's kind of one by default; None for none."""
    asked = said(options, "seccomp")
    if asked == "unconfined" or (options["privileged"] and not asked):
        return None
    given = granted(options)
    if not asked or asked == "builtin":
        from runtime.filters import default
        from runtime.process import seccomp

        return default.profile(given, seccomp.architectures())
    from runtime.filters import docker

    about = os.uname()
    try:
        with open(str(asked), "rb") as file:
            return docker.convert(json_text.loads(file.read()), given, about.machine, about.release)
    except (OSError, ValueError, RunError) as error:
        text = reason(error) if isinstance(error, OSError) else str(error)
        hint = "name a profile in JSON, or unconfined"
        raise RunError(f"--security-opt seccomp={asked}: {text.partition('; ')[0]}", hint) from error


def _image(options: Parsed) -> Resolved | None:
    """Return the image that is asked for."""
    if not options["image"]:
        if options["entrypoint"] is not None:
            raise RunError(
                "--entrypoint: there is no image", "write the program as the command, or give --image NAME"
            )
        return None
    if options["rootfs"]:
        raise RunError("--image and --rootfs: two root file systems", "leave one out")
    from runtime.images import resolve

    return resolve.resolve(os.path.abspath(options["storage"]), options["image"])


def _remembering(image: Resolved, options: Parsed, made: Mapping[str, Any], mounted: Sequence[Place]) -> Resolved:
    """Return the image with what one that is made of the container will say."""
    from runtime.images.merge import kept

    volumes = [place.volume.target for place in mounted if place.volume and place.volume.anonymous]
    asked = _asked(options, made["hostname"])
    return image.replace(said=kept(image.config, asked, made["process"]["env"], volumes))


def build(options: Parsed, host: Host | None = None, caller: Mapping[str, str] | None = None) -> Request:
    """Return the container that is asked for; raises an Error (exit code 125) for what is refused.

    ``caller`` is the environment that ``-e NAME`` copies from, ``host`` where the host's facts are read.
    """
    from runtime import places  # what only a start needs
    from runtime.process import seccomp  # what only a start needs

    host = host or places.host()
    validate.check(options, validate.gather(options, host))
    id_ = options["name"] or new_id()
    image = _image(options)
    network = joined.wish(options, host_name(options, id_), image.config.ports if image else ())
    mounted = volumes.places(options, image.config.volumes if image else ())
    time = os.path.exists(f"{host.proc}/self/ns/time")
    filtered = wanted(options)
    root = not places.unprivileged(host.proc)
    if options["proc_view"] != "off" and (agent := seccomp.answering(host, root=root)):
        filtered = seccomp.answered(filtered, agent)
    environment = os.environ if caller is None else caller
    found = config(
        options, id_, environment, time=time, filtered=filtered, image=image, network=network, mounted=mounted
    )
    if places.rootless():
        from runtime.config import rootless
        from runtime.process import ids

        found = rootless.adapt(found, own := ids.own())
        if own.missing:
            os.write(2, f"pyproc-run: the container has your own id alone, as root: {own.missing}\n".encode())
    return Request(
        id=id_,
        spec=found,
        network=network,
        names=joined.names(options),
        image=_remembering(image, options, found, mounted) if image else None,
        volumes=tuple(place.volume for place in mounted if place.volume),
        rootfs=os.path.abspath(options["rootfs"]) if options["rootfs"] else "",
        detach=options["detach"],
        interactive=options["interactive"],
        init=options["init"],
        pid_file=os.path.abspath(options["pidfile"]) if options["pidfile"] else "",
        remove=options["rm"],
        proc_view=options["proc_view"],
        root=os.path.abspath(options["root"]),
        storage=os.path.abspath(options["storage"]),
        manager=manager(options),
    )
