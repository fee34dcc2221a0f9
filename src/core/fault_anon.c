/* SPDX-License-Identifier: MIT */
/*
 * fault_anon.c - faults of anonymous memory: first touches, soft faults, swap-in. fault.h
 * has the protocol, anon.h what the entries mean, fault_try.h what is shared.
 *
 * Who finds that the entry is another than it was, returns NOPAGE: the access runs again,
 * and faults again if it must. Reading order: from the bottom up.
 */
#include <errno.h>

#include "core/anon.h"
#include "core/anon_vma.h"
#include "core/fault_try.h"
#include "core/mm.h"
#include "core/readahead.h"
#include "core/reclaim.h"
#include "core/swap.h"
#include "core/swap_ahead.h"

#define RUN_MOST CONFIG_TOUCH_PAGES

static pte_t *entry(const struct fault *f)
{
	return &f->table->pte[pte_slot(f->addr)];
}

static pte_t look(struct fault *f)
{
	rt_lock(&f->table->lock);
	pte_t e = *entry(f);
	rt_unlock(&f->table->lock);
	return e;
}

/* How many pages from f->addr on one call may map: table and VMA end it. */
static unsigned run_limit(const struct fault *f, uint64_t want)
{
	uint64_t in_table = PTES - pte_slot(f->addr);
	uint64_t in_vma = (f->vma->end - f->addr) >> RT_PAGE_SHIFT;

	want = want < in_table ? want : in_table;
	want = want < in_vma ? want : in_vma;
	return (unsigned)(want < RUN_MOST ? want : RUN_MOST);
}

/* Enter f as present. Needs: its lock, the table's; the machine shows it. */
static void enter(struct fault *f, pte_t *pte, struct folio *folio, bool wp)
{
	if (*pte == 0)
		f->table->present++;
	*pte = (pte_t)(uintptr_t)folio | PTE_PRESENT | PTE_OWN | (wp ? PTE_WP : 0);
	rt_add_u32(&folio->mapped, 1, RT_RELAXED);
	rt_count_u64(&f->mm->mapped, 1);
}

/* folio is page `index` of the VMA, from now on. Needs: its lock, and no entry yet. */
static void own(struct fault *f, struct folio *folio, uint64_t index)
{
	folio->index = index;
	/* Release: who finds the anon_vma finds the index. Pairs with anon_vma_get(). */
	rt_store_ptr(&folio->anon, rt_load_ptr(&f->vma->anon_vma, RT_RELAXED), RT_RELEASE);
}

/* --- first touch ----------------------------------------------------------------------- */

static void discard_new(struct mm *mm, struct folio *folio)
{
	rt_store_ptr(&folio->anon, NULL, RT_RELAXED);
	folio_unlock(mm, folio);
	folio_put(mm, folio);
}

/* Up to n new folios, fewer if memory is short. */
static unsigned new_folios(struct mm *mm, struct folio **folio, unsigned n)
{
	unsigned got = 0;

	while (got < n && (folio[got] = anon_new(mm)) != NULL)
		got++;
	return got;
}

/* Map `n` new folios with the content of buf where there is none. Needs: the table's lock. */
static int64_t map_new(struct fault *f, struct folio **folio, unsigned n, const void *buf, bool wp,
		       bool dirty)
{
	pte_t *pte = entry(f);
	unsigned run = 1; /* the first may be `same`: the caller has looked */

	while (run < n && pte[run] == 0)
		run++;
	int64_t got = rt_mmu_fill(&f->mm->mmu, f->addr, buf, run, wp);
	if (got == -ENOENT && run > 1) /* over a seam of the machine's views */
		got = rt_mmu_fill(&f->mm->mmu, f->addr, buf, 1, wp);
	for (int64_t i = 0; i < got; i++) {
		own(f, folio[i], f->index + (uint64_t)i);
		folio_set(folio[i], FOLIO_UPTODATE | (dirty ? FOLIO_DIRTY : 0));
		folio_get(folio[i]); /* the entry's */
		enter(f, &pte[i], folio[i], wp);
	}
	if (got > 0)
		folio_mapped_first(folio[0]);
	return got;
}

