/* SPDX-License-Identifier: MIT */
/* folio.c - see folio.h. */
#include "core/folio.h"

#include "core/anon.h"
#include "core/mm.h"

struct folio *folio_new(struct mm *mm, unsigned order)
{
	struct folio *f = slab_alloc(&mm->folios);

	if (!f)
		return NULL;
	/* A stale reader may try refs at any moment: it stays 0 until all is set. */
	ASSERT(rt_load_u32(&f->refs, RT_RELAXED) == 0);
	rt_store_u32(&f->state, FOLIO_LOCKED | order << FOLIO_ORDER_SHIFT, RT_RELAXED);
	rt_store_u32(&f->mapped, 0, RT_RELAXED);
	rt_store_u32(&f->pins, 0, RT_RELAXED);
	rt_note_live(f, sizeof(*f));
	rt_note_class(f, "folio");
	rt_note_held(f, true);
	f->mapping = NULL;
	f->index = 0;
	list_init(&f->lru);
	f->dirty_next = NULL;
	f->dirty_map = 0;
	rt_store_u32(&f->refs, 1, RT_RELEASE); /* pairs with folio_tryget() */
	return f;
}

bool folio_tryget(struct folio *f)
{
	for (;;) {
		uint32_t refs = rt_load_u32(&f->refs, RT_RELAXED);
		if (refs == 0)
			return false;
		if (rt_cas_u32(&f->refs, refs, refs + 1, RT_ACQUIRE))
			return true;
	}
}

void folio_get(struct folio *f)
{
	uint32_t old = rt_add_u32(&f->refs, 1, RT_RELAXED);

	ASSERT(old > 0);
}

void folio_put(struct mm *mm, struct folio *f)
{
	uint32_t old = rt_sub_u32(&f->refs, 1, RT_ACQ_REL);

	ASSERT(old > 0);
	if (old > 1)
		return;
	if (folio_test(f, FOLIO_ANON))
		anon_free(mm, f);
	ASSERT(rt_load_u32(&f->mapped, RT_RELAXED) == 0);
	ASSERT(f->mapping == NULL);
	ASSERT(list_empty(&f->lru));
	rt_note_free(f, sizeof(*f));
	slab_free(&mm->folios, f);
}

bool folio_trylock(struct folio *f)
{
	if (rt_or_u32(&f->state, FOLIO_LOCKED, RT_ACQUIRE) & FOLIO_LOCKED)
		return false;
	rt_note_held(f, true);
	return true;
}

int folio_lock(struct mm *mm, struct folio *f, bool killable)
{
	while (!folio_trylock(f)) {
		rt_note_want(f);
		int err = waitq_sleep(&mm->waitq, f, FOLIO_LOCKED, killable);
		if (err)
			return err;
	}
	return 0;
}

void folio_unlock(struct mm *mm, struct folio *f)
{
	rt_note_dropped(f);
	uint32_t old = rt_and_u32(&f->state, ~FOLIO_LOCKED, RT_RELEASE);

	ASSERT(old & FOLIO_LOCKED);
	if (old & FOLIO_WAITERS)
		waitq_wake(&mm->waitq, f, FOLIO_LOCKED);
}

void folio_wait_writeback(struct mm *mm, struct folio *f)
{
	if (folio_test(f, FOLIO_WRITEBACK))
		waitq_sleep(&mm->waitq, f, FOLIO_WRITEBACK, false);
}

void folio_end_writeback(struct mm *mm, struct folio *f)
{
	uint32_t old = rt_and_u32(&f->state, ~FOLIO_WRITEBACK, RT_RELEASE);

	ASSERT(old & FOLIO_WRITEBACK);
	if (old & FOLIO_WAITERS)
		waitq_wake(&mm->waitq, f, FOLIO_WRITEBACK);
}

void folio_mapped_first(struct folio *f)
{
	if (!folio_test(f, FOLIO_SEEN))
		folio_set(f, FOLIO_SEEN);
	else if (!folio_test(f, FOLIO_REFERENCED))
		folio_set(f, FOLIO_REFERENCED);
}
