/* SPDX-License-Identifier: MIT */
/*
 * work.h - what the workers do alike: touch pages, count, report.
 *
 * One measurement a process. The options are in `work`, what is found in
 * `result`. Timed work: threads touch pages until told to stop.
 *     threads start, wait -> base memory is read -> map() -> WARM: touch, with
 *     extra threads, until the cache has turned over -> MEASURE: what is
 *     counted -> STOP
 * Whole work (passes): one thread, a counted number of touches.
 *
 * A page holds what pattern.h says: every read checks a word of it, every
 * write its index, and counts in it.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "hist.h"
#include "meter.h"
#include "pattern.h"
#include "side.h"

#define PASSES_MAX 64

extern struct work {
	const char *name, *path, *hint, *charge, *disk;
	const char *kind; /* --side */
	struct side side;
	bool direct; /* --side direct: no mapping at all */
	int fd, advice;
	uint64_t size; /* bytes that are touched */
	uint64_t step; /* pages that one call takes */
	uint64_t seed;
	unsigned int threads;
	unsigned int write_percent;
	double seconds, warm_seconds;
	uint64_t warm_bytes; /* the cache has turned over after so many */
} work;

extern struct result {
	struct hist hist;
	uint64_t wrong, first_wrong, writes;
	/* The counted window. */
	struct cost from, to;
	struct quire_stats stats_from, stats_to;
	uint64_t accesses;
	double warm_s;
	uint64_t warm_bytes;
	uint64_t base, settle_ns;
	/* One entry per pass or repetition. */
	unsigned int passes;
	uint64_t pass_ns[PASSES_MAX], pass_bytes[PASSES_MAX], forget_ns[PASSES_MAX];
} result;

/* Load one word of the page and compare it with what must be there. */
static inline void touch(uint64_t page, uint64_t *wrong)
{
	const volatile uint64_t *p = (const volatile uint64_t *)(work.side.map + page * PAGE);
	unsigned int slot = content_slot(page);

	if (__builtin_expect(p[slot] != content_word(page, slot), 0)) {
		__atomic_store_n(&result.first_wrong, page, __ATOMIC_RELAXED);
		++*wrong;
	}
}

/* Count one write in the page; nothing may be lost, whatever the threads do. */
static inline void touch_write(uint64_t page, uint64_t *wrong)
{
	uint64_t *p = (uint64_t *)(work.side.map + page * PAGE);

	if (__builtin_expect(__atomic_fetch_add(p, 1, __ATOMIC_RELAXED) >> COUNT_BITS != page, 0)) {
		__atomic_store_n(&result.first_wrong, page, __ATOMIC_RELAXED);
		++*wrong;
	}
}

void work_options(int argc, char **argv);
uint64_t work_number(const char *s);
void sleep_ns(uint64_t ns);

/* What happens between the two is what is counted. */
void window_begin(void);
void window_end(void);

/*
 * Timed work: random pages, or zipf's when the case says so. read: instead of
 * touch(), or NULL. during: runs for the counted time, or NULL: sleeps.
 */
void work_timed(void (*map)(void), void (*read)(uint64_t page, uint64_t *wrong),
		void (*during)(uint64_t ns));

/* Pages [0, n) in order, each timed. ask: MADV_WILLNEED a window ahead. */
void work_pass(uint64_t n, bool write, bool ask);
/* The same as the next entry of the passes: its time and its bytes. */
void work_pass_entry(bool write, bool ask);
/* Passes of reads; the first two fill the cache and show what is read again. */
void work_loop(void (*map)(void), bool ask);

/* One JSON object. more: prints ", \"name\": value" of its own, or NULL. */
void work_report(uint64_t peak, uint64_t samples, void (*more)(void));
void work_print(const char *name, uint64_t value);
void work_print_list(const char *name, const uint64_t *v, unsigned int n);

#endif
