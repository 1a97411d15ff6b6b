"""Finds the modules of a start: what importlib does, but asking for nothing else than compiled files of ours.

A start imports 70 modules. For each, importlib lists directories, tries the endings of other kinds of modules and
takes their paths apart in Python: a fifth of what importing them costs. Whatever is not as usual is left to it.

What the first start of a kind has imported is kept in one file, in the order in which it was complete. The next ones
take their modules from there, and importlib has nothing to do but for what they need beside: another fifth.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Row = tuple[str, str, bytes, bytes]
    """A module's name, its source, what its compiled file begins with, its code."""

OURS = ("runtime", "lxcfs_py")
KINDS = {
    "pyproc-run": "lifecycle.run",
    "create": "lifecycle.create",
    "start": "lifecycle.start",
    "state": "lifecycle.oci",
    "kill": "verbs.kill",
    "delete": "lifecycle.cleanup",
    "exec": "lifecycle.execute",
    "run": "lifecycle.run",
}
"""Of ``pyproc-run``, and of the verbs that engines call, and people often: what one imports that does its work."""
KIND: Any = type(sys.__spec__)
"""ModuleSpec; importlib.machinery takes a millisecond to import."""
ENDING = f".{sys.implementation.cache_tag}.pyc"
HEAD_BYTES, INDEX_BYTES = 16, 4
INIT = "/__init__.py"
MAGIC: bytes = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER


def head(about: os.stat_result) -> bytes:
    """Return what a compiled file begins with that is made of a source file (PEP 552, by time and size)."""
    numbers = (0, int(about.st_mtime), about.st_size)
    return MAGIC + b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers)


def compiled(source: str, path: str) -> tuple[bytes, bytes] | None:
    """Return what the compiled file of a source begins with, and its code; None without one, or if it is too old."""
    try:
        about = os.stat(source)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    return (data[:HEAD_BYTES], data[HEAD_BYTES:]) if data[:HEAD_BYTES] == head(about) else None


class Finder:
    """A finder and loader for ``sys.meta_path``; ``tops`` are the directories our packages are in.

    ``kept`` gets every module that is loaded.
    """

    def __init__(self, tops: Sequence[str]) -> None:
        self.tops = tops
        self.kept: list[Row] | None = None

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """Return the module's spec, None for another finder to look for it."""
        package, _, last = name.rpartition(".")
        if (package or last).partition(".")[0] not in OURS:
            return None
        for at in path or self.tops:
            for stem, inside in ((f"{at}/__pycache__/{last}", ""), (f"{at}/{last}/__pycache__/__init__", last)):
                source = f"{at}/{inside}/__init__.py" if inside else f"{at}/{last}.py"
                found = compiled(source, stem + ENDING)
                if found is not None:
                    spec: ModuleSpec = KIND(name, self, origin=source, loader_state=found, is_package=bool(inside))
                    spec.has_location = True
                    if inside:
                        spec.submodule_search_locations = [f"{at}/{inside}"]
                    return spec
        return None

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to importlib."""

    def exec_module(self, module: ModuleType) -> None:
        """Run its code."""
        spec = module.__spec__
        assert spec is not None
        (begin, code), spec.loader_state = spec.loader_state, None
        exec(marshal.loads(code), module.__dict__)  # noqa: S102, S302  (as importlib does)
        if self.kept is not None:
            self.kept.append((spec.name, str(spec.origin), begin, code))


def keep(path: str, top: str, rows: Sequence[Row]) -> None:
    """Write modules to the file of a kind of start; where nothing can be written nothing is.

    Their sources are named from ``top`` on: whoever copies or moves all of it has a file that is about the copy.
    """
    index = marshal.dumps([(name, source.removeprefix(top), begin, len(code)) for name, source, begin, code in rows])
    new = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)  # whatever the umask
        with open(descriptor, "wb") as file:
            file.write(len(index).to_bytes(INDEX_BYTES, "little") + index + b"".join(row[-1] for row in rows))
        os.rename(new, path)
    except OSError:
        _forget(new)


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def take(path: str, top: str) -> bool:
    """Load the modules of that file; if there is none, or one of their sources has changed, none is: False."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    made: dict[str, ModuleType] = {}
    try:
        rows = marshal.loads(os.read(file, int.from_bytes(os.read(file, INDEX_BYTES), "little")))  # noqa: S302
        if any(head(os.stat(top + source)) != begin for _, source, begin, _ in rows):
            return False
        for name, source, _, _ in rows:
            made[name] = module = type(sys)(name)
            module.__file__ = top + source
            if source.endswith(INIT):
                module.__path__ = [top + source.removesuffix(INIT)]
        sys.modules.update(made)
        for name, module in made.items():
            package, _, last = name.rpartition(".")
            if package:
                setattr(sys.modules[package], last, module)
        for name, _, _, length in rows:
            exec(marshal.loads(os.read(file, length)), made[name].__dict__)  # noqa: S102, S302
    except Exception:  # noqa: BLE001  (whatever is wrong with it, all can be imported one by one)
        for name in made:
            package, _, last = name.rpartition(".")
            vars(sys.modules.get(package, sys)).pop(last, None)  # or ``from package import last`` would find it
        for name in made:
            sys.modules.pop(name, None)
        return False
    finally:
        os.close(file)
    return True


def main(program: str) -> int:
    """Be ``pyproc-run`` or ``pyproc`` (``runtime.cli``), and keep what the first start of its kind has imported."""
    gc.disable()  # nothing here lives for long or in circles
    here = os.path.dirname(os.path.abspath(__file__))
    kind = next((word for word in sys.argv[1:] if word in KINDS), "") if program == "pyproc" else program
    top = os.path.dirname(here)
    path = f"{here}/__pycache__/{kind}.{sys.implementation.cache_tag}.start"
    listed = "importtime" in sys._xoptions  # somebody wants to know what is imported
    finder = Finder([top])
    sys.meta_path.insert(0, finder)
    may = not sys.dont_write_bytecode and os.access(os.path.dirname(path), os.W_OK)
    if kind and not listed and not take(path, top) and may:
        finder.kept = []
    from runtime import cli

    code = cli.main(program)
    if finder.kept and code == 0 and _whole(kind, finder.kept):
        keep(path, top, finder.kept)
    return code


def _whole(kind: str, rows: Sequence[Row]) -> bool:
    """Say whether it was a start as others will be: one that did its work, showed no help, and compiled no module."""
    names = {name for name, _, _, _ in rows}
    ours = {name for name in sys.modules if name.partition(".")[0] in OURS}
    return f"runtime.{KINDS[kind]}" in names and "runtime.help" not in names and ours - names <= {"runtime", __name__}
