"""What each version's files take for OCI's limits."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.cgroup import setting
from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.cgroup.limits import Limits, v1_writes, v2_swap, v2_writes, weight_from_blkio, weight_from_shares
from lxcfs_py.errors import Error

V1 = Layout({name: Hierarchy(1, f"/{name}", "/", (name,)) for name in ("memory", "cpu", "blkio", "pids")})
V2 = Layout({"": Hierarchy(2, "/u", "/", ("memory", "cpu", "io", "pids", "cpuset", "hugetlb"))})
HYBRID = Layout({**V1.hierarchies, "": Hierarchy(2, "/u", "/", ("hugetlb",))})


def settings(layout: Layout, **limits: Any) -> list[tuple[str, str]]:
    """Return the files to write, and what to write there."""
    return list(setting._settings(layout, "/a", Limits(**limits)))


@pytest.mark.parametrize(
    ("limits", "v1", "v2"),
    [
        (
            {"memory_bytes": -1},
            [("memory/a/memory.limit_in_bytes", "-1"), ("memory/a/memory.memsw.limit_in_bytes", "-1")],
            [("u/a/memory.max", "max"), ("u/a/memory.swap.max", "max")],
        ),
        (
            {"memory_bytes": 9, "swap_total_bytes": 12},
            [("memory/a/memory.limit_in_bytes", "9"), ("memory/a/memory.memsw.limit_in_bytes", "12")],
            [("u/a/memory.max", "9"), ("u/a/memory.swap.max", "3")],
        ),
        ({"cpu_quota_usec": -1}, [("cpu/a/cpu.cfs_quota_us", "-1")], [("u/a/cpu.max", "max 100000")]),
        ({"cpu_realtime_runtime_usec": 7}, [("cpu/a/cpu.rt_runtime_us", "7")], [("u/a/cpu.rt_runtime_us", "7")]),
        ({"oom_killer_disabled": True}, [("memory/a/memory.oom_control", "1")], [("u/a/memory.oom_control", "1")]),
        ({"memory_swappiness": 0}, [("memory/a/memory.swappiness", "0")], [("u/a/memory.swappiness", "0")]),
        ({"io_weight": 1000}, [("blkio/a/blkio.weight", "1000")], [("u/a/io.bfq.weight", "1000")]),
        (
            {"io_device_weights": ((8, 0, 10),)},
            [("blkio/a/blkio.weight_device", "8:0 10")],
            [("u/a/io.bfq.weight", "8:0 10")],
        ),
        (
            {"io": ((8, 0, "rbps", 5),)},
            [("blkio/a/blkio.throttle.read_bps_device", "8:0 5")],
            [("u/a/io.max", "8:0 rbps=5")],
        ),
        (
            {"io": ((8, 0, "wiops", 0),)},
            [("blkio/a/blkio.throttle.write_iops_device", "8:0 0")],
            [("u/a/io.max", "8:0 wiops=max")],
        ),
    ],
)
def test_each_version(limits: dict[str, Any], v1: list[tuple[str, str]], v2: list[tuple[str, str]]) -> None:
    """The same limit is written as the version words it."""
    assert settings(V1, **limits) == [(f"/{file}", text) for file, text in v1]
    assert settings(V2, **limits) == [(f"/{file}", text) for file, text in v2]
    assert settings(HYBRID, **limits) == settings(V1, **limits)


def test_a_hybrid_host() -> None:
    """What v1 has goes there, what only cgroup2 has goes to it, and is enabled for it; the rest is named."""
    assert settings(HYBRID, hugetlb=(("2MB", 4),)) == [("/u/a/hugetlb.2MB.max", "4")]
    assert setting.needed(HYBRID, Limits(hugetlb=(("2MB", 4),), memory_bytes=1)) == ["hugetlb"]
    assert setting.needed(HYBRID, Limits()) == []
    assert settings(HYBRID, unified={"cgroup.max.depth": "1"}) == [("/u/a/cgroup.max.depth", "1")]
    with pytest.raises(Error, match="no cgroup2 here has memory"):
        settings(HYBRID, unified={"memory.high": "1"})


@pytest.mark.parametrize(
    ("layout", "limits", "said"),
    [
        (V1, {"hugetlb": (("2MB", 4),)}, "this host has no hugetlb controller for hugetlb.2MB.max 4"),
        (V2, {"net_classid": 1}, "this host has no net_cls controller for net_cls.classid 1"),
        (V2, {"net_priorities": (("lo", 1),)}, "this host has no net_prio controller for net_prio.ifpriomap lo 1"),
        (V2, {"rdma": (("mlx", 3, None),)}, "this host has no rdma controller for rdma.max mlx hca_handle=3"),
        (V1, {"unified": {"memory.high": "1"}}, "linux.resources.unified: memory.high"),
        (V2, {"swap_total_bytes": 5}, "swap limit 5 without a memory limit"),
        (V2, {"swap_total_bytes": 5, "memory_bytes": 6}, "swap limit 5 below the memory limit 6"),
    ],
)
def test_what_can_not_be(layout: Layout, limits: dict[str, Any], said: str) -> None:
    """The error names the controller and the value."""
    with pytest.raises(Error) as caught:
        settings(layout, **limits)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("memory", "swap", "expected"),
    [(10, 10, 0), (10, 15, 5), (10, -1, "max"), (-1, 15, 15), (-1, None, "max"), (None, -1, "max"), (10, None, None)],
)
def test_swap_alone(memory: int | None, swap: int | None, expected: object) -> None:
    """cgroup2 counts swap alone, as runc converts."""
    assert v2_swap(Limits(memory_bytes=memory, swap_total_bytes=swap)) == expected


def test_weights() -> None:
    """The ends of the ranges are each other's, and Docker's usual values are what the OCI runtimes make of them."""
    assert [weight_from_shares(shares) for shares in (2, 1024, 262144)] == [1, 39, 10000]
    assert [weight_from_blkio(weight) for weight in (10, 500, 1000)] == [1, 4950, 10000]


def test_every_limit_has_a_file_on_both() -> None:
    """No limit is silently dropped: each makes at least one write, on v1 and on v2."""
    some: dict[str, Any] = {
        "memory_bytes": 1, "memory_reservation_bytes": 1, "swap_total_bytes": -1, "memory_tcp_bytes": 1,
        "memory_swappiness": 0, "oom_killer_disabled": True, "cpu_quota_usec": 1, "cpu_period_usec": 1,
        "cpu_burst_usec": 0, "cpu_shares": 2, "cpu_idle": 0, "cpu_realtime_runtime_usec": 1,
        "cpu_realtime_period_usec": 1, "cpuset_cpus": "0", "cpuset_mems": "0", "pids_limit": 1,
        "io": ((1, 1, "rbps", 1),), "io_weight": 10, "io_leaf_weight": 10, "io_device_weights": ((1, 1, 10),),
        "io_device_leaf_weights": ((1, 1, 10),), "hugetlb": (("2MB", 0),), "rdma": (("a", 1, 1),), "net_classid": 0,
        "net_priorities": (("lo", 0),),
    }  # fmt: skip
    assert {*some, "unified"} == set(Limits._fields)
    for name, value in some.items():
        for writes in (v1_writes, v2_writes):
            found = [each for rows in writes(Limits(**{name: value})).values() for each in rows]
            assert len(found) == 1, (name, writes)
