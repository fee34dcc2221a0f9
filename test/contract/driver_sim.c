/* SPDX-License-Identifier: MIT */
/*
 * driver_sim.c - contract tests on the simulated machine: a test is a simulated thread,
 * run along RUNS schedules, random but for the first, with each setting of the knobs.
 * Some runs are made twice, and must be the same to the last operation; some are given
 * up in the midst, which the next one must not feel.
 *
 * A kind test says which outcomes it expects (expect()) and which it saw (saw()): it
 * passes when the two sets are equal after all runs. One that says that it breaks() the
 * contract must be caught at it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "driver_sim.h"

#define RUNS      1024
#define KNOBS     32
#define MAX_STEPS 100000

static uint64_t random_state;
static uint64_t file_words[SIM_FILE_PAGES][SIM_WORDS]; /* of file 0, as it begins */
static unsigned run_nr;
static bool failing;                /* may_fail() */
static uint32_t outcomes, expected; /* of all runs */
static bool skipped;
static unsigned picks_left; /* until the run is given up; 0: it is not */
static bool pruned;
static const char *breaking; /* breaks(): what this run is to be caught at */

static uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state >> 16;
}

/* --- the explorer -------------------------------------------------------------------- */

static int pick(void *x, uint32_t enabled, int cur, bool must)
{
	(void)x;
	bool can_stay = cur >= 0 && enabled & 1u << cur;

	if (picks_left > 0 && --picks_left == 0) {
		pruned = true;
		return -1;
	}
	/* The first: nobody is interrupted. */
	if (run_nr == 0)
		return can_stay ? cur : __builtin_ctz(enabled);
	if (can_stay && !must && draw() % (1 + run_nr % 5) != 0)
		return cur;
	uint64_t n = draw() % (unsigned)__builtin_popcount(enabled);
	while (n-- > 0)
		enabled &= enabled - 1;
	return __builtin_ctz(enabled);
}

static unsigned choose(void *x, enum sim_choice kind, unsigned n)
{
	(void)x;
	if (kind != SIM_VALUE && (!failing || draw() % 3))
		return 0;
	return run_nr == 0 && kind == SIM_VALUE ? 0 : (unsigned)(draw() % n);
}

static void on_failure(const struct sim_site *site)
{
	/* The place that is blamed must be the one that failed; a request's is where it
	 * was submitted. */
	if (strcmp(site->what, E.fault) != 0 &&
	    !(strcmp(site->what, "ioq_submit") == 0 && strncmp(E.fault, "io_", 3) == 0))
		driver_fail(__FILE__, __LINE__, "the failure of %s is put down to %s:%d (%s)",
			    E.fault, site->file, site->line, site->what);
}

/* --- for tests ----------------------------------------------------------------------- */

void may_fail(bool yes)
{
	failing = yes;
}

void saw(unsigned outcome)
{
	outcomes |= 1u << outcome;
}

void breaks(const char *story)
{
	breaking = story;
}

void expect(uint32_t mask)
{
	expected = mask;
}

long driver_self(void)
{
	return sim_self();
}

unsigned driver_rounds(unsigned native)
{
	return native < 3 ? native : 3;
}

enum touch driver_touch(uint64_t addr, unsigned word, bool write, uint64_t *value)
{
	switch (sim_access(addr, word, write, value, NULL, NULL)) {
	case SIM_ACCESS_OK:
		return TOUCH_OK;
	case SIM_ACCESS_FAULT:
		return TOUCH_FAULT;
	default:
		return TOUCH_SEGV;
	}
}

int driver_file(uint64_t bytes)
{
	int file = S->file[0].used ? 1 : 0;

	CHECK(!S->file[file].used);
	sim_file_new((unsigned)file, bytes);
	for (unsigned p = 0; p < SIM_FILE_PAGES && file == 0; p++)
		for (unsigned k = 0; k < SIM_WORDS; k++)
			file_words[p][k] = sim_file_word(0, p, k);
	return file;
}

uint64_t driver_file_word(uint64_t page, unsigned word)
{
	return file_words[page][word];
}

void driver_fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim_fail("CONTRACT", "%s:%d: %s", base ? base + 1 : file, line, text);
}

void driver_skip(const char *why)
{
	skipped = true;
	sim_fail("SKIP", "%s", why);
}

