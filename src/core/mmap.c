/* SPDX-License-Identifier: MIT */
/*
 * mmap.c - the calls that change an address space: map, unmap, protect, remap,
 * advise. mm.h has the prototypes.
 *
 * Each takes the mmap_lock for writing, splits at the ends of its range, write-locks
 * the VMAs inside (their faults drain), changes them, and merges what became equal.
 * A range that is changed stays locked until all of the change is visible.
 */
#include <errno.h>

#include "core/anon.h"
#include "core/filemap.h"
#include "core/mm.h"
#include "core/move.h"
#include "core/pgtable.h"
#include "core/reclaim.h"
#include "core/writeback.h"

#define RESIDENT_CHUNK   256
#define INDEX_OF_ADDRESS UINT64_MAX
#define BACK_TRIES       100 /* each of many tries on its own */

bool mm_covered(struct mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t end = addr + len;

	for_each_vma_in(mm, v, addr, end)
	{
		if (v->start > addr)
			return false;
		addr = v->end;
	}
	return addr >= end;
}

/* --- unmap ---------------------------------------------------------------- */

/* The room around [start, end) in which no VMA is left, for page tables. */
static void gap_around(struct mm *mm, uint64_t *start, uint64_t *end)
{
	struct vma_index *x = rt_load_ptr(&mm->index, RT_RELAXED);
	uint64_t low = 0, high = ~(RT_PAGE - 1);

	for (uint64_t i = 0; i < x->count; i++) {
		if (x->vma[i]->end <= *start)
			low = x->vma[i]->end;
		if (x->vma[i]->start >= *end) {
			high = x->vma[i]->start;
			break;
		}
	}
	*start = low;
	*end = high;
}

/* Take every VMA in [start, end) out; both are boundaries. keep_view: the machine's
 * view is replaced by the caller. Needs: mmap_lock for writing, part_view() before. */
static int unmap_locked(struct mm *mm, uint64_t start, uint64_t end, bool keep_view)
{
	for_each_vma_in(mm, v, start, end)
	{
		vma_write_lock(mm, v);
		/* No new fault, and none in flight: what is mapped stays mapped. */
		pgtable_zap(mm, v, v->start, v->end, ZAP_SHARED);
	}
	for (;;) {
		struct vma *v = vma_find(mm, start);
		if (!v || v->start >= end)
			break;
		uint64_t from = v->start, len = v->end - v->start;
		int err = vma_replace(mm, v->start, v->end, NULL, 0);
		if (err)
			return err;
		/* It goes for sure: now its copies may, too. */
		if (v->private)
			pgtable_zap(mm, v, v->start, v->end, ZAP_ALL);
		vma_unlink(mm, v);
		if (v->committed)
			mm_uncommit(mm, len >> RT_PAGE_SHIFT);
		if (!keep_view)
			rt_view_close(&mm->mmu, from, len);
		if (v->mapping)
			mapping_release(v->mapping);
	}
	gap_around(mm, &start, &end);
	pgtable_free(mm, start, end);
	return 0;
}

/*
 * What lies between neighbours of ours may be the middle of what the machine holds as one
 * view: for what is left of that it needs one more, and may have no room for it. So that
 * it says so now, and not when there is no VMA any more behind what it cannot close.
 */
static int part_view(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma *before = start > 0 ? vma_find(mm, start - 1) : NULL;
	struct vma *after = vma_find(mm, end);

	if (!before || before->start >= start || !after || after->start > end ||
	    !mm_covered(mm, start, end - start))
		return 0;
	return rt_view_part(&mm->mmu, start, end - start);
}

static int unmap_range(struct mm *mm, uint64_t start, uint64_t end, bool keep_view)
{
	int err = part_view(mm, start, end);

	if (!err)
		err = vma_split_at(mm, start);
	if (!err)
		err = vma_split_at(mm, end);
	if (!err)
		err = unmap_locked(mm, start, end, keep_view);
	return err;
}

int mm_unmap(struct mm *mm, uint64_t addr, uint64_t len)
{
	mm_write_lock(mm);
	int err = unmap_range(mm, addr, addr + len, false);
	mm_write_unlock(mm);
	return err;
}

/* --- map -------------------------------------------------------------------- */

