"""Options, images and verbs beside Podman's: what both have does the same; where they part, ours is as Docker's."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from tests.images import docker_archives, member, tar
from tests.live import test_as_podman
from tests.live.test_as_podman import IMAGE, OWN, Podman
from tests.live.test_run_image import BASE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.live.box import Box

    Verb = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

podman = test_as_podman.podman
"""The fixture."""

STATUS = "grep -E '^Cap|^NoNewPrivs|^Seccomp:|^Groups' /proc/self/status; id -u; id -g; id -G"
OF_PODMAN = ("NET_RAW", "MKNOD", "AUDIT_WRITE")
"""Capabilities that Docker gives and Podman doesn't."""
ALIKE = tuple(word for name in OF_PODMAN for word in ("--cap-drop", name))
HOSTS = ("uts", "ipc", "net", "pid", "mnt", "user")
SPACES = "".join(
    f"[ $(busybox readlink /proc/self/ns/{kind}) = '{os.readlink(f'/proc/self/ns/{kind}')}' ] && echo {kind};"
    for kind in HOSTS
)
RUNS = {
    "what the kernel is asked": (
        (
            *("-u", "0", "--ulimit", "core=0", "--ulimit", "nofile=100:200", "--ulimit", "stack=65536"),
            *("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=9000", "--umask", "0027"),
            *("--group-add", "77", "--group-add", "extra", "--shm-size", "1m", "--oom-score-adj", "100"),
            *("--cap-add", "SYS_TIME", "--security-opt", "no-new-privileges", "--security-opt", "mask=/data:/bin/ls"),
            *("--security-opt", "unmask=/proc/acpi", "--device", "/dev/zero:/dev/ours:r", "-h", "me"),
            *("--tmpfs", "/t:size=1m,mode=700,exec", "--device-cgroup-rule", "c 1:7 r", *ALIKE),
        ),
        (
            f"{STATUS}; ulimit -c; ulimit -n; ulimit -Hn; ulimit -s; umask; echo > /tmp/x; stat -c %a /tmp/x;"
            " cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/self/oom_score_adj;"
            " busybox df -k /dev/shm | busybox awk 'NR == 2 {print $2}'; busybox hostname; cat /etc/hostname;"
            " stat -c '%n %F %a %u %g %t %T' /data /dev/ours /dev/null /dev/shm /bin/ls;"
            " busybox head -c 3 /dev/ours | busybox md5sum; echo x > /dev/ours; echo $?; busybox wc -c < /bin/ls;"
            " busybox grep -c . /proc/mounts > /dev/null; busybox awk '$2 == \"/t\" {print $3, $4}' /proc/mounts"
        ),
    ),
    "a user without rights": (
        ("-u", "bob:77", "--group-add", "78", "--group-add", "users", *ALIKE),
        (f"{STATUS}; ulimit -c"),
    ),
    "spaces of its own": (("-u", "0"), SPACES),
    "spaces of the host's": (
        ("-u", "0", "--uts", "host", "--ipc", "host", "--pid", "host"),
        f"{SPACES} busybox hostname; busybox df -k /dev/shm | busybox awk 'NR == 2 {{print $2}}'",
    ),
    "nowhere to write but": (
        ("-u", "0", "--read-only", "--read-only-tmpfs=true"),
        "for d in /tmp /run /var/tmp /dev /dev/shm /data /bin; do echo x > $d/x; echo $d $?; done;"
        " busybox awk '$2 ~ /^.(tmp|run|var)/ {print $2, $3, $4}' /proc/mounts | busybox sort",
    ),
    "an entrypoint of words": (("--entrypoint", '["/bin/sh", "-c", "echo $0 $1"]'), "a b"),
    "init": (
        ("-u", "0", "--init", *ALIKE),
        f"(busybox sleep 0.1 & ); busybox sleep 0.3; grep -hE '^(PPid|State)' /proc/[0-9]*/status; {STATUS};"
        " grep -E '^(Uid|Gid|Cap|Seccomp:)' /proc/1/status; exit 7",
    ),
    "init, and a signal": (("--init",), "kill -9 $$"),
    "init, and no command": (("--init", "--entrypoint", "nosuch"), "x"),
}


def both(box: Box, podman: Podman, options: tuple[str, ...], image: str, *words: str) -> None:
    """Run a container with each, and compare what they say and their exit codes."""
    init = ("--init-path", "/usr/bin/tini-static") if "--init" in options else ()
    theirs = podman.run("--rm", "--pull=never", *init, *options, image, *words)
    ours = box.run("--rm", *options, "--image", image, "--", *words, check=False)
    said = [[line for line in done.stdout.splitlines() if not line.startswith(OWN)] for done in (ours, theirs)]
    assert (ours.returncode, said[0]) == (theirs.returncode, said[1]), (ours.stderr, theirs.stderr)


