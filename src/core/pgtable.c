/* SPDX-License-Identifier: MIT */
/* pgtable.c - see pgtable.h. */
#include "core/pgtable.h"

#include <errno.h>

#include "core/anon.h"
#include "core/filemap.h"
#include "core/mm.h"

/* --- tables ------------------------------------------------------------- */

struct ptable *ptable_lookup(struct mm *mm, uint64_t addr)
{
	struct ptable *t = radix_lookup(&mm->tables, addr >> TABLE_SHIFT);

	/* From a leaf that was freed and used again under us comes another's table: then
	 * there was none for us, at that moment. */
	return t && rt_load_u64(&t->key, RT_ACQUIRE) == addr >> TABLE_SHIFT ? t : NULL;
}

static struct ptable *ptable_new(struct mm *mm, uint64_t key)
{
	struct ptable *t = slab_alloc(&mm->tables_slab);

	if (!t)
		return NULL;
	rt_note_live(t, sizeof(*t));
	rt_lock_init(&t->lock);
	rt_note_class(&t->lock, "table lock");
	rt_store_u64(&t->key, key, RT_RELAXED); /* the tree publishes it */
	t->present = 0;
	for (unsigned i = 0; i < PTES; i++)
		t->pte[i] = 0;
	return t;
}

struct ptable *ptable_get(struct mm *mm, uint64_t addr)
{
	struct ptable *t = ptable_lookup(mm, addr), *fresh;

	if (t)
		return t;
	fresh = ptable_new(mm, addr >> TABLE_SHIFT);
	if (!fresh)
		return NULL;
	rt_lock(&mm->tables_lock);
	/* Another fault may have brought one meanwhile: never over non-none. */
	t = ptable_lookup(mm, addr);
	if (!t && radix_store(&mm->tables, addr >> TABLE_SHIFT, 1, fresh) == 0) {
		t = fresh;
		fresh = NULL;
	}
	rt_unlock(&mm->tables_lock);
	if (fresh) {
		COVER(ptable_race_lost);
		rt_note_free(fresh, sizeof(*fresh));
		slab_free(&mm->tables_slab, fresh);
	}
	return t;
}

void pgtable_free(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t key = (start + TABLE_BYTES - 1) >> TABLE_SHIFT, last = end >> TABLE_SHIFT;
	uint64_t keys[16];
	void *tables[16];
	unsigned n;

	rwlock_assert_write(&mm->mmap_lock);
	while ((n = radix_gang(&mm->tables, key, last, tables, keys, 16)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			struct ptable *t = tables[i];
			ASSERT(t->present == 0);
			rt_lock(&mm->tables_lock);
			radix_store(&mm->tables, keys[i], 1, NULL);
			rt_unlock(&mm->tables_lock);
			rt_note_free(t, sizeof(*t));
			slab_free(&mm->tables_slab, t);
		}
		key = keys[n - 1] + 1;
	}
}

static uint64_t zap_slots(struct mm *mm, struct ptable *t, uint64_t base, unsigned a, unsigned b,
			  enum zap_how how);

/* --- single entries ------------------------------------------------------ */

int pte_make_writable(struct mm *mm, struct ptable *t, uint64_t addr)
{
	pte_t *pte = &t->pte[pte_slot(addr)];

	rt_lock_assert(&t->lock);
	ASSERT(*pte & PTE_PRESENT);
	ASSERT(folio_test(pte_folio(*pte), FOLIO_DIRTY));
	int err = rt_mmu_unprotect(&mm->mmu, addr, 1);
	if (!err)
		*pte &= ~PTE_WP;
	return err;
}

static void folio_unmapped(struct mm *mm, struct folio *f, uint32_t pages)
{
	/* The references first: reclaim takes refs == mapped + 2 for "nobody else", and must
	 * not see the entry gone while its reference is still to be dropped. */
	uint32_t old = rt_sub_u32(&f->refs, pages, RT_ACQ_REL);

	ASSERT(old > pages); /* the cache's, which stays while it is mapped */
	old = rt_sub_u32(&f->mapped, pages, RT_RELEASE);
	ASSERT(old >= pages);
	rt_count_u64(&mm->mapped, -(uint64_t)pages);
}

int pte_own(struct mm *mm, struct ptable *t, uint64_t addr, const void *buf)
{
	pte_t *pte = &t->pte[pte_slot(addr)];

	rt_lock_assert(&t->lock);
	ASSERT(!(*pte & PTE_OWN));
	if (*pte)
		zap_slots(mm, t, addr - pte_slot(addr) * RT_PAGE, pte_slot(addr),
			  pte_slot(addr) + 1, ZAP_ALL);
	int err = rt_mmu_own(&mm->mmu, addr, buf);
	if (err)
		return err;
	t->present++;
	*pte = PTE_OWN;
	return 0;
}

