/* SPDX-License-Identifier: MIT */
/* writeback.c - see writeback.h. */
#include "core/writeback.h"

#include <errno.h>

#include "core/filemap.h"
#include "core/pgtable.h"
#include "core/reclaim.h"

#define OLD_NS   (3000ull * 1000 * 1000) /* dirty this long: written in the background */
#define RETRY_NS (CONFIG_RETRY_MS * 1000ull * 1000) /* after a failed write */

/* --- marking ---------------------------------------------------------------- */

/* Which bits of dirty_map stand for page `index` of f: a bit a page up to 64 pages,
 * then a 64th of the folio. */
static unsigned bit_shift(const struct folio *f)
{
	unsigned order = folio_order(f);

	return order > 6 ? order - 6 : 0;
}

/* Needs: m->dirty_lock. */
static void queue_push(struct mapping *m, struct folio *f)
{
	if (folio_test(f, FOLIO_QUEUED))
		return;
	folio_set(f, FOLIO_QUEUED);
	folio_get(f);
	f->dirty_next = m->dirty;
	m->dirty = f;
	m->dirty_folios++;
}

static void mark(struct mm *mm, struct folio *f, uint64_t bits)
{
	struct mapping *m = f->mapping;

	f->dirty_map |= bits;
	/* A write that just failed may set it at the same moment: who was first counts. */
	if (rt_or_u32(&f->state, FOLIO_DIRTY, RT_ACQ_REL) & FOLIO_DIRTY)
		return;
	rt_count_u64(&mm->dirty, folio_pages(f));
	rt_lock(&m->dirty_lock);
	if (m->dirty_folios == 0)
		rt_store_u64(&m->oldest_ns, rt_now_ns(), RT_RELAXED);
	queue_push(m, f);
	rt_unlock(&m->dirty_lock);
}

void folio_mark_dirty(struct mm *mm, struct folio *f, uint64_t index)
{
	ASSERT(folio_test(f, FOLIO_LOCKED));
	ASSERT(folio_test(f, FOLIO_UPTODATE));
	ASSERT(!folio_test(f, FOLIO_BOUNCED));
	mark(mm, f, 1ull << ((index - f->index) >> bit_shift(f)));
}

void writeback_forget(struct folio *f)
{
	ASSERT(folio_test(f, FOLIO_LOCKED));
	ASSERT(!folio_test(f, FOLIO_WRITEBACK));
	if (folio_test(f, FOLIO_ERA))
		folio_clear(f, FOLIO_ERA);
	if (!folio_test(f, FOLIO_DIRTY))
		return;
	folio_clear(f, FOLIO_DIRTY);
	f->dirty_map = 0;
	rt_count_u64(&f->mapping->mm->dirty, -folio_pages(f));
}

/* f is dirty again, all of it. Needs: f locked, or under write-back. */
static void redirty(struct mapping *m, struct folio *f)
{
	rt_lock(&m->dirty_lock);
	if (!(rt_or_u32(&f->state, FOLIO_DIRTY | FOLIO_REDIRTY, RT_ACQ_REL) & FOLIO_DIRTY))
		rt_count_u64(&m->mm->dirty, folio_pages(f));
	queue_push(m, f);
	rt_unlock(&m->dirty_lock);
}

/* --- eras ---------------------------------------------------------------------- */

/*
 * An era ends where a sync begins. What was written in it, or before, that sync makes
 * durable; what is written during the sync is of the next one. A folio has eight bits for
 * its era: one of 255, or none. So it may be taken for younger than it is, 255 syncs
 * later, and be written once more than it must.
 */
#define ERAS 255

void folio_note_written(struct mapping *m, struct folio *f)
{
	/* After the write, and before it is known that it is over: pairs with sync_store(). */
	uint32_t now = (uint32_t)(rt_load_u64(&m->era, RT_SEQ_CST) % ERAS) + 1;
	uint32_t old = (rt_load_u32(&f->state, RT_RELAXED) & FOLIO_ERA) >> FOLIO_ERA_SHIFT;

	/* These bits are ours alone: one addition exchanges them. */
	if (now != old)
		rt_add_u32(&f->state, (now - old) << FOLIO_ERA_SHIFT, RT_ACQ_REL);
}