/* The mapping of store: the one that is there, or a new one. Consumes store. */
static int mapping_for(struct mm *mm, struct store *store, struct mapping **out)
{
	struct mapping *m = mapping_find(mm, store);

	if (!m) {
		int err = mapping_open(mm, store, out);
		if (err)
			store->ops->close(store);
		return err;
	}
	if (store->writable && !m->store->writable) {
		/* The first view was read-only: this one brings the right to write. */
		m->store->ops->upgrade(m->store, store);
	} else {
		store->ops->close(store);
	}
	*out = m;
	return 0;
}

/* m NULL: anonymous memory, whose pages have the index that is given, or INDEX_OF_ADDRESS. */
static int view_new(struct mm *mm, struct mapping *m, uint64_t index, uint64_t len, unsigned rights,
		    unsigned flags, uint64_t *addr)
{
	struct vma *v = vma_new(mm);
	int err = -ENOMEM;

	if (!v)
		return err;
	err = m ? rt_object_grow(&m->object, index + (len >> RT_PAGE_SHIFT)) : 0;
	if (!err)
		err = rt_view_open(&mm->mmu, m ? &m->object : NULL, m ? index : 0, len, rights,
				   flags, addr);
	if (err)
		goto no_view;
	v->start = *addr;
	v->end = *addr + len;
	v->index = index == INDEX_OF_ADDRESS ? *addr >> RT_PAGE_SHIFT : index;
	v->mapping = m;
	v->rights = rights;
	v->private = flags & RT_VIEW_PRIVATE;
	v->may_write = flags & RT_VIEW_MAY_WRITE;
	/* Write-locked until mm_write_unlock(), as every VMA in the making. */
	vma_write_lock(mm, v);
	err = vma_replace(mm, v->start, v->end, &v, 1);
	if (err)
		goto no_index;
	if (m)
		vma_link(v);
	return 0;
no_index:
	v->detached = true;
	v->retired_next = mm->retired_vmas;
	mm->retired_vmas = v;
	mm->retired++;
	rt_view_close(&mm->mmu, *addr, len);
	return err;
no_view:
	vma_free(mm, v);
	return err;
}

/* Make [start, end) ours to replace: what is ours there goes, but keeps its addresses,
 * and what is between must be free: we replace nobody else's memory. */
static int claim_range(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t at = start;
	int err = 0;

	while (!err && at < end) {
		struct vma *v = vma_find(mm, at);
		uint64_t next = v && v->start < end ? v->start : end;
		if (next > at)
			err = rt_view_reserve(&mm->mmu, at, next - at);
		if (err)
			break;
		at = v && v->start < end ? v->end : end;
	}
	if (!err)
		err = unmap_range(mm, start, end, true);
	if (!err)
		return 0;
	/* Give back the gaps that were taken, and what is there no VMA of any more. */
	for (uint64_t undo = start; undo < at;) {
		struct vma *v = vma_find(mm, undo);
		uint64_t next = v && v->start < at ? v->start : at;
		if (next > undo)
			rt_view_close(&mm->mmu, undo, next - undo);
		undo = v && v->start < at ? v->end : at;
	}
	return err == -EEXIST ? -EINVAL : err;
}

/* Metadata pushes frames out, but half of the budget is for frames. */
static bool room_to_map(struct mm *mm)
{
	return rt_load_u64(&mm->metadata, RT_RELAXED) <= rt_load_u64(&mm->budget, RT_RELAXED) / 2 &&
	       reclaim_direct(mm, CONFIG_MAP_ROOM);
}

int mm_map(struct mm *mm, struct store *store, uint64_t index, uint64_t len, unsigned rights,
	   unsigned flags, uint64_t *addr)
{
	struct mapping *m;
	bool claimed = false;

	if (!room_to_map(mm)) {
		store->ops->close(store);
		return -ENOMEM;
	}
	mm_write_lock(mm);
	int err = mapping_for(mm, store, &m);
	if (err)
		goto out;
	/* What is ours at a fixed address goes first; what is not stays: -EINVAL. */
	if (flags & RT_VIEW_FIXED && !(flags & RT_VIEW_NOREPLACE)) {
		mapping_hold(m);
		err = claim_range(mm, *addr, *addr + len);
		claimed = err == 0;
		rt_sub_u32(&m->holds, 1, RT_RELEASE);
	}
	if (!err)
		err = view_new(mm, m, index, len, rights, flags, addr);
	if (err && flags & RT_VIEW_FIXED && claimed)
		rt_view_close(&mm->mmu, *addr, len);
	if (err)
		mapping_release(m);
	else
		vma_merge_around(mm, *addr, *addr + len);
out:
	mm_write_unlock(mm);
	return err;
}

