/* SPDX-License-Identifier: MIT */
/* swap.c - see swap.h. */
#include "core/swap.h"

#include <errno.h>

#include "base/bitmap.h"
#include "core/anon.h"
#include "core/mm.h"

#define SLOT_ENTRY 1u
#define SLOT_FOLIO 2u
#define SLOT_BAD   4u

static size_t map_bytes(uint32_t slots)
{
	size_t bytes = (slots + 7u) / 8 * 8 + BITMAP_WORDS(slots) * sizeof(uint64_t);

	return (bytes + RT_PAGE - 1) & ~(RT_PAGE - 1);
}

int swap_open(struct mm *mm, int handle, uint64_t bytes)
{
	struct swap *s = &mm->swap;
	uint64_t slots = bytes / RT_PAGE;

	rt_lock_init(&s->lock);
	radix_init(&s->cache, &mm->nodes);
	if (handle < 0)
		return 0;
	if (slots == 0 || slots >= SLOT_NONE)
		return -EINVAL;
	s->state = rt_pages_alloc(map_bytes((uint32_t)slots));
	if (!s->state)
		return -ENOMEM;
	s->taken = (uint64_t *)(s->state + (slots + 7) / 8 * 8);
	int err = rt_file_open(&s->file, handle, true, true);
	if (err) {
		rt_pages_free(s->state, map_bytes((uint32_t)slots));
		return err;
	}
	mm_charge_metadata(mm, map_bytes((uint32_t)slots));
	s->slots = (uint32_t)slots;
	return 0;
}

void swap_close(struct mm *mm)
{
	struct swap *s = &mm->swap;

	if (s->slots == 0)
		return;
	rt_file_close(&s->file);
	mm_uncharge_metadata(mm, map_bytes(s->slots));
	rt_pages_free(s->state, map_bytes(s->slots));
	s->slots = 0;
}

/* --- slots ------------------------------------------------------------------------ */

/* Needs: s->lock. */
static void set_state(struct swap *s, uint32_t slot, uint8_t state)
{
	if (!s->state[slot] && state) {
		bitmap_set_run(s->taken, slot, 1);
		s->used++;
	} else if (s->state[slot] && !state) {
		bitmap_clear_run(s->taken, slot, 1);
		s->used--;
	}
	s->state[slot] = state;
}

/* The longest run of at most n from the hint on, else from the start. Needs: s->lock. */
static size_t find_run(struct swap *s, uint32_t *n)
{
	for (; *n > 0; *n /= 2) {
		size_t at = bitmap_find_run_from(s->taken, s->slots, s->hint, *n);
		if (at == BITMAP_NONE)
			at = bitmap_find_run(s->taken, s->slots, *n);
		if (at != BITMAP_NONE)
			return at;
	}
	return BITMAP_NONE;
}

uint32_t swap_alloc(struct mm *mm, uint32_t *n)
{
	struct swap *s = &mm->swap;

	if (s->slots == 0)
		return SLOT_NONE;
	rt_lock(&s->lock);
	size_t at = s->used < s->slots ? find_run(s, n) : BITMAP_NONE;
	if (at == BITMAP_NONE) {
		COVER(swap_full);
		rt_unlock(&s->lock);
		return SLOT_NONE;
	}
	for (uint32_t i = 0; i < *n; i++)
		set_state(s, (uint32_t)at + i, SLOT_FOLIO);
	s->hint = (uint32_t)(at + *n < s->slots ? at + *n : 0);
	rt_unlock(&s->lock);
	return (uint32_t)at;
}

bool swap_has_room(struct mm *mm)
{
	rt_lock(&mm->swap.lock);
	bool has = mm->swap.used < mm->swap.slots;
	rt_unlock(&mm->swap.lock);
	return has;
}

void swap_free(struct mm *mm, uint32_t slot, bool bad)
{
	struct swap *s = &mm->swap;

	rt_lock(&s->lock);
	ASSERT(s->state[slot] == SLOT_FOLIO);
	set_state(s, slot, bad ? SLOT_BAD : 0);
	s->bad += bad;
	rt_unlock(&s->lock);
}

void swap_set_entry(struct mm *mm, uint32_t slot)
{
	struct swap *s = &mm->swap;

	rt_lock(&s->lock);
	ASSERT(s->state[slot] == SLOT_FOLIO);
	set_state(s, slot, SLOT_ENTRY);
	rt_unlock(&s->lock);
}

