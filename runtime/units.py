"""Words to numbers: sizes, CPUs, counts and device rates as people write them on a command line.

Every function takes the text and the option's name, and raises an Error that names both and the remedy.
Plain integer arithmetic throughout: a limit must be what was asked, not the nearest float.
"""

from __future__ import annotations

from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

NANO_CPUS = 1_000_000_000
"""One CPU in the unit of ``cpus``, which is Docker's NanoCPUs."""
MAX_BYTES = 2**63 - 1
MAX_CPU = 65535
MAX_NAME = 128
WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
NAME_HINT = "use letters, digits, _ . and -, a letter or digit first"
MAX_DIGITS = 30
"""Longer numbers mean nothing here, and Python refuses to read the very long ones."""
SCALES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
SIZE_HINT = "write a number with b, k, m or g after it, as 256m or 1.5g"


def is_name(text: str) -> bool:
    """Say whether the text can be the name of a container or volume."""
    return text[:1] in WORD and text != "" and len(text) <= MAX_NAME and WORD.issuperset(set(text) - set("_.-"))


def _natural(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
        return int(text)
    return None


def _scaled(text: str, scale: int) -> int | None:
    """Return a decimal number times scale, rounded down; None if it is none."""
    whole, point, fraction = text.partition(".")
    if not point:
        number = _natural(whole)
        return None if number is None else number * scale
    number, part = _natural(whole or "0"), _natural(fraction)
    if number is None or part is None:
        return None
    parts: int = 10 ** len(fraction)
    return number * scale + part * scale // parts


def size(text: str, option: str) -> int:
    """Return bytes of a size such as ``256m``, ``1.5g``, ``64KiB`` or ``1048576``."""
    word = text.strip().lower()
    digits = word.rstrip("ibkmgtp ")
    unit = word[len(digits) :].strip()
    if len(unit) > 1:  # "mb" and "mib" are "m", as Docker reads them
        unit = unit[:1] if unit[1:] in ("b", "ib", "i") and unit[0] not in "bi" else "?"
    number = _scaled(digits, SCALES[unit]) if digits and unit in SCALES else None
    if number is None:
        raise RunError(f"{option} {text!r}: not a size", SIZE_HINT)
    if number > MAX_BYTES:
        raise RunError(f"{option} {text!r}: more than the kernel can count", SIZE_HINT)
    return number


def show(size_bytes: int) -> str:
    """Return a size as people write it, exactly: ``256m``, ``1536k``."""
    for letter in "ptgmk":
        if size_bytes and size_bytes % SCALES[letter] == 0:
            return f"{size_bytes // SCALES[letter]}{letter}"
    return f"{size_bytes}b"


def size_or_unlimited(text: str, option: str) -> int:
    """Return bytes, or -1 for ``-1``: no limit."""
    return -1 if text.strip() == "-1" else size(text, option)


def cpus(text: str, option: str) -> int:
    """Return a number of CPUs such as ``1.5`` in billionths of a CPU (``NANO_CPUS``)."""
    number = _scaled(text.strip(), NANO_CPUS)
    if number is None or not text.strip():
        raise RunError(f"{option} {text!r}: not a number of CPUs", "write it as 2 or 0.5")
    return number


def count(text: str, option: str) -> int:
    """Return a natural number."""
    number = _natural(text.strip())
    if number is None or number > MAX_BYTES:
        raise RunError(f"{option} {text!r}: not a whole number", "write it as 100")
    return number


def count_or_unlimited(text: str, option: str) -> int:
    """Return a natural number, or -1 for ``-1``: no limit."""
    return -1 if text.strip() == "-1" else count(text, option)


def cpu_numbers(text: str, option: str) -> frozenset[int]:
    """Return the numbers of a list such as ``0-2,7`` (cpuset(7), "List format")."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = _natural(first)
        high = _natural(last) if dash else low
        if low is None or high is None or not low <= high <= MAX_CPU:
            raise RunError(f"{option} {text!r}: not a list of numbers", "write it as 0-2,7")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def cpu_list(text: str, option: str) -> str:
    """Return the list as written, once it is known to be one."""
    cpu_numbers(text, option)
    return text.replace(" ", "")


def _device(text: str, option: str, hint: str) -> tuple[str, str]:
    path, _, value = text.rpartition(":")
    if not path.startswith("/") or not value:
        raise RunError(f"{option} {text!r}: not a device and a rate", hint)
    return path, value


def device_size(text: str, option: str) -> tuple[str, int]:
    """Return the device's path and bytes per second of ``/dev/sda:1m``."""
    path, value = _device(text, option, "write it as /dev/sda:1m")
    return path, size(value, option)


def device_count(text: str, option: str) -> tuple[str, int]:
    """Return the device's path and operations per second of ``/dev/sda:100``."""
    path, value = _device(text, option, "write it as /dev/sda:100")
    return path, count(value, option)


def boolean(text: str, option: str) -> bool:
    """Return what ``--flag=true`` and ``--flag=false`` say."""
    word = text.lower()
    if word not in ("true", "false", "1", "0"):
        raise RunError(f"{option} {text!r}: neither true nor false", f"write {option} alone to switch it on")
    return word in ("true", "1")


def interval(text: str, option: str) -> float:
    """Return seconds of ``5s``, ``1m30s``, ``500ms`` or ``2``, as Go writes durations; 0 is refused."""
    scales = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
    total, rest = 0.0, text.strip()
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = next((name for name in ("ms", "s", "m", "h") if rest[digits:].startswith(name)), "")
        number = _scaled(rest[:digits], 1000)
        if number is None or (not unit and rest[digits:]):
            total = 0.0
            break
        total += number / 1000 * scales[unit]
        rest = rest[digits + len(unit) :]
    if not total:
        raise RunError(f"{option} {text!r}: not a time", "write seconds, as 5s")
    return total


def grace(text: str, option: str) -> float:
    """Return seconds that may be none (0), or any (-1)."""
    word = text.strip().removesuffix("s")
    return float(word) if word in ("-1", "0") else interval(text, option)


def lines(text: str, option: str) -> int:
    """Return a natural number, or -1 for ``all``."""
    return -1 if text.strip() == "all" else count_or_unlimited(text, option)


def moment(text: str, option: str, now_nsec: int) -> int:
    """Return nanoseconds since 1970 of ``10m`` ago, of such a number of seconds, or of an RFC 3339 date: exactly."""
    from datetime import datetime

    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789")
    nsec = int(f"{rest.removesuffix(zone)}{0:09}"[:9])
    try:
        if whole.isdigit() and not zone:
            return int(whole) * 1_000_000_000 + nsec
        if whole[:4].isdigit() and whole[4:5] == "-":
            return int(datetime.fromisoformat(whole + zone).timestamp()) * 1_000_000_000 + nsec
        sign = 1 if text.startswith("-") else -1  # -10m is ahead: as Docker's, what is said is subtracted
        return now_nsec + sign * int(interval(text[sign == 1 :], option) * 1e9)
    except (ValueError, OverflowError, RunError):
        hint = "write 10m, 2026-01-31T12:00:00Z or seconds since 1970"
        raise RunError(f"{option} {text!r}: not a time", hint) from None


def number(text: str, option: str) -> int:
    """Return a whole number, which may be below 0."""
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise RunError(f"{option} {text!r}: not a number", "write a whole number")
    return int(text)


def mask(text: str, option: str) -> int:
    """Return a file mode mask, written in octal digits."""
    if not text or not set(text) <= set("01234567") or int(text, 8) > 0o777:
        raise RunError(f"{option} {text!r}: not an octal number up to 0777", "write it as 0022")
    return int(text, 8)


def plain(text: str, _option: str) -> str:
    """Return the text itself."""
    return text


KINDS: Mapping[str, Callable[[str, str], Any]] = {
    "text": plain,
    "size": size,
    "swap": size_or_unlimited,
    "cpus": cpus,
    "count": count,
    "pids": count_or_unlimited,
    "lines": lines,
    "number": number,
    "mask": mask,
    "cpulist": cpu_list,
    "interval": interval,
    "grace": grace,
    "device-size": device_size,
    "device-count": device_count,
}
"""Every kind of value an option can have (``runtime.options``); a flag has none."""
