/* SPDX-License-Identifier: MIT */
/* filemap.c - see filemap.h. */
#include "core/filemap.h"

#include <errno.h>
#include <string.h>

#include "core/mm.h"
#include "core/pgtable.h"
#include "core/reclaim.h"
#include "core/writeback.h"

struct folio *filemap_get(struct mapping *m, uint64_t index)
{
	struct folio *f;

	for (;;) {
		rt_rcu_read_lock();
		f = radix_lookup(&m->folios, index);
		if (!f) {
			rt_rcu_read_unlock();
			return NULL;
		}
		bool got = folio_tryget(f);
		rt_rcu_read_unlock();
		if (!got) {
			COVER(filemap_get_lost);
			continue; /* freed since: the entry is gone or new */
		}
		/* The structure may have become another folio before we held it. */
		if (radix_lookup(&m->folios, index) == f)
			return f;
		COVER(filemap_get_reused);
		folio_put(m->mm, f);
	}
}

static bool range_empty(struct mapping *m, uint64_t index, uint64_t n)
{
	void *value;
	uint64_t key;

	return radix_gang(&m->folios, index, index + n, &value, &key, 1) == 0;
}

/* Needs: m->slots_lock. */
static int insert_locked(struct mapping *m, struct folio *f, uint64_t index, uint64_t pages)
{
	if (index + pages > mapping_pages(m))
		return -ENXIO;
	if (index < m->dropping_end && index + pages > m->dropping)
		return -EEXIST; /* for a moment: the caller looks again */
	if (!range_empty(m, index, pages))
		return -EEXIST;
	f->mapping = m;
	f->index = index;
	int err = radix_store(&m->folios, index, pages, f);
	if (err)
		f->mapping = NULL;
	return err;
}

int filemap_add(struct mapping *m, uint64_t index, unsigned order, uint32_t extra,
		struct folio **out)
{
	struct mm *mm = m->mm;
	uint64_t pages = 1ull << order;

	if (!mm_charge_pages(mm, pages))
		return -ENOMEM;
	struct folio *f = folio_new(mm, order);
	if (!f) {
		mm_uncharge_pages(mm, pages);
		return -ENOMEM;
	}
	if (extra)
		folio_set(f, extra);
	rt_lock(&m->slots_lock);
	int err = insert_locked(m, f, index, pages);
	if (!err) {
		folio_get(f); /* the cache's */
		rt_count_u64(&m->cached, pages);
		rt_count_u64(&mm->cached, pages);
	}
	rt_unlock(&m->slots_lock);
	if (err) {
		rt_note_dropped(f);
		folio_clear(f, FOLIO_LOCKED); /* nobody ever saw it */
		folio_put(mm, f);
		mm_uncharge_pages(mm, pages);
		return err;
	}
	lru_add(mm, f);
	*out = f;
	return 0;
}

/* How much of what the store gave is the file's, or -errno. */
static int64_t valid_bytes(struct mapping *m, struct folio *f, int64_t got)
{
	uint64_t start = f->index * RT_PAGE, size = rt_load_u64(&m->size, RT_ACQUIRE);

	if (got < 0)
		return got;
	if (got == 0 && start < size)
		return -ENXIO;            /* truncated from outside: the pager will notice too */
	if (start + (uint64_t)got > size) /* the file has more than we know of: not yet */
		return size > start ? (int64_t)(size - start) : 0;
	return got;
}

int filemap_fill(struct mapping *m, struct folio *f, void *buf, int64_t got)
{
	uint64_t bytes = folio_pages(f) * RT_PAGE;

	got = valid_bytes(m, f, got);
	if (got < 0)
		return (int)got;
	if ((uint64_t)got < bytes)
		memset((char *)buf + got, 0, bytes - (uint64_t)got);
	int err = rt_object_fill(&m->object, f->index, buf, folio_pages(f));
	if (!err)
		folio_set(f, FOLIO_UPTODATE);
	return err;
}

