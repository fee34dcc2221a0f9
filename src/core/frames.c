/* SPDX-License-Identifier: MIT */
/* frames.c - see frames.h. */
#include "core/frames.h"

#include <errno.h>

#include "base/bitmap.h"
#include "core/mm.h"

static size_t map_bytes(uint32_t count)
{
	return (BITMAP_WORDS(count) * sizeof(uint64_t) + RT_PAGE - 1) & ~(RT_PAGE - 1);
}

int frames_open(struct mm *mm)
{
	struct frames *s = &mm->frames;
	uint64_t count = CONFIG_FRAMES(rt_load_u64(&mm->budget, RT_RELAXED) / RT_PAGE);

	if (s->count > 0)
		return 0;
	rt_lock_init(&s->lock);
	if (count >= FRAME_NONE)
		count = FRAME_NONE - 1;
	int err = -ENOMEM;
	s->taken = rt_pages_alloc(map_bytes((uint32_t)count));
	s->zeros = rt_pages_alloc(CONFIG_TOUCH_PAGES * RT_PAGE);
	if (s->taken && s->zeros)
		err = rt_pool_open(&mm->mmu, &s->pool, count);
	if (err) {
		rt_pages_free(s->taken, map_bytes((uint32_t)count));
		rt_pages_free(s->zeros, CONFIG_TOUCH_PAGES * RT_PAGE);
		return err;
	}
	mm_charge_metadata(mm, map_bytes((uint32_t)count));
	s->count = (uint32_t)count;
	return 0;
}

void frames_close(struct mm *mm)
{
	struct frames *s = &mm->frames;

	if (s->count == 0)
		return;
	ASSERT(bitmap_find_run(s->taken, s->count, s->count) == 0); /* all are free */
	rt_pool_close(&mm->mmu, &s->pool);
	mm_uncharge_metadata(mm, map_bytes(s->count));
	rt_pages_free(s->taken, map_bytes(s->count));
	rt_pages_free(s->zeros, CONFIG_TOUCH_PAGES * RT_PAGE);
	s->count = 0;
}

uint32_t frames_get(struct mm *mm, uint32_t n)
{
	struct frames *s = &mm->frames;

	rt_lock(&s->lock);
	size_t at = bitmap_find_run(s->taken, s->count, n);
	if (at != BITMAP_NONE)
		bitmap_set_run(s->taken, at, n);
	rt_unlock(&s->lock);
	return at == BITMAP_NONE ? FRAME_NONE : (uint32_t)at;
}

void frames_put(struct mm *mm, uint32_t frame, uint32_t n, bool drop)
{
	struct frames *s = &mm->frames;

	if (drop)
		rt_pool_drop(&mm->mmu, &s->pool, frame, n);
	rt_lock(&s->lock);
	bitmap_clear_run(s->taken, frame, n);
	rt_unlock(&s->lock);
}

void *frames_at(struct mm *mm, uint32_t frame)
{
	return rt_pool_at(&mm->frames.pool, frame);
}
