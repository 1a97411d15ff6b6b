"""Containers that systemd starts again, the system's or an ordinary user's: their units, and the way there
(systemd.service(5)).

What a unit starts makes the container, says so (Type=notify), and becomes its holder: the main process from the
beginning to the end, with the container's exit code, however soon that comes.
"""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from runtime import places
from runtime.errors import RunError
from runtime.lifecycle.hold import BY_SYSTEMD
from runtime.places import BOOTED
from runtime.state import RESTART, write, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.state import State

UNITS = "/etc/systemd/system"
LINGER = "/var/lib/systemd/linger"
"""Has a file for each user whose systemd starts with the system's, and doesn't end with the last logout."""
POLICIES = {"no": "no", "on-failure": "on-failure", "always": "always", "unless-stopped": "always"}
"""Docker's word, and systemd's."""
BOOT = ("always", "unless-stopped")
ASKED = "stopping.json"
"""In a container's directory while its unit is stopped: the signal and seconds of who wants that."""
SLACK_SECONDS = 20
"""What systemd gives ``pyproc stop`` beyond the container's own time to end."""
UNIT = """\
# {name} of {quoted}: {policy}. Made by pyproc; pyproc rm removes it.
[Unit]
Description=Container {name}
Documentation=man:pyproc(8)
{needs}StartLimitIntervalSec={interval}
StartLimitBurst={burst}

[Service]
Type=notify
Environment={mark}=1
ExecStart={program} start --root {quoted} --storage {storage} {name}
ExecStop={program} stop --root {quoted} --storage {storage} {name}
Restart={restart}
RestartSec=100ms
TimeoutStopSec={stop}
KillMode=mixed

[Install]
WantedBy={target}
"""
NEEDS = "Wants=lxcfs-py.service network-online.target\nAfter=lxcfs-py.service network-online.target\n"
"""Of the system's; a user's systemd knows neither, and begins after both."""


def policy(text: str) -> tuple[str, int]:
    """Return the word and the number of ``on-failure:3`` (0: any); raises an Error naming what is wrong."""
    word, colon, count = text.partition(":")
    if word not in POLICIES or (colon and (word != "on-failure" or not count.isdigit() or not int(count))):
        raise RunError(f"--restart {text!r}: unknown", "choose no, on-failure[:N], always or unless-stopped")
    return word, int(count or 0)


def quoted(path: str) -> str:
    """Return a path as a word of a unit's command line (systemd.service(5), "COMMAND LINES")."""
    for special in '\\"':
        path = path.replace(special, f"\\{special}")
    return '"' + path.replace("%", "%%").replace("$", "$$") + '"'


def unit(found: State, asked: str, grace: float | None, program: str) -> str:
    """Return a container's unit; ``program`` is pyproc's path."""
    word, count = policy(asked)
    root = os.path.dirname(found.directory)
    return UNIT.format(
        name=found.id,
        needs="" if places.rootless() else NEEDS,
        target="default.target" if places.rootless() else "multi-user.target",
        policy=asked,
        quoted=quoted(root),
        storage=quoted(os.path.dirname(os.path.dirname(found.storage))),
        interval="infinity" if count else "0",
        burst=count + 1 if count else 5,
        mark=BY_SYSTEMD,
        program=quoted(program),
        restart=POLICIES[word],
        stop="infinity" if grace is None else f"{grace + SLACK_SECONDS:g}s",
    )


def name(found: State) -> str:
    """Return the name of a container's unit; where its root isn't the usual one that is in it, by a digest.

    A colon is in no container's name, so that no unit has two.
    """
    root = os.path.dirname(found.directory)
    if root == places.state():
        return f"pyproc-{found.id}.service"
    from _blake2 import blake2b

    return f"pyproc-{found.id}:{blake2b(os.fsencode(root), digest_size=4).hexdigest()}.service"


def units() -> str:
    """Return the directory of our units: root's, or an ordinary user's own (systemd.unit(5))."""
    if not places.rootless():
        return UNITS
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    if not configuration.startswith("/"):
        configuration = os.path.expanduser("~/.config")
    return f"{configuration}/systemd/user"


def _runs() -> bool:
    """Say whether the systemd serves whose units are ours."""
    from runtime.systemd import bus

    return os.path.exists(bus.socket_path()) if places.rootless() else os.path.isdir(BOOTED)


def refuse_without_systemd() -> None:
    """Raise an Error where no systemd serves us."""
    if places.rootless() and not _runs():
        from runtime.systemd import bus

        hint = "loginctl enable-linger starts it; or leave it out"
        raise RunError(f"--restart: no systemd of user {places.USER} serves at {bus.socket_path()}", hint)
    if not _runs():
        raise RunError(
            "--restart: systemd does not run on this host, and nothing else would start it again", "leave it out"
        )


