"""Devices of the host's network that a container gets (config-linux.md, "Network Devices").

A device keeps its addresses. When the namespace ends, the kernel gives a real device back and deletes a virtual one.
"""

from __future__ import annotations

import os

from runtime.errors import RunError
from runtime.kernel import syscalls as sc
from runtime.kernel.netlink import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MOST = 15
"""A name's bytes (IFNAMSIZ, with the zero at its end)."""


def is_name(name: str) -> bool:
    """Say whether a device can have the name, or a number in place of its ``%d``."""
    plain = name.replace("%d", "", 1)
    bad = any(letter in "/:%" or letter.isspace() for letter in plain)
    return bool(name) and len(name.encode()) <= MOST and not bad and name not in (".", "..")


class Moved:
    """What has been moved into the namespace of a process; ``back`` undoes it."""

    def __init__(self, proc: str, pid: int) -> None:
        self._here = os.open(f"{proc}/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._there = os.open(f"{proc}/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._names: list[tuple[str, str]] = []

    def _netlink(self, namespace: int) -> Netlink:
        sc.setns(namespace, sc.CLONE_NEWNET)
        try:
            return Netlink()
        finally:
            sc.setns(self._here, sc.CLONE_NEWNET)

    def _move(self, source: int, target: int, name: str, wanted: str) -> str:
        """Move one with its addresses and set it up; return the name it has then."""
        with self._netlink(source) as ours, self._netlink(target) as theirs:
            addresses = ours.addresses(index := ours.device(name))
            try:
                theirs.device(wanted)
            except OSError:  # as it should be: nobody there has that name
                pass
            else:
                raise FileExistsError(17, f"there is a device {wanted}")
            before = theirs.indices()
            ours.move(index, target, wanted)
            (index,) = theirs.indices() - before  # one that another there has already is changed on the way
            for address in addresses:
                theirs.add(index, address)
            theirs.up(index)
            return theirs.name(index)

    def move(self, devices: Mapping[str, Mapping[str, Any]]) -> None:
        """Move devices of the host's; raises an Error naming the one that can't be."""
        for name, wish in devices.items():
            try:
                there = self._move(self._here, self._there, name, wish.get("name") or name)
            except OSError as error:
                hint = "ip link shows what there is, and a name is taken once"
                raise RunError(f"config.json: linux.netDevices.{name}: {error.strerror}", hint) from error
            self._names.append((name, there))

    def back(self) -> None:
        """Give them back, under their own names; one that has gone is left."""
        for name, there in self._names:
            try:
                self._move(self._there, self._here, there, name)
            except OSError:
                continue
        self._names.clear()
