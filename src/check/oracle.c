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
#include "core/anon.h"
#include "core/filemap.h"
#include "core/pgtable.h"
#include "core/stats.h"
#include "store/store.h"

#define FOLIOS 96

static struct {
	struct folio *folio[FOLIOS];
	uint32_t mapped[FOLIOS], pins[FOLIOS];
	unsigned n;
	uint64_t present, own, dirty, cached, bounced, pinned, removed;
	uint64_t anon; /* folios: with an entry, or cached at a slot */
	struct folio *anon_folio[FOLIOS];
	uint8_t slot[SIM_FILE_PAGES]; /* what names it, as struct swap's state has it */
	uint32_t slots;
	bool frame[SIM_POOL_FRAMES];
} seen;

/* As swap.c has them. */
#define SLOT_ENTRY 1u
#define SLOT_FOLIO 2u
#define SLOT_BAD   4u

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
	/* Removed, and still on the dirty stack. */
	for (const struct folio *f = m->dirty; f; f = f->dirty_next)
		seen.removed += f->mapping == NULL;
	REQUIRE(m->cached.v == pages, "COUNT", "a mapping counts %llu pages, and has %llu",
		(ull)m->cached.v, (ull)pages);
	seen.cached += pages;
}

/* --- anonymous pages --------------------------------------------------------------------- */

/* The content of a slot, a word of it. */
static uint64_t slot_word(uint32_t slot, unsigned word)
{
	return sim_file_word(W->scenario->swap_file, slot, word);
}

/* Is a page of memory what the shadow says of addr? */
static void content_is(uint64_t addr, const void *page, const char *where)
{
	unsigned region;
	int p;

	if (broken || !shadow_anon_at(addr, &region, &p))
		return;
	for (unsigned w = 0; w < SIM_WORDS; w++) {
		uint64_t got = *(const uint64_t *)((const char *)page + w * SIM_SECTOR);
		REQUIRE(got == W->anon[region][p][w], "DATA",
			"page %d of region %s word %u is %#llx %s; right is %#llx", p,
			W->scenario->region[region].name, w, (ull)got, where,
			(ull)W->anon[region][p][w]);
	}
}

static void slot_seen(uint32_t slot, uint8_t by, const char *what)
{
	REQUIRE(slot < W->mm.swap.slots, "SLOT", "%s names slot %u of %u", what, slot,
		W->mm.swap.slots);
	if (broken)
		return;
	REQUIRE(!(seen.slot[slot] & by), "SLOT", "two of a kind (%s) name slot %u", what, slot);
	seen.slot[slot] |= by;
}

static void anon_folio(const struct folio *f, uint32_t refs, uint64_t addr)
{
	for (unsigned i = 0; i < seen.anon; i++)
		REQUIRE(seen.anon_folio[i] != f, "EXCL", "the folio at %#llx is elsewhere, too",
			(ull)addr);
	if (broken || seen.anon == FOLIOS)
		return;
	seen.anon_folio[seen.anon++] = (struct folio *)f;
	REQUIRE(f->state.v & FOLIO_ANON, "STALE", "%#llx: a folio that is not anonymous",
		(ull)addr);
	REQUIRE(!(f->state.v & FOLIO_LOCKED), "LOCK", "the folio at %#llx is left locked",
		(ull)addr);
	REQUIRE(!(f->state.v & FOLIO_WRITEBACK), "WAKE",
		"the folio at %#llx stays under write-back", (ull)addr);
	REQUIRE(f->state.v & FOLIO_UPTODATE, "UPT", "the folio at %#llx is not uptodate",
		(ull)addr);
	REQUIRE(f->refs.v == refs, "REF", "the folio at %#llx has %u references, %u would be right",
		(ull)addr, f->refs.v, refs);
	REQUIRE(!list_empty(&f->lru), "LEAK", "the folio at %#llx is on no list of reclaim",
		(ull)addr);
	REQUIRE(!(f->state.v & FOLIO_DIRTY) || f->slot == 0, "SLOT",
		"the folio at %#llx is dirty, and keeps slot %u", (ull)addr, f->slot - 1);
	if (f->slot)
		slot_seen(f->slot - 1, SLOT_FOLIO, "a folio");
}

