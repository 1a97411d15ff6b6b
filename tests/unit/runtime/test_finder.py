"""The finder of a start: it takes what importlib would take, and leaves everything else to it."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime import finder, state
from runtime.finder import Finder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    ours = Finder([str(package.parent)])
    spec = ours.find_spec("runtime")
    assert spec is not None
    assert spec.submodule_search_locations == [str(package)]
    spec = ours.find_spec("runtime.part", [str(package)])
    assert spec is not None
    module = module_from_spec(spec)
    ours.exec_module(module)
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
    apart = "import sys; sys._xoptions['importtime'] = True"  # what another start has kept is not taken
    text = f"{apart}; __file__ = {str(BIN / 'pyproc-run')!r}; {text}"
    for _compiling in range(2):  # what has not been compiled yet is importlib's
        done = subprocess.run([sys.executable, "-IS", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "Finder"


TREE = {
    "apple/__init__": "from apple.core import value\nnamed = value + 1\n",
    "apple/core": "value = 40\n",
    "apple/tree/__init__": "",
    "apple/tree/leaf": "from apple import named\nfrom apple.tree import root\nus = __name__, __file__, named, root.a",
    "apple/tree/root": "a = 'yes'",
}


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], bool]]:
    """Return what takes the file of a start that imported ``apple.tree.leaf``; afterwards it is forgotten."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / f"{name}.py").write_text(text)
        py_compile.compile(str(tmp_path / f"{name}.py"))
    monkeypatch.setattr(finder, "OURS", ("apple",))
    first = Finder([str(tmp_path)])
    kept: list[tuple[str, str, bytes, bytes]] = []
    first.kept = kept
    monkeypatch.setattr(sys, "meta_path", [first, *sys.meta_path])
    import_module("apple.tree.leaf")
    before = os.umask(0)
    finder.keep(f"{tmp_path}/kind", str(tmp_path), kept)
    os.umask(before)

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "apple"]:
            del sys.modules[name]

    monkeypatch.setattr(sys, "meta_path", sys.meta_path[1:])

    def take(at: Path) -> bool:
        forget()
        return finder.take(f"{at}/kind", str(at))

    yield take
    forget()


def test_a_start_takes_what_the_first_imported(start: Callable[[Path], bool], tmp_path: Path) -> None:
    """All modules come from the one file, are what they were, and are where import statements look for them."""
    assert start(tmp_path)
    leaf = import_module("apple.tree.leaf")
    assert leaf.us == ("apple.tree.leaf", f"{tmp_path}/apple/tree/leaf.py", 41, "yes")
    assert sys.modules["apple"].tree.leaf is leaf
    assert list(sys.modules["apple.tree"].__path__) == [f"{tmp_path}/apple/tree"]
    assert (tmp_path / "kind").stat().st_mode & 0o777 == 0o644  # whatever the umask: it is executed


def _edited(at: Path) -> None:
    (at / "apple/core.py").write_text("value = 1000\n")


def _removed(at: Path) -> None:
    (at / "apple/tree/root.py").unlink()


def _short(at: Path) -> None:
    (at / "kind").write_bytes((at / "kind").read_bytes()[:-20])


def _empty(at: Path) -> None:
    (at / "kind").write_bytes(b"")


def _foreign(at: Path) -> None:
    (at / "kind").write_bytes(b"\x05\0\0\0hello")


def _absent(at: Path) -> None:
    (at / "kind").unlink()


@pytest.mark.parametrize("change", [_edited, _removed, _short, _empty, _foreign, _absent])
def test_a_start_takes_all_or_nothing(
    start: Callable[[Path], bool], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """One source that has changed, or a damaged file, and every module is looked for as ever."""
    change(tmp_path)
    assert not start(tmp_path)
    assert not [name for name in sys.modules if name.partition(".")[0] == "apple"]


def test_a_copy_is_its_own(start: Callable[[Path], bool], tmp_path: Path) -> None:
    """A tree that was copied takes its own modules, and those that have changed there, whatever the first one has."""
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "apple", copy / "apple")
    shutil.copy2(tmp_path / "kind", copy)
    assert start(copy)
    assert import_module("apple.core").__file__ == f"{copy}/apple/core.py"
    _edited(copy)
    assert not start(copy)
    assert start(tmp_path)


def test_what_could_not_be_taken_is_not_found(tmp_path: Path) -> None:
    """A module that failed is no attribute of the package that was there before, or nobody would import it again."""
    source = tmp_path / "runtime/broken.py"
    source.parent.mkdir()
    source.write_text("raise OSError")
    found = finder.compiled(str(source), py_compile.compile(str(source)) or "")
    assert found is not None
    finder.keep(f"{tmp_path}/kind", str(tmp_path), [("runtime.broken", str(source), *found)])
    assert not finder.take(f"{tmp_path}/kind", str(tmp_path))
    assert "broken" not in vars(sys.modules["runtime"])
    assert "runtime.broken" not in sys.modules


def test_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """A directory that can't be written is no error, and nothing half written stays."""
    finder.keep(f"{tmp_path}/nosuch/kind", "", [("apple", "/apple.py", b"", b"")])
    (tmp_path / "kind").mkdir()
    finder.keep(f"{tmp_path}/kind", "", [("apple", "/apple.py", b"", b"")])
    assert [path.name for path in tmp_path.iterdir()] == ["kind"]


def test_programs_agree_with_what_they_kept(tmp_path: Path) -> None:
    """The second call of a verb, which takes its modules from a file, says what the first one said."""
    live = state.State("web", f"{tmp_path}/web", str(tmp_path), "", "/pyproc/web", 1, phase=state.CREATED)
    (tmp_path / "web").mkdir()
    state.save(live)
    said = [
        subprocess.run(
            [BIN / "pyproc", "state", "--root", tmp_path, "web"], capture_output=True, text=True, check=True
        )
        for _ in range(3)  # the first one may have had to compile
    ]
    assert len({done.stdout for done in said}) == 1
    assert '"status": "stopped"' in said[0].stdout
    assert list(Path(finder.__file__).parent.glob("__pycache__/state.*.start"))


def test_a_start_without_work_is_not_kept(tmp_path: Path) -> None:
    """What a text of help, or the removal of nothing, has imported is no measure for others."""
    kept = Path(finder.__file__).parent / f"__pycache__/delete.{sys.implementation.cache_tag}.start"
    for arguments in (("delete", "--help"), ("delete", "--root", tmp_path, "-f", "nosuch")):
        kept.unlink(missing_ok=True)
        for _ in range(2):
            subprocess.run([BIN / "pyproc", *arguments], stdout=subprocess.DEVNULL, check=True)
        assert not kept.exists()
