/* SPDX-License-Identifier: MIT */
/*
 * truncate.h - the file's size changes while it is mapped.
 *
 * Shrinking, in this order: i_size (under slots_lock: from here on no folio enters
 * past the end), then unmap what is past the end in every view, then remove those
 * folios, each under its lock (which waits for a read or write under way), then zero
 * the rest of the last page. A page past the end is SIGBUS from then on; what was
 * written past it is gone and never reaches the store.
 * Growing: i_size. The new pages read what the store has: zeros.
 */
#ifndef CORE_TRUNCATE_H
#define CORE_TRUNCATE_H

#include "core/mapping.h"

/* mapping_set_size - Sleeps. Needs: m->size_lock; no folio lock. */
void mapping_set_size(struct mapping *m, uint64_t size);
/* mapping_zero_tail - what was stored past the end in the last page goes: the file is
 * about to grow, and those bytes read zero. Needs: as mapping_set_size(). */
void mapping_zero_tail(struct mapping *m);
/* mapping_extend - the caller has zeroed the tail, and written up to at_least. */
void mapping_extend(struct mapping *m, uint64_t at_least);
/* mapping_refresh_size - look at the store: it may have grown. Never shrinks: the caller
 * may be inside a fault. Sleeps. Needs: no folio lock. */
void mapping_refresh_size(struct mapping *m);
/* mapping_resize - resize(arg) makes the file `size` bytes long: 0, or -errno, which is
 * returned. Ours and the file's change as one. Sleeps. Needs: m held, no lock. */
int mapping_resize(struct mapping *m, uint64_t size, int (*resize)(void *arg), void *arg);
/* mappings_refresh_sizes - of every mapping, either way. Pager only. */
void mappings_refresh_sizes(struct mm *mm);
/* mapping_invalidate - forget the clean pages of [index, end), write the dirty ones
 * first: somebody is about to change, or has changed, the store behind us. 0 or the
 * write error. Sleeps. */
int mapping_invalidate(struct mapping *m, uint64_t index, uint64_t end);

#endif
