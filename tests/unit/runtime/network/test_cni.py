"""CNI: which configuration, what plugins are told."""

from __future__ import annotations

import json

import pytest

from lxcfs_py.errors import Error
from runtime.network import cni, ports
from runtime.network.wish import End, Wish

LIST = {
    "name": "web",
    "cniVersion": "1.0.0",
    "plugins": [{"type": "bridge"}, {"type": "portmap", "capabilities": {"portMappings": True, "mac": False}}],
}
FILES = [
    ("/1.conf", b"{"),
    ("/2.conf", b'{"name": "old", "type": "ptp"}'),
    ("/3.conflist", json.dumps(LIST).encode()),
]


def test_a_configuration_is_found_by_its_name() -> None:
    """A list's name counts, or that of a single plugin; if none has it what there is is named."""
    assert cni.configuration("web", FILES) == LIST
    assert cni.configuration("old", FILES)["plugins"] == [{"name": "old", "type": "ptp"}]
    with pytest.raises(Error, match=r"no network of that name, and can't read /1.conf; it has old, web"):
        cni.configuration("no", FILES)
    with pytest.raises(Error, match=r"/x: no list of plugins"):
        cni.configuration("x", [("/x", b'{"name": "x", "plugins": [1]}')])


def test_plugins_are_told_what_they_can_use() -> None:
    """A plugin gets its own configuration, the list's name and version, its capabilities and the result so far."""
    wish = Wish((End("web"),), cni=True, ports=(ports.parse("127.0.0.1:8080-8081:80-81"),))
    plan = {"list": LIST, "capabilities": cni.capabilities(wish, cni.mappings(wish))}
    assert cni.told(plan, 0, None) == {"type": "bridge", "name": "web", "cniVersion": "1.0.0"}
    mapped = [
        {"hostPort": 8080 + n, "containerPort": 80 + n, "protocol": "tcp", "hostIP": "127.0.0.1"} for n in range(2)
    ]
    found = cni.told(plan, 1, {"ips": []})
    assert (found["runtimeConfig"], found["prevResult"]) == ({"portMappings": mapped}, {"ips": []})
    assert cni.unheard(plan) == ""
    asked = Wish((End("web", mac="02:00:00:00:00:01"),), cni=True)
    assert cni.unheard({"list": LIST, "capabilities": cni.capabilities(asked, ())}) == "mac"


def test_ports_are_named() -> None:
    """CNI plugins choose no port of the host."""
    with pytest.raises(Error, match="-p 80: CNI plugins choose no port"):
        cni.mappings(Wish((End("web"),), cni=True, ports=(ports.parse("80"),)))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"ips": [{"address": "10.1.0.2/24"}, {"address": "fd00::2/64"}]}, ["10.1.0.2", "fd00::2"]),
        ({"ip4": {"ip": "10.1.0.2/24"}}, ["10.1.0.2"]),
        ({}, []),
    ],
)
def test_addresses_of_a_result(result: dict[str, object], expected: list[str]) -> None:
    """Both old and new results tell the addresses."""
    assert cni.addresses(result) == expected
