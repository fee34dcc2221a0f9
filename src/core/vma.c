/* SPDX-License-Identifier: MIT */
/* vma.c - finding, locking, splitting and merging VMAs. vma.h has the protocol. */
#include "core/vma.h"

#include <errno.h>

#include "core/anon_vma.h"
#include "core/mm.h"

static struct vma_index *index_of(struct mm *mm)
{
	return rt_load_ptr(&mm->index, RT_ACQUIRE); /* release: vma_replace() */
}

/* The place of the first VMA that ends above addr. */
static uint64_t index_search(const struct vma_index *x, uint64_t addr)
{
	uint64_t low = 0, high = x->count;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		if (x->vma[mid]->end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

struct vma *vma_find(struct mm *mm, uint64_t addr)
{
	struct vma_index *x = index_of(mm);
	uint64_t at = index_search(x, addr);

	return at < x->count ? x->vma[at] : NULL;
}

struct vma *vma_lock_under_rcu(struct mm *mm, uint64_t addr)
{
	struct vma *v;

	rt_rcu_read_lock();
	v = vma_find(mm, addr);
	if (v && !rwlock_read_trylock(&v->lock)) {
		COVER(vma_trylock_lost);
		v = NULL;
	}
	rt_rcu_read_unlock();
	if (!v)
		return NULL;
	/* Under its lock it cannot change: is it (still) the one we wanted? */
	if (v->detached || addr < v->start || addr >= v->end) {
		rwlock_read_unlock(&v->lock);
		return NULL;
	}
	return v;
}

void vma_read_unlock(struct vma *v)
{
	rwlock_read_unlock(&v->lock);
}

void vma_write_lock(struct mm *mm, struct vma *v)
{
	rwlock_assert_write(&mm->mmap_lock);
	if (v->write_locked)
		return;
	rwlock_write_lock(&v->lock);
	v->write_locked = true;
	v->write_locked_next = mm->write_locked;
	mm->write_locked = v;
}

struct vma *vma_new(struct mm *mm)
{
	struct vma *v = slab_alloc(&mm->vmas);

	if (!v)
		return NULL;
	rt_note_live(v, sizeof(*v));
	*v = (struct vma){ .advice = VMA_NORMAL };
	rwlock_init(&v->lock);
	rt_note_class(&v->lock, "vma lock");
	rt_lock_init(&v->streams_lock);
	list_init(&v->by_mapping);
	list_init(&v->by_anon);
	return v;
}

void vma_free(struct mm *mm, struct vma *v)
{
	rt_note_free(v, sizeof(*v));
	slab_free(&mm->vmas, v);
}

static void retire(struct mm *mm, struct vma_index *old, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct vma *v = old->vma[i];
		ASSERT(v->write_locked);
		v->detached = true;
		v->retired_next = mm->retired_vmas;
		mm->retired_vmas = v;
	}
	old->retired_next = mm->retired_indexes;
	mm->retired_indexes = old;
	mm->retired += 1 + (uint32_t)(to - from);
}

int vma_replace(struct mm *mm, uint64_t start, uint64_t end, struct vma **add, unsigned n)
{
	struct vma_index *old = index_of(mm);
	uint64_t from = index_search(old, start), to = from;

	rwlock_assert_write(&mm->mmap_lock);
	while (to < old->count && old->vma[to]->start < end)
		to++;
	uint64_t count = old->count - (to - from) + n;
	size_t bytes = sizeof(*old) + count * sizeof(old->vma[0]);
	bytes = (bytes + RT_PAGE - 1) & ~(RT_PAGE - 1);
	struct vma_index *x = rt_pages_alloc(bytes);
	if (!x)
		return -ENOMEM;
	mm_charge_metadata(mm, bytes);
	x->count = count;
	x->bytes = bytes;
	for (uint64_t i = 0; i < from; i++)
		x->vma[i] = old->vma[i];
	for (unsigned i = 0; i < n; i++)
		x->vma[from + i] = add[i];
	for (uint64_t i = to; i < old->count; i++)
		x->vma[from + n + (i - to)] = old->vma[i];
	rt_store_ptr(&mm->index, x, RT_RELEASE); /* pairs with index_of() */
	retire(mm, old, from, to);
	if (mm->retired > CONFIG_REAP_AFTER)
		vma_reap(mm);
	return 0;
}

void vma_reap(struct mm *mm)
{
	struct vma *keep = NULL;

	if (mm->retired == 0)
		return;
	rt_rcu_synchronize();
	while (mm->retired_vmas) {
		struct vma *v = mm->retired_vmas;
		mm->retired_vmas = v->retired_next;
		if (v->write_locked) { /* still on the list of mm_write_unlock() */
			v->retired_next = keep;
			keep = v;
		} else {
			vma_free(mm, v);
		}
	}
	mm->retired_vmas = keep;
	while (mm->retired_indexes) {
		struct vma_index *x = mm->retired_indexes;
		mm->retired_indexes = x->retired_next;
		mm_uncharge_metadata(mm, x->bytes);
		rt_pages_free(x, x->bytes);
	}
	mm->retired = 0;
	for (struct vma *v = keep; v; v = v->retired_next)
		mm->retired++;
}

/* A new VMA like v over [start, end), on the list of its mapping. */
static struct vma *clone(struct mm *mm, struct vma *v, uint64_t start, uint64_t end)
{
	struct vma *n = vma_new(mm);

	if (!n)
		return NULL;
	n->start = start;
	n->end = end;
	n->index = vma_index_at(v, start);
	n->mapping = v->mapping;
	n->rights = v->rights;
	n->private = v->private;
	n->committed = v->committed;
	n->may_write = v->may_write;
	n->advice = v->advice;
	n->on_error = v->on_error;
	n->on_error_arg = v->on_error_arg;
	return n;
}

void vma_link(struct vma *v)
{
	struct mapping *m = v->mapping;

	if (!m)
		return;
	rt_lock(&m->views_lock);
	list_add(&m->views_list, &v->by_mapping);
	rt_unlock(&m->views_lock);
	m->views++;
}

void vma_unlink(struct mm *mm, struct vma *v)
{
	struct mapping *m = v->mapping;

	anon_vma_unlink(mm, v);
	if (!m)
		return;
	rt_lock(&m->views_lock);
	list_del(&v->by_mapping);
	rt_unlock(&m->views_lock);
	m->views--;
}

int vma_split_at(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_find(mm, addr), *add[2];

	if (!v || v->start >= addr)
		return 0;
	add[0] = clone(mm, v, v->start, addr);
	add[1] = clone(mm, v, addr, v->end);
	if (!add[0] || !add[1])
		goto no_memory;
	vma_write_lock(mm, v);
	/* The halves begin write-locked: a fault waits for the whole change. */
	vma_write_lock(mm, add[0]);
	vma_write_lock(mm, add[1]);
	/* A walker must find the pages through one of them at any time. */
	for (int i = 0; i < 2; i++) {
		anon_vma_clone(add[i], v);
		vma_link(add[i]);
	}
	int err = vma_replace(mm, v->start, v->end, add, 2);
	if (err) {
		vma_unlink(mm, add[0]);
		vma_unlink(mm, add[1]);
		add[0]->detached = add[1]->detached = true; /* never seen; reaped later */
		for (int i = 0; i < 2; i++) {
			add[i]->retired_next = mm->retired_vmas;
			mm->retired_vmas = add[i];
			mm->retired++;
		}
		return err;
	}
	vma_unlink(mm, v);
	return 0;
no_memory:
	if (add[0])
		vma_free(mm, add[0]);
	if (add[1])
		vma_free(mm, add[1]);
	return -ENOMEM;
}

static bool can_merge(const struct vma *a, const struct vma *b)
{
	void *x = rt_load_ptr(&a->anon_vma, RT_RELAXED), *y = rt_load_ptr(&b->anon_vma, RT_RELAXED);

	if (x != y && x && y)
		return false; /* their pages are found by two ways */
	return a->end == b->start && a->mapping == b->mapping && a->rights == b->rights &&
	       a->committed == b->committed && a->private == b->private &&
	       a->may_write == b->may_write && a->advice == b->advice &&
	       a->on_error == b->on_error && a->on_error_arg == b->on_error_arg &&
	       vma_index_end(a) == b->index;
}

void vma_merge_around(struct mm *mm, uint64_t start, uint64_t end)
{
	struct vma *a = vma_find(mm, start > 0 ? start - 1 : 0);

	while (a && a->start <= end) {
		struct vma *b = vma_find(mm, a->end);
		if (!b || !can_merge(a, b)) {
			a = b;
			continue;
		}
		struct vma *joined = clone(mm, a, a->start, b->end);
		if (!joined)
			return;
		vma_write_lock(mm, a);
		vma_write_lock(mm, b);
		vma_write_lock(mm, joined);
		anon_vma_clone(joined, rt_load_ptr(&a->anon_vma, RT_RELAXED) ? a : b);
		vma_link(joined);
		if (vma_replace(mm, a->start, b->end, &joined, 1) != 0) {
			vma_unlink(mm, joined);
			joined->detached = true;
			joined->retired_next = mm->retired_vmas;
			mm->retired_vmas = joined;
			mm->retired++;
			return;
		}
		vma_unlink(mm, a);
		vma_unlink(mm, b);
		a = joined;
	}
}
