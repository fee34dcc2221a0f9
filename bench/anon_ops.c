/* SPDX-License-Identifier: MIT */
/*
 * anon_ops.c - what a page of anonymous memory costs to take, put, drop and fill, by how
 * many lie in a row: the numbers behind RUN_MOVED (src/rt/native/anon.h).
 *
 * A window of 512 pages holds runs of pages with gaps as long. Each line is the median of
 * ROUNDS cycles, in us a page: the calls of rt.h, the same without UFFDIO_MOVE, and for
 * comparison one UFFDIO_MOVE for each run, out and in. Between the calls the program writes
 * each page once, as it would. All of it twice: alone, and with a thread of the process
 * running on another CPU, which has to flush its TLB then.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/bitmap.h"
#include "rt/native/anon.h"
#include "rt/native/uffd.h"

#define WINDOW 512
#define ROUNDS 31

enum op { TAKE, PUT, DROP, FILL, TAKE_COPY, PUT_COPY, MOVE_OUT, MOVE_IN, OPS };

static const char *const names[OPS] = { "take",      "put",      "drop",     "fill",
					"take-copy", "put-copy", "MOVE-out", "MOVE-in" };

static struct rt_mmu mmu;
static struct rt_pool pool;
static char *view;
static char content[WINDOW * RT_PAGE] __attribute__((aligned(RT_PAGE)));
static uint64_t there[BITMAP_WORDS(WINDOW)];
static unsigned run, pages; /* of the pattern that is measured */
static volatile bool stop;

static void die(const char *what, int64_t got)
{
	fprintf(stderr, "anon_ops: %s: %lld\n", what, (long long)got);
	exit(1);
}

static void expect(const char *what, int64_t got, int64_t want)
{
	if (got != want)
		die(what, got);
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static uint64_t addr_of(unsigned page)
{
	return (uintptr_t)view + page * RT_PAGE;
}

static void set_pattern(unsigned length)
{
	unsigned gap = length == WINDOW ? 0 : length == 1 ? 3 : length;

	run = length;
	pages = 0;
	memset(there, 0, sizeof(there));
	for (unsigned i = 0; i + run <= WINDOW; i += run + gap, pages += run)
		bitmap_set_run(there, i, run);
}

static void each_run(void (*fn)(unsigned first))
{
	for (size_t i = 0; (i = bitmap_next(there, WINDOW, i, true)) < WINDOW; i += run)
		fn((unsigned)i);
}

static void fill(unsigned first)
{
	expect("fill", rt_mmu_fill(&mmu, addr_of(first), content, run, false), run);
}

static void touch(unsigned first)
{
	for (unsigned i = first; i < first + run; i++)
		*(volatile char *)addr_of(i) = 1;
}

static void put(unsigned first)
{
	expect("put", rt_mmu_put(&mmu, &pool, addr_of(first), first, run), run);
}

static void drop(unsigned first)
{
	rt_pool_drop(&mmu, &pool, first, run);
}

/* Past the pool's books: nothing of it is there or stale meanwhile. */
static void move(unsigned first, bool out)
{
	uint64_t in_view = addr_of(first), in_pool = (uintptr_t)rt_pool_at(&pool, first);
	struct uffdio_move m = { .dst = out ? in_pool : in_view,
				 .src = out ? in_view : in_pool,
				 .len = run * RT_PAGE };

	expect("UFFDIO_MOVE", ioctl(mmu.fd, UFFDIO_MOVE, &m), 0);
}

static void move_out(unsigned first)
{
	move(first, true);
}

static void move_in(unsigned first)
{
	move(first, false);
}

static void take(void)
{
	expect("take", rt_mmu_take(&mmu, &pool, (uintptr_t)view, 0, WINDOW, there), WINDOW);
}

static double timed(void (*fn)(unsigned first))
{
	double from = now_us();

	if (fn)
		each_run(fn);
	else
		take();
	return (now_us() - from) / pages;
}

static void cycle(double us[OPS], bool has_move)
{
	us[FILL] = timed(fill);
	each_run(touch);
	us[TAKE] = timed(NULL);
	us[PUT] = timed(put);
	each_run(touch);
	mmu.has_move = false;
	us[TAKE_COPY] = timed(NULL);
	us[PUT_COPY] = timed(put);
	mmu.has_move = has_move;
	each_run(touch);
	take();
	us[DROP] = timed(drop);
}

static void cycle_of_move(double us[OPS])
{
	rt_pool_drop(&mmu, &pool, 0, WINDOW); /* at once, what is stale too */
	each_run(fill);
	each_run(touch);
	us[MOVE_OUT] = timed(move_out);
	us[MOVE_IN] = timed(move_in);
	rt_mmu_zap(&mmu, (uintptr_t)view, WINDOW);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(unsigned length)
{
	static double us[OPS][ROUNDS];
	double once[OPS] = { 0 };

	set_pattern(length);
	for (int i = 0; i < ROUNDS; i++) {
		bool has_move = mmu.has_move;

		cycle(once, has_move);
		for (int op = 0; op < OPS; op++)
			us[op][i] = once[op];
	}
	for (int i = 0; mmu.has_move && i < ROUNDS; i++) {
		cycle_of_move(once);
		us[MOVE_OUT][i] = once[MOVE_OUT];
		us[MOVE_IN][i] = once[MOVE_IN];
	}
	printf("%4u", length);
	for (int op = 0; op < OPS; op++) {
		qsort(us[op], ROUNDS, sizeof(double), by_size);
		printf(" %9.2f", us[op][ROUNDS / 2]);
	}
	printf("\n");
}

static void table(const char *title)
{
	static const unsigned lengths[] = { 1, 2, 4, 8, 16, 33, 34, 64, 128, WINDOW };

	printf("%s\n run", title);
	for (int op = 0; op < OPS; op++)
		printf(" %9s", names[op]);
	printf("\n");
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		measure(lengths[i]);
}

static void *spin(void *arg)
{
	while (!stop)
		rt_relax();
	return arg;
}

int main(void)
{
	uint64_t addr = 0;
	pthread_t other;

	expect("rt_mmu_open", rt_mmu_open(&mmu), 0);
	expect("rt_pool_open", rt_pool_open(&mmu, &pool, WINDOW), 0);
	expect("rt_view_open",
	       rt_view_open(&mmu, NULL, 0, WINDOW * RT_PAGE, RT_READ | RT_WRITE, RT_VIEW_PRIVATE,
			    &addr),
	       0);
	view = (char *)addr;
	memset(content, 1, sizeof(content));
	table("us a page, alone");
	expect("pthread_create", pthread_create(&other, NULL, spin, NULL), 0);
	table("us a page, with a second thread running");
	stop = true;
	pthread_join(other, NULL);
	return 0;
}
