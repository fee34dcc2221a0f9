/* SPDX-License-Identifier: MIT */
/* reclaim.c - see reclaim.h. */
#include "core/reclaim.h"

#include <errno.h>

#include "core/anon.h"
#include "core/filemap.h"
#include "core/pgtable.h"
#include "core/swap.h"
#include "core/writeback.h"

#define RECLAIM_WAITS 50 /* of up to 100 ms each, without any progress at all */

struct reclaim_scratch {
	struct folio *evict[CONFIG_RECLAIM_BATCH]; /* locked, ours to drop */
	struct folio *anon[CONFIG_RUN_PAGES];      /* the same, anonymous: one write */
	unsigned evicts, anons;
	bool dirty;       /* met folios that must be written first */
	uint64_t writing; /* anonymous ones whose write began: they go when it ends */
	uint32_t window_clock[1u << CONFIG_WINDOW_CLOCKS_SHIFT];
};

/* --- the lists ------------------------------------------------------------ */

static uint64_t ghost_key(const struct mapping *m, uint64_t index)
{
	return m->id << 44 ^ index;
}

static uint64_t ghost_key_of_slot(uint64_t slot)
{
	return slot; /* no mapping has the id 0 */
}

/* Was f evicted a short while ago? Needs: its lock, lru.lock. */
static bool comes_again(struct mm *mm, const struct folio *f, uint64_t budget)
{
	uint64_t key = folio_test(f, FOLIO_ANON) ? ghost_key_of_slot(f->slot - 1)
						 : ghost_key(f->mapping, f->index);
	uint32_t age;

	if (folio_test(f, FOLIO_ANON) && !f->slot)
		return false; /* touched for the first time */
	return ghost_take(&mm->lru.ghost, key, mm->lru.clock, &age) && age <= budget;
}

/* The pages that the budget leaves for frames, once the reserve is kept. */
static uint64_t frames_at_most(struct mm *mm)
{
	uint64_t budget = rt_load_u64(&mm->budget, RT_RELAXED);
	uint64_t other = rt_load_u64(&mm->metadata, RT_RELAXED) + reclaim_high(mm) +
			 rt_load_u64(&mm->owned, RT_RELAXED) * RT_PAGE;

	return budget > other ? (budget - other) / RT_PAGE : 0;
}

/* Needs: lru.lock. */
static bool hot_has_room(struct mm *mm, uint64_t pages)
{
	uint64_t budget = frames_at_most(mm);
	uint64_t all = mm->lru.cold_pages + mm->lru.hot_pages + 1;
	uint64_t small = mm->lru.small_pages < all ? mm->lru.small_pages : all;
	uint64_t cold_least = budget / 10 + (budget * 4 / 10) * small / all;

	return mm->lru.hot_pages + pages + cold_least <= budget;
}

static uint64_t cold_pages(struct mm *mm)
{
	rt_lock(&mm->lru.lock);
	uint64_t n = mm->lru.cold_pages;
	rt_unlock(&mm->lru.lock);
	return n;
}

/* Needs: lru.lock, f not on a list. */
static void list_in(struct mm *mm, struct folio *f, bool hot)
{
	uint64_t pages = folio_pages(f);

	if (pages == 1)
		mm->lru.small_pages++;
	if (hot) {
		folio_set(f, FOLIO_HOT);
		list_add(&mm->lru.hot, &f->lru);
		mm->lru.hot_pages += pages;
	} else {
		folio_clear(f, FOLIO_HOT);
		list_add(&mm->lru.cold, &f->lru);
		mm->lru.cold_pages += pages;
	}
}

/* Needs: lru.lock, f on a list. */
static void list_out(struct mm *mm, struct folio *f)
{
	uint64_t pages = folio_pages(f);

	if (pages == 1)
		mm->lru.small_pages--;
	list_del(&f->lru);
	if (folio_test(f, FOLIO_HOT))
		mm->lru.hot_pages -= pages;
	else
		mm->lru.cold_pages -= pages;
}

