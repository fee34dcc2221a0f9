/* SPDX-License-Identifier: MIT */
/* readahead.c - see readahead.h. */
#include "core/readahead.h"

#include <errno.h>

#include "core/filemap.h"
#include "core/mm.h"
#include "core/reclaim.h"

#define WINDOW_MAX   ((uint32_t)PTES)
#define AHEAD_WINDOW 64u /* a stream with this window is read ahead of */

/* --- sizes --------------------------------------------------------------- */

static unsigned order_most(struct mm *mm)
{
	/* Only a part of the budget: reclaim must have a choice. */
	uint64_t limit = rt_load_u64(&mm->budget, RT_RELAXED) / RT_PAGE / CONFIG_ORDER_SHARE;
	unsigned most = 0;

	while (most < CONFIG_READ_ORDER_MAX && (2ull << most) <= limit)
		most++;
	return most;
}

/* --- learning ------------------------------------------------------------ */

static struct stream *stream_match(struct vma *v, uint64_t index)
{
	for (int i = 0; i < CONFIG_STREAMS; i++) {
		struct stream *s = &v->streams[i];
		/* A reader may skip a little: part of the window still counts. */
		if (s->window && index >= s->next && index - s->next <= s->window / 4)
			return s;
	}
	return NULL;
}

/* A stream that never matched goes first, the longest unmatched of them. */
static struct stream *stream_victim(struct vma *v)
{
	struct stream *victim = &v->streams[0];

	for (int i = 1; i < CONFIG_STREAMS; i++) {
		struct stream *s = &v->streams[i];
		uint32_t age = v->streams_clock - s->used;
		uint32_t oldest = v->streams_clock - victim->used;
		/* An established stream may be quiet for a while among random reads. */
		if (s->streak > 1 && age < 4096)
			age /= 256;
		if (victim->streak > 1 && oldest < 4096)
			oldest /= 256;
		if (age > oldest)
			victim = s;
	}
	return victim;
}

static void stream_start(struct vma *v, struct stream *s, uint64_t index)
{
	*s = (struct stream){ .next = index + 1, .ahead = index + 1, .window = 1 };
	if (v->advice == VMA_SEQUENTIAL) {
		s->window = AHEAD_WINDOW;
		s->streak = 2;
	}
}

static void stream_grow(struct stream *s)
{
	s->streak++;
	s->window = s->window * 4 < WINDOW_MAX ? s->window * 4 : WINDOW_MAX;
}

struct ra_plan readahead_plan(struct mm *mm, struct vma *v, uint64_t index)
{
	struct ra_plan plan = { .window = 1, .from = index + 1, .ahead = index + 1 };

	if (v->advice == VMA_RANDOM || !rt_trylock(&v->streams_lock))
		return plan;
	struct stream *s = stream_match(v, index);
	v->streams_clock++;
	if (s) {
		stream_grow(s);
		plan.stream = true;
	} else {
		s = stream_victim(v);
		stream_start(v, s, index);
		plan.stream = s->streak > 0;
	}
	s->used = v->streams_clock;
	s->next = index + 1;
	plan.window = s->window;
	if (plan.stream && mm->ahead_max > 0) {
		uint64_t reach = s->window < AHEAD_WINDOW ? s->window : s->window * 4ull;
		plan.ahead = index + (reach < mm->ahead_max ? reach : mm->ahead_max);
		/* Whole large folios, or each pass leaves smaller ones than the last. */
		if (s->window >= AHEAD_WINDOW)
			plan.ahead = (plan.ahead + (1ull << order_most(mm)) - 1) >>
				     order_most(mm) << order_most(mm);
		if (s->ahead > plan.from && s->ahead - index <= 2 * mm->ahead_max)
			plan.from = s->ahead;
	}
	rt_unlock(&v->streams_lock);
	return plan;
}

void readahead_mapped(struct vma *v, uint64_t index, uint64_t end)
{
	if (end <= index + 1 || !rt_trylock(&v->streams_lock))
		return;
	for (int i = 0; i < CONFIG_STREAMS; i++) {
		struct stream *s = &v->streams[i];
		if (s->window && s->next > index && s->next <= end)
			s->next = end;
	}
	rt_unlock(&v->streams_lock);
}

void readahead_reached(struct vma *v, uint64_t index, uint64_t next)
{
	if (!rt_trylock(&v->streams_lock))
		return;
	for (int i = 0; i < CONFIG_STREAMS; i++) {
		struct stream *s = &v->streams[i];
		if (s->window && s->next > index && s->next <= next)
			s->ahead = next;
	}
	rt_unlock(&v->streams_lock);
}

/* --- reading ------------------------------------------------------------- */

/* One request: a folio, its buffer, and itself, which lives in front of nothing
 * else: the last page of the buffer's run. */
struct ahead_read {
	struct rt_io io;
	struct mapping *mapping;
	struct folio *folio; /* with a reference */
	uint64_t pages;      /* of the buffer run, this page included */
};

/* A short read may be the end of the file, or not: the store reads on until it is. */
static void read_rest(struct mapping *m, struct rt_io *io)
{
	uint64_t end = io->off + (uint64_t)io->res;

	if (io->res <= 0 || (uint64_t)io->res == io->len ||
	    end >= rt_load_u64(&m->size, RT_ACQUIRE))
		return;
	COVER(ahead_short);
	int64_t rest = m->store->ops->read(m->store, (char *)io->buf + io->res,
					   io->len - (size_t)io->res, end);
	io->res = rest < 0 ? rest : io->res + rest;
}

