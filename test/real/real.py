#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""real.py - other people's programs under `quire run`, and without: the same bytes.

    real.py --quire build/quire --guest build/test/real/guest [NAME...]

LMDB, sqlite3 and fio from Debian, and guest.c for what a program may do that none
of them does. TAP on stdout. Each test has a directory of its own that goes when it
ends.
"""
import argparse
import filecmp
import hashlib
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import traceback

sys.dont_write_bytecode = True
import resp  # noqa: E402 (after the line that keeps the source directory clean)

SECONDS_MAX = 120
MIB = 1 << 20
LEN = 64 * MIB


class Skip(Exception):
    pass


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def check_paged(summary):
    """Anonymous memory went to the swap store, and came back."""
    check(re.search(r'swap in [1-9][^,]*, out [1-9]', summary), 'not paged: ' + summary[-1000:])


class Run:
    """A program's output, status and errors."""

    def __init__(self, cmd, env=None, stdin=None):
        e = dict(os.environ, **(env or {}))
        r = subprocess.run(cmd, env=e, input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS_MAX)
        self.cmd, self.status, self.out, self.err = cmd, r.returncode, r.stdout, r.stderr

    def ok(self, silent=True):
        text = '%s: status %d\nout: %s\nerr: %s' % (
            ' '.join(map(str, self.cmd)), self.status, self.out[-2000:].decode(errors='replace'),
            self.err[-2000:].decode(errors='replace'))
        check(self.status == 0, text)
        check(not silent or not self.err, 'not silent: ' + text)
        return self


