"""Capabilities by name."""

from __future__ import annotations

import pytest

from lxcfs_py.errors import Error
from runtime.process import capabilities


def test_default_is_dockers() -> None:
    """Docker's fourteen are the mask Docker's containers show in /proc/self/status."""
    assert len(capabilities.DEFAULT) == 14
    assert capabilities.mask(capabilities.resolve((), ())) == 0x00000000A80425FB


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["NET_ADMIN"], [], {*capabilities.DEFAULT, "CAP_NET_ADMIN"}),
        (["cap_net_admin"], [], {*capabilities.DEFAULT, "CAP_NET_ADMIN"}),
        ([], ["CAP_CHOWN"], set(capabilities.DEFAULT) - {"CAP_CHOWN"}),
        ([], ["all"], set()),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}),
        (["ALL"], [], set(capabilities.NAMES)),
        (["ALL"], ["SYS_ADMIN"], set(capabilities.NAMES) - {"CAP_SYS_ADMIN"}),
        (["CHOWN"], ["CHOWN"], set(capabilities.DEFAULT)),
    ],
)
def test_resolve(add: list[str], drop: list[str], expected: set[str]) -> None:
    """--cap-add and --cap-drop combine by Docker's rules."""
    assert set(capabilities.resolve(add, drop)) == expected


@pytest.mark.parametrize(("add", "drop"), [(["FLY"], []), ([], ["CAP_FLY"]), (["ALL"], ["ALL"]), ([""], [])])
def test_refused(add: list[str], drop: list[str]) -> None:
    """An unknown name, or everything added and dropped at once, is an error."""
    with pytest.raises(Error) as caught:
        capabilities.resolve(add, drop)
    assert caught.value.exit_code == 125


def test_numbers_are_the_kernels() -> None:
    """A name's position is the kernel's number (spot checks at both ends of linux/capability.h)."""
    assert [capabilities.NAMES.index(n) for n in ("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE")] == [
        0,
        21,
        40,
    ]
    assert capabilities.mask(["CAP_CHOWN", "kill"]) == 0b100001
