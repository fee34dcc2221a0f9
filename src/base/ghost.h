/* SPDX-License-Identifier: MIT */
/*
 * ghost.h - remembers for a while when a key went away.
 *
 * A fixed table of (tag, time): adding overwrites what was in the bucket's
 * oldest cell, so that memory is bounded and nothing is ever freed. A lookup
 * may say "never seen" of a key that was added (it was overwritten), and with
 * probability 4/2^16 gives another key's time; both cost the caller a slightly
 * worse guess and nothing else. Times are a counter of the caller's that may
 * wrap at 2^32. The caller brings the memory and the lock.
 *
 * What for: the distance between eviction and return of a page, as in the
 * shadow entries of Linux mm/workingset.c and the non-resident stack of LIRS
 * (Jiang and Zhang, SIGMETRICS 2002), without a tree that grows with the file.
 */
#ifndef BASE_GHOST_H
#define BASE_GHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GHOST_WAYS 4

struct ghost_cell {
	uint32_t time;
	uint16_t tag; /* 0: empty */
	uint16_t spare;
};

struct ghost {
	struct ghost_cell *cells;
	size_t buckets; /* a power of two, or 0: remembers nothing */
};

/* ghost_bytes - the memory that ghost_init() wants for n keys. */
size_t ghost_bytes(size_t n);
void ghost_init(struct ghost *g, void *zeroed, size_t bytes);
void ghost_add(struct ghost *g, uint64_t key, uint32_t now);
/* ghost_take - forget key; true and *age (now - its time) if it was there. */
bool ghost_take(struct ghost *g, uint64_t key, uint32_t now, uint32_t *age);

#endif