void lru_add(struct mm *mm, struct folio *f)
{
	uint64_t budget = rt_load_u64(&mm->budget, RT_RELAXED) / RT_PAGE;

	rt_lock(&mm->lru.lock);
	/* The adder holds the folio lock: it cannot have been removed before. */
	bool again = comes_again(mm, f, budget);
	if (again)
		stat_add(mm, refaults, folio_pages(f));
	list_in(mm, f, again && hot_has_room(mm, folio_pages(f)));
	rt_unlock(&mm->lru.lock);
}

void lru_del(struct mm *mm, struct folio *f, bool remember)
{
	rt_lock(&mm->lru.lock);
	folio_set(f, FOLIO_OFF_LRU);
	if (!list_empty(&f->lru))
		list_out(mm, f);
	if (remember) {
		ghost_add(&mm->lru.ghost, ghost_key(f->mapping, f->index), mm->lru.clock);
		mm->lru.clock += (uint32_t)folio_pages(f);
	}
	rt_unlock(&mm->lru.lock);
}

static void lru_putback(struct mm *mm, struct folio *f, bool hot)
{
	rt_lock(&mm->lru.lock);
	if (!folio_test(f, FOLIO_OFF_LRU))
		list_in(mm, f,
			hot && (folio_test(f, FOLIO_HOT) || hot_has_room(mm, folio_pages(f))));
	rt_unlock(&mm->lru.lock);
}

bool lru_isolate(struct mm *mm, struct folio *f)
{
	bool got = false;

	rt_lock(&mm->lru.lock);
	if (!list_empty(&f->lru) && folio_tryget(f)) {
		list_out(mm, f);
		got = true;
	}
	rt_unlock(&mm->lru.lock);
	return got;
}

void lru_return(struct mm *mm, struct folio *f, bool hot)
{
	lru_putback(mm, f, hot);
}

void lru_forget(struct mm *mm, struct folio *f)
{
	rt_lock(&mm->lru.lock);
	if (!list_empty(&f->lru))
		list_out(mm, f);
	rt_unlock(&mm->lru.lock);
}

void lru_remember_slot(struct mm *mm, uint32_t slot)
{
	rt_lock(&mm->lru.lock);
	ghost_add(&mm->lru.ghost, ghost_key_of_slot(slot), mm->lru.clock);
	mm->lru.clock++;
	rt_unlock(&mm->lru.lock);
}

void lru_deactivate(struct mm *mm, struct folio *f)
{
	rt_lock(&mm->lru.lock);
	if (!list_empty(&f->lru)) {
		list_out(mm, f);
		list_in(mm, f, false);
		list_del(&f->lru);
		list_add_tail(&mm->lru.cold, &f->lru);
		folio_clear(f, FOLIO_REFERENCED);
		folio_set(f, FOLIO_TESTED);
	}
	rt_unlock(&mm->lru.lock);
}

/* Take the oldest off a list, with a reference; NULL: empty. */
static struct folio *isolate(struct mm *mm, struct list_node *head)
{
	struct folio *f = NULL;
	struct list_node *n;

	rt_lock(&mm->lru.lock);
	while (!f && (n = list_oldest(head)) != NULL) {
		f = list_entry(n, struct folio, lru);
		list_out(mm, f);
		/* A file's is cached, so the cache holds one. An anonymous one may be going: who
		 * dropped the last reference waits for this lock. */
		if (!folio_tryget(f)) {
			COVER(isolate_going);
			f = NULL;
		}
	}
	rt_unlock(&mm->lru.lock);
	return f;
}

/* --- unmapping by windows --------------------------------------------------- */

static uint32_t *window_clock(struct mm *mm, const struct folio *f)
{
	uint64_t window = f->index >> CONFIG_PTES_SHIFT;

	if (folio_test(f, FOLIO_ANON))
		window ^= (uintptr_t)rt_load_ptr(&f->anon, RT_RELAXED) << 20;
	else
		window = ghost_key(f->mapping, window);

	return &mm->scratch->window_clock[window * 0x9e3779b97f4a7c15ull >>
					  (64 - CONFIG_WINDOW_CLOCKS_SHIFT)];
}

/* It goes on when a write to swap ends, too. */
static uint32_t clock_now(struct mm *mm)
{
	rt_lock(&mm->lru.lock);
	uint32_t now = mm->lru.clock;
	rt_unlock(&mm->lru.lock);
	return now;
}

