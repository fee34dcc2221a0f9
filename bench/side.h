/* SPDX-License-Identifier: MIT */
/*
 * side.h - the two ways to map the file that are compared, behind one face.
 *
 * Both run in the same program with the same pattern; only these calls differ.
 * Every function ends the program with a sentence on stderr when it fails: a
 * benchmark that goes on after an error measures something else.
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quire/quire.h"

struct side {
	bool is_quire;
	uint64_t memory;  /* quire's budget, bytes; the kernel's is its cgroup */
	const char *opts; /* quire's "key=value,..." or NULL */
	const char *swap; /* quire's, or NULL; the kernel's is on or off */
	uint64_t swap_size;
	struct quire *q;
	char *map;
	size_t len;
};

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);

void side_open(struct side *s);
/*
 * Map len bytes of fd at file offset 0, shared, and give the hint (0: none). fd -1:
 * anonymous and private; the kernel's in pages of 4 KiB, as quire's are.
 */
void side_map(struct side *s, int fd, size_t len, bool writable, int advice);
void side_advise(struct side *s, size_t off, size_t len, int advice);
/* Write back what is dirty, and wait. */
void side_sync(struct side *s);
void side_unmap(struct side *s);
/* What is mapped last, if it still is, and the side itself. */
void side_close(struct side *s);
/* Counters since side_open(); all 0 for the kernel. */
void side_stats(struct side *s, struct quire_stats *st);

#endif