static void fill_word(void *page, uint32_t word)
{
	for (unsigned i = 0; i < RT_PAGE / sizeof(word); i++)
		((uint32_t *)page)[i] = word;
}

/*
 * Nothing was stored here yet, or one word over and over. A read gets a clean page: of zeros,
 * it goes again without a write. Neighbours come along where a reader or writer goes on from
 * page to page, and memory is not short.
 */
static unsigned first_touch(struct fault *f, pte_t e)
{
	struct mm *mm = f->mm;
	struct folio *folio[RUN_MOST];
	bool same = e & PTE_SAME, dirty = same || f->flags & FAULT_WRITE;
	unsigned want = same ? 1 : run_limit(f, f->window), n = new_folios(mm, folio, want);
	int64_t got = -EAGAIN;

	if (n == 0)
		return need_memory(f);
	void *buf = mm->frames.zeros;
	if (same) {
		buf = bounce_get_page(&mm->bounce);
		fill_word(buf, (uint32_t)pte_value(e));
	}
	rt_lock(&f->table->lock);
	if (*entry(f) == e)
		got = map_new(f, folio, n, buf, !dirty, dirty);
	rt_unlock(&f->table->lock);
	if (same)
		bounce_put(&mm->bounce, buf, 1);
	unsigned mapped = got > 0 ? (unsigned)got : 0;
	for (unsigned i = 0; i < mapped; i++) {
		lru_add(mm, folio[i]);
		folio_unlock(mm, folio[i]);
		folio_put(mm, folio[i]);
	}
	for (unsigned i = mapped; i < n; i++)
		discard_new(mm, folio[i]);
	if (mapped == 0)
		return machine_result(f, got);
	stat_add(mm, faults_zero, 1);
	stat_add(mm, pages_mapped, mapped);
	readahead_mapped(f->vma, f->index, f->index + mapped);
	return 0;
}

/* --- a folio that the entry names --------------------------------------------------------- */

/* Write-protected pages in a row behind the first, their folios locked. */
static unsigned gather_clean(struct fault *f, struct folio **folio, unsigned most)
{
	pte_t *pte = entry(f);
	unsigned n = 1;

	for (; n < most && pte[n] & PTE_PRESENT && pte[n] & PTE_WP; n++) {
		folio[n] = pte_folio(pte[n]);
		if (!folio_trylock(folio[n]))
			break;
	}
	return n;
}

/*
 * A clean page is stored to, and where a writer goes on from page to page those behind it,
 * too; or one that a take left write-protected, which ended early. Needs: first locked, its
 * entry present, the table's lock.
 */
static unsigned make_writable(struct fault *f, struct folio *first)
{
	struct folio *folio[RUN_MOST] = { first };
	struct mm *mm = f->mm;
	unsigned n = gather_clean(f, folio, run_limit(f, f->window));
	int err = 0;

	for (unsigned i = 0; i < n; i++)
		anon_set_dirty(mm, folio[i]);
	err = rt_mmu_unprotect(&mm->mmu, f->addr, n);
	for (unsigned i = 0; i < n; i++) {
		if (!err)
			entry(f)[i] &= ~PTE_WP;
		if (i > 0)
			folio_unlock(mm, folio[i]);
	}
	if (err)
		return machine_result(f, err);
	readahead_mapped(f->vma, f->index, f->index + n);
	stat_inc(mm, faults_write);
	return 0;
}

/* Idle pages in a row, from the first, whose content can go back in one piece and the same
 * way; for a write any, for they are all made dirty. Their folios are locked. */
