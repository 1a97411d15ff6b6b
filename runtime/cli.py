"""``pyproc-run`` and ``pyproc``: where errors are printed and exit codes given."""

from __future__ import annotations

import os
import sys

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from runtime import command_line, options, places
from runtime.errors import NOT_FOUND, RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.command_line import Parsed


def _guarded(program: str, act: Callable[[], int]) -> int:
    try:
        code = act()
        sys.stdout.flush()  # the launchers leave by _exit, which does not
    except Error as error:
        _say(program, str(error))
        ours = program == "pyproc-run" and error.exit_code == Error.exit_code  # 1 could be the command's
        return RunError.exit_code if ours else error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        _say(program, reason(error))
        return RunError.exit_code
    return code


def _say(program: str, text: str) -> None:
    print(f"{program}: {text}", file=sys.stderr)
    if program == "pyproc":
        from runtime import log

        log.record("error", text)


def _version(program: str) -> int:
    from lxcfs_py import __version__

    if program == "pyproc-run":
        print(f"{program} {__version__}")
    else:  # as engines read it: runc's lines
        from runtime.state import OCI_VERSION

        print(f"{program} version {__version__}\ncommit: {__version__}\nspec: {OCI_VERSION}")
    return 0


def _run(argv: Sequence[str]) -> int:
    parsed = options.parse(argv)
    if parsed["help"]:
        from runtime import help  # noqa: A004

        help.show_run()
        return 0
    if parsed["version"]:
        return _version("pyproc-run")
    from runtime.config import spec
    from runtime.lifecycle import run

    request = spec.build(parsed)
    if parsed["dry_run"]:
        steps = run.describe(request)
        print(json_text.dumps(steps).decode() if parsed["json"] else "\n".join(steps))
        return 0
    if parsed["json"] and not request.detach:
        raise RunError("--json: what it prints is the command's", "give it with -d or --dry-run")
    told = os.path.abspath(parsed["cidfile"]) if parsed["cidfile"] else ""
    if told:
        _tell(told, request.id)
    try:
        return run.run(request, as_json=parsed["json"])
    except BaseException as error:
        if told and os.path.exists(told):
            os.unlink(told)
        if isinstance(error, Error) and error.exit_code == NOT_FOUND and _may_be_image(parsed):
            word = parsed.rest[0]
            raise RunError(error.message, f"or is {word} an image? pyproc-run --image {word}", NOT_FOUND) from error
        raise


def _may_be_image(parsed: Parsed) -> bool:
    """Say whether a command that was not found could be meant for an image, as after ``docker run``."""
    return bool(parsed.rest) and not (parsed["image"] or parsed["rootfs"] or parsed.rest[0].startswith(("/", ".")))


def _tell(path: str, id_: str) -> None:
    """Write the id where it is asked for, as Docker into a new file: one that is there names another container."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(id_)
    except OSError as error:
        hint = "remove it, or name another" if isinstance(error, FileExistsError) else "name a file that can be made"
        raise RunError(f"--cidfile {reason(error)}", hint) from error


def _verb(argv: Sequence[str]) -> int:
    before, name, after = options.split(argv)
    if not name:
        parsed = command_line.read("pyproc", (*options.COMMON, options.VERSION), before)
        if parsed["version"]:
            return _version("pyproc")
        if parsed["help"]:
            from runtime import help  # noqa: A004

            help.show_group()
            return 0
    from runtime import log, verbs

    log.configure(before)

    module = __import__(f"runtime.verbs.{verbs.resolve(name)}", fromlist=("run",))  # importlib takes a millisecond
    found = module.VERB.read((*before, *after))
    if found is None:
        return 0
    if module.VERB.mapped and places.rootless():
        from runtime.process import rootless

        return rootless.inside(lambda: _guarded("pyproc", lambda: int(module.run(found))))
    return int(module.run(found))


def _act(program: str) -> int:
    if f"_{program.replace('-', '_').upper()}_COMPLETE" in os.environ:
        from runtime import help  # noqa: A004  (named after what it is for)

        return help.complete(program) or 0
    return (_run if program == "pyproc-run" else _verb)(sys.argv[1:])


def main(program: str) -> int:
    """Be ``pyproc-run`` or ``pyproc``; return the exit code."""
    os.umask(os.umask(0) | 0o022)  # engines have been seen with none: what we make is nobody else's to write
    return _guarded(program, lambda: _act(program))
