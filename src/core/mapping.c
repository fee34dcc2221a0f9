/* SPDX-License-Identifier: MIT */
/* mapping.c - see mapping.h. */
#include "core/mapping.h"

#include <errno.h>

#include "core/filemap.h"
#include "core/mm.h"
#include "core/reclaim.h"
#include "core/writeback.h"

struct mapping *mapping_find(struct mm *mm, const struct store *store)
{
	struct list_node *pos;

	list_for_each(pos, &mm->mappings)
	{
		struct mapping *m = list_entry(pos, struct mapping, by_mm);
		if (m->store->ops == store->ops && store->ops->same(m->store, store))
			return m;
	}
	return NULL;
}

int mapping_open(struct mm *mm, struct store *store, struct mapping **out)
{
	int64_t size = store->ops->size(store);
	size_t bytes = (sizeof(struct mapping) + RT_PAGE - 1) & ~(RT_PAGE - 1);

	if (size < 0)
		return (int)size;
	struct mapping *m = rt_pages_alloc(bytes);
	if (!m)
		return -ENOMEM;
	int err = rt_object_open(&m->object, pages_of((uint64_t)size));
	if (err) {
		rt_pages_free(m, bytes);
		return err;
	}
	mm_charge_metadata(mm, bytes);
	m->mm = mm;
	m->store = store;
	m->id = ++mm->next_id;
	rt_store_u64(&m->size, (uint64_t)size, RT_RELAXED);
	rt_lock_init(&m->size_lock);
	rt_lock_init(&m->slots_lock);
	rt_lock_init(&m->views_lock);
	rt_lock_init(&m->dirty_lock);
	rt_lock_init(&m->sync_lock);
	rt_lock_init(&m->barrier_lock);
	rt_store_u64(&m->era, 1, RT_RELAXED);
	rt_store_u64(&m->synced, 1, RT_RELAXED);
	radix_init(&m->folios, &mm->nodes);
	list_init(&m->views_list);
	list_add(&mm->mappings, &m->by_mm);
	*out = m;
	return 0;
}

void mapping_release(struct mapping *m)
{
	if (m->views > 0)
		return;
	if (rt_load_u32(&m->holds, RT_ACQUIRE) > 0)
		return; /* mapping_unhold() comes back */
	if (writeback_pending(m)) {
		COVER(mapping_idle);
		pager_kick(m->mm); /* it holds, writes, and unholds */
		return;
	}
	mapping_destroy(m);
}

bool mapping_idle(struct mapping *m)
{
	rwlock_read_lock(&m->mm->mmap_lock);
	bool idle = m->views == 0;
	rwlock_read_unlock(&m->mm->mmap_lock);
	return idle;
}

void mapping_hold(struct mapping *m)
{
	rt_add_u32(&m->holds, 1, RT_RELAXED);
}

void mapping_unhold(struct mapping *m)
{
	struct mm *mm = m->mm;

	/* Idle mappings are rare: look under the lock, where views cannot change. */
	rwlock_read_lock(&mm->mmap_lock);
	bool idle = m->views == 0;
	uint32_t old = rt_sub_u32(&m->holds, 1, RT_RELEASE);
	rwlock_read_unlock(&mm->mmap_lock);
	if (!idle || old > 1)
		return;
	mm_write_lock(mm);
	/* Somebody else may have freed it by now: is it still on the list? */
	struct list_node *pos;
	list_for_each(pos, &mm->mappings)
	{
		if (list_entry(pos, struct mapping, by_mm) == m) {
			mapping_release(m);
			break;
		}
	}
	mm_write_unlock(mm);
}

void mapping_destroy(struct mapping *m)
{
	struct mm *mm = m->mm;
	struct folio *f;
	void *value;
	uint64_t key;

	rwlock_assert_write(&mm->mmap_lock);
	ASSERT(m->views == 0);
	/* Nobody maps it and nobody can: what is left are reads and writes under way,
	 * which hold the folio lock or the writeback bit. */
	for (uint64_t at = 0; radix_gang(&m->folios, at, UINT64_MAX, &value, &key, 1) > 0;
	     at = key + 1) {
		f = filemap_get(m, key);
		if (!f)
			continue;
		folio_lock(mm, f, false);
		if (f->mapping == m) {
			folio_wait_writeback(mm, f);
			writeback_forget(f);
			folio_clear(f, FOLIO_UPTODATE);
			filemap_forget(m, f, false);
		}
		folio_unlock(mm, f);
		folio_put(mm, f);
	}
	writeback_drop_queue(m);
	while (rt_load_u32(&m->writes[0], RT_ACQUIRE) || rt_load_u32(&m->writes[1], RT_ACQUIRE))
		rt_relax();
	/* The last filemap_forget() may still be about to leave its critical section. */
	rt_lock(&m->slots_lock);
	ASSERT(rt_load_u64(&m->cached, RT_RELAXED) == 0);
	rt_unlock(&m->slots_lock);
	list_del(&m->by_mm);
	rt_object_close(&m->object);
	m->store->ops->close(m->store);
	size_t bytes = (sizeof(struct mapping) + RT_PAGE - 1) & ~(RT_PAGE - 1);
	mm_uncharge_metadata(mm, bytes);
	rt_pages_free(m, bytes);
}
