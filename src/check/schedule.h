/* SPDX-License-Identifier: MIT */
/*
 * schedule.h - the choices of one run, and the text file that keeps them.
 *
 * A run without any entry goes on with the current thread while it can, else with the
 * lowest that can, and nothing fails. Each entry changes that at one place: where thread
 * `thread` is before its `op`-th operation of rt.h, the choice is `choice` (a thread, or
 * the answer of a choose()). Places are named by thread and operation, so that taking an
 * entry out does not shift the others.
 */
#ifndef CHECK_SCHEDULE_H
#define CHECK_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check/program.h"

enum entry_kind { ENTRY_SWITCH, ENTRY_FAIL, ENTRY_VALUE };

struct entry {
	uint32_t op;
	uint8_t thread; /* SIM_THREADS: the driver (the first pick of a run) */
	uint8_t kind;   /* enum entry_kind */
	uint8_t choice;
	bool preempts; /* a switch that was not forced */
};

struct schedule {
	const struct program *program;
	struct knobs knobs;
	struct entry *entry; /* in the order in which they came */
	size_t entries, room;
};

void schedule_free(struct schedule *s);
void schedule_clear(struct schedule *s);
void schedule_add(struct schedule *s, struct entry e);
void schedule_copy(struct schedule *to, const struct schedule *from);
size_t schedule_preemptions(const struct schedule *s);

/* schedule_save, schedule_load - the text form; `text` names a scenario file that is not
 * built in, or NULL. False: *why says what was wrong, with the line. */
bool schedule_save(const struct schedule *s, const char *path, const char *scenario_file,
		   const char *invariant, const char *story, char *why, size_t n);
bool schedule_load(struct schedule *s, const char *path, char *why, size_t n);
/* schedule_invariant - the one that a saved schedule says it breaks. */
bool schedule_invariant(const char *path, char *buf, size_t n);
/* schedule_knobs - "policy=P1 frames=0 ...", as in the file. Returns buf. */
char *schedule_knobs(const struct knobs *k, char *buf, size_t n);

/* schedule_scenario - the program of a scenario file, kept until the end; NULL: *why.
 * schedule_scenario_file - which file that was; NULL: p is built in. */
const struct program *schedule_scenario(const char *path, char *why, size_t n);
const char *schedule_scenario_file(const struct program *p);

#endif
