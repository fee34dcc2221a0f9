/* SPDX-License-Identifier: MIT */
/* anon.c - see anon.h. The order: life, idle, evict. */
#include "core/anon.h"

#include <errno.h>
#include <string.h>

#include "base/bitmap.h"
#include "core/mm.h"
#include "core/reclaim.h"
#include "core/rmap.h"
#include "core/swap.h"

/* --- life ------------------------------------------------------------------------- */

struct folio *anon_new(struct mm *mm)
{
	if (!mm_charge_pages(mm, 1))
		return NULL;
	struct folio *f = folio_new(mm, 0);
	if (!f) {
		mm_uncharge_pages(mm, 1);
		return NULL;
	}
	folio_set(f, FOLIO_ANON);
	f->frame = f->slot = 0;
	rt_count_u64(&mm->anon, 1);
	return f;
}

void anon_free(struct mm *mm, struct folio *f)
{
	ASSERT(!folio_test(f, FOLIO_SWAPCACHE | FOLIO_WRITEBACK));
	lru_forget(mm, f);
	anon_frame_release(mm, f, true);
	anon_unbounce(mm, f);
	if (f->slot)
		swap_free(mm, f->slot - 1, false);
	rt_store_ptr(&f->anon, NULL, RT_RELAXED);
	f->dirty_next = NULL; /* frame and slot */
	rt_count_u64(&mm->anon, -1ull);
	mm_uncharge_pages(mm, 1);
}

void anon_frame_release(struct mm *mm, struct folio *f, bool drop)
{
	if (f->frame == 0)
		return;
	frames_put(mm, f->frame - 1, 1, drop);
	f->frame = 0;
}

void anon_unbounce(struct mm *mm, struct folio *f)
{
	if (!folio_test(f, FOLIO_BOUNCED))
		return;
	folio_clear(f, FOLIO_BOUNCED);
	bounce_put(&mm->bounce, f->bounced, 1);
	f->bounced = NULL;
}

void anon_set_dirty(struct mm *mm, struct folio *f)
{
	ASSERT(folio_test(f, FOLIO_LOCKED));
	ASSERT(!folio_test(f, FOLIO_WRITEBACK | FOLIO_SWAPCACHE));
	if (!folio_test(f, FOLIO_DIRTY))
		folio_set(f, FOLIO_DIRTY);
	if (f->slot) {
		swap_free(mm, f->slot - 1, false);
		f->slot = 0;
	}
}

void anon_entry_gone(struct mm *mm, pte_t e)
{
	if (e & PTE_SWAP)
		swap_entry_gone(mm, (uint32_t)pte_value(e));
	if (!(e & (PTE_PRESENT | PTE_IDLE)))
		return;
	struct folio *f = pte_folio(e);
	if (pte_pins(e)) {
		rt_sub_u32(&f->pins, (uint32_t)pte_pins(e), RT_RELEASE);
		rt_count_u64(&mm->pinned, -1ull);
	}
	if (e & PTE_PRESENT) {
		rt_sub_u32(&f->mapped, 1, RT_RELEASE);
		rt_count_u64(&mm->mapped, -1ull);
	}
	folio_put(mm, f);
}

/* --- idle ---------------------------------------------------------------------------- */

/* Slots of a table that may go, their folios locked and referenced by us. */
struct idle_set {
	uint64_t map[(PTES + 63) / 64];
};

static bool in_set(const struct idle_set *s, unsigned slot)
{
	return bitmap_test(s->map, slot);
}

/* Needs: the table's lock. held: a folio that the caller has locked. */
static bool take_for_idle(pte_t e, const struct folio *held)
{
	if (!(e & PTE_OWN) || pte_pins(e) > 0)
		return false;
	return pte_folio(e) == held || folio_trylock(pte_folio(e));
}

/* Slots [a, b) have left the view, each for its frame; enter that. */
static uint64_t enter_idle(struct mm *mm, struct ptable *t, unsigned a, unsigned b,
			   const uint32_t *frame, const struct idle_set *s)
{
	uint64_t n = 0;

	for (unsigned i = a; i < b; i++) {
		if (!in_set(s, i))
			continue;
		struct folio *f = pte_folio(t->pte[i]);
		f->frame = frame[i - a] + 1;
		t->pte[i] = pte_idle(f);
		rt_sub_u32(&f->mapped, 1, RT_RELEASE);
		n++;
	}
	rt_count_u64(&mm->mapped, -n);
	return n;
}