int filemap_read(struct mapping *m, struct folio *f)
{
	struct mm *mm = m->mm;
	char *buf = bounce_get_page(&mm->bounce);

	ASSERT(folio_test(f, FOLIO_LOCKED));
	ASSERT(folio_order(f) == 0);
	int64_t got =
		valid_bytes(m, f, m->store->ops->read(m->store, buf, RT_PAGE, f->index * RT_PAGE));
	stat_inc(mm, reads);
	if (got < 0) {
		stat_inc(mm, read_errors);
		bounce_put(&mm->bounce, buf, 1);
		return (int)got;
	}
	stat_add(mm, read_bytes, RT_PAGE);
	if ((uint64_t)got < RT_PAGE)
		memset(buf + got, 0, RT_PAGE - (uint64_t)got);
	f->bounced = buf;
	folio_set(f, FOLIO_BOUNCED | FOLIO_UPTODATE);
	return 0;
}

void filemap_unbounce(struct mm *mm, struct folio *f)
{
	if (!folio_test(f, FOLIO_BOUNCED))
		return;
	folio_clear(f, FOLIO_BOUNCED);
	bounce_put(&mm->bounce, f->bounced, 1);
	f->dirty_map = 0;
}

void *filemap_take_bounced(struct folio *f)
{
	void *buf = f->bounced;

	ASSERT(folio_test(f, FOLIO_BOUNCED));
	folio_clear(f, FOLIO_BOUNCED);
	f->dirty_map = 0;
	return buf;
}

void filemap_give_bounced(struct folio *f, void *buf)
{
	ASSERT(!folio_test(f, FOLIO_DIRTY));
	f->bounced = buf;
	folio_set(f, FOLIO_BOUNCED);
}

int filemap_settle(struct mapping *m, struct folio *f)
{
	ASSERT(folio_test(f, FOLIO_LOCKED));
	if (!folio_test(f, FOLIO_BOUNCED))
		return 0;
	int err = rt_object_fill(&m->object, f->index, f->bounced, 1);
	if (!err)
		filemap_unbounce(m->mm, f);
	return err;
}

void filemap_forget(struct mapping *m, struct folio *f, bool remember)
{
	struct mm *mm = m->mm;
	uint64_t pages = folio_pages(f);

	ASSERT(rt_load_u32(&f->mapped, RT_RELAXED) == 0);
	filemap_unbounce(mm, f);
	lru_del(mm, f, remember);
	rt_lock(&m->slots_lock);
	writeback_note_gone(m, folio_written_in(m, f));
	radix_store(&m->folios, f->index, pages, NULL);
	f->mapping = NULL;
	rt_count_u64(&m->cached, -pages);
	rt_count_u64(&mm->cached, -pages);
	rt_unlock(&m->slots_lock);
	mm_uncharge_pages(mm, pages);
	folio_put(mm, f); /* the cache's; the caller holds another */
}

void filemap_del(struct mapping *m, struct folio *f)
{
	ASSERT(folio_test(f, FOLIO_LOCKED));
	ASSERT(!folio_test(f, FOLIO_WRITEBACK));
	folio_clear(f, FOLIO_UPTODATE);
	rt_object_drop(&m->object, f->index, folio_pages(f));
	filemap_forget(m, f, false);
}

/* The part of v that shows pages [index, end); false: none of them. */
static bool view_range(const struct vma *v, uint64_t index, uint64_t end, uint64_t *start,
		       uint64_t *stop)
{
	uint64_t first = index > v->index ? index : v->index;
	uint64_t last = end < vma_index_end(v) ? end : vma_index_end(v);

	if (first >= last)
		return false;
	*start = vma_addr_of(v, first);
	*stop = vma_addr_of(v, last);
	return true;
}

uint64_t filemap_unmap(struct mapping *m, uint64_t index, uint64_t end, bool reclaim)
{
	uint64_t n = 0, start, stop;
	struct list_node *pos;

	rt_lock(&m->views_lock);
	list_for_each(pos, &m->views_list)
	{
		struct vma *v = list_entry(pos, struct vma, by_mapping);
		if (view_range(v, index, end, &start, &stop))
			n += pgtable_zap(m->mm, v, start, stop, reclaim ? ZAP_RECLAIM : ZAP_ALL);
	}
	rt_unlock(&m->views_lock);
	return n;
}

bool filemap_mkclean(struct mapping *m, uint64_t index, uint64_t end)
{
	uint64_t start, stop;
	struct list_node *pos;
	bool all = true;

	rt_lock(&m->views_lock);
	list_for_each(pos, &m->views_list)
	{
		struct vma *v = list_entry(pos, struct vma, by_mapping);
		if (view_range(v, index, end, &start, &stop))
			all &= pgtable_mkclean(m->mm, v, start, stop);
	}
	rt_unlock(&m->views_lock);
	return all;
}