bool pte_pin(struct mm *mm, struct ptable *t, uint64_t addr)
{
	pte_t *pte = &t->pte[pte_slot(addr)];

	rt_lock_assert(&t->lock);
	if (pte_is_copy(*pte))
		return true; /* stays anyway */
	ASSERT(*pte & PTE_PRESENT);
	if (pte_pins(*pte) == PTE_PIN_MAX)
		return false;
	*pte += 1ull << PTE_PIN_SHIFT;
	rt_add_u32(&pte_folio(*pte)->pins, 1, RT_RELAXED);
	if (pte_pins(*pte) == 1)
		rt_count_u64(&mm->pinned, 1);
	return true;
}

void pte_unpin(struct mm *mm, struct ptable *t, uint64_t addr)
{
	pte_t *pte = &t->pte[pte_slot(addr)];

	rt_lock_assert(&t->lock);
	/* It may be unmapped, or own, since: the pin went with the page. */
	if (!(*pte & PTE_PRESENT) || pte_pins(*pte) == 0)
		return;
	*pte -= 1ull << PTE_PIN_SHIFT;
	rt_sub_u32(&pte_folio(*pte)->pins, 1, RT_RELEASE);
	if (pte_pins(*pte) == 0)
		rt_count_u64(&mm->pinned, -1ull);
}

/* --- runs ---------------------------------------------------------------- */

static pte_t pte_of(struct folio *f, bool wp)
{
	return (pte_t)(uintptr_t)f | PTE_PRESENT | (wp ? PTE_WP : 0);
}

/* Enter pages [from, to) of the items, which the machine has mapped. */
static void enter_items(struct mm *mm, pte_t *pte, struct map_item *items, uint64_t from,
			uint64_t to, bool wp)
{
	uint64_t first = 0;

	for (unsigned i = 0; first < to; i++) {
		uint64_t end = first + items[i].pages;
		uint64_t a = from > first ? from : first, b = to < end ? to : end;

		if (a < b) {
			struct folio *f = items[i].folio;
			for (uint64_t p = a; p < b; p++)
				pte[p] = pte_of(f, wp);
			uint32_t need = (uint32_t)(b - a);
			uint32_t taken = need < items[i].given ? need : items[i].given;
			items[i].given -= taken;
			if (need > taken)
				rt_add_u32(&f->refs, need - taken, RT_RELAXED);
			if (rt_add_u32(&f->mapped, (uint32_t)(b - a), RT_RELAXED) == 0)
				folio_mapped_first(f);
		}
		first = end;
	}
	rt_count_u64(&mm->mapped, to - from);
}

int64_t pgtable_map(struct mm *mm, struct ptable *t, uint64_t addr, struct map_item *items,
		    unsigned n, bool wp, uint64_t *fresh)
{
	pte_t *pte = &t->pte[pte_slot(addr)];
	uint64_t total = 0, at = 0;

	rt_lock_assert(&t->lock);
	*fresh = 0;
	for (unsigned i = 0; i < n; i++)
		total += items[i].pages;
	ASSERT(pte_slot(addr) + total <= PTES);
	while (at < total) {
		uint64_t run = 0;

		while (at + run < total && pte[at + run] == 0)
			run++;
		if (run == 0) {
			at++;
			continue;
		}
		int64_t got = rt_mmu_map(&mm->mmu, addr + at * RT_PAGE, run, wp);
		if (got <= 0)
			return at ? (int64_t)at : got;
		enter_items(mm, pte, items, at, at + (uint64_t)got, wp);
		t->present += (uint32_t)got;
		*fresh += (uint64_t)got;
		at += (uint64_t)got;
		if ((uint64_t)got < run)
			break;
	}
	return (int64_t)at;
}

int pgtable_copy(struct mm *mm, struct ptable *t, uint64_t addr, struct folio *f, const void *buf,
		 bool wp)
{
	pte_t *pte = &t->pte[pte_slot(addr)];
	struct map_item item = { f, 1, 0 };

	rt_lock_assert(&t->lock);
	ASSERT(*pte == 0);
	int err = rt_mmu_copy(&mm->mmu, addr, buf, wp);
	if (err)
		return err;
	enter_items(mm, pte, &item, 0, 1, wp);
	t->present++;
	return 0;
}

/* --- unmapping ----------------------------------------------------------- */

static bool may_zap(pte_t e, enum zap_how how)
{
	if (how == ZAP_SHARED)
		return !(e & PTE_OWN);
	return how == ZAP_ALL || (!(e & PTE_OWN) && pte_pins(e) == 0);
}

