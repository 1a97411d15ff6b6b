"""Docker's form of a seccomp profile, as ``--security-opt seccomp=FILE`` takes it, to OCI's; pure.

It differs in what depends on the container: ``archMap`` instead of ``architectures``, and entries that hold only if
``includes`` do and ``excludes`` don't: by capabilities, architecture (as Go names it) and the kernel's version.
"""

from __future__ import annotations

from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

GO = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"), "i686": ("386", "SCMP_ARCH_X86"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"), "armv7l": ("arm", "SCMP_ARCH_ARM"),
}  # fmt: skip
"""By uname(2)'s machine: Go's name and OCI's."""
KNOWN = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
ENTRY = ("names", "action", "errnoRet", "args")


def version(text: str) -> tuple[int, ...]:
    """Return major and minor of ``6.1.0-13-amd64``; raises ValueError."""
    major, minor = text.split("-")[0].split(".")[:2]
    return int(major), int(minor)


def _holds(terms: Mapping[str, Any], given: Collection[str], machine: str, release: str, *, every: bool) -> bool:
    """Say whether all kinds of terms hold; of capabilities ``every`` one, or any."""
    caps = terms.get("caps") or ()
    arches, kernel = terms.get("arches") or (), terms.get("minKernel")
    return (
        (not caps or (all if every else any)(name in given for name in caps))
        and (not arches or GO[machine][0] in arches)
        and (not kernel or version(release) >= version(kernel))
    )


def _excluded(terms: Mapping[str, Any], given: Collection[str], machine: str, release: str) -> bool:
    """Say whether any kind of terms holds."""
    kinds = ({key: terms[key]} for key in ("caps", "arches", "minKernel") if terms.get(key))
    return any(_holds(kind, given, machine, release, every=False) for kind in kinds)


def convert(profile: Mapping[str, Any], given: Collection[str], machine: str, release: str) -> dict[str, Any]:
    """Return ``linux.seccomp`` for a container with these capabilities on this kernel.

    What is OCI's already comes out as it went in. Raises an Error for what is no profile.
    """
    try:
        found = {key: profile[key] for key in KNOWN if profile.get(key) is not None}
        arches = list(profile.get("architectures") or ())
        for row in profile.get("archMap") or ():
            if row["architecture"] == GO[machine][1]:
                arches += [row["architecture"], *(row.get("subArchitectures") or ())]
        rows = []
        for row in profile.get("syscalls") or ():
            if not _holds(row.get("includes") or {}, given, machine, release, every=True):
                continue
            if _excluded(row.get("excludes") or {}, given, machine, release):
                continue
            names = row.get("names") or [row["name"]]  # one name is the older form
            rows.append({**{key: row[key] for key in ENTRY if row.get(key) is not None}, "names": names})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"no seccomp profile: {type(error).__name__} {error}", "write it as Docker's or OCI's"
        ) from error
    return {**found, **({"architectures": arches} if arches else {}), "syscalls": rows}