/* --- anonymous memory ---------------------------------------------------------- */

/*
 * Count `pages` of writable memory. -ENOMEM: they would not all find a place, in the swap
 * store and in what the budget leaves to frames; as overcommit=never has it. force: said
 * all the same to be wanted, and there is a store. Needs: mmap_lock for writing.
 */
static int commit(struct mm *mm, uint64_t pages, bool force)
{
	uint64_t frames = mm_frame_limit(mm) / RT_PAGE, floor = frames / 16;
	uint64_t now = rt_load_u64(&mm->committed, RT_RELAXED);

	if (floor < CONFIG_COPY_FLOOR)
		floor = CONFIG_COPY_FLOOR;
	uint64_t fixed = rt_load_u64(&mm->metadata, RT_RELAXED) / RT_PAGE + floor;
	uint64_t most = mm->swap.slots + (frames > fixed ? frames - fixed : 0);
	if (now + pages > most && !(force && mm->swap.slots > 0))
		return -ENOMEM;
	rt_count_u64(&mm->committed, pages);
	return 0;
}

void mm_uncommit(struct mm *mm, uint64_t pages)
{
	rt_count_u64(&mm->committed, -pages);
}

int mm_map_anon(struct mm *mm, uint64_t len, unsigned rights, unsigned flags, bool noreserve,
		uint64_t *addr)
{
	uint64_t pages = len >> RT_PAGE_SHIFT;
	bool claimed = false, committed = rights & RT_WRITE;

	if (!room_to_map(mm))
		return -ENOMEM;
	flags |= RT_VIEW_PRIVATE | RT_VIEW_MAY_WRITE;
	mm_write_lock(mm);
	int err = frames_open(mm);
	if (!err && flags & RT_VIEW_FIXED && !(flags & RT_VIEW_NOREPLACE)) {
		err = claim_range(mm, *addr, *addr + len);
		claimed = err == 0;
	}
	if (!err && committed)
		err = commit(mm, pages, noreserve);
	committed = committed && !err;
	if (!err)
		err = view_new(mm, NULL, INDEX_OF_ADDRESS, len, rights, flags, addr);
	if (err && committed)
		mm_uncommit(mm, pages);
	if (err && claimed)
		rt_view_close(&mm->mmu, *addr, len);
	if (!err) {
		vma_find(mm, *addr)->committed = committed;
		vma_merge_around(mm, *addr, *addr + len);
	}
	mm_write_unlock(mm);
	return err;
}

/* --- protect, advise --------------------------------------------------------- */

/* Split at both ends and write-lock what is in between. */
static int lock_range(struct mm *mm, uint64_t addr, uint64_t end)
{
	if (!mm_covered(mm, addr, end - addr))
		return -ENOMEM;
	int err = vma_split_at(mm, addr);
	if (!err)
		err = vma_split_at(mm, end);
	if (err)
		return err;
	for_each_vma_in(mm, v, addr, end) vma_write_lock(mm, v);
	return 0;
}

/* Reclaim takes pages out of v with its anon_vma locked, and no lock of v: it must find one that
 * the machine can read. Needs: v write-locked. */
static int set_rights(struct mm *mm, struct vma *v, unsigned rights)
{
	struct anon_vma *a = rt_load_ptr(&v->anon_vma, RT_RELAXED);

	if (a)
		rwlock_write_lock(&a->lock);
	int err = rt_view_protect(&mm->mmu, v->start, v->end - v->start, rights);
	if (!err)
		v->rights = rights;
	if (a)
		rwlock_write_unlock(&a->lock);
	return err;
}