uint64_t folio_written_in(const struct mapping *m, const struct folio *f)
{
	uint64_t era = (rt_load_u32(&f->state, RT_ACQUIRE) & FOLIO_ERA) >> FOLIO_ERA_SHIFT;

	if (era == 0)
		return 0;
	uint64_t now = rt_load_u64(&m->era, RT_ACQUIRE);
	return now - (now % ERAS + 1 + ERAS - era) % ERAS;
}

void writeback_note_gone(struct mapping *m, uint64_t era)
{
	if (era > rt_load_u64(&m->gone, RT_RELAXED))
		rt_store_u64(&m->gone, era, RT_RELEASE);
}

/* --- one write ---------------------------------------------------------------- */

/* A request over folios in a row, in the last page of its bounce run. */
struct write_run {
	struct rt_io io;
	struct mapping *mapping;
	uint32_t epoch;
	uint32_t folios;
	uint64_t pages;                        /* of the bounce run, this page included */
	uint64_t want;                         /* bytes */
	struct folio *folio[CONFIG_RUN_PAGES]; /* with a reference, under write-back */
};
_Static_assert(sizeof(struct write_run) <= RT_PAGE, "a write_run lives in one page");

static void epoch_begin(struct mapping *m, struct write_run *w)
{
	for (;;) {
		w->epoch = rt_load_u32(&m->epoch, RT_ACQUIRE) & 1;
		rt_add_u32(&m->writes[w->epoch], 1, RT_SEQ_CST);
		if ((rt_load_u32(&m->epoch, RT_SEQ_CST) & 1) == w->epoch)
			return;
		/* An msync turned the page in between: it may not wait for us. */
		rt_sub_u32(&m->writes[w->epoch], 1, RT_RELEASE);
		pager_progress(m->mm);
	}
}

static void note_error(struct mapping *m, int err)
{
	stat_inc(m->mm, write_errors);
	rt_store_u64(&m->mm->write_failed_ns, rt_now_ns(), RT_RELEASE);
	rt_store_u64(&m->retry_at_ns, rt_now_ns() + RETRY_NS, RT_RELAXED);
	rt_lock(&m->dirty_lock);
	/* The pager's own retries of what was reported already are not news. */
	if (m->write_error == 0 && (!m->failing || m->syncing))
		m->write_error = err;
	m->failing = true;
	rt_unlock(&m->dirty_lock);
}

static void note_success(struct mapping *m)
{
	rt_lock(&m->dirty_lock);
	m->failing = false;
	rt_unlock(&m->dirty_lock);
	rt_store_u64(&m->mm->write_failed_ns, 0, RT_RELAXED);
}

/* The folio's write has ended. A failed one is dirty again, all of it: which of its
 * pages arrived is not known. WRITEBACK keeps it in the mapping until here. */
static void folio_written(struct mm *mm, struct folio *f, int err)
{
	if (err)
		redirty(f->mapping, f);
	else
		folio_note_written(f->mapping, f);
	rt_count_u64(&mm->writeback, -folio_pages(f));
	folio_end_writeback(mm, f);
	folio_put(mm, f);
}

static void run_done(struct rt_io *io)
{
	struct write_run *w = container_of(io, struct write_run, io);
	struct mapping *m = w->mapping;
	struct mm *mm = m->mm;
	int err = io->res < 0 ? (int)-io->res : io->res != (int64_t)w->want ? EIO : 0;

	if (err == EIO && io->res >= 0) {
		/* A short write is a full disk, or is said to be something by the rest. */
		int64_t rest = m->store->ops->write(m->store, (char *)io->buf, w->want, io->off);
		err = rest < 0 ? (int)-rest : rest != (int64_t)w->want ? ENOSPC : 0;
	}
	stat_inc(mm, writes);
	/* Dirty again first, then said: an msync that comes in between either takes them, or
	 * is told. */
	for (uint32_t i = 0; i < w->folios; i++)
		folio_written(mm, w->folio[i], err);
	if (err) {
		note_error(m, err);
	} else if (w->want > 0) { /* an empty run, of folios that could not be fetched, is none */
		stat_add(mm, write_bytes, w->want);
		note_success(m);
	}
	uint32_t epoch = w->epoch;
	bounce_put(&mm->bounce, io->buf, w->pages);
	/* The last touch of m: it may be freed once no write is under way. */
	rt_sub_u32(&m->writes[epoch], 1, RT_SEQ_CST);
	pager_progress(mm);
}