bool swap_has_entry(struct mm *mm, uint32_t slot)
{
	rt_lock(&mm->swap.lock);
	bool has = mm->swap.state[slot] & SLOT_ENTRY;
	rt_unlock(&mm->swap.lock);
	return has;
}

/* --- the cache ---------------------------------------------------------------------- */

struct folio *swap_get(struct mm *mm, uint32_t slot)
{
	struct folio *f;

	for (;;) {
		rt_rcu_read_lock();
		f = radix_lookup(&mm->swap.cache, slot);
		if (!f) {
			rt_rcu_read_unlock();
			return NULL;
		}
		bool got = folio_tryget(f);
		rt_rcu_read_unlock();
		if (!got) {
			COVER(swap_get_lost);
			continue;
		}
		/* The structure may have become another folio before we held it. */
		if (radix_lookup(&mm->swap.cache, slot) == f)
			return f;
		folio_put(mm, f);
	}
}

int swap_cache_add(struct mm *mm, uint32_t slot, struct folio *f)
{
	struct swap *s = &mm->swap;
	int err = 0;

	ASSERT(folio_test(f, FOLIO_LOCKED));
	rt_lock(&s->lock);
	if (s->state[slot] & SLOT_FOLIO)
		err = -EEXIST;
	else if (!(s->state[slot] & SLOT_ENTRY))
		err = -ENOENT;
	else
		err = radix_store(&s->cache, slot, 1, f);
	if (!err) {
		set_state(s, slot, SLOT_ENTRY | SLOT_FOLIO);
		folio_get(f); /* the cache's */
		folio_set(f, FOLIO_SWAPCACHE);
		f->slot = slot + 1;
	}
	rt_unlock(&s->lock);
	return err;
}

void swap_cache_del(struct mm *mm, struct folio *f, bool keep)
{
	struct swap *s = &mm->swap;
	uint32_t slot = f->slot - 1;

	ASSERT(folio_test(f, FOLIO_LOCKED));
	rt_lock(&s->lock);
	ASSERT(folio_test(f, FOLIO_SWAPCACHE));
	radix_store(&s->cache, slot, 1, NULL);
	folio_clear(f, FOLIO_SWAPCACHE);
	/* One of the two has it from here on: the folio, or the entry that is left. */
	set_state(s, slot, keep ? SLOT_FOLIO : s->state[slot] & SLOT_ENTRY);
	if (!keep)
		f->slot = 0;
	rt_unlock(&s->lock);
	folio_put(mm, f); /* the cache's; the caller holds another */
}

void swap_entry_gone(struct mm *mm, uint32_t slot)
{
	struct swap *s = &mm->swap;

	rt_lock(&s->lock);
	ASSERT(s->state[slot] & SLOT_ENTRY);
	bool cached = s->state[slot] & SLOT_FOLIO;
	set_state(s, slot, s->state[slot] & (uint8_t)~SLOT_ENTRY);
	rt_unlock(&s->lock);
	if (!cached)
		return;
	/* Who has it locked (a read, a fault) finds the entry gone, and lets it go; or else
	 * reclaim comes by. */
	struct folio *f = swap_get(mm, slot);
	if (!f)
		return;
	if (folio_trylock(f)) {
		if (folio_test(f, FOLIO_SWAPCACHE) && f->slot == slot + 1 &&
		    !swap_has_entry(mm, slot))
			swap_cache_del(mm, f, false);
		folio_unlock(mm, f);
	}
	folio_put(mm, f);
}

void swap_drain(struct mm *mm)
{
	void *value;
	uint64_t slot;

	while (radix_gang(&mm->swap.cache, 0, SLOT_NONE, &value, &slot, 1) > 0) {
		struct folio *f = swap_get(mm, (uint32_t)slot);
		folio_lock(mm, f, false);
		swap_cache_del(mm, f, false);
		folio_unlock(mm, f);
		folio_put(mm, f);
	}
	ASSERT(mm->swap.used == mm->swap.bad);
}

int swap_read(struct mm *mm, uint32_t slot, void *buf)
{
	uint64_t off = (uint64_t)slot * RT_PAGE, done = 0;

	while (done < RT_PAGE) {
		int64_t n = rt_file_read(&mm->swap.file, (char *)buf + done, RT_PAGE - done,
					 off + done);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO; /* the store is ours, and was as long as this */
		done += (uint64_t)n;
	}
	return 0;
}
