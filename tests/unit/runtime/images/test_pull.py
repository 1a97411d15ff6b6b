"""How skopeo is asked, and what becomes of its words."""

from __future__ import annotations

import json

import pytest

from runtime.images import pull, push, reference, registry
from runtime.images.registry import Options

NAME = reference.parse("h.io:5000/a/b:1")


def test_the_command_line() -> None:
    """Blobs go to the store's, the platform before the verb; a policy about signatures is used where there is one."""
    plain = pull.command(NAME, "/l", "/blobs", Options(), policy=True)
    assert plain[:2] == ["skopeo", "copy"] and "--insecure-policy" not in plain
    assert plain[-3:] == ["--dest-shared-blob-dir=/blobs", "docker://h.io:5000/a/b:1", "oci:/l:new"]
    options = Options("/auth", "", "/certs", tls_verify=False, platform="linux/arm/v7", quiet=True)
    found = pull.command(NAME, "/l", "/blobs", options, policy=False)
    assert found[1:5] == ["--insecure-policy", "--override-os=linux", "--override-arch=arm", "--override-variant=v7"]
    assert {"--quiet", "--src-tls-verify=false", "--src-cert-dir=/certs", "--authfile=/auth"} <= set(found)


def test_the_command_line_of_a_push() -> None:
    """It is the destination that is logged in to, and the blobs are the store's."""
    options = Options("/auth", "", "/certs", tls_verify=False)
    found = push.command(NAME, "/l", "/blobs", options, "/d", policy=True)
    assert found[-4:] == ["--src-shared-blob-dir=/blobs", "--digestfile=/d", "oci:/l:new", "docker://h.io:5000/a/b:1"]
    assert {"--dest-tls-verify=false", "--dest-cert-dir=/certs", "--authfile=/auth"} <= set(found)


def test_a_digest_goes_before_a_tag() -> None:
    """skopeo takes only one of them: the one that can't change."""
    name = reference.parse("a:1@sha256:" + "b" * 64)
    assert pull.command(name, "/l", "/b", Options(), policy=True)[-2] == f"docker://docker.io/library/a@{name.digest}"


def test_credentials_stay_off_the_command_line() -> None:
    """Every user reads command lines; the authentication file is containers-auth.json(5)'s."""
    assert not any("pw" in word for word in pull.command(NAME, "/l", "/b", Options(creds="me:pw"), policy=True))
    assert json.loads(registry.auth_text("h.io:5000", "me:pw")) == {"auths": {"h.io:5000": {"auth": "bWU6cHc="}}}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('time="x" level=fatal msg="initializing source docker://h.io:5000/a/b:1: reading manifest 1 in a/b: '
         'manifest unknown: manifest unknown"', "reading manifest 1 in a/b: manifest unknown: manifest unknown"),
        ('warning\nlevel=fatal msg="Get \\"https://h.io:5000/v2/\\": x509: unknown"',
         'Get "https://h.io:5000/v2/": x509: unknown; put'),
        ('level=fatal msg="unauthorized: authentication required"', "skopeo login h.io:5000"),
        ("level=fatal msg=\"http: server gave HTTP response to HTTPS client\"", "--tls-verify=false"),
        ("", "skopeo said nothing"),
    ],
)  # fmt: skip
def test_what_skopeo_says(said: str, expected: str) -> None:
    """Its last words are told in one line, with what to do."""
    text = str(registry.trouble("pulling", NAME, said))
    assert text.startswith(f"pulling {NAME}: ") and expected in text and "\n" not in text