/* Clean is what the slot has, too, or zeros. */
static void clean_is(const struct folio *f, uint64_t addr, const uint8_t *page)
{
	for (unsigned w = 0; w < SIM_WORDS && !(f->state.v & FOLIO_DIRTY) && !broken; w++) {
		uint64_t got = *(const uint64_t *)(page + w * SIM_SECTOR);
		uint64_t want = f->slot ? slot_word(f->slot - 1, w) : 0;
		REQUIRE(got == want, "CLEAN", "%#llx is clean and has %#llx, where %s has %#llx",
			(ull)addr, (ull)got, f->slot ? "its slot" : "a page of zeros", (ull)want);
	}
}

static void anon_present(uint64_t addr, pte_t e, const struct sim_pte *hw)
{
	const struct folio *f = pte_folio(e);
	bool wp = hw->flags & SIM_PTE_WP;

	REQUIRE(f->frame == 0, "REF", "%#llx is mapped, and its folio has a frame", (ull)addr);
	REQUIRE(!(f->state.v & (FOLIO_BOUNCED | FOLIO_SWAPCACHE)), "REF",
		"%#llx is mapped, and its folio in a buffer or the swap cache", (ull)addr);
	REQUIRE(f->mapped.v == 1 && f->pins.v == pte_pins(e), "REF",
		"%#llx: the folio counts %u mappings, %u pins", (ull)addr, f->mapped.v, f->pins.v);
	/* For us alone: a call of the machine's that ended early might have done it. */
	REQUIRE(!(e & PTE_WP) || wp || f->state.v & FOLIO_DIRTY, "PTE",
		"%#llx is write-protected for us alone", (ull)addr);
	REQUIRE(e & PTE_WP || !wp, "PTE", "%#llx is write-protected for the machine alone",
		(ull)addr);
	REQUIRE(wp || f->state.v & FOLIO_DIRTY, "CLEAN",
		"%#llx is writable, and its folio is clean", (ull)addr);
	content_is(addr, S->frame[hw->frame], "in its frame");
	clean_is(f, addr, S->frame[hw->frame]);
	seen.present++;
	seen.pinned += pte_pins(e) > 0;
}

static void anon_idle(uint64_t addr, pte_t e)
{
	const struct folio *f = pte_folio(e);
	unsigned first = S->pool[W->mm.frames.pool.id].first;

	REQUIRE(f->frame > 0 && f->frame <= W->mm.frames.count, "REF",
		"%#llx is idle, and has no frame", (ull)addr);
	REQUIRE(f->mapped.v == 0 && f->pins.v == 0, "REF",
		"%#llx is idle: its folio counts %u mappings, %u pins", (ull)addr, f->mapped.v,
		f->pins.v);
	if (broken)
		return;
	REQUIRE(!seen.frame[f->frame - 1], "EXCL", "frame %u is of two folios", f->frame - 1);
	seen.frame[f->frame - 1] = true;
	unsigned slot = first + f->frame - 1;
	REQUIRE(S->pool_frame[slot], "UPT", "%#llx is idle, and its frame not there", (ull)addr);
	content_is(addr, S->pool_page[slot], "in the pool");
	clean_is(f, addr, S->pool_page[slot]);
}

/* A folio that waits in the cache, with the slot's content in a buffer. */
static void cached_at(uint32_t slot, const struct folio *f)
{
	REQUIRE(f->state.v & FOLIO_SWAPCACHE && f->slot == slot + 1, "REF",
		"the folio that is cached at slot %u is not of that slot", slot);
	REQUIRE(f->mapped.v == 0 && f->frame == 0, "REF",
		"the folio that is cached at slot %u is mapped, or has a frame", slot);
	REQUIRE(f->state.v & FOLIO_BOUNCED, "UPT", "the folio at slot %u has no content", slot);
	if (broken)
		return;
	anon_folio(f, 1, slot);
	seen.bounced++;
	for (unsigned w = 0; w < SIM_WORDS; w++) {
		uint64_t got = *(const uint64_t *)((const char *)f->bounced + w * SIM_SECTOR);
		REQUIRE(got == slot_word(slot, w), "DATA",
			"slot %u is cached as %#llx, and has %#llx", slot, (ull)got,
			(ull)slot_word(slot, w));
	}
}

static void anon_swapped(uint64_t addr, pte_t e)
{
	uint32_t slot = (uint32_t)pte_value(e);
	uint64_t page[RT_PAGE / 8] = { 0 };

	slot_seen(slot, SLOT_ENTRY, "an entry");
	if (broken)
		return;
	for (unsigned w = 0; w < SIM_WORDS; w++)
		page[w * SIM_SECTOR / 8] = slot_word(slot, w);
	content_is(addr, page, "in its slot");
}

