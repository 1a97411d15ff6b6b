"""How the hugetlb controller spells page sizes (Documentation/admin-guide/cgroup-v1/hugetlb.rst)."""

from __future__ import annotations

PAGE_SIZES = tuple(
    (f"{number}{unit}", number << shift)
    for unit, shift, numbers in (
        ("KB", 10, (16, 32, 64)),
        ("MB", 20, (1, 2, 8, 16, 32, 256, 512)),
        ("GB", 30, (1, 2, 16)),
    )
    for number in numbers
)
"""The name in ``hugetlb.NAME.max`` and its bytes, for every architecture's sizes."""
