/* SPDX-License-Identifier: MIT */
/*
 * swap.h - the swap store: slots of a page each, in a file of the mm's own, and the cache
 * of folios that are found by their slot.
 *
 * A slot is taken while an entry of a page table, or a folio, says that it is its own:
 *
 *     free --swap_alloc (to be written from a folio)--> FOLIO
 *     FOLIO --swap_set_entry: the entry says swap, the folio is freed--> ENTRY
 *     ENTRY --swap_cache_add: a folio to be read into--> ENTRY|FOLIO, cached
 *     ENTRY|FOLIO --mapped: swap_cache_del--> FOLIO     a clean page that was read keeps its
 *                                                       slot: it needs no second write
 *     FOLIO --swap_free (stored to, or gone)--> free
 *
 * A folio is in the cache only as long as an entry names the slot: threads that fault on
 * one entry meet there, and read once. Lookup takes no lock; what it finds may have left the
 * cache, and the slot may have become another page's, until the folio is locked: look again
 * at FOLIO_SWAPCACHE and at the slot (fault-path.md 1.2, 2f).
 *
 * A slot whose write failed is never used again.
 *
 * Field key: (c) constant   (W) swap.lock
 */
#ifndef CORE_SWAP_H
#define CORE_SWAP_H

#include "core/folio.h"
#include "core/radix.h"
#include "rt/rt.h"

struct mm;

#define SLOT_NONE UINT32_MAX

struct swap {
	struct rt_file file; /* (c) */
	uint32_t slots;      /* (c) 0: there is no store */
	struct rt_lock lock; /* leaf, but for the nodes' slab */
	uint8_t *state;      /* (W) of each slot: SLOT_ENTRY, SLOT_FOLIO, SLOT_BAD */
	uint64_t *taken;     /* (W) bitmap: state is not 0 */
	uint32_t hint;       /* (W) where the next run is looked for */
	uint32_t used, bad;  /* (W) used: bad ones, too */
	struct radix cache;  /* (W) to write: slot -> folio */
};

/* swap_open - over the file `handle`, whose blocks the caller has reserved: `bytes`. 0 or
 * -errno. swap_close - Needs: no folio and no entry is left. */
int swap_open(struct mm *mm, int handle, uint64_t bytes);
void swap_close(struct mm *mm);

/* swap_drain - let go of what is cached and nobody's. Needs: nobody else uses mm. */
void swap_drain(struct mm *mm);

/* swap_alloc - the first of a run of at most *n slots; *n is how many. They are for folios.
 * SLOT_NONE: the store is full. */
uint32_t swap_alloc(struct mm *mm, uint32_t *n);
/* swap_has_room - is any slot free? It may be old. */
bool swap_has_room(struct mm *mm);
/* swap_free - the folio's claim ends; bad: and its write has failed. */
void swap_free(struct mm *mm, uint32_t slot, bool bad);
/* swap_set_entry - an entry takes over the folio's claim. */
void swap_set_entry(struct mm *mm, uint32_t slot);
/* swap_entry_gone - an entry that named the slot is no more: a cached folio that nobody
 * else uses goes with it. Does not sleep. Needs: the table's lock. */
void swap_entry_gone(struct mm *mm, uint32_t slot);

/* swap_has_entry - does an entry name the slot? */
bool swap_has_entry(struct mm *mm, uint32_t slot);

/* swap_get - the folio that is cached at slot, with a reference; NULL: none. It may leave
 * the cache until it is locked. */
struct folio *swap_get(struct mm *mm, uint32_t slot);
/* swap_cache_add - f, locked and new, is where the slot's entry is to be read. 0; -EEXIST:
 * there is one; -ENOENT: no entry names the slot any more; -ENOMEM. */
int swap_cache_add(struct mm *mm, uint32_t slot, struct folio *f);
/* swap_cache_del - f leaves the cache. keep: it takes the slot over from its entry, which is
 * gone or shows f now. Needs: f locked and cached; a reference of the caller's. */
void swap_cache_del(struct mm *mm, struct folio *f, bool keep);

/* swap_read - the slot into buf, a page. 0 or -errno. Sleeps. */
int swap_read(struct mm *mm, uint32_t slot, void *buf);

#endif
