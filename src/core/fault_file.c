/* SPDX-License-Identifier: MIT */
/*
 * fault_file.c - faults of mappings: from a page of a file to an entry. fault.h has the
 * protocol, fault_try.h what it shares with the other kind. Reading order: from the
 * bottom up.
 */
#include <errno.h>

#include "core/fault_try.h"
#include "core/filemap.h"
#include "core/mm.h"
#include "core/readahead.h"
#include "core/truncate.h"
#include "core/writeback.h"

#define GATHER_AT_ONCE 16 /* lookups of fault-around in one descent of the tree */

/* --- mapping what is ready ------------------------------------------------ */

/* The end of what one call may map from f->addr: table, VMA and file end it. */
static uint64_t map_limit(const struct fault *f)
{
	uint64_t in_table = PTES - pte_slot(f->addr);
	uint64_t in_vma = (f->vma->end - f->addr) >> RT_PAGE_SHIFT;
	uint64_t pages = mapping_pages(f->vma->mapping);
	uint64_t in_file = pages > f->index ? pages - f->index : 0;
	uint64_t n = in_table < in_vma ? in_table : in_vma;

	return n < in_file ? n : in_file;
}

/*
 * finish_copy - the end of a write to a private view: the page becomes the process's own.
 * Needs: as finish_fault().
 */
static unsigned finish_copy(struct fault *f)
{
	int err = 0;

	rt_lock(&f->table->lock);
	bool own = f->table->pte[pte_slot(f->addr)] & PTE_OWN;
	/* Without a charge the copy that was there has gone meanwhile: the access runs
	 * again, and is charged then. */
	if (!own && f->copy_buf) {
		err = pte_own(f->mm, f->table, f->addr, f->copy_buf);
		f->copy_made = err == 0;
	}
	rt_unlock(&f->table->lock);
	if (err)
		return machine_result(f, err);
	return f->copy_made ? 0 : FAULT_NOPAGE;
}

/*
 * finish_fault - map the page of f in `folio`; for a write, writable.
 * Returns 0 (mapped), FAULT_NOPAGE (someone else did), or an ERROR. Never unlocks
 * or frees the folio.
 * Needs: fault lock; folio locked, uptodate, of this mapping, the page below i_size.
 */
static unsigned finish_fault(struct fault *f, struct folio *folio)
{
	struct mm *mm = f->mm;
	struct map_item item = { folio, 1, 0 };
	bool write = f->flags & FAULT_WRITE, private = f->vma->private;
	uint64_t fresh = 0;
	unsigned result = 0;
	int64_t n = 1;

	rt_lock(&f->table->lock);
	pte_t *pte = &f->table->pte[pte_slot(f->addr)];
	if (*pte & PTE_PRESENT && pte_folio(*pte) != folio) {
		rt_unlock(&f->table->lock);
		return FAULT_NOPAGE; /* the caller looks again */
	}
	if (folio_test(folio, FOLIO_BOUNCED)) {
		int err = *pte || private ? -EEXIST
					  : pgtable_copy(mm, f->table, f->addr, folio,
							 folio->bounced, true);
		if (!err)
			filemap_unbounce(mm, folio);
		fresh = err == 0;
		if (err == -EEXIST)
			err = filemap_settle(f->vma->mapping, folio);
		n = err ? err : 1;
	}
	if (n > 0 && *pte == 0)
		n = pgtable_map(mm, f->table, f->addr, &item, 1, !write || private, &fresh);
	else if (n > 0 && fresh == 0 && !(*pte & PTE_OWN) && !f->copied_in)
		n = rt_mmu_map(&mm->mmu, f->addr, 1, *pte & PTE_WP); /* lost by the machine? */
	if (n > 0 && write && *pte & PTE_PRESENT && *pte & PTE_WP)
		n = pte_make_writable(mm, f->table, f->addr);
	if (f->copied_in)
		fresh = 1;
	if (fresh == 0 && n >= 0)
		result = FAULT_NOPAGE;
	rt_unlock(&f->table->lock);

	if (n < 0)
		return machine_result(f, n);
	stat_add(mm, pages_mapped, fresh);
	return result;
}

/* Reference and lock `folio`, found at `index`, if it is ready to be mapped. What the lookup
 * found may have become another folio since: under its lock that shows. */
static bool take_ready(struct mm *mm, struct mapping *m, struct folio *folio, uint64_t index)
{
	if (!folio_test(folio, FOLIO_UPTODATE) || !folio_tryget(folio))
		return false;
	if (folio_trylock(folio)) {
		/* Content in a bounce buffer is mapped by finish_fault(), one at a time. */
		if (folio->mapping == m && index >= folio->index &&
		    index < folio->index + folio_pages(folio) &&
		    folio_test(folio, FOLIO_UPTODATE) && !folio_test(folio, FOLIO_BOUNCED))
			return true;
		COVER(gather_lost);
		folio_unlock(mm, folio);
	}
	folio_put(mm, folio);
	return false;
}