static void anon_same(uint64_t addr, pte_t e)
{
	uint64_t word = (uint32_t)pte_value(e), page[RT_PAGE / 8];

	REQUIRE(word != 0, "PTE", "%#llx is zeros, and has an entry", (ull)addr);
	for (unsigned i = 0; i < RT_PAGE / 8; i++)
		page[i] = word << 32 | word;
	content_is(addr, page, "in its entry");
}

/* RMAP: the page is found from its folio. */
static void anon_found(const struct vma *v, uint64_t addr, const struct folio *f)
{
	REQUIRE(f->anon.v && f->anon.v == v->anon_vma.v, "RMAP",
		"the folio at %#llx is of another anon_vma than its VMA", (ull)addr);
	REQUIRE(f->index == vma_index_at(v, addr), "RMAP",
		"the folio at %#llx has index %llu, and %llu there", (ull)addr, (ull)f->index,
		(ull)vma_index_at(v, addr));
}

static void anon_entry(const struct vma *v, uint64_t addr, pte_t e, const struct sim_pte *hw)
{
	unsigned kinds =
		!!(e & PTE_PRESENT) + !!(e & PTE_IDLE) + !!(e & PTE_SWAP) + !!(e & PTE_SAME);

	REQUIRE(kinds == 1 && e & PTE_OWN, "PTE", "%#llx has an entry of no kind: %#llx", (ull)addr,
		(ull)e);
	REQUIRE(!!(e & PTE_PRESENT) == !!(hw->flags & SIM_PTE_PRESENT), "PTE",
		"%#llx: we and the machine differ on whether it is mapped", (ull)addr);
	if (broken)
		return;
	if (e & (PTE_PRESENT | PTE_IDLE)) {
		anon_folio(pte_folio(e), 1, addr);
		anon_found(v, addr, pte_folio(e));
	}
	if (broken)
		return;
	if (e & PTE_PRESENT)
		anon_present(addr, e, hw);
	else if (e & PTE_IDLE)
		anon_idle(addr, e);
	else if (e & PTE_SWAP)
		anon_swapped(addr, e);
	else
		anon_same(addr, e);
}

/* Where there is no entry there are zeros. */
static void anon_holes(void)
{
	static const uint64_t zeros[RT_PAGE / 8];

	for (unsigned r = 0; r < W->scenario->regions; r++)
		for (int p = 0; p < SIM_FILE_PAGES && W->addr[r]; p++) {
			uint64_t addr = W->addr[r] + (uint64_t)p * RT_PAGE;
			struct ptable *t = ptable_lookup(&W->mm, addr);
			if (W->scenario->region[r].anon && (!t || t->pte[pte_slot(addr)] == 0))
				content_is(addr, zeros, "where nothing is");
		}
}

static void check_swap(void)
{
	struct swap *s = &W->mm.swap;
	uint32_t used = 0, bad = 0, slot;
	void *value;
	uint64_t key;

	for (uint64_t at = 0; radix_gang(&s->cache, at, SLOT_NONE, &value, &key, 1) > 0;
	     at = key + 1)
		cached_at((uint32_t)key, value);
	for (slot = 0; slot < s->slots && !broken; slot++) {
		bool is_bad = s->state[slot] & SLOT_BAD;
		used += s->state[slot] != 0;
		bad += is_bad;
		REQUIRE(is_bad ? s->state[slot] == SLOT_BAD && !seen.slot[slot]
			       : s->state[slot] == seen.slot[slot],
			"SLOT", "slot %u is %u, what names it %u (1: an entry, 2: a folio, 4: bad)",
			slot, s->state[slot], seen.slot[slot]);
		REQUIRE(bitmap_test(s->taken, slot) == (s->state[slot] != 0), "SLOT",
			"slot %u is free in one place alone", slot);
	}
	REQUIRE(s->used == used && s->bad == bad, "COUNT",
		"%u slots are used, %u bad; counted %u, %u", used, bad, s->used, s->bad);
	REQUIRE(s->lock.owner == 0, "LOCK", "swap.lock is left locked");
}