@pytest.mark.parametrize("name", RUNS)
def test_options(clean: Box, podman: Podman, name: str) -> None:
    """The container finds the same."""
    options, script = RUNS[name]
    both(clean, podman, options, IMAGE, script)


WRONG = (
    "--add-host bad", "--ulimit bad=1", "--sysctl kernel.pid_max=99", "--cap-add FLY", "--device /dev/nosuch",
    "--group-add nosuch", "--network nosuch", "-v a:b", "-v /tmp:/b:zz", "--mount type=x,target=/a", "-m x",
    "--stop-signal BAD", "--nosuch 1", "--security-opt seccomp=/nosuch", "-e =x", "--label =x", "--umask 9",
    "--cidfile /etc/passwd", "-v /tmp:/data/new", "-v /etc/passwd:/data", "--env-file /nosuch",
    "-v /tmp:/b -v /etc:/b", "-u 4294967296",
)  # fmt: skip


def test_refused(clean: Box, podman: Podman) -> None:
    """What neither can do runs nothing; ours says so by one line and 125."""
    for line in WRONG:
        theirs = podman.run("--rm", *line.split(), IMAGE, "echo ran")
        ours = clean.run("--rm", *line.split(), "--image", IMAGE, "--", "echo ran", check=False)
        assert (ours.returncode, ours.stdout, ours.stderr.count("\n")) == (125, "", 1), (line, ours.stderr)
        assert (theirs.returncode in (125, 126), theirs.stdout) == (True, ""), (line, theirs.stderr)
    podman("volume", "rm", "-f", "-a")
    clean.pyproc("volume prune", "-a")


ECHO = ["/bin/busybox", "echo", "e"]
SHOW = "env | busybox sort; busybox pwd; id -u; id -g; id -G; stat -c '%a %u %g' ."
IMAGES: dict[str, dict[str, Any]] = {
    "both": {"Entrypoint": ECHO, "Cmd": ["c d", "f"], "Env": ["PATH=/bin"]},
    "entrypoint": {"Entrypoint": ECHO},
    "cmd": {"Cmd": [*ECHO, "c d"]},
    "bare": {},
    "much": {
        "Entrypoint": ["/bin/sh", "-c"],
        "User": "bob:extra",
        "WorkingDir": "/data/../data",
        "Env": ["PATH=/bin", "A=", "B=x=y", "E=$PATH", "HOME=/odd"],
        "Labels": {"a": "b"},
        "Healthcheck": {"Test": ["CMD", "false"]},
        "StopSignal": "SIGUSR1",
        "Volumes": {"/data/v": {}},
        "ExposedPorts": {"80/tcp": {}},
    },
    "numbers": {"User": "4242:7", "WorkingDir": "/data", "Env": ["PATH=/bin", "HOME=/h"]},
}
OF_IMAGES = (
    ("both", (), ()),
    ("both", (), ("x y",)),
    ("both", ("--entrypoint=",), ("/bin/busybox", "echo", "z")),
    ("both", ("--entrypoint", "/bin/busybox"), ()),
    ("entrypoint", (), ()),
    ("cmd", (), ()),
    ("cmd", (), ("/bin/busybox", "echo", "z")),
    ("bare", (), ()),
    ("much", (), (SHOW,)),
    ("numbers", (), ("/bin/sh", "-c", SHOW)),
)


@pytest.fixture(scope="module")
def images(box: Box, podman: Podman) -> None:
    """Have both know images that say all kinds of things."""
    data = docker_archives([BASE], [((f"localhost/{name}:latest",), says) for name, says in IMAGES.items()])
    (box.base / "images.tar").write_bytes(data)
    box.pyproc("load", "-i", str(box.base / "images.tar"))
    podman("load", "-q", "-i", str(box.base / "images.tar"))


@pytest.mark.usefixtures("images")
def test_what_images_say(clean: Box, podman: Podman) -> None:
    """Whatever an image says and a command line adds, the process is the same."""
    for name, options, words in OF_IMAGES:
        both(clean, podman, options, f"localhost/{name}", *words)


