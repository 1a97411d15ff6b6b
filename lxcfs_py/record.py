"""Frozen records for code whose start-up time counts.

``dataclasses`` costs 14 ms of import and ``typing.NamedTuple`` 8 ms, a third of what starting a container
may cost altogether; this base does what the project needs of them in well under one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_options):  # noqa: D103  (typing's, without importing typing)
        return lambda cls: cls


@dataclass_transform(frozen_default=True, eq_default=True)
class Record:
    """A frozen record: fields are the class's annotations in order, defaults its class attributes.

    >>> class Point(Record):
    ...     x: int
    ...     y: int = 0
    >>> Point(1).replace(y=2)
    Point(x=1, y=2)
    """

    if TYPE_CHECKING:
        _fields: tuple[str, ...]
    else:
        _fields = ()

    def __init_subclass__(cls) -> None:
        """Take the annotations as further fields."""
        cls._fields = cls._fields + tuple(cls.__dict__.get("__annotations__", ()))  # noqa: RUF063  (inspect is slow to import)

    if not TYPE_CHECKING:

        def __init__(self, *args, **kwargs):
            fields = self._fields
            if not kwargs and len(args) == len(fields):
                self.__dict__.update(zip(fields, args))  # noqa: B905  (they are as long)
                return
            if len(args) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} fields, got {len(args)}")
            values = self.__dict__
            values.update(zip(fields, args, strict=False))
            values.update(kwargs)
            if len(values) == len(fields) == len(args) + len(kwargs):
                known = not kwargs or all(name in fields for name in kwargs)
            else:
                known = all(name in fields for name in values) and len(values) == len(args) + len(kwargs)
                for name in fields:
                    if name not in values and not hasattr(type(self), name):
                        raise TypeError(f"{type(self).__name__}: {name} is missing")
            if not known:
                raise TypeError(f"{type(self).__name__}: unknown or doubled field in {sorted(kwargs)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} can't be set")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self._fields}, **changes})

    @classmethod
    def known(cls, values: Mapping[str, Any]) -> Self:
        """Return the record of values by name, of which another version's may have more, and fewer of the defaults.

        Raises TypeError if one without a default is missing.
        """
        return cls(**{name: values[name] for name in cls._fields if name in values})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and their values, in order."""
        return {name: getattr(self, name) for name in self._fields}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(getattr(self, n) == getattr(other, n) for n in self._fields)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self._fields)))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({inner})"
