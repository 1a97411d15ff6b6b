"""What a version of the daemon takes over from another one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.daemon import mount
from lxcfs_py.daemon.processes import FACTS_BYTES
from lxcfs_py.daemon.session import NAMES, PARTS, Session
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
    assert (found.descriptors, found.begun) == (session.descriptors, {})


def test_bound_files_stay_what_they_are(session: Session) -> None:
    """Memory of another layout is begun anew, but not the numbers of the files that containers have bound."""
    inode = Nodes(session.descriptors["table"]).inode(PATH)
    found = changed(session, layout=0)
    try:
        assert Nodes(found.descriptors["table"]).path(inode) == PATH
        assert found.descriptors["memory"] != session.descriptors["memory"]
    finally:
        close(found)


def changed(session: Session, **facts: object) -> Session:
    """Return the session that takes over from another version's."""
    change(session, **facts)
    found = Session.taken_over(session.descriptors, PLACE)
    assert found is not None
    assert found.former is not None
    return found


def close(found: Session) -> None:
    """Give back what was begun."""
    for descriptor in found.begun.values():
        os.close(descriptor)


@pytest.mark.parametrize("part", ["layout", *PARTS])
def test_only_what_is_of_another_layout_is_begun_anew(session: Session, part: str) -> None:
    """A part whose layout is the same is taken over whatever the others are, listeners of filters with what is known
    of them; what is begun is just what a keeper has to be given, and never the mount.
    """
    found = changed(session, **{part: 0})
    try:
        other = PARTS[part][1] if part in PARTS else ()
        kept = {"fuse", *(name for _, names in PARTS.values() for name in names)} - set(other)
        assert {name for name in NAMES if found.descriptors[name] == session.descriptors[name]} == kept
        assert found.begun == {name: found.descriptors[name] for name in NAMES if name not in kept}
        for given in range(len(found.begun)):  # we may be killed between any two
            some = dict(list(found.begun.items())[:given])
            partly = Session.taken_over({**session.descriptors, **some}, PLACE)
            assert partly is not None
            assert set(partly.begun) == set(found.begun)
            close(partly)
        again = Session.taken_over(found.descriptors, PLACE)
        assert again is not None
        assert (again.descriptors, again.begun) == (found.descriptors, {})
    finally:
        close(found)


def test_a_later_version_may_know_more_of_the_kernel(session: Session) -> None:
    """What else a version says of the kernel it serves is not needed to go back to the version before."""
    change(session, init={**session.init.as_dict(), "mood": 1})
    found = Session.taken_over(session.descriptors, PLACE)
    assert found is not None
    assert (found.init, found.begun) == (session.init, {})


def test_a_new_mount_is_given_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a mount that was just made a keeper is given all."""
    monkeypatch.setattr(mount, "prepare", lambda *_arguments, **_options: None)
    made = os.open(os.devnull, os.O_RDWR), protocol.Init(*range(5))
    monkeypatch.setattr(mount, "mount", lambda _path: made)
    found = Session.make(PLACE, 2, nonempty=False)
    try:
        assert set(found.begun) == set(NAMES)
    finally:
        close(found)


@pytest.mark.parametrize("facts", [{"mountpoint": "/other"}, {"init": 5}, {"workers": "x"}])
def test_garbage_is_no_session(session: Session, facts: dict[str, object]) -> None:
    """What can't be understood, or is about another place, is not taken over."""
    change(session, **facts)
    assert Session.taken_over(session.descriptors, PLACE) is None
