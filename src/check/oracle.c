/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - what must hold between the parts of an mm when nobody is inside a call, and
 * at the moment a page is mapped. The names are those of fault-path.md, part 0.
 *
 * It reads the core's structures with the core's own functions, on the driver's side:
 * there an atomic is a plain load, and no point is passed.
 */
#include <stdio.h>
#include <string.h>

#include "base/bitmap.h"
#include "check/world.h"
#include "core/filemap.h"
#include "core/pgtable.h"
#include "core/stats.h"
#include "store/store.h"

#define FOLIOS 96

static struct {
	struct folio *folio[FOLIOS];
	uint32_t mapped[FOLIOS], pins[FOLIOS];
	unsigned n;
	uint64_t present, own, dirty, cached, bounced, pinned;
} seen;

static bool broken;

#define REQUIRE(cond, invariant, ...)                                                              \
	do {                                                                                       \
		if (!(cond) && !broken) {                                                          \
			broken = true;                                                             \
			check_broken(invariant, __VA_ARGS__);                                      \
		}                                                                                  \
	} while (0)

typedef unsigned long long ull;

static int seen_index(const struct folio *f)
{
	for (unsigned i = 0; i < seen.n; i++)
		if (seen.folio[i] == f)
			return (int)i;
	return -1;
}

/* The file behind a mapping; by the size of its handle in the store (store/file.c). */
static unsigned file_of(const struct mapping *m)
{
	return (unsigned)m->store->ops->file(m->store, false)->id;
}

/* --- folios ------------------------------------------------------------------------- */

static void folio_content(const struct mapping *m, const struct folio *f)
{
	unsigned file = file_of(m);

	for (uint64_t p = f->index; p < f->index + folio_pages(f); p++) {
		uint16_t slot = S->object[m->object.id].frame[p];
		REQUIRE(folio_test(f, FOLIO_BOUNCED) || slot || p * RT_PAGE >= m->size.v, "UPT",
			"page %llu is uptodate, but its memory is not there", (ull)p);
		for (unsigned w = 0; w < SIM_WORDS && slot && !folio_test(f, FOLIO_BOUNCED); w++) {
			const uint64_t *frame = (void *)(S->frame[slot - 1] + w * SIM_SECTOR);
			if (p * RT_PAGE + w * SIM_SECTOR >= m->size.v || W->outside)
				continue;
			REQUIRE(shadow_allows(file, (int)p, w, *frame), "DATA",
				"cached page %llu word %u is %#llx", (ull)p, w, (ull)*frame);
			REQUIRE(folio_test(f, FOLIO_DIRTY) || f->pins.v > 0 ||
					sim_file_word(file, p, w) == *frame,
				"CLEAN", "page %llu is clean, but the file has %#llx for %#llx",
				(ull)p, (ull)sim_file_word(file, p, w), (ull)*frame);
		}
	}
}

static void folio_check(const struct mapping *m, const struct folio *f, unsigned i)
{
	uint32_t state = f->state.v;
	uint32_t refs = 1 + seen.mapped[i] + (state & FOLIO_QUEUED ? 1 : 0);

	REQUIRE(!(state & FOLIO_LOCKED), "LOCK", "the folio of page %llu is left locked",
		(ull)f->index);
	REQUIRE(!(state & FOLIO_WRITEBACK), "WAKE", "page %llu stays under write-back",
		(ull)f->index);
	REQUIRE(state & FOLIO_UPTODATE, "UPT", "cached page %llu is not uptodate", (ull)f->index);
	REQUIRE(f->mapping == m, "REF", "the folio of page %llu is cached and of no mapping",
		(ull)f->index);
	REQUIRE(f->mapped.v == seen.mapped[i], "REF",
		"page %llu counts %u mappings, the page tables %u", (ull)f->index, f->mapped.v,
		seen.mapped[i]);
	REQUIRE(f->pins.v == seen.pins[i], "REF", "page %llu counts %u pins, the page tables %u",
		(ull)f->index, f->pins.v, seen.pins[i]);
	REQUIRE(f->refs.v == refs, "REF",
		"the folio of page %llu has %u references; cache, %u mappings%s make %u",
		(ull)f->index, f->refs.v, seen.mapped[i],
		state & FOLIO_QUEUED ? ", dirty stack" : "", refs);
	REQUIRE(!(state & FOLIO_DIRTY) || state & FOLIO_QUEUED, "CLEAN",
		"page %llu is dirty, and nobody will write it", (ull)f->index);
	REQUIRE(!list_empty(&f->lru), "LEAK", "page %llu is cached, and on no list of reclaim",
		(ull)f->index);
	folio_content(m, f);
}

