/* SPDX-License-Identifier: MIT */
/*
 * anon.c - one measurement of anonymous memory that has no room, or is moved.
 *
 *     anon run --case ... DIR       measure one case on one side; JSON
 *
 * Run once per measurement, by anon.py, in a memory cgroup of its own. Both sides
 * are the same program: side.h is all that differs. The kernel's side is limited
 * by its cgroup and swaps to what anon.py has turned on; quire's swaps to DIR.
 *
 * random, write, zipf, freeze: timed work (work.h) after a fill of every page.
 * sweep, loop: passes after a fill. first: the first touch of fresh memory that
 * fits. move: quire_move() and the bare UFFDIO_MOVE in turn, in one process. carry:
 * a whole range to another place. disk: what sequential I/O the disk gives.
 * At the end of each every word of every page is compared, and no count of a
 * write may be missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datafile.h"
#include "rt/native/uffd.h"
#include "work.h"

#define VERIFIERS   8
#define FIRST_REPS  21
#define MOVE_REPS   31
#define FORKS_MAX   4096
#define FORK_GAP_NS 5000000
#define BLOCK       (1u << 20)

static uint64_t counted; /* writes that the pages themselves count */

/* --- filled memory, and what is in it at the end --- */

static void fill(char *map)
{
	for (uint64_t page = 0; page < work.size / PAGE; page++) {
		uint64_t *p = (uint64_t *)(map + page * PAGE);

		for (unsigned int w = 0; w < PAGE_WORDS; w++)
			p[w] = content_word(page, w);
	}
}

static void map_anon(void)
{
	side_map(&work.side, -1, work.size, true, 0);
}

static void map_filled(void)
{
	side_open(&work.side);
	map_anon();
	fill(work.side.map);
}

static void *verifier(void *arg)
{
	uint64_t id = (uintptr_t)arg, pages = work.size / PAGE;
	uint64_t end = pages * (id + 1) / VERIFIERS, wrong = 0, counts = 0;

	for (uint64_t page = pages * id / VERIFIERS; page < end; page++) {
		const uint64_t *p = (const uint64_t *)(work.side.map + page * PAGE);
		uint64_t first = p[0], bad = (first >> COUNT_BITS) ^ page;

		for (unsigned int w = 1; w < PAGE_WORDS; w++)
			bad |= p[w] ^ content_word(page, w);
		if (bad)
			__atomic_store_n(&result.first_wrong, page, __ATOMIC_RELAXED);
		wrong += bad != 0;
		counts += first & ((1u << COUNT_BITS) - 1);
	}
	__atomic_fetch_add(&result.wrong, wrong, __ATOMIC_RELAXED);
	__atomic_fetch_add(&counted, counts, __ATOMIC_RELAXED);
	return NULL;
}

static void verify(void)
{
	pthread_t threads[VERIFIERS];

	for (uintptr_t i = 0; i < VERIFIERS; i++)
		if (pthread_create(&threads[i], NULL, verifier, (void *)i))
			die("pthread_create");
	for (unsigned int i = 0; i < VERIFIERS; i++)
		pthread_join(threads[i], NULL);
}

/* --- passes --- */

/* Reads, then writes, twice. */
static void run_sweep(void)
{
	result.base = meter_memory();
	map_filled();
	window_begin();
	for (unsigned int i = 0; i < 4; i++)
		work_pass_entry(i % 2, false);
	window_end();
}

/* The first touch is a write; the rest of the page must be zero then. */
static void touch_first(uint64_t page)
{
	volatile uint64_t *p = (volatile uint64_t *)(work.side.map + page * PAGE);

	p[0] = content_word(page, 0);
	result.wrong += p[content_slot(page)] != 0;
}

static void run_first(void)
{
	uint64_t pages = work.size / PAGE, t;

	result.base = meter_memory();
	side_open(&work.side);
	window_begin();
	while (result.passes < FIRST_REPS) {
		map_anon();
		t = now_ns();
		for (uint64_t page = 0; page < pages; page++)
			touch_first(page);
		result.pass_ns[result.passes] = now_ns() - t;
		for (uint64_t page = 0; page < pages; page++)
			result.wrong += ((volatile uint64_t *)(work.side.map + page * PAGE))[0] !=
					content_word(page, 0);
		t = now_ns();
		side_unmap(&work.side);
		result.forget_ns[result.passes++] = now_ns() - t;
		result.accesses += pages;
	}
	window_end();
	map_anon();
	fill(work.side.map);
}

