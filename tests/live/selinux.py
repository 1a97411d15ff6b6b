"""A small policy of SELinux, for tests: who is a container may do what, and the host's processes everything.

Classes and permissions it says nothing of are allowed (``handle_unknown``).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

MOUNT = Path("/sys/fs/selinux")
HOST, LEVELS = "system_u:object_r:host_t:s0", "s0 - s0:c0.c3"
INITIAL = (
    "kernel", "security", "unlabeled", "fs", "file", "file_labels", "init", "any_socket", "port", "netif", "netmsg",
    "node", "igmp_packet", "icmp_socket", "tcp_socket", "sysctl_modprobe", "sysctl", "sysctl_fs", "sysctl_kernel",
    "sysctl_net", "sysctl_net_unix", "sysctl_vm", "sysctl_dev", "kmod", "policy", "scmp_packet", "devnull",
)  # fmt: skip
"""By their numbers in the kernel (security/selinux/include/initial_sid_to_string.h)."""
CLASSES = {
    "process": "transition dyntransition setexec",
    "process2": "nnp_transition nosuid_transition",
    "file": "read write open entrypoint execute",
    "dir": "read search",
    "key": "search write link",
}
RULES = """
allow host_t domain:process *;
allow host_t domain:process2 *;
allow host_t { domain files }:file *;
allow host_t { domain files }:dir *;
allow host_t { domain files }:key *;
allow container self:process *;
allow container { host_t container_file_t domain }:file *;
allow container { host_t container_file_t domain }:dir *;
allow container self:key *;
mlsconstrain file { read write } ( h1 dom l2 );
"""
LABELLED = ("overlay", "tmpfs", "mqueue", "devtmpfs", "devpts", "hugetlbfs")
WHOLE = ("proc", "sysfs", "9p", "cgroup2", "selinuxfs", "rootfs", "ramfs")


def text(*domains: str) -> str:
    """Return the policy, in checkpolicy's language; ``domains`` are the types of containers."""
    types = " ".join(domains)
    lines = [
        *(f"class {name}" for name in CLASSES),
        *(f"sid {name}" for name in INITIAL),
        *(f"class {name} {{ {permissions} }}" for name, permissions in CLASSES.items()),
        "sensitivity s0; dominance { s0 }",
        *(f"category c{number};" for number in range(4)),
        "level s0:c0.c3;",
        next(line for line in RULES.splitlines() if line.startswith("mls")),
        "policycap nnp_nosuid_transition;",
        "attribute domain; attribute container; attribute files;",
        *(f"type {name}, domain, container;" for name in domains),
        "type host_t, domain, files; type container_file_t, files; type secret_t, files;",
        f"role system_r; role system_r types {{ host_t {types} }};",
        *(line for line in RULES.splitlines() if not line.startswith("mls")),
        f"user system_u roles {{ system_r }} level s0 range {LEVELS};",
        f"sid kernel system_u:system_r:host_t:{LEVELS}",
        *(f"sid {name} {HOST}" for name in INITIAL[1:]),
        *(f"fs_use_{'xattr' if name == 'overlay' else 'trans'} {name} {HOST};" for name in LABELLED),
        *(f"genfscon {name} / {HOST}" for name in WHOLE),
    ]
    return "\n".join(lines) + "\n"


def load(directory: Path, *domains: str) -> None:
    """Compile the policy, and have the kernel go by it from now on."""
    source, compiled = directory / "policy.conf", directory / "policy"
    source.write_text(text(*domains))
    subprocess.run(["/usr/bin/checkpolicy", "-M", "-U", "allow", "-o", compiled, source], check=True)
    with (MOUNT / "load").open("wb", buffering=0) as file:
        file.write(compiled.read_bytes())


def enforce(*, on: bool) -> None:
    """Deny what is not allowed, or only say so."""
    (MOUNT / "enforce").write_text("01"[on])