static void collect_folios(const struct mapping *m)
{
	void *value;
	uint64_t key, pages = 0;

	for (uint64_t at = 0;
	     radix_gang(&m->folios, at, SIM_OBJECT_PAGES * 4, &value, &key, 1) > 0;) {
		struct folio *f = value;
		REQUIRE(key >= f->index && key < f->index + folio_pages(f), "REF",
			"page %llu leads to the folio of page %llu", (ull)key, (ull)f->index);
		if (broken || seen.n == FOLIOS)
			return;
		seen.folio[seen.n] = f;
		seen.mapped[seen.n] = seen.pins[seen.n] = 0;
		seen.n++;
		pages += folio_pages(f);
		if (f->state.v & FOLIO_DIRTY)
			seen.dirty += folio_pages(f);
		if (f->state.v & FOLIO_BOUNCED)
			seen.bounced++;
		at = key + folio_pages(f);
	}
	REQUIRE(m->cached.v == pages, "COUNT", "a mapping counts %llu pages, and has %llu",
		(ull)m->cached.v, (ull)pages);
	seen.cached += pages;
}

/* --- page tables ------------------------------------------------------------------------ */

static const struct vma *vma_over(uint64_t addr)
{
	const struct vma *v = vma_find(&W->mm, addr);

	return v && addr >= v->start ? v : NULL;
}

static void check_entry(uint64_t addr, pte_t e)
{
	const struct sim_pte *hw = &S->pte[(addr - SIM_VBASE) / RT_PAGE];
	const struct vma *v = vma_over(addr);

	REQUIRE(v, "STALE", "an entry at %#llx, where nothing is mapped", (ull)addr);
	REQUIRE(hw->flags & SIM_PTE_PRESENT, "PTE", "%#llx is mapped for us, not for the machine",
		(ull)addr);
	if (broken)
		return;
	if (pte_is_copy(e)) {
		REQUIRE(hw->flags & SIM_PTE_OWN, "PTE", "%#llx is own for us alone", (ull)addr);
		seen.own++;
		return;
	}
	struct folio *f = pte_folio(e);
	int i = seen_index(f);
	REQUIRE(i >= 0, "STALE", "%#llx maps a folio that is not cached", (ull)addr);
	if (broken)
		return;
	seen.mapped[i]++;
	seen.pins[i] += (uint32_t)pte_pins(e);
	seen.present++;
	seen.pinned += pte_pins(e) > 0;
	uint64_t index = vma_index_at(v, addr);
	REQUIRE(index >= f->index && index < f->index + folio_pages(f) && f->mapping == v->mapping,
		"STALE", "%#llx maps page %llu of the wrong folio", (ull)addr, (ull)index);
	REQUIRE(index < mapping_pages(v->mapping) || W->outside, "UPT",
		"%#llx maps page %llu, past the end of the file", (ull)addr, (ull)index);
	REQUIRE(S->object[v->mapping->object.id].frame[index] == hw->frame + 1, "TLB",
		"%#llx shows another frame than page %llu has", (ull)addr, (ull)index);
	REQUIRE(!!(e & PTE_WP) == !!(hw->flags & SIM_PTE_WP), "PTE",
		"%#llx: we and the machine differ on its protection", (ull)addr);
	REQUIRE(e & PTE_WP || f->state.v & FOLIO_DIRTY, "CLEAN",
		"%#llx is writable, and its folio is clean", (ull)addr);
}

static void walk_tables(void)
{
	uint64_t key, first = SIM_VBASE >> TABLE_SHIFT;
	uint64_t last = ((SIM_VBASE + SIM_VPAGES * RT_PAGE) >> TABLE_SHIFT) + 1;
	uint64_t ours[SIM_VPAGES / 64] = { 0 };
	void *value;

	for (uint64_t at = first; radix_gang(&W->mm.tables, at, last, &value, &key, 1) > 0;
	     at = key + 1) {
		struct ptable *t = value;
		uint32_t present = 0;
		REQUIRE(t->lock.owner == 0, "LOCK", "a page table is left locked");
		for (unsigned i = 0; i < PTES && !broken; i++) {
			uint64_t addr = (key << TABLE_SHIFT) + i * RT_PAGE;
			if (t->pte[i] == 0)
				continue;
			present++;
			bitmap_set_run(ours, (addr - SIM_VBASE) / RT_PAGE, 1);
			check_entry(addr, t->pte[i]);
		}
		REQUIRE(t->present == present, "COUNT", "a table counts %u entries, and has %u",
			t->present, present);
	}
	unsigned machine = 0, both = 0;
	for (unsigned i = 0; i < SIM_VPAGES; i++)
		machine += S->pte[i].flags & SIM_PTE_PRESENT;
	for (unsigned i = 0; i < SIM_VPAGES / 64; i++)
		both += (unsigned)__builtin_popcountll(ours[i]);
	/* What is ours is the machine's too, or it was said above. */
	for (unsigned i = 0; i < SIM_VPAGES && machine != both; i++)
		REQUIRE(bitmap_test(ours, i) || !(S->pte[i].flags & SIM_PTE_PRESENT), "PTE",
			"%#llx is mapped for the machine, not for us",
			(ull)(SIM_VBASE + i * RT_PAGE));
}