/* Clear entries [a, b), which the machine has unmapped. Needs: t->lock. */
static uint64_t clear_entries(struct mm *mm, struct ptable *t, unsigned a, unsigned b)
{
	struct folio *f = NULL;
	uint32_t run = 0;
	uint64_t n = 0;

	for (unsigned i = a; i < b; i++) {
		pte_t e = t->pte[i];
		if (e == 0)
			continue;
		t->pte[i] = 0;
		t->present--;
		n++;
		if (pte_is_copy(e)) {
			rt_count_u64(&mm->owned, -1ull);
			mm_uncharge_pages(mm, 1);
			continue;
		}
		if (e & PTE_OWN) {
			anon_entry_gone(mm, e);
			continue;
		}
		if (pte_pins(e)) {
			rt_sub_u32(&pte_folio(e)->pins, (uint32_t)pte_pins(e), RT_RELEASE);
			rt_count_u64(&mm->pinned, -1ull);
		}
		if (pte_folio(e) != f && f) {
			folio_unmapped(mm, f, run);
			run = 0;
		}
		f = pte_folio(e);
		run++;
	}
	if (f)
		folio_unmapped(mm, f, run);
	return n;
}

/*
 * Unmap what may be unmapped of slots [a, b): one call to the machine for each
 * stretch between spared entries, over the holes in it too. The machine first: a
 * folio that counts no mapping must have none, or its last writes could be missed.
 * Needs: t->lock.
 */
static uint64_t zap_slots(struct mm *mm, struct ptable *t, uint64_t base, unsigned a, unsigned b,
			  enum zap_how how)
{
	uint64_t n = 0;

	for (unsigned i = a; i < b;) {
		if (t->pte[i] == 0 || !may_zap(t->pte[i], how)) {
			i++;
			continue;
		}
		unsigned end = i + 1;
		for (unsigned j = i + 1; j < b && (t->pte[j] == 0 || may_zap(t->pte[j], how)); j++)
			if (t->pte[j])
				end = j + 1;
		rt_mmu_zap(&mm->mmu, base + i * RT_PAGE, end - i);
		rt_note_lost(base + i * RT_PAGE, end - i);
		n += clear_entries(mm, t, i, end);
		i = end;
	}
	return n;
}

uint64_t pgtable_zap(struct mm *mm, struct vma *v, uint64_t start, uint64_t end, enum zap_how how)
{
	uint64_t n = 0;

	ASSERT(start >= v->start);
	ASSERT(end <= v->end);
	for (uint64_t addr = start; addr < end;) {
		uint64_t base = addr & ~(TABLE_BYTES - 1);
		uint64_t stop = end - base > TABLE_BYTES ? base + TABLE_BYTES : end;
		struct ptable *t = ptable_lookup(mm, addr);

		if (t) {
			rt_lock(&t->lock);
			if (t->present > 0)
				n += zap_slots(mm, t, base, pte_slot(addr),
					       (unsigned)((stop - base) >> RT_PAGE_SHIFT), how);
			rt_unlock(&t->lock);
		}
		addr = stop;
	}
	return n;
}

static bool is_writable(pte_t e)
{
	return e & PTE_PRESENT && !(e & PTE_WP);
}

static bool may_clean(pte_t e)
{
	return !(e & PTE_OWN) && pte_pins(e) == 0;
}

/* False: some entry stays writable. Needs: t->lock. */
static bool mkclean_slots(struct mm *mm, struct ptable *t, uint64_t base, unsigned a, unsigned b)
{
	bool all = true;

	for (unsigned i = a; i < b;) {
		if (!is_writable(t->pte[i]) || !may_clean(t->pte[i])) {
			all = all && !is_writable(t->pte[i]);
			i++;
			continue;
		}
		unsigned end = i + 1;
		for (unsigned j = end; j < b && may_clean(t->pte[j]); j++)
			if (is_writable(t->pte[j]))
				end = j + 1;
		int err = rt_mmu_wrprotect(&mm->mmu, base + i * RT_PAGE, end - i);
		ASSERT(err == 0); /* else a write could be missed */
		for (; i < end; i++)
			if (t->pte[i] & PTE_PRESENT)
				t->pte[i] |= PTE_WP;
	}
	return all;
}

bool pgtable_mkclean(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
	bool all = true;

	if (v->private)
		return true; /* never writable but when own */
	for (uint64_t addr = start; addr < end;) {
		uint64_t base = addr & ~(TABLE_BYTES - 1);
		uint64_t stop = end - base > TABLE_BYTES ? base + TABLE_BYTES : end;
		struct ptable *t = ptable_lookup(mm, addr);

		if (t) {
			rt_lock(&t->lock);
			all &= mkclean_slots(mm, t, base, pte_slot(addr),
					     (unsigned)((stop - base) >> RT_PAGE_SHIFT));
			rt_unlock(&t->lock);
		}
		addr = stop;
	}
	return all;
}