static unsigned gather_idle(struct fault *f, struct folio **folio, unsigned most)
{
	pte_t *pte = entry(f);
	bool write = f->flags & FAULT_WRITE, dirty = folio_test(folio[0], FOLIO_DIRTY);
	unsigned n = 1;

	for (; n < most && pte[n] & PTE_IDLE; n++) {
		struct folio *g = pte_folio(pte[n]);
		if (!folio_trylock(g))
			break;
		if (g->frame != folio[0]->frame + n || folio_test(g, FOLIO_WRITEBACK) ||
		    (!write && folio_test(g, FOLIO_DIRTY) != dirty)) {
			folio_unlock(f->mm, g);
			break;
		}
		folio[n] = g;
	}
	return n;
}

/* Map n pages from their frames. What is dirty is moved, and comes writable. What is clean
 * and stays so is copied, write-protected; so is what goes to a view that the machine moves
 * nothing into. *there: the frames still have it. */
static int64_t map_idle(struct fault *f, uint32_t frame, unsigned n, bool dirty, bool *there)
{
	struct mm *mm = f->mm;

	*there = !dirty || !(f->vma->rights & RT_WRITE);
	if (*there)
		return rt_mmu_fill(&mm->mmu, f->addr, frames_at(mm, frame), n, !dirty);
	return rt_mmu_put(&mm->mmu, &mm->frames.pool, f->addr, frame, n);
}

/* A soft fault: the sign of use that reclaim has asked for; neighbours that come along give
 * none. Needs: first locked, not under write-back, its entry idle; the table's lock. */
static unsigned bring_back(struct fault *f, struct folio *first)
{
	struct folio *folio[RUN_MOST] = { first };
	struct mm *mm = f->mm;
	unsigned n = gather_idle(f, folio, run_limit(f, f->window));
	bool there;

	for (unsigned i = 0; f->flags & FAULT_WRITE && i < n; i++)
		anon_set_dirty(mm, folio[i]);
	bool dirty = folio_test(first, FOLIO_DIRTY);
	int64_t got = map_idle(f, first->frame - 1, n, dirty, &there);
	if (got == -ENOENT && n > 1) /* over a seam of the machine's views */
		got = map_idle(f, first->frame - 1, 1, dirty, &there);
	for (unsigned i = 0; i < n; i++) {
		if ((int64_t)i < got) {
			anon_frame_release(mm, folio[i], there);
			enter(f, entry(f) + i, folio[i], !dirty);
		}
		if (i > 0)
			folio_unlock(mm, folio[i]);
	}
	if (got <= 0)
		return machine_result(f, got);
	folio_mapped_first(first);
	stat_add(mm, pages_mapped, (uint64_t)got);
	readahead_mapped(f->vma, f->index, f->index + (uint64_t)got);
	return 0;
}

/* Under write-back its frame is read from: wait until that ends. 0: it has, folio locked. */
static unsigned wait_writeback(struct fault *f, struct folio *folio)
{
	struct mm *mm = f->mm;

	while (folio_test(folio, FOLIO_WRITEBACK)) {
		if (first_try(f) && f->flags & FAULT_RETRY_NOWAIT) {
			folio_unlock(mm, folio);
			return FAULT_RETRY;
		}
		if (may_drop(f, folio)) {
			unsigned result = retry_result(f);
			keep_wanted(f, folio);
			folio_unlock(mm, folio);
			fault_lock_release(f);
			folio_wait_writeback(mm, folio);
			return result;
		}
		folio_wait_writeback(mm, folio);
	}
	return 0;
}

/* Somebody was first, and the page is there; or the program has zapped it behind our back,
 * and gets zeros, as from the kernel. Needs: the entry present, the table's lock. */
static void show_again(struct fault *f, pte_t e)
{
	rt_mmu_fill(&f->mm->mmu, f->addr, f->mm->frames.zeros, 1, e & PTE_WP);
	stat_inc(f->mm, faults_spurious);
}