/* --- counters, lists, locks ------------------------------------------------------------------ */

static uint64_t list_pages(struct list_node *head)
{
	uint64_t n = 0;
	struct list_node *pos;

	list_for_each(pos, head) n += folio_pages(list_entry(pos, struct folio, lru));
	return n;
}

static void check_counters(void)
{
	struct mm *mm = &W->mm;

	REQUIRE(seen.bounced == 0, "LEAK", "%llu pages keep their buffer", (ull)seen.bounced);
	REQUIRE(mm->retry != RETRY_P0_MMAP || mm->stats[0].retries_vma.v == 0, "FLAG",
		"a retry under the VMA lock, under P0");
	struct list_node *pos;
	list_for_each(pos, &mm->mappings)
	{
		struct mapping *m = list_entry(pos, struct mapping, by_mm);
		const struct sim_file *sf = &S->file[file_of(m)];
		REQUIRE(W->outside || S->failures || m->size.v == sf->size, "SIZE",
			"a mapping is %llu bytes long, its file %llu", (ull)m->size.v,
			(ull)sf->size);
	}
	REQUIRE(mm->cached.v == seen.cached, "COUNT", "%llu pages cached, counted %llu",
		(ull)seen.cached, (ull)mm->cached.v);
	REQUIRE(mm->mapped.v == seen.present, "COUNT", "%llu pages mapped, counted %llu",
		(ull)seen.present, (ull)mm->mapped.v);
	REQUIRE(mm->owned.v == seen.own, "COUNT", "%llu own pages, counted %llu", (ull)seen.own,
		(ull)mm->owned.v);
	REQUIRE(mm->dirty.v == seen.dirty, "COUNT", "%llu pages dirty, counted %lld",
		(ull)seen.dirty, (long long)mm->dirty.v);
	REQUIRE(mm->writeback.v == 0, "COUNT", "%lld pages under write-back, and nothing runs",
		(long long)mm->writeback.v);
	REQUIRE(mm->pinned.v == seen.pinned, "COUNT", "%llu pages pinned, counted %lld",
		(ull)seen.pinned, (long long)mm->pinned.v);
	REQUIRE(mm->charged.v == mm->metadata.v + (seen.cached + seen.own) * RT_PAGE, "COUNT",
		"%llu bytes charged; metadata %llu and %llu frames make %llu", (ull)mm->charged.v,
		(ull)mm->metadata.v, (ull)(seen.cached + seen.own),
		(ull)(mm->metadata.v + (seen.cached + seen.own) * RT_PAGE));
	REQUIRE(list_pages(&mm->lru.cold) == mm->lru.cold_pages &&
			list_pages(&mm->lru.hot) == mm->lru.hot_pages &&
			mm->lru.cold_pages + mm->lru.hot_pages == seen.cached,
		"COUNT", "reclaim's lists: cold %llu, hot %llu, cached %llu",
		(ull)mm->lru.cold_pages, (ull)mm->lru.hot_pages, (ull)seen.cached);
	REQUIRE(mm->bounce.free + seen.bounced >= mm->bounce.count, "LEAK",
		"%llu of %llu buffers are missing",
		(ull)(mm->bounce.count - mm->bounce.free - seen.bounced), (ull)mm->bounce.count);
}

