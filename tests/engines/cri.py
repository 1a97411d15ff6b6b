"""containerd's CRI, spoken as kubelet speaks it: gRPC over its socket, its messages written by field number.

The numbers are those of Kubernetes' api.proto, package runtime.v1.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import grpc  # type: ignore[import-untyped]  # it has no types

from tests.engines import engine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.machine import Machine

NODE = 2
"""NamespaceMode: the host's, so that no CNI is needed."""
CRI = '[plugins."io.containerd.grpc.v1.cri"'
OPTIONS = {"systemd": "SystemdCgroup = true", "crun": 'BinaryName = "/usr/bin/crun"'}


def configure(machine: Machine) -> None:
    """Write containerd's configuration, and a base specification with the hook for the handlers with a view."""
    hook = {"path": str(machine.bin / "lxcfs-py"), "args": ["lxcfs-py", "hook"], "timeout": 10}
    view = machine.etc / "containerd/view.json"
    view.parent.mkdir(exist_ok=True)
    spec = json.loads(machine.run("ctr", "oci", "spec").stdout)
    view.write_text(json.dumps({**spec, "hooks": {"createRuntime": [hook], "poststop": [hook]}}))
    lines = ["version = 2", *machine.containerd, f"{CRI}]", f'sandbox_image = "{engine.IMAGE}"']
    lines += ["restrict_oom_score_adj = true"]  # who lacks CAP_SYS_RESOURCE can't lower it
    lines += [f"{CRI}.containerd]", 'snapshotter = "native"', 'default_runtime_name = "pyproc"']
    for name in machine.handlers:
        at = f"{CRI}.containerd.runtimes.{name}"
        lines += [f"{at}]", 'runtime_type = "io.containerd.runc.v2"', 'pod_annotations = ["io.lxcfs-py.view"]']
        lines += [f'base_runtime_spec = "{view}"'] if name.endswith("-view") else []
        lines += [f"{at}.options]", *(option for word, option in OPTIONS.items() if word in name.split("-"))]
        lines += [f'BinaryName = "{machine.bin}/pyproc"'] if name.startswith("pyproc") else []
    (machine.etc / "containerd/config.toml").write_text("\n".join(lines) + "\n")


def encoded(value: Any) -> bytes:
    """Return a value as protobuf has it; a message is a mapping of field numbers."""
    if isinstance(value, int):
        found = bytearray()
        while value > 0x7F:
            found.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*found, value])
    if isinstance(value, str):
        return value.encode()
    found = bytearray()
    for number, each in value.items():
        for item in each if isinstance(each, list) else [each]:
            data = encoded(item)
            kind = 0 if isinstance(item, int) else 2
            found += encoded(number << 3 | kind) + (data if kind == 0 else encoded(len(data)) + data)
    return bytes(found)


def decoded(data: bytes) -> dict[int, Any]:
    """Return a message by field number: numbers and bytes, the last of several."""
    found: dict[int, Any] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            found[key >> 3], at = data[at : at + value], at + value
        else:
            found[key >> 3] = value
    return found


def knows(socket: Path, image: str) -> bool:
    """Tell whether CRI knows an image: one that is imported it hears of by and by, and would pull it till then."""
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        path = "/runtime.v1.ImageService/ImageStatus"
        call = channel.unary_unary(path, request_serializer=encoded, response_deserializer=decoded)
        try:
            return 1 in call({1: {1: image}}, timeout=20)
        except grpc.RpcError:  # CRI begins later than the socket
            return False


class Logging(Protocol):
    """What says why a call failed."""

    def log(self) -> str:
        """Return the end of what was logged."""


class Cri:
    """A pod of one handler."""

    def __init__(self, machine: Machine, handler: str, annotations: dict[str, str] | None = None) -> None:
        self.machine: Logging = machine
        self.channel = grpc.insecure_channel(f"unix://{machine.socket}")
        self.slice = "system.slice" if handler.endswith("-systemd") else ""
        namespaces = {1: NODE}
        self.config = {
            1: {1: "pod", 2: "uid", 3: "default", 4: 1},
            7: [{1: key, 2: value} for key, value in (annotations or {}).items()],
            8: {1: self.slice or f"{machine.parent}/kubepods", 2: {1: namespaces}},
        }
        self.containers: list[str] = []
        self.id = self.call("RunPodSandbox", {1: self.config, 2: handler})[1].decode()

    def call(self, method: str, message: dict[int, Any]) -> dict[int, Any]:
        """Call a method of the runtime service."""
        path = f"/runtime.v1.RuntimeService/{method}"
        call = self.channel.unary_unary(path, request_serializer=encoded, response_deserializer=decoded)
        try:
            return dict(call(message, timeout=120, wait_for_ready=True))
        except grpc.RpcError as error:
            raise AssertionError((method, error.details(), self.machine.log())) from None

    def start(self, memory_bytes: int) -> str:
        """Start a container of the pod that has one CPU and so much memory; return its id."""
        config = {
            1: {1: f"c{len(self.containers)}"},
            2: {1: engine.IMAGE},
            3: ["/bin/sleep", "1000"],
            15: {1: {1: 100_000, 2: 100_000, 4: memory_bytes}, 2: {3: {1: NODE}}},
        }
        id_ = self.call("CreateContainer", {1: self.id, 2: config, 3: self.config})[1].decode()
        self.containers.append(id_)
        self.call("StartContainer", {1: id_})
        return str(id_)

    def inside(self, id_: str, script: str) -> str:
        """Run a shell script in a container; return what it prints."""
        done = self.call("ExecSync", {1: id_, 2: ["/bin/sh", "-c", script], 3: 60})
        assert done.get(3, 0) == 0, done
        return str(done.get(1, b"").decode())

    def update(self, id_: str, memory_bytes: int) -> None:
        """Change a container's limit."""
        self.call("UpdateContainerResources", {1: id_, 2: {4: memory_bytes}})

    def remove(self, id_: str) -> None:
        """Stop a container and remove it."""
        self.call("StopContainer", {1: id_, 2: 1})
        self.call("RemoveContainer", {1: id_})
        self.containers.remove(id_)

    def close(self) -> None:
        """Remove all."""
        for id_ in [*self.containers]:
            self.remove(id_)
        self.call("StopPodSandbox", {1: self.id})
        self.call("RemovePodSandbox", {1: self.id})
        self.channel.close()
