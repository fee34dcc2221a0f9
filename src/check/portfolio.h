/* SPDX-License-Identifier: MIT */
/*
 * portfolio.h - every strategy over every scenario, within a time.
 *
 * No single way through the schedules finds everything (checking.md 2.2), so all take
 * turns. A scenario goes through a list of jobs: the fault sweep under each setting of
 * the knobs; then under one after the other, if it is tiny, all its schedules, and
 * bounded searches, (K,F) = (0,1), (1,0), (1,1), (2,0), (2,1). What does not come to its
 * end in a slice of time is tried again with a longer one, while that is affordable. In
 * between, and for the rest of the time, random walks and PCT of depth 2, 3, 4 over all
 * knobs. The scenario that had the least time so far comes next.
 *
 *     struct portfolio p = { .program = list, .programs = n, .seconds = 60, .seed = 1,
 *                            .found = tell };
 *     portfolio_run(&p);
 *
 * Random runs come in batches whose seed follows from p.seed, the scenario and the
 * batch's number: what a scenario is tried with does not depend on the others or on the
 * speed of the machine, only how much of it does.
 */
#ifndef CHECK_PORTFOLIO_H
#define CHECK_PORTFOLIO_H

#include <signal.h>

#include "check/explore.h"

/* What one strategy did with one scenario under one setting of knobs; for walk and pct:
 * all settings together. */
struct portfolio_job {
	const struct program *program;
	struct knobs knobs;
	enum strategy strategy;
	unsigned K, F, depth;
	uint64_t runs, steps, outcomes;
	bool judged; /* see struct result */
	double seconds;
	enum verdict verdict;
};

struct portfolio_finding {
	const struct portfolio_job *job;
	struct schedule *schedule; /* shrunk */
	const char *invariant, *story;
	uint64_t runs;      /* of the scenario, until it was found */
	size_t preemptions; /* before it was shrunk */
	unsigned replays;   /* that shrinking took */
	bool replayed;      /* false: run again, it did not break: not shrunk */
};

struct portfolio {
	/* The caller's. */
	const struct program *const *program;
	unsigned programs;
	double seconds;
	uint64_t runs; /* of each scenario, at most; 0: no limit */
	uint64_t seed;
	bool one_strategy, one_bound, one_policy;
	enum strategy strategy;
	unsigned K, F;
	unsigned policy; /* one_policy: this one, and what else a machine does as usual */
	bool keep_going; /* with the other scenarios, once something was found */
	void *arg;
	/* Now and then, between two slices: what comes next. */
	void (*progress)(struct portfolio *p, const struct portfolio_job *next);
	void (*finished)(struct portfolio *p, const struct portfolio_job *job);
	void (*found)(struct portfolio *p, const struct portfolio_finding *f);

	/* What came of it, at any moment. */
	uint64_t all_runs, all_steps;
	unsigned findings;
	volatile sig_atomic_t stopped; /* by portfolio_stop() */
	double elapsed;

	/* Its own. */
	struct limits limits;
	struct turn *turn;
	uint64_t start_ns, end_ns;
};

/* portfolio_run - until all is done or the time is over. Returns p->findings. */
unsigned portfolio_run(struct portfolio *p);
/* portfolio_stop - come to an end soon. May be called by a signal handler. */
void portfolio_stop(struct portfolio *p);

/* A marked branch, all places of that name together. */
struct portfolio_cover {
	const char *name;
	uint64_t runs;
};

/* portfolio_covers - all, by name; returns how many there are. */
unsigned portfolio_covers(struct portfolio_cover *list, unsigned max);

#endif
