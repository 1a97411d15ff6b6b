"""Networks of ours: addresses, ways, names, published ports; and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.apart import Apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.anywhere, pytest.mark.needs_inet]

OUTSIDE, OUTSIDE6, HERE, HERE6 = "192.0.2.9", "fd09::9", "192.0.2.1", "fd09::1"
"""Another machine's addresses and this one's."""
SERVE = """
import socketserver, sys, threading
socketserver.TCPServer.allow_reuse_address = True
class Tcp(socketserver.ThreadingTCPServer):
    address_family = 10
class Udp(socketserver.ThreadingUDPServer):
    address_family = 10
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        who = self.client_address[0].removeprefix('::ffff:').encode()
        if isinstance(self.request, tuple):
            self.request[1].sendto(who, self.client_address)
        else:
            self.request.sendall(who)
servers = [kind(('::', int(port)), Answer) for port in sys.argv[1:] for kind in (Tcp, Udp)]
for server in servers:
    threading.Thread(target=server.serve_forever).start()
"""
"""Tells every client its address, by TCP and UDP."""
ASK = """
import socket, sys, time
kind = socket.SOCK_DGRAM if sys.argv[3] == 'udp' else socket.SOCK_STREAM
last = time.monotonic() + float(sys.argv[4])
while True:
    try:
        family, _, _, _, where = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=kind)[0]
        with socket.socket(family, kind) as asking:
            asking.settimeout(max(0.2, min(1, last - time.monotonic())))
            asking.connect(where)
            asking.send(b'?')
            print(asking.recv(100).decode())
            break
    except OSError as error:
        if time.monotonic() > last:
            print('no answer')
            break
        time.sleep(0.05)
"""


class Net(Apart):
    """A box with a network of its own, and another machine beside it."""

    def __init__(self, base: Path, scale: float) -> None:
        super().__init__(base, scale, "net")
        self.other = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.there = ("nsenter", f"--target={self.other.pid}", "--net")
        ours = os.readlink("/proc/self/ns/net")
        self.until(lambda: os.readlink(f"/proc/{self.other.pid}/ns/net") != ours)
        lines = f"""link set lo up
            link add here type veth peer name there netns {self.other.pid}
            address add {HERE}/24 dev here
            address add {HERE6}/64 dev here nodad
            link set here up"""
        self.do("ip", *self.batch(lines))
        lines = f"""link set lo up
            address add {OUTSIDE}/24 dev there
            address add {OUTSIDE6}/64 dev there nodad
            link set there up
            route add default via {HERE}
            route add default via {HERE6}"""
        subprocess.run([*self.there, "ip", *self.batch(lines)], check=True)
        self.served_outside = subprocess.Popen([*self.there, "python3", "-c", SERVE, "7000"])
        self.served_here = subprocess.Popen([*self.enter, "python3", "-c", SERVE, "7001"])

    def batch(self, lines: str) -> tuple[str, str]:
        """Return the arguments that let ip(8) carry out these lines."""
        path = self.base / f"batch-{os.urandom(4).hex()}"
        path.write_text(lines)
        return "-batch", str(path)

    def until(self, held: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + 60 * self.scale
        while not held():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def run(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a container; the view is no concern here."""
        return super().run("--proc-view", "off", *arguments, check=check, **environment)

    def serve(self, name: str, network: str, *options: str, ports: tuple[str, ...] = ("80",)) -> str:
        """Start a container that answers, and return its address."""
        self.start("--name", name, "--network", network, *options, "--", "python3", "-c", SERVE, *ports)
        return self.addresses(name, network)[0]

    def inspect(self, network: str) -> dict[str, Any]:
        """Return what is known of a network."""
        done = subprocess.run(
            self.line("network", "inspect", network), capture_output=True, text=True, check=True, env=self.environment
        )
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def line(self, *words: str) -> list[str]:
        """Return a command line of pyproc."""
        return [*self.enter, str(self.command()[len(self.enter)]).removesuffix("-run"), *self.places, *words]

    def network(self, *words: str, check: bool = True) -> str:
        """Do something about networks; return what is said."""
        done = subprocess.run(
            self.line("network", *words), capture_output=True, text=True, check=False, env=self.environment
        )
        assert (done.returncode == 0) == check, done.stderr
        return done.stdout or done.stderr

    def addresses(self, name: str, network: str) -> list[str]:
        """Return a container's addresses."""
        containers = self.inspect(network)["containers"]
        assert isinstance(containers, dict)
        return list(containers[name]["addresses"])

    def gateway(self, network: str) -> str:
        """Return the host's address in a network."""
        subnets = self.inspect(network)["subnets"]
        assert isinstance(subnets, list)
        return str(subnets[0]["gateway"])

    def ask(self, where: str, port: int, *start: str, kind: str = "tcp", seconds: float = 20) -> str:
        """Return what a server says; ``start`` leads to where it is asked from, () for this machine."""
        last = str(seconds * self.scale if seconds > 1 else seconds)
        line = [*(start or self.enter), "python3", "-c", ASK, where, str(port), kind, last]
        return subprocess.run(line, capture_output=True, text=True, check=True, env=self.environment).stdout.strip()

    def into(self, name: str) -> tuple[str, ...]:
        """Return what leads into a container."""
        return tuple(self.line("exec", name, "--"))

    def kept(self) -> list[str]:
        """Return what there is of networks: interfaces, rules, leases."""
        links = {line.split(":")[1].split("@")[0].strip() for line in self.do("ip", "-o", "link").splitlines()}
        usual = {line.split("@")[0] for line in ("lo", "here")}
        tables = self.do("nft", "list", "tables").splitlines()
        tables = [table for table in tables if "pyproc" in table]
        leases = [path.name for path in (self.base / "run/pyproc-network").glob("*")]
        return [*sorted(each for each in links - usual if "tunl" not in each and "sit" not in each), *tables, *leases]

    def close(self) -> None:
        """Remove all."""
        for process in (self.served_outside, self.served_here, self.other):
            process.kill()
            process.wait()
        super().close()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory, time_scale: float) -> Iterator[Net]:
    """Yield a machine with containers: two of the default network, one of them with ports, and one of another."""
    found = Net(tmp_path_factory.mktemp("net"), time_scale)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def served(net: Net) -> Iterator[Net]:
    """Yield it with containers that answer."""
    net.network("create", "blue")
    net.network("create", "inner", "--internal")
    net.serve("plain", "bridge")
    shown = ("-p", "8080:80", "-p", "127.0.0.1:8081:80", "-p", "8053:80/udp", "-p", f"{HERE}:8082:80")
    net.serve("shown", "bridge", *shown)
    net.serve("web", "blue", "--network-alias", "www")
    net.serve("caged", "inner")
    yield net
    net.pyproc("delete", "--force", *net.ids())
    net.network("rm", "blue", "inner")