/*
 * Gather folios from f->index on that are ready to be mapped: referenced, trylocked,
 * uptodate, still of this mapping. Stops at the first that is not. Returns the pages.
 */
static uint64_t gather(struct fault *f, uint64_t limit, struct map_item *items, unsigned *n)
{
	struct mapping *m = f->vma->mapping;
	void *found[GATHER_AT_ONCE];
	uint64_t keys[GATHER_AT_ONCE], pages = 0;

	*n = 0;
	while (pages < limit && *n < CONFIG_MAP_BATCH) {
		uint64_t at = f->index + pages;
		unsigned got = radix_gang(&m->folios, at, f->index + limit, found, keys,
					  limit - pages < GATHER_AT_ONCE ? (unsigned)(limit - pages)
									 : GATHER_AT_ONCE);
		/* Small folios lie scattered: have their lines on the way, all at once. */
		for (unsigned i = 0; i < got; i++)
			__builtin_prefetch(found[i], 1);
		for (unsigned i = 0; i < got && *n < CONFIG_MAP_BATCH; i++) {
			uint64_t index = f->index + pages;
			if (keys[i] < index)
				continue; /* another page of the folio before */
			if (keys[i] > index || !take_ready(f->mm, m, found[i], index))
				return pages;
			struct folio *folio = found[i];
			uint64_t left = folio->index + folio_pages(folio) - index;
			items[*n].folio = folio;
			items[*n].pages = (uint32_t)(left < limit - pages ? left : limit - pages);
			items[*n].given = 1;
			pages += items[(*n)++].pages;
		}
		if (got == 0)
			break;
	}
	return pages;
}

/*
 * map_pages - fault-around: map what is cached of the window, in one go.
 * Returns FAULT_NOPAGE if f->addr itself is mapped now, else 0: the caller goes on.
 * Needs: fault lock, f->table. Does not sleep for a folio.
 */
static unsigned map_pages(struct fault *f)
{
	struct map_item items[CONFIG_MAP_BATCH];
	struct mm *mm = f->mm;
	uint64_t limit = map_limit(f), fresh = 0, pages;
	unsigned n;

	pages = gather(f, f->window < limit ? f->window : limit, items, &n);
	if (pages == 0)
		return 0;
	/* i_size may have shrunk since map_limit(); with the folios locked it cannot
	 * shrink past them any more without waiting for us. */
	if (map_limit(f) < pages)
		pages = 0;
	int64_t got = 0;
	if (pages > 0) {
		rt_lock(&f->table->lock);
		pte_t old = f->table->pte[pte_slot(f->addr)];
		got = pgtable_map(mm, f->table, f->addr, items, n, true, &fresh);
		if (old & PTE_PRESENT) /* somebody was first, or the machine lost it */
			got = rt_mmu_map(&mm->mmu, f->addr, 1, old & PTE_WP);
		rt_unlock(&f->table->lock);
	}
	stat_add(mm, pages_mapped, fresh);
	for (unsigned i = 0; i < n; i++) {
		/* Our reference may be the entry's now: folio_unlock() touches no more than
		 * the type-stable state word after it has let go. */
		folio_unlock(mm, items[i].folio);
		if (items[i].given > 0)
			folio_put(mm, items[i].folio);
	}
	if (got <= 0)
		return 0;
	if (fresh == 0)
		stat_inc(mm, faults_spurious);
	readahead_mapped(f->vma, f->index, f->index + (uint64_t)got);
	return FAULT_NOPAGE;
}

/* --- a folio, locked and uptodate ------------------------------------------- */

/*
 * P4: the folio is ours, locked and uptodate, the fault lock was dropped. Come back by
 * trylock (blocking would invert the lock order), re-check everything, and map.
 * Returns COMPLETED, or RETRY. Unlocks the folio; the reference stays the caller's.
 */
static unsigned finish_with_folio(struct fault *f, struct folio *folio)
{
	struct mm *mm = f->mm;
	unsigned result = FAULT_RETRY | FAULT_RETRY_VMA;
	struct vma *v = vma_lock_under_rcu(mm, f->addr);

	if (!v)
		goto out;
	f->vma = v;
	f->index = vma_index_at(v, f->addr);
	unsigned need = f->flags & FAULT_WRITE ? RT_WRITE : RT_READ;
	/* Writes, and anything that changed while we were away, take the long way. */
	if (v->mapping == folio->mapping && v->rights & need && !(f->flags & FAULT_WRITE) &&
	    f->index >= folio->index && f->index < folio->index + folio_pages(folio) &&
	    f->index < mapping_pages(v->mapping) && folio_test(folio, FOLIO_UPTODATE) &&
	    (f->table = ptable_lookup(mm, f->addr)) != NULL &&
	    !(finish_fault(f, folio) & FAULT_ERROR))
		result = FAULT_COMPLETED;
	vma_read_unlock(v);
	f->vma = NULL;
out:
	if (!(result & FAULT_COMPLETED))
		COVER(p4_lost);
	folio_unlock(mm, folio);
	return result;
}