CHANGES = (
    "cd /; echo x > /data/more; echo y >> /data/new; busybox rm -r /many; busybox rm -r /var; echo f > /var;"
    " busybox mkdir -p /a/b/c; echo 1 > /a/b/c/d; busybox chmod 4711 /data/more; busybox ln -s /a /to;"
    " echo v > /vol/f; busybox mv /bin/stat /bin/other; busybox rm /bin/grep; busybox mkdir /bin/grep;"
    " echo x > /bin/grep/in; busybox chmod 600 /etc/passwd; busybox mkfifo /fifo;"
    " busybox chown 5:6 /out; busybox mv /data /moved; busybox mkdir /data; echo n > /data/new"
)
COMMITTED = (
    "CMD ls", "LABEL a=b", "EXPOSE 80", "USER bob", "VOLUME /v", "STOPSIGNAL SIGQUIT", "WORKDIR /x", "ENV B=2",
    'ENTRYPOINT ["/bin/sh"]',
)  # fmt: skip
MOUNTS = {"made", "made/here", "vol", "tt", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "proc",
          "run", "run/.containerenv", "sys"}  # fmt: skip
"""What a runtime makes to mount on, and to work in: Podman's changes of the container have it, ours don't."""


def files(data: bytes) -> dict[str, tuple[Any, ...]]:
    """Return what a tar holds, but for the runtime's own places."""
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        found = {}
        for info in archive:
            content = archive.extractfile(info) if info.isreg() or info.islnk() else None
            kind = b"0" if info.islnk() else info.type
            about = (kind, info.mode & 0o7777, info.uid, info.gid, "" if info.islnk() else info.linkname)
            found[info.name.strip("./")] = (*about, content.read() if content else b"")
    return {name: about for name, about in found.items() if name not in MOUNTS and ".wh..wh." not in name}


def layer(path: Path) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """Return the configuration of an image in an archive, and what its topmost layer holds."""
    with tarfile.open(path) as archive:

        def read(digest: str) -> bytes:
            content = archive.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert content is not None
            return content.read()

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = json.loads(read(json.loads(index.read())["manifests"][0]["digest"]))
        return json.loads(read(manifest["config"]["digest"])), files(read(manifest["layers"][-1]["digest"]))


def test_what_was_changed(clean: Box, podman: Podman) -> None:
    """diff, export and commit tell the same of a container that did everything to its files."""
    options = ("-u", "0", "-v", "w:/vol", "--tmpfs", "/tt", "-l", "of=it")
    changes = tuple(word for line in COMMITTED for word in ("-c", line))
    podman.run("--name", "d", *options, IMAGE, CHANGES)
    clean.run("--name", "d", *options, "--image", IMAGE, "--", CHANGES, check=False)

    def diff(verb: Verb) -> list[str]:
        found = verb("diff", "d").stdout.splitlines()
        return sorted(line for line in found if line.split(" /")[1] not in MOUNTS)

    ours, theirs = diff(clean.pyproc), diff(podman)
    assert ours == theirs and {"C /etc/passwd", "D /many", "A /moved", "A /bin/grep/in", "D /bin/stat"} <= {*ours}
    podman("export", "-o", str(clean.base / "theirs.tar"), "d")
    clean.pyproc("export", "d", "-o", str(clean.base / "ours.tar"))
    whole = [files((clean.base / f"{who}.tar").read_bytes()) for who in ("ours", "theirs")]
    assert whole[0] == whole[1] and {"moved/new", "bin/busybox", "kept/deep/file"} <= whole[0].keys()

    podman("commit", "-q", "-a", "me", *changes, "d", "localhost/changed")
    clean.pyproc("commit", "-a", "me", *changes, "d", "localhost/changed")
    podman("save", "-q", "--format", "oci-archive", "-o", str(clean.base / "theirs.oci"), "localhost/changed")
    clean.pyproc("save", "localhost/changed", "-o", str(clean.base / "ours.oci"))
    (said, ours_layer), (their_said, their_layer) = (layer(clean.base / f"{who}.oci") for who in ("ours", "theirs"))
    assert ours_layer == their_layer
    keys = ("Cmd", "Entrypoint", "WorkingDir", "User", "ExposedPorts", "Volumes", "Labels")
    assert {key: said["config"].get(key) for key in keys} == {key: their_said["config"].get(key) for key in keys}
    assert (said["author"], said["config"]["StopSignal"], said["history"][-1]["created_by"][:7]) == (
        "me", "SIGQUIT", "/bin/sh",
    )  # fmt: skip
    assert (said["rootfs"]["diff_ids"][:-1], len(said["history"])) == (their_said["rootfs"]["diff_ids"][:-1], 4)
    podman("rm", "d")
    clean.pyproc("rm", "-v", "d")
    clean.pyproc("volume prune", "-a")


