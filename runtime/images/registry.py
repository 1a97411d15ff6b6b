"""Registries, spoken to by skopeo: it knows their protocols, credentials, mirrors and certificates."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime.kernel import removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from runtime.images.reference import Reference
    from runtime.images.store import Store

    Result = TypeVar("Result")

POLICY = "/etc/containers/policy.json"
HINTS = (
    (("unauthorized", "authentication required", "access to the resource is denied", "invalid username/password"),
     "give --creds USER, or log in with skopeo login {host}; a name that does not exist is answered the same"),
    (("x509", "certificate"), "put the registry's CA into /etc/containers/certs.d/{host}/ca.crt, or give --cert-dir"),
    (("server gave HTTP response to HTTPS client",), "a registry without TLS needs --tls-verify=false"),
    (("manifest unknown", "name unknown", "not found"), "look for the name and tag at {host}"),
    (("no image found in", "no image found for"), "give --platform OS/ARCH of one there is"),
    (("no such host", "connection refused", "network is unreachable", "i/o timeout", "timeout"),
     "is {host} right, and the network up?"),
    (("unexpected EOF", "connection reset", "EOF"), "the connection was cut; pull again, what has arrived is kept"),
)  # fmt: skip
"""What skopeo's last words tell, and what a person can do."""


class Options(Record):
    """How a registry is spoken to."""

    authfile: str = ""
    creds: str = ""
    """``USER:PASSWORD``."""
    cert_dir: str = ""
    tls_verify: bool = True
    platform: str = ""
    """``OS/ARCH[/VARIANT]``, "" for this machine's."""
    quiet: bool = False


def copy(side: str, options: Options, *, policy: bool) -> list[str]:
    """Return the beginning of skopeo's command line; ``side`` is where the registry is: ``src`` or ``dest``.

    ``policy``: the host has one about signatures.
    """
    found = ["skopeo", *([] if policy else ["--insecure-policy"])]
    system, _, rest = options.platform.partition("/")
    architecture, _, variant = rest.partition("/")
    platform = (("os", system), ("arch", architecture), ("variant", variant))
    found += [f"--override-{key}={value}" for key, value in platform if value]
    found += ["copy", "--retry-times=2", *(["--quiet"] if options.quiet else [])]
    found += [f"--{side}-tls-verify={str(options.tls_verify).lower()}"]
    found += [f"--{side}-cert-dir={options.cert_dir}"] if options.cert_dir else []
    return found + ([f"--authfile={options.authfile}"] if options.authfile else [])


def address(name: Reference) -> str:
    """Return a name as skopeo takes it: with a tag or a digest, and of both the digest says what it is."""
    return f"docker://{name.replace(tag='') if name.digest else name}"


def trouble(doing: str, name: Reference, said: str) -> Error:
    """Return the Error for what skopeo wrote before it failed, ``doing`` (pulling) what."""
    lines = [line for line in said.splitlines() if line.strip()]
    text = lines[-1] if lines else "skopeo said nothing"
    if 'msg="' in text:  # logrus: time="..." level=fatal msg="..."
        text = text.partition('msg="')[2].rpartition('"')[0].replace('\\"', '"')
    text = text.rpartition(f"docker://{name}: ")[2]
    hint = next((hint for marks, hint in HINTS if any(mark in text for mark in marks)), "see skopeo's words")
    return Error(f"{doing} {name}: {text}", hint.format(host=name.host))


def auth_text(host: str, creds: str) -> bytes:
    """Return an authentication file (containers-auth.json(5)): on a command line every user would read it."""
    from base64 import b64encode

    return json_text.dumps({"auths": {host: {"auth": b64encode(creds.encode()).decode()}}})


def speak(store: Store, name: Reference, options: Options, act: Callable[[str, Options], Result]) -> Result:
    """Let ``act`` work with a directory of its own, and with credentials in a file there if some are given."""
    layout = store.temporary()
    try:
        os.mkdir(layout, 0o700)
        if options.creds:
            options = options.replace(authfile=f"{layout}/auth.json")
            with open(options.authfile, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(auth_text(name.host, options.creds))
        return act(layout, options)
    finally:
        removal.remove_tree(layout)


def run(words: Sequence[str], doing: str, name: Reference) -> None:
    """Run skopeo; raises an Error saying what the registry did not like."""
    from subprocess import PIPE, Popen

    try:  # its bars, and in a pipe its lines, go where ours go; standard output is for the id
        process = Popen(words, stdin=-3, stdout=2, stderr=PIPE)
    except FileNotFoundError:
        raise Error("skopeo, which speaks with registries, is not here", "apt install skopeo") from None
    try:
        said = process.communicate()[1].decode("utf-8", "replace")
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        raise trouble(doing, name, said)
