"""What the documents name is there: files, headings, tests, targets, options; printed commands can be read."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from lxcfs_py.cli import cli
from runtime import help, options, verbs  # noqa: A004

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
DOCUMENTS = sorted(str(path.relative_to(TOP)) for path in (*TOP.glob("*.md"), *TOP.glob("docs/*.md")))
SPAN = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OTHERS = {
    "--acls", "--xattrs",  # tar
    "--user", "--scope", "--now",  # systemd's
    "--runc-binary",  # ctr
    "--runtime",  # podman, docker
    "--beyond",  # our tests
}  # fmt: skip
"""Options of other programs."""


def text(document: str) -> str:
    """Return what a document says."""
    return (TOP / document).read_text()


def spans(document: str) -> list[str]:
    """Return what stands between backticks, outside of blocks."""
    return SPAN.findall(FENCE.sub("", text(document)))


def block_lines(document: str) -> Iterator[str]:
    """Yield the lines of blocks, continued ones in one."""
    for block in FENCE.findall(text(document)):
        yield from block.replace("\\\n", " ").splitlines()


def anchors(document: str) -> set[str]:
    """Return what may follow a # in a link to it, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text(document)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """A link within the project names a file that is there, and a heading in it."""
    for link in LINK.findall(text(document)):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = str(((TOP / document).parent / path).resolve().relative_to(TOP)) if path else document
        assert (TOP / target).exists(), link
        assert not anchor or anchor in anchors(target), link


@cache
def functions_of(module: str) -> set[str]:
    """Return the tests of all modules of that name, a parametrised one's ids not among them."""
    found = [path for path in TOP.glob("tests/**/test_*.py") if path.stem == module]
    trees = [ast.parse(path.read_text()) for path in found]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tests_are_there(document: str) -> None:
    """A test module that is named is there; so are the tests that the table of escapes names after it."""
    modules = {path.stem for path in TOP.glob("tests/**/test_*.py")}
    for span in spans(document):
        for module in re.findall(r"\btest_\w+", span):
            assert module in modules, span
    for module, named in re.findall(r"`(test_\w+)`: ((?:`\w+`(?:, )?)+)", text(document)):
        for name in SPAN.findall(named):
            assert f"test_{name}" in functions_of(module), f"{module}: {name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_and_targets_are_there(document: str) -> None:
    """A path of the checkout, a make target, a lane and what its ARGS begin with are there."""
    tops = "|".join(path.name for path in TOP.iterdir() if path.is_dir() and not path.name.startswith("."))
    targets = set(re.findall(r"^([a-z0-9-]+):", text("Makefile"), re.MULTILINE))
    for span in (*spans(document), *block_lines(document)):
        for path in re.findall(rf"(?<![\w/.-])(?:{tops})/[\w./-]+", span):
            if not path.startswith(("lxcfs_py/", "runtime/")) or "__pycache__" not in path:
                assert (TOP / path.rstrip(".")).exists(), span
        for target in re.findall(r"(?:^|[;&] )make ([a-z][a-z0-9-]*)", span):
            assert target in targets, span


def commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each of our commands in a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in (*lexer, ";"):
        if not set(word) <= set(";&|"):
            words.append(word)
            continue
        if words and words[0] in {"pyproc-run", "pyproc", "lxcfs-py"}:
            yield words
        words = []


def read(words: list[str]) -> None:
    """Read a command line; raises what the program would print."""
    program, *args = words
    if program == "pyproc-run":
        options.parse(args)
    elif program == "lxcfs-py":
        name, command, rest = cli.resolve_command(click.Context(cli), args)
        assert command is not None
        command.make_context(name, rest).close()
    else:
        before, name, after = options.split(args)
        import_module(f"runtime.verbs.{verbs.resolve(name)}").VERB.read((*before, *after))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_printed_commands_can_be_read(document: str) -> None:
    """Each line of a block that calls one of the programs has a verb and options that there are, with good values."""
    for line in block_lines(document):
        if re.match(r"(# )?(pyproc-run|pyproc|lxcfs-py) (?!\d)", line):
            for words in commands(line.removeprefix("# ")):
                read(words)


def flags(command: click.Command) -> Iterator[str]:
    """Yield the options of a command and of all below it."""
    yield from (flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts))
    below: Any = command.commands.values() if isinstance(command, click.Group) else ()
    for each in below:
        yield from flags(each)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_options_are_there(document: str) -> None:
    """An option that is named is one of some command's, or of another program's."""
    ours = {"--help", *OTHERS}
    for command in (help.run_command(), help.group(), cli):
        ours |= set(flags(command))
    for span in spans(document):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", span)) <= ours, span
