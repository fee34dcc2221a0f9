/* SPDX-License-Identifier: MIT */
/* swap_ahead.c - see swap_ahead.h. */
#include "core/swap_ahead.h"

#include "core/anon.h"
#include "core/mm.h"
#include "core/reclaim.h"
#include "core/swap.h"

/* A read of slots in a row, in the page behind its buffer. */
struct swap_ahead {
	struct rt_io io;
	struct mm *mm;
	uint32_t folios;
	struct folio *folio[CONFIG_RUN_PAGES]; /* locked, cached, with a reference */
};
_Static_assert(sizeof(struct swap_ahead) <= RT_PAGE, "a swap_ahead lives in one page");

/* One page has come, or not. Its lock was the request's. */
static void page_read(struct mm *mm, struct folio *f, void *buf, bool ok)
{
	rt_note_held(f, true);
	if (ok) {
		f->bounced = buf;
		folio_set(f, FOLIO_BOUNCED | FOLIO_UPTODATE);
	} else {
		COVER(swap_ahead_failed);
		stat_inc(mm, read_errors);
		bounce_put(&mm->bounce, buf, 1);
		swap_cache_del(mm, f, false); /* the next fault reads it, and reports */
	}
	folio_unlock(mm, f);
	folio_put(mm, f);
}

/* Runs on the machine's I/O thread. What came short is left to the faults. */
static void ahead_done(struct rt_io *io)
{
	struct swap_ahead *r = container_of(io, struct swap_ahead, io);
	struct mm *mm = r->mm;
	uint64_t came = io->res > 0 ? (uint64_t)io->res / RT_PAGE : 0;

	stat_inc(mm, swap_reads);
	stat_add(mm, swap_read_bytes, came * RT_PAGE);
	for (uint32_t i = 0; i < r->folios; i++)
		page_read(mm, r->folio[i], (char *)io->buf + i * RT_PAGE, i < came);
	bounce_put(&mm->bounce, r, 1);
	rt_count_u64(&mm->inflight, -1ull);
	pager_progress(mm);
}

/* How many entries from addr on, up to n, name slots in a row; *slot: the first. 0: the
 * first names none, *skip pages are not worth a look. */
static uint32_t slots_in_a_row(struct mm *mm, uint64_t addr, uint64_t n, uint32_t *slot,
			       uint64_t *skip)
{
	struct ptable *t = ptable_lookup(mm, addr);
	unsigned at = pte_slot(addr);
	uint32_t run = 0;

	*skip = t ? 1 : PTES - at;
	if (!t)
		return 0;
	n = n < PTES - at ? n : PTES - at;
	rt_lock(&t->lock);
	pte_t first = t->pte[at];
	if (first & PTE_SWAP) {
		*slot = (uint32_t)pte_value(first);
		while (run < n && t->pte[at + run] & PTE_SWAP &&
		       pte_value(t->pte[at + run]) == *slot + run)
			run++;
	}
	rt_unlock(&t->lock);
	return run;
}

/* A new folio in the cache, for the slot; NULL: over the budget, or (*cached) there is one,
 * or the slot is nobody's any more. */
static struct folio *cached_folio(struct mm *mm, uint32_t slot, bool *cached)
{
	struct folio *f = anon_new(mm);

	*cached = false;
	if (!f)
		return NULL;
	folio_set(f, FOLIO_STREAM);
	int err = swap_cache_add(mm, slot, f);
	if (!err) {
		lru_add(mm, f);
		return f;
	}
	*cached = true;
	folio_unlock(mm, f);
	folio_put(mm, f);
	return NULL;
}

/* Read up to n slots from `slot` on. Returns how many were started; *more: it is worth going
 * on behind them. */
static uint32_t read_run(struct mm *mm, uint32_t slot, uint32_t n, bool *more)
{
	char *buf = bounce_get_run(&mm->bounce, n + 1);
	bool cached = false;

	*more = false;
	if (!buf)
		return 0;
	struct swap_ahead *r = (void *)(buf + n * RT_PAGE);
	r->mm = mm;
	r->folios = 0;
	while (r->folios < n) {
		struct folio *f = cached_folio(mm, slot + r->folios, &cached);
		if (!f)
			break;
		rt_note_dropped(f); /* the lock is the request's from here on */
		r->folio[r->folios++] = f;
	}
	*more = cached || r->folios == n;
	if (r->folios < n)
		bounce_put(&mm->bounce, buf + r->folios * RT_PAGE, n - r->folios);
	if (r->folios == 0) {
		bounce_put(&mm->bounce, r, 1);
		return 0;
	}
	uint32_t started = r->folios;
	r->io = (struct rt_io){ .file = &mm->swap.file,
				.buf = buf,
				.len = started * RT_PAGE,
				.off = (uint64_t)slot * RT_PAGE,
				.done = ahead_done };
	stat_inc(mm, reads_ahead);
	rt_count_u64(&mm->inflight, 1);
	rt_ioq_submit(&mm->ioq, &r->io, false);
	return started;
}

uint64_t swap_ahead(struct mm *mm, struct vma *v, uint64_t index, uint64_t end)
{
	if (end > vma_index_end(v))
		end = vma_index_end(v);
	while (index < end) {
		uint64_t most = end - index < CONFIG_RUN_PAGES ? end - index : CONFIG_RUN_PAGES;
		uint64_t skip;
		uint32_t slot, n = slots_in_a_row(mm, vma_addr_of(v, index), most, &slot, &skip);
		bool more;

		if (n == 0) {
			index += skip;
			continue;
		}
		uint32_t started = read_run(mm, slot, n, &more);
		index += started;
		if (!more)
			return index;
		if (started < n)
			index++; /* cached already, or on its way */
	}
	return index < end ? index : end;
}
