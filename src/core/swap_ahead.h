/* SPDX-License-Identifier: MIT */
/*
 * swap_ahead.h - readahead of the swap store.
 *
 * What was written side by side lies side by side: pages in a row whose entries name slots
 * in a row are read in one request, into one buffer. Each page of it then waits in the swap
 * cache, BOUNCED in its part of the buffer, and neighbours are mapped from there in one call.
 * How far is worth it is readahead.h's business, as for files.
 */
#ifndef CORE_SWAP_AHEAD_H
#define CORE_SWAP_AHEAD_H

#include "core/vma.h"

/* swap_ahead - start reading what is swapped out, and not cached, of pages [index, end) of
 * v. Returns the first index that was not tried, because memory or buffers ran out. Does
 * not wait for them. Needs: a lock that keeps v. */
uint64_t swap_ahead(struct mm *mm, struct vma *v, uint64_t index, uint64_t end);

#endif