def test_an_image_of_a_roots_tar(clean: Box, podman: Podman) -> None:
    """import says of an image what the lines of a Dockerfile say, and an image that says all by itself takes none."""
    (clean.base / "root.tar").write_bytes(BASE)
    (clean.base / "one.tar").write_bytes(docker_archives([tar(member("x"))], [(("localhost/one",), {})]))
    lines = ('CMD ["/bin/sh", "-c", "echo $A $PWD"]', "ENV A=1", "WORKDIR /data", "USER bob", "LABEL a=b")
    changes = tuple(word for line in lines for word in ("-c", line))
    podman("import", "-q", *changes, "-m", "note", str(clean.base / "root.tar"), "localhost/made:1")
    clean.pyproc("import", *changes, "-m", "note", str(clean.base / "root.tar"), "localhost/made:1")
    both(clean, podman, (), "localhost/made:1")
    asked = ("image inspect", "localhost/made:1")
    ours = json.loads(clean.pyproc(*asked).stdout)[0]
    theirs = json.loads(podman(*asked[0].split(), asked[1]).stdout)[0]
    for key in ("Cmd", "Env", "WorkingDir", "User", "Labels"):
        assert ours["Config"][key] == theirs["Config"][key], key
    assert ours["History"][-1]["comment"] == "note"
    done = clean.pyproc("import", "-c", "CMD x", str(clean.base / "one.tar"), check=False)
    assert (done.returncode, "for a root's tar" in done.stderr) == (1, True)


OUT = "d H/dst|d H/new|d/. H/dst|d/. H/new|d/ H/dst|ld/. H/dst|g H/ldst|g H/new|../0/g H/dst"
"""Copies from /data/0, and what they are to become."""
IN = (
    "file /vol/new|file .|file new|file g|dir e|dir new|dir/. e|dir/ e|ldir/. e|file le|dir le|file ld/new|dir d"
    "|dir/. d"
)
"""Copies to /data/NUMBER."""
NEITHER = (
    "c:/data/0/g H/new/|c:/data/0/g H/no/new|c:/data/0/g H/dstf/|c:/data/0/d H/no/new|c:/data/0/d H/dstf"
    "|c:/data/0/d/. H/dstf|c:/data/0/no H/dst|H/file c:/data/0/new/|H/file c:/data/0/no/new|H/file c:/data/0/g/"
    "|H/dir c:/data/0/no/new|H/dir c:/data/0/g|H/nope c:/data/0|H/file/ c:/data/0"
)
FILL = (
    f"for n in $(busybox seq 0 {IN.count('|') + 1}); do busybox mkdir /data/$n; cd /data/$n;"
    " busybox mkdir -p d/in e; echo g > g; echo g > d/g; busybox chmod 711 d/in; busybox chmod 750 d/g;"
    " busybox ln -s /data/$n/d ld; busybox ln -s ../g d/lg; busybox ln -s /data/$n/e le; done;"
    " echo up; exec busybox sleep 1000"
)
LIST = (
    "busybox find /data /vol | busybox sort | while read f; do stat -c '%n %F %a %u %g' $f;"
    " [ -L $f ] && busybox readlink $f || { [ -f $f ] && cat $f; }; done; true"
)


