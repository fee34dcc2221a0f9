/* SPDX-License-Identifier: MIT */
/*
 * bounce.h - page-aligned buffers between the store and an object's memory.
 *
 * A store writes into (or reads from) one of these, never into a mapped page: a
 * read straight into an alias of the object would leave it mapped there, and
 * unmapping costs 17-19 us when another thread runs. The pool is fixed, and what of it was
 * ever used is part of the budget. Single pages are for faults, which keep one until the page is
 * mapped; should there be none, one is taken from beside the pool. Longer runs are for readahead
 * and write-back, which do without (or wait) when there is none, and may not take the last
 * CONFIG_BOUNCE_RESERVE pages.
 */
#ifndef CORE_BOUNCE_H
#define CORE_BOUNCE_H

#include "rt/rt.h"

struct mm;

struct bounce {
	char *pages;
	uint64_t count;
	uint64_t *map; /* (lock) taken pages, base/bitmap.h */
	uint64_t free; /* (lock) */
	/* (lock) Pages from run_end up to page_start were never used, and are not charged. */
	uint64_t run_end, page_start;
	struct mm *mm; /* that is charged; NULL: none */
	struct rt_lock lock;
	rt_u32 waiters;  /* threads that wait for a page */
	rt_u32 returned; /* raised at each put while there are waiters */
};

/* bounce_init - charges what is always there: the reserve, and a run of the longest. */
int bounce_init(struct bounce *b, struct mm *mm, uint64_t pages);
void bounce_fini(struct bounce *b);
/* bounce_unused - bytes that may still be charged. */
uint64_t bounce_unused(const struct bounce *b);
/* bounce_get_page - one page. Sleeps only when the machine has no memory at all. */
void *bounce_get_page(struct bounce *b);
/* bounce_get_run - n pages in a row, or NULL: others have them, or they do not fit into the
 * budget yet. */
void *bounce_get_run(struct bounce *b, uint64_t n);
void bounce_put(struct bounce *b, void *buf, uint64_t n);

#endif
