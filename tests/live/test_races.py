"""What copies files that a container has: the container changes them at the worst moment, each time.

A process that is told of every file before it opens it (PEP 578) swaps what is there for something else: no luck is
needed, and what is not protected fails each time.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anywhere  # paths

SWAPPING = """
import io, os, sys, tarfile
from lxcfs_py.errors import Error
from runtime.images.pack import Pack
from runtime.images.unpack import Unpack
from runtime.lifecycle.copying import Into, Nothing, Packer, Piped
from runtime.lifecycle.inside import Place
from runtime.root import copyup

way, what, canary, root, target = sys.argv[1:]
victim, armed = f"{root}/directory/file", [False]
there = {
    "link": lambda: os.symlink(canary, victim),
    "device": lambda: os.mknod(victim, 0o020666, os.makedev(241, 77)),  # nobody's: to open it fails
    "fifo": lambda: os.mkfifo(victim),
}[what]

def swap(event, arguments):
    if event in ("open", "os.chmod") and armed[0] and os.fsdecode(arguments[0]) == "file":
        armed[0] = False
        os.unlink(victim)
        there()

def copied(out):
    source, into = os.open(root, os.O_RDONLY), os.open(target, os.O_RDONLY)
    sys.addaudithook(swap)
    armed[0] = True
    if way == "cp":
        packer = Packer(out, Place())
        packer.directory(source, b"")
        packer.close()
    elif way == "commit":
        Pack(source).write(out)
    elif way == "volume":
        copyup.copy(source, into)
    elif way == "into":
        tar = tarfile.TarFile(fileobj=out, mode="w")
        entry = tarfile.TarInfo("directory/file")
        entry.type, entry.mode = tarfile.FIFOTYPE, 0o666
        tar.addfile(entry)
        tar.close()
        os.unlink(victim)
        out.seek(0)
        with Piped(out, "a tar") as stream:
            Into(source, Place(), (0, 0), archive=True, wary=False).run(stream)

out = io.BytesIO()
try:
    copied(out)
except (Error, FileNotFoundError) as error:
    assert "another is there now" in str(error) or "can't be written" in str(error), error
assert not armed[0], "nothing was swapped"
assert out.closed or b"SECRET" not in out.getvalue()
for at, _, names in os.walk(target):
    for name in names:
        assert not os.path.isfile(f"{at}/{name}") or b"SECRET" not in open(f"{at}/{name}", "rb").read()
"""


@pytest.mark.parametrize("what", ["link", "device", "fifo"])
@pytest.mark.parametrize("way", ["cp", "commit", "volume", "into"])
def test_what_is_swapped_while_it_is_copied(tmp_path: Path, way: str, what: str) -> None:
    """CVE-2018-15664: no file of the host comes along or is changed, no device of a container's is opened.

    Out of a container (cp), into an image (commit), into a volume at its first use, and into a container (cp).
    """
    canary = tmp_path / "canary"
    canary.write_text("SECRET")
    canary.chmod(0o600)
    (tmp_path / "root/directory").mkdir(parents=True)
    (tmp_path / "root/directory/file").write_text("plain")
    (tmp_path / "target").mkdir()
    arguments = [way, what, str(canary), str(tmp_path / "root"), str(tmp_path / "target")]
    done = subprocess.run([sys.executable, "-c", SWAPPING, *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert (canary.read_text(), canary.stat().st_mode & 0o777) == ("SECRET", 0o600)