/* Evictions since the window of f was last unmapped. */
static uint64_t window_age(struct mm *mm, const struct folio *f)
{
	return clock_now(mm) - *window_clock(mm, f);
}

/* Needs: f locked, in a mapping. */
static void unmap_window(struct mm *mm, struct folio *f)
{
	uint64_t first = f->index & ~(uint64_t)(PTES - 1);
	uint64_t end = first + PTES;

	if (folio_test(f, FOLIO_ANON)) {
		*window_clock(mm, f) = clock_now(mm);
		anon_idle_window(mm, f, true);
		return;
	}
	if (f->index + folio_pages(f) > end)
		end = f->index + folio_pages(f);
	*window_clock(mm, f) = clock_now(mm);
	stat_add(mm, unmapped_pages, filemap_unmap(f->mapping, first, end, true));
}

/* --- one folio -------------------------------------------------------------- */

enum verdict { KEEP_COLD, KEEP_HOT, EVICT, GONE };

/* Somebody uses it right now: refers to it, has pinned it, or writes it out. */
static bool is_busy(const struct folio *f)
{
	uint32_t refs = rt_load_u32(&f->refs, RT_ACQUIRE);
	uint32_t expected = 2 + rt_load_u32(&f->mapped, RT_ACQUIRE); /* cache, us */

	if (folio_test(f, FOLIO_QUEUED))
		expected++; /* the dirty stack's; one that leaves it meanwhile is still held */
	return refs != expected || rt_load_u32(&f->pins, RT_ACQUIRE) > 0 ||
	       folio_test(f, FOLIO_WRITEBACK);
}

/* Are few pages of its window cached? Then its unmapping is paid by few evictions. */
static bool window_is_sparse(const struct folio *f)
{
	uint64_t first = f->index & ~(uint64_t)(PTES - 1), keys[CONFIG_SPARSE_WINDOW + 1];
	void *values[CONFIG_SPARSE_WINDOW + 1];

	return folio_order(f) == 0 &&
	       radix_gang(&f->mapping->folios, first, first + PTES, values, keys,
			  CONFIG_SPARSE_WINDOW + 1) <= CONFIG_SPARSE_WINDOW;
}

/* Needs: f locked and isolated, a reference. */
static enum verdict judge_cold(struct mm *mm, struct folio *f)
{
	if (!f->mapping)
		return GONE;
	if (is_busy(f))
		return KEEP_COLD;
	if (folio_test(f, FOLIO_REFERENCED)) {
		folio_clear(f, FOLIO_REFERENCED | FOLIO_TESTED);
		stat_add(mm, activated, folio_pages(f));
		return KEEP_HOT;
	}
	if (rt_load_u32(&f->mapped, RT_ACQUIRE) > 0) {
		bool test = !folio_test(f, FOLIO_STREAM | FOLIO_TESTED) && !window_is_sparse(f);
		unmap_window(mm, f);
		if (test) {
			folio_set(f, FOLIO_TESTED);
			return KEEP_COLD;
		}
		if (rt_load_u32(&f->mapped, RT_ACQUIRE) > 0 || is_busy(f))
			return KEEP_COLD; /* pinned, or mapped again at once */
	}
	if (folio_test(f, FOLIO_DIRTY)) {
		mm->scratch->dirty = true;
		return KEEP_COLD;
	}
	return EVICT;
}

/* Needs: as judge_cold(). */
static enum verdict judge_hot(struct mm *mm, struct folio *f)
{
	uint64_t round = frames_at_most(mm);

	if (!folio_test(f, FOLIO_ANON) && !f->mapping)
		return GONE;
	if (folio_test(f, FOLIO_REFERENCED)) {
		folio_clear(f, FOLIO_REFERENCED | FOLIO_TESTED);
		return KEEP_HOT;
	}
	if (rt_load_u32(&f->mapped, RT_ACQUIRE) == 0) {
		if (!folio_test(f, FOLIO_ANON))
			return window_age(mm, f) >= 2 * round ? KEEP_COLD : KEEP_HOT;
		/* Its window is unmapped for the cold ones in it, again and again: that has no
		 * age. Idle the last time, too, and nobody has come for it since. */
		if (folio_test(f, FOLIO_TESTED))
			return KEEP_COLD;
		folio_set(f, FOLIO_TESTED);
		return KEEP_HOT;
	}
	if (window_age(mm, f) >= round)
		unmap_window(mm, f);
	return KEEP_HOT;
}

