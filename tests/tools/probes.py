"""What programs say of the machine they run on: how each is asked, and where its answer stands in what it prints."""

from __future__ import annotations

import re
from typing import NamedTuple

KIB, MIB = 1 << 10, 1 << 20
PLACE = r"([\d.]+)"
LETTERS = {"K": KIB, "M": MIB, "G": 1 << 30}


class Answer(NamedTuple):
    """One number of a program's output."""

    fact: str
    """What it is about: a key of ``Limits.facts``."""
    pattern: str
    """Its groups are numbers, and are added up; a letter in a group named ``unit`` is K, M or G."""
    scale: float = 1


class Probe(NamedTuple):
    """One program."""

    tool: str
    package: str
    command: str
    answers: tuple[Answer, ...]
    needs: str = ""
    """What of a lane it can't do without (``tests.lanes.Lane``)."""


def memory(pattern: str, scale: float = 1) -> Answer:
    """Return an answer about the whole memory, in bytes."""
    return Answer("memory", pattern, scale)


def swap(pattern: str, scale: float = 1) -> Answer:
    """Return an answer about the whole swap, in bytes."""
    return Answer("swap", pattern, scale)


def cpus(pattern: str) -> Answer:
    """Return an answer about the number of CPUs."""
    return Answer("cpus", pattern)


def up(pattern: str, scale: float = 1) -> Answer:
    """Return an answer about the seconds since the start."""
    return Answer("uptime", pattern, scale)


def load(pattern: str) -> Answer:
    """Return an answer about the load average of the last minute."""
    return Answer("load", pattern)


LOAD = load(r"load average: ([\d.]+)")
MINUTES = up(r"up +(\d+) min", 60)
SECONDS_SINCE = 'echo $(($(date +%s) - $(date +%s -d "$({})")))'

PYTHON = """
import os
page = os.sysconf("SC_PAGE_SIZE")
print("count", os.cpu_count(), "mask", len(os.sched_getaffinity(0)), "conf", os.sysconf("SC_NPROCESSORS_CONF"))
print("pages", os.sysconf("SC_PHYS_PAGES") * page, "load", os.getloadavg()[0])
"""
PSUTIL = """
import psutil, time
print("memory", psutil.virtual_memory().total, "swap", psutil.swap_memory().total, "cpus", psutil.cpu_count())
print("up", time.time() - psutil.boot_time(), "load", psutil.getloadavg()[0], "times", len(psutil.cpu_times(True)))
"""
NODE = """
const os = require("os");
console.log("cpus", os.cpus().length, "memory", os.totalmem(), "parallel", os.availableParallelism());
console.log("up", os.uptime(), "load", os.loadavg()[0]);
"""
SCRAPE = """
import time, urllib.request
for _ in range(600):
    try:
        text = urllib.request.urlopen("http://127.0.0.1:9100/metrics").read().decode()
        break
    except OSError:
        time.sleep(0.1)
lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
value = {name: float(number) for name, _, number in lines}
print("memory %d" % value["node_memory_MemTotal_bytes"], "swap %d" % value["node_memory_SwapTotal_bytes"])
print("cpus", sum(name.startswith("node_cpu_seconds_total") and "idle" in name for name in value))
print("up", time.time() - value["node_boot_time_seconds"], "load", value["node_load1"])
"""


def _python(code: str) -> str:
    return f"/usr/bin/python3 -c '{code}'"


