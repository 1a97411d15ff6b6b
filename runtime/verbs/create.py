"""``pyproc create``: make a container of a bundle, up to the moment before its command."""

from __future__ import annotations

import os

from runtime import claims, options, places, state, units
from runtime.config import bundle
from runtime.errors import RunError
from runtime.process import descriptors
from runtime.request import Request
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.lifecycle.create import Create

VERB = Verb("create", "Make a container of a bundle; its command waits for start.", "ID", 1, 1, options.MAKING)
VIEW = "io.lxcfs-py.view"
"""The annotation that says where the container's /proc comes from."""
VIEWS = ("auto", "require", "off")


def request(parsed: Parsed, *, detach: bool) -> Request:
    """Return what is asked for; raises an Error naming the option or the field that is wrong."""
    sockets = descriptors.listening(os.environ)
    preserved = descriptors.preserved(parsed["preserve_fds"], sockets)
    id_, directory = parsed.rest[0], os.path.realpath(parsed["bundle"])
    if not units.is_name(id_):
        raise RunError(f"{id_!r}: not a container's id", units.NAME_HINT)
    spec = bundle.load(directory)
    spec["process"]["user"].pop("username", None)  # Windows'
    if sockets:
        spec["process"]["env"] = [*spec["process"]["env"], f"LISTEN_FDS={sockets}", "LISTEN_PID=1"]
    terminal, socket = spec["process"]["terminal"], parsed["console_socket"]
    if detach and terminal and not socket:
        raise RunError("process.terminal: nobody would hold the terminal", "name a --console-socket")
    if socket and not terminal:
        raise RunError("--console-socket: process.terminal is false", "leave it out, or ask for a terminal")
    view = spec["annotations"].get(VIEW, VIEWS[0])
    if view not in VIEWS:
        raise RunError(f"annotations.{VIEW}: {view!r} is unknown", f"choose from {', '.join(VIEWS)}")
    return Request(
        id=id_,
        spec=spec,
        bundle=directory,
        detach=detach,
        interactive=True,
        proc_view=view,
        root=parsed["root"],
        storage=parsed["storage"],
        manager=options.manager(parsed),
        console_socket=os.path.abspath(socket) if socket else "",
        pid_file=os.path.abspath(parsed["pid_file"]) if parsed["pid_file"] else "",
        preserve_fds=preserved,
        no_pivot=parsed["no_pivot"],
        no_new_keyring=parsed["no_new_keyring"],
    )


def prepared(asked: Request) -> Create:
    """Return the container, decided but not made; raises an Error if the view is required and nobody serves it."""
    from runtime.lifecycle.create import Create

    if places.rootless() and {"type": "user"} not in asked.spec["linux"]["namespaces"]:
        raise RunError(
            "linux.namespaces: an ordinary user's container needs a user namespace", "pyproc spec --rootless"
        )
    if state.exists(asked.root, asked.id):
        raise claims.taken(asked.root, asked.id)
    view, host = asked.proc_view, places.host()
    views = ""
    if view != "off":
        from runtime.lifecycle import daemon

        views = daemon.serving(host)
    if view == "require" and not views:
        raise RunError(f"annotations.{VIEW}: required, and no lxcfs-py daemon serves", "start one: lxcfs-py serve")
    if views:
        from runtime.process import seccomp

        if agent := seccomp.answering(host, root=not places.unprivileged(host.proc)):
            linux = asked.spec["linux"]
            filtered = seccomp.answered(linux.get("seccomp"), agent)
            asked = asked.replace(spec={**asked.spec, "linux": {**linux, "seccomp": filtered}})
    found = Create(asked)
    found.prepare(views)
    return found


def run(parsed: Parsed) -> int:
    """Make it."""
    prepared(request(parsed, detach=True)).create()
    return 0