/* Needs: v write-locked. */
static int protect_one(struct mm *mm, struct vma *v, unsigned rights)
{
	bool commits = !v->mapping && rights & RT_WRITE && !v->committed;
	uint64_t pages = (v->end - v->start) >> RT_PAGE_SHIFT;
	int err = commits ? commit(mm, pages, true) : 0;

	if (err)
		return err;
	/* The machine takes no page out of a view that it cannot write, or put one in: what is
	 * there goes to frames first, and comes back by copies. */
	if (!v->mapping && !(rights & RT_WRITE) && v->rights)
		anon_idle_range(mm, v->start, v->end);
	err = set_rights(mm, v, rights);
	if (err && commits)
		mm_uncommit(mm, pages);
	if (err)
		return err;
	v->committed = v->committed || commits;
	return 0;
}

int mm_protect(struct mm *mm, uint64_t addr, uint64_t len, unsigned rights)
{
	uint64_t end = addr + len;

	mm_write_lock(mm);
	int err = lock_range(mm, addr, end);
	if (err)
		goto out;
	for_each_vma_in(mm, v, addr, end)
	{
		if (rights & RT_WRITE && !v->may_write) {
			err = -EACCES;
			goto out;
		}
	}
	for_each_vma_in(mm, v, addr, end)
	{
		err = protect_one(mm, v, rights);
		if (err)
			break;
	}
	vma_merge_around(mm, addr, end);
out:
	mm_write_unlock(mm);
	return err;
}

int mm_advise(struct mm *mm, uint64_t addr, uint64_t len, enum vma_advice advice)
{
	mm_write_lock(mm);
	int err = lock_range(mm, addr, addr + len);
	if (!err) {
		for_each_vma_in(mm, v, addr, addr + len) v->advice = advice;
		vma_merge_around(mm, addr, addr + len);
	}
	mm_write_unlock(mm);
	return err;
}

int mm_set_on_error(struct mm *mm, uint64_t addr, uint64_t len, void (*fn)(void), void *arg)
{
	mm_write_lock(mm);
	int err = lock_range(mm, addr, addr + len);
	if (!err) {
		for_each_vma_in(mm, v, addr, addr + len)
		{
			v->on_error = fn;
			v->on_error_arg = arg;
		}
		vma_merge_around(mm, addr, addr + len);
	}
	mm_write_unlock(mm);
	return err;
}

int mm_dontneed(struct mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t end = addr + len;
	int err = 0;

	/* For reading, as the kernel: faults of the range go on meanwhile. */
	rwlock_read_lock(&mm->mmap_lock);
	if (!mm_covered(mm, addr, len))
		err = -ENOMEM;
	for_each_vma_in(mm, v, addr, end)
	{
		uint64_t from = v->start > addr ? v->start : addr;
		uint64_t to = v->end < end ? v->end : end;
		pgtable_zap(mm, v, from, to, v->private ? ZAP_ALL : ZAP_RECLAIM);
	}
	rwlock_read_unlock(&mm->mmap_lock);
	return err;
}

/* --- remap --------------------------------------------------------------------- */

static unsigned flags_of(const struct vma *v)
{
	return (v->private ? RT_VIEW_PRIVATE : 0) | (v->may_write ? RT_VIEW_MAY_WRITE : 0);
}

/* Grow v in place: a view of the same mapping right behind it. */
static int grow_in_place(struct mm *mm, struct vma *v, uint64_t more)
{
	uint64_t at = v->end, end = v->end + more;
	struct vma *next = vma_find(mm, v->end);
	unsigned flags = RT_VIEW_FIXED | RT_VIEW_NOREPLACE | flags_of(v);

	if (next && next->start < end)
		return -ENOMEM;
	int err = v->committed ? commit(mm, more >> RT_PAGE_SHIFT, true) : 0;
	if (err)
		return err;
	err = view_new(mm, v->mapping, vma_index_end(v), more, v->rights, flags, &at);
	if (err && v->committed)
		mm_uncommit(mm, more >> RT_PAGE_SHIFT);
	if (err)
		return err == -EEXIST ? -ENOMEM : err;
	struct vma *n = vma_find(mm, at);
	n->committed = v->committed;
	n->advice = v->advice;
	n->on_error = v->on_error;
	n->on_error_arg = v->on_error_arg;
	return 0;
}

/* Was the page at addr own? It is none afterwards. A neighbour may share the table. */
static bool take_own(struct ptable *t, uint64_t addr)
{
	rt_lock(&t->lock);
	bool own = t->pte[pte_slot(addr)] & PTE_OWN;
	if (own) {
		t->pte[pte_slot(addr)] = 0;
		t->present--;
	}
	rt_unlock(&t->lock);
	return own;
}

