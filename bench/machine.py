# SPDX-License-Identifier: MIT
"""machine.py - what a measurement needs of the machine, and puts back.

Memory cgroups (v1 or v2), the page cache of one file, the disk's readahead, a swap
file, and whether anything else is running. Everything degrades: where something is not
allowed the caller is told, in a sentence, and says so next to its numbers.
Nothing here outlives the process: close() and the context managers undo it.
"""
import atexit
import contextlib
import ctypes
import fcntl
import mmap
import os
import re
import signal
import subprocess
import time

MIB = 1 << 20
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read(path, default=""):
    """A small file as text, or the default when it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:
        return default


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(str(text))


def size(text):
    """Bytes from 4096, 512K, 128M, 2G (base 1024)."""
    m = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.I)
    if not m:
        raise ValueError(f"not a size: {text!r} (write it as 512M or 2G)")
    return int(float(m[1]) * 1024 ** " KMGT".index((m[2] or " ").upper()))


def mib(n):
    return f"{n / MIB:.0f} MiB"


def interrupts():
    """SIGTERM and SIGHUP end the program as Ctrl-C does: with its clean-up. And SIGINT
    does, also where a shell started us in the background and had it ignored."""
    def stop(signum, frame):
        raise KeyboardInterrupt
    for s in ENDING:
        signal.signal(s, stop)


@contextlib.contextmanager
def uninterrupted():
    """What ends the program waits: for what must be done whole, or be undone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def setting(path, value):
    """A number in /proc or /sys, put back at the end; None leaves it. Yields what is
    in force: not value when that is not permitted."""
    before = int(read(path, "0") or 0)
    changed = False
    try:
        if value not in (None, before):
            with contextlib.suppress(OSError), uninterrupted():
                write(path, value)
                changed = True
        yield int(read(path, "0") or 0)
    finally:
        if changed:
            with uninterrupted():
                write(path, before)


# --- memory cgroups ---------------------------------------------------------

class Group:
    """One memory cgroup: run a command in it, ask what it is charged."""

    def __init__(self, path, version):
        self.path, self.version = path, version
        self.usage_file = os.path.join(
            path, "memory.current" if version == 2 else "memory.usage_in_bytes")

    def limit(self, n):
        write(os.path.join(self.path,
                           "memory.max" if self.version == 2 else "memory.limit_in_bytes"), n)

    def command(self, argv):
        """argv, made to enter the group before it is executed."""
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"',
                os.path.join(self.path, "cgroup.procs"), *argv]

    def out_of_memory(self):
        """Has the kernel killed something here because the limit could not hold?"""
        text = read(os.path.join(self.path, "memory.events" if self.version == 2
                                 else "memory.oom_control"))
        return bool(re.search(r"^oom_kill [1-9]", text, re.M))

    def usage(self):
        """What is charged now, in bytes."""
        return int(read(self.usage_file, "0") or 0)

    def peak(self):
        """The most that was charged at once, in bytes."""
        return int(read(os.path.join(self.path, "memory.peak" if self.version == 2
                                     else "memory.max_usage_in_bytes"), "0") or 0)

    def close(self):
        for pid in read(os.path.join(self.path, "cgroup.procs")).split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        for _ in range(100):
            if self.version == 1:
                with contextlib.suppress(OSError):
                    write(os.path.join(self.path, "memory.force_empty"), 0)
            try:
                os.rmdir(self.path)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


