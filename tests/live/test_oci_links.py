"""Links of an image lead nowhere but into it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.busybox import Bundle, Runtime

pytestmark = pytest.mark.anywhere  # paths


HOSTILE = {
    "/volume": ("/volume", "../../../../../../../../{outside}"),
    "/deep/er/target": ("/deep", "{outside}"),
    "/dev/link": ("/dev", "{outside}"),
}


@pytest.mark.parametrize("destination", HOSTILE)
def test_links_of_the_image(runtime: Runtime, bundle: Bundle, destination: str, tmp_path: Path) -> None:
    """A link where a mount or a device goes leads nowhere but into the root: nothing outside is made or covered."""
    outside = tmp_path / "outside"
    outside.mkdir()
    place, leads = HOSTILE[destination]
    target = bundle.root / place[1:]
    if target.is_dir():
        target.rmdir()
        bundle.config["mounts"] = [
            each for each in bundle.config["mounts"] if not each["destination"].startswith(place)
        ]
    os.symlink(leads.format(outside=str(outside)), target)
    bundle.mount(destination, bundle.path, "bind", "ro")
    bundle.run("ls " + destination)
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    assert list(outside.iterdir()) == []
    assert "rootfs" in done.stdout, done.stderr


@pytest.mark.parametrize("place", ["/proc/self/attr", "/proc", "/proc/sys"])
def test_nothing_is_mounted_into_proc(runtime: Runtime, bundle: Bundle, place: str) -> None:
    """Neither by name nor through a link of the image does a volume get into the container's /proc."""
    os.symlink(place, bundle.root / "innocent")
    bundle.mount("/innocent", bundle.path, "bind")
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    assert (done.returncode != 0, "inside the container's /proc" in done.stderr) == (True, True), done.stderr


def test_a_proc_that_is_a_link(runtime: Runtime, bundle: Bundle) -> None:
    """procfs goes on a plain directory: elsewhere what is masked would not be (CVE-2019-19921)."""
    (bundle.root / "proc").rmdir()
    os.symlink("tmp", bundle.root / "proc")
    done = runtime("run", "--bundle", str(bundle.write()), "c", check=False)
    assert "a link leads to /tmp" in done.stderr