static void run_submit(struct write_run *w)
{
	struct mapping *m = w->mapping;
	struct rt_file *file = m->store->ops->file(m->store, true);
	uint64_t size = rt_load_u64(&m->size, RT_ACQUIRE);

	/* Bytes past the end are never written. */
	w->want = w->io.off >= size              ? 0
		  : size - w->io.off < w->io.len ? size - w->io.off
						 : w->io.len;
	w->io.write = true;
	w->io.done = run_done;
	w->io.file = file;
	w->io.len = w->want;
	if (file && w->want > 0) {
		rt_ioq_submit(&m->mm->ioq, &w->io, true); /* out_flush() */
		return;
	}
	w->io.res = w->want > 0 ? m->store->ops->write(m->store, w->io.buf, w->want, w->io.off) : 0;
	run_done(&w->io);
}

/* --- gathering ------------------------------------------------------------------ */

/* Which pages of f must go: from the first dirty bit to the last. */
static void dirty_span(const struct folio *f, uint64_t *first, uint64_t *end)
{
	unsigned shift = bit_shift(f);
	uint64_t map = f->dirty_map;

	if (folio_test(f, FOLIO_REDIRTY) || map == 0) {
		*first = 0;
		*end = folio_pages(f);
		return;
	}
	*first = (uint64_t)__builtin_ctzll(map) << shift;
	*end = (uint64_t)(64 - __builtin_clzll(map)) << shift;
}

struct write_out {
	struct mapping *m;
	struct write_run *run; /* being gathered, or NULL */
	uint64_t next;         /* the page that would continue it */
	uint64_t reach;        /* dirty folios follow each other up to here */
};

/* Give the run that is being gathered to the queue. */
static void out_next(struct write_out *o)
{
	if (o->run)
		run_submit(o->run);
	o->run = NULL;
}

/* And start all that was given: before anything is waited for. */
static void out_flush(struct write_out *o)
{
	out_next(o);
	rt_ioq_flush(&o->m->mm->ioq);
}

/* A bounce run for at most n pages and the request itself; waits until there is one. */
static void *run_buffer(struct mm *mm, uint64_t n)
{
	for (;;) {
		uint32_t seq = rt_load_u32(&mm->pager.progress, RT_ACQUIRE);
		void *buf = bounce_get_run(&mm->bounce, n + 1);

		if (buf)
			return buf;
		COVER(write_waits_for_buffer);
		pager_wait(mm, seq);
	}
}

/* The largest run the pool can ever give, beside the reserve. */
static uint64_t run_most(struct mm *mm)
{
	uint64_t most = (mm->bounce.count - CONFIG_BOUNCE_RESERVE) / 4;

	return most > CONFIG_RUN_PAGES ? CONFIG_RUN_PAGES : most > 1 ? most : 1;
}

static struct write_run *run_new(struct write_out *o, uint64_t page, uint64_t pages)
{
	struct mm *mm = o->m->mm;
	void *buf = bounce_get_run(&mm->bounce, pages + 1);
	if (!buf) {
		out_flush(o);
		buf = run_buffer(mm, pages);
	}
	struct write_run *w = (void *)((char *)buf + pages * RT_PAGE);

	*w = (struct write_run){ .mapping = o->m, .pages = pages + 1 };
	w->io = (struct rt_io){ .buf = buf, .off = page * RT_PAGE };
	epoch_begin(o->m, w);
	return w;
}

/*
 * Begin the write of f: clean it, copy it, mark it under write-back. A folio larger
 * than a request goes in several, of which each counts as a holder of WRITEBACK: so
 * that there is one end, larger folios are written here and now.
 * Needs: f locked, dirty, not under write-back.
 */
