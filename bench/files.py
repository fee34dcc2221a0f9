#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""files.py - quire and the kernel's mmap side by side, one line per bar.

    python3 bench/files.py --build build
    python3 bench/files.py --build build --only random-8 --runs 5
    python3 bench/files.py --build build --quick       does it work at all?

Every measurement is one fresh process (bench/files.c) with a cold page cache. How
the sides take turns, what is written and the exit codes: compare.py.
"""
import contextlib
import dataclasses
import os
import sys

import compare
import machine
from compare import (Bar, Case, amplification, called, cheaper, faster, faster_than_best,
                     loop_bytes, loop_ns, peak_memory, reads_per_fault, tell)
from machine import MIB, mib


@dataclasses.dataclass(frozen=True)
class Side:
    key: str
    label: str
    kind: str                 # quire, kernel, direct: files.c's --side
    hint: str = "none"        # files.c's --hint
    readahead: int = None     # the disk's read_ahead_kb; None: as it is


QUIRE = Side("quire", "quire, no hint", "quire")
RANDOM = Side("random", "kernel MADV_RANDOM", "kernel", "random")
RA128 = Side("readahead-128k", "kernel readahead 128 KiB", "kernel", "none", 128)
DEFAULT = Side("default", "kernel as it is", "kernel")
SEQUENTIAL = Side("sequential", "kernel MADV_SEQUENTIAL", "kernel", "sequential")
WILLNEED = Side("willneed", "kernel MADV_WILLNEED 4 MiB ahead", "kernel", "willneed")
DIRECT = Side("direct", "O_DIRECT 1 MiB x 4", "direct")
DIRECT4K = Side("direct", "O_DIRECT 4 KiB", "direct")
HINTS = (DEFAULT, RA128, SEQUENTIAL, WILLNEED)

# --- bars -------------------------------------------------------------------

def few_device_bytes(name, bar):
    @called(name)
    def make(res):
        q = res.median("quire", amplification)
        return Bar(name, "device bytes per useful byte", q, 1, q, "<=", bar,
                   "each byte once", ("quire",))
    return make


def loop_device(res):
    q, region = res.median("quire", loop_bytes), res.case.region
    return Bar("device-bytes", "bytes/pass", q, region, q / region, "<=", 0.40,
               "the whole file every pass", ("quire",))


def loop_wall(res):
    best = res.least([s.key for s in HINTS], loop_ns)
    q, p = res.median("quire", loop_ns), res.median(best, loop_ns)
    return Bar("wall", "ns/pass", q, p, q / p, "<=", 0.80,
               "the best hint, " + res.label(best), ("quire", *(s.key for s in HINTS)))


def fault_reads(res):
    q = max(res.values("quire", reads_per_fault))
    return Bar("reads-per-fault", "reads/major fault", q, 1, q, "<=", 1.02,
               "one read for each", ("quire",))


def cases(size, memory):
    small = max(memory // 8, 16 * MIB)
    loop = memory * 5 // 4 // MIB * MIB
    fits = memory * 3 // 4 // MIB * MIB
    out = []
    for n in (1, 8, 64):
        out.append(Case(
            f"random-{n}", f"random reads, {n} thread{'s' * (n > 1)}", "random", size, memory,
            (QUIRE, RANDOM, RA128, DIRECT4K),
            [faster("madv-random", RANDOM, 0.95), faster("readahead-128k", RA128, 5),
             faster("o-direct", DIRECT4K, None), few_device_bytes("device-bytes", 1.1)],
            threads=n))
    out += [
        Case("zipf-8", "zipf(0.99) reads, 8 threads", "zipf", size, memory, (QUIRE, RANDOM),
             [faster("madv-random", RANDOM, 1.0)], threads=8, turnover=2),
        Case("sequential", "the file once in order, 1 thread", "sequential", size, memory,
             (QUIRE, *HINTS, DIRECT),
             [faster_than_best("best-hint", HINTS, 0.9), faster("o-direct", DIRECT, 0.85)]),
        Case("loop", f"passes over {mib(loop)}, 1.25 x the budget", "loop", loop, memory,
             (QUIRE, *HINTS), [loop_device, loop_wall]),
        Case("write-8", "random, 20 % writes, 8 threads", "write", size, memory,
             (QUIRE, RANDOM), [faster("madv-random", RANDOM, 0.95)], threads=8, writes=20),
        Case("threads-256", f"random reads, 256 threads, {mib(small)}", "random", size, small,
             (QUIRE, RANDOM), [faster("madv-random", RANDOM, 0.9), fault_reads],
             threads=256),
        # How much one fault of the kernel maps depends on how the pages came in:
        # 16 when they are single, a whole large folio (to 2 MiB) after readahead.
        # The bar is against its fault-around; the other two are shown.
        Case("dense", "all cached, none mapped, every page", "dense", fits, memory,
             (QUIRE, RANDOM, RA128, DEFAULT),
             [cheaper("fault-around", RANDOM, 1.0), cheaper("readahead-128k", RA128, None),
              cheaper("as-it-is", DEFAULT, None)]),
        Case("sparse", "all cached, none mapped, one page in 64", "sparse", fits, memory,
             (QUIRE, RANDOM, RA128, DEFAULT),
             [cheaper("minor-fault", RANDOM, 3.0), cheaper("readahead-128k", RA128, None),
              cheaper("as-it-is", DEFAULT, None)]),
    ]
    for c in out:
        c.bars.append(peak_memory)
    return out


class Files(compare.Bench):
    name = "files"
    settings = ("readahead_kb",)

    def __init__(self, args):
        super().__init__(args)
        self.file = os.path.join(self.dir, "files.dat")
        self.writes = 0       # what the file's write counts add up to

    def cases(self):
        return cases(self.args.size, self.args.memory)

    def title(self):
        return f"{mib(self.args.size)} file"

    def prepare(self, stack):
        a = self.args
        if not a.keep:
            stack.callback(lambda: os.path.exists(self.file) and os.unlink(self.file))
        if os.path.exists(self.file):
            tell(f"checking {self.file}")
            c = self.call("check", self.file, str(a.size))
            if not c["wrong"]:
                self.writes = c["writes"]
                return
            os.unlink(self.file)
        self.room(a.size)
        tell(f"making {self.file}, {mib(a.size)}")
        self.call("make", self.file, str(a.size))

    def options_of(self, case, side):
        return ["--hint", side.hint, self.file]

    @contextlib.contextmanager
    def around(self, side, notes):
        left = machine.drop_cache(self.file)
        if left > MIB:
            notes.append(f"{mib(left)} of the file stayed in the page cache")
        with self.disk.readahead(side.readahead) as kb:
            if side.readahead not in (None, kb):
                notes.append(f"readahead could not be set to {side.readahead} KiB: it is {kb}")
            yield {"readahead_kb": kb}

    def after(self, case, r):
        if case.writes:
            after = self.call("check", self.file, str(self.args.size))
            r["lost"] = self.writes + r["writes"] - after["writes"]
            r["wrong"] += after["wrong"]
            self.writes = after["writes"]

    def unfair(self, res, bar):
        """A peer that has more memory, or another readahead, than it should."""
        return [k for k in bar.peers() if k != "direct" and
                (self.groups.parent is None or
                 any(r["readahead_kb"] != s.readahead for s in res.case.sides
                     if s.key == k and s.readahead for r in res.runs[k]))]


def options(argv):
    p, parse = compare.options(
        "quire and the kernel's mmap side by side", "the data file",
        {"size": 256 * MIB, "memory": 32 * MIB, "runs": 1, "seconds": 0.5, "patience": 0,
         "warm_seconds": 8},
        {"size": 2048 * MIB, "memory": 256 * MIB, "runs": 3, "seconds": 4, "patience": 30,
         "warm_seconds": 8})
    p.add_argument("--keep", action="store_true", help="keep the data file for the next time")
    return parse(argv)


def main(argv):
    return compare.main(Files(options(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
