/* SPDX-License-Identifier: MIT */
/* mm.c - the life of an address space, its lock and its budget. mm.h has the rest. */
#include "core/mm.h"

#include <errno.h>

#include "core/config.h"
#include "core/pgtable.h"
#include "core/reclaim.h"
#include "core/writeback.h"

void mm_write_lock(struct mm *mm)
{
	rwlock_write_lock(&mm->mmap_lock);
}

void mm_write_unlock(struct mm *mm)
{
	while (mm->write_locked) {
		struct vma *v = mm->write_locked;
		mm->write_locked = v->write_locked_next;
		v->write_locked = false;
		/* A detached one stays locked: a reader that still finds it fails. */
		if (!v->detached)
			rwlock_write_unlock(&v->lock);
		else
			rt_note_dropped(&v->lock);
	}
	rwlock_write_unlock(&mm->mmap_lock);
}

void mm_freeze(struct mm *mm)
{
	mm_write_lock(mm);
	struct vma_index *x = rt_load_ptr(&mm->index, RT_RELAXED);
	for (uint64_t i = 0; i < x->count; i++)
		vma_write_lock(mm, x->vma[i]);
}

void mm_thaw(struct mm *mm)
{
	mm_write_unlock(mm);
}

/* --- the budget --------------------------------------------------------- */

static void note_max(struct mm *mm, uint64_t now)
{
	uint64_t max = rt_load_u64(&mm->charged_max, RT_RELAXED);

	while (now > max && !rt_cas_u64(&mm->charged_max, max, now, RT_RELAXED))
		max = rt_load_u64(&mm->charged_max, RT_RELAXED);
}

/* Metadata is granted without asking: frames stop a little below the budget. */
static uint64_t metadata_room(uint64_t budget)
{
	uint64_t room = budget / 64;

	return room < CONFIG_ROOM_MIN   ? CONFIG_ROOM_MIN
	       : room > CONFIG_ROOM_MAX ? CONFIG_ROOM_MAX
					: room;
}

uint64_t mm_frame_limit(struct mm *mm)
{
	uint64_t budget = rt_load_u64(&mm->budget, RT_RELAXED);

	return budget - metadata_room(budget);
}

bool mm_charge_pages(struct mm *mm, uint64_t pages)
{
	uint64_t bytes = pages * RT_PAGE;

	for (;;) {
		uint64_t now = rt_load_u64(&mm->charged, RT_RELAXED);
		uint64_t budget = rt_load_u64(&mm->budget, RT_RELAXED);
		if (now + bytes > budget - metadata_room(budget))
			return false;
		if (rt_cas_u64(&mm->charged, now, now + bytes, RT_RELAXED)) {
			note_max(mm, now + bytes);
			if (now + bytes > budget - metadata_room(budget) - reclaim_low(mm))
				pager_kick(mm);
			return true;
		}
	}
}

int mm_charge_copy(struct mm *mm)
{
	uint64_t limit = mm_frame_limit(mm), floor = limit / 16;
	uint64_t fixed = rt_load_u64(&mm->metadata, RT_RELAXED) +
			 rt_load_u64(&mm->owned, RT_RELAXED) * RT_PAGE;

	/* Copies never go away: without a floor for the rest, nothing could be read. */
	if (floor < CONFIG_COPY_FLOOR * RT_PAGE)
		floor = CONFIG_COPY_FLOOR * RT_PAGE;
	if (fixed + RT_PAGE + floor > limit)
		return -ENOMEM;
	if (!mm_charge_pages(mm, 1))
		return -EAGAIN;
	rt_count_u64(&mm->owned, 1);
	return 0;
}

void mm_uncharge_pages(struct mm *mm, uint64_t pages)
{
	uint64_t old = rt_sub_u64(&mm->charged, pages * RT_PAGE, RT_RELAXED);

	ASSERT(old >= pages * RT_PAGE);
}

void mm_charge_metadata(struct mm *mm, uint64_t bytes)
{
	rt_count_u64(&mm->metadata, bytes);
	note_max(mm, rt_add_u64(&mm->charged, bytes, RT_RELAXED) + bytes);
}

bool mm_charge_buffers(struct mm *mm, uint64_t pages)
{
	if (!mm_charge_pages(mm, pages))
		return false;
	rt_count_u64(&mm->metadata, pages * RT_PAGE);
	return true;
}

void mm_uncharge_metadata(struct mm *mm, uint64_t bytes)
{
	rt_count_u64(&mm->metadata, -bytes);
	rt_count_u64(&mm->charged, -bytes);
}

/* --- open and close ----------------------------------------------------- */

static uint64_t bounce_pages(uint64_t budget)
{
	uint64_t pages = budget / 16 / RT_PAGE;
	uint64_t most = 8ull * ((1ull << CONFIG_READ_ORDER_MAX) + 1) + 2 * CONFIG_BOUNCE_RESERVE;

	return pages < 2 * CONFIG_BOUNCE_RESERVE ? 2 * CONFIG_BOUNCE_RESERVE
	       : pages < most                    ? pages
						 : most;
}

