/* SPDX-License-Identifier: MIT */
/*
 * frames.h - which frames of the machine's pool are taken: where anonymous pages wait that
 * no view shows.
 *
 * A frame is an address more than it is memory: there are more of them than the budget has
 * pages, so that a stretch of a view finds a stretch of frames and is moved in one call. Low
 * numbers first: the machine may keep the memory of what was dropped last.
 *
 * Field key: (c) constant   (L) lock
 */
#ifndef CORE_FRAMES_H
#define CORE_FRAMES_H

#include "rt/rt.h"

struct mm;

#define FRAME_NONE UINT32_MAX

struct frames {
	struct rt_pool pool; /* (c) */
	uint32_t count;      /* 0: no anonymous memory so far; set once, by frames_open() */
	struct rt_lock lock; /* leaf */
	uint64_t *taken;     /* (L) bitmap */
	rt_u32 dull;         /* (a) pages that were not the same throughout, since one was */
	void *zeros;         /* (c) CONFIG_TOUCH_PAGES pages, never stored to */
};

/* frames_open - before the first anonymous mapping; again: nothing. 0 or -errno. Needs:
 * mmap_lock for writing. */
int frames_open(struct mm *mm);
void frames_close(struct mm *mm);
/* frames_get - a run of n, none of them there; FRAME_NONE: no such run is free. */
uint32_t frames_get(struct mm *mm, uint32_t n);
/* frames_put - the run is free again; drop: what is there of it goes first. */
void frames_put(struct mm *mm, uint32_t frame, uint32_t n, bool drop);
void *frames_at(struct mm *mm, uint32_t frame);

#endif