@pytest.fixture
def clean(net: Net) -> Iterator[Net]:
    """Yield it, and see that nothing is left of networks."""
    before = net.kept()
    yield net
    assert net.kept() == before


def test_the_default_network(served: Net) -> None:
    """Its containers have addresses of both families, reach one another, and the world by the host's address."""
    plain, plain6 = served.addresses("plain", "bridge")
    shown, shown6 = served.addresses("shown", "bridge")
    plainly = served.into("plain")
    assert served.ask(shown, 80, *plainly) == plain
    assert served.ask(shown6, 80, *plainly) == plain6
    assert served.ask(OUTSIDE, 7000, *plainly) == HERE
    assert served.ask(OUTSIDE6, 7000, *plainly) == HERE6
    assert served.ask(shown, 80) == served.gateway("bridge")


def test_published_ports(served: Net) -> None:
    """A published port answers on this machine's addresses, its loopback among them, from wherever one asks."""
    gateway = served.gateway("bridge")
    assert served.ask("127.0.0.1", 8080) == gateway
    assert served.ask("127.0.0.1", 8081) == gateway
    assert served.ask("127.0.0.1", 8053, kind="udp") == gateway
    assert served.ask(HERE, 8080, *served.there) == OUTSIDE
    assert served.ask(HERE6, 8080, *served.there) == OUTSIDE6
    assert served.ask(HERE, 8053, *served.there, kind="udp") == OUTSIDE
    assert served.ask(HERE, 8082, *served.there) == OUTSIDE
    for name in ("plain", "shown", "web"):  # itself, too, and from another network
        assert served.ask(HERE, 8080, *served.into(name)) == gateway


@pytest.mark.parametrize(
    ("where", "port", "start"),
    [
        (HERE, 8081, "there"),  # published on the loopback alone
        ("shown", 80, "there"),  # not by a published port
        ("plain", 80, "there"),
        ("127.0.0.1", 7001, "plain"),  # the container's own
        ("plain", 80, "web"),  # another network
        ("web", 80, "plain"),
        (OUTSIDE, 7000, "caged"),  # an internal one
        ("plain", 80, "caged"),
        ("caged", 80, "there"),
        ("::1", 8080, ""),  # is refused at once, for who tries localhost goes on with 127.0.0.1
    ],
)
def test_what_is_not_reached(served: Net, where: str, port: int, start: str) -> None:
    """Nothing leads into a container but published ports, out of an internal network, or from one to another."""
    networks = {"plain": "bridge", "shown": "bridge", "web": "blue", "caged": "inner"}
    target = served.addresses(where, networks[where])[0] if where in networks else where
    begin = served.there if start == "there" else served.into(start) if start else ()
    assert served.ask(target, port, *begin, seconds=0.3) == "no answer"


