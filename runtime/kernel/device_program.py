"""Attaches device programs to cgroup2 (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE; cgroup-v2.rst, "Device controller")."""

from __future__ import annotations

import os
from _struct import pack, unpack_from

from lxcfs_py import libc
from runtime.kernel import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = b"pyproc_devices"
"""By which our program is known: systemd, too, may have attached one."""
PROG_LOAD, PROG_ATTACH, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY = 5, 8, 13, 15, 16
CGROUP_DEVICE_TYPE, CGROUP_DEVICE = 15, 6
ALLOW_MULTI, REPLACE = 2, 4
MOST = 64
"""What the kernel lets a cgroup have of one kind (BPF_CGROUP_MAX_PROGS)."""
INFO_BYTES, NAME_AT = 128, 64
"""Of struct bpf_prog_info."""


def _load(program: bytes) -> int:
    code, license_ = libc.buffer(program), libc.buffer(b"Apache-2.0\0")
    at = libc.address(code), libc.address(license_)
    attributes = pack("IIQQIIQII16s64x", CGROUP_DEVICE_TYPE, len(program) // 8, *at, 0, 0, 0, 0, 0, NAME)
    return sc.bpf(PROG_LOAD, attributes, "load the device program")


def _attached(cgroup: int) -> Iterator[int]:
    """Yield descriptors of the programs attached to the cgroup itself; the caller closes them."""
    ids = libc.buffer(4 * MOST)
    query = libc.buffer(pack("IIIIQI4x", cgroup, CGROUP_DEVICE, 0, 0, libc.address(ids), MOST))
    sc.bpf(PROG_QUERY, query, "query the device programs")
    count = unpack_from("I", query.raw, 24)[0]
    for number in unpack_from(f"{count}I", ids.raw):
        yield sc.bpf(PROG_GET_FD_BY_ID, pack("III", number, 0, 0), "open a device program")


def _name(program: int) -> bytes:
    info = libc.buffer(INFO_BYTES)
    sc.bpf(OBJ_GET_INFO_BY_FD, pack("IIQ", program, INFO_BYTES, libc.address(info)), "look at a program")
    return info.raw[NAME_AT : NAME_AT + 16].rstrip(b"\0")


def attach(program: bytes, cgroup: int) -> None:
    """Have ``program`` judge for a cgroup2 directory, in one step in place of the one we attached before; see bpf(2).

    Others' programs stay: a device must be allowed by all.
    """
    loaded = _load(program)
    others = list(_attached(cgroup))
    try:
        old = next((other for other in others if _name(other) == NAME), -1)
        flags = ALLOW_MULTI | (REPLACE if old >= 0 else 0)
        attributes = pack("IIIII108x", cgroup, loaded, CGROUP_DEVICE, flags, max(old, 0))
        sc.bpf(PROG_ATTACH, attributes, "attach the device program")
    finally:
        for descriptor in (loaded, *others):
            os.close(descriptor)
