"""Seccomp: OCI's ``linux.seccomp`` as classic BPF, and the profile containers have by default."""
