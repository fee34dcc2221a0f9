/* SPDX-License-Identifier: MIT */
/*
 * contract.h - what the tests of rt.h stand on: checks, the driver of the machine that
 * they are compiled for, and a small world of an mmu and an object.
 *
 * A test is a function over rt_* alone. On the native machine it is called once, on the
 * simulated one it is a simulated thread, run along some hundred schedules: so a test
 * begins from nothing each time, keeps what threads share on its stack or in pages of
 * rt_pages_alloc(), and takes any outcome that rt.h allows (a wait that ends for
 * nothing, a short read).
 */
#ifndef CONTRACT_CONTRACT_H
#define CONTRACT_CONTRACT_H

#include <errno.h>

#include "rt/rt.h"

struct contract_test {
	const char *name;
	void (*run)(void);
};

#define TEST(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}
#define TESTS(noun, ...) const struct contract_test noun##_tests[] = { __VA_ARGS__, { NULL, NULL } }

extern const struct contract_test atomic_tests[], lock_tests[], wait_tests[], rcu_tests[],
	thread_tests[], memory_tests[], object_tests[], view_tests[], private_tests[], anon_tests[],
	file_tests[], ioq_tests[];

/* --- the driver: driver_native.c, driver_sim.c */

enum touch { TOUCH_OK, TOUCH_FAULT, TOUCH_SEGV };

/* driver_touch - as the program: load or store word 0 or 1 of the page at addr. A fault
 * is not served, but said. */
enum touch driver_touch(uint64_t addr, unsigned word, bool write, uint64_t *value);
/* driver_file - a file of that many bytes; word w of its page p is driver_file_word(p, w),
 * all else is zero. */
int driver_file(uint64_t bytes);
uint64_t driver_file_word(uint64_t page, unsigned word);
/* driver_mmu - as this run of the test wants it: world_open() has opened it. */
void driver_mmu(struct rt_mmu *mmu);
/* Which thread this is, as a number. */
long driver_self(void);
/* driver_rounds - `native` of them there, few where every schedule is tried. */
unsigned driver_rounds(unsigned native);
_Noreturn void driver_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void driver_skip(const char *why);

/* --- checks */

#define CHECK(c)                                                                                   \
	do {                                                                                       \
		if (!(c))                                                                          \
			driver_fail(__FILE__, __LINE__, "%s", #c);                                 \
	} while (0)
#define CHECK_IS(got, want)                                                                        \
	do {                                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);                      \
		if (got_ != want_)                                                                 \
			driver_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #got, got_,        \
				    want_);                                                        \
	} while (0)

/* A load that goes well and finds `want`; a store that goes well; a touch that faults to
 * us; one that is refused: no view there, or no right. */
#define LOADS(addr, word, want)                                                                    \
	do {                                                                                       \
		uint64_t value_ = ~0ull;                                                           \
		CHECK_IS(driver_touch(addr, word, false, &value_), TOUCH_OK);                      \
		CHECK_IS(value_, want);                                                            \
	} while (0)
#define STORES(addr, word, v) CHECK_IS(driver_touch(addr, word, true, &(uint64_t){ v }), TOUCH_OK)
#define FAULTS(addr, write)   CHECK_IS(driver_touch(addr, 0, write, &(uint64_t){ 0 }), TOUCH_FAULT)
#define REFUSES(addr, write)  CHECK_IS(driver_touch(addr, 0, write, &(uint64_t){ 0 }), TOUCH_SEGV)

/* --- the world */

#define WORDS    2 /* of a page, that are looked at: its first, and the first of its half */
#define PAGES(n) ((n)*RT_PAGE)

/* rt_mmu_take() into frames in a row. */
#define TAKE_MOST 2048
static inline int64_t take_row(struct rt_mmu *mmu, struct rt_pool *p, uint64_t addr, uint64_t frame,
			       uint64_t n, const uint64_t *there)
{
	uint32_t frames[TAKE_MOST];

	if (n > TAKE_MOST)
		return -E2BIG;
	for (uint64_t i = 0; i < n; i++)
		frames[i] = (uint32_t)(frame + i);
	return rt_mmu_take(mmu, p, addr, frames, n, there);
}

struct world {
	struct rt_mmu mmu;
	struct rt_object object;
	char *buf; /* a page */
};

void world_open(struct world *w, uint64_t pages);
void world_close(struct world *w);

/* Page content is told by a token: word k of the page is token_word(token, k). */
uint64_t token_word(uint64_t token, unsigned word);
void token_put(void *page, uint64_t token);
uint64_t page_word(const void *page, unsigned word);
/* world_fill - pages [index, index+n) of the object: tokens token, token + 1 ... */
void world_fill(struct world *w, uint64_t index, uint64_t n, uint64_t token);
/* The word of the object's page, by fetch. */
uint64_t world_word(struct world *w, uint64_t index, unsigned word);
/* world_view - a view of the object's pages, somewhere. */
uint64_t world_view(struct world *w, uint64_t index, uint64_t pages, unsigned rights,
		    unsigned flags);
/* A range where nothing is. */
uint64_t world_room(struct world *w, uint64_t pages);

/* --- threads */

void thread_begin(struct rt_thread *t, void (*fn)(void *), void *arg);
/* until - spin until *word is v. */
void until(rt_u32 *word, uint32_t v);

#endif
