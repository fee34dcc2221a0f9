/* SPDX-License-Identifier: MIT */
/*
 * explore.h - the ways through the schedules of a program.
 *
 *   bounded   every schedule with at most K preemptions and F failures (CHESS: few
 *             switches find most bugs). Complete up to the bound.
 *   sleep     every schedule, up to the order of independent operations (sleep sets);
 *             for tiny programs.
 *   states    every schedule, nothing left out but states that were seen: the judge of
 *             `sleep` (checking.md 2.2).
 *   walk      random: each time a thread at random.
 *   pct       random priorities with d - 1 changes (Burckhardt et al., ASPLOS 2010).
 *   sweep     along the default schedule, the n-th fallible call fails: once, and for
 *             good; for each n. Along a few random ones, what never did so far.
 *   replay    one schedule.
 */
#ifndef CHECK_EXPLORE_H
#define CHECK_EXPLORE_H

#include "check/program.h"
#include "check/schedule.h"

enum strategy {
	STRATEGY_BOUNDED,
	STRATEGY_SLEEP,
	STRATEGY_STATES,
	STRATEGY_WALK,
	STRATEGY_PCT,
	STRATEGY_SWEEP,
	STRATEGY_REPLAY,
};

extern const char *const strategy_name[];

#define STEPS_MAX 200000 /* of a run: more is no progress. The same in a replay */

struct limits {
	uint64_t runs;     /* at most; 0: no limit */
	uint64_t until_ns; /* CLOCK_MONOTONIC, 0: no limit */
	unsigned K, F;     /* bounded; F is also how many failures a walk may make */
	unsigned depth;    /* pct */
	uint64_t judge;    /* bounded: runs that the search which judges it may take; 0: none */
	uint64_t seed;
	uint32_t max_steps; /* 0: the default */
};

enum verdict {
	VERDICT_DONE,  /* all there is to see was seen (bounded, sleep, states, sweep) */
	VERDICT_LIMIT, /* a limit came first */
	VERDICT_FOUND, /* a failure: result.found */
	VERDICT_BUILD, /* the program could not be built: E.story */
};

struct result {
	uint64_t runs;          /* schedules tried */
	uint64_t complete;      /* that came to their end */
	uint64_t steps;         /* points passed, in all */
	/* sleep, states; bounded, if it is to be judged: distinct (memory, observations) */
	uint64_t outcomes;
	uint64_t outcomes_hash; /* of the set of them: independent of order */
	uint64_t states;
	bool judged; /* sleep, bounded: the unreduced search came to its end, and saw the same */
	unsigned longest; /* points of the longest run */
	struct schedule found;
	char invariant[16];
	char story[2048];
};

void result_free(struct result *r);

/* explore - try p with these knobs. *r is zeroed first. */
enum verdict explore(const struct program *p, const struct knobs *k, enum strategy s,
		     const struct limits *l, struct result *r);

/* replay - run one schedule, leniently: what cannot be chosen is passed over. Returns the
 * run's status; *exact (may be NULL) gets all the choices that were in fact made; *hash
 * the trace's. */
enum sim_status replay(const struct schedule *s, struct schedule *exact, uint64_t *hash);

/* shrink - fewer preemptions, failures and choices that still break the same invariant.
 * Returns the replays it took. */
unsigned shrink(struct schedule *s);

/* columns_print - replay s, and print it a line per operation that matters, a column per
 * thread, with the locks held, to a stdio stream. */
void columns_print(const struct schedule *s, void *stream);

/* The sleep-set and the unreduced search (sleep.c). */
enum verdict explore_sleep(const struct program *p, const struct limits *l, struct result *r);
enum verdict explore_states(const struct program *p, const struct limits *l, struct result *r);

#endif