/* The entry is present or idle. */
static unsigned folio_fault(struct fault *f)
{
	struct mm *mm = f->mm;
	unsigned result = FAULT_NOPAGE;

	rt_lock(&f->table->lock);
	pte_t e = *entry(f);
	struct folio *folio = e & (PTE_PRESENT | PTE_IDLE) ? pte_folio(e) : NULL;
	if (folio)
		folio_get(folio); /* the entry holds one */
	rt_unlock(&f->table->lock);
	if (!folio)
		return FAULT_NOPAGE;
	result = folio_lock_or_retry(f, folio);
	if (!result)
		result = wait_writeback(f, folio);
	if (result) {
		folio_put(mm, folio);
		return result;
	}
	result = FAULT_NOPAGE;
	rt_lock(&f->table->lock);
	e = *entry(f);
	if (e & PTE_IDLE && pte_folio(e) == folio)
		result = bring_back(f, folio);
	else if (e & PTE_PRESENT && pte_folio(e) == folio && f->flags & FAULT_WRITE)
		result = make_writable(f, folio);
	else if (e & PTE_PRESENT && pte_folio(e) == folio)
		show_again(f, e);
	else
		COVER(anon_fault_lost);
	rt_unlock(&f->table->lock);
	folio_unlock(mm, folio);
	folio_put(mm, folio);
	return result;
}

/* --- swap-in --------------------------------------------------------------------------------- */

/* A folio whose entry is gone is nobody's; who had it locked lets it go. Needs: its lock. */
static void drop_orphan(struct mm *mm, struct folio *folio)
{
	if (folio_test(folio, FOLIO_SWAPCACHE) && !swap_has_entry(mm, folio->slot - 1))
		swap_cache_del(mm, folio, false);
}

/* Cached pages in a row behind the first, in buffers in a row: locked, with a reference.
 * Needs: first locked, its entry looked at, the table's lock. */
static unsigned gather_cached(struct fault *f, struct folio **folio, unsigned most)
{
	struct mm *mm = f->mm;
	pte_t *pte = entry(f);
	unsigned n = 1;

	for (; n < most && pte[n] & PTE_SWAP; n++) {
		uint32_t slot = (uint32_t)pte_value(pte[n]);
		struct folio *g = swap_get(mm, slot);
		if (!g)
			break;
		bool locked = folio_trylock(g);
		if (locked && folio_test(g, FOLIO_SWAPCACHE) && g->slot == slot + 1 &&
		    folio_test(g, FOLIO_BOUNCED) &&
		    (char *)g->bounced == (char *)folio[0]->bounced + n * RT_PAGE) {
			folio[n] = g;
			continue;
		}
		if (locked)
			folio_unlock(mm, g);
		folio_put(mm, g);
		break;
	}
	return n;
}

/* Enter folio[0..got), which the machine shows now. Needs: their locks, the table's. */
static void enter_cached(struct fault *f, struct folio **folio, unsigned got, bool wp)
{
	struct mm *mm = f->mm;

	for (unsigned i = 0; i < got; i++) {
		own(f, folio[i], f->index + i);
		folio_get(folio[i]); /* the entry's */
		enter(f, entry(f) + i, folio[i], wp);
		swap_cache_del(mm, folio[i], true);
		if (i == 0)
			folio_mapped_first(folio[i]);
	}
}

/*
 * Map the cached folio, whose content is in its buffer, over entry e, and neighbours that
 * came with it. A write makes them all writable: who stores to page after page is not to
 * fault twice on each. Unlocks it; the reference stays the caller's. Needs: the fault lock.
 */