class Tests:
    def __init__(self, quire, guest):
        self.quire, self.guest = os.path.abspath(quire), os.path.abspath(guest)

    def under(self, *cmd, memory='16M', options=(), env=None, stdin=None):
        return Run([self.quire, 'run', '--memory', memory, *options, '--', *cmd], env, stdin)

    # ---- what a guest may do ----

    def guest_file(self):
        with open('data', 'wb') as f:
            for base in range(0, LEN, MIB):
                f.write(struct.pack('<%dQ' % (MIB // 8),
                                    *(o * 3 + 1 for o in range(base, base + MIB, 8))))
        return 'data'

    def guest_test(self, name, **kw):
        r = self.under(self.guest, name, self.guest_file(), **kw).ok()
        check(r.out.endswith(b'ok\n'), r.out.decode())
        check(os.listdir('.') == ['data'], 'left behind: %s' % os.listdir('.'))
        return r

    def test_guest_reads(self):
        self.guest_test('read')

    def test_guest_reads_under_each_policy(self):
        for policy in ('P0', 'P1', 'P2', 'P3', 'P4'):
            self.guest_test('read', options=['--policy', policy])

    def test_guest_stays_within_memory(self):
        r = self.guest_test('peak')
        peak = int(r.out.split()[1])
        alone = int(Run([self.guest, 'peak', 'data']).ok().out.split()[1])
        check(alone > 64 * 1024, 'without quire it had all of the file: %d KiB' % alone)
        # Budget, 2 %, 8 MiB, and what the program is without the file (3 MiB).
        check(peak <= 16 * 1024 * 1.02 + 8 * 1024 + 4 * 1024, 'peak %d KiB' % peak)

    def test_guest_blocks_all_signals(self):
        self.guest_test('blocked')

    def test_guest_has_a_sigbus_handler(self):
        self.guest_test('sigbus')

    def test_guest_hands_buffers_to_the_kernel(self):
        self.guest_test('buffers')

    def test_guest_writes_the_mapped_file(self):
        self.guest_test('coherent')

    def test_guest_forks_and_execs(self):
        self.guest_test('fork')

    def test_guest_alone_is_right_too(self):
        data = self.guest_file()
        for name in ('read', 'blocked', 'sigbus', 'buffers', 'coherent', 'fork'):
            check(Run([self.guest, name, data]).ok().out.endswith(b'ok\n'), name)

    # ---- anonymous memory ----

    def anon_test(self, name, memory='16M', kind='--anon', **kw):
        options = [kind, '--swap', '.', '--swap-size', '256M', '--stats']
        r = self.under(self.guest, name, memory=memory, options=options, **kw).ok(silent=False)
        check(r.out.endswith(b'ok\n'), r.out.decode())
        check(os.listdir('.') == [], 'left behind: %s' % os.listdir('.'))
        return r

    def test_anon_as_an_allocator_uses_it(self):
        r = self.anon_test('anon')
        check_paged(r.err.decode())

    def test_anon_under_each_policy(self):
        for policy in ('P0', 'P2', 'P3', 'P4'):
            self.anon_test('anon', env={'QUIRE_OPTS': 'retry=' + policy})

    def test_anon_without_move(self):
        self.anon_test('anon', env={'QUIRE_OPTS': 'move=0'})

    def test_anon_buffers(self):
        self.anon_test('anon-buffers')

    def test_anon_fork(self):
        self.anon_test('anon-fork')

    def test_anon_without_a_swap_store(self):
        r = self.under(self.guest, 'anon', memory='16M', options=['--anon'])
        check(r.status == 1 and b'ENOMEM' not in r.out and b'Cannot allocate' in r.out,
              'the mapping that does not fit fails: %s' % r.out.decode())
        check(b'ok\n' in self.under(self.guest, 'anon', memory='16M').ok().out, 'not asked for')

    def test_anon_options(self):
        for options, what in ((['--swap', '.'], b'--anon'),
                              (['--anon', '--swap', 'no/such'], b'no/such'),
                              (['--anon', '--swap', '.', '--swap-size', 'x'], b'swap-size'),
                              (['--anon', '--swap', '.', '--swap-size', '1'], b'')):
            r = self.under('true', options=options)
            check(r.status == 125 and what in r.err, '%s: %d %s' % (options, r.status, r.err))
        check(os.listdir('.') == [], 'left behind: %s' % os.listdir('.'))

    def need_heap(self):
        r = self.under('true', options=['--heap'])
        if r.status == 125 and b'libjemalloc2' in r.err:
            raise Skip('libjemalloc2 is not installed')

    def test_heap(self):
        self.need_heap()
        for _ in range(3):
            self.anon_test('heap', kind='--heap', memory='12M')
        self.anon_test('heap-fork', kind='--heap')

    def test_stress_ng_vm_verify(self):
        """Twice the budget in each of two processes, every method, every bit looked at."""
        self.need('stress-ng')
        r = self.under('stress-ng', '--temp-path', '.', '--vm', '2', '--vm-bytes', '128M',
                       '--vm-keep', '--verify', '--vm-ops', '600', '--timeout', '60',
                       '--metrics-brief', memory='32M',
                       options=['--anon', '--swap', '.', '--swap-size', '128M', '--stats'],
                       ).ok(silent=False)
        text = (r.out + r.err).decode()
        check('successful run completed' in text or 'passed' in text, text)
        check('fail' not in text.replace('failed: 0', ''), text)
        check_paged(text)

    def test_redis_values(self):
        """Four times the budget of values, all read back and compared."""
        self.need('redis-server')
        self.need_heap()
        count, size, memory = 200000, 1000, '48M'
        port = resp.free_port()
        server = subprocess.Popen(
            [self.quire, 'run', '--memory', memory, '--heap', '--swap', '.', '--swap-size', '512M',
             '--stats', '--', 'redis-server', '--port', str(port), '--bind', '127.0.0.1',
             '--save', '', '--appendonly', 'no', '--daemonize', 'no'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            with resp.Client(port) as client:
                self.redis_compare(client, count, size)
                client.send([('SHUTDOWN', 'NOSAVE')])
            out = server.communicate(timeout=SECONDS_MAX)[0].decode(errors='replace')
        finally:
            server.kill()
            server.wait()
        check(server.returncode == 0, out[-3000:])
        check_paged(out)

    def redis_compare(self, client, count, size):
        value = lambda i: random.Random(i).randbytes(size)
        for base in range(0, count, 1000):
            replies = client.ask([('SET', 'key:%d' % i, value(i))
                                  for i in range(base, base + 1000)])
            check(all(r == b'OK' for r in replies), 'SET: %s' % replies[:3])
        for base in range(0, count, 1000):
            replies = client.ask([('GET', 'key:%d' % i) for i in range(base, base + 1000)])
            for i, reply in enumerate(replies, base):
                check(reply == value(i), 'key:%d is not what was stored' % i)

    # ---- the command ----

    def test_exit_codes(self):
        with open('plain', 'w', encoding='ascii') as f:
            f.write('not a program\n')
        os.chmod('plain', 0o644)
        check(self.under('true').ok().out == b'', 'true says nothing')
        check(self.under(self.guest, 'exit7').status == 7, "the program's own code")
        check(self.under('./nothing').status == 127, 'not found is 127')
        check(self.under('nothing-of-this-name').status == 127, 'not found on PATH is 127')
        check(self.under('./plain').status == 126, 'not executable is 126')
        check(self.under('.').status == 126, 'a directory is 126')
        r = self.under(self.guest, 'term')
        check(r.status in (-signal.SIGTERM, 128 + signal.SIGTERM), 'killed is 128+n')

    def test_quire_itself_fails_with_125(self):
        for options in (['--memory', 'x'], ['--memory', '0'], ['--memory', '-1'],
                        ['--memory', '200%'], ['--memory', '16M', '--policy', 'P9'],
                        ['--memory', '16M', '--nonsense'], ['--memory'],
                        ['--memory', '16M', '--min-size', 'x'], ['--memory', '64K'], []):
            r = Run([self.quire, 'run', *options, '--', 'true'])
            check(r.status == 125, '%s: status %d' % (options, r.status))
            lines = r.err.decode().strip().splitlines()
            check(lines, '%s: says nothing' % options)
            check(all(len(l) < 300 for l in lines), r.err.decode())
        r = Run([self.quire, 'run', '--memory', '16M'])
        check(r.status == 125, 'no program')

    def test_sizes(self):
        for size in ('64M', '1G', '50%', '65536K', '33554432', '1.5G'):
            self.under('true', memory=size).ok()

    def test_stdin_stdout_and_arguments_pass_through(self):
        r = self.under('cat', '-', stdin=b'one two\n').ok()
        check(r.out == b'one two\n', r.out)
        r = self.under('printf', '%s|', '--memory', 'a b', '').ok()
        check(r.out == b'--memory|a b||', r.out)

    def test_stats_at_exit_only_when_asked(self):
        data = self.guest_file()
        r = self.under(self.guest, 'read', data, env={'QUIRE_STATS': '1'}).ok(silent=False)
        check(r.out == b'ok\n', 'stdout is the program\'s: %s' % r.out)
        check(b'fault' in r.err, r.err.decode())

    def test_stat_of_a_running_process(self):
        data = self.guest_file()
        p = subprocess.Popen([self.quire, 'run', '--memory', '16M', '--', self.guest, 'wait', data],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            check(p.stdout.readline() == b'ready\n', 'it started')
            r = Run([self.quire, 'stat', '--json', str(p.pid)]).ok()
            stats = json.loads(r.out)
            flat = json.dumps(stats)
            check('faults' in flat, flat)
            check(stats.get('memory', 16 * MIB) == 16 * MIB, flat)
            Run([self.quire, 'stat', str(p.pid)]).ok()
        finally:
            p.stdin.close()
            p.wait(SECONDS_MAX)
        check(p.returncode == 0, 'it ended well')
        r = Run([self.quire, 'stat', str(p.pid)])
        check(r.status != 0 and r.err, 'no such process')
        r = Run([self.quire, 'stat', str(os.getpid())])
        check(r.status != 0 and r.err, 'a process without a quire')

    def test_doctor(self):
        r = Run([self.quire, 'doctor']).ok(silent=False)
        check(b'userfaultfd' in r.out, r.out.decode())
        json.loads(Run([self.quire, 'doctor', '--json']).ok(silent=False).out)

    def test_version_and_help(self):
        check(b'0.1.0' in Run([self.quire, '--version']).ok().out, 'version')
        check(b'run' in Run([self.quire, '--help']).ok().out, 'help')
        check(b'--memory' in Run([self.quire, 'run', '--help']).ok().out, 'help of run')
        check(Run([self.quire, 'nonsense']).status != 0, 'an unknown command')

    # ---- LMDB ----

    def need(self, *programs):
        for program in programs:
            if not shutil.which(program):
                raise Skip('%s is not installed' % program)

    def lmdb_input(self, size):
        """As mdb_dump writes it: keys in order, values that do not compress."""
        r = random.Random(1)
        # Only what every mdb_load takes; the map must hold it all.
        lines = ['VERSION=3', 'format=bytevalue', 'type=btree', 'mapsize=%d' % (size * 2),
                 'HEADER=END']
        for i in range(size // 4400):
            lines += [' %016x' % (i * 7), ' ' + r.randbytes(4000).hex()]
        lines.append('DATA=END')
        with open('input', 'w', encoding='ascii') as f:
            f.write('\n'.join(lines) + '\n')

    def digest(self, cmd):
        p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL)
        h = hashlib.sha256()
        for chunk in iter(lambda: p.stdout.read(MIB), b''):
            h.update(chunk)
        err = p.stderr.read()
        check(p.wait() == 0 and not err, '%s: %d %s' % (cmd, p.returncode, err[-1000:]))
        return h.hexdigest()

    def test_lmdb_dump_and_copy(self):
        self.need('mdb_load', 'mdb_dump', 'mdb_copy')
        quire = [self.quire, 'run', '--memory', '16M', '--']
        self.lmdb_input(64 * MIB)
        os.mkdir('db')
        Run(['mdb_load', '-f', 'input', 'db']).ok()
        check(os.path.getsize('db/data.mdb') >= 60 * MIB, 'four times the budget')
        check(self.digest(['mdb_dump', 'db']) == self.digest(quire + ['mdb_dump', 'db']),
              'mdb_dump differs')
        check(self.digest(['mdb_dump', '-p', 'db']) ==
              self.digest(quire + ['mdb_dump', '-p', 'db']), 'mdb_dump -p differs')
        for options in ([], ['-c']):
            for d, prefix in (('plain', []), ('managed', quire)):
                os.mkdir(d)
                Run(prefix + ['mdb_copy', *options, 'db', d]).ok()
            check(filecmp.cmp('plain/data.mdb', 'managed/data.mdb', shallow=False),
                  'mdb_copy %s differs' % options)
            shutil.rmtree('plain')
            shutil.rmtree('managed')

    def test_lmdb_load(self):
        self.need('mdb_load', 'mdb_dump')
        self.lmdb_input(24 * MIB)
        for d, prefix in (('plain', []), ('managed', [self.quire, 'run', '--memory', '8M', '--'])):
            os.mkdir(d)
            Run(prefix + ['mdb_load', '-f', 'input', d]).ok()
        check(self.digest(['mdb_dump', 'plain']) == self.digest(['mdb_dump', 'managed']),
              'what was loaded differs')
        check(filecmp.cmp('plain/data.mdb', 'managed/data.mdb', shallow=False), 'files differ')

    # ---- sqlite ----

    def test_sqlite_with_mmap(self):
        self.need('sqlite3')
        make = '''PRAGMA mmap_size=1073741824; PRAGMA journal_mode=DELETE;
            CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, v BLOB);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 60000)
            INSERT INTO t SELECT i, (i*7919)%60000, zeroblob(800+i%300) FROM n;
            CREATE INDEX tk ON t(k);'''
        work = '''PRAGMA mmap_size=1073741824;
            SELECT count(*), sum(length(v)), sum(k) FROM t;
            UPDATE t SET v=zeroblob(length(v)/2) WHERE id%17=0;
            UPDATE t SET k=k+1 WHERE k BETWEEN 1000 AND 9000;
            DELETE FROM t WHERE id%29=3;
            INSERT INTO t SELECT id+1000000, k, v FROM t WHERE id%31=5;
            SELECT k, count(*) FROM t GROUP BY k%97 ORDER BY 1;
            SELECT id, k FROM t WHERE k IN (5, 500, 5000, 50000) ORDER BY id;
            PRAGMA integrity_check;
            SELECT sum(id*k) FROM t;'''
        Run(['sqlite3', 'plain.db'], stdin=make.encode()).ok()
        check(os.path.getsize('plain.db') >= 4 * 12 * MIB, 'four times the budget')
        shutil.copy('plain.db', 'managed.db')
        quire = [self.quire, 'run', '--memory', '12M', '--']
        for _ in range(2):
            plain = Run(['sqlite3', 'plain.db'], stdin=work.replace('1000000', '2000000').encode()
                        if _ else work.encode()).ok()
            managed = Run(quire + ['sqlite3', 'managed.db'],
                          stdin=work.replace('1000000', '2000000').encode()
                          if _ else work.encode()).ok()
            check(plain.out == managed.out, 'output differs')
            check(b'ok' in plain.out, 'integrity_check')
        check(self.digest(['sqlite3', 'plain.db', '.dump']) ==
              self.digest(quire + ['sqlite3', 'managed.db', '.dump']), '.dump differs')
        check(filecmp.cmp('plain.db', 'managed.db', shallow=False), 'files differ')

    def test_sqlite_wal(self):
        self.need('sqlite3')
        script = '''PRAGMA mmap_size=1073741824; PRAGMA journal_mode=WAL;
            CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
            INSERT INTO t SELECT i, zeroblob(1000) FROM n;
            UPDATE t SET v=zeroblob(900) WHERE id%3=0;
            PRAGMA wal_checkpoint(TRUNCATE); SELECT count(*), sum(length(v)) FROM t;'''
        plain = Run(['sqlite3', 'plain.db'], stdin=script.encode()).ok()
        managed = self.under('sqlite3', 'managed.db', memory='8M', stdin=script.encode()).ok()
        check(plain.out == managed.out, 'output differs')
        check(self.digest(['sqlite3', 'plain.db', '.dump']) ==
              self.digest(['sqlite3', 'managed.db', '.dump']), '.dump differs')

    # ---- fio ----

    def test_fio_mmap_verify(self):
        self.need('fio')
        job = ['fio', '--name=v', '--ioengine=mmap', '--filename=data', '--size=48m', '--bs=4k',
               '--thread', '--verify=crc32c', '--verify_fatal=1', '--randseed=7',
               '--output-format=terse', '--minimal']
        self.under(*job, '--rw=randwrite', memory='12M').ok(silent=False)
        # The kernel's own mapping sees the same file.
        Run([*job, '--rw=randread', '--verify_only=0', '--do_verify=1']).ok(silent=False)
        self.under(*job, '--rw=write', '--numjobs=1', memory='12M').ok(silent=False)
        self.under(*job, '--rw=randrw', memory='12M', options=['--policy', 'P2']).ok(silent=False)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--quire', required=True)
    p.add_argument('--guest', required=True)
    p.add_argument('names', nargs='*')
    args = p.parse_args()
    tests = Tests(args.quire, args.guest)
    names = [n for n in dir(Tests) if n.startswith('test_') and
             (not args.names or any(a in n for a in args.names))]
    failed = 0
    print('1..%d' % len(names), flush=True)
    home = os.getcwd()
    for number, name in enumerate(names, 1):
        directory = tempfile.mkdtemp(prefix='quire-real-', dir=os.environ.get('QUIRE_TEST_DIR'))
        os.chdir(directory)
        why = None
        try:
            getattr(tests, name)()
            print('ok %d - %s' % (number, name[5:]))
        except Skip as e:
            print('ok %d - %s # SKIP %s' % (number, name[5:], e))
        except (Failed, subprocess.TimeoutExpired) as e:
            why = str(e)
        except Exception:
            why = traceback.format_exc()
        finally:
            os.chdir(home)
            shutil.rmtree(directory, ignore_errors=True)
        if why is not None:
            failed += 1
            print('not ok %d - %s' % (number, name[5:]))
            for line in why.splitlines():
                print('# ' + line)
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
