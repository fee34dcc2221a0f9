/* SPDX-License-Identifier: MIT */
/*
 * mapping.h - one file's cached pages in one mm, and who maps it.
 *
 * mapping_open() when a store is first mapped; every VMA over it is a view. When
 * the last view goes, a clean mapping is freed; one with dirty folios is idle until
 * the pager has written them back (or a new view revives it).
 *
 * Lock order: mmap_lock > vma lock > folio lock > views_lock > pte lock > slots_lock
 * > dirty_lock. LOCKING.md has the whole table.
 *
 * Field key: (c) constant   (a) atomic   (S) slots_lock   (V) views_lock
 *   (D) dirty_lock   (B) barrier_lock   (M) mm->mmap_lock for writing
 */
#ifndef CORE_MAPPING_H
#define CORE_MAPPING_H

#include "base/list.h"
#include "core/radix.h"
#include "rt/rt.h"

struct mm;
struct store;
struct folio;

struct mapping {
	struct mm *mm;            /* (c) */
	struct store *store;      /* (c) owned */
	struct rt_object object;  /* (c) the memory of the cached pages */
	uint64_t id;              /* (c) for the ghost table */
	struct list_node by_mm;   /* (M) */
	uint32_t views;           /* (M) VMAs over it */
	rt_u32 holds;             /* (a) users without the mmap_lock; raised under it */
	struct rt_lock size_lock; /* held over looking at the store's size and changing
				   * ours, and by writers of file data; may sleep for I/O;
				   * before the folio lock */
	rt_u64 size;              /* (a) i_size in bytes; changes under size_lock and S */
	struct rt_lock slots_lock;
	struct radix folios;             /* (S) to write; RCU to read */
	rt_u64 cached;                   /* (a) pages; changes under S */
	uint64_t dropping, dropping_end; /* (S) pages whose memory reclaim is dropping: no
					  * folio enters there */
	struct rt_lock views_lock;
	struct list_node views_list; /* (V) */
	struct rt_lock dirty_lock;
	struct folio *dirty;      /* (D) stack; holds a reference on each */
	uint64_t dirty_folios;    /* (D) on the stack */
	rt_u64 oldest_ns;         /* (a) when the stack was last empty */
	rt_u64 retry_at_ns;       /* (a) after a failed write: not before */
	bool failing;             /* (D) the last write failed, and that was noted */
	bool syncing;             /* (D) an msync is at it: it wants to know */
	int write_error;          /* (D) the first since it was last reported */
	rt_u32 epoch;             /* (a) which of writes[] new writes count in */
	rt_u32 writes[2];         /* (a) under way; msync waits for the older */
	struct rt_lock sync_lock; /* one msync at a time; sleeps for I/O */

	/* what of the written is durable: see writeback.h */
	struct rt_lock barrier_lock; /* one sync of the store at a time; sleeps for I/O */
	rt_u64 era;                  /* (a) goes on with each sync; changes under B */
	rt_u64 synced;               /* (a) what was written in earlier eras is durable; under B */
	rt_u64 gone;                 /* (a) the last era that a page was written in which is not
				      * cached any more; changes under S */
	rt_u32 syncs_failed;         /* (a) changes under B */
	int sync_error;              /* (B) of the last one that failed */
	bool lost;                   /* (B) one failed when pages were gone that it was for */
};

static inline uint64_t pages_of(uint64_t bytes)
{
	return (bytes + RT_PAGE - 1) >> RT_PAGE_SHIFT;
}

/* mapping_pages - first page index past the end of the file. */
static inline uint64_t mapping_pages(const struct mapping *m)
{
	return pages_of(rt_load_u64(&m->size, RT_ACQUIRE));
}

/* mapping_find - the mapping of the same store, or NULL. Needs: mmap_lock. */
struct mapping *mapping_find(struct mm *mm, const struct store *store);
/* mapping_open - take over store and size; -errno: store is still the caller's.
 * Needs: mmap_lock for writing. */
int mapping_open(struct mm *mm, struct store *store, struct mapping **out);
/* mapping_release - after the last view: free it, or leave it idle while it is dirty
 * or held.
 * Needs: mmap_lock for writing. Sleeps. */
void mapping_release(struct mapping *m);
/* mapping_idle - is no view over it? Needs: no mmap_lock; a hold. */
bool mapping_idle(struct mapping *m);
/* mapping_hold, mapping_unhold - use m after the mmap_lock was dropped. Hold needs the
 * mmap_lock; unhold must not have it: the last one may take it to free m. */
void mapping_hold(struct mapping *m);
void mapping_unhold(struct mapping *m);
/* mapping_destroy - drop every folio, dirty or not, and free. Needs: as above. */
void mapping_destroy(struct mapping *m);

#endif
