/* SPDX-License-Identifier: MIT */
/* anon_vma.c - see anon_vma.h. */
#include "core/anon_vma.h"

#include <errno.h>

#include "core/mm.h"

static struct anon_vma *anon_vma_new(struct mm *mm)
{
	struct anon_vma *a = slab_alloc(&mm->anon_vmas);

	if (!a)
		return NULL;
	ASSERT(rt_load_u32(&a->refs, RT_RELAXED) == 0);
	rwlock_init(&a->lock);
	rt_note_class(&a->lock, "anon_vma lock");
	list_init(&a->vmas);
	rt_store_u32(&a->write_error, 0, RT_RELAXED);
	rt_store_u32(&a->refs, 1, RT_RELEASE); /* pairs with tryget() */
	return a;
}

static bool tryget(struct anon_vma *a)
{
	for (;;) {
		uint32_t refs = rt_load_u32(&a->refs, RT_RELAXED);
		if (refs == 0)
			return false;
		if (rt_cas_u32(&a->refs, refs, refs + 1, RT_ACQUIRE))
			return true;
	}
}

void anon_vma_put(struct mm *mm, struct anon_vma *a)
{
	uint32_t old = rt_sub_u32(&a->refs, 1, RT_ACQ_REL);

	ASSERT(old > 0);
	if (old == 1)
		slab_free(&mm->anon_vmas, a);
}

/* --- VMAs --------------------------------------------------------------------- */

static struct anon_vma *of(const struct vma *v)
{
	return rt_load_ptr(&v->anon_vma, RT_ACQUIRE); /* release: link() */
}

/* Needs: a's lock for writing. */
static void link(struct vma *v, struct anon_vma *a)
{
	rt_add_u32(&a->refs, 1, RT_RELAXED);
	list_add(&a->vmas, &v->by_anon);
	rt_store_ptr(&v->anon_vma, a, RT_RELEASE);
}

/* Could v and n, which lie side by side, become one VMA? */
static bool compatible(const struct vma *v, const struct vma *n)
{
	return n->mapping == v->mapping && n->private && v->private &&
	       n->may_write == v->may_write &&
	       (n->end == v->start ? vma_index_end(n) == v->index
				   : n->start == v->end && vma_index_end(v) == n->index);
}

/* The anon_vma of a neighbour of v, or NULL. */
static struct anon_vma *mergeable(struct mm *mm, const struct vma *v)
{
	struct vma *near[2] = { vma_find(mm, v->end),
				v->start ? vma_find(mm, v->start - 1) : NULL };

	for (int i = 0; i < 2; i++)
		if (near[i] && near[i] != v && of(near[i]) && compatible(v, near[i]))
			return of(near[i]);
	return NULL;
}

int anon_vma_prepare(struct mm *mm, struct vma *v)
{
	if (of(v))
		return 0;
	/* The mmap_lock keeps v and its neighbours, and so theirs; of two faults one is first. */
	rt_lock(&mm->anon_lock);
	struct anon_vma *a = of(v) ? NULL : mergeable(mm, v);
	struct anon_vma *fresh = NULL;
	if (!a && !of(v))
		a = fresh = anon_vma_new(mm);
	int err = a || of(v) ? 0 : -ENOMEM;
	if (a) {
		rwlock_write_lock(&a->lock);
		link(v, a);
		rwlock_write_unlock(&a->lock);
	}
	rt_unlock(&mm->anon_lock);
	if (fresh)
		anon_vma_put(mm, fresh); /* v's list entry keeps it */
	return err;
}

void anon_vma_clone(struct vma *v, const struct vma *from)
{
	struct anon_vma *a = of(from);

	if (!a)
		return;
	rwlock_write_lock(&a->lock);
	link(v, a);
	rwlock_write_unlock(&a->lock);
}

void anon_vma_unlink(struct mm *mm, struct vma *v)
{
	struct anon_vma *a = of(v);

	if (!a)
		return;
	rwlock_write_lock(&a->lock);
	list_del(&v->by_anon);
	rwlock_write_unlock(&a->lock);
	anon_vma_put(mm, a);
}

/* --- from a folio --------------------------------------------------------------- */

struct anon_vma *anon_vma_get(struct mm *mm, struct folio *f)
{
	(void)mm;
	for (;;) {
		struct anon_vma *a = rt_load_ptr(&f->anon, RT_ACQUIRE);
		if (!a)
			return NULL;
		if (!tryget(a))
			return NULL; /* its last VMA is gone, and with it every entry of f */
		/* It may have become another's since it was sampled. */
		if (rt_load_ptr(&f->anon, RT_ACQUIRE) == a)
			return a;
		COVER(anon_vma_get_lost);
		anon_vma_put(mm, a);
	}
}

struct anon_vma *anon_vma_lock_read(struct mm *mm, struct folio *f, bool try, bool *contended)
{
	*contended = false;
	for (;;) {
		struct anon_vma *a = anon_vma_get(mm, f);
		if (!a)
			return NULL;
		bool fast = rwlock_read_trylock(&a->lock);
		if (!fast && try) {
			*contended = true;
			anon_vma_put(mm, a);
			return NULL;
		}
		if (!fast)
			rwlock_read_lock(&a->lock);
		/* Design A: a mover may have been here since the look (2a on the fast path, 2b
		 * on the slow one). From here on none can be: it wants this lock for writing. */
		if (rt_load_ptr(&f->anon, RT_ACQUIRE) == a)
			return a;
		if (fast)
			COVER(anon_vma_moved_fast);
		else
			COVER(anon_vma_moved_slow);
		anon_vma_unlock_read(mm, a);
	}
}

void anon_vma_unlock_read(struct mm *mm, struct anon_vma *a)
{
	rwlock_read_unlock(&a->lock);
	anon_vma_put(mm, a);
}