/*
 * Read the locked folio, with or without the fault lock, as the policy says.
 * Consumes lock and reference unless it returns FAULT_LOCKED.
 */
static unsigned read_folio(struct fault *f, struct folio *folio)
{
	struct mm *mm = f->mm;
	struct mapping *m = f->vma->mapping;
	unsigned result = retry_result(f) | FAULT_MAJOR;
	bool drop = may_drop(f, folio);

	f->waited_for_read = true;
	keep_wanted(f, folio);
	if (drop)
		fault_lock_release(f);
	/* The folio lock keeps the mapping alive while no lock keeps the VMA. */
	int err = filemap_read(m, folio);
	if (err) {
		filemap_del(m, folio); /* the next access tries again */
		folio_unlock(mm, folio);
		folio_put(mm, folio);
		return drop ? result : fault_error(f, FAULT_SIGBUS | FAULT_MAJOR, -err);
	}
	f->wanted_came = true;
	if (!drop)
		return FAULT_LOCKED | FAULT_MAJOR;
	if (mm->retry == RETRY_P4_FOLIO && f->flags & FAULT_VMA_LOCK) {
		result = finish_with_folio(f, folio) | FAULT_MAJOR;
	} else {
		folio_unlock(mm, folio);
	}
	folio_put(mm, folio);
	return result;
}

/* Nothing is cached at f->index: make a folio and read it, ahead too if it is worth
 * it. 0: look again. */
static unsigned read_missing(struct fault *f, const struct ra_plan *plan, struct folio **out)
{
	struct mapping *m = f->vma->mapping;

	if (f->wanted_came)
		stat_inc(f->mm, lost_reads); /* read for us, and gone before we came */
	bool nowait = f->flags & FAULT_RETRY_NOWAIT;
	/* Ahead only once: should that read fail, the next one is our own, and says so. */
	if ((plan->ahead > f->index + 1 && !f->waited_for_read) || nowait) {
		uint64_t end = plan->ahead > f->index + 1 ? plan->ahead : f->index + 1;
		f->waited_for_read = true;
		uint64_t tried = readahead_submit(m, f->index, end);
		if (nowait)
			return FAULT_RETRY;
		readahead_reached(f->vma, f->index, tried);
		if (tried > f->index)
			return 0;
	}
	int err = filemap_add(m, f->index, 0, 0, out);
	if (err == 0)
		return read_folio(f, *out);
	if (err == -EEXIST || err == -ENXIO) {
		rt_relax(); /* its memory is being dropped, perhaps: reclaim does not sleep there */
		return 0;   /* someone else's now; or truncated, seen at the top */
	}
	return need_memory(f);
}

/* Past the end as far as we know: has the file grown? 0: yes, look again. */
static unsigned past_end(struct fault *f)
{
	struct mapping *m = f->vma->mapping;

	mapping_refresh_size(m);
	if (f->index < mapping_pages(m))
		return 0;
	return fault_error(f, FAULT_SIGBUS, ENXIO);
}

/*
 * filemap_fault - the folio of f->index, locked and uptodate.
 * Returns LOCKED (folio with a reference; fault lock held), RETRY (dropped; NOWAIT:
 * held), COMPLETED (P4), or an ERROR (held). MAJOR qualifies.
 */
static unsigned filemap_fault(struct fault *f, const struct ra_plan *plan, struct folio **out)
{
	struct mapping *m = f->vma->mapping;
	struct mm *mm = f->mm;
	unsigned result;

	for (;;) {
		if (f->index >= mapping_pages(m)) {
			result = past_end(f);
			if (result)
				return result;
		}
		struct folio *folio = filemap_get(m, f->index);
		if (!folio) {
			result = read_missing(f, plan, out);
			if (!result)
				continue;
			return result;
		}
		result = folio_lock_or_retry(f, folio);
		if (result) {
			folio_put(mm, folio);
			return result;
		}
		/* Locked now: is it still the one we looked up? */
		if (folio->mapping != m || f->index < folio->index ||
		    f->index >= folio->index + folio_pages(folio)) {
			COVER(filemap_fault_lost);
			folio_unlock(mm, folio);
			folio_put(mm, folio);
			continue;
		}
		if (f->index >= mapping_pages(m)) {
			folio_unlock(mm, folio);
			folio_put(mm, folio);
			continue; /* truncated: reported above */
		}
		ASSERT(folio_test(folio, FOLIO_UPTODATE)); /* else it would have left */
		*out = folio;
		return FAULT_LOCKED;
	}
}

