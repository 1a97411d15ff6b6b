"""What cgroup2's files take, in the words of systemd's properties; pure (systemd.resource-control(5)).

systemd writes a unit's files again when it finds a reason to, and with what it knows: so it has to know.
"""

from __future__ import annotations

from runtime import units
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Property = tuple[str, tuple[str, Any]]
    """Name, and type and value as D-Bus has them."""

INFINITY = 2**64 - 1
SIZES = {
    "memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax", "cpu.weight": "CPUWeight",
}  # fmt: skip
SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
RATES = {
    "rbps": "IOReadBandwidthMax", "wbps": "IOWriteBandwidthMax",
    "riops": "IOReadIOPSMax", "wiops": "IOWriteIOPSMax",
}  # fmt: skip
PERCENT_USEC = 10_000
"""systemd keeps a quota as a whole percentage of a second when it reads its own files again."""
ANNOTATION = "org.systemd.property."
"""What the name of an annotation begins with that is a property (runc's docs/systemd.md); its value is GVariant's."""


def _size(text: str) -> int:
    return INFINITY if text == "max" else int(text)


def _mask(text: str) -> bytes:
    """Return a list such as ``0-2,8`` as a mask, the lowest numbers first."""
    mask = sum(1 << number for number in units.cpu_numbers(text, "cpuset"))
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def _quota(text: str) -> list[Property]:
    quota, _, period = text.partition(" ")
    usec = int(period or 100_000)
    share = INFINITY if quota == "max" else -(-int(quota) * 1_000_000 // usec)
    if share != INFINITY:
        share += -share % PERCENT_USEC
    return [("CPUQuotaPerSecUSec", ("t", share)), ("CPUQuotaPeriodUSec", ("t", usec))]


def _device(number: str) -> str:
    return f"/dev/block/{number}"


def _of(file: str, text: str) -> list[Property]:
    """Return what one write is to systemd; nothing if it knows no such file."""
    number, _, rest = text.partition(" ")
    if file in SIZES:
        return [(SIZES[file], ("t", _size(text)))]
    if file in SETS:
        return [(SETS[file], ("ay", _mask(text)))]
    if file == "cpu.max":
        return _quota(text)
    if file == "cpu.idle":
        return [("CPUWeight", ("t", 0))] if text == "1" else []
    if file == "io.weight":
        if rest and number != "default":
            return [("IODeviceWeight", ("a(st)", ((_device(number), int(rest)),)))]
        return [("IOWeight", ("t", int(rest or number)))]
    if file == "io.max":
        rates = (each.partition("=") for each in rest.split())
        return [(RATES[key], ("a(st)", ((_device(number), _size(rate)),))) for key, _, rate in rates if key in RATES]
    return []


def of_limits(writes: Iterable[tuple[str, str]]) -> list[Property]:
    """Return the properties of what is to be written to files; raises an Error for what is not a file's text."""
    found: dict[str, tuple[str, Any]] = {}
    for file, text in writes:
        try:
            there = _of(file, text.strip())
        except ValueError:
            raise RunError(f"linux.resources: {file}: {text!r} is no limit", "write what the file takes") from None
        for name, (kind, value) in there:
            old = found.get(name, (kind, ()))[1]
            found[name] = (kind, (*old, *value) if kind == "a(st)" else value)
    return list(found.items())


def of_annotations(annotations: Mapping[str, str]) -> list[Property]:
    """Return the properties that annotations ask for; raises an Error naming the one that can't be understood."""
    found = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        name, value = key.removeprefix(ANNOTATION), _variant(text.strip())
        if value is None or not name.isalpha():
            raise RunError(f"annotations.{key}: {text!r} can't be understood", "write 'text', true, 5 or uint64 5")
        if name.endswith("Sec") and not name.endswith("USec") and value[0] in ("i", "u", "t", "x"):
            name, value = f"{name.removesuffix('Sec')}USec", ("t", value[1] * 1_000_000)
        found.append((name, value))
    return found


WORDS = {"uint64": "t", "int64": "x", "uint32": "u", "int32": "i", "byte": "y"}


def _variant(text: str) -> tuple[str, Any] | None:
    """Return the type and value of a text as GVariant writes values, of the kinds that properties have."""
    if text in ("true", "false"):
        return "b", text == "true"
    if text[:1] == "[" and text[-1:] == "]":
        items = [_variant(each.strip()) for each in text[1:-1].split(",") if each.strip()]
        return None if any(each is None or each[0] != "s" for each in items) else ("as", [e[1] for e in items if e])
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return "s", text[1:-1]
    word, _, number = text.rpartition(" ")
    if number.removeprefix("-").isdigit() and word in ("", *WORDS):
        return WORDS.get(word, "i"), int(number)
    return None
