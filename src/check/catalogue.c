/* SPDX-License-Identifier: MIT */
/* catalogue.c - all programs that are built in, and the knobs they are tried with. */
#include <stdlib.h>
#include <string.h>

#include "check/program.h"
#include "check/scenario.h"

#define PROGRAMS_MAX 600

static const struct program *all[PROGRAMS_MAX];

/* A built-in text that does not parse is a defect of the build: the tests parse each. */
static const struct program *program_new(const struct scenario_text *t)
{
	struct scenario *s = calloc(1, sizeof(*s));
	struct program *p = calloc(1, sizeof(*p));
	char why[200];

	if (!s || !p || scenario_parse(s, t->name, t->text, why, sizeof(why)) != 0)
		abort();
	scenario_program(s, p);
	return p;
}

const struct program *const *programs(void)
{
	unsigned n = 0;

	if (all[0])
		return all;
	for (const struct scenario_text *t = scenario_texts; t->name && n < PROGRAMS_MAX / 2; t++)
		all[n++] = program_new(t);
	for (unsigned i = 0; piece_programs[i] && n < PROGRAMS_MAX - 1; i++)
		all[n++] = piece_programs[i];
	return all;
}

const struct program *program_find(const char *name)
{
	for (const struct program *const *p = programs(); *p; p++)
		if (strcmp((*p)->name, name) == 0)
			return *p;
	return NULL;
}

/* The first five are the retry policies on the usual machine; then what is unusual, with
 * the policies going round. Each of them meets both designs of the reverse map. */
static const struct knobs settings[] = {
	{ .policy = 0, .sim = { .tlb = true, .lazy_more = true } },
	{ .policy = 1, .rmap = 1, .sim = { .tlb = true, .lazy_more = true } },
	{ .policy = 2, .sim = { .tlb = true, .lazy_more = true } },
	{ .policy = 3, .rmap = 1, .sim = { .tlb = true, .lazy_more = true } },
	{ .policy = 4, .sim = { .tlb = true, .lazy_more = true } },
	{ .policy = 1, .ahead = 4, .sim = { .tlb = true } },
	{ .policy = 4, .rmap = 1, .sim = { .tlb = true, .reuse_last = true } },
	{ .policy = 2, .rmap = 1, .sim = { .rcu_late = true } },
	{ .policy = 3, .sim = { .tlb = true, .short_reads = true } },
	{ .policy = 0, .rmap = 1, .ahead = 2, .sim = { .reuse_last = true, .rcu_late = true } },
	{ .policy = 1, .frames = 6, .sim = { .tlb = true, .reuse_last = true } },
	{ .policy = 4, .rmap = 1, .frames = 5, .ahead = 2, .sim = { .short_reads = true } },
};

unsigned knobs_count(const struct program *p)
{
	return p->piece ? 1 : sizeof(settings) / sizeof(settings[0]);
}

struct knobs knobs_nth(const struct program *p, unsigned n)
{
	return settings[n % knobs_count(p)];
}
