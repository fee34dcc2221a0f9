/* SPDX-License-Identifier: MIT */
/*
 * pool.h (native) - which frames of a pool are there, and which are merely populated.
 *
 *	         claim, claim_empty            rt_pool_drop, of a few
 *	EMPTY ------------------------> THERE -----------------------> STALE
 *	  ^     emptied, rt_pool_drop    |  ^      claim                 |
 *	  +------------------------------+  +----------------------------+
 *	  +------- shed, when there are too many; claim_empty -----------+
 *
 * A dropped frame stays populated for a while: to empty one is a TLB flush (26 us with a second
 * thread running), and to copy a page into an empty one costs 2 to 7 us, into a stale one that
 * was touched lately 0.1 to 0.2. There are at most STALE_MAX of them.
 *
 * EMPTY: nothing is mapped there. The other two: a page is, and the program never comes
 * here, so that the kernel alone could take it away, and it brings it back.
 */
#ifndef RT_NATIVE_POOL_H
#define RT_NATIVE_POOL_H

#include "rt/rt.h"

/* rt_pool_claim - the first frames of n that are all empty or all stale become there; *k is
 * how many. True: they were stale, and can be written. */
bool rt_pool_claim(struct rt_pool *p, uint64_t frame, uint64_t n, uint64_t *k);
/* rt_pool_claim_empty - n frames become there, and nothing is mapped in them yet. */
void rt_pool_claim_empty(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frame, uint64_t n);
/* rt_pool_emptied - n frames are not there any more: nothing is mapped in them. */
void rt_pool_emptied(struct rt_pool *p, uint64_t frame, uint64_t n);

#endif
