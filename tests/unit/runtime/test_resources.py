"""Limits, from options to the cgroups."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import Error
from runtime import options
from runtime.process import resources


def build(line: str) -> dict[str, Any]:
    """Return the resources of a command line, without the device rules."""
    found = resources.build(options.parse([*line.split(), "true"]))
    found.pop("devices")
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {}),
        ("-m 64m", {"memory": {"limit": 64 << 20, "swap": 128 << 20}}),
        ("-m 64m --memory-swap 64m", {"memory": {"limit": 64 << 20, "swap": 64 << 20}}),
        ("-m 64m --memory-swap -1", {"memory": {"limit": 64 << 20, "swap": -1}}),
        ("--memory-reservation 32m", {"memory": {"reservation": 32 << 20}}),
        ("--cpus 1.5", {"cpu": {"quota": 150000, "period": 100000}}),
        ("--cpus 0.01", {"cpu": {"quota": 1000, "period": 100000}}),
        (
            "--cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0",
            {"cpu": {"shares": 512, "cpus": "0", "mems": "0"}},
        ),
        ("--pids-limit 20", {"pids": {"limit": 20}}),
        ("--pids-limit -1", {}),
        ("--pids-limit 0", {}),
    ],
)
def test_build(line: str, expected: dict[str, Any]) -> None:
    """Options become OCI's resources; what is not asked for is not there, swap alone follows -m."""
    assert build(line) == expected


@pytest.mark.parametrize("path", ["/dev/null", "/nonexistent", "/"])
def test_an_io_limit_needs_a_disk(path: str) -> None:
    """An io limit of what is no block device is an error that names the option and the path."""
    with pytest.raises(Error) as caught:
        build(f"--device-read-bps {path}:1m")
    assert str(caught.value).startswith(f"--device-read-bps {path}")


def test_limits() -> None:
    """OCI's resources become the limits the cgroups take; what is absent is None."""
    io = {
        "throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 1024}],
        "throttleWriteIOPSDevice": [{"major": 7, "minor": 1, "rate": 5}],
    }
    found = resources.limits(
        {
            "memory": {"limit": 1, "swap": 2, "reservation": 3},
            "cpu": {"quota": 4, "period": 5, "shares": 6, "cpus": "0", "mems": "1"},
            "pids": {"limit": 7},
            "blockIO": io,
            "unified": {"memory.high": "max"},
        }
    ).as_dict()
    assert {key: value for key, value in found.items() if value and key not in ("io", "unified")} == {
        "memory_bytes": 1,
        "swap_total_bytes": 2,
        "memory_reservation_bytes": 3,
        "cpu_quota_usec": 4,
        "cpu_period_usec": 5,
        "cpu_shares": 6,
        "cpuset_cpus": "0",
        "cpuset_mems": "1",
        "pids_limit": 7,
    }
    assert set(found["io"]) == {(7, 0, "rbps", 1024), (7, 1, "wiops", 5)}
    assert found["unified"] == {"memory.high": "max"}
    empty = resources.limits({}).as_dict()
    assert not any(empty.values())
