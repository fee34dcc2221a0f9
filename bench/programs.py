#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""programs.py - whole programs under `quire run`, and under the kernel's swap.

    python3 bench/programs.py --build build
    python3 bench/programs.py --build build --only redis --runs 1

redis-server with --size of values (quire run --heap): they are stored in order, read at
random by redis-benchmark, and read back in order, each compared. The program is Debian's, as
it is; the kernel's side is the same in a memory cgroup limited to the budget, with the better
of two page-clusters. Only the contents are judged: no bar is set for the speed of somebody
else's program.
How the sides take turns, what is written and the exit codes: compare.py.
"""
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                             "test/real"))
import anon  # noqa: E402
import compare  # noqa: E402
import machine  # noqa: E402
import resp  # noqa: E402
from compare import Failed  # noqa: E402
from machine import MIB, mib  # noqa: E402

PROGRAMS = ("redis-server", "redis-benchmark")
VALUE = 1000              # bytes of a redis value: one of jemalloc's sizes, nearly filled
TOGETHER = 1000           # commands that are sent at once
READERS = 8               # connections of redis-benchmark
RANDOM_READS = 100_000
WAIT_S = 900


# --- redis ---------------------------------------------------------------------

NOISE = os.urandom(1 << 20)


def value(i):
    """The i-th: no two are the same, and nothing in it can be compressed."""
    at = i * 2654435761 % (len(NOISE) - VALUE)
    return b"%016x" % i + NOISE[at:at + VALUE - 16]


def key(i):
    return b"key:%012d" % i   # as redis-benchmark names them


def batches(count):
    for base in range(0, count, TOGETHER):
        yield range(base, min(base + TOGETHER, count))


def fill(client, count):
    for batch in batches(count):
        replies = client.ask([(b"SET", key(i), value(i)) for i in batch])
        if replies != [b"OK"] * len(batch):
            raise Failed(f"redis-server: SET: {next(r for r in replies if r != b'OK')!r}")


def wrong_values(client, count):
    return sum(reply != value(i) for batch in batches(count)
               for i, reply in zip(batch, client.ask([(b"GET", key(i)) for i in batch])))


def random_reads(port, count, n):
    """GETs a second, of redis-benchmark."""
    p = subprocess.run(
        ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-n", str(n), "-c", str(READERS),
         "-r", str(count), "--csv", "GET", "key:__rand_int__"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT_S, check=False)
    lines = [x for x in p.stdout.splitlines() if x.startswith('"GET')]
    if p.returncode or not lines:
        raise Failed(f"redis-benchmark: exit {p.returncode}: {p.stdout[-300:]}")
    return float(lines[-1].split('","')[1].strip('"'))


def timed(f, *args):
    start = time.monotonic()
    return f(*args), time.monotonic() - start


def run_redis(bench, case, launch, directory):
    count, port = case.region // VALUE, resp.free_port()
    server = launch(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                     "--appendonly", "no", "--daemonize", "no", "--dir", directory])
    try:
        with resp.Client(port) as client:
            _, filled = timed(fill, client, count)
            gets = random_reads(port, count, RANDOM_READS if not bench.args.quick else 2000)
            wrong, read = timed(wrong_values, client, count)
            client.send([("SHUTDOWN", "NOSAVE")])
        said = server.communicate(timeout=WAIT_S)[0]
    except (resp.Closed, OSError) as e:
        server.kill()
        raise Failed(f"{e}: {server.communicate()[0][-300:]}") from None
    if server.returncode:
        raise Failed(f"redis-server: exit {server.returncode}: {said[-300:]}")
    return {"per_second": gets, "sets_per_second": count / filled, "wrong": wrong,
            "reads_per_second": count / read}


# --- the driver --------------------------------------------------------------------

def part(name):
    return lambda r: r[name]


class Programs(anon.Anon):
    name = "programs"

    def __init__(self, args):
        super().__init__(args)
        self.worker = os.path.join(args.build, "quire")

    def cases(self):
        size = self.args.size
        return [compare.Case(
            "redis", f"redis-server, {mib(size)} of values of {VALUE} bytes", "", size,
            self.args.memory, (anon.QUIRE, *anon.SWAPS),
            [anon.beats_swap("random-reads", None, unit="GET/s"),
             anon.beats_swap("fill", None, part("sets_per_second"), "SET/s"),
             anon.beats_swap("read-back", None, part("reads_per_second"), "GET/s")])]

    def title(self):
        pages = machine.read("/sys/kernel/mm/transparent_hugepage/enabled", "?").strip()
        return f"programs as they are, transparent huge pages {pages}"

    def argv(self, case, side, argv):
        if side.key != anon.QUIRE.key:
            return argv
        return [self.worker, "run", "--memory", str(case.budget), "--heap", "--swap",
                self.dir, "--swap-size", str(self.swap_bytes), "--", *argv]

    def measure(self, case, side, run):
        missing = [p for p in PROGRAMS if not shutil.which(p)]
        if missing:
            raise Failed(f"{' and '.join(missing)}: not installed (tools/setup does it)")
        notes, started = [], []
        limit = None if side.key == anon.QUIRE.key else case.budget
        with contextlib.ExitStack() as stack:
            settings = stack.enter_context(self.around(side, notes))
            group = stack.enter_context(self.groups.maybe(limit))
            directory = stack.enter_context(tempfile.TemporaryDirectory(dir=self.dir))

            def launch(argv):
                argv = self.argv(case, side, argv)
                p = subprocess.Popen(group.command(argv) if group else argv,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, errors="replace")
                started.append(p)
                return p

            try:
                r = run_redis(self, case, launch, directory)
            except subprocess.TimeoutExpired:
                raise Failed(f"{side.label}: no end after {WAIT_S} s") from None
            finally:
                for p in started:
                    if p.poll() is None:
                        p.terminate()
                        with contextlib.suppress(subprocess.TimeoutExpired):
                            p.wait(10)
                        p.kill()
                        p.wait()
            r["peak_by_kernel"] = group.peak() if group else 0
        r.update(name=case.name, key=side.key, run=run, notes=notes, **settings)
        return r

    def detail(self, res, key):
        first = res.runs[key][0]
        rates = res.values(key, compare.rate)
        return {"label": res.label(key),
                "spread": round((max(rates) - min(rates)) / statistics.median(rates), 4),
                **{k: round(res.median(key, part(k)), 1) for k in first
                   if k.endswith("per_second")},
                "wrong": sum(res.values(key, part("wrong"))),
                "peak_by_kernel": max(res.values(key, part("peak_by_kernel"))),
                **{s: first[s] for s in self.settings}}


def main(argv):
    _, parse = compare.options(
        "whole programs under quire run and the kernel's swap", "what is swapped",
        {"size": 160 * MIB, "memory": 64 * MIB, "runs": 1, "seconds": 0, "patience": 0,
         "warm_seconds": 0},
        {"size": 1024 * MIB, "memory": 256 * MIB, "runs": 1, "seconds": 0, "patience": 30,
         "warm_seconds": 0})
    return compare.main(Programs(parse(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
