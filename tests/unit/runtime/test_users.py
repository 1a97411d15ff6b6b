"""Users and groups of the container."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.errors import Error
from runtime.process import users
from runtime.process.users import Identity

if TYPE_CHECKING:
    from pathlib import Path

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# comment:x:5:5::/:
cut:x:7
bad:x:seven:7:::
bob:x:1000:100:Bob:/home/bob:/bin/sh
homeless:x:1001:100:::
"""
GROUP = b"""root:x:0:
users:x:100:
disk:x:6:root,bob
audio:x:29:bob
1234:x:50:
"""


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("root", Identity(0, 0, (0, 6), "/root")),
        ("0", Identity(0, 0, (0, 6), "/root")),
        ("bob", Identity(1000, 100, (100, 6, 29), "/home/bob")),
        ("1000", Identity(1000, 100, (100, 6, 29), "/home/bob")),
        ("homeless", Identity(1001, 100, (100,), "/")),
        ("4242", Identity(4242, 0, (0,), "/")),
        ("bob:disk", Identity(1000, 6, (6,), "/home/bob")),
        ("bob:77", Identity(1000, 77, (77,), "/home/bob")),
        ("4242:77", Identity(4242, 77, (77,), "/")),
        ("bob:1234", Identity(1000, 50, (50,), "/home/bob")),
        (":disk", Identity(0, 6, (6,), "/root")),
    ],
)
def test_resolve(user: str, expected: Identity) -> None:
    """A user and group are who the container's files say, by Docker's rules."""
    assert users.resolve(user, PASSWD, GROUP) == expected


@pytest.mark.parametrize(
    ("user", "what"),
    [("alice", "user 'alice'"), ("bob:nobody", "group 'nobody'"), ("4294967295", "user '4294967295'")],
)
def test_unknown(user: str, what: str) -> None:
    """A name without an entry, and (uid_t) -1, are errors that name it."""
    with pytest.raises(Error) as caught:
        users.resolve(user, PASSWD, GROUP)
    assert caught.value.message.startswith(what)


def test_no_files_at_all() -> None:
    """A root without /etc/passwd runs commands as the number that was asked for."""
    assert users.resolve("0", b"", b"") == Identity(0, 0, (0,))
    assert users.resolve("5:6", b"", b"") == Identity(5, 6, (6,))


def test_complete(tmp_path: Path) -> None:
    """The process gets its numbers and HOME; a HOME that was asked for stays."""
    (tmp_path / "passwd").write_bytes(PASSWD)
    (tmp_path / "group").write_bytes(GROUP)
    process = {"user": {"uid": 0, "gid": 0, "username": "bob"}, "env": ["PATH=/bin"]}
    done = users.complete(process, str(tmp_path))
    assert done["user"] == {"uid": 1000, "gid": 100, "additionalGids": [100, 6, 29], "username": "bob"}
    assert done["env"] == ["PATH=/bin", "HOME=/home/bob"]
    assert process == {"user": {"uid": 0, "gid": 0, "username": "bob"}, "env": ["PATH=/bin"]}
    assert users.complete({**process, "env": ["HOME=/x"]}, str(tmp_path))["env"] == ["HOME=/x"]


def test_complete_of_a_foreign_configuration(tmp_path: Path) -> None:
    """Numbers of another tool's configuration stand as they are."""
    (tmp_path / "passwd").write_bytes(PASSWD)
    done = users.complete({"user": {"uid": 1000, "gid": 5, "additionalGids": [9]}}, str(tmp_path))
    assert done["user"] == {"uid": 1000, "gid": 5, "additionalGids": [9]}
    assert done["env"] == ["HOME=/home/bob"]


def test_read_what_is_no_file(tmp_path: Path) -> None:
    """A fifo, a directory or nothing in the place of passwd never blocks and reads as empty."""
    os.mkfifo(tmp_path / "fifo")
    assert users.read(str(tmp_path / "fifo")) == b""
    assert users.read(str(tmp_path)) == b""
    assert users.read(str(tmp_path / "absent")) == b""


def test_no_link_leads_to_what_we_have_open(tmp_path: Path) -> None:
    """A container's /etc/passwd that is a link into /proc/self/fd is none (CVE-2024-21626)."""
    (tmp_path / "host").write_text("root:x:7:7::/:\n")
    with (tmp_path / "host").open() as held:
        (tmp_path / "passwd").symlink_to(f"/proc/self/fd/{held.fileno()}")
        assert users.read(str(tmp_path / "passwd")) == b""
    assert users.read(str(tmp_path / "host")) == b"root:x:7:7::/:\n"


def test_a_home_that_no_variable_can_hold(tmp_path: Path) -> None:
    """An entry with a zero byte is none: the command could not be executed with such an environment."""
    (tmp_path / "passwd").write_bytes(b"root:x:0:0::/ro\0ot:/bin/sh\n")
    process = {"user": {"uid": 0, "gid": 0}, "env": ["X=1"]}
    assert users.complete(process, str(tmp_path))["env"] == ["X=1", "HOME=/"]
