#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""files.py - quire and the kernel's mmap side by side, one line per bar.

    python3 bench/files.py --build build
    python3 bench/files.py --build build --only random-8 --runs 5
    python3 bench/files.py --build build --quick       does it work at all?

Every measurement is one fresh process (bench/files.c) with a cold page cache;
the sides alternate, A B C A B C, and the median of the runs counts. The kernel's
side runs in a memory cgroup limited to the budget; quire's side in one that only
measures, so that quire alone keeps its budget. Where the machine does not permit
something, the line says so.

Output: a line per bar on stdout, build/bench/files.jsonl with one JSON object per
bar, build/bench/files-runs.jsonl with every single run. Progress is on stderr.
Exit: 0 every bar is met, 1 one falls short, 2 it could not be measured.
"""
import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time

import machine
from machine import MIB, mib

PAGE = 4096
WORKER_TIMEOUT = 240


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


@dataclasses.dataclass
class Case:
    name: str
    title: str
    worker: str               # files.c's --case
    region: int               # bytes of the file that are touched
    budget: int
    sides: tuple
    bars: list                # functions of Results that return a Bar
    threads: int = 1
    writes: int = 0
    turnover: float = 1.25    # the cache is filled so many times before it counts


@dataclasses.dataclass
class Bar:
    name: str
    unit: str
    quire: float
    peer: float
    ratio: float
    op: str                   # ">=" or "<="
    bar: float                # None: shown, not judged
    against: str
    sides: tuple = ()         # keys whose detail goes into the line

    def peers(self):
        return [k for k in self.sides if k != "quire"]

    def ok(self):
        if self.bar is None:
            return True
        return self.ratio >= self.bar if self.op == ">=" else self.ratio <= self.bar


class Results:
    """The runs of one case: runs[side key] is a list of what files.c printed."""

    def __init__(self, case):
        self.case = case
        self.runs = {s.key: [] for s in case.sides}

    def values(self, key, f):
        return [f(r) for r in self.runs[key]]

    def median(self, key, f):
        return statistics.median(self.values(key, f))

    def best(self, keys, f):
        """The key with the highest median."""
        return max(keys, key=lambda k: self.median(k, f))

    def label(self, key):
        return next(s.label for s in self.case.sides if s.key == key)


# --- what is computed from a run --------------------------------------------

def rate(r):
    return r["per_second"]


def device_bytes(r):
    """Of this process; of the whole disk where the kernel does not account I/O."""
    return r["read_bytes"] or r["disk_read"]


def amplification(r):
    return device_bytes(r) / (r["accesses"] * PAGE)


def loop_ns(r):
    return statistics.mean(r["pass_ns"][2:])


def loop_bytes(r):
    return statistics.mean(r["pass_bytes"][2:])


def touch_ns(r):
    return statistics.median(r["pass_ns"]) / (r["accesses"] / len(r["pass_ns"]))


def reads_per_fault(r):
    s = r["stats"]
    return (s["reads"] - s["reads_ahead"]) / s["faults_major"] if s["faults_major"] else 0


# --- bars -------------------------------------------------------------------

def faster(name, peer, bar, value=rate, unit="accesses/s"):
    def make(res):
        q, p = res.median("quire", value), res.median(peer.key, value)
        return Bar(name, unit, q, p, q / p, ">=", bar, peer.label, ("quire", peer.key))
    return make


def faster_than_best(name, peers, bar):
    def make(res):
        best = res.best([p.key for p in peers], rate)
        q, p = res.median("quire", rate), res.median(best, rate)
        return Bar(name, "accesses/s", q, p, q / p, ">=", bar,
                   "the best hint, " + res.label(best), ("quire", *(p.key for p in peers)))
    return make


def cheaper(name, peer, bar, value=touch_ns, unit="ns/touch"):
    def make(res):
        q, p = res.median("quire", value), res.median(peer.key, value)
        return Bar(name, unit, q, p, q / p, "<=", bar, peer.label, ("quire", peer.key))
    return make


def few_device_bytes(name, bar):
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
    best = min((s.key for s in HINTS), key=lambda k: res.median(k, loop_ns))
    q, p = res.median("quire", loop_ns), res.median(best, loop_ns)
    return Bar("wall", "ns/pass", q, p, q / p, "<=", 0.80,
               "the best hint, " + res.label(best), ("quire", *(s.key for s in HINTS)))


def fault_reads(res):
    q = max(res.values("quire", reads_per_fault))
    return Bar("reads-per-fault", "reads/major fault", q, 1, q, "<=", 1.02,
               "one read for each", ("quire",))


def peak_memory(res):
    """What the program had before quire_open() is its own: 256 threads with their
    stacks, kernel stacks and page tables are 9 MiB. Both numbers are in the line."""
    budget = res.case.budget
    allowed = budget * 1.02 + 8 * MIB
    q, base = max(res.values("quire", lambda r: (r["peak"] - r["base"], r["base"])))
    return Bar("peak-memory", "bytes", q, allowed, q / allowed, "<=", 1.0,
               f"budget {mib(budget)} + 2 % + 8 MiB; and {base / MIB:.1f} MiB before "
               "quire_open()", ("quire",))


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


# --- measuring --------------------------------------------------------------

class Failed(Exception):
    pass


def tell(text, stream=sys.stderr):
    """Progress: one line that overwrites itself on a terminal."""
    if stream.isatty():
        stream.write("\r\033[K" + text[:150])
    elif text:
        stream.write(text + "\n")
    stream.flush()


class Bench:
    def __init__(self, args):
        self.args = args
        self.worker = os.path.join(args.build, "bench", "files")
        self.out = os.path.join(args.build, "bench")
        self.dir = args.dir or self.out
        self.file = os.path.join(self.dir, "files.dat")
        self.groups = machine.Groups()
        self.writes = 0       # what the file's write counts add up to
        self.notes = []       # true of the whole run
        self.short = 0        # bars that fell short
        self.broken = 0       # cases that could not be measured
        self.damage = 0       # wrong pages and lost writes of quire
        self.quire_runs = 0
        self.jsonl = self.runs = None

    # The file

    def files(self, *argv, timeout=600):
        p = subprocess.run([self.worker, *argv], stdout=subprocess.PIPE, timeout=timeout,
                           check=False)
        if p.returncode:
            raise Failed(f"files {argv[0]}: exit {p.returncode}")
        return json.loads(p.stdout) if p.stdout else None

    def prepare(self):
        a = self.args
        if not os.access(self.worker, os.X_OK):
            raise Failed(f"{self.worker} is not there: build first (make bench does)")
        os.makedirs(self.dir, exist_ok=True)
        if machine.is_tmpfs(self.dir):
            raise Failed(f"{self.dir} is in memory (tmpfs): give --dir on a disk")
        self.disk = machine.Disk(self.dir)
        if os.path.exists(self.file):
            tell(f"checking {self.file}")
            c = self.files("check", self.file, str(a.size))
            if not c["wrong"]:
                self.writes = c["writes"]
                return
            os.unlink(self.file)
        st = os.statvfs(self.dir)
        if st.f_bavail * st.f_frsize < a.size + 64 * MIB:
            raise Failed(f"{self.dir} has no room for {mib(a.size)}: give --dir or --size")
        tell(f"making {self.file}, {mib(a.size)}")
        self.files("make", self.file, str(a.size))

    # One run

    def command(self, case, side, seed, group):
        a = self.args
        turnover = case.budget * case.turnover
        argv = [self.worker, "run", "--case", case.worker, "--side", side.kind, "--hint",
                side.hint, "--size", str(case.region), "--memory", str(case.budget),
                "--threads", str(case.threads), "--writes", str(case.writes),
                "--seed", str(seed), "--seconds", str(a.seconds),
                "--warm-bytes", str(int(min(turnover, case.region * 0.9))),
                "--warm-seconds", str(a.warm_seconds), "--disk", self.disk.dev]
        if side.kind == "quire" and a.quire_opts:
            argv += ["--opts", a.quire_opts]
        if group:
            argv += ["--charge", group.usage_file]
        argv.append(self.file)
        return group.command(argv) if group else argv

    def measure(self, case, side, run):
        """One fresh process. Returns what it printed, with our own notes."""
        notes = []
        left = machine.drop_cache(self.file)
        if left > MIB:
            notes.append(f"{mib(left)} of the file stayed in the page cache")
        limit = None if side.kind == "quire" else case.budget
        with self.groups.maybe(limit) as group, self.disk.readahead(side.readahead) as kb:
            if side.readahead not in (None, kb):
                notes.append(f"readahead could not be set to {side.readahead} KiB: it is {kb}")
            with subprocess.Popen(self.command(case, side, run + 1, group),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
                try:
                    out, err = p.communicate(timeout=WORKER_TIMEOUT)
                except subprocess.TimeoutExpired:
                    p.kill()
                    raise Failed(f"{side.label}: no end after {WORKER_TIMEOUT} s") from None
                except BaseException:
                    p.kill()
                    raise
            if p.returncode:
                why = err.decode(errors="replace").strip().splitlines()
                how = (f"killed by signal {-p.returncode}" if p.returncode < 0
                       else f"exit {p.returncode}")
                raise Failed(f"{side.label}: {how}{': ' + why[-1] if why else ''}")
            r = json.loads(out)
            r.update(name=case.name, key=side.key, run=run, readahead_kb=kb, notes=notes)
            peak = os.path.join(group.path, "memory.max_usage_in_bytes" if group.version == 1
                                else "memory.peak") if group else ""
            r["peak_by_kernel"] = int(machine.read(peak, "0") or 0)
        if case.writes:
            after = self.files("check", self.file, str(self.args.size))
            r["lost"] = self.writes + r["writes"] - after["writes"]
            r["wrong"] += after["wrong"]
            self.writes = after["writes"]
        return r

    # One case

    def case(self, case):
        a = self.args
        res = Results(case)
        why = machine.wait_quiet(self.disk, a.patience, tell)
        notes = []
        for run in range(a.runs):
            for side in case.sides:
                tell(f"{case.name}: {side.label}, run {run + 1} of {a.runs}")
                r = self.measure(case, side, run)
                self.runs.write(json.dumps(r) + "\n")
                self.runs.flush()
                res.runs[side.key].append(r)
                self.quire_runs += side is QUIRE
                notes += [n for n in r["notes"] if n not in notes]
                if r["wrong"] or r.get("lost"):
                    notes.append(f"{side.label}: {r['wrong']} wrong pages, "
                                 f"{r.get('lost', 0)} lost writes")
                    if side is QUIRE:
                        self.damage += r["wrong"] + abs(r.get("lost", 0))
        tell("")
        print(f"{case.title}" + (f"   [not quiet: {why}]" if why else ""))
        for make in case.bars:
            self.line(res, make(res), why, notes)
        for n in notes:
            print(f"      note: {n}")
        sys.stdout.flush()

    def line(self, res, bar, why, notes):
        ok = bar.ok()
        # A peer that has more memory, or another readahead, than it should.
        unfair = [k for k in bar.peers() if k != "direct" and
                  (self.groups.parent is None or
                   any(r["readahead_kb"] != s.readahead for s in res.case.sides
                       if s.key == k and s.readahead for r in res.runs[k]))]
        judged = bar.bar is not None and not self.args.quick and not unfair
        self.short += judged and not ok
        quire = self.detail(res, "quire")
        self.jsonl.write(json.dumps({
            "name": f"{res.case.name}/{bar.name}", "quire": bar.quire, "peer": bar.peer,
            "ratio": round(bar.ratio, 4), "bar": bar.bar, "ok": ok, "op": bar.op,
            "unit": bar.unit, "against": bar.against, "quiet": not why, "noise": why,
            "judged": judged, "notes": self.notes + notes, "runs": self.args.runs,
            "threads": res.case.threads, "budget": res.case.budget,
            "region": res.case.region, "title": res.case.title,
            "detail": {k: self.detail(res, k) for k in bar.sides}}) + "\n")
        self.jsonl.flush()
        word = "     " if bar.bar is None or unfair else "ok   " if ok else "SHORT"
        judge = ("shown, no bar" if bar.bar is None else
                 f"bar {bar.op} {bar.bar:g}" + (", not judged: see note" if unfair else ""))
        text = (f"{word} {res.case.name + '/' + bar.name:<26} {bar.ratio:7.3f}  ({judge})"
                f"  {shown(bar.quire, bar.unit)} against {shown(bar.peer, bar.unit)}, "
                f"{bar.against}")
        if bar.unit == "accesses/s" and "p50_us" in quire:
            text += "; p50/p99/p99.9 us " + " against ".join(
                "/".join(brief(d[q]) for q in ("p50_us", "p99_us", "p999_us"))
                for d in (quire, self.detail(res, bar.sides[-1])) if "p50_us" in d)
        text += f"; spread {quire['spread']:.0%}"
        print(text)

    @staticmethod
    def detail(res, key):
        """One side of a case in a few numbers: medians over its runs."""
        rates = res.values(key, rate)
        d = {"label": res.label(key), "per_second": round(statistics.median(rates), 1),
             "spread": round((max(rates) - min(rates)) / statistics.median(rates), 4),
             "device_bytes_per_useful_byte": round(res.median(key, amplification), 4),
             "disk_bytes_per_useful_byte": round(
                 res.median(key, lambda r: r["disk_read"] / (r["accesses"] * PAGE)), 4),
             "cpu_us_per_access": round(res.median(key, lambda r: r["cpu_ns_per_access"]) / 1e3, 4),
             "peak": max(res.values(key, lambda r: r["peak"])),
             "peak_by_kernel": max(res.values(key, lambda r: r["peak_by_kernel"])),
             "base": max(res.values(key, lambda r: r["base"])),
             "wrong": sum(res.values(key, lambda r: r["wrong"])),
             "lost": sum(res.values(key, lambda r: r.get("lost", 0))),
             "readahead_kb": res.runs[key][0]["readahead_kb"],
             "warm_s": round(res.median(key, lambda r: r["warm_s"]), 2),
             "written_per_access": round(
                 res.median(key, lambda r: r["disk_written"] / r["accesses"]), 1)}
        first = res.runs[key][0]
        if "p50_ns" in first:
            for q in ("p50", "p99", "p999", "max"):
                d[q + "_us"] = round(res.median(key, lambda r, q=q: r[q + "_ns"]) / 1e3, 3)
        if "pass_ns" in first and res.case.worker == "loop":
            d["ms_per_pass"] = round(res.median(key, loop_ns) / 1e6, 2)
            d["device_part_of_pass"] = round(res.median(key, loop_bytes) / res.case.region, 4)
        elif "pass_ns" in first:
            d["ns_per_touch"] = round(res.median(key, touch_ns), 1)
            d["ns_per_page_unmapped"] = round(res.median(
                key, lambda r: statistics.median(r["forget_ns"])) / (res.case.region / PAGE), 1)
            d["minor_faults_per_touch"] = round(
                res.median(key, lambda r: r.get("stats", {}).get("faults", r["minflt"]) /
                           r["accesses"]), 4)
        if "stats" in first:
            d["stats"] = {k: statistics.median(r["stats"][k] for r in res.runs[key])
                          for k in first["stats"]}
            d["reads_per_major_fault"] = round(max(res.values(key, reads_per_fault)), 4)
        return d

    # All of it

    def run(self):
        a = self.args
        chosen = [c for c in cases(a.size, a.memory)
                  if not a.only or any(c.name.startswith(o) for o in a.only)]
        if not chosen:
            raise Failed("no such case; there are: " +
                         ", ".join(c.name for c in cases(a.size, a.memory)))
        if self.groups.parent is None:
            self.notes.append(f"{self.groups.why}: the kernel's side is not limited to the "
                              "budget, and peak memory is PSS and memfds every 50 ms")
        with contextlib.ExitStack() as stack:
            if not a.keep:
                stack.callback(lambda: os.path.exists(self.file) and os.unlink(self.file))
            self.prepare()
            self.jsonl = stack.enter_context(
                open(os.path.join(self.out, "files.jsonl"), "w", encoding="utf-8"))
            self.runs = stack.enter_context(
                open(os.path.join(self.out, "files-runs.jsonl"), "w", encoding="utf-8"))
            tell("")
            print(f"{mib(a.size)} file, budget {mib(a.memory)}, medians of {a.runs}, kernel "
                  f"{os.uname().release}, {os.cpu_count()} CPUs, disk {self.disk.name or '?'} "
                  f"with {self.disk.readahead_kb()} KiB readahead, {self.groups_text()}")
            for n in self.notes:
                print(f"note: {n}")
            for c in chosen:
                try:
                    self.case(c)
                except Failed as e:
                    tell("")
                    self.fail(c, str(e))
            if not self.quire_runs:
                return
            self.jsonl.write(json.dumps({
                "name": "right-bytes", "quire": self.damage, "peer": 0, "ratio": self.damage,
                "bar": 0, "ok": not self.damage, "op": "<=",
                "unit": "wrong pages and lost writes"}) + "\n")
            print(f"{'ok   ' if not self.damage else 'SHORT'} right-bytes: "
                  f"{self.damage} wrong pages and lost writes")
        self.short += self.damage > 0

    def fail(self, case, why):
        self.broken += 1
        print(f"FAIL  {case.name}: {why}")
        self.jsonl.write(json.dumps({"name": case.name, "quire": None, "peer": None,
                                     "ratio": None, "bar": None, "ok": False,
                                     "error": why}) + "\n")
        self.jsonl.flush()
        sys.stdout.flush()

    def groups_text(self):
        return f"memory cgroups v{self.groups.version}" if self.groups.parent else "no cgroups"


def brief(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def shown(value, unit):
    if unit == "bytes":
        return f"{value / MIB:.1f} MiB"
    if unit == "bytes/pass":
        return f"{value / MIB:.1f} MiB/pass"
    if unit == "ns/pass":
        return f"{value / 1e6:.1f} ms/pass"
    return f"{brief(value)} {unit}"


def options(argv):
    p = argparse.ArgumentParser(description="quire and the kernel's mmap side by side")
    p.add_argument("--build", default="build", help="where meson built (default: build)")
    p.add_argument("--dir", help="where the data file goes; not tmpfs (default: BUILD/bench)")
    p.add_argument("--size", type=machine.size, help="of the file (default: 2G)")
    p.add_argument("--memory", type=machine.size, help="the budget (default: 256M)")
    p.add_argument("--runs", type=int, help="of each side, the median counts (default: 3)")
    p.add_argument("--seconds", type=float, help="measured per timed run (default: 4)")
    p.add_argument("--warm-seconds", type=float, default=8,
                   help="at most, to fill the cache before a timed run (default: 8)")
    p.add_argument("--patience", type=float,
                   help="seconds to wait for a quiet machine before each case (default: 30)")
    p.add_argument("--only", action="append", metavar="CASE",
                   help="cases whose name starts so; may be given again")
    p.add_argument("--quick", action="store_true",
                   help="small and short: shows that it works; no bar is judged")
    p.add_argument("--keep", action="store_true", help="keep the data file for the next time")
    p.add_argument("--quire-opts", metavar="KEY=VALUE,...", help="options of quire_open()")
    a = p.parse_args(argv)
    quick = {"size": 256 * MIB, "memory": 32 * MIB, "runs": 1, "seconds": 0.5, "patience": 0}
    full = {"size": 2048 * MIB, "memory": 256 * MIB, "runs": 3, "seconds": 4, "patience": 30}
    for k, v in (quick if a.quick else full).items():
        if getattr(a, k) is None:
            setattr(a, k, v)
    if a.size % MIB or a.memory % MIB or a.size < 2 * a.memory or a.runs < 1:
        p.error("--size and --memory in whole MiB, --size at least twice --memory, --runs 1 up")
    return a


def main(argv):
    machine.interrupts()
    bench = Bench(options(argv))
    start = time.monotonic()
    try:
        bench.run()
    except Failed as e:
        tell("")
        print(f"files.py: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        tell("")
        print("files.py: stopped; cleaned up", file=sys.stderr)
        return 130
    print(f"{time.monotonic() - start:.0f} s; {bench.short} fell short, {bench.broken} failed"
          + ("; quick: nothing is judged" if bench.args.quick else "")
          + f"; {os.path.join(bench.out, 'files.jsonl')}")
    return 2 if bench.broken else 1 if bench.short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
