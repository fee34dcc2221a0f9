#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""anon.py - quire and the kernel's swap side by side, one line per bar.

    python3 bench/anon.py --build build
    python3 bench/anon.py --build build --only write-8 --runs 5
    python3 bench/anon.py --build build --quick        does it work at all?

Every measurement is one fresh process (bench/anon.c). Both sides swap to the same
disk: quire to a store in --dir, the kernel to a swap file in --dir that is on only
while a peer runs, so that quire's side never has the kernel's swap below it. The
kernel has the better of two page-clusters for each bar, its own swappiness, and
pages of 4 KiB (MADV_NOHUGEPAGE), as quire has. Its swap needs root: without, its
bars cannot be measured. How the sides take turns, what is written and the exit
codes: compare.py.
"""
import contextlib
import dataclasses
import os
import statistics
import sys

import compare
import machine
from compare import (PAGE, Bar, called, cheaper, faster_than_best, loop_ns, peak_memory,
                     rate, touch_ns)
from machine import MIB, mib


@dataclasses.dataclass(frozen=True)
class Side:
    key: str
    label: str
    kind: str                   # quire, kernel, direct: anon.c's --side
    page_cluster: int = None    # None: it needs no swap


@dataclasses.dataclass
class Case(compare.Case):
    step: int = 1               # pages that one call takes


QUIRE = Side("quire", "quire", "quire")
SWAP0 = Side("swap-0", "kernel swap, page-cluster 0", "kernel", 0)
SWAP3 = Side("swap-3", "kernel swap, page-cluster 3", "kernel", 3)
KERNEL = Side("kernel", "kernel, pages of 4 KiB", "kernel")
DISK = Side("disk", "O_DIRECT 1 MiB x 4", "direct")
SWAPS = (SWAP0, SWAP3)
BETTER = "the better page-cluster"


# --- what is computed from a run --------------------------------------------

def p99_us(r):
    return r["p99_ns"] / 1e3


def passes_rate(r):
    return 1e9 / loop_ns(r)


def sweep_rate(first):
    """Of the reads (0) or the writes (1): passes 0 and 2, or 1 and 3."""
    def value(r):
        return r["accesses"] / 2 * 1e9 / (r["pass_ns"][first] + r["pass_ns"][first + 2])
    return value


def bare_ns(r):
    return statistics.median(r["bare_ns"]) / (r["accesses"] / len(r["bare_ns"]))


# --- bars -------------------------------------------------------------------

def beats_swap(name, bar, value=rate, unit="accesses/s"):
    return faster_than_best(name, SWAPS, bar, BETTER, value, unit)


def swap_p99(name, bar):
    @called(name)
    def make(res):
        best = res.least([s.key for s in SWAPS], p99_us)
        q, p = res.median("quire", p99_us), res.median(best, p99_us)
        return Bar(name, "us", q, p, q / p, "<=", bar, f"{BETTER}, {res.label(best)}",
                   ("quire", *(s.key for s in SWAPS if s.key != best), best))
    return make


def sweep_disk(name, bar, reads, writes, passes):
    """Every page has to come in once a pass, and to go out after a pass of writes: what
    that takes the disk, one after the other, against what the passes took."""
    @called(name)
    def make(res):
        t = res.median("quire", lambda r: sum(r["pass_ns"][i] for i in passes))
        ideal = (reads * res.median("disk", lambda r: r["pass_ns"][0]) +
                 writes * res.median("disk", lambda r: r["pass_ns"][1]))
        size = (reads + writes) * res.case.region / MIB
        return Bar(name, "MiB/s", size / t * 1e9, size / ideal * 1e9, ideal / t, ">=", bar,
                   f"{DISK.label}: {reads} x the region read, {writes} x written",
                   ("quire", "disk"))
    return make


def as_fast(name, bar, against, value=touch_ns, unit="ns/page"):
    """Speed, from times: the peer's time over quire's."""
    @called(name)
    def make(res):
        q, p = res.median("quire", value), res.median(KERNEL.key, value)
        return Bar(name, unit, q, p, p / q, ">=", bar, against, ("quire", KERNEL.key))
    return make


def bare_ioctl(res):
    q, p = res.median("quire", touch_ns), res.median("quire", bare_ns)
    return Bar("bare-ioctl", "ns/call", q, p, q / p, "<=", 1.3,
               f"UFFDIO_MOVE of {res.case.step} pages, in turn in one process", ("quire",))


def freeze(quantile):
    """Only shown: how long until nothing of quire moves, within the fork() it is for."""
    @called("freeze-" + quantile)
    def make(res):
        q = res.median("quire", lambda r: r[f"freeze_{quantile}_ns"] / 1e3)
        p = res.median("quire", lambda r: r[f"fork_{quantile}_ns"] / 1e3)
        return Bar("freeze-" + quantile, "us", q, p, q / p, "<=", None,
                   "the whole fork()", ("quire",))
    return make


def cases(size, memory):
    loop = memory * 5 // 4 // MIB * MIB
    fits = memory * 3 // 4 // MIB * MIB
    moved = min(16 * MIB, memory // 4 // (2 * MIB) * 2 * MIB)
    carried = min(64 * MIB, memory // 4 // MIB * MIB)
    sides = (QUIRE, *SWAPS)
    out = []
    for n in (1, 8):
        threads = f"{n} thread{'s' * (n > 1)}"
        out += [
            Case(f"random-{n}", f"random reads after a fill, {threads}", "random", size, memory,
                 sides, [beats_swap("kernel-swap", 1.0)], threads=n),
            Case(f"write-{n}", f"random, half writes, {threads}", "write", size, memory,
                 sides, [beats_swap("kernel-swap", 1.0), swap_p99("p99", 1.0)], threads=n,
                 writes=50),
        ]
    out += [
        Case("zipf-8", "zipf(0.99), half writes, 8 threads", "zipf", size, memory, sides,
             [beats_swap("kernel-swap", 1.15)], threads=8, writes=50, turnover=2),
        Case("sweep", "in order: reads, writes, reads, writes; 1 thread", "sweep", size, memory,
             (*sides, DISK),
             [beats_swap("kernel-swap", 1.3), sweep_disk("disk", 0.7, 4, 2, (0, 1, 2, 3)),
              beats_swap("reads", None, sweep_rate(0)), beats_swap("writes", None, sweep_rate(1)),
              sweep_disk("disk-reads", None, 2, 0, (0, 2)),
              sweep_disk("disk-writes", None, 2, 2, (1, 3))]),
        Case("loop", f"passes of reads over {mib(loop)}, 1.25 x the budget", "loop", loop, memory,
             sides, [beats_swap("kernel-swap", 2, passes_rate, "passes/s")]),
        Case("first", "the first touch of what fits, a write, every page", "first", fits, memory,
             (QUIRE, KERNEL),
             [as_fast("kernel-fault", 1.0, "the kernel's anonymous fault without huge pages "
                      "(0.4 would do without fault-around)")]),
    ]
    for n in (1, 16, 512):
        out.append(Case(f"move-{n}", f"quire_move() of {n} page{'s' * (n > 1)}", "move", moved,
                        memory, (QUIRE,), [bare_ioctl], step=n))
    out += [
        Case("carry", f"{mib(carried)} to another place", "carry", carried, memory,
             (QUIRE, KERNEL),
             [as_fast("memcpy-munmap", 5, "memcpy to fresh memory of the kernel's and munmap",
                      lambda r: statistics.median(r["pass_ns"]) / 1e6, "ms")]),
        Case("freeze", "fork() while 8 threads touch at random, half writes", "freeze", size,
             memory, sides,
             [freeze("p50"), freeze("p99"),
              *(cheaper(f"fork-p50-{s.key}", s, None, lambda r: r["fork_p50_ns"] / 1e3, "us")
                for s in SWAPS)], threads=8, writes=50),
    ]
    for c in out:
        c.bars.append(peak_memory)
    return out


class Anon(compare.Bench):
    name = "anon"
    timeout = 600             # a sweep with page-cluster 0 waits a million times
    settings = ("page_cluster",)

    def __init__(self, args):
        super().__init__(args)
        self.swap_bytes = 2 * args.size
        self.swap = None

    def cases(self):
        return cases(self.args.size, self.args.memory)

    def title(self):
        zswap = machine.read("/sys/module/zswap/parameters/enabled", "N").strip()
        return (f"{mib(self.args.size)} of anonymous memory, the kernel's with MADV_NOHUGEPAGE, "
                f"swappiness {machine.read('/proc/sys/vm/swappiness', '?').strip()}"
                f"{', zswap is on' * (zswap == 'Y')}")

    def prepare(self, stack):
        # A swap store, a swap file, and what the disk is measured with.
        self.room(2 * self.swap_bytes + self.args.size)
        self.swap = machine.Swap(os.path.join(self.dir, "anon.swap"), self.swap_bytes)
        stack.callback(self.swap.close)
        if self.swap.why:
            self.notes.append(f"{self.swap.why}: no bar against the kernel's swap is measured")

    def absent(self, side):
        return "" if side.page_cluster is None else self.swap.why or self.groups.why

    def options_of(self, case, side):
        return ["--swap-size", str(self.swap_bytes), "--step", str(case.step), self.dir]

    @contextlib.contextmanager
    def around(self, side, notes):
        if side.page_cluster is None:
            yield {"page_cluster": None}
            return
        with machine.setting(machine.PAGE_CLUSTER, side.page_cluster) as n, self.swap.on():
            if n != side.page_cluster:
                notes.append(f"page-cluster could not be set to {side.page_cluster}: it is {n}")
            yield {"page_cluster": n}

    def unfair(self, res, bar):
        """A peer with another page-cluster than it should have."""
        return [s.key for s in res.case.sides if s.key in bar.peers() and
                any(r["page_cluster"] != s.page_cluster for r in res.runs[s.key])]

    def passes(self, res, key):
        worker = res.case.worker
        if key == DISK.key:
            return {f"{what}_mib_per_second": round(
                res.case.region / MIB * 1e9 / res.median(key, lambda r, i=i: r["pass_ns"][i]), 1)
                for i, what in enumerate(("read", "write"))}
        if worker == "sweep":
            return {f"{what}_mib_per_second": round(
                res.median(key, sweep_rate(i)) * PAGE / MIB, 1)
                for i, what in enumerate(("read", "write"))}
        if worker in ("move", "carry"):
            return {"us_per_call": round(res.median(key, touch_ns) / 1e3, 3)}
        return super().passes(res, key)


def options(argv):
    _, parse = compare.options(
        "quire and the kernel's swap side by side", "what is swapped",
        {"size": 64 * MIB, "memory": 32 * MIB, "runs": 1, "seconds": 0.3, "patience": 0,
         "warm_seconds": 1},
        {"size": 1024 * MIB, "memory": 256 * MIB, "runs": 3, "seconds": 4, "patience": 30,
         "warm_seconds": 8})
    return parse(argv)


def main(argv):
    return compare.main(Anon(options(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
