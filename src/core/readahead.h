/* SPDX-License-Identifier: MIT */
/*
 * readahead.h - what a VMA has learned about how it is read.
 *
 * A VMA keeps a few streams. A fault that hits where a stream said the next one
 * would come continues it, and its window grows fourfold (1, 4, 16, ... pages);
 * any other fault starts a new stream in the place of the one that matched longest
 * ago, with a window of one page. So random reads bring one page each, and up to
 * CONFIG_STREAMS sequential readers of one VMA are told apart without a hint.
 *
 * A window is both what is mapped in one go when it is cached, and what is read in
 * one go when it is not; past AHEAD_WINDOW pages the stream also keeps
 * up to mm->ahead_max pages of reads under way in front of its reader.
 *
 * MADV_RANDOM: always one page. MADV_SEQUENTIAL: starts with a large window.
 */
#ifndef CORE_READAHEAD_H
#define CORE_READAHEAD_H

#include "core/vma.h"

struct ra_plan {
	uint64_t window; /* pages worth mapping from the fault on, >= 1 */
	uint64_t from;   /* what is before this was looked at already: cached, or asked for */
	uint64_t ahead;  /* read up to here (exclusive) */
	bool stream;
};

/* readahead_plan - learn from a fault at index. Does not sleep; never fails. */
struct ra_plan readahead_plan(struct mm *mm, struct vma *v, uint64_t index);

/* readahead_mapped - [index, end) was mapped: where the next fault continues. */
void readahead_mapped(struct vma *v, uint64_t index, uint64_t end);
/* readahead_reached - the stream that expects its next fault in (index, next] has been
 * read ahead up to `next`. */
void readahead_reached(struct vma *v, uint64_t index, uint64_t next);

/* readahead_submit - start reading what is not cached of [index, end), in folios as
 * large as alignment allows. Returns the first index that was not tried, because
 * memory or buffers ran out. */
uint64_t readahead_submit(struct mapping *m, uint64_t index, uint64_t end);

/* readahead_later - let the pager read [index, end) as buffers come free. Forgotten when
 * memory runs out, or when too many are asked for: it is only advice. Needs: m kept. */
void readahead_later(struct mapping *m, uint64_t index, uint64_t end);
/* readahead_pending - go on with them. True: there is more. Pager only. */
bool readahead_pending(struct mm *mm);

#endif