static int open_memory(struct mm *mm, uint64_t budget)
{
	slab_init(&mm->folios, mm, sizeof(struct folio), CONFIG_SLAB_BYTES);
	slab_init(&mm->nodes, mm, sizeof(struct radix_node), CONFIG_SLAB_BYTES);
	slab_init(&mm->table_nodes, mm, sizeof(struct radix_node), CONFIG_SLAB_BYTES / 4);
	slab_init(&mm->tables_slab, mm, sizeof(struct ptable), 2 * CONFIG_SLAB_BYTES);
	slab_init(&mm->vmas, mm, sizeof(struct vma), CONFIG_SLAB_BYTES);
	slab_init(&mm->anon_vmas, mm, sizeof(struct anon_vma), CONFIG_SLAB_BYTES / 4);
	mm->nodes.beside_bytes = CONFIG_HW_NODE_BYTES;
	mm->tables_slab.beside_bytes = CONFIG_HW_TABLE_BYTES;
	radix_init(&mm->tables, &mm->table_nodes);
	rt_lock_init(&mm->tables_lock);
	waitq_init(&mm->waitq);

	int err = bounce_init(&mm->bounce, mm, bounce_pages(budget));
	if (err)
		return err;
	struct vma_index *x = rt_pages_alloc(RT_PAGE);
	mm->write_scratch = rt_pages_alloc(CONFIG_WRITE_BATCH * sizeof(struct folio *));
	err = reclaim_init(mm);
	if (!x || !mm->write_scratch || err)
		return -ENOMEM;
	x->bytes = RT_PAGE;
	rt_store_ptr(&mm->index, x, RT_RELEASE);
	return 0;
}

static void free_memory(struct mm *mm)
{
	struct vma_index *x = rt_load_ptr(&mm->index, RT_RELAXED);

	reclaim_fini(mm);
	if (x)
		rt_pages_free(x, x->bytes);
	rt_pages_free(mm->write_scratch, CONFIG_WRITE_BATCH * sizeof(struct folio *));
	if (mm->bounce.pages)
		bounce_fini(&mm->bounce);
	slab_fini(&mm->anon_vmas);
	slab_fini(&mm->vmas);
	slab_fini(&mm->tables_slab);
	slab_fini(&mm->table_nodes);
	slab_fini(&mm->nodes);
	slab_fini(&mm->folios);
}

int mm_open(struct mm *mm, const struct mm_options *o)
{
	rwlock_init(&mm->mmap_lock);
	rt_note_class(&mm->mmap_lock, "mmap_lock");
	list_init(&mm->mappings);
	rt_lock_init(&mm->write_lock);
	rt_lock_init(&mm->later_lock);
	rt_lock_init(&mm->anon_lock);
	rt_store_u64(&mm->budget, o->budget, RT_RELAXED);
	mm->retry = o->retry;
	mm->ahead_max = o->ahead_max;
	mm->dirty_percent = o->dirty_percent;
	mm->rmap = o->rmap;
	mm->pager.tick = o->tick;
	mm->pager.tick_arg = o->tick_arg;

	int err = rt_mmu_open(&mm->mmu);
	if (err)
		return err;
	err = open_memory(mm, o->budget);
	if (err)
		goto no_memory;
	err = swap_open(mm, o->swap_handle, o->swap_bytes);
	if (err)
		goto no_memory;
	err = rt_ioq_open(&mm->ioq);
	if (err)
		goto no_queue;
	err = pager_start(mm);
	if (err)
		goto no_pager;
	return 0;
no_pager:
	rt_ioq_close(&mm->ioq);
no_queue:
	swap_close(mm);
no_memory:
	free_memory(mm);
	rt_mmu_close(&mm->mmu);
	return err;
}

int mm_close(struct mm *mm)
{
	int err = writeback_all(mm);

	pager_stop(mm);
	for (int i = 0; i < CONFIG_LATER; i++)
		if (mm->later[i].mapping)
			mapping_unhold(mm->later[i].mapping);
	mm_unmap(mm, 0, ~(RT_PAGE - 1));
	mm_write_lock(mm);
	while (!list_empty(&mm->mappings))
		mapping_destroy(list_entry(mm->mappings.next, struct mapping, by_mm));
	vma_reap(mm);
	mm_write_unlock(mm);
	rt_ioq_close(&mm->ioq);
	swap_drain(mm);
	ASSERT(rt_load_u64(&mm->cached, RT_RELAXED) == 0);
	ASSERT(rt_load_u64(&mm->anon, RT_RELAXED) == 0);
	ASSERT(rt_load_u64(&mm->committed, RT_RELAXED) == 0);
	swap_close(mm);
	frames_close(mm);
	ASSERT(rt_load_u64(&mm->owned, RT_RELAXED) == 0);
	ASSERT(rt_load_u64(&mm->mapped, RT_RELAXED) == 0);
	ASSERT(rt_load_u64(&mm->pinned, RT_RELAXED) == 0);
	free_memory(mm);
	ASSERT(rt_load_u64(&mm->charged, RT_RELAXED) == 0);
	rt_mmu_close(&mm->mmu);
	return err;
}