static void check_frames(void)
{
	struct frames *s = &W->mm.frames;

	for (uint32_t i = 0; i < s->count && !broken; i++) {
		unsigned slot = S->pool[s->pool.id].first + i;
		REQUIRE(bitmap_test(s->taken, i) == seen.frame[i], "LEAK",
			"frame %u is %s, and %s folio has it", i,
			bitmap_test(s->taken, i) ? "taken" : "free", seen.frame[i] ? "a" : "no");
		REQUIRE(!S->pool_frame[slot] || seen.frame[i], "LEAK",
			"frame %u is there, and no folio has it", i);
	}
}

/* How many objects of a slab are in use. */
static uint64_t in_use(const struct slab *s)
{
	uint64_t n = 0, each = (s->chunk_bytes - 64) / s->object_bytes;

	for (void *c = s->chunks; c; c = *(void **)c)
		n += each;
	for (void *f = s->free; f; f = *(void **)((char *)f + s->object_bytes - 8))
		n--;
	return n;
}

static unsigned vmas_of(const struct anon_vma *a)
{
	struct vma_index *x = W->mm.index.v;
	struct list_node *pos;
	unsigned n = 0;

	list_for_each(pos, &a->vmas)
	{
		const struct vma *v = list_entry(pos, struct vma, by_anon);
		bool there = false;
		for (uint64_t i = 0; i < x->count; i++)
			there = there || x->vma[i] == v;
		REQUIRE(there, "RMAP", "a VMA that is gone is on the list of an anon_vma");
		REQUIRE(v->anon_vma.v == a, "RMAP", "a VMA is on the list of another anon_vma");
		if (broken || ++n > SIM_VIEWS)
			break;
	}
	return n;
}

static void check_anon_vmas(void)
{
	struct vma_index *x = W->mm.index.v;
	const struct anon_vma *known[SIM_VIEWS];
	unsigned n = 0;

	for (uint64_t i = 0; i < x->count && !broken; i++) {
		const struct anon_vma *a = x->vma[i]->anon_vma.v;
		unsigned vmas = 0, at = 0;
		if (!a)
			continue;
		while (at < n && known[at] != a)
			at++;
		if (at < n)
			continue;
		known[n++] = a;
		for (uint64_t k = 0; k < x->count; k++)
			vmas += x->vma[k]->anon_vma.v == a;
		REQUIRE(vmas_of(a) == vmas, "RMAP", "an anon_vma has %u VMAs on its list, of %u",
			vmas_of(a), vmas);
		REQUIRE(a->refs.v == vmas, "REF", "an anon_vma has %u references, and %u VMAs",
			a->refs.v, vmas);
		REQUIRE(a->lock.word.v == 0, "LOCK", "an anon_vma is left locked: %#x",
			a->lock.word.v);
	}
	REQUIRE(in_use(&W->mm.anon_vmas) == n, "LEAK", "%llu anon_vmas, and VMAs have %u",
		(ull)in_use(&W->mm.anon_vmas), n);
}

