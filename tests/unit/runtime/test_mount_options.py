"""What each mount option does; runc's list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.kernel import mountapi as api
from runtime.kernel import syscalls as sc
from runtime.root.mount_options import ATTRIBUTES, RECURSIVE, Effect, effect


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), Effect()),
        (("rbind", "rprivate"), Effect(bind=True, recursive=True, propagation=sc.MS_PRIVATE | sc.MS_REC)),
        (("bind", "ro"), Effect(bind=True, set=api.RDONLY)),
        (("bind", "ro", "rw"), Effect(bind=True)),
        (("bind", "rro"), Effect(bind=True, below_set=api.RDONLY)),
        (("bind", "rrw"), Effect(bind=True, below_clear=api.RDONLY)),
        (("nosuid", "suid"), Effect(clear=api.NOSUID)),
        (("suid", "nosuid"), Effect(set=api.NOSUID)),
        (("noatime",), Effect(set=api.NOATIME, clear=api.ATIME)),
        (("noatime", "strictatime"), Effect(set=api.STRICTATIME, clear=api.ATIME)),
        (("size=64k", "mode=755", "defaults"), Effect(data=("size=64k", "mode=755"))),
        (("tmpcopyup", "sync"), Effect(superblock=16, extra=("tmpcopyup",))),
        (("shared",), Effect(propagation=sc.MS_SHARED)),
    ],
)
def test_effect(options: tuple[str, ...], expected: Effect) -> None:
    """Flags are set and cleared, here or below too; the last word counts; the rest is the file system's."""
    assert effect(options) == expected


def test_flags_of_a_new_mount() -> None:
    """A new mount takes them as flags of mount(2)."""
    found = effect(("ro", "nosuid", "nodev", "noexec", "strictatime", "dirsync"))
    flags = sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC | sc.MS_STRICTATIME | 128
    assert found.flags == flags


@given(st.lists(st.sampled_from([*ATTRIBUTES, *RECURSIVE, "rw"])))
def test_nothing_is_both_set_and_cleared(options: list[str]) -> None:
    """Whatever the order, no flag but the field of access times is set and cleared at once (mount_setattr(2))."""
    found = effect(options)
    assert not found.set & found.clear & ~api.ATIME
    assert not found.below_set & found.below_clear & ~api.ATIME