def _systemctl(*arguments: str) -> None:
    import subprocess

    variables, user = dict(os.environ), ["--user"] if places.rootless() else []
    if user:
        variables["XDG_RUNTIME_DIR"] = places.session()  # su(1) may not have set it
    line = ["systemctl", *user, "--quiet", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it exited with {done.returncode}"]
        log = " ".join(("journalctl", *user, "-u", arguments[-1]))
        raise Error(f"{' '.join(('systemctl', *user, *arguments))}: {said[0]}", f"{log} says more")


def managed(found: State) -> str:
    """Return the name of the unit that looks after a container, "" where none does, or it is the one that asks."""
    if RESTART not in found.annotations or BY_SYSTEMD in os.environ or not _runs():
        return ""
    return name(found) if os.path.exists(f"{units()}/{name(found)}") else ""


def install(found: State, text: str) -> None:
    """Write a container's unit and start it; leaves nothing of it if it does not start."""
    called, word = name(found), policy(found.annotations[RESTART])[0]
    os.makedirs(units(), exist_ok=True)
    with open(f"{units()}/{called}", "x", encoding="utf-8") as file:
        file.write(text)
    try:
        if word in BOOT:
            _systemctl("enable", "--no-reload", called)
        _systemctl("daemon-reload")
        _systemctl("start", called)
    except BaseException:
        remove(found)
        raise


def renew(found: State, text: str) -> None:
    """Write a container's unit, anew or for the first time: it holds from now on, for what it has started at once."""
    called, word = name(found), policy(found.annotations[RESTART])[0]
    os.makedirs(units(), exist_ok=True)
    new = not os.path.exists(f"{units()}/{called}")
    write_text(f"{units()}/{called}", text.encode(), 0o644)
    try:
        _systemctl("enable" if word in BOOT else "disable", "--no-reload", called)
        _systemctl("daemon-reload")
    except BaseException:
        if new:
            os.unlink(f"{units()}/{called}")
        raise


def linger(text: str, directory: str = LINGER) -> str:
    """Return what a user is to be told of when its systemd, and so the container, runs; "" for nothing."""
    if not places.rootless() or policy(text)[0] not in BOOT:
        return ""
    from runtime.process import ids

    called = ids.name(places.USER)
    if os.path.exists(f"{directory}/{called}"):
        return ""
    return f"from your first login to your last logout; to have it always: loginctl enable-linger {called}"


def start(found: State, called: str) -> None:
    """Have it started."""
    if policy(found.annotations[RESTART])[0] in BOOT:
        _systemctl("enable", called)
    _systemctl("start", called)


def stop(found: State, called: str, signal: str | None, seconds: float | None) -> None:
    """Have it stopped; one that is to run unless it was stopped does not come back with the next boot."""
    if policy(found.annotations[RESTART])[0] == "unless-stopped":
        _systemctl("disable", called)
    _stop(found, called, signal, seconds)


def _stop(found: State, called: str, signal: str | None, seconds: float | None) -> None:
    """Have it stopped as is said; a unit that was meant to end has not failed, whatever the command's exit code."""
    path = f"{found.directory}/{ASKED}"
    write(path, {"signal": signal, "seconds": seconds})
    try:
        _systemctl("stop", called)
        _succeeded(called)
    finally:
        try:
            os.unlink(path)
        except FileNotFoundError:  # it was read
            pass


def _succeeded(called: str) -> None:
    try:
        _systemctl("reset-failed", called)
    except Error:  # systemd has forgotten it, as it does with what has not failed
        return


def asked(found: State) -> tuple[str | None, float | None] | None:
    """Return how a container is to be stopped, once, if it is its unit that asks and somebody said so to ``stop``."""
    if BY_SYSTEMD not in os.environ:
        return None
    path = f"{found.directory}/{ASKED}"
    try:
        with open(path, "rb") as file:
            how = json_text.loads(file.read())
        os.unlink(path)
    except OSError:
        return None
    return how["signal"], how["seconds"]


def remove(found: State) -> None:
    """Kill it and remove its unit; what is not there is fine."""
    called = name(found)
    try:
        _systemctl("disable", "--no-reload", called)
    except Error:
        pass
    try:
        _stop(found, called, "KILL", 0)
    except (Error, OSError):
        pass
    try:
        os.unlink(f"{units()}/{called}")
    except FileNotFoundError:
        return
    _systemctl("daemon-reload")
    _succeeded(called)
