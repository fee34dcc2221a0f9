/* SPDX-License-Identifier: MIT */
/*
 * vma.h - a range of addresses with one mapping (or none: anonymous memory), one set of
 * rights, one lock.
 *
 * Finding one without the mmap_lock (vma_lock_under_rcu): enter RCU, look the
 * address up in the index, try the VMA's read lock, leave RCU, then re-validate
 * range and rights: all of them may have changed until the lock was had.
 *
 * Changing one: mmap_lock for writing, then vma_write_lock(), which drains the
 * readers; it stays write-locked until mm_write_unlock(). A VMA that leaves the
 * index stays write-locked for good and is freed after a grace period.
 *
 * Field key: (c) constant   (V) VMA write-locked to write; either lock to read
 *   (R) streams_lock
 */
#ifndef CORE_VMA_H
#define CORE_VMA_H

#include "base/list.h"
#include "core/config.h"
#include "core/rwlock.h"
#include "rt/rt.h"

struct mm;
struct mapping;
struct fault_error;

enum vma_advice { VMA_NORMAL, VMA_RANDOM, VMA_SEQUENTIAL };

/* One sequential reader, as far as the VMA could tell. See readahead.h. */
struct stream {
	uint64_t next;   /* the index whose fault continues it */
	uint64_t ahead;  /* the first index not yet looked at for reading ahead */
	uint32_t window; /* pages it is worth mapping (and reading) at once */
	uint32_t used;   /* streams_clock when it last matched */
	uint32_t streak;
};

struct vma {
	uint64_t start, end;     /* (V) bytes, page aligned */
	uint64_t index;          /* (V) page of the mapping at start; anonymous: any, its own */
	struct mapping *mapping; /* (c) NULL: anonymous memory */
	unsigned rights;         /* (V) RT_READ | RT_WRITE; changes also under anon_vma's lock */
	bool private;            /* (c) */
	bool may_write;          /* (c) rights may come to include RT_WRITE */
	bool committed;          /* (V) counted in mm->committed */
	enum vma_advice advice;  /* (V) */
	void (*on_error)(void);  /* (V) kept for the api: core never calls it */
	void *on_error_arg;      /* (V) */
	struct rwlock lock;
	bool write_locked;        /* mmap_lock for writing */
	bool detached;            /* (V) */
	struct vma *retired_next; /* mm's, after it left the index */
	struct vma *write_locked_next;
	struct list_node by_mapping; /* mapping->views_lock */
	rt_ptr anon_vma;             /* (a) struct anon_vma; once set it stays */
	struct list_node by_anon;    /* its lock */
	struct rt_lock streams_lock;
	uint32_t streams_clock;                /* (R) */
	struct stream streams[CONFIG_STREAMS]; /* (R) */
};

static inline uint64_t vma_index_at(const struct vma *v, uint64_t addr)
{
	return v->index + ((addr - v->start) >> RT_PAGE_SHIFT);
}

static inline uint64_t vma_addr_of(const struct vma *v, uint64_t index)
{
	return v->start + ((index - v->index) << RT_PAGE_SHIFT);
}

static inline uint64_t vma_index_end(const struct vma *v)
{
	return v->index + ((v->end - v->start) >> RT_PAGE_SHIFT);
}

/* The sorted VMAs of an mm: never changed, replaced whole. */
struct vma_index {
	uint64_t count;
	struct vma_index *retired_next;
	size_t bytes;
	struct vma *vma[];
};

/* vma_lock_under_rcu - the VMA at addr, read-locked and valid; NULL: none, or a
 * writer is at it: take the mmap_lock to learn which. Never sleeps. */
struct vma *vma_lock_under_rcu(struct mm *mm, uint64_t addr);
void vma_read_unlock(struct vma *v);
/* vma_find - the first VMA that ends above addr, or NULL. Needs: mmap_lock, or RCU
 * (then the result may be stale: re-check under its lock). */
struct vma *vma_find(struct mm *mm, uint64_t addr);
/* vma_write_lock - drain the readers of v. Needs: mmap_lock for writing. Sleeps. */
void vma_write_lock(struct mm *mm, struct vma *v);

struct vma *vma_new(struct mm *mm);
/* vma_free - one that no index ever held, or after a grace period. */
void vma_free(struct mm *mm, struct vma *v);
/* vma_link, vma_unlink - v is to be found, or not, from the pages of its mapping, and (unlink)
 * from those of its anon_vma. Needs: mmap_lock for writing; link before v is in the index. */
void vma_link(struct vma *v);
void vma_unlink(struct mm *mm, struct vma *v);
/* vma_replace - in the index, put `add` (sorted, n of them) in the place of the
 * VMAs in [start, end), all of which are write-locked and become detached.
 * 0; -ENOMEM: nothing changed. Needs: mmap_lock for writing. */
int vma_replace(struct mm *mm, uint64_t start, uint64_t end, struct vma **add, unsigned n);
/* vma_split_at - make addr a boundary between VMAs. 0 or -ENOMEM. Needs: mmap_lock
 * for writing; write-locks what it splits. */
int vma_split_at(struct mm *mm, uint64_t addr);
/* vma_merge_around - join equal neighbours of and in [start, end), as far as memory
 * allows. Needs: mmap_lock for writing. */
void vma_merge_around(struct mm *mm, uint64_t start, uint64_t end);
/* vma_reap - free what was retired, after a grace period. Sleeps. Needs: mmap_lock
 * for writing. */
void vma_reap(struct mm *mm);

/* The VMAs that [from, to) touches. Needs: mmap_lock. */
#define for_each_vma_in(mm, v, from, to)                                                           \
	for (struct vma *v = vma_find(mm, from); v && v->start < (to); v = vma_find(mm, v->end))

#endif
