/* SPDX-License-Identifier: MIT */
/* rmap.c - see rmap.h. */
#include "core/rmap.h"

#include "core/mm.h"

/* Does v show page `index` of f? Then its table is locked. */
static bool look_at(struct mm *mm, struct vma *v, uint64_t index, const struct folio *f,
		    struct rmap *r)
{
	if (index < v->index || index >= vma_index_end(v))
		return false;
	r->v = v;
	r->addr = vma_addr_of(v, index);
	r->table = ptable_lookup(mm, r->addr);
	if (!r->table)
		return false;
	rt_lock(&r->table->lock);
	r->pte = &r->table->pte[pte_slot(r->addr)];
	if (*r->pte & (PTE_PRESENT | PTE_IDLE) && pte_folio(*r->pte) == f)
		return true;
	rt_unlock(&r->table->lock);
	return false;
}

bool rmap_lock(struct mm *mm, struct folio *f, bool try, struct rmap *r)
{
	struct list_node *pos;
	bool contended;

	r->anon = anon_vma_lock_read(mm, f, try, &contended);
	if (!r->anon)
		return false;
	/* Only now: a move within one anon_vma changes the index alone (2c). */
	uint64_t index = f->index;
	list_for_each(pos, &r->anon->vmas)
	{
		if (look_at(mm, list_entry(pos, struct vma, by_anon), index, f, r))
			return true;
	}
	anon_vma_unlock_read(mm, r->anon);
	return false;
}

void rmap_unlock(struct mm *mm, struct rmap *r)
{
	rt_unlock(&r->table->lock);
	anon_vma_unlock_read(mm, r->anon);
}