/* Move the private copies of v to the new view at `to`, page by page of the table. */
static int move_private(struct mm *mm, struct vma *v, uint64_t len, uint64_t to)
{
	for (uint64_t off = 0; off < len; off += RT_PAGE)
		if (!ptable_get(mm, to + off))
			return -ENOMEM;
	/* Only the copies may move, pinned or not: write protection does not survive. */
	pgtable_zap(mm, v, v->start, v->start + len, ZAP_SHARED);
	int err = rt_view_move(&mm->mmu, v->start, len, to, v->rights);
	if (err)
		return err;
	for (uint64_t off = 0; off < len; off += RT_PAGE) {
		struct ptable *from = ptable_lookup(mm, v->start + off);
		struct ptable *dest = ptable_get(mm, to + off);
		if (!from || !take_own(from, v->start + off))
			continue;
		rt_lock(&dest->lock);
		dest->pte[pte_slot(to + off)] = PTE_OWN;
		dest->present++;
		rt_unlock(&dest->lock);
	}
	return 0;
}

/* Back to the start of `from`. That must not fail: who would find the pages elsewhere? What the
 * machine cannot do for a moment it can do later. */
static void move_anon_back(struct mm *mm, struct vma *from, struct vma *to, uint64_t len)
{
	uint64_t done = 0, moved;

	for (unsigned tries = 0; done < len; tries++) {
		ASSERT(tries < BACK_TRIES);
		move_pages(mm, from, to, from->start + done, to->start + done, len - done, &moved);
		done += moved;
	}
}

/*
 * All pages of the first `len` bytes of `from` come to the start of `to`, which has the same
 * index: so a page keeps its, and is found by the same anon_vma. If it fails, they are back.
 * Needs: both write-locked.
 */
static int move_anon(struct mm *mm, struct vma *to, struct vma *from, uint64_t len)
{
	uint64_t moved;

	if (!rt_load_ptr(&from->anon_vma, RT_RELAXED))
		return 0; /* there is none */
	anon_vma_clone(to, from);
	int err = move_pages(mm, to, from, to->start, from->start, len, &moved);
	if (err)
		move_anon_back(mm, from, to, moved);
	return err;
}

static int move_view(struct mm *mm, struct vma *v, uint64_t old_len, uint64_t new_len, bool fixed,
		     uint64_t *addr)
{
	unsigned flags = (fixed ? RT_VIEW_FIXED : 0) | flags_of(v);
	uint64_t old = v->start, keep = old_len < new_len ? old_len : new_len;
	int err = 0;

	if (fixed) {
		if (v->mapping)
			mapping_hold(v->mapping);
		err = claim_range(mm, *addr, *addr + new_len);
		if (v->mapping)
			rt_sub_u32(&v->mapping->holds, 1, RT_RELEASE);
	} else {
		*addr = 0;
	}
	if (err)
		return err;
	enum vma_advice advice = v->advice;
	void (*on_error)(void) = v->on_error;
	void *arg = v->on_error_arg;
	bool anon = !v->mapping, private = v->private && !anon, committed = v->committed;
	vma_write_lock(mm, v);
	if (committed)
		err = commit(mm, new_len >> RT_PAGE_SHIFT, true);
	committed = committed && !err;
	if (!err && !private)
		err = part_view(mm, old, old + old_len);
	if (!err)
		err = view_new(mm, v->mapping, v->index, new_len, v->rights, flags, addr);
	if (err) {
		if (committed)
			mm_uncommit(mm, new_len >> RT_PAGE_SHIFT);
		if (fixed) /* nobody's any more */
			rt_view_close(&mm->mmu, *addr, new_len);
		return err;
	}
	struct vma *n = vma_find(mm, *addr);
	n->advice = advice;
	n->on_error = on_error;
	n->on_error_arg = arg;
	n->committed = committed;
	if (private)
		err = move_private(mm, v, keep, *addr);
	else if (anon)
		err = move_anon(mm, n, v, keep);
	if (err) {
		unmap_range(mm, *addr, *addr + new_len, false);
		return err;
	}
	/* The machine took that view along, but for what the new one has no place for. */
	err = unmap_locked(mm, old, old + old_len, private);
	if (!err && private && keep < old_len)
		rt_view_close(&mm->mmu, old + keep, old_len - keep);
	if (err && anon)
		move_anon_back(mm, vma_find(mm, old), n, keep);
	if (err && !private)
		unmap_range(mm, *addr, *addr + new_len, false); /* the old one is as it was */
	return err;
}

