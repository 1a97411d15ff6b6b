"""What of docker's and podman's command lines ``pyproc-run`` and ``pyproc`` do not have, and what to do instead.

Imported only when somebody gives such a thing: the error is to say more than that it is unknown.
"""

from __future__ import annotations

_BUILT = "choose when you get the image: pyproc pull --platform OS/ARCH IMAGE"
_HEALTH = "nothing here looks after a container's health: ask it by pyproc exec, from a timer of systemd"
_IDS = "leave it out: an ordinary user's container has a user namespace of the ids in /etc/subuid, root's has none"
_LIMIT = "leave it out: cgroup v2 has no such limit"
_NAMES = "mount files of your own: -v /PATH/passwd:/etc/passwd:ro"
_PULL = "give it to pyproc pull, then run the image"
_FILE = "mount the file: -v /PATH:/run/secrets/NAME:ro"
_SHOWN = "leave it out: what it writes is always shown, and -d puts it into the log"
_SIGNATURES = "leave it out: skopeo's policy.json says whose signatures count (pyproc pull)"
_SYSTEMD = "leave it out: the container's own systemd finds its cgroup and tmpfs when --tmpfs /run is given"

OPTIONS = {
    "-a": _SHOWN,
    "--arch": _BUILT,
    "--attach": _SHOWN,
    "--authfile": _PULL,
    "--blkio-weight-device": "limit it by --device-read-bps and --device-write-bps",
    "--cgroup-conf": "set it by its own option, or by pyproc update",
    "--cgroup-parent": "leave it out: cgroups of containers are below /pyproc, or in systemd's with --systemd-cgroup",
    "--cgroups": "leave it out, or give --cgroup-manager disabled",
    "--chrootdirs": "mount what is wanted there by -v",
    "--conmon-pidfile": "leave it out: pyproc inspect tells pids",
    "--cpu-count": "give --cpus",
    "--cpu-percent": "give --cpus",
    "--cpu-rt-period": _LIMIT,
    "--cpu-rt-runtime": _LIMIT,
    "--decryption-key": _PULL,
    "--detach-keys": "give it to pyproc attach",
    "--disable-content-trust": _SIGNATURES,
    "--env-host": "name the variables: -e NAME copies yours",
    "--env-merge": "give the whole value by -e",
    "--gidmap": _IDS,
    "--gpus": "give the nodes by --device, as /dev/dri, and the libraries by -v",
    "--health-cmd": _HEALTH,
    "--health-interval": _HEALTH,
    "--health-on-failure": _HEALTH,
    "--health-retries": _HEALTH,
    "--health-start-interval": _HEALTH,
    "--health-start-period": _HEALTH,
    "--health-timeout": _HEALTH,
    "--hostuser": _NAMES,
    "--http-proxy": "leave it out, it is never done; -e http_proxy copies yours",
    "--image-volume": "give --tmpfs or -v for the places of the image's volumes",
    "--init-path": "leave it out: --init runs the one that is built in",
    "--io-maxbandwidth": "give --device-read-bps and --device-write-bps",
    "--io-maxiops": "give --device-read-iops and --device-write-iops",
    "--isolation": "leave it out: it is for Windows",
    "--kernel-memory": _LIMIT,
    "--link": "make a network (pyproc network create), and connect both: names are found there",
    "--link-local-ip": "give --ip",
    "--log-driver": "leave it out: there is one, a file that --log-opt max-size= bounds",
    "--no-healthcheck": "leave it out: health checks of images are not run",
    "--no-hosts": "mount one of your own: -v /PATH:/etc/hosts:ro",
    "--os": _BUILT,
    "--passwd": "leave it out: the image's /etc/passwd is never changed",
    "--passwd-entry": _NAMES,
    "--personality": "run the command by setarch(8)",
    "--platform": _BUILT,
    "--pod": "join a container's namespaces: --network container:NAME, --pid container:NAME",
    "--pod-id-file": "join a container's namespaces: --network container:NAME, --pid container:NAME",
    "--preserve-fds": "write a bundle, and give it to pyproc run",
    "--pull": "leave it out: an image has to be here; pyproc pull IMAGE gets it",
    "--quiet": _PULL,
    "-q": _PULL,
    "--rdt-class": "write a bundle with linux.intelRdt, and give it to pyproc run",
    "--replace": "remove the other one first: pyproc rm -f NAME",
    "--requires": "have systemd order units: pyproc generate systemd",
    "--rmi": "pyproc rmi IMAGE afterwards",
    "--runtime": "leave it out: pyproc is the runtime",
    "--sdnotify": "leave it out: a unit of pyproc generate systemd tells when it has begun",
    "--seccomp-policy": "give --security-opt seccomp=FILE",
    "--secret": _FILE,
    "--sig-proxy": "leave it out: signals are passed on; -d is for a container that gets none",
    "--storage-opt": "leave it out: what is written is bounded by the storage's file system alone",
    "--subgidname": _IDS,
    "--subuidname": _IDS,
    "--systemd": _SYSTEMD,
    "--timeout": "run the command by timeout(1)",
    "--tls-verify": _PULL,
    "--tz": "give -e TZ=Europe/Paris, or -v /usr/share/zoneinfo/Europe/Paris:/etc/localtime:ro",
    "--uidmap": _IDS,
    "--unsetenv": "run the command by env -u NAME",
    "--unsetenv-all": "run the command by env -i",
    "--use-api-socket": "mount it: -v /PATH:/PATH",
    "--userns": _IDS,
    "--variant": _BUILT,
    "--volume-driver": "leave it out: volumes are directories; -v /PATH:/DST shows any other place",
}
"""Options of ``run``, by flag."""

_BUILD = "build it by podman build or buildah bud, and get it: podman save IMAGE | pyproc load"
_CLUSTER = "there are no clusters here"
_PODS = "join a container's namespaces: pyproc-run --network container:NAME --pid container:NAME"
_REGISTRY = "skopeo does it, and pull and push use what that writes down: skopeo"

VERBS = {
    "auto-update": "pyproc pull IMAGE, and run it anew",
    "build": _BUILD,
    "builder": _BUILD,
    "buildx": _BUILD,
    "checkpoint": "criu(8) is not used here",
    "compose": "start the containers by pyproc-run, in a network of pyproc network create, or by units of systemd",
    "container": "leave the word out: pyproc inspect, pyproc ps, pyproc prune --containers, ...",
    "config": _CLUSTER,
    "context": "--root and --storage say where containers are",
    "healthcheck": _HEALTH,
    "help": "pyproc --help, or pyproc VERB --help",
    "init": "pyproc start begins a container",
    "kube": _PODS,
    "login": f"{_REGISTRY} login REGISTRY",
    "logout": f"{_REGISTRY} logout REGISTRY",
    "machine": "it runs on Linux alone",
    "manifest": f"{_REGISTRY} inspect --raw docker://IMAGE",
    "mount": "pyproc cp ID:/PATH . takes files out, pyproc export ID all of them",
    "node": _CLUSTER,
    "play": _PODS,
    "plugin": "--network cni:NAME takes CNI's plugins; there are no others",
    "pod": _PODS,
    "restore": "criu(8) is not used here",
    "search": f"{_REGISTRY} list-tags docker://IMAGE",
    "secret": _FILE,
    "service": _CLUSTER,
    "stack": _CLUSTER,
    "swarm": _CLUSTER,
    "trust": _SIGNATURES,
    "unmount": "nothing is mounted outside of containers",
    "unshare": "pyproc enters your user namespace by itself where it has to",
    "untag": "pyproc rmi NAME takes a name away",
    "version": "pyproc --version",
}
"""Commands."""