/* Slots [a, b) have stayed; the machine may have write-protected them. */
static void enter_protected(struct mm *mm, struct ptable *t, unsigned a, unsigned b,
			    const uint32_t *frame, const struct idle_set *s)
{
	for (unsigned i = a; i < b; i++) {
		if (!in_set(s, i))
			continue;
		t->pte[i] |= PTE_WP;
		frames_put(mm, frame[i - a], 1, false);
	}
}

/* Frames in a row for at most *n pages, or FRAME_NONE. */
static uint32_t some_frames(struct mm *mm, unsigned *n)
{
	uint32_t frame = frames_get(mm, *n);

	while (frame == FRAME_NONE && *n > 1)
		frame = frames_get(mm, *n /= 2);
	return frame;
}

/*
 * frame[i] for each slot a + i of the set: in a row for slots in a row, as far as there is
 * such a row, so that they can be moved; else the lowest that is free, which the machine is
 * likely to have memory in. Returns the slot that the frames end at.
 */
static unsigned find_frames(struct mm *mm, const struct idle_set *s, unsigned a, unsigned b,
			    uint32_t *frame)
{
	for (unsigned i = a; i < b;) {
		unsigned n = 0;
		while (i + n < b && in_set(s, i + n))
			n++;
		if (n == 0) {
			i++;
			continue;
		}
		uint32_t first = some_frames(mm, &n);
		if (first == FRAME_NONE)
			return i;
		for (; n > 0; n--)
			frame[i++ - a] = first++;
	}
	return b;
}

/* Which of slots [a, a + n) are in the set, as bits from 0 on. */
static void set_from(const struct idle_set *s, unsigned a, unsigned n, struct idle_set *out)
{
	*out = (struct idle_set){ { 0 } };
	for (unsigned i = 0; i < n; i++)
		if (in_set(s, a + i))
			bitmap_set_run(out->map, i, 1);
}

/* Take slots [a, b), of which those of the set are there and no others, out of the view.
 * Returns the pages. Needs: t's lock. */
static uint64_t idle_stretch(struct mm *mm, struct ptable *t, uint64_t base, unsigned a, unsigned b,
			     const struct idle_set *s)
{
	uint32_t frame[PTES];
	uint64_t n = 0;
	unsigned most = b - a;

	while (a < b && most > 0) {
		unsigned want = find_frames(mm, s, a, b - a < most ? b : a + most, frame) - a;
		if (want == 0)
			break;
		struct idle_set there;
		set_from(s, a, want, &there);
		int64_t got = rt_mmu_take(&mm->mmu, &mm->frames.pool, base + a * RT_PAGE, frame,
					  want, there.map);
		unsigned done = got > 0 ? (unsigned)got : 0;
		n += enter_idle(mm, t, a, a + done, frame, s);
		if (done < want)
			enter_protected(mm, t, a + done, a + want, frame + done, s);
		if (done == 0 && (got != -ENOENT || want == 1))
			break; /* somebody is at the page, for a moment or longer */
		if (done == 0)
			most = want / 2; /* over a seam of the machine's views */
		a += done;
	}
	return n;
}

/* What may go of slots [a, b). Needs: t's lock. */
static uint64_t idle_slots(struct mm *mm, struct ptable *t, uint64_t base, unsigned a, unsigned b,
			   const struct folio *held)
{
	struct idle_set set = { { 0 } };
	uint64_t n = 0;

	for (unsigned i = a; i < b; i++) {
		unsigned first = b, end = i;
		/* Up to what must stay; holes in between cost nothing. */
		for (; i < b; i++) {
			if (!(t->pte[i] & PTE_PRESENT))
				continue;
			if (!take_for_idle(t->pte[i], held))
				break;
			bitmap_set_run(set.map, i, 1);
			first = first < i ? first : i;
			end = i + 1;
		}
		if (first < end)
			n += idle_stretch(mm, t, base, first, end, &set);
	}
	for (unsigned i = a; i < b; i++)
		if (in_set(&set, i) && pte_folio(t->pte[i]) != held)
			folio_unlock(mm, pte_folio(t->pte[i]));
	return n;
}