/* --- dropping a batch --------------------------------------------------------- */

static bool comes_before(const struct folio *a, const struct folio *b)
{
	if (a->mapping != b->mapping)
		return a->mapping->id < b->mapping->id;
	return a->index < b->index;
}

static void sort_batch(struct folio **f, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j > 0 && comes_before(f[j], f[j - 1]); j--) {
			struct folio *swap = f[j];
			f[j] = f[j - 1];
			f[j - 1] = swap;
		}
}

/* Is nothing cached in [index, end)? Needs: m->slots_lock, to stay so. */
static bool gap_is_empty(struct mapping *m, uint64_t index, uint64_t end)
{
	void *value;
	uint64_t key;

	return radix_gang(&m->folios, index, end, &value, &key, 1) == 0;
}

/*
 * Drop the memory of f[0] and of those that follow in one call: neighbours, and others
 * of the same window with nothing cached between (a call costs 0.8 us, and 0.2 us for
 * each page that it frees). Returns how many.
 */
static unsigned drop_run(struct folio **f, unsigned n)
{
	struct mapping *m = f[0]->mapping;
	uint64_t first = f[0]->index, end = first + folio_pages(f[0]);
	unsigned run = 1;

	rt_lock(&m->slots_lock);
	for (; run < n && f[run]->mapping == m; run++) {
		uint64_t next = f[run]->index;
		if (next != end && (next / PTES != first / PTES || !gap_is_empty(m, end, next)))
			break;
		end = next + folio_pages(f[run]);
	}
	/* No folio may come into the gaps until what is there is gone. */
	m->dropping = first;
	m->dropping_end = end;
	rt_unlock(&m->slots_lock);
	rt_object_drop(&m->object, first, end - first);
	rt_lock(&m->slots_lock);
	m->dropping = m->dropping_end = 0;
	rt_unlock(&m->slots_lock);
	return run;
}

/* Drop the memory of the batch, in runs, then the entries. The folios stay locked
 * and findable in between: who finds one waits for its lock, and looks again. */
static uint64_t evict_batch(struct mm *mm, struct folio **f, unsigned n)
{
	uint64_t pages = 0;

	sort_batch(f, n);
	for (unsigned i = 0; i < n; i++) {
		folio_clear(f[i], FOLIO_UPTODATE);
		pages += folio_pages(f[i]);
	}
	for (unsigned i = 0; i < n;)
		i += drop_run(f + i, n - i);
	/* Counted first: a mapping may be freed with its last folio. */
	stat_add(mm, evicted_pages, pages);
	for (unsigned i = 0; i < n; i++) {
		filemap_forget(f[i]->mapping, f[i], true);
		folio_unlock(mm, f[i]);
		folio_put(mm, f[i]);
	}
	return pages;
}

/* --- the reserve ---------------------------------------------------------------- */

uint64_t reclaim_low(struct mm *mm)
{
	uint64_t least = rt_load_u64(&mm->budget, RT_RELAXED) / 64;

	if (least > CONFIG_LOW_MAX)
		least = CONFIG_LOW_MAX;
	return least + rt_load_u64(&mm->reserve, RT_RELAXED);
}

uint64_t reclaim_high(struct mm *mm)
{
	return 2 * reclaim_low(mm);
}

void reclaim_reserve_grow(struct mm *mm)
{
	uint64_t old = rt_load_u64(&mm->reserve, RT_RELAXED);

	/* Lost updates cost nothing: the next stall comes. */
	if (old < rt_load_u64(&mm->budget, RT_RELAXED) / 16)
		rt_cas_u64(&mm->reserve, old, old + 16 * RT_PAGE, RT_RELAXED);
}

void reclaim_reserve_decay(struct mm *mm)
{
	uint64_t old = rt_load_u64(&mm->reserve, RT_RELAXED);

	if (old > 0)
		rt_cas_u64(&mm->reserve, old, old - (old / 16 + 1), RT_RELAXED);
}

/* --- rounds --------------------------------------------------------------------- */

