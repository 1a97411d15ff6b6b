"""Finds the modules of a start: what importlib does, but asking for nothing else than compiled files of ours.

A start imports 80 modules. For each, importlib lists directories, tries the endings of other kinds of modules and
takes their paths apart in Python: a fifth of what importing them costs. Whatever is not as usual is left to it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

OURS = ("runtime", "lxcfs_py")
KIND: Any = type(sys.__spec__)
"""ModuleSpec; importlib.machinery takes a millisecond to import."""
ENDING = f".{sys.implementation.cache_tag}.pyc"
HEAD_BYTES = 16
MAGIC: bytes = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER


def head(about: os.stat_result) -> bytes:
    """Return what a compiled file begins with that is made of a source file (PEP 552, by time and size)."""
    numbers = (0, int(about.st_mtime), about.st_size)
    return MAGIC + b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers)


def compiled(source: str, path: str) -> bytes | None:
    """Return the code that a source file was compiled to, None if it has changed since or was not compiled."""
    try:
        about = os.stat(source)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    return data[HEAD_BYTES:] if data[:HEAD_BYTES] == head(about) else None


class Finder:
    """A finder and loader for ``sys.meta_path``; ``tops`` are the directories our packages are in."""

    def __init__(self, tops: Sequence[str]) -> None:
        self.tops = tops

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """Return the module's spec, None for another finder to look for it."""
        package, _, last = name.rpartition(".")
        if (package or last).partition(".")[0] not in OURS:
            return None
        for at in path or self.tops:
            for stem, inside in ((f"{at}/__pycache__/{last}", ""), (f"{at}/{last}/__pycache__/__init__", last)):
                source = f"{at}/{inside}/__init__.py" if inside else f"{at}/{last}.py"
                code = compiled(source, stem + ENDING)
                if code is not None:
                    spec: ModuleSpec = KIND(name, self, origin=source, loader_state=code, is_package=bool(inside))
                    spec.has_location = True
                    if inside:
                        spec.submodule_search_locations = [f"{at}/{inside}"]
                    return spec
        return None

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to importlib."""

    def exec_module(self, module: ModuleType) -> None:
        """Run its code."""
        import marshal

        spec = module.__spec__
        assert spec is not None
        code, spec.loader_state = spec.loader_state, None
        exec(marshal.loads(code), module.__dict__)  # noqa: S102, S302  (as importlib does)