uint64_t anon_idle_window(struct mm *mm, struct folio *f, bool locked)
{
	struct rmap r;

	if (!rmap_lock(mm, f, true, &r))
		return 0;
	uint64_t base = r.addr & ~(TABLE_BYTES - 1);
	uint64_t from = r.v->start > base ? r.v->start : base;
	uint64_t to = r.v->end < base + TABLE_BYTES ? r.v->end : base + TABLE_BYTES;
	uint64_t n = 0;
	if (r.v->rights) /* else what was busy when that went stays until it is back */
		n = idle_slots(mm, r.table, base, pte_slot(from),
			       (unsigned)((to - base) >> RT_PAGE_SHIFT), locked ? f : NULL);
	rmap_unlock(mm, &r);
	stat_add(mm, unmapped_pages, n);
	return n;
}

/* The table of *addr, and its slots [*a, *b) up to end; *addr moves past them. NULL: there is
 * none. */
static struct ptable *next_slots(struct mm *mm, uint64_t *addr, uint64_t end, uint64_t *base,
				 unsigned *a, unsigned *b)
{
	struct ptable *t = ptable_lookup(mm, *addr);

	*base = *addr & ~(TABLE_BYTES - 1);
	uint64_t stop = end - *base > TABLE_BYTES ? *base + TABLE_BYTES : end;
	*a = pte_slot(*addr);
	*b = (unsigned)((stop - *base) >> RT_PAGE_SHIFT);
	*addr = stop;
	return t;
}

uint64_t anon_idle_range(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t n = 0, base;
	unsigned a, b;

	while (start < end) {
		struct ptable *t = next_slots(mm, &start, end, &base, &a, &b);
		if (!t)
			continue;
		rt_lock(&t->lock);
		n += idle_slots(mm, t, base, a, b, NULL);
		rt_unlock(&t->lock);
	}
	return n;
}

void anon_deactivate(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t base;
	unsigned a, b;

	while (start < end) {
		struct ptable *t = next_slots(mm, &start, end, &base, &a, &b);
		if (!t)
			continue;
		rt_lock(&t->lock);
		for (; a < b; a++)
			if (t->pte[a] & (PTE_PRESENT | PTE_IDLE) && t->pte[a] & PTE_OWN)
				lru_deactivate(mm, pte_folio(t->pte[a]));
		rt_unlock(&t->lock);
	}
}

/* Idle folios of slots [*a, b), locked and isolated: up to `most`; *a moves past them. Needs:
 * t's lock. */
static unsigned isolate_idle(struct mm *mm, struct ptable *t, unsigned *a, unsigned b,
			     struct folio **out, unsigned most)
{
	unsigned n = 0;

	for (; *a < b && n < most; (*a)++) {
		pte_t e = t->pte[*a];
		struct folio *f = e & PTE_IDLE ? pte_folio(e) : NULL;
		if (!f || !folio_trylock(f))
			continue;
		if (!folio_test(f, FOLIO_WRITEBACK) && lru_isolate(mm, f)) {
			folio_clear(f, FOLIO_REFERENCED);
			out[n++] = f;
		} else {
			folio_unlock(mm, f);
		}
	}
	return n;
}

void anon_pageout(struct mm *mm, uint64_t start, uint64_t end)
{
	struct folio *folio[CONFIG_RECLAIM_BATCH];
	uint64_t base;
	unsigned a, b, writing;

	while (start < end) {
		struct ptable *t = next_slots(mm, &start, end, &base, &a, &b);
		if (t) {
			rt_lock(&t->lock);
			idle_slots(mm, t, base, a, b, NULL);
			rt_unlock(&t->lock);
		}
		while (t && a < b) {
			rt_lock(&t->lock);
			unsigned n = isolate_idle(mm, t, &a, b, folio, CONFIG_RECLAIM_BATCH);
			rt_unlock(&t->lock);
			anon_evict(mm, folio, n, &writing);
		}
	}
}