static void check_anon_counters(void)
{
	struct mm *mm = &W->mm;
	struct vma_index *x = mm->index.v;
	uint64_t committed = 0;

	for (uint64_t i = 0; i < x->count; i++)
		if (x->vma[i]->committed)
			committed += (x->vma[i]->end - x->vma[i]->start) / RT_PAGE;
	REQUIRE(mm->committed.v == committed, "COUNT", "%llu pages committed, counted %lld",
		(ull)committed, (long long)mm->committed.v);
	REQUIRE(mm->anon.v == seen.anon, "COUNT", "%llu anonymous pages, counted %lld",
		(ull)seen.anon, (long long)mm->anon.v);
	REQUIRE(mm->swapping.v == 0, "COUNT", "%lld pages are being swapped, and nothing runs",
		(long long)mm->swapping.v);
	REQUIRE(mm->inflight.v == 0, "COUNT", "%lld pages in flight, and nothing runs",
		(long long)mm->inflight.v);
	REQUIRE(in_use(&mm->folios) == seen.n + seen.removed + seen.anon, "LEAK",
		"%llu folios in use, %llu are found", (ull)in_use(&mm->folios),
		(ull)(seen.n + seen.anon));
	REQUIRE(mm->anon_lock.owner == 0 && mm->frames.lock.owner == 0, "LOCK",
		"anon_lock or frames.lock is left locked");
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
	if (v && !v->mapping) {
		anon_entry(v, addr, e, hw);
		return;
	}
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
	REQUIRE(mm->charged.v == mm->metadata.v + (seen.cached + seen.own + seen.anon) * RT_PAGE,
		"COUNT", "%llu bytes charged; metadata %llu and %llu frames make %llu",
		(ull)mm->charged.v, (ull)mm->metadata.v, (ull)(seen.cached + seen.own + seen.anon),
		(ull)(mm->metadata.v + (seen.cached + seen.own + seen.anon) * RT_PAGE));
	REQUIRE(list_pages(&mm->lru.cold) == mm->lru.cold_pages &&
			list_pages(&mm->lru.hot) == mm->lru.hot_pages &&
			mm->lru.cold_pages + mm->lru.hot_pages == seen.cached + seen.anon,
		"COUNT", "reclaim's lists: cold %llu, hot %llu, cached %llu, anonymous %llu",
		(ull)mm->lru.cold_pages, (ull)mm->lru.hot_pages, (ull)seen.cached, (ull)seen.anon);
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
	memset(&seen, 0, sizeof(seen));
	list_for_each(pos, &W->mm.mappings) collect_folios(list_entry(pos, struct mapping, by_mm));
	REQUIRE(seen.bounced == 0, "LEAK", "%llu pages keep their buffer", (ull)seen.bounced);
	walk_tables();
	check_swap();
	check_frames();
	anon_holes();
	for (unsigned i = 0; i < seen.n && !broken; i++)
		if (seen.folio[i]->mapping)
			folio_check(seen.folio[i]->mapping, seen.folio[i], i);
	check_counters();
	check_anon_counters();
	check_anon_vmas();
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

/* --- anonymous pages, as it happens -------------------------------------------------------------
 */

static void *as_driver(const struct radix *tree, uint64_t key)
{
	int cur = S->cur;

	S->cur = -1;
	void *value = radix_lookup(tree, key);
	S->cur = cur;
	return value;
}

static struct ptable *table_at(uint64_t addr)
{
	return as_driver(&W->mm.tables, addr >> TABLE_SHIFT);
}

/* The entry at addr, whose table the thread has locked. */
static pte_t entry_of(uint64_t addr, const char *does)
{
	struct ptable *t = table_at(addr);

	if (!t || t->lock.owner != (uint32_t)S->cur + 2)
		sim_fail("LOCK", "%s %s a page at %#llx, whose table it has not locked",
			 S->t[S->cur].name, does, (ull)addr);
	return t->pte[pte_slot(addr)];
}

static void need_locked(const struct folio *f, uint64_t addr, const char *does)
{
	if (!(f->state.v & FOLIO_LOCKED))
		sim_fail("UPT", "%s %s the page at %#llx, whose folio is not locked",
			 S->t[S->cur].name, does, (ull)addr);
}

static void on_fill(uint64_t addr)
{
	pte_t e = entry_of(addr, "fills");
	const char *name = S->t[S->cur].name;

	if (e & PTE_PRESENT)
		sim_fail("EXCL", "%s fills the page at %#llx, which is there", name, (ull)addr);
	if (e & PTE_IDLE)
		need_locked(pte_folio(e), addr, "fills");
	if (!(e & PTE_SWAP))
		return;
	struct folio *f = as_driver(&W->mm.swap.cache, pte_value(e));
	if (!f)
		sim_fail("UPT", "%s fills the page at %#llx, whose slot %llu is not cached", name,
			 (ull)addr, (ull)pte_value(e));
	need_locked(f, addr, "fills");
	if (!(f->state.v & FOLIO_UPTODATE))
		sim_fail("UPT", "%s fills the page at %#llx, which was not read", name, (ull)addr);
}

static void on_put(uint64_t frame, uint64_t addr)
{
	pte_t e = entry_of(addr, "puts");
	const char *name = S->t[S->cur].name;

	if (!(e & PTE_IDLE) || pte_folio(e)->frame != frame + 1)
		sim_fail("EXCL", "%s puts frame %llu to %#llx, which is not that page's", name,
			 (ull)frame, (ull)addr);
	need_locked(pte_folio(e), addr, "puts");
	if (pte_folio(e)->state.v & FOLIO_WRITEBACK)
		sim_fail("UPT", "%s puts the page at %#llx, which is being written", name,
			 (ull)addr);
}

/* Taken, or moved: nobody else may be at it. */
static void on_gone(uint64_t addr, const char *does, bool pins)
{
	pte_t e = entry_of(addr, does);
	const char *name = S->t[S->cur].name;

	if (!(e & PTE_PRESENT))
		sim_fail("PTE", "%s %s the page at %#llx, which is not mapped", name, does,
			 (ull)addr);
	need_locked(pte_folio(e), addr, does);
	if (pte_pins(e) > 0 && !pins)
		sim_fail("EXCL", "%s %s the page at %#llx, which is pinned", name, does, (ull)addr);
}

/* Design A: who looks for the folio without its lock has the anon_vma's. */
static void need_anon_write(const struct folio *f, uint64_t addr)
{
	const struct sim_thread *t = &S->t[S->cur];
	const struct anon_vma *a = f->anon.v;

	for (uint32_t i = 0; i < t->n_held; i++)
		if (t->held[i].lock == (const void *)&a->lock && t->held[i].write)
			return;
	if (W->mm.rmap == RMAP_A_UNLOCKED)
		sim_fail("RMAP", "%s moves the page at %#llx while others may look for it", t->name,
			 (ull)addr);
}

static void on_moved(uint64_t src, uint64_t dst)
{
	struct ptable *t = table_at(dst);

	/* By the core's note the entry has moved; by the machine it is still to. */
	entry_of(src, "moves");
	entry_of(dst, "moves");
	pte_t e = t->pte[pte_slot(dst)];
	if (e & PTE_IDLE) {
		need_locked(pte_folio(e), src, "moves");
		need_anon_write(pte_folio(e), src);
	}
	if (W->moving[S->cur])
		W->moved[S->cur]++;
	shadow_anon_moved(src, dst);
}

/* A frame of the pool goes, and what is in it: no entry may need it. */
static void on_frame_drop(uint64_t frame)
{
	uint64_t first = SIM_VBASE >> TABLE_SHIFT;

	for (uint64_t key = first; key <= first + SIM_VPAGES / PTES; key++) {
		struct ptable *t = as_driver(&W->mm.tables, key);
		for (unsigned i = 0; t && i < PTES; i++) {
			uint64_t addr = (key << TABLE_SHIFT) + i * RT_PAGE;
			if (!(t->pte[i] & PTE_IDLE) || pte_folio(t->pte[i])->frame != frame + 1)
				continue;
			/* A copy of it is mapped already, and the entry about to say so. */
			if (S->pte[(addr - SIM_VBASE) / RT_PAGE].flags & SIM_PTE_PRESENT)
				continue;
			sim_fail("UPT", "%s drops the frame of the page at %#llx, which is idle",
				 S->t[S->cur].name, (ull)addr);
		}
	}
}

void oracle_on_page(enum sim_page what, uint64_t from, uint64_t to)
{
	switch (what) {
	case SIM_PAGE_FILL:
		on_fill(from);
		break;
	case SIM_PAGE_TAKE:
		on_gone(from, "takes", false);
		break;
	case SIM_PAGE_PUT:
		on_put(from, to);
		break;
	case SIM_PAGE_MOVE:
		on_gone(from, "moves", !W->moving[S->cur]);
		need_anon_write(pte_folio(entry_of(from, "moves")), from);
		if (entry_of(to, "moves to") != 0)
			sim_fail("EXCL", "%s moves a page to %#llx, where one is",
				 S->t[S->cur].name, (ull)to);
		break;
	case SIM_PAGE_DROP:
		on_frame_drop(from);
		break;
	case SIM_PAGE_MOVED:
		on_moved(from, to);
		break;
	case SIM_PAGE_LOST:
		shadow_anon_lost(from);
		break;
	}
}

void oracle_on_write(unsigned file, uint64_t page, unsigned word, uint64_t value)
{
	const struct swap *s = &W->mm.swap;

	(void)word;
	(void)value;
	if (file != W->scenario->swap_file)
		return;
	if (page >= s->slots || s->state[page] != SLOT_FOLIO)
		sim_fail("SLOT", "%s writes to slot %llu, which no folio has", S->t[S->cur].name,
			 (ull)page);
}

bool oracle_has_entry(const struct folio *f)
{
	uint64_t first = SIM_VBASE >> TABLE_SHIFT;

	for (uint64_t key = first; key <= first + SIM_VPAGES / PTES; key++) {
		struct ptable *t = as_driver(&W->mm.tables, key);
		for (unsigned i = 0; t && i < PTES; i++)
			if (t->pte[i] & (PTE_PRESENT | PTE_IDLE) && pte_folio(t->pte[i]) == f)
				return true;
	}
	return false;
}