static void write_large(struct write_out *o, struct folio *f, uint64_t first, uint64_t end)
{
	struct mapping *m = o->m;
	struct mm *mm = m->mm;
	uint64_t most = run_most(mm);
	void *buf = run_buffer(mm, most);
	int err = 0;

	for (uint64_t at = first; at < end && !err; at += most) {
		uint64_t n = end - at < most ? end - at : most;
		uint64_t off = (f->index + at) * RT_PAGE, size = rt_load_u64(&m->size, RT_ACQUIRE);
		uint64_t want = off >= size                ? 0
				: size - off < n * RT_PAGE ? size - off
							   : n * RT_PAGE;
		if (want == 0)
			break;
		err = -rt_object_fetch(&m->object, f->index + at, buf, n);
		int64_t put = err ? 0 : m->store->ops->write(m->store, buf, want, off);
		if (!err && put != (int64_t)want)
			err = put < 0 ? (int)-put : ENOSPC;
		stat_inc(mm, writes);
		if (!err)
			stat_add(mm, write_bytes, want);
	}
	bounce_put(&mm->bounce, buf, most + 1);
	folio_set(f, FOLIO_WRITEBACK);
	folio_get(f);
	folio_written(mm, f, err);
	if (err)
		note_error(m, err);
}

static void requeue(struct mapping *m, struct folio *f)
{
	rt_lock(&m->dirty_lock);
	queue_push(m, f);
	rt_unlock(&m->dirty_lock);
}

static void write_begin(struct write_out *o, struct folio *f)
{
	struct mapping *m = o->m;
	struct mm *mm = m->mm;
	uint64_t first, end, most = run_most(mm);

	bool clean = filemap_mkclean(m, f->index, f->index + folio_pages(f));
	dirty_span(f, &first, &end);
	/* First, so that who waits for memory sees it in one count or the other. */
	rt_count_u64(&mm->writeback, folio_pages(f));
	/* A pinned page is still writable, for a system call: it goes now, and again. (What
	 * counts is what mkclean met: the pin may be gone by now, and the page is writable.) */
	if (!clean) {
		requeue(m, f);
	} else {
		folio_clear(f, FOLIO_DIRTY | FOLIO_REDIRTY);
		f->dirty_map = 0;
		rt_count_u64(&mm->dirty, -folio_pages(f));
	}
	if (end - first > most) {
		out_flush(o);
		write_large(o, f, first, end);
		return;
	}
	uint64_t page = f->index + first, n = end - first;
	if (o->run && (o->next != page || o->run->io.len / RT_PAGE + n > o->run->pages - 1 ||
		       o->run->folios == CONFIG_RUN_PAGES))
		out_next(o);
	if (!o->run)
		o->run = run_new(o, page, o->reach - page < most ? o->reach - page : most);
	struct write_run *w = o->run;
	char *to = (char *)w->io.buf + w->io.len;
	int err = rt_object_fetch(&m->object, page, to, n);
	folio_set(f, FOLIO_WRITEBACK);
	folio_get(f);
	if (err) {
		folio_written(mm, f, -err);
		note_error(m, -err);
		return;
	}
	w->folio[w->folios++] = f;
	w->io.len += n * RT_PAGE;
	o->next = page + n;
}

/* --- taking the stack ------------------------------------------------------------- */

/* Take up to max folios of [index, end) off the stack, with its references. */
static unsigned queue_take(struct mapping *m, uint64_t index, uint64_t end, struct folio **out,
			   unsigned max)
{
	struct folio **link = &m->dirty;
	unsigned n = 0;

	rt_lock(&m->dirty_lock);
	while (*link && n < max) {
		struct folio *f = *link;
		/* index is stable while it is cached; a removed one is let go of below */
		if (f->index + folio_pages(f) <= index || f->index >= end) {
			link = &f->dirty_next;
			continue;
		}
		*link = f->dirty_next;
		f->dirty_next = NULL;
		folio_clear(f, FOLIO_QUEUED);
		m->dirty_folios--;
		out[n++] = f;
	}
	rt_unlock(&m->dirty_lock);
	return n;
}

