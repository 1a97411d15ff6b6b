"""``pyproc pull``: get images from a registry."""

from __future__ import annotations

import os
import sys

from lxcfs_py.errors import Error
from runtime.command_line import Option
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.images import registry

QUIET = Option(("-q", "--quiet"), "Show no progress", kind="flag")
ACCESS = (
    Option(("--authfile",), "File of credentials (default: those of skopeo, podman and docker)", "FILE"),
    Option(("--creds",), "Log in as USER; the password is asked for where there is none", "USER[:PASSWORD]"),
    Option(("--cert-dir",), "Directory of the registry's CA and of our certificate", "DIR"),
    Option(
        ("--tls-verify",), "Insist on TLS and right certificates", "BOOL", choices=("true", "false"), default="true"
    ),
    QUIET,
    JSON,
)
"""How a registry is spoken to, and what is said."""
VERB = Verb(
    "pull",
    "Get images from a registry.",
    "IMAGE...",
    1,
    None,
    (
        *ACCESS,
        Option(("--platform",), "System and machine to get it for (default: this one's)", "OS/ARCH[/VARIANT]"),
    ),
    mapped=True,
)


def _creds(text: str) -> str:
    if not text or ":" in text:
        return text
    if not os.isatty(0):
        raise Error(f"--creds {text}: no password", "write USER:PASSWORD, or run it on a terminal to be asked")
    from getpass import getpass

    return f"{text}:{getpass(f'password of {text}: ')}"


def access(parsed: Parsed, platform: str = "") -> registry.Options:
    """Return how the registry is spoken to."""
    from runtime.images import registry

    return registry.Options(
        authfile=parsed["authfile"] or "",
        creds=_creds(parsed["creds"] or ""),
        cert_dir=parsed["cert_dir"] or "",
        tls_verify=parsed["tls_verify"] == "true",
        platform=platform,
        quiet=parsed["quiet"],
    )


def run(parsed: Parsed) -> int:
    """Pull each, and print its id."""
    from runtime.images import pull, reference
    from runtime.images.progress import Progress
    from runtime.images.store import Store

    names = [reference.parse(text) for text in parsed.rest]
    options = access(parsed, parsed["platform"] or "")
    store, progress = Store(parsed["storage"]), Progress(quiet=parsed["quiet"])
    found = []
    for name in names:
        id_ = pull.pull(store, name, options, progress)
        found.append({"id": id_, "name": str(name)})
        if not parsed["json"]:
            os.write(1, f"{id_}\n".encode())
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps(found) + "\n")
    return 0
