"""LXCFS's command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from lxcfs_py import cli
from lxcfs_py.errors import Error
from lxcfs_py.lxcfs_options import MOUNT_OPTIONS, OPTIONS, Option, check

NONE = {option.name: False for option in OPTIONS}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_is_accepted_or_refused_as_help_says(option: Option) -> None:
    """An option that asks for what is done anyway is accepted, any other is refused by name, and help says which."""
    text = " ".join(CliRunner().invoke(cli.cli, ["serve", "--help"]).output.split())
    assert all(flag in text for flag in option.flags)
    assert option.help in text
    if option.refusal:
        with pytest.raises(Error, match=f"{option.flags[-1]} can't be had; {option.refusal}"):
            check({**NONE, option.name: True}, "")
    else:
        check({**NONE, option.name: True}, "")


def test_mount_options() -> None:
    """`-o` takes what is so anyway, with or without a value, and names what it does not know."""
    check(NONE, ",".join(MOUNT_OPTIONS))
    check(NONE, "entry_timeout=0.5")
    with pytest.raises(Error, match="'suid'"):
        check(NONE, "allow_other,suid")


def test_version() -> None:
    """`lxcfs-py serve -v` is `lxcfs -v`."""
    assert CliRunner().invoke(cli.cli, ["serve", "-v"]).output == CliRunner().invoke(cli.cli, ["-v"]).output