/* Sort by index: heapsort, because it needs neither stack nor memory. */
static void sift(struct folio **f, unsigned root, unsigned n)
{
	for (unsigned child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && f[child + 1]->index > f[child]->index)
			child++;
		if (f[root]->index >= f[child]->index)
			return;
		struct folio *swap = f[root];
		f[root] = f[child];
		f[child] = swap;
	}
}

static void sort_by_index(struct folio **f, unsigned n)
{
	for (unsigned i = n / 2; i-- > 0;)
		sift(f, i, n);
	for (unsigned last = n; last-- > 1;) {
		struct folio *swap = f[0];
		f[0] = f[last];
		f[last] = swap;
		sift(f, 0, last);
	}
}

/* Write one folio of the batch. Consumes the stack's reference. */
static void write_one(struct write_out *o, struct folio *f, bool wait)
{
	struct mapping *m = o->m;
	struct mm *mm = m->mm;

	if (!folio_trylock(f)) {
		/* The holder may wait for our run to end: never sleep on it with one
		 * open. */
		out_flush(o);
		folio_lock(mm, f, false);
	}
	while (f->mapping == m && folio_test(f, FOLIO_WRITEBACK) && wait) {
		folio_unlock(mm, f);
		out_flush(o);
		folio_wait_writeback(mm, f);
		folio_lock(mm, f, false);
	}
	if (f->mapping == m && folio_test(f, FOLIO_DIRTY)) {
		if (folio_test(f, FOLIO_WRITEBACK))
			requeue(m, f);
		else
			write_begin(o, f);
	}
	folio_unlock(mm, f);
	folio_put(mm, f);
}

/* Write-protect whole windows first: one call for each, instead of one a page. */
static void mkclean_windows(struct mapping *m, struct folio **f, unsigned n)
{
	uint64_t done = UINT64_MAX;

	for (unsigned i = 0; i < n; i++) {
		uint64_t window = f[i]->index >> CONFIG_PTES_SHIFT;
		if (window == done)
			continue;
		done = window;
		filemap_mkclean(m, window << CONFIG_PTES_SHIFT, (window + 1) << CONFIG_PTES_SHIFT);
	}
}

/* The end of the folios in a row that f[0] starts. */
static uint64_t reach_of(struct folio **f, unsigned n)
{
	uint64_t end = f[0]->index + folio_pages(f[0]);

	for (unsigned i = 1; i < n && i < CONFIG_RUN_PAGES && f[i]->index == end; i++)
		end += folio_pages(f[i]);
	return end;
}

/* Write out what was dirty in [index, end) when we came. Returns the folios taken. */
static unsigned write_range(struct mapping *m, uint64_t index, uint64_t end, bool wait)
{
	struct mm *mm = m->mm;
	struct write_out out = { .m = m };
	unsigned total = 0, n;
	uint64_t most = rt_load_u64(&mm->dirty, RT_RELAXED) + CONFIG_WRITE_BATCH;

	do {
		rt_lock(&mm->write_lock);
		n = queue_take(m, index, end, mm->write_scratch, CONFIG_WRITE_BATCH);
		sort_by_index(mm->write_scratch, n);
		mkclean_windows(m, mm->write_scratch, n);
		for (unsigned i = 0; i < n; i++) {
			out.reach = reach_of(mm->write_scratch + i, n - i);
			write_one(&out, mm->write_scratch[i], wait);
		}
		out_flush(&out);
		rt_unlock(&mm->write_lock);
		total += n;
	} while (n == CONFIG_WRITE_BATCH && total < most);
	return total;
}

/* --- msync --------------------------------------------------------------------------- */

/* Wait for every write that began before. Needs: m->sync_lock. */
static void wait_for_writes(struct mapping *m)
{
	uint32_t old = rt_add_u32(&m->epoch, 1, RT_SEQ_CST) & 1;

	for (;;) {
		uint32_t seq = rt_load_u32(&m->mm->pager.progress, RT_ACQUIRE);
		if (rt_load_u32(&m->writes[old], RT_SEQ_CST) == 0)
			return;
		pager_wait(m->mm, seq);
	}
}

