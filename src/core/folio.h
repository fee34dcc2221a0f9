/* SPDX-License-Identifier: MIT */
/*
 * folio.h - a run of 2^order pages that is filled, moved and freed as one: of a file, or
 * anonymous.
 *
 *     FREE --folio_new--> NEW --filemap_add--> CACHED --filemap_del--> GONE
 *     The last folio_put() makes it FREE. CACHED it is on one LRU list, or isolated
 *     by reclaim for a moment.
 *
 * Typical use:   f = filemap_get(m, index);     a reference: f stays a folio
 *                folio_lock(f);                 f keeps its identity and content
 *                if (f->mapping != m)           it was removed while we waited:
 *                        unlock, put, look up again
 *                ...  folio_unlock(f);  folio_put(f);
 *
 * A reference keeps the structure. Only the folio lock keeps the identity: filling,
 * mapping, evicting and truncating a folio all happen under it, which is what
 * orders fill, CONTINUE and PUNCH_HOLE of one page (fault-path.md 3).
 *
 * refs = 1 for the cache + 1 for each mapped page + 1 for each holder in passing.
 *
 * Anonymous ones (FOLIO_ANON) have one page, no mapping, and at most one entry, which refers
 * to them also while the machine shows nothing there (pgtable.h: IDLE); anon.h has their
 * life. refs = 1 for the entry + 1 for the swap cache + 1 for each holder in passing; the
 * last folio_put() takes them off the LRU and gives up charge, frame and slot.
 *
 * Field key: (c) constant while allocated   (a) atomic, order stated at the use
 *   (F) folio lock   (S) mapping->slots_lock   (L) mm->lru.lock   (D) mapping->dirty_lock
 *   (R) anon_vma's lock for writing, under design A (anon_vma.h)
 *   (P) lock of the table that its entry is in   (W) swap.lock
 *   Two letters: hold either to read, both to write.
 */
#ifndef CORE_FOLIO_H
#define CORE_FOLIO_H

#include "base/list.h"
#include "rt/rt.h"

struct mapping;
struct mm;

/* state: order in the top byte (c), below it when it was written (WRITEBACK or F), and these
 * bits (a) */
#define FOLIO_LOCKED      (1u << 0)
#define FOLIO_WAITERS     (1u << 1) /* somebody may be queued for LOCKED or WRITEBACK */
#define FOLIO_UPTODATE    (1u << 2) /* content is valid; set and cleared under F */
#define FOLIO_DIRTY       (1u << 3) /* newer than the store; set under F, or D when a write failed */
#define FOLIO_WRITEBACK   (1u << 4)  /* a write of its content is on the way */
#define FOLIO_REFERENCED  (1u << 5)  /* came back by a soft fault since reclaim looked */
#define FOLIO_HOT         (1u << 6)  /* counted in, and on, the hot list (L) */
#define FOLIO_QUEUED      (1u << 7)  /* on the mapping's dirty stack (D) */
#define FOLIO_STREAM      (1u << 8)  /* read ahead of a sequential reader */
#define FOLIO_TESTED      (1u << 9)  /* unmapped by reclaim to see whether it comes back */
#define FOLIO_OFF_LRU     (1u << 10) /* removed: reclaim must not put it back (L) */
#define FOLIO_REDIRTY     (1u << 11) /* a write failed: all of it is dirty */
#define FOLIO_SEEN        (1u << 12) /* was mapped once since it was read */
#define FOLIO_BOUNCED     (1u << 13) /* content is in `bounced`, not in the object (F) */
#define FOLIO_ANON        (1u << 14) /* anonymous (c) */
#define FOLIO_SWAPCACHE   (1u << 15) /* found by its slot (F,W) */
#define FOLIO_ERA_SHIFT   16         /* eight bits: see folio_note_written() */
#define FOLIO_ERA         (0xffu << FOLIO_ERA_SHIFT)
#define FOLIO_ORDER_SHIFT 24

struct folio {
	rt_u32 state;
	rt_u32 refs;   /* (a) 0: free, nobody may raise it */
	rt_u32 mapped; /* (a) present page-table entries; changes under a pte lock */
	rt_u32 pins;   /* (a) of mapped pages; raised under the pte lock */
	union {
		struct mapping *mapping; /* (F,S) NULL once removed */
		rt_ptr anon;             /* (a) ANON: struct anon_vma; changes under F and R */
	};
	uint64_t index;       /* (F,S) first page, a multiple of 2^order; anonymous (F,R) */
	struct list_node lru; /* (L) empty while isolated */
	union {
		struct folio *dirty_next; /* (D) */
		struct {
			uint32_t frame; /* (F,P) ANON: + 1, of mm->frames: its content; 0: none */
			uint32_t slot;  /* (F) ANON: + 1, of mm->swap: its own; 0: none */
		};
	};
	union {                     /* last: see slab.h */
		uint64_t dirty_map; /* (F) DIRTY: which 64ths (or pages) of it */
		void *bounced;      /* (F) BOUNCED: a page of mm->bounce; never dirty too */
	};
};

static inline unsigned folio_order(const struct folio *f)
{
	return rt_load_u32(&f->state, RT_RELAXED) >> FOLIO_ORDER_SHIFT;
}

static inline uint64_t folio_pages(const struct folio *f)
{
	return 1ull << folio_order(f);
}

static inline bool folio_test(const struct folio *f, uint32_t bit)
{
	return rt_load_u32(&f->state, RT_ACQUIRE) & bit;
}

static inline void folio_set(struct folio *f, uint32_t bit)
{
	rt_or_u32(&f->state, bit, RT_ACQ_REL);
}

static inline void folio_clear(struct folio *f, uint32_t bit)
{
	rt_and_u32(&f->state, ~bit, RT_ACQ_REL);
}

/* folio_new - one reference, locked, in no mapping. NULL: no memory for the
 * structure. The frames are charged by the caller. */
struct folio *folio_new(struct mm *mm, unsigned order);

/* folio_tryget - a reference, unless the folio is free. For lockless lookups: check
 * mapping and index afterwards. */
bool folio_tryget(struct folio *f);
void folio_get(struct folio *f); /* Needs: a reference already, or its list's lock */
void folio_put(struct mm *mm, struct folio *f);

bool folio_trylock(struct folio *f);
/* folio_lock - sleeps. 0, or -EINTR (not locked) when killable and killed.
 * Needs: a reference. */
int folio_lock(struct mm *mm, struct folio *f, bool killable);
/* folio_unlock - Needs: the lock. The bit is cleared first, and from then on reclaim may
 * free what nobody holds: what follows (the waiters bit, under the lock of the queue's
 * bucket) is done to a structure that may be another folio by then, and is harmless to
 * it: a bucket holds all waiters of that address, and who is woken for nothing looks
 * again. */
void folio_unlock(struct mm *mm, struct folio *f);
/* folio_wait_writeback - until the write on the way at the call has ended. Sleeps. */
void folio_wait_writeback(struct mm *mm, struct folio *f);
/* folio_end_writeback - Needs: a reference. */
void folio_end_writeback(struct mm *mm, struct folio *f);
/* folio_mapped_first - a page of f was mapped when none was: the first time since it was
 * read, or a return since reclaim unmapped it, the sign of use that reclaim goes by. */
void folio_mapped_first(struct folio *f);

#endif
