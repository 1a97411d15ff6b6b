"""The names of images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.images import reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox"),
        ("me/app", "docker.io/me/app:latest", "me/app"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox"),
        ("localhost/app:A_b.c-1", "localhost/app:A_b.c-1", "localhost/app"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app"),
        ("quay.io/a/b/c_d__e.f--g", "quay.io/a/b/c_d__e.f--g:latest", "quay.io/a/b/c_d__e.f--g"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", "app"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}", "app"),
    ],
)
def test_names_are_completed_as_docker_does(text: str, whole: str, familiar: str) -> None:
    """A name without registry, account or tag means Docker's own; what is complete stays as it is."""
    found = reference.parse(text)
    assert (str(found), found.familiar) == (whole, familiar)
    assert reference.parse(whole) == found


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", ":a", "a@", "a@sha256:12", "a@md5:" + "a" * 64, "A", "a//b", "a/", "/a",
     "a..b", "a._b", "-a", "a-",
     "a___b", "a:b:c", "a b", "a\0", "é", "..", "../a", "a:" + "b" * 129, "h.io/" + "a" * 255, "h.io:x/a", "-h.io/a"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    """What Docker would not take is refused with exit code 125, naming it and saying how names are written."""
    with pytest.raises(Error) as refused:
        reference.parse(text)
    assert refused.value.exit_code == 125
    assert repr(text) in str(refused.value) and refused.value.hint


def test_capitals_are_mended() -> None:
    """Who writes a name in capitals is told the one in small letters."""
    with pytest.raises(Error, match="write busybox:1"):
        reference.parse("Busybox:1")


@given(st.text("aA0._-/:@\0é ", max_size=12))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    """Reading never fails in another way, and a complete name reads as itself."""
    try:
        found = reference.parse(text)
    except Error:
        return
    assert reference.parse(str(found)) == found