static void set_syncing(struct mapping *m, bool syncing)
{
	rt_lock(&m->dirty_lock);
	m->syncing = syncing;
	rt_unlock(&m->dirty_lock);
}

static int noted_error(struct mapping *m, bool take)
{
	rt_lock(&m->dirty_lock);
	int err = m->write_error;
	if (take)
		m->write_error = 0;
	rt_unlock(&m->dirty_lock);
	return err;
}

/* Write, and wait. Returns the error that is noted; take: it is reported now. */
static int flush(struct mapping *m, uint64_t index, uint64_t end, bool take)
{
	rt_store_u64(&m->retry_at_ns, 0, RT_RELAXED);
	rt_lock(&m->sync_lock);
	set_syncing(m, true);
	write_range(m, index, end, true);
	wait_for_writes(m);
	set_syncing(m, false);
	int err = -noted_error(m, take);
	rt_unlock(&m->sync_lock);
	return err;
}

/* Make dirty again what was written since the last good sync. Needs: m->barrier_lock, and
 * m->size_lock: whoever wrote to the file itself has noted that by now. */
static void write_again(struct mapping *m)
{
	struct mm *mm = m->mm;
	uint64_t synced = rt_load_u64(&m->synced, RT_RELAXED), key;
	void *value;

	for (uint64_t at = 0; radix_gang(&m->folios, at, UINT64_MAX, &value, &key, 1) > 0;
	     at = key + 1) {
		struct folio *f = filemap_get(m, key);
		if (!f)
			continue;
		/* In this order: a write notes its era before it is over. */
		if (folio_test(f, FOLIO_WRITEBACK) || folio_written_in(m, f) >= synced) {
			folio_lock(mm, f, false);
			folio_wait_writeback(mm, f);
			if (f->mapping == m && folio_written_in(m, f) >= synced)
				redirty(m, f);
			folio_unlock(mm, f);
		}
		folio_put(mm, f);
	}
}

/* Needs: m->barrier_lock. */
static int sync_store(struct mapping *m)
{
	uint64_t era = rt_add_u64(&m->era, 1, RT_SEQ_CST) + 1;
	int err = m->store->ops->sync(m->store);

	if (!err) {
		rt_store_u64(&m->synced, era, RT_RELEASE);
		return 0;
	}
	rt_lock(&m->size_lock);
	write_again(m);
	if (rt_load_u64(&m->gone, RT_ACQUIRE) >= rt_load_u64(&m->synced, RT_RELAXED)) {
		COVER(sync_lost_pages);
		m->lost = true;
	}
	rt_unlock(&m->size_lock);
	m->sync_error = err;
	/* Last: an msync that knows of it finds dirty what it has to write. */
	rt_add_u32(&m->syncs_failed, 1, RT_RELEASE);
	return err;
}

/* Make durable what was written before; failed: m->syncs_failed before that began. */
static int barrier(struct mapping *m, uint32_t failed)
{
	uint64_t written = rt_load_u64(&m->era, RT_ACQUIRE); /* in this era, or before */
	int err = 0;

	rt_lock(&m->barrier_lock);
	if (failed != rt_load_u32(&m->syncs_failed, RT_RELAXED))
		err = m->sync_error; /* it may have been for what we wrote, too */
	else if (rt_load_u64(&m->synced, RT_RELAXED) <= written)
		err = sync_store(m);
	else
		COVER(sync_of_another); /* which began after our writes */
	if (!err && m->lost)
		err = -EIO;
	rt_unlock(&m->barrier_lock);
	return err;
}

int writeback_push(struct mapping *m, uint64_t index, uint64_t end)
{
	return flush(m, index, end, false);
}

int writeback_sync(struct mapping *m, uint64_t index, uint64_t end, bool wait)
{
	if (!wait) {
		write_range(m, index, end, false);
		return 0;
	}
	uint32_t failed = rt_load_u32(&m->syncs_failed, RT_ACQUIRE);
	int err = flush(m, index, end, true);
	if (!err && m->store->ops->sync)
		err = barrier(m, failed);
	return err;
}

