/* SPDX-License-Identifier: MIT */
/*
 * filemap.h - the page cache: which folios of a mapping are in memory.
 *
 * Lookup takes no lock: RCU, radix, tryget, then identity. Adding and removing
 * happen under slots_lock; removing also under the folio lock. i_size changes under
 * slots_lock and every add looks at it there: no folio enters past the end.
 *
 *     filemap_add   -> locked, not uptodate, one reference for the cache and one
 *                      for the caller; on the cold list
 *     filemap_read  -> uptodate, or an error
 *     filemap_del   -> out of the map; its memory was dropped first
 */
#ifndef CORE_FILEMAP_H
#define CORE_FILEMAP_H

#include "core/folio.h"
#include "core/mapping.h"

/* filemap_get - the folio that holds page index, with a reference, or NULL. It may
 * leave the mapping at any time until it is locked. */
struct folio *filemap_get(struct mapping *m, uint64_t index);

/* filemap_add - a new folio of 2^order pages at index (a multiple of that), charged.
 * 0; -EEXIST: a page of the range is cached; -ENOMEM: over the budget, reclaim and
 * try again; -ENXIO: past the end of the file. extra: state bits. */
int filemap_add(struct mapping *m, uint64_t index, unsigned order, uint32_t extra,
		struct folio **out);

/*
 * filemap_read - fill f from the store, and zero past its end. 0 (uptodate, and BOUNCED)
 * or -errno. Needs: f locked, not uptodate, order 0. Sleeps.
 *
 * The content stays in the buffer that it was read to until the fault that asked for it
 * maps it: one call then fills and maps the page (pgtable_copy). A write into the object
 * takes a lock of the object's that all faults of the file would share. Who needs the
 * content in the object before that, settles.
 */
int filemap_read(struct mapping *m, struct folio *f);
/* filemap_settle - bring what is BOUNCED into the object. 0 or -errno. Needs: f locked. */
int filemap_settle(struct mapping *m, struct folio *f);
/* filemap_unbounce - the content is in the object, or not wanted: free the buffer. */
void filemap_unbounce(struct mm *mm, struct folio *f);

/* filemap_fill - the same from a buffer, of which `got` bytes came from the store. */
int filemap_fill(struct mapping *m, struct folio *f, void *buf, int64_t got);

/* filemap_del - remove f and drop its memory; wakes nobody, f stays locked.
 * Needs: f locked, unmapped, not under write-back; a reference of the caller's. */
void filemap_del(struct mapping *m, struct folio *f);
/* The two halves, for reclaim, which drops many runs at once: the memory must be
 * gone before the entry is. */
void filemap_forget(struct mapping *m, struct folio *f, bool remember);

/* filemap_take_bounced - the buffer is the caller's, who puts it into the object, or gives
 * it back. Needs: f locked and BOUNCED, and stays locked until then. */
void *filemap_take_bounced(struct folio *f);
void filemap_give_bounced(struct folio *f, void *buf);

/* filemap_unmap - unmap pages [index, end) in every view. Returns the pages. */
uint64_t filemap_unmap(struct mapping *m, uint64_t index, uint64_t end, bool reclaim);
/* filemap_mkclean - the same with pgtable_mkclean(). */
bool filemap_mkclean(struct mapping *m, uint64_t index, uint64_t end);

#endif