/* --- evict: what is decided at once --------------------------------------------------- */

/* Are all 32-bit words of the page the same? */
static bool same_word(const uint64_t *page, uint32_t *word)
{
	uint64_t first = page[0];

	if ((uint32_t)first != first >> 32)
		return false;
	for (unsigned i = 1; i < RT_PAGE / sizeof(*page); i++)
		if (page[i] != first)
			return false;
	*word = (uint32_t)first;
	return true;
}

/* A look at a page that nobody has touched for long costs a miss of everything (12 % of the
 * CPU of 8 threads at random, on a machine with shadow page tables). Where none of the last
 * CONFIG_DULL was the same throughout, one in CONFIG_DULL is looked at. */
static bool worth_a_look(struct mm *mm)
{
	uint32_t dull = rt_add_u32(&mm->frames.dull, 1, RT_RELAXED);

	return dull < CONFIG_DULL || dull % CONFIG_DULL == 0;
}

/*
 * The entry of f becomes e, and f has none any more. False: it has been mapped, pinned or
 * moved meanwhile, or somebody refers to it. try: does not sleep. Needs: f locked, and the
 * caller's reference.
 */
static bool replace_entry(struct mm *mm, struct folio *f, pte_t e, bool try)
{
	struct rmap r;

	if (!rmap_lock(mm, f, try, &r))
		return false;
	bool may = *r.pte & PTE_IDLE && rt_load_u32(&f->refs, RT_ACQUIRE) == 2;
	if (may) {
		*r.pte = e;
		if (e == 0)
			r.table->present--;
		if (e & PTE_SWAP) {
			swap_set_entry(mm, f->slot - 1);
			f->slot = 0;
		}
	}
	rmap_unlock(mm, &r);
	if (may) {
		rt_sub_u32(&f->refs, 1, RT_ACQ_REL); /* the entry's; ours is left */
		if (e & PTE_SWAP)
			lru_remember_slot(mm, (uint32_t)pte_value(e));
	}
	return may;
}

/* Let go of f without a write, if that can be. Needs: as replace_entry(). */
static bool evict_clean(struct mm *mm, struct folio *f, bool try)
{
	uint32_t word;

	if (folio_test(f, FOLIO_SWAPCACHE)) { /* read ahead, or its entry is gone */
		if (rt_load_u32(&f->refs, RT_ACQUIRE) != 2)
			return false; /* somebody has read it for himself, or comes for it */
		lru_remember_slot(mm, f->slot - 1);
		swap_cache_del(mm, f, false);
		return true;
	}
	if (f->frame == 0)
		return false;
	if (!folio_test(f, FOLIO_DIRTY) && f->slot)
		return replace_entry(mm, f, pte_value_of(PTE_SWAP, f->slot - 1), try);
	if (!folio_test(f, FOLIO_DIRTY))
		return replace_entry(mm, f, 0, try); /* zeros, never stored to */
	if (!worth_a_look(mm) || !same_word(frames_at(mm, f->frame - 1), &word))
		return false;
	rt_store_u32(&mm->frames.dull, 0, RT_RELAXED);
	return replace_entry(mm, f, word ? pte_value_of(PTE_SAME, word) : 0, try);
}

static void evicted(struct mm *mm, struct folio *f)
{
	stat_inc(mm, evicted_pages);
	folio_unlock(mm, f);
	folio_put(mm, f); /* the last, but for who has just found it */
}

/* It stays: back to the cold list. */
static void not_evicted(struct mm *mm, struct folio *f)
{
	lru_return(mm, f, false);
	folio_unlock(mm, f);
	folio_put(mm, f);
}

