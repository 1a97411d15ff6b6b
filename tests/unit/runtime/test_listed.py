"""How lists are filtered, ordered and written, and the templates of --format."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime import command_line, listed
from runtime.lifecycle import listing
from runtime.template import compiled
from runtime.verbs import images, network, volume
from runtime.verbs import list as lists
from tests.unit.runtime.test_listing import NOW, container

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.listed import Listing

VALUE: dict[str, Any] = {
    "State": {"Status": "running", "Pid": 7, "Running": True, "Error": None},
    "Args": ["a", "b"],
    "Networks": {"web": {"IPAddress": "10.0.0.2"}, "db": {"IPAddress": "10.0.1.2"}},
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
    "Labels": {"com.example.tier": "front"},
    "Mounts": [],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.State.Status}}/{{.State.Pid}} {{json .Args}}!", 'running/7 ["a", "b"]!'),
        ("{{ .State.Status }}", "running"),
        ("{{range .Networks}}{{.IPAddress}} {{end}}", "10.0.1.2 10.0.0.2 "),
        ("{{range $name, $net := .Networks}}{{$name}}={{$net.IPAddress}};{{end}}", "db=10.0.1.2;web=10.0.0.2;"),
        ("{{range $i, $a := .Args}}{{$i}}{{$a}}{{end}}", "0a1b"),
        ("{{range .Mounts}}x{{else}}none{{end}}", "none"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range $p, $c := .Ports}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}", "80/tcp -> 8080"),
        ('{{index .Labels "com.example.tier"}}{{index .Labels "none"}}', "front"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ('{{if not .State.Running}}a{{else if eq .State.Pid 7}}b{{else}}c{{end}}', "b"),
        ('{{if and .State.Running (gt .State.Pid 6)}}y{{end}}', "y"),
        ("{{with .State}}{{.Pid}} {{len $.Args}}{{end}}", "7 2"),
        ('{{join .Args ","}} {{.State.Status | upper}}', "a,b RUNNING"),
        ('{{printf "%s=%d" .State.Status .State.Pid}}', "running=7"),
        ('{{printf "%v %t %q" .State.Running .State.Running .State.Status}}', 'true true "running"'),
        ('{{printf "%v %3d%%" .Args .State.Pid}}', '["a", "b"]   7%'),
        ("{{$s := .State}}{{$s.Pid}}", "7"),
        ("a {{- .State.Pid -}} b", "a7b"),
        ("{{.State.Running}} {{.State.Error}} {{.Args}}", 'true null ["a", "b"]'),
        ("{{/* nothing */}}x", "x"),
        ("plain", "plain"),
    ],
)  # fmt: skip
def test_templates(template: str, text: str) -> None:
    """They mean what they mean to Docker."""
    assert compiled(template)(VALUE) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.State.X}}", "no X; there are Status, Pid"),
        ("{{.Args.X}}", "no X; what is above it has none"),
        ("{{x}}", "not understood"),
        ("{{.A", "not understood"),
        ("{{.State | .Args}}", "not understood"),
        ("{{(.State}}", "not understood"),
        ("{{$x}}", "no variable"),
        ("{{if .State}}x", "has no end"),
        ("{{end}}", "ends nothing"),
        ("{{foo .State}}", "not understood"),
        ("{{len .State.Pid}}", "len: "),
        ("{{index .Args 7}}", "there is none"),
        ("{{.State.Pid.X}}", "no X"),
        ('{{printf "%d"}}', "printf: "),
        ('{{printf "%d" 1 2}}', "1 values too many"),
        ('{{printf "%99999999999d" 1}}', "printf: too much"),
        (r'{{"\q"}}', "not understood"),
        ("{{" + "(" * 5000 + "}}", "not understood"),
    ],
)
def test_wrong_templates(template: str, text: str) -> None:
    """What is not there, or not understood, is named."""
    with pytest.raises(Error, match="--format.*" + text.replace("(", r"\(")):
        compiled(template)(VALUE)


WORDS = st.sampled_from(
    [*"$|()7 x", "{{", "}}", ".State", ".Pid", "if", "range", "end", "else", "with", "$x", ":=", '"a"']
)  # fmt: skip


@given(st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=20))
def test_any_template(template: str) -> None:
    """Whatever is typed becomes text, or an Error that names it."""
    with contextlib.suppress(Error):
        assert isinstance(compiled(template)(VALUE), str)


def show(list_: Listing, found: list[Any], row: Callable[[Any], Any], *words: str) -> str:
    """Return what a command line makes of a list."""
    known = (*list_.options(), command_line.Option(("--json",), "", kind="flag"))
    parsed = command_line.read("pyproc ps", known, words)
    return list_.text(parsed, found, row)


def rows(found: list[dict[str, Any]], *, whole: bool = False) -> Callable[[Any], Any]:
    """Return what shows containers."""
    return listing.Rows("/nowhere", found, NOW, whole=whole).row


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "CONTAINER ID  IMAGE        COMMAND                 CREATED        STATUS        PORTS\n"
             'web           alpine:3.20  "sh -c sleep 1000000…"  9 seconds ago  Up 5 seconds\n'),
        (("-q",), "web\n"),
        (("-q", "--format", "table"), "web\n"),
        (("-q", "--json"), '["web"]\n'),
        (("--format", r"{{.Names}}\t{{.Status}}"), "web\tUp 5 seconds\n"),
        (("--format", "table {{.Names}}\\t{{.State}}"), "NAMES  STATE\nweb    running\n"),
        (("--format", 'table {{.ID}}\\t{{.Label "tier"}}'), "CONTAINER ID  tier\nweb           front\n"),
        (("--format", "{{.Labels}} {{.Networks}} {{.Mounts}}"), "tier=front host \n"),
    ],
)  # fmt: skip
def test_what_ps_prints(words: tuple[str, ...], text: str) -> None:
    """A table as Docker's, ids, or what a template says."""
    found = [container()]
    assert show(listing.CONTAINERS, found, rows(found), *words) == text


