/* SPDX-License-Identifier: MIT */
/*
 * counters.h - the members of struct quire_stats by name.
 *
 *     for (const struct counter *c = counters; c->name; c++)
 *             printf("%s %lu\n", c->name, counter_value(c, &stats));
 */
#ifndef QUIRE_CLI_COUNTERS_H
#define QUIRE_CLI_COUNTERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quire/quire.h"

struct counter {
	const char *name; /* NULL ends the list */
	size_t offset;
};

extern const struct counter counters[];

static inline uint64_t counter_value(const struct counter *c, const struct quire_stats *s)
{
	uint64_t v;

	memcpy(&v, (const char *)s + c->offset, sizeof(v));
	return v;
}

/* counters_print - all of them for people, on stdout. */
void counters_print(const struct quire_stats *s);

#endif
