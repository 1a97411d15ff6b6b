"""What is installed: units systemd has nothing to say about, man pages, completions."""

from __future__ import annotations

import re
from pathlib import Path

from tests.systemd import host
from tests.systemd.host import MOUNT, SERVICE

EXPOSURE = 4.7
"""What deploy/systemd/lxcfs-py.service says that systemd-analyze security says of it."""


def test_units_are_sound() -> None:
    """systemd finds nothing to say about the units, and their exposure is what they say it is."""
    done = host.run("systemd-analyze", "verify", "--man=no", SERVICE, MOUNT)
    assert done.stdout + done.stderr == ""
    text = host.run("systemd-analyze", "security", "--no-pager", SERVICE).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", text)
    assert found and float(found[1]) <= EXPOSURE, text
    assert f": {EXPOSURE}" in host.run("systemctl", "cat", SERVICE).stdout


def test_pages_and_completions() -> None:
    """man pages and the completions of three shells are where those look for them."""
    share = Path("/usr/local/share")
    for program in ("lxcfs-py", "pyproc", "pyproc-run"):
        assert (share / f"man/man8/{program}.8").read_text().startswith(f".TH {program.upper()} 8")
        for path in ("bash-completion/completions/{}", "zsh/site-functions/_{}", "fish/vendor_completions.d/{}.fish"):
            assert program in (share / path.format(program)).read_text()
    script = "source /usr/local/share/bash-completion/completions/lxcfs-py && complete -p lxcfs-py"
    assert "lxcfs_py_completion" in host.run("bash", "-c", script).stdout