static unsigned swap_map(struct fault *f, struct folio *first, pte_t e)
{
	struct folio *folio[RUN_MOST] = { first };
	struct mm *mm = f->mm;
	bool write = f->flags & FAULT_WRITE;
	int64_t got = -EAGAIN;
	unsigned n = 1;

	rt_lock(&f->table->lock);
	if (*entry(f) == e) {
		n = gather_cached(f, folio, run_limit(f, f->window));
		got = rt_mmu_fill(&mm->mmu, f->addr, first->bounced, n, !write);
		if (got == -ENOENT && n > 1) /* over a seam of the machine's views */
			got = rt_mmu_fill(&mm->mmu, f->addr, first->bounced, 1, !write);
		enter_cached(f, folio, got > 0 ? (unsigned)got : 0, !write);
	} else {
		COVER(swap_fault_lost);
	}
	rt_unlock(&f->table->lock);
	for (unsigned i = 0; i < n; i++) {
		if ((int64_t)i < got) {
			anon_unbounce(mm, folio[i]);
			if (write)
				anon_set_dirty(mm, folio[i]);
		} else {
			drop_orphan(mm, folio[i]);
		}
		folio_unlock(mm, folio[i]);
		if (i > 0)
			folio_put(mm, folio[i]);
	}
	if (got <= 0)
		return machine_result(f, got);
	stat_add(mm, pages_mapped, (uint64_t)got);
	readahead_mapped(f->vma, f->index, f->index + (uint64_t)got);
	return 0;
}

/* P4: read, with no lock; come back by trylock, look at everything again, and map. */
static unsigned swap_finish_with_folio(struct fault *f, struct folio *folio, pte_t e)
{
	struct vma *v = vma_lock_under_rcu(f->mm, f->addr);
	unsigned need = f->flags & FAULT_WRITE ? RT_WRITE : RT_READ;
	unsigned result = FAULT_RETRY | FAULT_RETRY_VMA;

	f->vma = v;
	f->table = v && !v->mapping && v->rights & need && rt_load_ptr(&v->anon_vma, RT_ACQUIRE)
			   ? ptable_lookup(f->mm, f->addr)
			   : NULL;
	if (f->table) {
		f->index = vma_index_at(v, f->addr);
		if (!(swap_map(f, folio, e) & (FAULT_ERROR | FAULT_NOPAGE)))
			result = FAULT_COMPLETED;
	} else {
		folio_unlock(f->mm, folio);
	}
	if (v)
		vma_read_unlock(v);
	f->vma = NULL;
	return result;
}

/* Read the slot into the folio's buffer. Needs: folio locked and cached. Sleeps. */
static int read_slot(struct mm *mm, struct folio *folio)
{
	void *buf = bounce_get_page(&mm->bounce);
	int err = swap_read(mm, folio->slot - 1, buf);

	stat_inc(mm, swap_reads);
	if (err) {
		COVER(swap_read_failed);
		stat_inc(mm, read_errors);
		bounce_put(&mm->bounce, buf, 1);
		return err;
	}
	stat_add(mm, swap_read_bytes, RT_PAGE);
	folio->bounced = buf;
	folio_set(folio, FOLIO_BOUNCED | FOLIO_UPTODATE);
	return 0;
}

/* Read the folio, which is new in the cache, with or without the fault lock, as the policy
 * says; map it if that is still ours to do. Consumes lock and reference. */
static unsigned swap_read_folio(struct fault *f, struct folio *folio, pte_t e)
{
	struct mm *mm = f->mm;
	unsigned result = retry_result(f);
	bool drop = may_drop(f, folio), vma_lock = f->flags & FAULT_VMA_LOCK;

	f->waited_for_read = true;
	f->wanted_for = e;
	keep_wanted(f, folio);
	if (drop)
		fault_lock_release(f);
	int err = read_slot(mm, folio);
	f->wanted_came = err == 0;
	if (err) {
		swap_cache_del(mm, folio, false); /* the next access tries again */
		folio_unlock(mm, folio);
		put_wanted(f); /* it would be in the way of that */
		if (!drop)
			result = fault_error(f, FAULT_SIGBUS, -err);
	} else if (!drop) {
		result = swap_map(f, folio, e);
	} else if (mm->retry == RETRY_P4_FOLIO && vma_lock) {
		result = swap_finish_with_folio(f, folio, e);
	} else {
		folio_unlock(mm, folio);
	}
	folio_put(mm, folio);
	return result | FAULT_MAJOR;
}