/* --- one try ---------------------------------------------------------------- */

/* A private copy needs a charge of its own. */
static unsigned charge_copy(struct fault *f, struct folio *folio)
{
	int err = mm_charge_copy(f->mm);
	if (!err)
		return 0;
	if (err == -ENOMEM) {
		folio_unlock(f->mm, folio);
		folio_put(f->mm, folio);
		return fault_error(f, FAULT_OOM, ENOMEM);
	}
	keep_wanted(f, folio);
	folio_unlock(f->mm, folio);
	folio_put(f->mm, folio);
	return need_memory(f);
}

static void uncharge_copy(struct mm *mm)
{
	rt_count_u64(&mm->owned, -1ull);
	mm_uncharge_pages(mm, 1);
}

/* Is there a copy already? It may go at any time: finish_copy() looks again. */
static bool is_own(struct fault *f)
{
	rt_lock(&f->table->lock);
	bool own = f->table->pte[pte_slot(f->addr)] & PTE_OWN;
	rt_unlock(&f->table->lock);
	return own;
}

/* Fill, map and make dirty in one; dirty first: from the moment it is mapped another thread
 * may store to it without a fault, and msync. Needs: f->table's lock, the entry none. */
static int copy_in_dirty(struct fault *f, struct folio *folio)
{
	struct mm *mm = f->mm;
	void *buf = filemap_take_bounced(folio);

	folio_mark_dirty(mm, folio, f->index);
	int err = pgtable_copy(mm, f->table, f->addr, folio, buf, false);
	if (err) {
		writeback_forget(folio);
		filemap_give_bounced(folio, buf);
		return err;
	}
	bounce_put(&mm->bounce, buf, 1);
	f->copied_in = true;
	return 0;
}

/* A page that is written must have its content in the object, and be mapped there if it
 * comes with its first mapping: dirty and BOUNCED do not go together. */
static int settle_for_write(struct fault *f, struct folio *folio)
{
	if (!folio_test(folio, FOLIO_BOUNCED))
		return 0;
	int err = -EEXIST;
	if (!f->vma->private) {
		rt_lock(&f->table->lock);
		if (f->table->pte[pte_slot(f->addr)] == 0)
			err = copy_in_dirty(f, folio);
		rt_unlock(&f->table->lock);
	}
	return err ? filemap_settle(f->vma->mapping, folio) : 0;
}

unsigned do_file_fault(struct fault *f)
{
	struct mm *mm = f->mm;
	bool write = f->flags & FAULT_WRITE;
	struct ra_plan plan = readahead_plan(mm, f->vma, f->index);
	struct folio *folio;
	unsigned result;

	f->window = plan.window;
	if (!write) {
		result = map_pages(f);
		if (result & FAULT_NOPAGE) {
			/* Keep the pipe full: the reader has reached this far. */
			if (plan.ahead > f->index + f->window && plan.ahead > plan.from)
				readahead_reached(
					f->vma, f->index,
					readahead_submit(f->vma->mapping, plan.from, plan.ahead));
			return result;
		}
	}
	result = filemap_fault(f, &plan, &folio);
	if (!(result & FAULT_LOCKED))
		return result;
	unsigned major = result & FAULT_MAJOR;
	bool copy = write && f->vma->private && !is_own(f);
	f->copy_buf = NULL;
	f->copy_made = false;
	f->copied_in = false;
	int err = write ? settle_for_write(f, folio) : 0;
	if (err) {
		folio_unlock(mm, folio);
		folio_put(mm, folio);
		return fault_error(f, FAULT_SIGBUS, -err) | major;
	}
	if (copy) {
		result = charge_copy(f, folio);
		if (result)
			return result | major;
		stat_inc(mm, faults_cow);
		f->copy_buf = bounce_get_page(&mm->bounce);
		err = rt_object_fetch(&f->vma->mapping->object, f->index, f->copy_buf, 1);
		if (err) {
			bounce_put(&mm->bounce, f->copy_buf, 1);
			uncharge_copy(mm);
			folio_unlock(mm, folio);
			folio_put(mm, folio);
			return fault_error(f, FAULT_SIGBUS, -err) | major;
		}
	} else if (write && !f->vma->private) {
		folio_mark_dirty(mm, folio, f->index);
		stat_inc(mm, faults_write);
	}
	result = write && f->vma->private ? finish_copy(f) : finish_fault(f, folio);
	if (copy) {
		bounce_put(&mm->bounce, f->copy_buf, 1);
		if (!f->copy_made)
			uncharge_copy(mm);
	}
	folio_unlock(mm, folio);
	folio_put(mm, folio);
	if (result & FAULT_NOPAGE && !write)
		stat_inc(mm, faults_spurious);
	return (result & FAULT_ERROR) | major;
}