bool writeback_pending(struct mapping *m)
{
	/* In this order: a write that fails makes its folios dirty before it is over. */
	if (rt_load_u32(&m->writes[0], RT_ACQUIRE) || rt_load_u32(&m->writes[1], RT_ACQUIRE))
		return true;
	rt_lock(&m->dirty_lock);
	bool dirty = m->dirty_folios > 0;
	rt_unlock(&m->dirty_lock);
	return dirty;
}

void writeback_drop_queue(struct mapping *m)
{
	struct folio *f;

	while (queue_take(m, 0, UINT64_MAX, &f, 1) == 1)
		folio_put(m->mm, f);
}

/* --- who starts it --------------------------------------------------------------------- */

static uint64_t dirty_limit(struct mm *mm)
{
	return rt_load_u64(&mm->budget, RT_RELAXED) / RT_PAGE * mm->dirty_percent / 100;
}

static bool over(struct mm *mm, uint64_t limit)
{
	return rt_load_u64(&mm->dirty, RT_RELAXED) + rt_load_u64(&mm->writeback, RT_RELAXED) >
	       limit;
}

void writeback_throttle(struct mm *mm)
{
	uint64_t limit = dirty_limit(mm);

	if (!over(mm, limit / 2))
		return;
	pager_kick_write(mm);
	/* A store that takes nothing must not hang its writers: the budget will. */
	for (int i = 0; i < 50 && over(mm, limit) && !writeback_failing(mm); i++) {
		uint32_t seq = rt_load_u32(&mm->pager.progress, RT_ACQUIRE);
		stat_inc(mm, throttled);
		if (over(mm, limit))
			pager_wait(mm, seq);
	}
}

bool writeback_failing(struct mm *mm)
{
	uint64_t at = rt_load_u64(&mm->write_failed_ns, RT_ACQUIRE);

	return at != 0 && rt_now_ns() - at < 2 * RETRY_NS;
}

/* The next mapping with work after *at (an id), held; NULL: none. */
static struct mapping *next_mapping(struct mm *mm, uint64_t *at)
{
	struct mapping *best = NULL;
	struct list_node *pos;

	rwlock_read_lock(&mm->mmap_lock);
	list_for_each(pos, &mm->mappings)
	{
		struct mapping *m = list_entry(pos, struct mapping, by_mm);
		if (m->id > *at && (!best || m->id < best->id))
			best = m;
	}
	if (best)
		mapping_hold(best);
	rwlock_read_unlock(&mm->mmap_lock);
	if (best)
		*at = best->id;
	return best;
}

static void write_mappings(struct mm *mm, bool all)
{
	struct mapping *m;

	for (uint64_t at = 0; (m = next_mapping(mm, &at)) != NULL; mapping_unhold(m)) {
		uint64_t now = rt_now_ns();
		rt_lock(&m->dirty_lock);
		bool any = m->dirty_folios > 0;
		rt_unlock(&m->dirty_lock);
		bool idle = mapping_idle(m);
		bool old = now - rt_load_u64(&m->oldest_ns, RT_RELAXED) > OLD_NS;
		if (!any || now < rt_load_u64(&m->retry_at_ns, RT_RELAXED))
			continue;
		if (all || idle || old) {
			rt_store_u64(&m->oldest_ns, now, RT_RELAXED);
			write_range(m, 0, UINT64_MAX, false);
		}
	}
}

void writeback_some(struct mm *mm)
{
	pager_kick_write(mm);
}

void writeback_background(struct mm *mm)
{
	bool asked = rt_load_u32(&mm->pager.write, RT_ACQUIRE);

	if (asked)
		rt_store_u32(&mm->pager.write, 0, RT_RELEASE);
	write_mappings(mm, asked || over(mm, dirty_limit(mm) / 2));
}

int writeback_all(struct mm *mm)
{
	struct mapping *m;
	int first = 0;

	for (uint64_t at = 0; (m = next_mapping(mm, &at)) != NULL; mapping_unhold(m)) {
		int err = writeback_sync(m, 0, UINT64_MAX, true);
		if (!first)
			first = err;
	}
	return first;
}