def test_the_hosts_loopback_is_out_of_reach(served: Net) -> None:
    """Published ports on 127.0.0.1 open the host's own loopback to no container, even one that routes there."""
    gateway = served.gateway("bridge")
    lines = f"route add 127.0.0.5/32 via {gateway} dev eth0 table 7\nrule add to 127.0.0.5 table 7 pref 0"
    pid = json.loads(served.pyproc("state", "plain").stdout)["pid"]
    into = ("nsenter", f"--target={pid}", "--net")
    subprocess.run([*into, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet"], check=True)
    subprocess.run([*into, "ip", *served.batch(lines)], check=True)
    assert served.ask("127.0.0.5", 7001, *into, seconds=0.3) == "no answer"
    assert served.ask(HERE, 7001, *into) == served.addresses("plain", "bridge")[0]


def test_rules_that_were_forgotten(served: Net) -> None:
    """After somebody has flushed all rules, they are told again on request; a new container does it, too."""
    for again in (lambda: served.network("reload"), lambda: served.run("--rm", "--network", "blue", "--", "true")):
        served.do("nft", "flush", "ruleset")
        assert served.ask("127.0.0.1", 8080, seconds=0.3) == "no answer"
        again()
        assert served.ask("127.0.0.1", 8080) == served.gateway("bridge")


def test_names(served: Net) -> None:
    """In a network of one's own containers know one another by name and alias, until one goes."""
    client = served.start("--network", "blue", "--add-host", "gw:host-gateway", "-h", "me", "--", "sleep", "600")
    address = served.addresses(client, "blue")[0]
    assert served.ask("web", 80, *served.into(client)) == address
    assert served.ask("www", 80, *served.into(client)) == address
    assert served.ask("gw", 7001, *served.into(client)) == address
    script = f"import socket; print(socket.gethostbyname('{client}'))"
    assert served.pyproc("exec", "web", "--", "python3", "-c", script).stdout.strip() == address
    script = "import socket; print(socket.gethostbyname(socket.gethostname()))"
    assert served.pyproc("exec", client, "--", "python3", "-c", script).stdout.strip() == address
    served.pyproc("delete", "--force", client)
    assert client not in served.pyproc("exec", "web", "--", "cat", "/etc/hosts").stdout


def test_networks_are_listed_and_removed(served: Net) -> None:
    """One that is used is not removed, and the error says by whom; prune removes those that are not."""
    served.network(
        "create", "green", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.7", "--ipv6", "--label", "a=b"
    )
    rows = {line.split()[0]: line.split()[1:] for line in served.network("ls").splitlines()}
    assert set(rows) == {"NAME", "bridge", "blue", "green", "inner"}
    assert rows["green"][0] == "10.77.0.0/24"
    assert rows["bridge"][-1] == "2"
    found = served.inspect("green")
    assert found["labels"] == {"a": "b"}
    assert "network 'blue' is used by web" in served.network("rm", "green", "blue", check=False)
    assert "network 'green' exists" in served.network("create", "green", check=False)
    assert "network 'green' has 10.77.0.0/24" in served.network(
        "create", "x", "--subnet", "10.77.0.0/16", check=False
    )
    assert served.network("prune") == "green\n"
    assert "network 'green' does not exist" in served.network("inspect", "green", check=False)


def test_chosen_addresses(served: Net) -> None:
    """Addresses may be chosen; what somebody has is refused, and nothing is left of the try."""
    address = served.gateway("bridge").removesuffix(".0.1") + ".3.4"
    options = (
        "--ip",
        address,
        "--mac-address",
        "02:00:00:00:00:09",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "x.org",
    )
    script = "cat /sys/class/net/eth0/address /etc/resolv.conf; hostname -I"
    done = served.run("--rm", "--network", "bridge", *options, "--", "sh", "-c", script)
    assert done.stdout.startswith(f"02:00:00:00:00:09\nnameserver 192.0.2.53\nsearch x.org\n{address} ")
    before = served.kept()
    for refused, message in (
        (("--ip", served.addresses("plain", "bridge")[0]), "taken by plain"),
        (("-p", "8080:80"), "-p 8080:80: port 8080/tcp: container 'shown' publishes it"),
        (("-p", "7001:80"), "-p 7001:80: port 7001/tcp: python3 (pid "),
        (("-p", "192.0.2.77:80:80"), "cannot assign requested address"),
    ):
        done = served.run("--rm", "--network", "bridge", *refused, "--", "true", check=False)
        assert done.returncode == 125
        assert message in done.stderr
    assert served.kept() == before
    assert "--network nosuch" not in served.run("--rm", "--network", "bridge", "true").stderr
    done = served.run("--rm", "--network", "nosuch", "--", "true", check=False)
    assert "network 'nosuch' does not exist" in done.stderr


def test_many_at_once(served: Net) -> None:
    """Containers that are started at once get addresses of their own, and give them back."""
    before = served.kept()
    line = served.command("--proc-view", "off", "--rm", "--network", "bridge", "--", "hostname", "-i")
    started = [
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=served.environment)
        for _ in range(8)
    ]
    said = [process.communicate() for process in started]
    assert [error for _, error in said if error] == []
    assert len({address for address, _ in said}) == 8
    assert served.kept() == before


@pytest.mark.parametrize("how", ["fail", "kill"])
@pytest.mark.parametrize("step", [3, 4, 5, 12])
def test_a_start_that_is_cut_off(clean: Net, how: str, step: int) -> None:
    """Whatever step fails nothing is left; of one that is killed, once the next container has started."""
    stop = {"PYPROC_TEST_STOP": f"{how}:{step}"}
    done = clean.run("--rm", "--network", "bridge", "-p", "8090:80", "--", "true", check=False, **stop)
    assert done.returncode == (125 if how == "fail" else -9), done.stderr
    if how == "kill":
        clean.run("--rm", "--network", "bridge", "-p", "8090:80", "--", "true")


def test_killed(clean: Net) -> None:
    """A container whose pyproc-run was killed leaves nothing once it is deleted, or the next has started."""
    for rm in ((), ("--rm",)):
        options = ("--proc-view", "off", "--name", "killed", *rm, "--network", "bridge", "-p", "8090:80")
        with subprocess.Popen(clean.command(*options, "--", "sleep", "600"), env=clean.environment) as started:
            clean.until(lambda: '"running"' in clean.pyproc("state", "killed", check=False).stdout)
            assert "killed" in str(clean.inspect("bridge"))
            started.send_signal(signal.SIGKILL)
        if rm:
            clean.run("--rm", "--network", "bridge", "-p", "8090:80", "--", "true")
        else:
            clean.pyproc("delete", "--force", "killed")


def test_ended_in_the_background(clean: Net) -> None:
    """What a container in the background had is free when it has ended: the next may have its port."""
    first = clean.start("--network", "bridge", "-p", "8090:80", "--", "true")
    clean.until(lambda: '"stopped"' in clean.pyproc("state", first).stdout)
    clean.until(lambda: first not in str(clean.inspect("bridge")))
    clean.run("--rm", "--network", "bridge", "-p", "8090:80", "--", "true")
    clean.pyproc("delete", first)


def test_cni(clean: Net) -> None:
    """CNI plugins connect a container, publish its ports, and undo it."""
    directory = clean.base / "cni"
    directory.mkdir()
    ipam = {"type": "host-local", "subnet": "10.78.0.0/24", "dataDir": str(directory / "data")}
    plugins: list[dict[str, object]] = [
        {"type": "bridge", "bridge": "cni-test", "isDefaultGateway": True, "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    (directory / "test.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "test", "plugins": plugins}))
    place = {"NETCONFPATH": str(directory)}
    clean.environment |= place
    clean.run("-d", "--name", "cni", "--network", "cni:test", "-p", "8095:80", "--", "python3", "-c", SERVE, "80")
    assert clean.ask(HERE, 8095, *clean.there) == OUTSIDE
    assert "10.78.0.2\tcni\n" in clean.pyproc("exec", "cni", "--", "cat", "/etc/hosts").stdout
    assert (directory / "data/test/10.78.0.2").exists()
    clean.pyproc("delete", "--force", "cni")
    assert not (directory / "data/test/10.78.0.2").exists()
    assert "8095" not in clean.do("iptables-save")
    refused = clean.run("--rm", "--network", "cni:test", "--ip", "10.78.0.9", "--", "true", check=False)
    assert "no plugin of it has the capability ips" in refused.stderr
    missing = clean.run("--rm", "--network", "cni:nosuch", "--", "true", check=False)
    assert "no network of that name; it has test" in missing.stderr
    plugins[1]["type"] = "nosuch"
    (directory / "test.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "test", "plugins": plugins}))
    failed = clean.run("--rm", "--network", "cni:test", "--", "true", check=False)
    assert "CNI plugin 'nosuch' is not in" in failed.stderr
    clean.do("ip", "link", "delete", "cni-test")


def test_what_ends_by_itself(net: Net) -> None:
    """A container in the background that ends gives its port and its address back, without anybody's asking."""
    taken = str(12000 + os.getpid() % 1000)
    id_ = net.start("--network", "bridge", "-p", f"{taken}:80", "--", "sleep", "0.2")
    book = net.base / "run/pyproc-network"
    net.until(lambda: not any(id_ in path.read_text() for path in book.glob("*.json")))
    assert taken not in net.do("nft", "list", "ruleset")
    net.pyproc("rm", id_)
