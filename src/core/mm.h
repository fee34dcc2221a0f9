/* SPDX-License-Identifier: MIT */
/*
 * mm.h - an address space with a budget: what ties the rest together.
 *
 * mm_open() starts the pager (background reclaim and write-back); mm_close() stops
 * it. The calls that change the space (mm_map, mm_unmap, ...) take the mmap_lock for
 * writing; faults do not take it but on the slow path.
 *
 * The budget counts frames, anonymous pages, private copies, our own structures, and what the
 * machine's page tables and the object's index cost. A charge for a frame fails at
 * the budget; metadata is always granted and pushes frames out.
 *
 * Field key: (c) constant   (a) atomic   (M) mmap_lock, write to change
 *   (L) lru.lock   (T) tables_lock
 */
#ifndef CORE_MM_H
#define CORE_MM_H

#include "base/ghost.h"
#include "base/list.h"
#include "core/anon_vma.h"
#include "core/bounce.h"
#include "core/config.h"
#include "core/folio.h"
#include "core/frames.h"
#include "core/mapping.h"
#include "core/radix.h"
#include "core/rwlock.h"
#include "core/slab.h"
#include "core/stats.h"
#include "core/swap.h"
#include "core/vma.h"
#include "core/waitq.h"
#include "rt/rt.h"
#include "store/store.h"

/* What a fault may hold while it waits; LOCKING.md has the table. */
enum retry_policy {
	RETRY_P0_MMAP,     /* drop, wait, retry under the mmap_lock */
	RETRY_P1_VMA,      /* drop, wait, retry under the VMA lock */
	RETRY_P2_HOLD,     /* keep the lock */
	RETRY_P3_UPTODATE, /* keep it if the folio is uptodate and not under write-back */
	RETRY_P4_FOLIO,    /* drop, lock the folio, try the VMA lock again, map */
};

struct lru {
	struct rt_lock lock;
	struct list_node cold, hot;     /* (L) newest first */
	uint64_t cold_pages, hot_pages; /* (L) on the lists */
	uint64_t small_pages;           /* (L) of both, in folios of one page */
	uint32_t clock;                 /* (L) pages evicted so far, wraps */
	struct ghost ghost;             /* (L) when what was evicted */
	void *ghost_memory;
	size_t ghost_bytes;
};

/* A range that MADV_WILLNEED asked for and buffers were short of. */
struct later_read {
	struct mapping *mapping; /* held; NULL: free */
	uint64_t index, end;
};

struct pager {
	struct rt_thread thread;
	rt_u32 wake; /* raised to wake it */
	rt_u32 sleeping;
	rt_u32 stop;
	rt_u32 write;            /* somebody wants dirty folios written */
	rt_u32 progress;         /* raised when memory or write-back came along */
	rt_u32 waiters;          /* threads that wait on progress */
	rt_u32 freed;            /* raised when reclaim freed pages */
	rt_u32 hungry;           /* threads that wait on freed: as many are woken as pages came */
	void (*tick)(void *arg); /* (c) every 100 ms, on the pager, or NULL */
	void *tick_arg;
};

struct mm {
	struct rwlock mmap_lock;
	rt_ptr index;                      /* struct vma_index: (M) to write, RCU to read */
	struct vma *write_locked;          /* (M) released by mm_write_unlock() */
	struct vma *retired_vmas;          /* (M) freed after a grace period */
	struct vma_index *retired_indexes; /* (M) */
	uint32_t retired;                  /* (M) how many */
	struct list_node mappings;         /* (M) */
	uint64_t next_id;                  /* (M) */

	rt_u64 budget;          /* (a) bytes */
	rt_u64 charged;         /* (a) bytes, all of the following three */
	rt_u64 charged_max;     /* (a) */
	rt_u64 metadata;        /* (a) bytes */
	rt_u64 owned;           /* (a) pages */
	rt_u64 cached;          /* (a) pages of files */
	rt_u64 anon;            /* (a) anonymous pages in memory */
	rt_u64 committed;       /* (a) pages of writable anonymous memory; raised under M */
	rt_u64 mapped;          /* (a) pages */
	rt_u64 dirty;           /* (a) pages, at folio granularity */
	rt_u64 writeback;       /* (a) pages */
	rt_u64 swapping;        /* (a) of them, those that reclaim waits for */
	rt_u64 pinned;          /* (a) pages */
	rt_u64 reserve;         /* (a) bytes, see reclaim_low() */
	rt_u64 inflight;        /* (a) folios that are being read, or that a fault waits for */
	rt_u64 write_failed_ns; /* (a) when a write last failed; 0: one succeeded since */

