/* SPDX-License-Identifier: MIT */
/*
 * rwlock.h - a lock for many readers or one writer, whose waiters sleep.
 *
 * One word: RW_WRITER, RW_PENDING (a writer waits: new readers wait too, so that
 * it gets its turn) and the number of readers. The mmap_lock and the VMA lock are
 * of this kind. A reader that only tries never waits and never queues.
 */
#ifndef CORE_RWLOCK_H
#define CORE_RWLOCK_H

#include "rt/rt.h"

#define RW_WRITER  0x80000000u
#define RW_PENDING 0x40000000u

struct rwlock {
	rt_u32 word;
};

void rwlock_init(struct rwlock *l);
bool rwlock_read_trylock(struct rwlock *l);
void rwlock_read_lock(struct rwlock *l); /* sleeps */
void rwlock_read_unlock(struct rwlock *l);
void rwlock_write_lock(struct rwlock *l); /* sleeps */
void rwlock_write_unlock(struct rwlock *l);
void rwlock_assert_write(struct rwlock *l);

#endif
