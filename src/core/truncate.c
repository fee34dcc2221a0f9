/* SPDX-License-Identifier: MIT */
/* truncate.c - see truncate.h. */
#include "core/truncate.h"

#include <errno.h>
#include <string.h>

#include "core/filemap.h"
#include "core/mm.h"
#include "core/writeback.h"

static void set_i_size(struct mapping *m, uint64_t size)
{
	rt_lock(&m->slots_lock);
	rt_store_u64(&m->size, size, RT_RELEASE);
	rt_unlock(&m->slots_lock);
}

/* Zero the bytes of f from `from` (of the file) to its end. Needs: f locked, uptodate. */
static void zero_tail(struct mapping *m, struct folio *f, uint64_t from)
{
	static const char zeros[RT_PAGE];
	uint64_t end = (f->index + folio_pages(f)) * RT_PAGE;

	while (from < end) {
		uint64_t n = RT_PAGE - from % RT_PAGE;
		rt_object_patch(&m->object, from, zeros, n);
		from += n;
	}
}

/* One folio at or over the end. Needs: a reference; takes and drops the lock. */
static void truncate_folio(struct mapping *m, struct folio *f, uint64_t size)
{
	struct mm *mm = m->mm;

	folio_lock(mm, f, false);
	if (f->mapping != m)
		goto out;
	folio_wait_writeback(mm, f);
	if (f->index * RT_PAGE >= size) {
		/* Mapped again between the unmapping and our lock, perhaps. */
		filemap_unmap(m, f->index, f->index + folio_pages(f), false);
		writeback_forget(f);
		filemap_del(m, f);
	} else if (folio_test(f, FOLIO_UPTODATE)) {
		filemap_unmap(m, pages_of(size), f->index + folio_pages(f), false);
		if (filemap_settle(m, f) == 0)
			zero_tail(m, f, size);
		else
			filemap_del(m, f); /* never mapped: the next fault reads it, and its end */
	}
out:
	folio_unlock(mm, f);
}

void mapping_set_size(struct mapping *m, uint64_t size)
{
	uint64_t old = rt_load_u64(&m->size, RT_ACQUIRE);
	void *value;
	uint64_t key;

	if (size == old)
		return;
	if (size > old)
		mapping_zero_tail(m);
	if (size > old && rt_object_grow(&m->object, pages_of(size)) != 0)
		return; /* no room for the pages: the next look tries again */
	set_i_size(m, size);
	if (size > old)
		return;
	filemap_unmap(m, pages_of(size), UINT64_MAX, false);
	for (uint64_t at = size >> RT_PAGE_SHIFT;
	     radix_gang(&m->folios, at, UINT64_MAX, &value, &key, 1) > 0; at = key + 1) {
		struct folio *f = filemap_get(m, key);
		if (!f)
			continue;
		truncate_folio(m, f, size);
		folio_put(m->mm, f);
	}
}

void mapping_zero_tail(struct mapping *m)
{
	uint64_t size = rt_load_u64(&m->size, RT_ACQUIRE);
	struct folio *f = size % RT_PAGE ? filemap_get(m, size >> RT_PAGE_SHIFT) : NULL;

	if (!f)
		return;
	folio_lock(m->mm, f, false);
	if (f->mapping == m && folio_test(f, FOLIO_UPTODATE)) {
		if (filemap_settle(m, f) == 0)
			zero_tail(m, f, size);
		else
			filemap_del(m, f);
	}
	folio_unlock(m->mm, f);
	folio_put(m->mm, f);
}

void mapping_extend(struct mapping *m, uint64_t at_least)
{
	int64_t size = m->store->ops->size(m->store);

	if (size < (int64_t)at_least)
		size = (int64_t)at_least; /* the store cannot say: but so much was written */
	uint64_t old = rt_load_u64(&m->size, RT_ACQUIRE), last = pages_of(old) * RT_PAGE;
	if ((uint64_t)size <= old)
		return;
	/* Without room, to the end of the last page: what was just written there counts, and
	 * is not zeroed by who finds the file grown. */
	if ((uint64_t)size > last && rt_object_grow(&m->object, pages_of((uint64_t)size)) != 0)
		size = (int64_t)last;
	set_i_size(m, (uint64_t)size);
}

/* Needs: m->size_lock. */
static void refresh_locked(struct mapping *m, bool may_shrink)
{
	int64_t size = m->store->ops->size(m->store);
	uint64_t old = rt_load_u64(&m->size, RT_ACQUIRE);

	if (size < 0 || (uint64_t)size == old || ((uint64_t)size < old && !may_shrink))
		return;
	COVER(size_changed_outside);
	mapping_set_size(m, (uint64_t)size);
}

void mapping_refresh_size(struct mapping *m)
{
	rt_lock(&m->size_lock);
	refresh_locked(m, false);
	rt_unlock(&m->size_lock);
}

int mapping_resize(struct mapping *m, uint64_t size, int (*resize)(void *arg), void *arg)
{
	rt_lock(&m->size_lock);
	/* Shrinking: ours first, so that no write-back grows the file again. Nobody may look
	 * at the file's size in between: it is the old one. */
	if (size < rt_load_u64(&m->size, RT_ACQUIRE))
		mapping_set_size(m, size);
	int err = resize(arg);
	if (err)
		refresh_locked(m, true); /* the file's word is final */
	else
		mapping_set_size(m, size);
	rt_unlock(&m->size_lock);
	return err;
}

void mappings_refresh_sizes(struct mm *mm)
{
	struct list_node *pos;

	/* Short of a size change this is one fstat each; with one, it sleeps for folios
	 * with the mmap_lock held for reading, as a fault on the slow path would. */
	rwlock_read_lock(&mm->mmap_lock);
	list_for_each(pos, &mm->mappings)
	{
		struct mapping *m = list_entry(pos, struct mapping, by_mm);
		if (!rt_trylock(&m->size_lock))
			continue; /* somebody is at it; the next tick comes soon */
		refresh_locked(m, true);
		rt_unlock(&m->size_lock);
	}
	rwlock_read_unlock(&mm->mmap_lock);
}

int mapping_invalidate(struct mapping *m, uint64_t index, uint64_t end)
{
	struct mm *mm = m->mm;
	void *value;
	uint64_t key;
	int err = writeback_push(m, index, end);

	if (err)
		return err;
	filemap_unmap(m, index, end, true);
	for (uint64_t at = index; radix_gang(&m->folios, at, end, &value, &key, 1) > 0;
	     at = key + 1) {
		struct folio *f = filemap_get(m, key);
		if (!f)
			continue;
		folio_lock(mm, f, false);
		if (f->mapping == m && !folio_test(f, FOLIO_DIRTY | FOLIO_WRITEBACK)) {
			filemap_unmap(m, f->index, f->index + folio_pages(f), true);
			if (rt_load_u32(&f->mapped, RT_ACQUIRE) == 0)
				filemap_del(m, f);
		}
		folio_unlock(mm, f);
		folio_put(mm, f);
	}
	return 0;
}
