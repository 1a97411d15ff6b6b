"""Imported before pyfuse3, this takes the place of what pyfuse3 imports and a worker never uses.

trio, for which ``driver`` has its own stand-in, and the package metadata in which pyfuse3 looks up its version, with
all that reads mail and archives: 9 MB and a tenth of a second.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import NoReturn


class _Metadata(ModuleType):
    """Stands for ``importlib.metadata``, and knows no package."""

    PackageNotFoundError = ImportError

    @staticmethod
    def version(name: str) -> NoReturn:
        """Say that it is not known."""
        raise ImportError(name)


sys.modules.setdefault("trio", ModuleType("trio"))
sys.modules.setdefault("importlib.metadata", _Metadata("importlib.metadata"))
