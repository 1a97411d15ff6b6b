"""``pyproc exec``: run a command in a container that exists; for people by options, for engines by ``--process``."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import options, state
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import execute, finding, oci
from runtime.process import descriptors, environment, labels
from runtime.verbs import Verb, kill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runtime.command_line import Parsed

VERB = Verb(
    "exec",
    "Run a command in a container that runs.",
    "ID [--] [COMMAND [ARG]...]",
    1,
    None,
    (
        options.INTERACTIVE,
        options.TTY,
        options.DETACH,
        options.ENV,
        options.ENV_FILE,
        Option(("-w", "--workdir", "--cwd"), "Working directory inside", "DIR"),
        options.USER,
        Option(("-g", "--additional-gids"), "Add a supplementary group", "GID", "count", many=True),
        Option(("-c", "--cap"), "Add a capability", "NAME", many=True),
        Option(("--privileged",), "Give it all capabilities; the container's filter still holds", kind="flag"),
        Option(("--no-new-privs",), "Set no_new_privs", kind="flag"),
        Option(("--apparmor",), "AppArmor profile (default: the container's)", "PROFILE"),
        Option(("--process-label",), "SELinux label (default: the container's)", "LABEL"),
        Option(("-p", "--process"), "Read OCI's process from a file; the streams are ours", "FILE"),
        options.CONSOLE_SOCKET,
        options.PID_FILE,
        options.PRESERVE_FDS,
    ),
    interspersed=False,
)


def process(config: Mapping[str, Any], parsed: Parsed, caller: Mapping[str, str]) -> dict[str, Any]:
    """Return the OCI process to run: the container's own, with what the command line changes."""
    own = config["process"]
    term = []
    if parsed["tty"] or parsed["user"]:
        from runtime.config import spec
    if parsed["tty"]:
        term = [f"TERM={spec.TERM}"]
    asked = environment.variables(parsed["env_file"], parsed["env"], caller)
    changes: dict[str, Any] = {
        "terminal": parsed["tty"],
        "args": list(parsed.rest[1:]),
        "env": environment.merge([*term, *own["env"]], asked),
    }
    if parsed["cwd"]:
        changes["cwd"] = parsed["cwd"]
    if parsed["user"]:
        kept = {key: own["user"][key] for key in ("groups", "umask") if key in own["user"]}
        changes["user"] = {**spec.user(parsed["user"]), **kept}
    if parsed["additional_gids"]:
        user = changes.get("user", own["user"])
        changes["user"] = {**user, "additionalGids": [*user["additionalGids"], *parsed["additional_gids"]]}
    if parsed["cap"] or parsed["privileged"]:
        from runtime.process import capabilities

        added = [capabilities.canonical(name, "--cap") for name in parsed["cap"]]
        if parsed["privileged"]:
            added = list(capabilities.resolve(("ALL",), ()))
        sets = ("bounding", "effective", "permitted")
        more = {key: sorted({*own["capabilities"].get(key, ()), *added}) for key in sets}
        changes["capabilities"] = {**own["capabilities"], **more}
    for field, option in zip(labels.FIELDS, ("apparmor", "process_label"), strict=True):
        if parsed[option]:
            changes[field] = parsed[option]
    if parsed["no_new_privs"]:
        changes["noNewPrivileges"] = True
    return {**own, **changes}


def given(config: Mapping[str, Any], parsed: Parsed) -> dict[str, Any]:
    """Return the process of ``--process``, with a terminal if asked; raises an Error naming the wrong field.

    As with runc it is labelled as the container's own unless it says otherwise.
    """
    from runtime.config import bundle, conformity

    found = bundle.read_json(parsed["process"])
    bundle.shape(found, bundle.PROCESS, "process")
    whole = bundle.process(bundle.without_nulls(found))
    own = config["process"]
    whole = {**{field: own[field] for field in labels.FIELDS if field in own}, **whole}
    conformity.of_process(whole)
    return {**whole, "terminal": whole["terminal"] or parsed["tty"]}


def check(parsed: Parsed) -> None:
    """Refuse what can't work, as ``pyproc-run`` refuses it."""
    if not parsed["process"] and len(parsed.rest) < 2:
        raise RunError("exec: no command given", f"usage: pyproc {VERB.usage}")
    if parsed["detach"] and parsed["tty"] and not parsed["console_socket"]:
        raise RunError("-d with -t: nothing would hold its terminal", "leave out -t, or name a --console-socket")
    if parsed["detach"] and parsed["interactive"]:
        raise RunError("-d with -i: nothing would feed its input", "leave out -i")
    if parsed["process"]:
        return
    from runtime.config import validate

    facts = validate.Facts(stdin_tty=os.isatty(0) or bool(parsed["console_socket"]))
    validate.tty(parsed, facts)
    validate.user(parsed, facts)
    if parsed["cwd"] is not None and not parsed["cwd"].startswith("/"):
        raise RunError(f"-w {parsed['cwd']!r}: not an absolute path", "begin it with /")


def wish(parsed: Parsed, config: Mapping[str, Any]) -> execute.Wish:
    """Return what to run: engines hand us the command's streams, people's are passed on as they say."""
    kept = f"{parsed['storage']}/filters"
    detach, preserved = parsed["detach"], descriptors.preserved(parsed["preserve_fds"])
    if parsed["process"]:
        return execute.Wish(given(config, parsed), detach, (), preserved, make_cwd=False, filters=kept)
    empty = (0, 1, 2) if detach else () if parsed["interactive"] else (0,)
    return execute.Wish(process(config, parsed, os.environ), detach, empty, preserved, filters=kept)


def run(parsed: Parsed) -> int:
    """Run the command; with -d return as soon as it has begun."""
    check(parsed)
    from runtime import places

    root = parsed["root"]
    found = finding.get(parsed, parsed.rest[0])
    asked = wish(parsed, config := state.config(found))
    container = kill.opened(root, found)
    try:
        if oci.status(root, found) == oci.PAUSED:
            raise Error(f"container {found.id!r} is paused, and a command in it would not run", "resume it first")
        result = execute.enter(execute.Entry(found, config, asked, places.layout(found.cgroup)), container)
    finally:
        os.close(container)
    if parsed["pid_file"]:
        state.write_text(parsed["pid_file"], str(result.pid).encode(), 0o644)
    if parsed["console_socket"]:
        from runtime.root import console

        console.hand_over(parsed["console_socket"], result.master)
        os.close(result.master)
        result.master = -1
    interactive = parsed["interactive"] or bool(parsed["process"])
    return 0 if parsed["detach"] else execute.attend(result, interactive=interactive)
