/* SPDX-License-Identifier: MIT */
/*
 * fault.h - the fault path: from an address to a mapped page.
 *
 * The "fault lock" is whichever of the VMA lock and the mmap_lock (both for reading)
 * the fault holds. On return r from any function below that takes a struct fault:
 *     the fault lock is held  <=>  !(r & (FAULT_RETRY | FAULT_COMPLETED))
 * with one exception: the first try with FAULT_ALLOW_RETRY and FAULT_RETRY_NOWAIT
 * returns FAULT_RETRY with the lock held. NOWAIT with VMA_LOCK is refused at entry.
 * (fault-path.md 0, LOCK; 1.0; 1.1.)
 *
 *     LOOKUP -> VMA_LOCKED -> DONE
 *                  |-> dropped: wait, or read -> killed? -> LOOKUP, now TRIED
 *     TRIED: sleeps with the lock held, so that the second round is the last,
 *     but for rounds that only waited for memory (CONFIG_STALLS_MAX).
 */
#ifndef CORE_FAULT_H
#define CORE_FAULT_H

#include "core/pgtable.h"
#include "core/vma.h"
#include "rt/rt.h"

enum fault_flag {
	FAULT_WRITE = 1u << 0,
	FAULT_ALLOW_RETRY = 1u << 1,
	FAULT_RETRY_NOWAIT = 1u << 2,
	FAULT_KILLABLE = 1u << 3,
	FAULT_TRIED = 1u << 4,
	FAULT_VMA_LOCK = 1u << 5, /* the fault lock is the VMA lock */
};

/* Results. RETRY_VMA, RECLAIM and MMAP only together with RETRY; never an ERROR with RETRY. */
enum fault_result {
	FAULT_OOM = 1u << 0,     /* the budget cannot hold it */
	FAULT_SIGBUS = 1u << 1,  /* past the end, or a read failed: fault->error */
	FAULT_SIGSEGV = 1u << 2, /* rights */
	FAULT_MAJOR = 1u << 3,   /* waited for a read */
	FAULT_NOPAGE = 1u << 4,  /* mapped already, by us or by someone else */
	FAULT_LOCKED = 1u << 5,  /* the folio is returned locked, with a reference */
	FAULT_RETRY = 1u << 6,
	FAULT_COMPLETED = 1u << 7, /* done, and the fault lock is released */
	FAULT_RETRY_VMA = 1u << 8, /* the VMA lock will do: dropped only for the cache */
	FAULT_RECLAIM = 1u << 9,   /* dropped because memory is needed first */
	FAULT_MMAP = 1u << 10,     /* dropped at once: only the mmap_lock will do */
};
#define FAULT_ERROR (FAULT_OOM | FAULT_SIGBUS | FAULT_SIGSEGV)

struct fault {
	struct mm *mm;
	struct vma *vma;      /* valid while the fault lock is held */
	uint64_t addr;        /* page aligned */
	uint64_t index;       /* of addr in the mapping */
	unsigned flags;       /* enum fault_flag */
	struct ptable *table; /* there before any folio is locked */
	uint64_t window;      /* pages worth mapping at once */
	struct folio *wanted; /* a reference to what it waited for */
	void *copy_buf;       /* this try has charged a private copy, of this content */
	bool copy_made;       /* ... and made it */
	bool copied_in;       /* this try has filled and mapped the page, writable */
	bool wanted_came;     /* it was uptodate when the wait was over */
	pte_t wanted_for;     /* the swap entry that was read, or waited for */
	bool waited_for_read; /* a major fault, over all its tries */
	int error;            /* errno of an ERROR */
};

/* How a fault ended, for the machine's entry. */
enum fault_end {
	FAULT_END_DONE,    /* run the access again */
	FAULT_END_FOREIGN, /* no VMA of this mm */
	FAULT_END_ERROR,
};

struct fault_error {
	int error; /* errno: ENXIO past the end, EIO, ..., ENOMEM, EACCES */
	uint64_t offset;
	void (*on_error)(void); /* the VMA's, as it was */
	void *on_error_arg;
};

/* mm_fault - serve an access of `write` at addr. Sleeps. Needs: no lock at all. */
enum fault_end mm_fault(struct mm *mm, uint64_t addr, bool write, unsigned extra_flags,
			struct fault_error *e);

/* fault_lock_release - drop the fault lock of f, whichever it is. */
void fault_lock_release(struct fault *f);

#endif
