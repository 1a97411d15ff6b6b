"""What a version of the daemon takes over from another one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.daemon.processes import FACTS_BYTES
from lxcfs_py.daemon.session import Session
from lxcfs_py.fuse import protocol
from lxcfs_py.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE, PATH = "/mnt", "containers/web@5/proc/meminfo"


@pytest.fixture
def session() -> Iterator[Session]:
    """Yield a session with a file that a container has bound."""
    found = Session.begin({"fuse": os.open(os.devnull, os.O_RDWR)}, PLACE, protocol.Init(*range(5)), 2)
    yield found
    for descriptor in found.descriptors.values():
        os.close(descriptor)


def change(session: Session, **facts: object) -> None:
    """Have a session be another version's."""
    record = session.descriptors["record"]
    found = json.loads(os.pread(record, FACTS_BYTES, 0).rstrip(b"\0"))
    os.pwrite(record, json.dumps({**found, **facts}).encode().ljust(FACTS_BYTES, b"\0"), 0)


def test_the_same_version_takes_all(session: Session) -> None:
    """A supervisor that follows one of its own kind has everything it had."""
    found = Session.taken_over(session.descriptors, PLACE)
    assert found is not None
    assert (found.descriptors, found.begun) == (session.descriptors, False)


def test_bound_files_stay_what_they_are(session: Session) -> None:
    """Memory of another layout is begun anew, but not the numbers of the files that containers have bound."""
    inode = Nodes(session.descriptors["table"]).inode(PATH)
    change(session, layout=0)
    found = Session.taken_over(session.descriptors, PLACE)
    assert found is not None
    try:
        assert found.begun
        assert Nodes(found.descriptors["table"]).path(inode) == PATH
        assert found.descriptors["memory"] != session.descriptors["memory"]
    finally:
        for name, descriptor in found.descriptors.items():
            if name not in ("fuse", "table"):
                os.close(descriptor)


@pytest.mark.parametrize("facts", [{"mountpoint": "/other"}, {"init": 5}, {"workers": "x"}])
def test_garbage_is_no_session(session: Session, facts: dict[str, object]) -> None:
    """What can't be understood, or is about another place, is not taken over."""
    change(session, **facts)
    assert Session.taken_over(session.descriptors, PLACE) is None
