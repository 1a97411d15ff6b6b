"""A daemon and containers of a test's own, apart from any others on the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent


class Box:
    """Directories of its own for everything; ``daemon`` starts one, ``run`` a container."""

    def __init__(self, base: Path, scale: float) -> None:
        self.base, self.scale = base, scale
        self.mountpoint = base / "mnt"
        self.places: tuple[str, ...] = ("--root", str(base / "state"), "--storage", str(base / "storage"))
        self.environment = {**os.environ, "LXCFS_PY_RUNTIME_DIR": str(base / "run")}
        self.log = base / "log"
        self.enter: tuple[str, ...] = ()
        """What leads into the namespaces that everything runs in, and where their root is seen from here."""
        self.inside = Path("/")
        self.served: subprocess.Popen[bytes] | None = None
        self.others = cgroups()

    def start_daemon(self, *options: str, keeper: str = "none", **environment: str) -> subprocess.Popen[bytes]:
        """Start the daemon and wait until it serves; without a keeper it is one process and its descendants."""
        with self.log.open("ab") as log:
            self.served = subprocess.Popen(
                [*self.enter, BIN / "lxcfs-py", "serve", str(self.mountpoint), "--keeper", keeper, *options],
                env={**self.environment, **environment},
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + 60 * self.scale
        while (
            not (self.inside / str(self.mountpoint).lstrip("/") / "proc" / "meminfo").exists()
            or not (self.base / "run/lxcfs-py/daemon.json").exists()
        ):
            assert self.served.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "it does not serve"
            time.sleep(0.05)
        return self.served

    def stop_daemon(self) -> None:
        """End it as systemd would."""
        if self.served is not None:
            self.served.send_signal(signal.SIGTERM)
            self.served.wait(30 * self.scale)
            self.served = None

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a container."""
        return [*self.enter, str(BIN / "pyproc-run"), *self.places, *arguments]

    def run(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        return self._done(self.command(*arguments), check=check, **environment)

    def start(self, *arguments: str) -> str:
        """Start a container in the background and return its id."""
        return self.run("-d", *arguments).stdout.strip()

    def pyproc(self, verb: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of pyproc's verbs; it may be two words."""
        command = [*self.enter, str(BIN / "pyproc"), *verb.split(), *self.places, *arguments]
        return self._done(command, check=check)

    def _done(self, command: list[str], *, check: bool, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120 * self.scale,
            check=False,
        )
        assert not check or done.returncode == 0, (done.returncode, done.stderr)
        return done

    def ids(self) -> list[str]:
        """Return the containers there are."""
        return self.pyproc("list", "-q").stdout.split()

    def left(self) -> list[str]:
        """Return what is left on the disk, and in the cgroups of containers that were not there before this box."""
        places = ("state", "storage/containers", "run/lxcfs-py/containers")
        files = [str(path) for at in places for path in (self.base / at).glob("*")]
        return [*files, *sorted(cgroups() - self.others)]

    def close(self) -> None:
        """Remove all."""
        for id_ in self.ids():
            self.pyproc("delete", "--force", id_)
        self.stop_daemon()


def cgroups() -> set[str]:
    """Return the cgroups of all containers on this machine."""
    return {
        f"{at}/{name}"
        for at, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if os.path.basename(at) == "pyproc"
    }


def sigkill(pid: int) -> None:
    """Send SIGKILL to a process, which may have gone by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
