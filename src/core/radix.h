/* SPDX-License-Identifier: MIT */
/*
 * radix.h - a map from 64-bit keys to pointers that is read without a lock.
 *
 * 64-way nodes from a slab; the height grows with the largest key. One writer at a
 * time (the caller's lock); readers need nothing, because nodes are type-stable. A
 * reader sees, for each key, a value that was there at some time since its call
 * began; what it gets may have been removed already, so the caller takes a
 * reference and re-checks identity. Nodes are freed at once and are type-stable: an
 * entry that leads to a node carries bit 0, so that a reader who stands in a node
 * that was reused for another height can mistake no leaf for a node, and at worst
 * finds nothing.
 *
 * Values: non-NULL, multiples of 2. (core, not base: it needs the machine's
 * atomics.)
 */
#ifndef CORE_RADIX_H
#define CORE_RADIX_H

#include "core/config.h"
#include "core/slab.h"
#include "rt/rt.h"

#define RADIX_SHIFT CONFIG_RADIX_SHIFT
#define RADIX_SLOTS (1u << RADIX_SHIFT)

struct radix_node {
	rt_u32 shift;  /* key bits below a slot of this node */
	uint32_t used; /* writer only */
	rt_ptr slot[RADIX_SLOTS];
	void *free_link; /* the slab's */
};

struct radix {
	rt_ptr root; /* tagged node, or NULL */
	struct slab *nodes;
};

void radix_init(struct radix *r, struct slab *nodes);
void *radix_lookup(const struct radix *r, uint64_t key);
/* radix_gang - up to max values at keys [first, end), in order, with their keys. */
unsigned radix_gang(const struct radix *r, uint64_t first, uint64_t end, void **values,
		    uint64_t *keys, unsigned max);
/* radix_store - set n keys from key on to value (they are all empty, or all set),
 * or value NULL: clear them. 0; -ENOMEM: nothing was changed. Needs: the writer's lock. */
int radix_store(struct radix *r, uint64_t key, uint64_t n, void *value);

#endif