def filled(place: Path) -> Path:
    """Make a directory of the host what it is before each copy."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "dir/sub").mkdir(parents=True)
    (place / "dst").mkdir()
    for name in ("dir/x", "dir/sub/y", "file", "dstf"):
        (place / name).write_text(name)
    os.chmod(place / "dir/x", 0o640)
    os.chmod(place / "dir/sub", 0o711)
    os.symlink("dir", place / "ldir")
    os.symlink("dst", place / "ldst")
    return place


def listed(place: Path) -> list[tuple[str, int, str]]:
    """Return what is there."""
    return sorted(
        (str(path.relative_to(place)), path.lstat().st_mode, os.readlink(path) if path.is_symlink() else
         path.read_text() if path.is_file() else "")
        for path in place.rglob("*")
    )  # fmt: skip


def test_copies(clean: Box, podman: Podman, tmp_path: Path) -> None:
    """cp puts files where Podman's does, both ways, and refuses what that refuses; ours exits with 1, as Docker's."""
    options = ("-d", "--name", "c", "-u", "0", "-v", "z:/vol")
    podman.run(*options, IMAGE, FILL)
    clean.run(*options, "--image", IMAGE, "--", FILL)
    verbs: tuple[Verb, Verb] = (clean.pyproc, podman)
    deadline = time.monotonic() + 60 * clean.scale
    while any("up" not in verb("logs", "c").stdout for verb in verbs):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    def copied(line: str, verb: Verb) -> tuple[int, list[tuple[str, int, str]]]:
        place = filled(tmp_path / "host")
        done = verb("cp", *line.replace("H/", f"{place}/").split(), check=False)
        return done.returncode, listed(place)

    def inside() -> list[str]:
        return [verb("exec", "c", "sh", "-c", LIST).stdout for verb in verbs]

    for line in OUT.split("|"):
        ours, theirs = (copied(f"c:/data/0/{line}", verb) for verb in verbs)
        assert ours == theirs and ours[0] == 0, line
    for number, line in enumerate(IN.split("|")):
        source, place = line.split()
        there = place if place.startswith("/") else f"/data/{number}/{place}"
        assert [copied(f"H/{source} c:{there}", verb)[0] for verb in verbs] == [0, 0], line
    before = inside()
    assert before[0] == before[1]
    for line in NEITHER.split("|"):
        ours, theirs = (copied(line, verb) for verb in verbs)
        assert (ours[0], theirs[0], ours[1]) == (1, 125, listed(filled(tmp_path / "host"))), line
    assert inside() == before
    podman("rm", "-f", "-t", "0", "c")
    clean.pyproc("rm", "-f", "-v", "c")
    clean.pyproc("volume prune", "-a")


EXECS = (
    ("c", "nosuch"), ("c", "/data/new"), ("c", "/data"), ("c", "sh", "-c", "exit 3"), ("c", "sh", "-c", "kill -9 $$"),
    ("-e", "A=2", "-e", "PASSED", "c", "env"), ("-w", "/nosuch", "c", "pwd"), ("-w", "/kept", "c", "busybox", "pwd"),
    ("-u", "bob:extra", "c", "sh", "-c", "id -u; id -g; echo $HOME"), ("-u", "4242", "c", "sh", "-c", "id -u; id -g"),
    ("c", "sh", "-c", "ulimit -c; id -G; echo $PWD; grep ^Cap /proc/self/status"), ("-u", "bob", "c", "grep", "^Cap",
    "/proc/self/status"), ("--privileged", "c", "grep", "^Cap", "/proc/self/status"), ("-i", "c", "cat"),
)  # fmt: skip


def test_commands_in_a_container(clean: Box, podman: Podman) -> None:
    """exec runs as who, where and with what it does beside Podman, and ends with the same codes."""
    options = ("-d", "--name", "c", "-u", "0", "--group-add", "77", "-e", "A=1", "-w", "/data", "--ulimit", "core=0")
    podman.run(*options, *ALIKE, IMAGE, "exec busybox sleep 1000")
    clean.run(*options, *ALIKE, "--image", IMAGE, "--", "exec busybox sleep 1000")
    for words in EXECS:
        theirs, ours = podman("exec", *words, check=False), clean.pyproc("exec", *words, check=False)
        said = [
            sorted(line for line in done.stdout.splitlines() if not line.startswith(OWN)) for done in (ours, theirs)
        ]
        assert (ours.returncode, said[0]) == (theirs.returncode, said[1]), (words, ours.stderr, theirs.stderr)
    podman("rm", "-f", "-t", "0", "c")
    clean.pyproc("rm", "-f", "-v", "c")


def test_volumes_of_another(clean: Box, podman: Podman, tmp_path: Path) -> None:
    """--volumes-from shows the other's volumes and directories of the host, all or read-only, where no -v is."""
    (tmp_path / "there").write_text("the host's\n")
    options = ("--name", "b", "-u", "0", "-v", "bv:/vol", "-v", f"{tmp_path}:/host:ro", "-v", "/own")
    podman.run(*options, IMAGE, "echo b > /vol/b; echo k > /kept/k")
    clean.run(*options, "--image", IMAGE, "--", "echo b > /vol/b; echo k > /kept/k")
    script = (
        "cat /vol/b /kept/k /host/there; for d in /vol /kept /host /own /other; do echo x > $d/$0; echo $d $?; done;"
        " ls /vol /kept /own"
    )
    for word, further in (("b", ()), ("b:ro", ("-v", "bw:/other"))):
        both(clean, podman, ("-u", "0", "--volumes-from", word, *further), IMAGE, script, word)
    done = clean.run("--rm", "--volumes-from", "nosuch", "--image", IMAGE, "--", "true", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (125, 1)
    assert os.listdir(tmp_path) == ["there"]
    podman("rm", "b")
    clean.pyproc("rm", "-v", "b")
    clean.pyproc("volume prune", "-a")
