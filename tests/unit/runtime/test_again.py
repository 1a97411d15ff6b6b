"""What a container was asked to be is read back as it was written, whatever it holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runtime import options, state
from runtime.config import spec
from runtime.lifecycle import again
from runtime.network.wish import End

if TYPE_CHECKING:
    from pathlib import Path


def test_a_request_comes_back(tmp_path: Path) -> None:
    """Networks, published ports, names and volumes among it."""
    words = ["--network", "bridge", "-p", "8000-8002:80-82/udp", "--dns", "192.0.2.1", "-v", "data:/data"]
    request = spec.build(options.parse(["--root", str(tmp_path), *words, "true"]), caller={})
    again.keep(request, str(tmp_path))
    found = state.State("web", f"{tmp_path}/web", f"{tmp_path}/web", str(tmp_path), "", 1, ("true",))
    (tmp_path / "web").mkdir()
    state.write(f"{tmp_path}/web/config.json", request.spec)
    path = tmp_path / state.REQUEST
    told = json.loads(path.read_text())
    assert told.pop("proc_view") == "auto"
    path.write_text(json.dumps({**told, "mood": {again.CLASS: "Mood"}}))  # as another version might write it
    back = again.kept(found)
    assert back == request.replace(id="web", root=str(tmp_path), storage=back.storage, spec=state.config(found))
    assert back.network is not None
    assert back.network.ports[0].container == range(80, 83)


def test_a_request_of_the_version_before(tmp_path: Path) -> None:
    """What said its one network in the place of several is read as one of one."""
    words = ["--root", str(tmp_path), "--network", "app", "-p", "80:80", "--ip", "10.1.0.9", "--network-alias", "db"]
    request = spec.build(options.parse([*words, "true"]), caller={})
    again.keep(request, str(tmp_path))
    path = tmp_path / state.REQUEST
    told = json.loads(path.read_text())
    network = told["network"]
    (end,) = network.pop("ends")
    del end["interface"], network["by_program"]
    path.write_text(json.dumps({**told, "network": {**end, **network}}))
    back = again.read(str(tmp_path))
    assert back is not None
    assert back == request
    assert back.network is not None
    assert back.network.ends == (End("app", "10.1.0.9", aliases=("db",)),)