/* Isolate f if it is a cold one that can go. True: it is locked, with a reference. */
static bool take_neighbour(struct mm *mm, struct mapping *m, struct folio *f)
{
	bool taken = false;

	if (folio_order(f) > 0 || folio_test(f, FOLIO_HOT | FOLIO_REFERENCED | FOLIO_DIRTY) ||
	    !folio_test(f, FOLIO_SEEN) || !folio_trylock(f))
		return false;
	if (f->mapping == m && !is_busy(f) && rt_load_u32(&f->mapped, RT_ACQUIRE) == 0 &&
	    !folio_test(f, FOLIO_REFERENCED | FOLIO_DIRTY)) {
		rt_lock(&mm->lru.lock);
		if (!list_empty(&f->lru)) {
			list_out(mm, f);
			taken = true;
		}
		rt_unlock(&mm->lru.lock);
	}
	if (!taken)
		folio_unlock(mm, f);
	return taken;
}

/*
 * f goes; so may others of its window, dropped together at a quarter of the cost: the few
 * of a sparse one, which was unmapped for f alone, and those of another once they had a
 * fair time to come back. Returns the pages.
 */
static uint64_t take_window(struct mm *mm, const struct folio *f)
{
	struct reclaim_scratch *s = mm->scratch;
	struct mapping *m = f->mapping;
	uint64_t at = f->index & ~(uint64_t)(PTES - 1), end = at + PTES, key, n = 0;
	void *value;

	if (folio_order(f) > 0 || (window_age(mm, f) < cold_pages(mm) / 2 && !window_is_sparse(f)))
		return 0;
	for (; s->evicts < CONFIG_RECLAIM_BATCH &&
	       radix_gang(&m->folios, at, end, &value, &key, 1) > 0;
	     at = key + 1) {
		struct folio *g = filemap_get(m, key);
		if (g && g != f && take_neighbour(mm, m, g)) {
			s->evict[s->evicts++] = g;
			n++;
		} else if (g) {
			folio_put(mm, g);
		}
	}
	return n;
}

/* Is an anonymous folio used by nobody but its entry, or the swap cache, and us? */
static bool anon_is_idle(const struct folio *f)
{
	return rt_load_u32(&f->mapped, RT_ACQUIRE) == 0 && rt_load_u32(&f->refs, RT_ACQUIRE) == 2 &&
	       !folio_test(f, FOLIO_REFERENCED | FOLIO_WRITEBACK);
}

/* Needs: f isolated, a reference; *locked says whether it is locked. EVICT: it is. */
static enum verdict judge_anon(struct mm *mm, struct folio *f, bool *locked)
{
	if (folio_test(f, FOLIO_REFERENCED)) {
		folio_clear(f, FOLIO_REFERENCED | FOLIO_TESTED);
		stat_inc(mm, activated);
		return KEEP_HOT;
	}
	if (mm->rmap == RMAP_B_LOCKED && !*locked && !(*locked = folio_trylock(f)))
		return KEEP_COLD;
	if (rt_load_u32(&f->mapped, RT_ACQUIRE) > 0) {
		/* Design A asks without the folio lock: the anon_vma's is enough. */
		uint64_t n = anon_idle_window(mm, f, *locked);
		if (n > CONFIG_SPARSE_WINDOW && !folio_test(f, FOLIO_TESTED | FOLIO_STREAM)) {
			folio_set(f, FOLIO_TESTED);
			return KEEP_COLD;
		}
	}
	if (!*locked && !(*locked = folio_trylock(f)))
		return KEEP_COLD;
	return anon_is_idle(f) ? EVICT : KEEP_COLD;
}

/* How many anonymous folios one round takes: a large write, but no large part of memory. */
static unsigned anon_batch(struct mm *mm)
{
	uint64_t share = frames_at_most(mm) / 32;

	return share < CONFIG_RECLAIM_BATCH ? CONFIG_RECLAIM_BATCH
	       : share < CONFIG_RUN_PAGES   ? (unsigned)share
					    : CONFIG_RUN_PAGES;
}

