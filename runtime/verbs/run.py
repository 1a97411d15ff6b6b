"""``pyproc run``: create and start a container of a bundle, and look after it unless it is detached."""

from __future__ import annotations

import os

from runtime import options
from runtime.command_line import Option
from runtime.verbs import Verb, create

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "run",
    "Create and start a container of a bundle; without -d it is removed when it ends.",
    "ID",
    1,
    1,
    (*options.MAKING, options.DETACH, Option(("--keep",), "Don't remove it when it ends", kind="flag")),
)


def run(parsed: Parsed) -> int:
    """Run it; return the command's exit code."""
    from runtime.lifecycle import run as runner

    detach = parsed["detach"]
    asked = create.request(parsed, detach=detach)
    found = create.prepared(asked.replace(remove=not (detach or parsed["keep"])))
    runner.launch(found)
    os.close(found.lock)
    if detach:
        return 0
    code = runner.attend(found.child, master=found.said.master, interactive=True)
    runner.finish(found, code)
    return code
