"""``lxcfs-py runtime RUNTIME ...``: an OCI runtime with our hook added to what it creates, for engines without hooks.

Docker can be given a runtime but no hooks, and so can ``ctr``. Each of an engine's calls goes through here; only the
one that brings a new bundle is looked at, and then the runtime takes our place.
"""

from __future__ import annotations

import os

from lxcfs_py import json_text, oci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

CREATING = ("create", "run")


def bundle(arguments: Sequence[str]) -> str:
    """Return the bundle of a runtime's command line, "" if it creates no container."""
    verb = next((number for number, word in enumerate(arguments) if word in CREATING), -1)
    if verb < 0:
        return ""
    found = "."
    for number, word in enumerate(arguments[verb + 1 :], verb + 1):
        name, equals, value = word.partition("=")
        if name in ("--bundle", "-b"):
            found = value if equals else "".join(arguments[number + 1 : number + 2])
    return found


def hooked(config: dict[str, Any], hook: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with our hook after those that it has."""
    hooks = dict(config.get("hooks") or {})
    for stage in oci.STAGES:
        hooks[stage] = [*(hooks.get(stage) or ()), hook]
    return {**config, "hooks": hooks}


def main(program: str, arguments: Sequence[str]) -> int:
    """Become the runtime; return the exit code if that can't be."""
    if not arguments:
        os.write(2, b"lxcfs-py runtime: names no runtime: lxcfs-py runtime runc ...\n")
        return 1
    runtime, *rest = arguments
    if at := bundle(rest):
        try:
            _add(f"{at}/config.json", program)
        except (
            OSError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:  # the runtime itself says what is wrong with it
            os.write(2, f"lxcfs-py runtime: {at}/config.json: {error}\n".encode("utf-8", "replace"))
    try:
        os.execvp(runtime, list(arguments))
    except OSError as error:
        os.write(2, f"lxcfs-py runtime: {runtime}: {error.strerror}; name one that is installed\n".encode())
    return 127


def _add(path: str, program: str) -> None:
    """Add the hook to a configuration, whole or not at all."""
    with open(path, "rb") as file:
        data = json_text.dumps(hooked(json_text.loads(file.read()), oci.hook(program)))
    with open(f"{path}.lxcfs-py", "wb") as file:
        file.write(data)
    os.rename(f"{path}.lxcfs-py", path)
