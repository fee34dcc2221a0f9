/* SPDX-License-Identifier: MIT */
/*
 * anon_vma.h - which VMAs may map an anonymous folio: the way from a folio to its entry.
 *
 * A folio has no list of its entries. It names an anon_vma and an index; every VMA that
 * was split off, or moved from, the one where the folio was born is on that anon_vma's
 * list, and a page of it has the index that it was born with: its address then, in pages.
 * So a walk looks at (at most) one entry in each of few VMAs. There is no fork here, hence
 * at most one of them has the folio, and each anon_vma is its own root.
 *
 *     none --anon_vma_prepare (first fault, mmap_lock)--> the VMA's, for good
 *     split, merge, mremap: the new VMA joins the same (anon_vma_clone)
 *
 * A VMA takes its neighbour's if the two could be merged one day; so the neighbours must
 * hold still, which is why the first fault runs under the mmap_lock (fault-path.md 1.1).
 *
 * From a folio to a locked anon_vma, two ways (fault-path.md 1.2), one option of the mm:
 *   A  without the folio lock: RCU, sample folio->anon, lock, look again whether it is
 *      still that one. A mover changes it with the lock held for writing.
 *   B  with the folio lock, under which it does not change. A mover needs no more.
 *
 * Type-stable: who samples a pointer to one finds an anon_vma, perhaps another's.
 *
 * Field key: (a) atomic   (W) lock for writing to change, for reading to read
 */
#ifndef CORE_ANON_VMA_H
#define CORE_ANON_VMA_H

#include "base/list.h"
#include "core/rwlock.h"
#include "rt/rt.h"

struct folio;
struct mm;
struct vma;

/* How a walker finds the anon_vma of a folio; see above. */
enum rmap_design { RMAP_A_UNLOCKED, RMAP_B_LOCKED };

struct anon_vma {
	rt_u32 refs;           /* (a) VMAs on the list, and walkers; 0: free */
	struct rwlock lock;    /* sleeps */
	struct list_node vmas; /* (W) by vma->by_anon */
	rt_u32 write_error;    /* (a) errno of a failed write of its pages, until it is told */
	void *free_link;       /* the slab's */
};

/* anon_vma_prepare - see that v has one. 0 or -ENOMEM. Sleeps. Needs: the mmap_lock. */
int anon_vma_prepare(struct mm *mm, struct vma *v);
/* anon_vma_clone - v, not in the index yet, joins those of `from`. anon_vma_unlink - v leaves
 * it; both: nothing if there is none. Sleep. Needs: mmap_lock for writing. */
void anon_vma_clone(struct vma *v, const struct vma *from);
void anon_vma_unlink(struct mm *mm, struct vma *v);

/* anon_vma_get - the anon_vma of f, with a reference; NULL: it has none, or f is in no
 * VMA. Never sleeps. Needs: a reference to f. */
struct anon_vma *anon_vma_get(struct mm *mm, struct folio *f);
void anon_vma_put(struct mm *mm, struct anon_vma *a);

/*
 * anon_vma_lock_read - the anon_vma of f, locked for reading and still that of f, with a
 * reference. NULL: none; or try, and a writer is at it (*contended).
 * Sleeps, unless try. Needs: a reference to f; under design B its lock.
 */
struct anon_vma *anon_vma_lock_read(struct mm *mm, struct folio *f, bool try, bool *contended);
void anon_vma_unlock_read(struct mm *mm, struct anon_vma *a);

#endif
