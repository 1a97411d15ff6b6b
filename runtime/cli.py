"""``pyproc-run`` and ``pyproc``: where errors are printed and exit codes given."""

from __future__ import annotations

import os
import sys

from lxcfs_py.errors import Error, reason
from runtime import options
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _guarded(program: str, act: Callable[[Sequence[str]], int]) -> int:
    try:
        if f"_{program.replace('-', '_').upper()}_COMPLETE" in os.environ:
            from runtime import help  # noqa: A004  (named after what it is for)

            return help.complete(program) or 0
        code = act(sys.argv[1:])
        sys.stdout.flush()  # the launchers leave by _exit, which does not
    except Error as error:
        print(f"{program}: {error}", file=sys.stderr)
        ours = program == "pyproc-run" and error.exit_code == Error.exit_code  # 1 could be the command's
        return RunError.exit_code if ours else error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        print(f"{program}: {reason(error)}", file=sys.stderr)
        return RunError.exit_code
    return code


def _version(program: str) -> int:
    from lxcfs_py import __version__

    print(f"{program} {__version__}")
    return 0


def _run(argv: Sequence[str]) -> int:
    parsed = options.parse(argv)
    if parsed["help"]:
        from runtime import help  # noqa: A004

        help.show_run()
        return 0
    if parsed["version"]:
        return _version("pyproc-run")
    from runtime import lifecycle, spec

    request = spec.build(parsed)
    if parsed["dry_run"]:
        print("\n".join(lifecycle.describe(request)))
        return 0
    return lifecycle.run(request)


def _verb(argv: Sequence[str]) -> int:
    before, name, after = options.split(argv)
    if not name:
        parsed = options.read("pyproc", (*options.COMMON, options.VERSION), before)
        if parsed["version"]:
            return _version("pyproc")
        if parsed["help"]:
            from runtime import help  # noqa: A004

            help.show_group()
            return 0
    from importlib import import_module

    from runtime import verbs

    module = import_module(f"runtime.verbs.{verbs.resolve(name)}")
    return int(module.run((*before, *after)))


def main(program: str) -> int:
    """Be ``pyproc-run`` or ``pyproc``; return the exit code."""
    return _guarded(program, _run if program == "pyproc-run" else _verb)
