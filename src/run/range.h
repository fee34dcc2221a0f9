/* SPDX-License-Identifier: MIT */
/*
 * range.h - which addresses are quire's and which the kernel's.
 *
 * munmap(), mprotect() and their like may span both, and each part must go to
 * its owner. quire_contains() says only whether two ranges overlap, so the
 * preload library keeps the set of ranges that it took over.
 *
 *     range_lock();
 *     for (at = start; range_next(at, end, &from, &to); at = to)
 *             [at, from) is the kernel's, [from, to) is quire's
 *     [at, end) is the kernel's
 *     range_unlock();
 *
 * One lock, taken with all signals held off (gate_enter()). It is held across
 * quire_mmap(), quire_munmap() and quire_mremap(), so that nobody can be given
 * an address between its release and its removal from the set.
 * Order: range lock > anything inside libquire.
 */
#ifndef QUIRE_RUN_RANGE_H
#define QUIRE_RUN_RANGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

void range_lock(void);
void range_unlock(void);

/* range_reserve - room for one add or del that splits; -1: no memory. */
int range_reserve(void);

/* Needs: the lock, and for each call one range_reserve(). */
void range_add(uintptr_t start, uintptr_t end);
void range_del(uintptr_t start, uintptr_t end);

/*
 * range_next - the first part of [start, end) that is quire's, in *from, *to.
 * Needs: the lock. Returns false when there is none.
 */
bool range_next(uintptr_t start, uintptr_t end, uintptr_t *from, uintptr_t *to);

/*
 * range_may_overlap - false: [start, end) is surely the kernel's. Two loads, no
 * lock; the bounds only ever grow.
 */
static inline bool range_may_overlap(uintptr_t start, uintptr_t end)
{
	extern _Atomic uintptr_t range_low, range_high;

	return end > atomic_load_explicit(&range_low, memory_order_relaxed) &&
	       start < atomic_load_explicit(&range_high, memory_order_relaxed);
}

/* range_reset - forget everything: in the child of a fork, which has nothing. */
void range_reset(void);

#endif