/* f is isolated, anonymous. Returns the pages of it and its neighbours that go. */
static uint64_t shrink_anon(struct mm *mm, struct folio *f, unsigned most)
{
	struct reclaim_scratch *s = mm->scratch;
	bool locked = false;
	enum verdict v = judge_anon(mm, f, &locked);

	if (v == EVICT) {
		s->anon[s->anons++] = f;
		/* What finds no slot comes back to the list, behind what was not looked at yet;
		 * its neighbours, too, would keep us from getting there. */
		unsigned n = 0;
		if (swap_has_room(mm) && window_age(mm, f) >= cold_pages(mm) / 2)
			n = anon_gather_idle(mm, f, s->anon + s->anons, most - s->anons);
		s->anons += n;
		return 1 + n; /* they keep lock and reference */
	}
	lru_putback(mm, f, v == KEEP_HOT);
	if (locked)
		folio_unlock(mm, f);
	folio_put(mm, f);
	return 0;
}

static uint64_t shrink_cold(struct mm *mm, uint64_t want)
{
	struct reclaim_scratch *s = mm->scratch;
	unsigned anon_most = anon_batch(mm);
	uint64_t found = 0;

	s->evicts = s->anons = 0;
	for (unsigned i = 0; i < 4 * CONFIG_RECLAIM_BATCH; i++) {
		if (s->evicts == CONFIG_RECLAIM_BATCH || s->anons == anon_most || found >= want)
			break;
		struct folio *f = isolate(mm, &mm->lru.cold);
		if (!f)
			break;
		if (folio_test(f, FOLIO_ANON)) {
			found += shrink_anon(mm, f, anon_most);
			continue;
		}
		enum verdict v = KEEP_COLD;
		bool locked = folio_trylock(f);
		if (locked)
			v = judge_cold(mm, f);
		if (v == EVICT) {
			found += folio_pages(f);
			s->evict[s->evicts++] = f;
			found += take_window(mm, f);
			continue; /* keeps lock and reference */
		}
		if (v != GONE)
			lru_putback(mm, f, v == KEEP_HOT);
		if (locked)
			folio_unlock(mm, f);
		folio_put(mm, f);
	}
	uint64_t freed = evict_batch(mm, s->evict, s->evicts);
	if (s->anons > 0) {
		/* What does neither, for somebody has come for it, is no progress. */
		unsigned writing;
		freed += anon_evict(mm, s->anon, s->anons, &writing);
		s->writing = writing;
	}
	return freed;
}

static void shrink_hot(struct mm *mm, uint64_t pages, bool force)
{
	for (unsigned i = 0; i < CONFIG_RECLAIM_BATCH && pages > 0; i++) {
		struct folio *f = isolate(mm, &mm->lru.hot);
		if (!f)
			return;
		uint64_t n = folio_pages(f);
		enum verdict v = KEEP_HOT;
		bool locked = folio_trylock(f);
		if (locked)
			v = judge_hot(mm, f);
		if (force && v == KEEP_HOT)
			v = KEEP_COLD;
		if (v != GONE)
			lru_putback(mm, f, v == KEEP_HOT);
		if (locked)
			folio_unlock(mm, f);
		folio_put(mm, f);
		pages -= n < pages ? n : pages;
	}
}

/* Returns the pages freed, and those that will be when their write ends. Needs: reclaim_lock,
 * which it drops. */
static uint64_t round_locked(struct mm *mm)
{
	struct reclaim_scratch *s = mm->scratch;

	s->dirty = false;
	s->writing = 0;
	uint64_t freed = shrink_cold(mm, 4 * CONFIG_RECLAIM_BATCH), going = freed + s->writing;
	/* Hot pays its part, more of it when cold has nothing (left) to give. */
	uint64_t budget = rt_load_u64(&mm->budget, RT_RELAXED) / RT_PAGE;
	bool force = going == 0 || cold_pages(mm) < budget / 32;
	shrink_hot(mm, force ? CONFIG_RECLAIM_BATCH : going, force);
	bool dirty = s->dirty;
	rt_unlock(&mm->reclaim_lock);
	if (dirty)
		writeback_some(mm);
	if (freed > 0) {
		pager_freed(mm, freed);
		pager_progress(mm);
	}
	return going;
}

uint64_t reclaim_round(struct mm *mm)
{
	rt_lock(&mm->reclaim_lock);
	return round_locked(mm);
}

static bool fits(struct mm *mm, uint64_t pages)
{
	return rt_load_u64(&mm->charged, RT_RELAXED) + pages * RT_PAGE <= mm_frame_limit(mm);
}

