"""What a container may do to the daemon: programs for its own python3, each with a number of seconds as argument.

Each prints what it got at and exits with 0 if it was answered as it should be.
"""

from __future__ import annotations

_BEGIN = """
import ctypes, errno, fcntl, mmap, os, random, resource, select, signal, string, struct, sys, time
until = time.monotonic() + float(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
FILES = ('meminfo', 'stat', 'uptime', 'cpuinfo', 'loadavg')
def left(): return time.monotonic() < until
def refused(call, *arguments, by=()):
    try:
        found = call(*arguments)
    except OSError as error:
        assert not by or error.errno in by, (call, arguments, error)
        return
    raise AssertionError((call, arguments, found))
"""

_PROGRAMS = {
    "opens": """
held = []
while left():
    try:
        held.append(os.open(random.choice(FILES).join(('/proc/', '')), os.O_RDONLY))
        if len(held) % 2: os.read(held[-1], 1)
    except OSError as error:
        assert error.errno == errno.EMFILE, error
        time.sleep(0.05)
print(len(held))
""",
    "one byte": """
count = 0
while left():
    with open('/proc/stat', 'rb', buffering=0) as file:
        while left() and file.read(1): count += 1
print(count)
""",
    "seeks": """
def plain(text): return text.translate(None, b'0123456789 ')
with open('/proc/meminfo', 'rb', buffering=0) as file:
    whole, count = os.pread(file.fileno(), 1 << 16, 0), 0
    assert whole.startswith(b'MemTotal')
    while left():
        for offset in (1 << 62, (1 << 63) - 8192, random.getrandbits(62), len(whole)):
            assert os.pread(file.fileno(), 4096, offset) == b''
        at = random.randrange(len(whole))
        assert plain(os.pread(file.fileno(), 1 << 20, at)) == plain(whole[at:])
        for offset in (-1, -1 << 63):
            refused(os.pread, file.fileno(), 10, offset, by=(errno.EINVAL,))
        assert os.pread(file.fileno(), 0, 0) == b''
        count += 7
print(count)
""",
    "mappings": """
libc, count = ctypes.CDLL(None, use_errno=True), 0
libc.mmap.restype = ctypes.c_size_t
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
while left():
    with open('/proc/meminfo', 'rb') as file:
        assert libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0) == -1 & (1 << 64) - 1
        mapped = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), 0)
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(mapped, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGBUS  # it has no size
    libc.munmap(ctypes.c_void_p(mapped), ctypes.c_size_t(4096))
    count += 1
print(count)
""",
    "changes": """
libc, count = ctypes.CDLL(None, use_errno=True), 0
while left():
    for at in ('/lxcfs/proc', '/lxcfs', '/lxcfs/containers', '/lxcfs/sys/devices/system/cpu'):
        for call, *more in ((os.mkdir,), (os.mknod,), (os.mkfifo,), (os.symlink, '/x'), (os.link, '/proc/meminfo')):
            refused(call, *more, at + '/new')
        refused(os.open, at + '/new', os.O_CREAT | os.O_RDWR)
        refused(os.chmod, at, 0o777)
    for path in ('/lxcfs/proc/meminfo', '/lxcfs/sys/devices/system/cpu/online'):
        for call, *more in ((os.unlink,), (os.rmdir,), (os.truncate, 0), (os.chmod, 0o666), (os.chown, 1, 1),
                            (os.utime,), (os.rename, '/lxcfs/proc/x'), (os.setxattr, 'user.x', b'y'),
                            (os.removexattr, 'user.x'), (os.getxattr, 'security.selinux'), (os.open, os.O_RDWR),
                            (os.open, os.O_WRONLY | os.O_TRUNC), (os.open, os.O_RDONLY | os.O_DIRECTORY)):
            refused(call, path, *more)
        path_only, file = os.open(path, os.O_PATH), os.open(path, os.O_RDONLY)
        refused(os.read, path_only, 10)
        for request in (0x5401, 0x80086601, 0x40086602, random.getrandbits(31)):
            refused(fcntl.ioctl, file, request, bytes(64))
        refused(os.write, file, b'x')
        refused(os.ftruncate, file, 0)
        refused(os.posix_fallocate, file, 0, 10)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused(fcntl.lockf, file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is not open for writing
        refused(os.listxattr, path)
        os.close(path_only), os.close(file)
    count += 1
print(count)
""",
    "names": """
count = 0
def name(): return 'x' + ''.join(random.choices(string.ascii_letters + '._-@ \\x7f%', k=random.randrange(254)))
while left():
    for at in ('/lxcfs/containers', '/lxcfs/proc', '/proc', '/lxcfs/sys', '/proc/pressure'):
        refused(os.stat, f'{at}/{name()}', by=(errno.ENOENT, errno.ENAMETOOLONG))
        count += 1
print(count)
""",
    "directories": """
count = 0
while left():
    for at in ('/lxcfs', '/lxcfs/containers', '/lxcfs/proc', '/sys/devices/system/cpu', '/lxcfs/sys'):
        assert os.listdir(at)
        count += sum(1 for _ in os.walk(at)) if at != '/lxcfs' else 1
print(count)
""",
    "triggers": """
count = 0
while left():
    held = []
    for number in range(200):
        try:
            held.append(os.open('/proc/pressure/cpu', os.O_RDWR | os.O_NONBLOCK))
            os.write(held[-1], random.choice((b'some 150000 2000000', b'full 1 2', b'x' * 5000, b'', b'\\xff\\0')))
        except OSError as error:
            assert error.errno in (errno.EMFILE, errno.EINVAL, errno.EOPNOTSUPP, errno.EBUSY, errno.EACCES,
                                   errno.ENOENT), error
    poll = select.poll()
    for descriptor in held: poll.register(descriptor, select.POLLPRI)
    poll.poll(1)
    for descriptor in held: os.close(descriptor)
    count += 1
print(count)
""",
    "readers": """
for _ in range(64):
    if not os.fork():
        while left():
            for name in FILES: open(f'/proc/{name}').read()
        os._exit(0)
while True:
    try: os.wait()
    except ChildProcessError: break
""",
    "killed": """
count = 0
while left():
    children = []
    for _ in range(16):
        child = os.fork()
        if not child:
            while True:
                for name in FILES: open(f'/proc/{name}', 'rb', buffering=0).read(7)
        children.append(child)
    time.sleep(random.random() * 0.02)
    for child in children: os.kill(child, random.choice((signal.SIGKILL, signal.SIGSEGV)))
    for child in children: os.waitpid(child, 0)
    count += 16
print(count)
""",
    "interrupts": """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
count = 0
while left():
    for name in FILES:
        with open(f'/proc/{name}') as file: assert len(file.read()) > 7
        count += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(count)
""",
    "namespaces": """
libc, count = ctypes.CDLL(None, use_errno=True), 0
while left():
    child = os.fork()
    if not child:
        if libc.unshare(0x20000000): os._exit(7)
        inner = os.fork()
        if not inner:
            for name in FILES: open(f'/lxcfs/proc/{name}').read()
            os._exit(0)
        os.waitpid(inner, 0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    count += 1
print(count)
""",
}

PROGRAMS = {name: _BEGIN + text for name, text in _PROGRAMS.items()}
OPTIONS = ("--cap-add", "SYS_ADMIN", "--pids-limit", "200", "-m", "256m", "--cpus", "1")
"""What the attacker's container is given, beside the whole mount at /lxcfs."""
VICTIM = """
import sys, time
until, times, size, bad = time.monotonic() + float(sys.argv[1]), [], sys.argv[2], 0
last = 0.0
while time.monotonic() < until:
    since = time.perf_counter()
    with open('/proc/meminfo') as file: text = file.read()
    with open('/proc/uptime') as file: uptime = float(file.read().split()[0])
    times.append((time.perf_counter() - since) / 2 * 1e6)
    bad += not text.startswith(f'MemTotal: {size:>14} kB') or uptime < last
    last = uptime
    time.sleep(0.05)
times.sort()
print(len(times), bad, round(times[len(times) // 2]), round(times[int(len(times) * 0.99)]), round(times[-1]))
"""
"""Another container's reader, 20 times a second: prints reads, wrong ones; median, p99 and worst in microseconds."""
