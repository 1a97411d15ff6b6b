"""Sizes, CPUs, counts and rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("256m", 256 << 20),
        ("256M", 256 << 20),
        ("256MB", 256 << 20),
        ("256MiB", 256 << 20),
        ("1g", 1 << 30),
        ("1.5g", 3 << 29),
        (".5k", 512),
        ("64k", 65536),
        ("2t", 2 << 40),
        ("1048576", 1048576),
        ("12b", 12),
        (" 1 m ", 1 << 20),
        ("0", 0),
    ],
)
def test_size(text: str, expected: int) -> None:
    """Docker's spellings of a size mean what they mean to Docker, to the byte."""
    assert units.size(text, "-m") == expected


@pytest.mark.parametrize(
    "text", ["", "m", "12x", "1bb", "1mm", "1bib", "-5", "1,5g", "²", "1.m", "1e3", "0x10", "9" * 5000]
)
def test_size_refused(text: str) -> None:
    """What is no size is an error that names the option and the value."""
    with pytest.raises(Error) as caught:
        units.size(text, "-m")
    assert caught.value.message.startswith(f"-m {text!r}: ")
    assert caught.value.exit_code == 125


def test_size_beyond_the_kernel() -> None:
    """A size the kernel's signed 64 bits can't hold is refused, the last that fits is not."""
    assert units.size(str(2**63 - 1), "-m") == 2**63 - 1
    with pytest.raises(Error, match="more than the kernel can count"):
        units.size("8192p", "-m")


@given(st.integers(0, 2**63 - 1))
def test_show_reads_back(number: int) -> None:
    """A size that is shown is the size that is read."""
    assert units.size(units.show(number), "-m") == number


@given(st.text(max_size=12))
def test_odd_text_is_an_error(text: str) -> None:
    """Whatever is typed, every reader returns a value or raises the one Error."""
    for read in units.KINDS.values():
        try:
            read(text, "--x")
        except Error:
            continue


@pytest.mark.parametrize(
    ("text", "expected"), [("1", 10**9), ("1.5", 1_500_000_000), ("0.01", 10_000_000), ("0.0000000001", 0)]
)
def test_cpus(text: str, expected: int) -> None:
    """CPUs are counted exactly, in billionths."""
    assert units.cpus(text, "--cpus") == expected


@pytest.mark.parametrize("text", ["", "-1", "one", "1.", "1.5.1", "nan", "inf"])
def test_cpus_refused(text: str) -> None:
    """What is no number of CPUs is an error."""
    with pytest.raises(Error, match="not a number of CPUs"):
        units.cpus(text, "--cpus")


@pytest.mark.parametrize(
    ("text", "expected"), [("0", {0}), ("0-2,7", {0, 1, 2, 7}), ("3,1", {1, 3}), ("0, 2", {0, 2})]
)
def test_cpu_numbers(text: str, expected: set[int]) -> None:
    """A list of CPUs means the numbers cpuset(7) says."""
    assert units.cpu_numbers(text, "--cpuset-cpus") == expected


@pytest.mark.parametrize("text", ["", "a", "2-1", "0-", "-1", "1,,2", "0-99999999"])
def test_cpu_numbers_refused(text: str) -> None:
    """A list that is none, or beyond any machine, is an error and takes no memory."""
    with pytest.raises(Error, match="not a list of numbers"):
        units.cpu_numbers(text, "--cpuset-cpus")


def test_device_rates() -> None:
    """A rate belongs to the device before its last colon."""
    assert units.device_size("/dev/disk/by-path/pci:1:2m", "--device-read-bps") == (
        "/dev/disk/by-path/pci:1",
        2 << 20,
    )
    assert units.device_count("/dev/sda:100", "--device-read-iops") == ("/dev/sda", 100)


@pytest.mark.parametrize("text", ["/dev/sda", "sda:1m", "/dev/sda:", ":1m"])
def test_device_rates_refused(text: str) -> None:
    """A rate without its device, or a device without its rate, is an error."""
    with pytest.raises(Error, match="not a device and a rate"):
        units.device_size(text, "--device-read-bps")


def test_unlimited() -> None:
    """-1 stands for no limit where there can be none, and nowhere else."""
    assert units.size_or_unlimited("-1", "--memory-swap") == -1
    assert units.count_or_unlimited("-1", "--pids-limit") == -1
    with pytest.raises(Error):
        units.size("-1", "-m")
    with pytest.raises(Error):
        units.count_or_unlimited("-2", "--pids-limit")