/* --- running ------------------------------------------------------------------------- */

static void main_thread(void *arg)
{
	const struct contract_test *t = arg;

	t->run();
}

static void set_knobs(unsigned bits)
{
	E.knobs = (struct sim_knobs){ .reuse_last = bits & 1,
				      .tlb = bits & 2,
				      .rcu_late = bits & 4,
				      .short_reads = bits & 8,
				      .lazy_more = bits & 16 };
}

uint64_t *pages_before;
struct rt_pool pool_before;

/* A page whose view is gone waits in frame 0. */
static void take_frame(void *buf)
{
	struct rt_mmu mmu;
	uint64_t at = 0;

	CHECK_IS(rt_mmu_open(&mmu), 0);
	CHECK_IS(rt_pool_open(&mmu, &pool_before, 1), 0);
	CHECK_IS(rt_view_open(&mmu, NULL, 0, RT_PAGE, RT_READ, RT_VIEW_PRIVATE, &at), 0);
	CHECK_IS(rt_mmu_fill(&mmu, at, buf, 1, false), 1);
	CHECK_IS(take_row(&mmu, &pool_before, at, 0, 1, NULL), 1);
	rt_view_close(&mmu, at, RT_PAGE);
}

static void take_pages(void *arg)
{
	(void)arg;
	pages_before = rt_pages_alloc(PAGES(2));
	for (size_t i = 0; i < PAGES(2) / 8; i++)
		pages_before[i] = BEFORE;
	take_frame(pages_before);
}

static bool run_once(void)
{
	enum sim_status status;

	failing = pruned = false;
	breaking = NULL;
	E.grew = false;
	status = sim_run();
	if (pruned || !breaking)
		return status == (pruned ? SIM_PRUNED : SIM_OK);
	if (status == SIM_BROKEN)
		return strstr(E.story, breaking) != NULL;
	snprintf(E.invariant, sizeof(E.invariant), "KIND");
	snprintf(E.story, sizeof(E.story), "not caught: %s", breaking);
	return false;
}

static bool run_twice(void)
{
	uint64_t before = random_state;
	unsigned picks = run_nr % 13 == 5 ? 1 + run_nr % 29 : 0; /* given up in the midst */

	picks_left = picks;
	if (!run_once())
		return false;
	uint64_t hash = E.hash;
	/* A word that turned out to be shared makes points where there were none. */
	if (run_nr % 7 != 1 || E.grew)
		return true;
	random_state = before;
	picks_left = picks;
	if (!run_once())
		return false;
	if (E.hash == hash)
		return true;
	snprintf(E.invariant, sizeof(E.invariant), "REPEAT");
	snprintf(E.story, sizeof(E.story), "the same choices made another run");
	return false;
}

void driver_mmu(struct rt_mmu *mmu)
{
	(void)mmu;
}

enum contract_result driver_run(const struct contract_test *t, const char *noun, char *why,
				size_t n)
{
	(void)noun;
	memset(&E, 0, sizeof(E));
	E.pick = pick;
	E.choose = choose;
	E.on_failure = on_failure;
	E.max_steps = MAX_STEPS;
	E.trace = true;
	random_state = 0x9e3779b97f4a7c15ull;
	outcomes = expected = 0;
	skipped = false;
	sim_reset();
	sim_forget();
	if (!sim_setup(take_pages, NULL)) {
		snprintf(why, n, "%s: %s", E.invariant, E.story);
		return CONTRACT_FAILED;
	}
	sim_spawn(main_thread, (void *)t, "test", false);
	sim_snapshot();
	for (run_nr = 0; run_nr < RUNS; run_nr++) {
		set_knobs(run_nr % KNOBS);
		E.all_visible = run_nr / KNOBS % 4 == 3;
		if (!run_twice()) {
			snprintf(why, n, "run %u, knobs %u: %s: %s", run_nr, run_nr % KNOBS,
				 E.invariant, E.story);
			return skipped ? CONTRACT_SKIPPED : CONTRACT_FAILED;
		}
	}
	if (outcomes == expected)
		return CONTRACT_PASSED;
	snprintf(why, n, "outcomes seen %#x, expected %#x: never seen %#x", outcomes, expected,
		 expected & ~outcomes);
	return CONTRACT_FAILED;
}
