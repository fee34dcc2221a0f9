/* SPDX-License-Identifier: MIT */
/* rwlock.c - see rwlock.h. */
#include "core/rwlock.h"

#define READERS(w) ((w) & ~(RW_WRITER | RW_PENDING))

void rwlock_init(struct rwlock *l)
{
	rt_store_u32(&l->word, 0, RT_RELAXED);
}

bool rwlock_read_trylock(struct rwlock *l)
{
	for (;;) {
		uint32_t w = rt_load_u32(&l->word, RT_RELAXED);
		if (w & (RW_WRITER | RW_PENDING))
			return false;
		/* acquire: pairs with the release in rwlock_write_unlock() */
		if (rt_cas_u32(&l->word, w, w + 1, RT_ACQUIRE)) {
			rt_note_held(l, false);
			return true;
		}
	}
}

void rwlock_read_lock(struct rwlock *l)
{
	while (!rwlock_read_trylock(l)) {
		uint32_t w = rt_load_u32(&l->word, RT_RELAXED);
		rt_note_want(l);
		if (w & (RW_WRITER | RW_PENDING))
			rt_wait(&l->word, w, 0);
	}
}

void rwlock_read_unlock(struct rwlock *l)
{
	rt_note_dropped(l);
	uint32_t old = rt_sub_u32(&l->word, 1, RT_RELEASE);

	ASSERT(READERS(old) > 0);
	if (READERS(old) == 1 && old & RW_PENDING)
		rt_wake(&l->word, UINT32_MAX);
}

void rwlock_write_lock(struct rwlock *l)
{
	for (;;) {
		uint32_t w = rt_load_u32(&l->word, RT_RELAXED);
		if ((w & ~RW_PENDING) == 0) {
			/* Keeps PENDING: another writer may have set it. */
			if (rt_cas_u32(&l->word, w, w | RW_WRITER, RT_ACQUIRE)) {
				rt_note_held(l, true);
				return;
			}
			continue;
		}
		if (!(w & RW_PENDING) && !rt_cas_u32(&l->word, w, w | RW_PENDING, RT_RELAXED))
			continue;
		rt_note_want(l);
		rt_wait(&l->word, w | RW_PENDING, 0);
	}
}

void rwlock_write_unlock(struct rwlock *l)
{
	rt_note_dropped(l);
	uint32_t old = rt_and_u32(&l->word, 0, RT_RELEASE);

	ASSERT(old & RW_WRITER);
	ASSERT(READERS(old) == 0);
	/* Readers wait without setting a bit, so there may always be some. */
	rt_wake(&l->word, UINT32_MAX);
}

void rwlock_assert_write(struct rwlock *l)
{
	ASSERT(rt_load_u32(&l->word, RT_RELAXED) & RW_WRITER);
}