/* --- moves --- */

/* The pages of one side: at here, and next they go to there. */
struct pair {
	char *here, *there;
};

static void pair_turn(struct pair *p)
{
	char *t = p->here;

	p->here = p->there;
	p->there = t;
}

static char *plain_map(void)
{
	char *p = mmap(NULL, work.size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || madvise(p, work.size, MADV_NOHUGEPAGE))
		die("mmap: %s", strerror(errno));
	return p;
}

static void bare_register(int uffd, char *at)
{
	struct uffdio_register reg = { .range = { (uintptr_t)at, work.size },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("UFFDIO_REGISTER: %s", strerror(errno));
}

/* Filled first: a page that is missing later on is never touched. */
static int bare_open(struct pair *p)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_MOVE | UFFD_FEATURE_SIGBUS };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		die("userfaultfd with UFFDIO_MOVE: %s", strerror(errno));
	p->here = plain_map();
	p->there = plain_map();
	fill(p->here);
	bare_register(uffd, p->here);
	bare_register(uffd, p->there);
	return uffd;
}

static void bare_move(int uffd, char *dst, char *src, size_t len)
{
	struct uffdio_move m = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len };

	while (ioctl(uffd, UFFDIO_MOVE, &m)) {
		if (errno != EAGAIN)
			die("UFFDIO_MOVE: %s", strerror(errno));
		if (m.move > 0) {
			m.dst += (uint64_t)m.move;
			m.src += (uint64_t)m.move;
			m.len -= (uint64_t)m.move;
		}
		m.move = 0;
	}
}

static void managed_move(char *dst, char *src, size_t len)
{
	size_t moved = 0;

	if (quire_move(work.side.q, dst, src, len, 0, &moved))
		die("quire_move: %s after %zu of %zu bytes: %s", strerror(errno), moved, len,
		    quire_error());
}

static uint64_t timed_moves(const struct pair *p, int uffd)
{
	size_t len = work.step * PAGE;
	uint64_t from = now_ns();

	for (size_t off = 0; off < work.size; off += len) {
		if (uffd < 0)
			managed_move(p->there + off, p->here + off, len);
		else
			bare_move(uffd, p->there + off, p->here + off, len);
	}
	return now_ns() - from;
}

/* Each page is used between two moves, as a program would: mapped, and written. */
static void use(const struct pair *p)
{
	char *map = work.side.map;

	work.side.map = p->here;
	for (uint64_t page = 0; page < work.size / PAGE; page++)
		touch_write(page, &result.wrong);
	work.side.map = map;
}

static uint64_t bare_ns[PASSES_MAX];

/* Both take turns in one process: the same threads to interrupt, the same TLB. */
static void run_move(void)
{
	struct pair bare, managed;
	int uffd = bare_open(&bare);

	result.base = meter_memory();
	side_open(&work.side);
	map_anon();
	managed.there = work.side.map;
	map_anon();
	managed.here = work.side.map;
	fill(managed.here);
	window_begin();
	for (; result.passes < MOVE_REPS; result.passes++) {
		result.pass_ns[result.passes] = timed_moves(&managed, -1);
		bare_ns[result.passes] = timed_moves(&bare, uffd);
		pair_turn(&managed);
		pair_turn(&bare);
		use(&managed);
		use(&bare);
		result.accesses += work.size / PAGE / work.step;
		result.writes += work.size / PAGE;
	}
	window_end();
	/* Its counts are not the side's: it has been compared at every use. */
	close(uffd);
	work.side.map = managed.there;
	side_unmap(&work.side);
	work.side.map = managed.here;
}

/* A whole range to another place: by one call, or as a program without it has to. */
static void run_carry(void)
{
	struct pair p;

	result.base = meter_memory();
	side_open(&work.side);
	map_anon();
	p.there = work.side.map;
	map_anon();
	p.here = work.side.map;
	fill(p.here);
	window_begin();
	for (; result.passes < MOVE_REPS; result.passes++) {
		uint64_t from = now_ns();

		if (work.side.is_quire) {
			managed_move(p.there, p.here, work.size);
		} else {
			memcpy(p.there, p.here, work.size);
			munmap(p.here, work.size);
		}
		result.pass_ns[result.passes] = now_ns() - from;
		if (!work.side.is_quire)
			p.here = plain_map();
		pair_turn(&p);
		use(&p);
		result.accesses++;
		result.writes += work.size / PAGE;
	}
	window_end();
	work.side.map = p.there;
	side_unmap(&work.side);
	work.side.map = p.here;
}

