/* SPDX-License-Identifier: MIT */
/*
 * pager.c - the thread that keeps memory free and writes what is dirty.
 *
 * It sleeps until it is kicked (the free reserve is low, too much is dirty) and looks
 * by itself every TICK for old dirty folios and files that changed their size. A
 * kick is one futex call, and only while it sleeps.
 */
#include <errno.h>

#include "core/mm.h"
#include "core/readahead.h"
#include "core/reclaim.h"
#include "core/truncate.h"
#include "core/writeback.h"

#define TICK_NS (100ull * 1000 * 1000)

static bool needs_memory(struct mm *mm)
{
	uint64_t charged = rt_load_u64(&mm->charged, RT_RELAXED);
	uint64_t going = rt_load_u64(&mm->swapping, RT_RELAXED) * RT_PAGE;

	/* What is being written to swap will be free: no more than is needed is sent after it. */
	return charged + reclaim_high(mm) > mm_frame_limit(mm) + going;
}

static void pager_main(void *arg)
{
	struct mm *mm = arg;
	struct pager *p = &mm->pager;
	uint64_t next_tick = rt_now_ns() + TICK_NS;

	while (!rt_load_u32(&p->stop, RT_ACQUIRE)) {
		uint32_t seen = rt_load_u32(&p->wake, RT_ACQUIRE);
		unsigned idle = 0;

		/* However fast it goes again: what is due at a tick is done. */
		while (needs_memory(mm) && idle < 4 && rt_now_ns() < next_tick)
			idle = reclaim_round(mm) > 0 ? 0 : idle + 1;
		writeback_background(mm);
		bool more = readahead_pending(mm);
		uint64_t now = rt_now_ns();
		if (now >= next_tick) {
			mappings_refresh_sizes(mm);
			reclaim_reserve_decay(mm);
			if (p->tick)
				p->tick(p->tick_arg);
			next_tick = now + TICK_NS;
		}
		/* Who saw us awake did not kick: look once more with `sleeping` up. */
		rt_store_u32(&p->sleeping, 1, RT_SEQ_CST);
		if (rt_load_u32(&p->wake, RT_SEQ_CST) == seen &&
		    !rt_load_u32(&p->stop, RT_ACQUIRE) && (idle > 0 || !needs_memory(mm)) &&
		    !rt_load_u32(&p->write, RT_SEQ_CST))
			rt_wait(&p->wake, seen, idle || more ? TICK_NS / 100 : TICK_NS);
		rt_store_u32(&p->sleeping, 0, RT_SEQ_CST);
	}
}

int pager_start(struct mm *mm)
{
	return rt_thread_start(&mm->pager.thread, pager_main, mm, "quire-pager");
}

void pager_stop(struct mm *mm)
{
	rt_store_u32(&mm->pager.stop, 1, RT_RELEASE);
	rt_add_u32(&mm->pager.wake, 1, RT_SEQ_CST);
	rt_wake(&mm->pager.wake, 1);
	rt_thread_join(&mm->pager.thread);
}

void pager_kick(struct mm *mm)
{
	struct pager *p = &mm->pager;

	/* Seen asleep by one kicker alone: the others save the call. */
	if (rt_load_u32(&p->sleeping, RT_SEQ_CST) && rt_cas_u32(&p->sleeping, 1, 0, RT_SEQ_CST)) {
		rt_add_u32(&p->wake, 1, RT_SEQ_CST);
		rt_wake(&p->wake, 1);
	}
}

void pager_kick_write(struct mm *mm)
{
	rt_store_u32(&mm->pager.write, 1, RT_SEQ_CST);
	pager_kick(mm);
}

void pager_progress(struct mm *mm)
{
	struct pager *p = &mm->pager;

	rt_add_u32(&p->progress, 1, RT_SEQ_CST);
	if (rt_load_u32(&p->waiters, RT_SEQ_CST) > 0)
		rt_wake(&p->progress, UINT32_MAX);
}

void pager_freed(struct mm *mm, uint64_t pages)
{
	struct pager *p = &mm->pager;

	rt_add_u32(&p->freed, 1, RT_SEQ_CST);
	if (rt_load_u32(&p->hungry, RT_SEQ_CST) > 0)
		rt_wake(&p->freed, pages < UINT32_MAX ? (unsigned)pages : UINT32_MAX);
}

void pager_wait_freed(struct mm *mm, uint32_t seq)
{
	struct pager *p = &mm->pager;

	rt_add_u32(&p->hungry, 1, RT_SEQ_CST);
	/* Not long: what comes clean by a write, or is unpinned, is not announced here. */
	if (rt_load_u32(&p->freed, RT_SEQ_CST) == seq)
		rt_wait(&p->freed, seq, TICK_NS / 10);
	rt_sub_u32(&p->hungry, 1, RT_SEQ_CST);
}

void pager_wait(struct mm *mm, uint32_t seq)
{
	struct pager *p = &mm->pager;

	rt_add_u32(&p->waiters, 1, RT_SEQ_CST);
	if (rt_load_u32(&p->progress, RT_SEQ_CST) == seq)
		rt_wait(&p->progress, seq, TICK_NS);
	rt_sub_u32(&p->waiters, 1, RT_SEQ_CST);
}
