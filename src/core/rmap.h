/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - from an anonymous folio to its entry, and back with the locks held.
 *
 *     if (rmap_lock(mm, f, try, &r)) {
 *             ... r.v covers r.addr, *r.pte refers to f, nobody changes it ...
 *             rmap_unlock(mm, &r);
 *     }
 */
#ifndef CORE_RMAP_H
#define CORE_RMAP_H

#include "core/anon_vma.h"
#include "core/pgtable.h"

struct rmap {
	struct anon_vma *anon; /* locked for reading */
	struct vma *v;
	struct ptable *table; /* locked */
	uint64_t addr;
	pte_t *pte; /* present or idle, of f */
};

/* rmap_lock - find the entry of f. False: it has none, or (try) somebody is at it; nothing
 * is held. Sleeps unless try. Needs: a reference; under design B f's lock. */
bool rmap_lock(struct mm *mm, struct folio *f, bool try, struct rmap *r);
void rmap_unlock(struct mm *mm, struct rmap *r);

#endif