unsigned anon_gather_idle(struct mm *mm, struct folio *f, struct folio **out, unsigned most)
{
	struct rmap r;
	unsigned n = 0;

	if (!rmap_lock(mm, f, true, &r))
		return 0;
	uint64_t base = r.addr & ~(TABLE_BYTES - 1);
	unsigned first = r.v->start > base ? pte_slot(r.v->start) : 0;
	unsigned end = r.v->end < base + TABLE_BYTES ? pte_slot(r.v->end) : PTES;
	for (unsigned i = first; i < end && n < most; i++) {
		pte_t e = r.table->pte[i];
		struct folio *g = e & PTE_IDLE ? pte_folio(e) : NULL;
		if (!g || g == f || folio_test(g, FOLIO_HOT | FOLIO_REFERENCED) ||
		    !folio_trylock(g))
			continue;
		if (!folio_test(g, FOLIO_REFERENCED | FOLIO_WRITEBACK) && lru_isolate(mm, g))
			out[n++] = g;
		else
			folio_unlock(mm, g);
	}
	rmap_unlock(mm, &r);
	return n;
}

/* --- evict: writing -------------------------------------------------------------------- */

/* A write of slots in a row, in the last page of its buffer. */
struct swap_write {
	struct rt_io io;
	struct mm *mm;
	uint32_t folios;
	uint32_t pages;                        /* of the buffer, this one included */
	struct folio *folio[CONFIG_RUN_PAGES]; /* isolated, under write-back, with a reference */
};
_Static_assert(sizeof(struct swap_write) <= RT_PAGE, "a swap_write lives in one page");

static void note_write_error(struct mm *mm, struct folio *f, int err)
{
	struct anon_vma *a = anon_vma_get(mm, f);

	if (!a)
		return;
	rt_cas_u32(&a->write_error, 0, (uint32_t)err, RT_RELAXED);
	anon_vma_put(mm, a);
}

/* The write of f has ended. WRITEBACK has kept its slot. Runs on the I/O thread. */
static bool folio_swapped(struct mm *mm, struct folio *f, int err)
{
	if (err) {
		COVER(swap_write_failed);
		note_write_error(mm, f, err);
		swap_free(mm, f->slot - 1, true);
		f->slot = 0;
		folio_set(f, FOLIO_DIRTY);
	}
	folio_end_writeback(mm, f);
	if (!folio_trylock(f)) {
		lru_return(mm, f, false);
		folio_put(mm, f);
		return false;
	}
	if (err || folio_test(f, FOLIO_DIRTY | FOLIO_REFERENCED) || !evict_clean(mm, f, true)) {
		not_evicted(mm, f);
		return false;
	}
	evicted(mm, f);
	return true;
}

/* A short write is read on, so to speak: the rest of it, at once. */
static int write_rest(struct mm *mm, struct rt_io *io)
{
	uint64_t done = io->res > 0 ? (uint64_t)io->res : 0;

	if (io->res < 0)
		return (int)-io->res;
	while (done < io->len) {
		int64_t n = rt_file_write(&mm->swap.file, (char *)io->buf + done, io->len - done,
					  io->off + done);
		if (n <= 0)
			return n < 0 ? (int)-n : ENOSPC;
		done += (uint64_t)n;
	}
	return 0;
}

static void swap_written(struct rt_io *io)
{
	struct swap_write *w = container_of(io, struct swap_write, io);
	struct mm *mm = w->mm;
	int err = write_rest(mm, io);
	uint64_t freed = 0;

	stat_inc(mm, swap_writes);
	if (err) {
		stat_inc(mm, write_errors);
		rt_store_u64(&mm->write_failed_ns, rt_now_ns(), RT_RELEASE);
	} else {
		stat_add(mm, swap_write_bytes, io->len);
		rt_store_u64(&mm->write_failed_ns, 0, RT_RELAXED);
	}
	for (uint32_t i = 0; i < w->folios; i++)
		freed += folio_swapped(mm, w->folio[i], err);
	/* Only now: who sees none under way finds those gone that could go. */
	rt_count_u64(&mm->writeback, -(uint64_t)w->folios);
	rt_count_u64(&mm->swapping, -(uint64_t)w->folios);
	bounce_put(&mm->bounce, (char *)w - (w->pages - 1) * RT_PAGE, w->pages);
	if (freed > 0)
		pager_freed(mm, freed);
	pager_progress(mm);
}

/* Is the content of f[0..n) in frames in a row? */
static bool frames_in_a_row(struct folio **f, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		if (f[i]->frame != f[0]->frame + i)
			return false;
	return true;
}

/* Write f[0..*n), at most, to slots in a row from `slot` on; *n is how many it became. From
 * the frames where they lie, if in a row; else through a buffer, for one large write is worth
 * more than the copy. */
