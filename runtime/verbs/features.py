"""``pyproc features``: what this runtime understands, whatever the host has, as OCI's JSON (features.md)."""

from __future__ import annotations

import sys

from runtime.config import bundle
from runtime.process import capabilities, namespaces, scheduling
from runtime.root import mount_options
from runtime.state import OCI_VERSION
from runtime.systemd.properties import ANNOTATION
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.command_line import Parsed

VERB = Verb("features", "Print what this runtime understands, as OCI's JSON.", "", 0, 0)


def known() -> dict[str, Any]:
    """Return it, from the lists the runtime itself goes by."""
    from runtime.filters import architectures, bpf, compiler

    options = {
        *mount_options.ATTRIBUTES, *mount_options.RECURSIVE, *mount_options.SUPERBLOCK, *mount_options.NO_SUPERBLOCK,
        *mount_options.PROPAGATION, *(f"r{name}" for name in mount_options.PROPAGATION), "bind", "rbind",
        *mount_options.OURS,
    }  # fmt: skip
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(bundle.HOOKS),
        "mountOptions": sorted(options),
        "linux": {
            "namespaces": sorted(namespaces.FLAGS),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(compiler.ACTIONS),
                "operators": sorted(bpf.OPERATORS),
                "archs": sorted({*architectures.ARCHITECTURES, *architectures.ELSEWHERE}),
                "knownFlags": sorted(compiler.FLAGS),
                "supportedFlags": sorted(compiler.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"modes": list(scheduling.MODES), "flags": list(scheduling.MODE_FLAGS)},
            "netDevices": {"enabled": True},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [ANNOTATION],
    }


def run(_parsed: Parsed) -> int:
    """Print it."""
    import json

    sys.stdout.write(json.dumps(known(), indent=2) + "\n")
    return 0
