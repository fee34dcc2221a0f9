/* SPDX-License-Identifier: MIT */
/* bounce.c - see bounce.h. */
#include "core/bounce.h"

#include <errno.h>

#include "base/bitmap.h"
#include "core/mm.h"

#define RUN_MOST (1ull << CONFIG_READ_ORDER_MAX) /* pages; and one for the request */

static uint64_t pool_bytes(uint64_t pages)
{
	return (pages + 1) * RT_PAGE; /* and the map, one page: 32768 bits */
}

uint64_t bounce_unused(const struct bounce *b)
{
	return (b->page_start - b->run_end) * RT_PAGE;
}

static uint64_t charged_bytes(const struct bounce *b)
{
	return pool_bytes(b->count) - bounce_unused(b);
}

int bounce_init(struct bounce *b, struct mm *mm, uint64_t pages)
{
	ASSERT(pages <= RT_PAGE * 8);
	b->pages = rt_pages_alloc(pool_bytes(pages));
	if (!b->pages)
		return -ENOMEM;
	b->map = (uint64_t *)(b->pages + pages * RT_PAGE);
	b->count = b->free = pages;
	b->run_end = RUN_MOST + 1 < pages ? RUN_MOST + 1 : pages;
	b->page_start = pages - b->run_end > CONFIG_BOUNCE_RESERVE ? pages - CONFIG_BOUNCE_RESERVE
								   : b->run_end;
	b->mm = mm;
	if (mm)
		mm_charge_metadata(mm, charged_bytes(b));
	rt_lock_init(&b->lock);
	rt_store_u32(&b->waiters, 0, RT_RELAXED);
	rt_store_u32(&b->returned, 0, RT_RELAXED);
	return 0;
}

void bounce_fini(struct bounce *b)
{
	ASSERT(b->free == b->count);
	if (b->mm)
		mm_uncharge_metadata(b->mm, charged_bytes(b));
	rt_pages_free(b->pages, pool_bytes(b->count));
}

/* Single pages come from the top, runs from the bottom: they do not mix. */
static void *take_page(struct bounce *b)
{
	void *buf = NULL;

	rt_lock(&b->lock);
	if (b->free > 0) {
		size_t at = bitmap_find_last(b->map, b->count);
		ASSERT(at != BITMAP_NONE);
		bitmap_set_run(b->map, at, 1);
		b->free--;
		if (at >= b->run_end && at < b->page_start) {
			if (b->mm)
				mm_charge_metadata(b->mm, (b->page_start - at) * RT_PAGE);
			b->page_start = at;
		}
		buf = b->pages + at * RT_PAGE;
	}
	rt_unlock(&b->lock);
	return buf;
}

void *bounce_get_page(struct bounce *b)
{
	for (;;) {
		uint32_t seen = rt_load_u32(&b->returned, RT_ACQUIRE);
		void *buf = take_page(b);

		if (buf)
			return buf;
		/* Never wait if it can be helped: the caller may hold a VMA lock, and a
		 * writer that waits for it holds up those who have the buffers. */
		COVER(bounce_empty);
		buf = rt_pages_alloc(RT_PAGE);
		if (buf)
			return buf;
		rt_add_u32(&b->waiters, 1, RT_SEQ_CST);
		buf = take_page(b);
		if (!buf)
			rt_wait(&b->returned, seen, 0);
		rt_sub_u32(&b->waiters, 1, RT_RELAXED);
		if (buf)
			return buf;
	}
}

/* May the pages below `end` be used? Those that never were have to fit into the budget.
 * Needs: the lock. */
static bool may_use(struct bounce *b, uint64_t end)
{
	end = end < b->page_start ? end : b->page_start;
	if (end <= b->run_end)
		return true;
	if (b->mm && !mm_charge_buffers(b->mm, end - b->run_end))
		return false;
	b->run_end = end;
	return true;
}

void *bounce_get_run(struct bounce *b, uint64_t n)
{
	void *buf = NULL;

	rt_lock(&b->lock);
	if (b->free >= n + CONFIG_BOUNCE_RESERVE) {
		size_t at = bitmap_find_run(b->map, b->count - CONFIG_BOUNCE_RESERVE, n);
		if (at != BITMAP_NONE && may_use(b, at + n)) {
			bitmap_set_run(b->map, at, n);
			b->free -= n;
			buf = b->pages + at * RT_PAGE;
		}
	}
	rt_unlock(&b->lock);
	return buf;
}

void bounce_put(struct bounce *b, void *buf, uint64_t n)
{
	uint64_t at = (uint64_t)((char *)buf - b->pages) / RT_PAGE;

	if ((char *)buf < b->pages || at >= b->count) {
		rt_pages_free(buf, RT_PAGE);
		return;
	}

	rt_lock(&b->lock);
	bitmap_clear_run(b->map, at, n);
	b->free += n;
	rt_unlock(&b->lock);
	if (rt_load_u32(&b->waiters, RT_SEQ_CST) > 0) {
		rt_add_u32(&b->returned, 1, RT_SEQ_CST);
		rt_wake(&b->returned, UINT32_MAX);
	}
}