PROBES = (
    Probe("free", "procps", "free -b", (memory(r"Mem: +(\d+)"), swap(r"Swap: +(\d+)"))),
    Probe(
        "top",
        "procps",
        "top -bn1",
        (memory(rf"MiB Mem : +{PLACE}", MIB), swap(rf"MiB Swap: +{PLACE}", MIB), LOAD),
        "procps",
    ),
    Probe(
        "vmstat -s",
        "procps",
        "vmstat -s",
        (memory(r"(\d+) K total memory", KIB), swap(r"(\d+) K total swap", KIB)),
        "procps",
    ),
    Probe("uptime", "procps", f"{SECONDS_SINCE.format('uptime -s')}; uptime", (up(r"^-?(\d+)"), LOAD)),
    Probe("w", "procps", "w", (MINUTES, LOAD)),
    Probe("ps", "procps", "ps -o etimes=,pcpu= -p 1", (up(r"^ *(\d+)"),), "timens"),
    Probe(
        "htop",
        "htop",
        "(sleep 2; printf q) | TERM=xterm script -qec 'stty rows 40 cols 160; htop' /dev/null",
        (memory(r"Mem\[[^/\]]*/([\d.]+)(?P<unit>[KMG])"), LOAD._replace(pattern=r"Load average: ([\d.]+)")),
    ),
    Probe(
        "busybox free", "busybox-static", "busybox free", (memory(r"Mem: +(\d+)", KIB), swap(r"Swap: +(\d+)", KIB))
    ),
    Probe("busybox uptime", "busybox-static", "busybox uptime", (MINUTES, LOAD)),
    Probe("busybox nproc", "busybox-static", "busybox nproc", (cpus(r"(\d+)"),)),
    Probe("busybox top", "busybox-static", "busybox top -bn1", (memory(r"Mem: (\d+)K used, (\d+)K free", KIB),)),
    Probe("nproc", "coreutils", "nproc", (cpus(r"(\d+)"),)),
    Probe("nproc --all", "coreutils", "nproc --all", (cpus(r"(\d+)"),)),
    Probe("lscpu", "util-linux", "lscpu", (cpus(r"CPU\(s\): +(\d+)"),)),
    Probe("mpstat", "sysstat", "mpstat -P ALL 1 1 | awk '/Average/ && $2 ~ /[0-9]/' | wc -l", (cpus(r"(\d+)"),)),
    Probe("iostat", "sysstat", "iostat", (cpus(r"\((\d+) CPU\)"),)),
    Probe("sar", "sysstat", "sar -u 1 1", (cpus(r"\((\d+) CPU\)"),)),
    Probe(
        "node-exporter",
        "prometheus-node-exporter",
        f"prometheus-node-exporter --web.listen-address=127.0.0.1:9100 >/dev/null 2>&1 & {_python(SCRAPE)}; kill $!",
        (
            memory(r"memory (\d+)"),
            swap(r"swap (\d+)"),
            cpus(r"cpus (\d+)"),
            up(rf"up {PLACE}"),
            load(rf"load {PLACE}"),
        ),
    ),
    Probe(
        "psutil",
        "psutil (PyPI)",
        f"PYTHONPATH=/site {_python(PSUTIL)}",
        (
            memory(r"memory (\d+)"),
            swap(r"swap (\d+)"),
            cpus(r"cpus (\d+)"),
            cpus(r"times (\d+)"),
            up(rf"up {PLACE}"),
            load(rf"load {PLACE}"),
        ),
    ),
    Probe(
        "CPython",
        "python3",
        _python(PYTHON),
        (
            cpus(r"count (\d+)"),
            cpus(r"mask (\d+)"),
            cpus(r"conf (\d+)"),
            memory(r"pages (\d+)"),
            load(rf"load {PLACE}"),
        ),
    ),
    Probe(
        "Node.js",
        "nodejs",
        f"node -e '{NODE}'",
        (
            cpus(r"cpus (\d+)"),
            cpus(r"parallel (\d+)"),
            memory(r"memory (\d+)"),
            up(rf"up {PLACE}"),
            load(rf"load {PLACE}"),
        ),
    ),
    Probe(
        "JVM",
        "default-jre-headless",
        "java -XX:-UseContainerSupport -Xlog:gc+init -version",
        (
            cpus(r"CPUs: \d+ total, (\d+) available"),
            memory(r"Memory: (\d+)M", MIB),
            Answer("heap", r"Heap Max Capacity: (\d+)M", MIB),
        ),
    ),
)


def said(answer: Answer, text: str) -> float | None:
    """Return the number an output holds for an answer, None if it holds none."""
    plain = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])", "", text)
    found = re.search(answer.pattern, plain, re.MULTILINE)
    if found is None:
        return None
    unit = LETTERS[found["unit"]] if "unit" in found.groupdict() else 1
    return sum(float(word) for word in found.groups() if word and word not in LETTERS) * answer.scale * unit
