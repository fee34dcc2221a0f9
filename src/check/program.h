/* SPDX-License-Identifier: MIT */
/*
 * program.h - something whose every schedule can be tried: a scenario over a whole
 * address space (scenario.h), or a piece of the core alone (pieces.c).
 *
 * build() makes the world on the simulated machine and takes its snapshot; the explorer
 * then runs it again and again (sim_run()). After each run in which every thread came to
 * its end, finish() looks at what is left: it calls check_broken() if an invariant does
 * not hold, and may go on with sim_quietly() to take the world down.
 */
#ifndef CHECK_PROGRAM_H
#define CHECK_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "rt/sim/sim.h"

/* What is varied from run to run, beside the schedule. In the replay file. */
struct knobs {
	unsigned policy; /* P0 .. P4, enum retry_policy */
	unsigned rmap;   /* 0: A, 1: B, enum rmap_design */
	unsigned frames; /* of memory beyond metadata; 0: the program's own */
	unsigned ahead;  /* pages of readahead, 0: none */
	struct sim_knobs sim;
};

struct program {
	const char *name;  /* as in --scenario */
	const char *title; /* one line: what meets what */
	unsigned threads;  /* of its own, daemons apart */
	bool tiny;         /* small enough to be exhausted: T0 */
	bool piece;        /* of the core, without an address space: knobs do not matter */
	/* 0; else check_broken() was called, or E tells why. */
	bool (*build)(const struct program *p, const struct knobs *k);
	bool (*finish)(const struct program *p);
	const void *arg;
};

/* check_broken - the run is a failure: as sim_fail(), for finish() and the oracles that
 * run on the driver's side. The first one of a run counts. */
void check_broken(const char *invariant, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* program_run - one run, with finish(). SIM_OK, SIM_PRUNED or SIM_BROKEN. */
enum sim_status program_run(const struct program *p);

/* All there are: built-in scenarios and pieces. NULL-terminated. */
const struct program *const *programs(void);
const struct program *program_find(const char *name);
/* knobs_nth - the n-th setting of knobs that p is tried with: 0 .. knobs_count()-1, the
 * first five P0 .. P4 with everything else as usual. */
unsigned knobs_count(const struct program *p);
struct knobs knobs_nth(const struct program *p, unsigned n);

/* The pieces (pieces.c). */
extern const struct program *const piece_programs[];

#endif