/* How often a fault has waited for memory. */
struct patience {
	unsigned waits; /* in which nothing moved */
	bool last;      /* there was nothing to wait for, either */
};

/* Nothing could be freed: wait for what may come free. False: nothing will. */
static bool wait_for_memory(struct mm *mm, uint32_t seq, struct patience *p)
{
	/* Dirty first: from there a page goes to write-back, and is seen in one of them. */
	bool dirty = rt_load_u64(&mm->dirty, RT_ACQUIRE) > 0;
	bool writing = rt_load_u64(&mm->writeback, RT_ACQUIRE) > 0;
	bool reading = rt_load_u64(&mm->inflight, RT_ACQUIRE) > 0;

	if (!writing && !reading && (!dirty || writeback_failing(mm))) {
		/* Somebody may hold a page for a moment: a write that has just ended, another
		 * fault. Look once more when they had the time to let go. */
		if (p->last)
			return false;
		p->last = true;
		pager_wait(mm, seq);
		return true;
	}
	p->last = false;
	if (p->waits > RECLAIM_WAITS)
		return false;
	COVER(reclaim_waits_for_write);
	writeback_some(mm);
	pager_wait(mm, seq);
	/* As long as writes come back, a slow disk is no reason to give up. */
	if (rt_load_u32(&mm->pager.progress, RT_ACQUIRE) == seq)
		p->waits++;
	return true;
}

bool reclaim_direct(struct mm *mm, uint64_t pages)
{
	struct patience patience = { 0 };
	unsigned idle = 0;

	for (;;) {
		uint32_t seq = rt_load_u32(&mm->pager.progress, RT_ACQUIRE);
		uint32_t freed = rt_load_u32(&mm->pager.freed, RT_ACQUIRE);

		if (fits(mm, pages))
			return true;
		/* One at a time; who finds another at it waits for what that one frees. */
		if (!rt_trylock(&mm->reclaim_lock)) {
			pager_wait_freed(mm, freed);
			continue;
		}
		if (round_locked(mm) > 0) {
			idle = 0;
			if (rt_load_u64(&mm->swapping, RT_ACQUIRE) == 0 || fits(mm, pages))
				continue;
		}
		/* What the round found busy may have come clean meanwhile: look again. */
		if (rt_load_u32(&mm->pager.progress, RT_ACQUIRE) != seq)
			continue;
		/* Enough rounds to turn over both lists twice: mapped, tested, evicted. */
		uint64_t all = (rt_load_u64(&mm->cached, RT_RELAXED) +
				rt_load_u64(&mm->anon, RT_RELAXED)) /
				       CONFIG_RECLAIM_BATCH +
			       CONFIG_IDLE_ROUNDS;
		bool soon = rt_load_u64(&mm->swapping, RT_ACQUIRE) > 0;
		if ((++idle > 4 * all || soon) && !wait_for_memory(mm, seq, &patience))
			return fits(mm, pages);
	}
}

/* --- memory of reclaim itself ----------------------------------------------------- */

int reclaim_init(struct mm *mm)
{
	struct lru *l = &mm->lru;
	uint64_t budget = rt_load_u64(&mm->budget, RT_RELAXED);

	rt_lock_init(&mm->reclaim_lock);
	rt_lock_init(&l->lock);
	list_init(&l->cold);
	list_init(&l->hot);
	l->ghost_bytes = ghost_bytes(budget / RT_PAGE);
	l->ghost_memory = rt_pages_alloc(l->ghost_bytes);
	mm->scratch = rt_pages_alloc(sizeof(*mm->scratch));
	if (!l->ghost_memory || !mm->scratch)
		return -ENOMEM;
	ghost_init(&l->ghost, l->ghost_memory, l->ghost_bytes);
	mm_charge_metadata(mm, l->ghost_bytes + sizeof(*mm->scratch));
	return 0;
}

void reclaim_fini(struct mm *mm)
{
	if (mm->lru.ghost.cells)
		mm_uncharge_metadata(mm, mm->lru.ghost_bytes + sizeof(*mm->scratch));
	rt_pages_free(mm->lru.ghost_memory, mm->lru.ghost_bytes);
	rt_pages_free(mm->scratch, sizeof(*mm->scratch));
}
