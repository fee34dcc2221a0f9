/* SPDX-License-Identifier: MIT */
/* filedata.c - see filedata.h. */
#include "core/filedata.h"

#include "core/filemap.h"
#include "core/mm.h"
#include "core/truncate.h"
#include "core/writeback.h"

struct held {
	struct folio *folio[FILEDATA_CHUNK / RT_PAGE + 1];
	unsigned n;
};

/* Lock what is cached of [index, end) beyond what is held already, in order. */
static void hold_folios(struct mapping *m, uint64_t index, uint64_t end, struct held *h)
{
	struct mm *mm = m->mm;
	void *value;
	uint64_t key;

	for (uint64_t at = index; radix_gang(&m->folios, at, end, &value, &key, 1) > 0;) {
		struct folio *f = filemap_get(m, key);
		at = key;
		if (!f)
			continue;
		folio_lock(mm, f, false);
		if (f->mapping != m) {
			folio_unlock(mm, f);
			folio_put(mm, f);
			continue;
		}
		folio_wait_writeback(mm, f);
		h->folio[h->n++] = f;
		at = f->index + folio_pages(f);
	}
}

static void release_folios(struct mm *mm, struct held *h)
{
	for (unsigned i = 0; i < h->n; i++) {
		folio_unlock(mm, h->folio[i]);
		folio_put(mm, h->folio[i]);
	}
	h->n = 0;
}

/* Bytes [off, off + len) of the store are new: bring them into f. Needs: f locked. */
static void patch_folio(struct mapping *m, struct folio *f, uint64_t off, uint64_t len,
			const struct filedata_source *src, void *buf)
{
	uint64_t start = f->index * RT_PAGE, stop = start + folio_pages(f) * RT_PAGE;
	uint64_t from = off > start ? off : start;
	uint64_t to = off + len < stop ? off + len : stop;

	if (filemap_settle(m, f) != 0) {
		filemap_unbounce(m->mm, f);
		filemap_del(m, f); /* it was never mapped: the next fault reads the new bytes */
		return;
	}

	for (uint64_t at = from; at < to;) {
		uint64_t n = RT_PAGE - at % RT_PAGE;
		n = n < to - at ? n : to - at;
		src->get(src->arg, at, buf, n);
		rt_object_patch(&m->object, at, buf, n);
		at += n;
	}
}

static bool is_held(const struct held *h, const struct folio *f)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->folio[i] == f)
			return true;
	return false;
}

/* Needs: f locked, of a mapping, uptodate. */
static void mark_patched(struct mm *mm, struct folio *f, uint64_t off, uint64_t len)
{
	uint64_t first = off >> RT_PAGE_SHIFT, end = pages_of(off + len);

	if (first < f->index)
		first = f->index;
	if (end > f->index + folio_pages(f))
		end = f->index + folio_pages(f);
	for (uint64_t page = first; page < end; page++)
		folio_mark_dirty(mm, f, page);
}

/* Who came while we wrote may have read the old bytes: patch them one by one. */
static void patch_latecomers(struct mapping *m, uint64_t off, uint64_t len,
			     const struct filedata_source *src, const struct held *h, void *buf)
{
	struct mm *mm = m->mm;
	uint64_t end = pages_of(off + len);
	void *value;
	uint64_t key;

	for (uint64_t at = off >> RT_PAGE_SHIFT;
	     radix_gang(&m->folios, at, end, &value, &key, 1) > 0; at = key + 1) {
		struct folio *f = filemap_get(m, key);
		if (!f)
			continue;
		if (!is_held(h, f)) {
			COVER(filedata_latecomer);
			folio_lock(mm, f, false);
			if (f->mapping == m)
				patch_folio(m, f, off, len, src, buf);
			/* It may have been written back between our write and now, with the old
			 * bytes: what it holds now is newer than the store. */
			if (f->mapping == m && m->store->writable)
				mark_patched(mm, f, off, len);
			folio_unlock(mm, f);
		}
		folio_put(mm, f);
	}
}

/* What was put is no more durable than what write-back writes. What of it is not cached
 * could not be written again. Needs: the folios locked. */
static void note_put(struct mapping *m, uint64_t off, uint64_t len, const struct held *h)
{
	uint64_t at = off >> RT_PAGE_SHIFT, end = pages_of(off + len);

	for (unsigned i = 0; i < h->n && at < end && h->folio[i]->index <= at; i++) {
		struct folio *f = h->folio[i];
		if (f->mapping != m)
			break; /* not patched, but dropped */
		folio_note_written(m, f);
		at = f->index + folio_pages(f);
	}
	if (at < end) {
		rt_lock(&m->slots_lock);
		writeback_note_gone(m, rt_load_u64(&m->era, RT_ACQUIRE));
		rt_unlock(&m->slots_lock);
	}
}

int64_t filedata_write(struct mapping *m, uint64_t off, uint64_t len,
		       const struct filedata_source *src)
{
	struct mm *mm = m->mm;
	struct held held = { .n = 0 };
	uint64_t index = off >> RT_PAGE_SHIFT;

	ASSERT(len <= FILEDATA_CHUNK);
	/* One writer at a time: two that each hold folios could wait for each other's. */
	rt_lock(&m->size_lock);
	if (off + len > rt_load_u64(&m->size, RT_ACQUIRE))
		mapping_zero_tail(m);
	hold_folios(m, index, pages_of(off + len), &held);
	int64_t put = src->put(src->arg, off, len);
	if (put > 0) {
		void *buf = bounce_get_page(&mm->bounce);
		mapping_extend(m, off + (uint64_t)put);
		for (unsigned i = 0; i < held.n; i++)
			patch_folio(m, held.folio[i], off, (uint64_t)put, src, buf);
		note_put(m, off, (uint64_t)put, &held);
		patch_latecomers(m, off, (uint64_t)put, src, &held, buf);
		bounce_put(&mm->bounce, buf, 1);
	}
	release_folios(mm, &held);
	rt_unlock(&m->size_lock);
	return put;
}