/* Nothing is cached at the slot of e: make a folio, and read it. */
static unsigned swap_miss(struct fault *f, pte_t e)
{
	struct mm *mm = f->mm;

	if (f->flags & FAULT_RETRY_NOWAIT)
		return FAULT_RETRY; /* populate comes back and waits */
	struct folio *folio = anon_new(mm);
	if (!folio)
		return need_memory(f);
	int err = swap_cache_add(mm, (uint32_t)pte_value(e), folio);
	if (err) {
		discard_new(mm, folio);
		if (err == -ENOMEM)
			return need_memory(f);
		rt_relax();
		return FAULT_NOPAGE; /* somebody's already, or the entry is gone */
	}
	/* Read for us, and gone before we came; unless another page was moved here meanwhile. */
	if (f->wanted_came && f->wanted_for == e)
		stat_inc(mm, lost_reads);
	lru_add(mm, folio);
	return swap_read_folio(f, folio, e);
}

/* Nothing is cached at the slot of e: have it read together with what comes next, if that is
 * worth it. NULL: it is not, or did not work. */
static struct folio *read_ahead(struct fault *f, pte_t e, const struct ra_plan *plan)
{
	/* Only once: should that read fail, the next one is our own, and says so. */
	if (plan->ahead <= f->index + 1 || f->waited_for_read || f->flags & FAULT_RETRY_NOWAIT)
		return NULL;
	f->waited_for_read = true;
	readahead_reached(f->vma, f->index, swap_ahead(f->mm, f->vma, f->index, plan->ahead));
	return swap_get(f->mm, (uint32_t)pte_value(e));
}

static unsigned swap_fault(struct fault *f, pte_t e, const struct ra_plan *plan)
{
	struct mm *mm = f->mm;
	uint32_t slot = (uint32_t)pte_value(e);

	for (;;) {
		struct folio *folio = swap_get(mm, slot);
		if (!folio)
			folio = read_ahead(f, e, plan);
		if (!folio)
			return swap_miss(f, e);
		unsigned result = folio_lock_or_retry(f, folio);
		f->wanted_for = e;
		if (result) {
			folio_put(mm, folio);
			return result;
		}
		/* It may have left the cache, and the slot may be another page's by now (2f):
		 * then the entry cannot tell, for it may read the same. */
		if (folio_test(folio, FOLIO_SWAPCACHE) && folio->slot == slot + 1) {
			ASSERT(folio_test(folio, FOLIO_UPTODATE)); /* else it would have left */
			result = swap_map(f, folio, e);
			folio_put(mm, folio);
			return result;
		}
		COVER(swap_slot_reused);
		folio_unlock(mm, folio);
		folio_put(mm, folio);
		if (look(f) != e)
			return FAULT_NOPAGE;
	}
}

/* --- one try ---------------------------------------------------------------------------------- */

unsigned do_anon_fault(struct fault *f)
{
	if (!rt_load_ptr(&f->vma->anon_vma, RT_ACQUIRE)) {
		/* It may come to be shared with a neighbour, which must hold still. */
		if (f->flags & FAULT_VMA_LOCK) {
			fault_lock_release(f);
			return FAULT_RETRY | FAULT_MMAP;
		}
		if (anon_vma_prepare(f->mm, f->vma) != 0)
			return fault_error(f, FAULT_OOM, ENOMEM);
	}
	struct ra_plan plan = readahead_plan(f->mm, f->vma, f->index);
	pte_t e = look(f);
	f->window = plan.window;
	if (!(e & PTE_SWAP))
		return e & (PTE_PRESENT | PTE_IDLE) ? folio_fault(f) : first_touch(f, e);
	unsigned result = swap_fault(f, e, &plan);
	/* Keep the pipe full: the reader has reached this far. */
	if (f->vma && result == 0 && plan.ahead > f->index + f->window && plan.ahead > plan.from)
		readahead_reached(f->vma, f->index,
				  swap_ahead(f->mm, f->vma, plan.from, plan.ahead));
	return result;
}
