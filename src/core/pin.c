/* SPDX-License-Identifier: MIT */
/* pin.c - see pin.h. */
#include "core/pin.h"

#include <errno.h>

#include "core/anon.h"
#include "core/fault.h"
#include "core/filemap.h"
#include "core/pgtable.h"
#include "core/readahead.h"
#include "core/reclaim.h"
#include "core/swap_ahead.h"
#include "core/truncate.h"

static void start_reading(struct mm *mm, uint64_t addr, uint64_t len, bool later);

/* Pin the page at addr if it is mapped as wanted. 1: pinned; 0: fault it in first;
 * -ENOENT: no VMA there. */
static int pin_mapped(struct mm *mm, uint64_t addr, bool write)
{
	int done = 0;

	rwlock_read_lock(&mm->mmap_lock);
	struct vma *v = vma_find(mm, addr);
	if (!v || addr < v->start) {
		rwlock_read_unlock(&mm->mmap_lock);
		return -ENOENT;
	}
	struct ptable *t = ptable_lookup(mm, addr);
	if (t && v->rights & (write ? RT_WRITE : RT_READ)) {
		rt_lock(&t->lock);
		pte_t e = t->pte[pte_slot(addr)];
		bool ready = pte_is_copy(e) || (e & PTE_PRESENT && (!write || !(e & PTE_WP)));
		if (ready && pte_pin(mm, t, addr))
			done = 1;
		rt_unlock(&t->lock);
	}
	rwlock_read_unlock(&mm->mmap_lock);
	return done;
}

static int fault_in(struct mm *mm, uint64_t addr, bool write)
{
	struct fault_error e;

	switch (mm_fault(mm, addr, write, 0, &e)) {
	case FAULT_END_DONE:
		return 0;
	case FAULT_END_FOREIGN:
		return -ENOENT;
	default:
		return e.error == ENOMEM ? -ENOMEM : -EFAULT;
	}
}

static int pin_page(struct mm *mm, uint64_t addr, bool write)
{
	/* A page may be unmapped between fault and pin: bounded, reclaim is not that fast. */
	for (int i = 0; i < CONFIG_PIN_TRIES; i++) {
		int got = pin_mapped(mm, addr, write);
		if (got)
			return got < 0 ? got : 0;
		int err = fault_in(mm, addr, write);
		if (err)
			return err;
	}
	COVER(pin_gave_up);
	return -ENOMEM;
}

int mm_pin(struct mm *mm, uint64_t addr, uint64_t len, bool write)
{
	uint64_t first = addr & ~(RT_PAGE - 1), end = addr + len;

	if (end - first > 4 * RT_PAGE)
		start_reading(mm, first, end - first, false);
	for (uint64_t at = first; at < end; at += RT_PAGE) {
		int err = pin_page(mm, at, write);
		if (err == -ENOENT)
			continue;
		if (err) {
			mm_unpin(mm, first, at - first);
			return err;
		}
	}
	return 0;
}

void mm_unpin(struct mm *mm, uint64_t addr, uint64_t len)
{
	rwlock_read_lock(&mm->mmap_lock);
	for (uint64_t at = addr & ~(RT_PAGE - 1); at < addr + len; at += RT_PAGE) {
		struct vma *v = vma_find(mm, at);
		struct ptable *t = v && at >= v->start ? ptable_lookup(mm, at) : NULL;
		if (!t)
			continue;
		rt_lock(&t->lock);
		pte_unpin(mm, t, at);
		rt_unlock(&t->lock);
	}
	rwlock_read_unlock(&mm->mmap_lock);
}

int mm_populate(struct mm *mm, uint64_t addr, uint64_t len, bool write)
{
	struct fault_error e;

	/* What is cached is mapped, what is not is asked for; nobody waits ... */
	for (uint64_t at = addr; !write && at < addr + len; at += RT_PAGE)
		mm_fault(mm, at, false, FAULT_RETRY_NOWAIT, &e);
	/* ... and then for each in turn. */
	for (uint64_t at = addr; at < addr + len; at += RT_PAGE) {
		int err = fault_in(mm, at, write);
		if (err)
			return err == -ENOENT ? -ENOMEM : err;
	}
	return 0;
}

/* The next VMA that shows a part of [*at, end), and which: [*from, *to); *at moves past it.
 * NULL: no more. Needs: mmap_lock. */
static struct vma *next_stretch(struct mm *mm, uint64_t *at, uint64_t end, uint64_t *from,
				uint64_t *to)
{
	struct vma *v = *at < end ? vma_find(mm, *at) : NULL;

	if (!v || v->start >= end)
		return NULL;
	*from = v->start > *at ? v->start : *at;
	*to = v->end < end ? v->end : end;
	*at = v->end;
	return v;
}

/* Start reading what is not in memory of [from, to) of v; later: and go on when there is room.
 * Swapped pages are only read as far as there is room now. */
static void read_stretch(struct mm *mm, struct vma *v, uint64_t from, uint64_t to, bool later)
{
	uint64_t index = vma_index_at(v, from), end = index + ((to - from) >> RT_PAGE_SHIFT);

	if (!v->mapping) {
		swap_ahead(mm, v, index, end);
		return;
	}
	uint64_t next = readahead_submit(v->mapping, index, end);
	if (next < end && next < mapping_pages(v->mapping) && later)
		readahead_later(v->mapping, next, end);
}

static void start_reading(struct mm *mm, uint64_t addr, uint64_t len, bool later)
{
	uint64_t at = addr, from, to;
	struct vma *v;

	rwlock_read_lock(&mm->mmap_lock);
	while ((v = next_stretch(mm, &at, addr + len, &from, &to)) != NULL)
		read_stretch(mm, v, from, to, later);
	rwlock_read_unlock(&mm->mmap_lock);
}

void mm_willneed(struct mm *mm, uint64_t addr, uint64_t len)
{
	start_reading(mm, addr, len, true);
}

static void deactivate_file(struct mm *mm, struct mapping *m, uint64_t index, uint64_t end)
{
	void *value;
	uint64_t key;

	for (uint64_t at = index; radix_gang(&m->folios, at, end, &value, &key, 1) > 0;
	     at = key + 1) {
		struct folio *f = filemap_get(m, key);
		if (!f)
			continue;
		lru_deactivate(mm, f);
		folio_put(mm, f);
	}
}

/* Let go of [from, to) of v: now, or first when memory is short. */
static void deactivate_stretch(struct mm *mm, struct vma *v, uint64_t from, uint64_t to, bool now)
{
	uint64_t index = vma_index_at(v, from), end = index + ((to - from) >> RT_PAGE_SHIFT);

	if (!v->mapping && now && v->rights) /* the machine takes from what it can read */
		anon_pageout(mm, from, to);
	else if (!v->mapping)
		anon_deactivate(mm, from, to);
	else if (now)
		mapping_invalidate(v->mapping, index, end);
	else
		deactivate_file(mm, v->mapping, index, end);
}

void mm_deactivate(struct mm *mm, uint64_t addr, uint64_t len, bool now)
{
	uint64_t at = addr, from, to;
	struct vma *v;

	rwlock_read_lock(&mm->mmap_lock);
	while ((v = next_stretch(mm, &at, addr + len, &from, &to)) != NULL)
		deactivate_stretch(mm, v, from, to, now);
	rwlock_read_unlock(&mm->mmap_lock);
}
