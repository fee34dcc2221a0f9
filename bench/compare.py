# SPDX-License-Identifier: MIT
"""compare.py - what every driver here does: sides in turn, medians, a line per bar.

A driver (files.py, anon.py) derives from Bench, says what its cases are and what
its sides need of the machine, and calls main(). Every measurement is one fresh
process of the worker named like the driver; the sides alternate, A B C A B C, and
the median of the runs counts. A peer runs in a memory cgroup limited to the budget;
quire's side in one that only measures, so that quire alone keeps its budget. Where
the machine does not permit something, the line says so.

Output: a line per bar on stdout, BUILD/bench/NAME.jsonl with one JSON object per
bar, BUILD/bench/NAME-runs.jsonl with every single run. Progress is on stderr.
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


class Failed(Exception):
    pass


class NoPeer(Exception):
    """A bar whose other side cannot run on this machine."""


@dataclasses.dataclass
class Case:
    name: str
    title: str
    worker: str               # the worker's --case
    region: int               # bytes that are touched
    budget: int
    sides: tuple              # of the driver's Side: key, label, kind
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
    sides: tuple = ()         # keys whose detail goes into the line; the peer is the last

    def peers(self):
        return [k for k in self.sides if k != "quire"]

    def ok(self):
        if self.bar is None:
            return True
        return self.ratio >= self.bar if self.op == ">=" else self.ratio <= self.bar


class Results:
    """The runs of one case: runs[side key] is a list of what the worker printed."""

    def __init__(self, case):
        self.case = case
        self.runs = {s.key: [] for s in case.sides}

    def values(self, key, f):
        return [f(r) for r in self.runs[key]]

    def median(self, key, f):
        if not self.runs[key]:
            raise NoPeer(f"{self.label(key)} could not be measured")
        return statistics.median(self.values(key, f))

    def best(self, keys, f):
        """The key with the highest median, of those that could be measured."""
        return max(self.measured(keys), key=lambda k: self.median(k, f))

    def least(self, keys, f):
        """The key with the lowest."""
        return min(self.measured(keys), key=lambda k: self.median(k, f))

    def measured(self, keys):
        """One at least, so that its median says what is missing."""
        return [k for k in keys if self.runs[k]] or list(keys)[:1]

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


# --- bars that more than one driver has -------------------------------------

def called(name):
    """A function that makes a bar, and what that is called if it cannot."""
    def decorate(make):
        make.bar_name = name
        return make
    return decorate


def faster(name, peer, bar, value=rate, unit="accesses/s"):
    @called(name)
    def make(res):
        q, p = res.median("quire", value), res.median(peer.key, value)
        return Bar(name, unit, q, p, q / p, ">=", bar, peer.label, ("quire", peer.key))
    return make


def faster_than_best(name, peers, bar, which="the best hint", value=rate, unit="accesses/s"):
    @called(name)
    def make(res):
        best = res.best([s.key for s in peers], value)
        q, p = res.median("quire", value), res.median(best, value)
        return Bar(name, unit, q, p, q / p, ">=", bar, f"{which}, {res.label(best)}",
                   ("quire", *(s.key for s in peers if s.key != best), best))
    return make


def cheaper(name, peer, bar, value=touch_ns, unit="ns/touch"):
    @called(name)
    def make(res):
        q, p = res.median("quire", value), res.median(peer.key, value)
        return Bar(name, unit, q, p, q / p, "<=", bar, peer.label, ("quire", peer.key))
    return make


def peak_memory(res):
    """What the program had before quire_open() is its own: 256 threads with their
    stacks, kernel stacks and page tables are 9 MiB. Both numbers are in the line."""
    budget = res.case.budget
    allowed = budget * 1.02 + 8 * MIB
    q, base = max(res.values("quire", lambda r: (r["peak"] - r["base"], r["base"])))
    return Bar("peak-memory", "bytes", q, allowed, q / allowed, "<=", 1.0,
               f"budget {mib(budget)} + 2 % + 8 MiB; and {base / MIB:.1f} MiB before "
               "quire_open()", ("quire",))


# --- measuring --------------------------------------------------------------

def tell(text, stream=sys.stderr):
    """Progress: one line that overwrites itself on a terminal."""
    if stream.isatty():
        stream.write("\r\033[K" + text[:150])
    elif text:
        stream.write(text + "\n")
    stream.flush()


class Bench:
    name = None               # of the worker and of what is written
    timeout = 240             # seconds of one run
    settings = ()             # what around() adds to a run and its detail

    def __init__(self, args):
        self.args = args
        self.worker = os.path.join(args.build, "bench", self.name)
        self.out = os.path.join(args.build, "bench")
        self.dir = args.dir or self.out
        self.disk = None
        self.groups = machine.Groups()
        self.notes = []       # true of the whole run
        self.short = 0        # bars that fell short
        self.broken = 0       # cases or bars that could not be measured
        self.damage = 0       # wrong pages and lost writes of quire
        self.quire_runs = 0
        self.jsonl = self.runs = None

    # What a driver says

    def cases(self):
        raise NotImplementedError

    def prepare(self, stack):
        """Whatever all cases need; what must be undone is put on the stack."""

    def options_of(self, case, side):
        """More arguments of the worker's run."""
        raise NotImplementedError

    def absent(self, _side):
        """Why a side cannot be measured here; "" when it can."""
        return ""

    @contextlib.contextmanager
    def around(self, _side, _notes):
        """The machine as a side needs it. Yields self.settings with their values."""
        yield {}

    def after(self, case, r):
        """What is still to be found out once the worker is gone."""

    def unfair(self, _res, _bar):
        """Peers that had more than they should: the bar is shown, not judged."""
        return []

    def title(self):
        raise NotImplementedError

    # One run

    def call(self, *argv, timeout=600):
        p = subprocess.run([self.worker, *argv], stdout=subprocess.PIPE, timeout=timeout,
                           check=False)
        if p.returncode:
            raise Failed(f"{self.name} {argv[0]}: exit {p.returncode}")
        return json.loads(p.stdout) if p.stdout else None

    def command(self, case, side, seed, group):
        a = self.args
        turnover = case.budget * case.turnover
        argv = [self.worker, "run", "--case", case.worker, "--side", side.kind,
                "--size", str(case.region), "--memory", str(case.budget),
                "--threads", str(case.threads), "--writes", str(case.writes),
                "--seed", str(seed), "--seconds", str(a.seconds),
                "--warm-bytes", str(int(min(turnover, case.region * 0.9))),
                "--warm-seconds", str(a.warm_seconds), "--disk", self.disk.dev]
        if side.kind == "quire" and a.quire_opts:
            argv += ["--opts", a.quire_opts]
        if group:
            argv += ["--charge", group.usage_file]
        argv += self.options_of(case, side)
        return group.command(argv) if group else argv

    def measure(self, case, side, run):
        """One fresh process. Returns what it printed, with our own notes."""
        notes = []
        limit = None if side.kind == "quire" else case.budget
        # The group goes first at the end, and with it what is in the worker's memory.
        with self.around(side, notes) as settings, self.groups.maybe(limit) as group:
            with subprocess.Popen(self.command(case, side, run + 1, group),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
                try:
                    out, err = p.communicate(timeout=self.timeout)
                except subprocess.TimeoutExpired:
                    p.kill()
                    raise Failed(f"{side.label}: no end after {self.timeout} s") from None
                except BaseException:
                    p.kill()
                    raise
            if p.returncode:
                why = err.decode(errors="replace").strip().splitlines()
                how = (f"killed by signal {-p.returncode}" if p.returncode < 0
                       else f"exit {p.returncode}")
                if p.returncode == -9 and group and group.out_of_memory():
                    how += ", out of memory in its cgroup"
                raise Failed(f"{side.label}: {how}{': ' + why[-1] if why else ''}")
            r = json.loads(out)
            r.update(name=case.name, key=side.key, run=run, notes=notes, **settings)
            r["peak_by_kernel"] = group.peak() if group else 0
        self.after(case, r)
        return r

    # One case

    def case(self, case):
        a = self.args
        res = Results(case)
        why = machine.wait_quiet(self.disk, a.patience, tell)
        notes = [f"no {s.label}: {self.absent(s)}" for s in case.sides if self.absent(s)]
        lost = set()
        for run in range(a.runs):
            for side in (s for s in case.sides if not self.absent(s)):
                if side.key in lost:
                    continue
                tell(f"{case.name}: {side.label}, run {run + 1} of {a.runs}")
                try:
                    r = self.measure(case, side, run)
                except Failed as e:
                    if side.kind == "quire":
                        raise
                    # There may be another peer; if not, the bar is not measured.
                    notes.append(str(e))
                    lost.add(side.key)
                    res.runs[side.key].clear()
                    continue
                self.runs.write(json.dumps(r) + "\n")
                self.runs.flush()
                res.runs[side.key].append(r)
                self.quire_runs += side.kind == "quire"
                notes += [n for n in r["notes"] if n not in notes]
                if r["wrong"] or r.get("lost"):
                    notes.append(f"{side.label}: {r['wrong']} wrong pages, "
                                 f"{r.get('lost', 0)} lost writes")
                    if side.kind == "quire":
                        self.damage += r["wrong"] + abs(r.get("lost", 0))
        tell("")
        print(f"{case.title}" + (f"   [not quiet: {why}]" if why else ""))
        for make in case.bars:
            try:
                self.line(res, make(res), why, notes)
            except NoPeer as e:
                self.fail(f"{case.name}/{getattr(make, 'bar_name', make.__name__)}", str(e))
        for n in notes:
            print(f"      note: {n}")
        sys.stdout.flush()

    def line(self, res, bar, why, notes):
        ok = bar.ok()
        unfair = self.unfair(res, bar)
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
            "detail": {k: self.detail(res, k) for k in bar.sides if res.runs[k]}}) + "\n")
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

    def detail(self, res, key):
        """One side of a case in a few numbers: medians over its runs."""
        rates = res.values(key, rate)
        first = res.runs[key][0]
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
             **{s: first[s] for s in self.settings},
             "warm_s": round(res.median(key, lambda r: r["warm_s"]), 2),
             "written_per_access": round(
                 res.median(key, lambda r: r["disk_written"] / r["accesses"]), 1)}
        if "p50_ns" in first:
            for q in ("p50", "p99", "p999", "max"):
                d[q + "_us"] = round(res.median(key, lambda r, q=q: r[q + "_ns"]) / 1e3, 3)
        if "pass_ns" in first:
            d.update(self.passes(res, key))
        if "stats" in first:
            d["stats"] = {k: statistics.median(r["stats"][k] for r in res.runs[key])
                          for k in first["stats"]}
            d["reads_per_major_fault"] = round(max(res.values(key, reads_per_fault)), 4)
        return d

    def passes(self, res, key):
        """Of a case that counts passes: what one of them, or a touch, is."""
        if res.case.worker == "loop":
            return {"ms_per_pass": round(res.median(key, loop_ns) / 1e6, 2),
                    "device_part_of_pass": round(
                        res.median(key, loop_bytes) / res.case.region, 4)}
        return {"ns_per_touch": round(res.median(key, touch_ns), 1),
                "ns_per_page_unmapped": round(res.median(
                    key, lambda r: statistics.median(r["forget_ns"])) /
                    (res.case.region / PAGE), 1),
                "minor_faults_per_touch": round(
                    res.median(key, lambda r: r.get("stats", {}).get("faults", r["minflt"]) /
                               r["accesses"]), 4)}

    # All of it

    def on_disk(self):
        """The worker is built, and self.dir is a directory on a disk."""
        if not os.access(self.worker, os.X_OK):
            raise Failed(f"{self.worker} is not there: build first (make bench does)")
        os.makedirs(self.dir, exist_ok=True)
        if machine.is_tmpfs(self.dir):
            raise Failed(f"{self.dir} is in memory (tmpfs): give --dir on a disk")
        self.disk = machine.Disk(self.dir)

    def room(self, n):
        st = os.statvfs(self.dir)
        if st.f_bavail * st.f_frsize < n + 64 * MIB:
            raise Failed(f"{self.dir} has no room for {mib(n)}: give --dir or --size")

    def run(self):
        a = self.args
        chosen = [c for c in self.cases()
                  if not a.only or any(c.name.startswith(o) for o in a.only)]
        if not chosen:
            raise Failed("no such case; there are: " + ", ".join(c.name for c in self.cases()))
        if self.groups.parent is None:
            self.notes.append(f"{self.groups.why}: the kernel's side is not limited to the "
                              "budget, and peak memory is PSS and memfds every 50 ms")
        with contextlib.ExitStack() as stack:
            self.on_disk()
            self.prepare(stack)
            self.jsonl = stack.enter_context(
                open(os.path.join(self.out, self.name + ".jsonl"), "w", encoding="utf-8"))
            self.runs = stack.enter_context(
                open(os.path.join(self.out, self.name + "-runs.jsonl"), "w", encoding="utf-8"))
            tell("")
            print(f"{self.title()}, budget {mib(a.memory)}, medians of {a.runs}, kernel "
                  f"{os.uname().release}, {os.cpu_count()} CPUs, disk {self.disk.name or '?'} "
                  f"with {self.disk.readahead_kb()} KiB readahead, {self.groups_text()}")
            for n in self.notes:
                print(f"note: {n}")
            for c in chosen:
                try:
                    self.case(c)
                except Failed as e:
                    tell("")
                    self.fail(c.name, str(e))
            if not self.quire_runs:
                return
            self.jsonl.write(json.dumps({
                "name": "right-bytes", "quire": self.damage, "peer": 0, "ratio": self.damage,
                "bar": 0, "ok": not self.damage, "op": "<=",
                "unit": "wrong pages and lost writes"}) + "\n")
            print(f"{'ok   ' if not self.damage else 'SHORT'} right-bytes: "
                  f"{self.damage} wrong pages and lost writes")
        self.short += self.damage > 0

    def fail(self, name, why):
        self.broken += 1
        print(f"FAIL  {name}: {why}")
        self.jsonl.write(json.dumps({"name": name, "quire": None, "peer": None,
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


def options(description, what, quick, full):
    """A parser of what all drivers take; quick and full are the defaults that differ."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--build", default="build", help="where meson built (default: build)")
    p.add_argument("--dir", help=f"where {what} goes; not tmpfs (default: BUILD/bench)")
    p.add_argument("--size", type=machine.size,
                   help=f"of what is touched (default: {mib(full['size'])})")
    p.add_argument("--memory", type=machine.size,
                   help=f"the budget (default: {mib(full['memory'])})")
    p.add_argument("--runs", type=int,
                   help=f"of each side, the median counts (default: {full['runs']})")
    p.add_argument("--seconds", type=float,
                   help=f"measured per timed run (default: {full['seconds']})")
    p.add_argument("--warm-seconds", type=float,
                   help="at most, to fill the cache before a timed run "
                   f"(default: {full['warm_seconds']})")
    p.add_argument("--patience", type=float,
                   help="seconds to wait for a quiet machine before each case (default: 30)")
    p.add_argument("--only", action="append", metavar="CASE",
                   help="cases whose name starts so; may be given again")
    p.add_argument("--quick", action="store_true",
                   help="small and short: shows that it works; no bar is judged")
    p.add_argument("--quire-opts", metavar="KEY=VALUE,...", help="options of quire_open()")

    def parse(argv):
        a = p.parse_args(argv)
        for k, v in (quick if a.quick else full).items():
            if getattr(a, k) is None:
                setattr(a, k, v)
        if a.size % MIB or a.memory % MIB or a.size < 2 * a.memory or a.runs < 1:
            p.error("--size and --memory in whole MiB, --size at least twice --memory, "
                    "--runs 1 up")
        return a
    return p, parse


def main(bench):
    """The exit code of a driver."""
    machine.interrupts()
    start = time.monotonic()
    try:
        bench.run()
    except Failed as e:
        tell("")
        print(f"{bench.name}.py: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        tell("")
        print(f"{bench.name}.py: stopped; cleaned up", file=sys.stderr)
        return 130
    print(f"{time.monotonic() - start:.0f} s; {bench.short} fell short, {bench.broken} failed"
          + ("; quick: nothing is judged" if bench.args.quick else "")
          + f"; {os.path.join(bench.out, bench.name + '.jsonl')}")
    return 2 if bench.broken else 1 if bench.short else 0