int mm_remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, bool may_move,
	     bool fixed, uint64_t *addr)
{
	int err = -EFAULT;

	mm_write_lock(mm);
	struct vma *v = vma_find(mm, old);
	if (!v || old < v->start || old + old_len > v->end)
		goto out;
	if (fixed && *addr < old + old_len && old < *addr + new_len) {
		err = -EINVAL;
		goto out;
	}
	if (!fixed && new_len <= old_len) {
		*addr = old;
		err = new_len < old_len ? unmap_range(mm, old + new_len, old + old_len, false) : 0;
		goto out;
	}
	err = -ENOMEM;
	if (!fixed && old + old_len == v->end) {
		err = grow_in_place(mm, v, new_len - old_len);
		if (!err) {
			*addr = old;
			vma_merge_around(mm, old, old + new_len);
			goto out;
		}
	}
	if (!may_move)
		goto out;
	err = vma_split_at(mm, old);
	if (!err)
		err = vma_split_at(mm, old + old_len);
	if (!err)
		err = move_view(mm, vma_find(mm, old), old_len, new_len, fixed, addr);
out:
	mm_write_unlock(mm);
	return err;
}

/* --- looking ---------------------------------------------------------------------- */

/* Is it in memory, and newer than the swap store? */
static unsigned char anon_state(pte_t e)
{
	if (e & PTE_SAME)
		return 1;
	if (!(e & (PTE_PRESENT | PTE_IDLE)))
		return 0;
	return e & PTE_PRESENT && !(e & PTE_WP) ? 1 | 4 : 1;
}

static unsigned char page_state(struct mm *mm, struct vma *v, uint64_t addr)
{
	struct ptable *t = ptable_lookup(mm, addr);
	unsigned char bits = 0;

	if (t) {
		rt_lock(&t->lock);
		pte_t e = t->pte[pte_slot(addr)];
		rt_unlock(&t->lock);
		if (pte_is_copy(e))
			return 1 | 2;
		if (e & PTE_PRESENT)
			bits |= 2;
		if (!v->mapping)
			return bits | anon_state(e);
	}
	struct folio *f = v->mapping ? filemap_get(v->mapping, vma_index_at(v, addr)) : NULL;
	if (f) {
		if (folio_test(f, FOLIO_UPTODATE))
			bits |= 1;
		if (folio_test(f, FOLIO_DIRTY))
			bits |= 4;
		folio_put(mm, f);
	}
	return bits;
}

/* Up to RESIDENT_CHUNK pages from addr into `state`: not into the caller's vector, which
 * may be managed memory, while the mmap_lock is held. */
static int resident_chunk(struct mm *mm, uint64_t addr, uint64_t pages, unsigned char *state)
{
	int err = 0;

	rwlock_read_lock(&mm->mmap_lock);
	if (!mm_covered(mm, addr, pages * RT_PAGE))
		err = -ENOMEM;
	for (uint64_t i = 0; !err && i < pages; i++) {
		uint64_t at = addr + i * RT_PAGE;
		state[i] = page_state(mm, vma_find(mm, at), at);
	}
	rwlock_read_unlock(&mm->mmap_lock);
	return err;
}

int mm_resident(struct mm *mm, uint64_t addr, uint64_t len, unsigned char *vec)
{
	unsigned char state[RESIDENT_CHUNK];
	uint64_t pages = len >> RT_PAGE_SHIFT;

	for (uint64_t done = 0; done < pages;) {
		uint64_t n = pages - done < RESIDENT_CHUNK ? pages - done : RESIDENT_CHUNK;
		int err = resident_chunk(mm, addr + done * RT_PAGE, n, state);
		if (err)
			return err;
		for (uint64_t i = 0; i < n; i++)
			vec[done + i] = state[i];
		done += n;
	}
	return 0;
}