/* The I/O is over. Runs on the machine's I/O thread. The reference outlives the
 * unlock: once the lock bit is clear, reclaim may free the folio. */
static void ahead_done(struct rt_io *io)
{
	struct ahead_read *r = container_of(io, struct ahead_read, io);
	struct mapping *m = r->mapping;
	struct mm *mm = m->mm;
	struct folio *f = r->folio;
	uint64_t pages = r->pages;
	void *buf = io->buf;

	rt_note_held(f, true);
	stat_inc(mm, reads);
	read_rest(m, io);
	if (io->res > 0)
		stat_add(mm, read_bytes, (uint64_t)io->res);
	if (filemap_fill(m, f, buf, io->res) != 0) {
		stat_inc(mm, read_errors);
		COVER(ahead_failed);
		filemap_del(m, f); /* the next fault reads it, and reports */
	}
	bounce_put(&mm->bounce, buf, pages);
	folio_unlock(mm, f);
	folio_put(mm, f);
	rt_count_u64(&mm->inflight, -1ull);
	pager_progress(mm); /* a write-out may wait for the buffer */
}

/* The largest folio that starts at index and ends by end. */
static unsigned order_at(uint64_t index, uint64_t end, unsigned most)
{
	unsigned order = 0;

	while (order < most && !(index & (1ull << order)) && index + (2ull << order) <= end)
		order++;
	return order;
}

static void ahead_start(struct mapping *m, struct folio *f, void *buf, struct rt_file *file)
{
	uint64_t bytes = folio_pages(f) * RT_PAGE;
	struct ahead_read *r = (void *)((char *)buf + bytes);

	*r = (struct ahead_read){
		.io = { .file = file,
			.buf = buf,
			.len = bytes,
			.off = f->index * RT_PAGE,
			.done = ahead_done },
		.mapping = m,
		.folio = f,
		.pages = folio_pages(f) + 1,
	};
	stat_inc(m->mm, reads_ahead);
	rt_count_u64(&m->mm->inflight, 1);
	rt_note_dropped(f); /* the lock is the request's from here on */
	rt_ioq_submit(&m->mm->ioq, &r->io, false);
}

uint64_t readahead_submit(struct mapping *m, uint64_t index, uint64_t end)
{
	struct mm *mm = m->mm;
	struct rt_file *file = m->store->ops->file(m->store, false);
	uint64_t last = mapping_pages(m);
	unsigned most = order_most(mm);

	if (!file)
		return index;
	end = end < last ? end : last;
	while (index < end) {
		struct folio *f = filemap_get(m, index);
		if (f) { /* cached, or on its way */
			uint64_t next = f->index + folio_pages(f);
			folio_put(mm, f);
			index = next > index ? next : index + 1;
			continue;
		}
		unsigned order = order_at(index, end, most);
		void *buf = bounce_get_run(&mm->bounce, (1ull << order) + 1);
		if (!buf)
			return index;
		int err = filemap_add(m, index, order, FOLIO_STREAM, &f);
		if (err == 0) {
			ahead_start(m, f, buf, file);
			index += 1ull << order;
		} else {
			bounce_put(&mm->bounce, buf, (1ull << order) + 1);
			if (err == -ENOMEM || order == 0)
				return index;
			most = 0; /* part of it is cached: page by page */
		}
	}
	return index;
}

/* --- later ----------------------------------------------------------------- */

void readahead_later(struct mapping *m, uint64_t index, uint64_t end)
{
	struct mm *mm = m->mm;

	rt_lock(&mm->later_lock);
	for (int i = 0; i < CONFIG_LATER; i++) {
		if (mm->later[i].mapping)
			continue;
		mapping_hold(m);
		mm->later[i] = (struct later_read){ m, index, end };
		break;
	}
	rt_unlock(&mm->later_lock);
	pager_kick(mm);
}

bool readahead_pending(struct mm *mm)
{
	bool more = false;

	for (int i = 0; i < CONFIG_LATER; i++) {
		rt_lock(&mm->later_lock);
		struct later_read r = mm->later[i];
		rt_unlock(&mm->later_lock);
		if (!r.mapping)
			continue;
		/* Only the pager takes entries out: this one is ours. */
		uint64_t next = readahead_submit(r.mapping, r.index, r.end);
		uint64_t end = r.end < mapping_pages(r.mapping) ? r.end : mapping_pages(r.mapping);
		bool room = rt_load_u64(&mm->charged, RT_RELAXED) + reclaim_high(mm) <
			    mm_frame_limit(mm);
		bool stuck = next == r.index &&
			     (!room || !r.mapping->store->ops->file(r.mapping->store, false));
		bool done = next >= end || stuck || mapping_idle(r.mapping);
		rt_lock(&mm->later_lock);
		mm->later[i].index = next;
		if (done)
			mm->later[i].mapping = NULL;
		rt_unlock(&mm->later_lock);
		if (done)
			mapping_unhold(r.mapping);
		else
			more = true;
	}
	return more;
}