static struct swap_write *write_new(struct mm *mm, struct folio **f, uint32_t *n)
{
	bool copied = !frames_in_a_row(f, *n);
	char *buf = copied ? bounce_get_run(&mm->bounce, *n + 1) : bounce_get_page(&mm->bounce);

	if (!buf) {
		while (!frames_in_a_row(f, *n))
			(*n)--;
		copied = false;
		buf = bounce_get_page(&mm->bounce);
	}
	struct swap_write *w = (void *)(buf + (copied ? *n : 0) * RT_PAGE);
	*w = (struct swap_write){ .mm = mm, .pages = copied ? *n + 1 : 1 };
	w->io.buf = copied ? buf : frames_at(mm, f[0]->frame - 1);
	for (uint32_t i = 0; copied && i < *n; i++)
		memcpy(buf + i * RT_PAGE, frames_at(mm, f[i]->frame - 1), RT_PAGE);
	return w;
}

/* Needs: f[0..n) locked and idle; consumes lock and reference. */
static void write_run(struct mm *mm, struct folio **f, uint32_t n, uint32_t slot)
{
	while (n > 0) {
		uint32_t run = n;
		struct swap_write *w = write_new(mm, f, &run);
		for (uint32_t i = 0; i < run; i++) {
			w->folio[i] = f[i];
			f[i]->slot = slot + i + 1;
			folio_clear(f[i], FOLIO_DIRTY);
			folio_set(f[i], FOLIO_WRITEBACK);
			folio_unlock(mm, f[i]);
		}
		w->folios = run;
		w->io.file = &mm->swap.file;
		w->io.len = run * RT_PAGE;
		w->io.off = (uint64_t)slot * RT_PAGE;
		w->io.write = true;
		w->io.done = swap_written;
		rt_count_u64(&mm->writeback, run);
		rt_count_u64(&mm->swapping, run);
		rt_ioq_submit(&mm->ioq, &w->io, true);
		f += run;
		n -= run;
		slot += run;
	}
}

/* By anon_vma and index: neighbours get neighbouring slots, and are read together. */
static bool comes_before(const struct folio *a, const struct folio *b)
{
	void *x = rt_load_ptr(&a->anon, RT_RELAXED), *y = rt_load_ptr(&b->anon, RT_RELAXED);

	return x != y ? (uintptr_t)x < (uintptr_t)y : a->index < b->index;
}

static void sort(struct folio **f, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j > 0 && comes_before(f[j], f[j - 1]); j--) {
			struct folio *swap = f[j];
			f[j] = f[j - 1];
			f[j - 1] = swap;
		}
}

uint64_t anon_evict(struct mm *mm, struct folio **f, unsigned n, unsigned *writing)
{
	uint64_t freed = 0;
	unsigned left = 0;

	*writing = 0;
	for (unsigned i = 0; i < n; i++) {
		if (evict_clean(mm, f[i], false)) {
			evicted(mm, f[i]);
			freed++;
		} else if (f[i]->frame == 0 || !folio_test(f[i], FOLIO_DIRTY)) {
			not_evicted(mm, f[i]); /* mapped, or somebody has come for it */
		} else {
			f[left++] = f[i];
		}
	}
	sort(f, left);
	for (unsigned at = 0; at < left;) {
		uint32_t run = left - at < CONFIG_RUN_PAGES ? left - at : CONFIG_RUN_PAGES;
		uint32_t slot = swap_alloc(mm, &run);
		if (slot == SLOT_NONE) {
			for (; at < left; at++) {
				lru_return(mm, f[at], true);
				folio_unlock(mm, f[at]);
				folio_put(mm, f[at]);
			}
			break;
		}
		write_run(mm, f + at, run, slot);
		*writing += run;
		at += run;
	}
	rt_ioq_flush(&mm->ioq);
	return freed;
}

int anon_take_error(struct vma *v)
{
	struct anon_vma *a = rt_load_ptr(&v->anon_vma, RT_ACQUIRE);

	return a ? (int)rt_and_u32(&a->write_error, 0, RT_RELAXED) : 0;
}
