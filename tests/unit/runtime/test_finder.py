"""The finder of a start: it takes what importlib would take, and leaves everything else to it."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.finder import Finder

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a compiled package with a module in it."""
    at = tmp_path / "runtime"
    at.mkdir()
    for name, text in (("__init__", "here = 1\n"), ("part", "value = __name__, __file__, __package__\n")):
        (at / f"{name}.py").write_text(text)
        py_compile.compile(str(at / f"{name}.py"))
    return at


def test_what_is_found(package: Path) -> None:
    """A package and its modules are found, and know what importlib would have told them."""
    finder = Finder([str(package.parent)])
    spec = finder.find_spec("runtime")
    assert spec is not None
    assert spec.submodule_search_locations == [str(package)]
    spec = finder.find_spec("runtime.part", [str(package)])
    assert spec is not None
    module = module_from_spec(spec)
    finder.exec_module(module)
    assert module.value == ("runtime.part", str(package / "part.py"), "runtime")


def _later(source: Path, _compiled: Path) -> None:
    os.utime(source, (1, 1))


def _longer(source: Path, _compiled: Path) -> None:
    about = source.stat()
    source.write_text("value = 123456\n" * 2)
    os.utime(source, ns=(about.st_atime_ns, about.st_mtime_ns))


def _cut(_source: Path, compiled: Path) -> None:
    compiled.write_bytes(compiled.read_bytes()[:10])


def _gone(_source: Path, compiled: Path) -> None:
    compiled.unlink()


def _sourceless(source: Path, _compiled: Path) -> None:
    source.unlink()


@pytest.mark.parametrize("change", [_later, _longer, _cut, _gone, _sourceless])
def test_what_is_left_to_importlib(package: Path, change: Callable[[Path, Path], None]) -> None:
    """A source that has changed, and what is not compiled, is another finder's to judge."""
    (compiled,) = (package / "__pycache__").glob("part.*")
    change(package / "part.py", compiled)
    assert Finder([str(package.parent)]).find_spec("runtime.part", [str(package)]) is None
    assert Finder([str(package.parent)]).find_spec("json") is None


def test_a_start_uses_it() -> None:
    """The launcher's modules come from it."""
    look = (
        "import sys; sys.argv = [{0!r}, '--version']; import os; os._exit = lambda c: None; exec(open({0!r}).read())"
    )
    text = f"{look.format(str(BIN / 'pyproc-run'))}; print(type(sys.modules['runtime.cli'].__spec__.loader).__name__)"
    text = f"__file__ = {str(BIN / 'pyproc-run')!r}; {text}"
    for _compiling in range(2):  # what has not been compiled yet is importlib's
        done = subprocess.run([sys.executable, "-IS", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "Finder"
