"""``make install``, into a directory that stands for the root."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.shell_completion import ShellComplete

from lxcfs_py import __version__, cli
from runtime import help  # noqa: A004

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
COMMANDS = {"lxcfs-py": cli.cli, "pyproc": help.group(), "pyproc-run": help.run_command()}


def install(root: Path, *arguments: str, prefix: str = "/usr/local", **variables: str) -> None:
    """Run deploy/install."""
    environment = {**os.environ, "DESTDIR": str(root), "PREFIX": prefix, **variables}
    done = subprocess.run(
        [PROJECT / "deploy/install", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def tree(root: Path) -> dict[str, str]:
    """Return what is below a directory: links' targets, and of files the mode."""
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else oct(path.stat().st_mode)
        for path in root.rglob("*")
    }


def test_install_and_uninstall(tmp_path: Path) -> None:
    """A second installation changes nothing, what is installed runs, and uninstalling leaves what was there."""
    (tmp_path / "usr/local/share/man").mkdir(parents=True)
    (tmp_path / "usr/local/share/man/other").touch()
    before = tree(tmp_path)
    install(tmp_path)
    once = tree(tmp_path)
    install(tmp_path)
    assert tree(tmp_path) == once
    home = tmp_path / "usr/local/lib/lxcfs-py"
    for program, module in (("lxcfs-py", ["-m", "lxcfs_py.cli"]), ("pyproc-run", ["-IS", home / "bin/pyproc-run"])):
        done = subprocess.run(
            [home / "bin/python3", *module, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert __version__ in done.stdout
        assert (tmp_path / "usr/local/bin" / program).resolve() == home / "bin" / program
        first = (home / "bin" / program).read_text().splitlines()[0]
        assert first.startswith("#!/usr/local/lib/lxcfs-py/bin/python3")
    units = tmp_path / "usr/local/lib/systemd/system"
    assert sorted(path.name for path in units.iterdir()) == [
        "lxcfs-py-mount.service",
        "lxcfs-py-nri.service",
        "lxcfs-py.service",
    ]
    install(tmp_path, "--uninstall")
    assert tree(tmp_path) == before


def test_prefix(tmp_path: Path) -> None:
    """Elsewhere than in /usr/local: every file says so, and systemd's are where systemd looks."""
    install(tmp_path, prefix="/opt/lxcfs-py")
    unit = (tmp_path / "etc/systemd/system/lxcfs-py.service").read_text()
    assert "ExecStart=/opt/lxcfs-py/bin/lxcfs-py serve" in unit
    assert (tmp_path / "etc/tmpfiles.d/lxcfs-py.conf").exists()
    found = subprocess.run(
        ["grep", "-rIl", "-e", "/usr/local", "-e", str(tmp_path), tmp_path, "--include=*.service", "--include=*.cfg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
    install(tmp_path, "--uninstall", prefix="/opt/lxcfs-py")
    assert tree(tmp_path) == {}


def test_hooks(tmp_path: Path) -> None:
    """Engines' files are there if they were asked for, name our programs, and go with all else."""
    install(tmp_path)
    assert not (tmp_path / "etc").exists()
    install(tmp_path, HOOKS="1")
    hook = json.loads((tmp_path / "etc/containers/oci/hooks.d/50-lxcfs-py.json").read_text())["hook"]
    assert hook["path"] == "/usr/local/bin/lxcfs-py"
    config = tomllib.loads((tmp_path / "etc/containers/containers.conf.d/50-lxcfs-py.conf").read_text())["engine"]
    assert "/etc/containers/oci/hooks.d" in config["hooks_dir"]
    assert config["runtimes"] == {"pyproc": ["/usr/local/bin/pyproc"]}
    assert {"pyproc", "crun", "runc"} <= set(config["runtime_supports_json"])
    install(tmp_path, "--uninstall")
    assert tree(tmp_path) == {}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with man pages and completions."""
    directory = tmp_path_factory.mktemp("pages")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, PROJECT / "deploy/pages.py", directory], env=environment, check=True)
    return directory


@pytest.mark.parametrize("program", COMMANDS)
def test_man_pages(pages: Path, program: str) -> None:
    """A man page has every option of every command, and no line that troff would take for a macro."""
    text = (pages / f"man/man8/{program}.8").read_text()
    for line in text.splitlines():
        assert re.match(r"\.(TH|SH|SS|TP|PP|B|BR)( |$)|[^.']", line), line
        assert not re.search(r"(?<!\\)-", line.removeprefix(f".TH {program.upper()}").replace("lxcfs-py", "")), line
    plain = text.replace("\\-", "-")
    command = COMMANDS[program]
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    for found in commands:
        for option in found.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert all(flag in plain for flag in option.opts), option.opts


def below(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and all below it, each with the words that lead there."""
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from below(each, *path, name)


def flags(command: click.Command) -> set[str]:
    """Return the spellings of a command's options."""
    options = (found for found in command.params if isinstance(found, click.Option) and not found.hidden)
    return {flag for option in options for flag in option.opts}


@pytest.mark.parametrize("program", COMMANDS)
def test_every_option_completes(program: str) -> None:
    """Each command is offered where it can stand, and each of its options after it."""
    complete = ShellComplete(COMMANDS[program], {}, program, "_X_COMPLETE")
    for path, command in below(COMMANDS[program]):
        offered = {item.value for item in complete.get_completions(list(path), "-")}
        assert offered - {"--help", "-h"} == flags(command) - {"--help", "-h"}, path
        if isinstance(command, click.Group):
            assert {item.value for item in complete.get_completions(list(path), "")} >= set(command.commands), path


@pytest.mark.parametrize("program", COMMANDS)
def test_manual_as_it_is_read(pages: Path, program: str) -> None:
    """troff warns of nothing, and what man shows has each command, with each of its options below it."""
    path = pages / f"man/man8/{program}.8"
    warned = subprocess.run(
        ["groff", "-ww", "-man", "-z", "-Tutf8", path], capture_output=True, text=True, check=True
    )
    environment = {**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    shown = subprocess.run(
        ["man", "--warnings=w", "-l", path], env=environment, capture_output=True, text=True, check=True
    )
    assert (warned.stderr, shown.stderr) == ("", "")
    text = re.sub(r".\x08|\x1b\[[0-9;]*m", "", shown.stdout)
    sections = re.split(r"^   (?=\S)", text, flags=re.MULTILINE)
    found = {section.splitlines()[0]: section for section in sections[1:]} | {"": text}
    for words, each in below(COMMANDS[program]):
        section = found[" ".join(words)]
        assert f"{program} {' '.join(words)}".rstrip() in section
        assert flags(each) <= set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", section)), words


@pytest.mark.parametrize(
    ("program", "line", "expected"),
    [
        ("pyproc-run", "--memory-r", "--memory-reservation"),
        ("pyproc-run", "--network n", "none"),
        ("pyproc", "dele", "delete"),
        ("pyproc", "system pr", "prune"),
        ("pyproc", "system prune --vol", "--volumes"),
        ("pyproc", "wait --condition pa", "paused"),
        ("pyproc", "ps --sort cr", "created"),
        ("lxcfs-py", "expl", "explain"),
    ],
)
def test_completion(pages: Path, program: str, line: str, expected: str) -> None:
    """bash completes a begun word; zsh and fish have a script of the program's too."""
    words = [program, *line.split()]
    script = (
        f". {pages}/bash-completion/completions/{program}; COMP_WORDS=({' '.join(words)}); "
        f"COMP_CWORD={len(words) - 1}; complete -p {program} >&2; "
        f"_{program.replace('-', '_')}_completion {program}; echo ${{COMPREPLY[@]}}"
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected], done.stderr
    assert done.stderr == f"complete -o nosort -F _{program.replace('-', '_')}_completion {program}\n"
    zsh = (pages / f"zsh/site-functions/_{program}").read_text()
    assert zsh.startswith(f"#compdef {program}\n")
    assert f"--command {program} " in (pages / f"fish/vendor_completions.d/{program}.fish").read_text()