class Groups:
    """Where groups can be made on this machine; why is a sentence if nowhere."""

    def __init__(self):
        self.parent, self.version, self.why, self.count = None, 0, "", 0
        for path, version in self._candidates():
            self.parent, self.version = path, version
            try:
                with self.group() as g:
                    g.limit(64 * MIB)
                    subprocess.run(g.command(["true"]), check=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                return
            except (OSError, subprocess.SubprocessError):
                self.parent = None
        self.why = ("no memory cgroup can be made here" +
                    ("" if os.geteuid() == 0 else " by an unprivileged user"))

    @staticmethod
    def _candidates():
        own = {}
        for line in read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            for c in controllers.split(","):
                own[c] = path
        for line in read("/proc/mounts").splitlines():
            _, where, kind, options = line.split()[:4]
            if kind == "cgroup" and "memory" in options.split(","):
                yield where, 1
                yield where + own.get("memory", ""), 1
            elif kind == "cgroup2":
                path = own.get("", "/")
                dirs = [where]
                while path not in ("", "/"):
                    dirs.insert(1, where + path)
                    path = os.path.dirname(path)
                for d in dirs:
                    if "memory" in read(os.path.join(d, "cgroup.subtree_control")).split():
                        yield d, 2

    @contextlib.contextmanager
    def group(self, limit=None):
        """A fresh group, gone at the end with what is in it. limit in bytes."""
        self.count += 1
        g = Group(os.path.join(self.parent, f"quire-bench-{os.getpid()}-{self.count}"),
                  self.version)
        os.mkdir(g.path)
        try:
            if limit is not None:
                g.limit(limit)
            yield g
        finally:
            g.close()

    @contextlib.contextmanager
    def maybe(self, limit=None):
        """As group(), or None where there are no groups."""
        if self.parent is None:
            yield None
        else:
            with self.group(limit) as g:
                yield g


# --- the file and its disk --------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                      ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def cached_bytes(fd):
    """How much of a file the kernel has in its page cache."""
    n = os.fstat(fd).st_size
    p = libc.mmap(None, n, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if p in (None, ctypes.c_void_p(-1).value):
        return 0
    vec = ctypes.create_string_buffer((n + 4095) // 4096)
    libc.mincore(p, n, vec)
    libc.munmap(p, n)
    return (len(vec.raw) - vec.raw.count(b"\0")) * 4096


def drop_cache(path):
    """Throw a file out of the page cache. Returns the bytes that stayed."""
    fd = os.open(path, os.O_RDONLY)
    try:
        left = 0
        for attempt in range(4):
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            left = cached_bytes(fd)
            if not left:
                break
            if attempt == 1:
                # Pages that another process holds, or that are in flight.
                with contextlib.suppress(OSError):
                    write("/proc/sys/vm/drop_caches", 1)
            time.sleep(0.02)
        return left
    finally:
        os.close(fd)


def is_tmpfs(path):
    best, kind = "", ""
    path = os.path.realpath(path)
    for line in read("/proc/mounts").splitlines():
        where, fs = line.split()[1:3]
        if len(where) >= len(best) and (path + "/").startswith(where.rstrip("/") + "/"):
            best, kind = where, fs
    return kind in ("tmpfs", "ramfs", "devtmpfs")


class Disk:
    """The block device under a path; name and dev are "" where there is none."""

    def __init__(self, path):
        dev = os.stat(path).st_dev
        self.dev = f"{os.major(dev)}:{os.minor(dev)}"
        sys = f"/sys/dev/block/{self.dev}"
        self.there = os.path.exists(sys + "/stat")
        self.name = os.path.basename(os.path.realpath(sys)) if self.there else ""
        self.knob = f"/sys/class/bdi/{self.dev}/read_ahead_kb"
        if not os.path.exists(self.knob):  # a partition shares its disk's
            self.knob = os.path.realpath(sys) + "/../queue/read_ahead_kb"

    def readahead_kb(self):
        return int(read(self.knob, "0") or 0)

    def readahead(self, kb):
        """Set the readahead that files opened meanwhile get."""
        return setting(self.knob, kb)

    def counters(self):
        """(bytes read, bytes written, ms busy) since boot."""
        f = [int(x) for x in read(f"/sys/dev/block/{self.dev}/stat", "0 " * 11).split()]
        return f[2] * 512, f[6] * 512, f[9]


# --- the kernel's swap ------------------------------------------------------

PAGE_CLUSTER = "/proc/sys/vm/page-cluster"
SWAP_FLAG_PREFER = 0x8000
SWAP_PRIORITY = 0x7fff        # before what the machine has already


class Swap:
    """A swap file of the kernel's: made at once, in use within on(), gone at the
    end of the program however it ends but by SIGKILL; what that left behind is taken
    over by the next. why is a sentence if there is none."""

    def __init__(self, path, n):
        self.path, self.fd, self.why = os.path.realpath(path), -1, ""
        atexit.register(self.close)
        if os.geteuid():
            self.why = "only root may turn on swap"
            return
        try:
            with uninterrupted():
                self._make(n)
        except (OSError, subprocess.SubprocessError) as e:
            self.why = f"no swap file can be made here: {e}"
            self.close()
        except BaseException:
            self.close()
            raise

    def _make(self, n):
        fd = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        self.fd = fd
        self.off()
        os.unlink(self.path)
        # The name is ours now; what is locked from here on is the file that has it.
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.close(self.fd)
        self.fd = fd
        os.posix_fallocate(fd, 0, n)
        subprocess.run(["mkswap", self.path], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        with self.on():
            pass

    def is_on(self):
        return any(line.split()[0] == self.path for line in read("/proc/swaps").splitlines()[1:])

    def off(self):
        for _ in range(3):
            if not self.is_on() or not libc.swapoff(self.path.encode()):
                return
            time.sleep(0.1)
        raise OSError(ctypes.get_errno(), "swapoff " + self.path)

    @contextlib.contextmanager
    def on(self):
        try:
            with uninterrupted():
                if libc.swapon(self.path.encode(), SWAP_FLAG_PREFER | SWAP_PRIORITY):
                    raise OSError(ctypes.get_errno(), "swapon " + self.path)
            yield
        finally:
            with uninterrupted():
                self.off()

    def close(self):
        """Once more does no harm."""
        with uninterrupted():
            if self.fd >= 0:
                self.off()
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
                os.close(self.fd)
                self.fd = -1


# --- is the machine quiet? --------------------------------------------------

def _cpu():
    f = [int(x) for x in read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return {"idle": f[3] + f[4], "steal": f[7], "all": sum(f)}


def _processes():
    out = {}
    for d in os.listdir("/proc"):
        if d.isdigit() and int(d) != os.getpid():
            text = read(f"/proc/{d}/stat")
            if text:
                name, rest = text[text.find("(") + 1:text.rfind(")")], text[text.rfind(")") + 2:]
                f = rest.split()
                out[int(d)] = (name, int(f[11]) + int(f[12]))
    return out


def _pressure(kind):
    m = re.search(r"some .*total=(\d+)", read(f"/proc/pressure/{kind}"))
    return int(m[1]) if m else 0


def noise(disk, seconds=1.0):
    """Watch the machine. "" when it is quiet, else what is going on."""
    c0, p0, d0 = _cpu(), _processes(), disk.counters()
    s0 = {k: _pressure(k) for k in ("cpu", "io", "memory")}
    t0 = time.monotonic()
    time.sleep(seconds)
    c1, p1, d1 = _cpu(), _processes(), disk.counters()
    s1 = {k: _pressure(k) for k in s0}
    us = (time.monotonic() - t0) * 1e6
    total = max(1, c1["all"] - c0["all"])
    busy = 1 - (c1["idle"] - c0["idle"]) / total
    steal = (c1["steal"] - c0["steal"]) / total
    said = []
    if busy > 0.05:
        top = max(p1, key=lambda p: p1[p][1] - p0.get(p, p1[p])[1], default=None)
        used = p1[top][1] - p0.get(top, p1[top])[1] if top else 0
        who = f", most of it {p1[top][0]}" if used else ""
        said.append(f"CPUs {busy:.0%} busy{who}")
    if steal > 0.02:
        said.append(f"{steal:.0%} stolen by the host")
    if (d1[2] - d0[2]) * 1e3 > 0.1 * us:
        said.append(f"disk {disk.name} {(d1[2] - d0[2]) * 1e3 / us:.0%} busy")
    for k in s0:
        if s1[k] - s0[k] > 0.05 * us:
            said.append(f"{k} pressure {(s1[k] - s0[k]) / us:.0%}")
    return "; ".join(said)


def wait_quiet(disk, patience, tell):
    """Wait until the machine is quiet, at most patience seconds. "" or why not."""
    end = time.monotonic() + patience
    why = noise(disk)
    while why and time.monotonic() < end:
        tell(f"waiting for a quiet machine: {why}")
        why = noise(disk)
    return why