/* --- fork under load --- */

static struct {
	unsigned int n;
	uint64_t asked, freeze[FORKS_MAX], whole[FORKS_MAX];
} forks;

/*
 * Handlers run in the reverse order of their registration, so what is registered
 * before quire_open() runs when everything is frozen, and what is registered
 * after it runs before.
 */
static void freeze_done(void)
{
	forks.freeze[forks.n] = now_ns() - forks.asked;
}

static void freeze_asked(void)
{
	forks.asked = now_ns();
}

static void fork_once(void)
{
	uint64_t from = now_ns();
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	forks.whole[forks.n] = now_ns() - from;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		die("fork: %s", strerror(errno));
	forks.n++;
}

static void fork_and_sleep(uint64_t ns)
{
	uint64_t end = now_ns() + ns;

	while (now_ns() < end && forks.n < FORKS_MAX) {
		fork_once();
		sleep_ns(FORK_GAP_NS);
	}
}

static void map_to_freeze(void)
{
	pthread_atfork(freeze_done, NULL, NULL);
	map_filled();
	pthread_atfork(freeze_asked, NULL, NULL);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print_forks(const char *p50, const char *p99, uint64_t *v)
{
	qsort(v, forks.n, sizeof(*v), by_size);
	work_print(p50, v[forks.n / 2]);
	work_print(p99, v[forks.n * 99 / 100]);
}

/* --- the disk itself --- */

/* Written once before it is timed: its blocks are the disk's, not only promised. */
static void run_disk(void)
{
	int fd = open(work.path, O_TMPFILE | O_RDWR | O_CLOEXEC | O_DIRECT, 0600);
	int err = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)work.size);
	uint64_t t;

	if (err)
		die("a file in %s: %s", work.path, strerror(err));
	datafile_write(fd, work.size, BLOCK, 4);
	result.base = meter_memory();
	window_begin();
	for (; result.passes < 2; result.passes++) {
		t = now_ns();
		if (result.passes)
			datafile_write(fd, work.size, BLOCK, 4);
		else
			datafile_scan(fd, work.size, BLOCK, 4, datafile_compare, &result.wrong);
		result.pass_ns[result.passes] = now_ns() - t;
		result.accesses += work.size / PAGE;
	}
	window_end();
	close(fd);
}

/* --- all of it --- */

static void more(void)
{
	work_print("lost", result.writes - counted);
	if (bare_ns[0])
		work_print_list("bare_ns", bare_ns, result.passes);
	if (forks.n) {
		work_print("forks", forks.n);
		print_forks("freeze_p50_ns", "freeze_p99_ns", forks.freeze);
		print_forks("fork_p50_ns", "fork_p99_ns", forks.whole);
	}
}

static void run_case(void)
{
	if (!strcmp(work.name, "sweep"))
		run_sweep();
	else if (!strcmp(work.name, "loop"))
		work_loop(map_filled, false);
	else if (!strcmp(work.name, "first"))
		run_first();
	else if (!strcmp(work.name, "move"))
		run_move();
	else if (!strcmp(work.name, "carry"))
		run_carry();
	else if (!strcmp(work.name, "freeze"))
		work_timed(map_to_freeze, NULL, fork_and_sleep);
	else if (!strcmp(work.name, "random") || !strcmp(work.name, "write") ||
		 !strcmp(work.name, "zipf"))
		work_timed(map_filled, NULL, NULL);
	else
		die("unknown case %s", work.name);
}

int main(int argc, char **argv)
{
	uint64_t peak, samples, t;

	/* Whoever started us is gone: nobody reads the result. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc < 3 || strcmp(argv[1], "run"))
		die("use: anon run --case ... DIR");
	work_options(argc - 1, argv + 1);
	if (work.side.is_quire)
		work.side.swap = work.path;
	meter_open(work.charge, work.disk);
	meter_start();
	if (work.direct) {
		run_disk();
	} else {
		run_case();
		t = now_ns();
		verify();
		result.settle_ns = now_ns() - t;
		side_close(&work.side);
	}
	peak = meter_stop(&samples);
	work_report(peak, samples, more);
	return 0;
}