def test_ps_as_json() -> None:
    """JSON has what is known, and of a template what it can name; nothing of it is our own alone."""
    found = [container()]
    for words in (["--json"], ["--format", "json"]):
        (told,) = json.loads(show(listing.CONTAINERS, found, rows(found), *words))
        assert told["id"] == "web" and not [key for key in told if key.startswith("_")]
    told = json.loads(show(listing.CONTAINERS, found, rows(found), "--format", "{{json .}}"))
    assert set(told) == set(listing.HEADINGS) and told["Names"] == "web"


def test_unknown_format() -> None:
    """A word that is none is refused."""
    with pytest.raises(Error, match="--format 'xml': unknown; choose table or json"):
        show(listing.CONTAINERS, [], rows([]), "--format", "xml")


def test_nothing_is_cut() -> None:
    """With --no-trunc commands are whole."""
    found = [container()]
    assert "sleep 1000000000" in show(listing.CONTAINERS, found, rows(found, whole=True))


def test_a_terminal_obeys_no_command() -> None:
    """What a container is called with can't move the cursor."""
    found = [container(command=["\x1b[2J"])]
    text = show(listing.CONTAINERS, found, rows(found))
    assert "\x1b" not in text and "?[2J" in text


IMAGE = {
    "id": "ab" * 32, "name": "docker.io/library/alpine:3.20", "digest": "sha256:1", "created": "2023-11-14T22:00:00Z",
    "size_bytes": 7_000_000, "layers": [], "architecture": "amd64", "os": "linux", "config": {"Labels": {"a": "b"}},
}  # fmt: skip
VOLUME = {
    "name": "data", "mountpoint": "/v/data/_data", "created": "2023-11-14T22:00:00Z", "anonymous": False,
    "labels": {"a": "b"}, "used_by": ["web"],
}  # fmt: skip
NETWORK = {
    "name": "web", "created": "2023-11-14T22:00:00Z", "interface": "pyproc1", "internal": False, "labels": {},
    "mtu": None, "isolated": False,
    "subnets": [{"subnet": "10.89.1.0/24", "gateway": "10.89.1.1"}, {"subnet": "fd00::/64", "gateway": "fd00::1"}],
    "containers": {},
}  # fmt: skip
LISTS: dict[str, tuple[Listing, dict[str, Any], Callable[[Any], Any]]] = {
    "ps": (listing.CONTAINERS, container(), rows([container()])),
    "list": (lists.LISTING, container(), rows([container()])),
    "images": (images.LISTING, IMAGE, lambda found: images.row(found, whole=False)),
    "volume": (volume.LISTING, VOLUME, volume.row),
    "network": (network.LISTING, NETWORK, network.row),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_list_has_what_it_says(name: str) -> None:
    """Each heading has its value, each filter and order works, and the usual columns are among the headings."""
    list_, found, row = LISTS[name]
    assert set(row(found)) == set(list_.headings) >= {*list_.usual, list_.named}
    for key, value in row(found).items():
        assert list_.headings[key] or isinstance(value, dict)
    asked = [f"{key}={list_.words.get(key, ('1',))[0]}" for key in list_.tests]
    for each in list_.asked(asked):
        assert list_.fits(found, [each]) in (True, False)
    for order in list_.orders.values():
        assert sorted([found, found], key=order) == [found, found]
    text = show(list_, [found], row)
    assert text.splitlines()[0].split("  ")[0] == list_.headings[list_.usual[0]]
    assert show(list_, [found], row, "-q").strip() == row(found)[list_.named]


@pytest.mark.parametrize(
    ("name", "filter_", "fits"),
    [
        ("images", "reference=alpine", True),
        ("images", "reference=alp*:3*", True),
        ("images", "reference=docker.io/library/alpine:*", True),
        ("images", "reference=busybox", False),
        ("images", "dangling=false", True),
        ("images", "label=a=b", True),
        ("images", "label=a=c", False),
        ("volume", "name=at", True),
        ("network", "dangling=true", True),
        ("network", "name=db", False),
        ("network", "driver=bridge", True),
        ("volume", "dangling=true", False),
        ("volume", "label=a", True),
        ("volume", "driver=local", True),
    ],
)
def test_filters(name: str, filter_: str, fits: bool) -> None:
    """They mean what they mean to Docker."""
    list_, found, _ = LISTS[name]
    assert list_.fits(found, list_.asked([filter_])) == fits


@pytest.mark.parametrize(
    ("name", "filter_"), [("images", "size=1"), ("images", "dangling=maybe"), ("volume", "name")]
)
def test_unknown_filters(name: str, filter_: str) -> None:
    """A filter that is none is refused by name."""
    with pytest.raises(Error, match=f"--filter '{filter_}'"):
        LISTS[name][0].asked([filter_])


def test_order() -> None:
    """What is asked for is the order."""
    found = [container(id="b", _nsec=(1, 0, 0)), container(id="a", _nsec=(2, 0, 0))]
    parsed = command_line.Parsed({"sort": "id", "quiet": True, "json": False, "format": None})
    orders = listing.CONTAINERS.orders
    assert [each["id"] for each in sorted(found, key=orders["id"])] == ["a", "b"]
    assert [each["id"] for each in sorted(found, key=orders["created"])] == ["b", "a"]
    assert parsed["sort"] in orders


def test_a_table_of_uneven_lines() -> None:
    """A line may have fewer or more cells than the heading."""
    assert listed.table([["a"], ["b", "c", "d"]], ["ONE", "TWO"]) == "ONE  TWO\na\nb    c    d\n"