	enum retry_policy retry; /* (c) */
	enum rmap_design rmap;   /* (c) */
	uint64_t ahead_max;      /* (c) pages of readahead under way per stream, 0: none */
	unsigned dirty_percent;  /* (c) of the budget, above which writers wait */

	/* Two kinds of nodes: who stands in one that is used again finds what he looked for,
	 * a folio or a table, of another place: and tells by its key. */
	struct slab folios, nodes, table_nodes, tables_slab, vmas, anon_vmas;
	struct radix tables; /* (T) to write; see pgtable.h */
	struct rt_lock tables_lock;
	struct waitq waitq;
	struct lru lru;
	struct bounce bounce;
	struct swap swap;
	struct frames frames;
	struct rt_lock
		anon_lock; /* a VMA gets its anon_vma: over that one's lock, and its slab's */
	struct rt_ioq ioq;
	struct rt_mmu mmu;
	struct pager pager;
	struct rt_lock later_lock;
	struct later_read later[CONFIG_LATER]; /* (later_lock) */
	struct rt_lock reclaim_lock;     /* one round of reclaim at a time; sleeps in the machine */
	struct reclaim_scratch *scratch; /* (reclaim_lock) */
	struct rt_lock write_lock;       /* one sorted write-out at a time; sleeps for I/O */
	struct folio **write_scratch;
	struct mm_stats stats[CONFIG_STATS_SHARDS];
};

struct mm_options {
	uint64_t budget;
	enum retry_policy retry;
	uint64_t ahead_max;
	unsigned dirty_percent;
	enum rmap_design rmap;
	int swap_handle; /* a file of its own, or -1: no swap; the caller's */
	uint64_t swap_bytes;
	void (*tick)(void *arg);
	void *tick_arg;
};

/* mm_open - 0 or -errno; *mm_close() undoes it. */
int mm_open(struct mm *mm, const struct mm_options *o);
/* mm_close - write back, unmap, free. The first write error. Needs: nobody else. */
int mm_close(struct mm *mm);

void mm_write_lock(struct mm *mm);   /* mmap_lock for writing; sleeps */
void mm_write_unlock(struct mm *mm); /* and every VMA that was write-locked */
/* mm_freeze, mm_thaw - no fault in flight, no change: around fork(2). */
void mm_freeze(struct mm *mm);
void mm_thaw(struct mm *mm);

bool mm_charge_pages(struct mm *mm, uint64_t pages); /* false: over the budget */
/* mm_charge_copy - one private page; 0, -EAGAIN: reclaim first, -ENOMEM: copies have
 * all the room that they may have; the rest is for files to be read through. */
int mm_charge_copy(struct mm *mm);
void mm_uncharge_pages(struct mm *mm, uint64_t pages);
uint64_t mm_frame_limit(struct mm *mm); /* bytes, of all charges, above which no frame */
void mm_charge_metadata(struct mm *mm, uint64_t bytes);
/* mm_charge_buffers - metadata that can wait: false if it does not fit now. */
bool mm_charge_buffers(struct mm *mm, uint64_t pages);
void mm_uncharge_metadata(struct mm *mm, uint64_t bytes);

/* mm_map - map store (owned by the mm from here on, also on failure) at *addr.
 * flags: RT_VIEW_*. 0 or -errno. */
int mm_map(struct mm *mm, struct store *store, uint64_t index, uint64_t len, unsigned rights,
	   unsigned flags, uint64_t *addr);
/* mm_map_anon - the same for anonymous memory, zeros at first. noreserve: more than can find a
 * place, if there is a swap store. -ENOMEM: it would not find a place. */
int mm_map_anon(struct mm *mm, uint64_t len, unsigned rights, unsigned flags, bool noreserve,
		uint64_t *addr);
void mm_uncommit(struct mm *mm, uint64_t pages);
int mm_unmap(struct mm *mm, uint64_t addr, uint64_t len);
int mm_protect(struct mm *mm, uint64_t addr, uint64_t len, unsigned rights);
int mm_remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, bool may_move,
	     bool fixed, uint64_t *addr);
int mm_advise(struct mm *mm, uint64_t addr, uint64_t len, enum vma_advice advice);
/* mm_dontneed - unmap the range; private copies are lost. */
int mm_dontneed(struct mm *mm, uint64_t addr, uint64_t len);
int mm_set_on_error(struct mm *mm, uint64_t addr, uint64_t len, void (*fn)(void), void *arg);
/* mm_covered - is every page of the range in some VMA? Needs: mmap_lock. */
bool mm_covered(struct mm *mm, uint64_t addr, uint64_t len);
/* mm_resident - bit 0 cached or own, 1 mapped, 2 dirty, for each page. */
int mm_resident(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec);

#endif