static void check_locks(void)
{
	struct mm *mm = &W->mm;
	struct vma_index *x = mm->index.v;

	REQUIRE(mm->mmap_lock.word.v == 0, "LOCK", "the mmap_lock is left %#x",
		mm->mmap_lock.word.v);
	for (uint64_t i = 0; i < x->count; i++) {
		REQUIRE(x->vma[i]->lock.word.v == 0, "LOCK", "a VMA is left locked: %#x",
			x->vma[i]->lock.word.v);
		REQUIRE(!x->vma[i]->detached, "STALE", "a VMA of the index is detached");
		REQUIRE(i == 0 || x->vma[i - 1]->end <= x->vma[i]->start, "STALE",
			"two VMAs overlap");
	}
	REQUIRE(list_empty(&mm->waitq.bucket[0].waiters), "WAKE", "somebody is left in a queue");
	REQUIRE(S->ios == 0, "WAKE", "a request is left in the queue to the device");
}

bool oracle_quiescent(void)
{
	struct list_node *pos;

	broken = false;
	seen.n = 0;
	seen.present = seen.own = seen.dirty = seen.cached = seen.bounced = seen.pinned = 0;
	list_for_each(pos, &W->mm.mappings) collect_folios(list_entry(pos, struct mapping, by_mm));
	walk_tables();
	for (unsigned i = 0; i < seen.n && !broken; i++)
		if (seen.folio[i]->mapping)
			folio_check(seen.folio[i]->mapping, seen.folio[i], i);
	check_counters();
	check_locks();
	return !broken;
}

/* --- as it happens ------------------------------------------------------------------------------
 */

static struct mapping *mapping_of(unsigned object)
{
	struct list_node *pos;

	list_for_each(pos, &W->mm.mappings)
	{
		struct mapping *m = list_entry(pos, struct mapping, by_mm);
		if ((unsigned)m->object.id == object)
			return m;
	}
	return NULL;
}

int oracle_file_of(unsigned object)
{
	const struct mapping *m = mapping_of(object);

	return m ? (int)file_of(m) : -1;
}

/* The tree as it is now: the thread that maps is at its point, so read it as the driver. */
static struct folio *folio_at(struct mapping *m, uint64_t index)
{
	int cur = S->cur;

	S->cur = -1;
	struct folio *f = radix_lookup(&m->folios, index);
	S->cur = cur;
	return f;
}

void oracle_on_map(uint64_t vaddr, unsigned object, uint64_t index, bool copied)
{
	struct mapping *m = mapping_of(object);
	struct folio *f = m ? folio_at(m, index) : NULL;

	(void)copied;
	if (!f)
		sim_fail("UPT", "%s maps page %llu at %#llx, which is not cached",
			 S->t[S->cur].name, (ull)index, (ull)vaddr);
	if (!(f->state.v & FOLIO_LOCKED))
		sim_fail("UPT", "%s maps page %llu, whose folio is not locked", S->t[S->cur].name,
			 (ull)index);
	if (!(f->state.v & FOLIO_UPTODATE))
		sim_fail("UPT", "%s maps page %llu, which is not uptodate", S->t[S->cur].name,
			 (ull)index);
}

void oracle_on_drop(unsigned object, uint64_t index, uint64_t n)
{
	struct mapping *m = mapping_of(object);

	for (uint64_t p = index; m && p < index + n; p++) {
		struct folio *f = folio_at(m, p);
		if (!f)
			continue;
		if (!(f->state.v & FOLIO_LOCKED))
			sim_fail("UPT",
				 "%s drops the memory of page %llu, whose folio is not locked",
				 S->t[S->cur].name, (ull)p);
		if (f->mapped.v > 0)
			sim_fail("UPT", "%s drops the memory of page %llu, which is mapped",
				 S->t[S->cur].name, (ull)p);
		if (f->state.v & FOLIO_WRITEBACK)
			sim_fail("UPT", "%s drops the memory of page %llu under write-back",
				 S->t[S->cur].name, (ull)p);
	}
}

/* P3 waits with the VMA lock held only for what is short: not for a write, in its first try
 * (fault-path.md 1g). While nobody has tried twice, every try is a first one; while nobody
 * was preempted, the write did not begin between its look and its wait. */
void oracle_on_want(const void *wants)
{
	const struct sim_thread *t = &S->t[S->cur];
	const struct folio *f = wants;

	if (!wants || S->preempts > 0 || W->mm.retry != RETRY_P3_UPTODATE ||
	    strcmp(sim_class_of(wants), "folio") != 0 || !(f->state.v & FOLIO_WRITEBACK) ||
	    W->mm.stats[0].retries_vma.v + W->mm.stats[0].retries_mmap.v > W->retries)
		return;
	for (uint32_t i = 0; i < t->n_held; i++)
		if (!t->held[i].write && strcmp(sim_class_of(t->held[i].lock), "vma lock") == 0)
			sim_fail("PERF",
				 "%s waits for a folio under write-back with a VMA lock held",
				 t->name);
}
