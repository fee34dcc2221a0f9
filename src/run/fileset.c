/* SPDX-License-Identifier: MIT */
/*
 * fileset.c - see fileset.h.
 *
 * Open addressing over 64-bit hashes of (device, inode). Two files with one
 * hash are one member: see above why that is harmless. When the table is full
 * every file counts as a member.
 */
#include "run/fileset.h"

#include <stdatomic.h>
#include <stdint.h>

#define SLOTS  4096
#define PROBES 64

static _Atomic uint64_t slots[SLOTS]; /* 0: free */
static atomic_bool full;

static uint64_t mix(uint64_t v)
{
	v = (v ^ (v >> 32)) * 0xd6e8feb86659fd93ull;
	v = (v ^ (v >> 32)) * 0xd6e8feb86659fd93ull;
	return v ^ (v >> 32);
}

static uint64_t key_of(const struct stat *st)
{
	return mix(st->st_ino ^ mix(st->st_dev)) | 1;
}

void fileset_add(const struct stat *st)
{
	uint64_t key = key_of(st);

	for (unsigned i = 0; i < PROBES; i++) {
		_Atomic uint64_t *slot = &slots[((key >> 1) + i) % SLOTS];
		uint64_t seen = 0;

		/* Release: pairs with the acquire in fileset_has(). */
		if (atomic_compare_exchange_strong_explicit(slot, &seen, key, memory_order_release,
							    memory_order_relaxed) ||
		    seen == key)
			return;
	}
	atomic_store_explicit(&full, true, memory_order_release);
}

bool fileset_has(const struct stat *st)
{
	uint64_t key = key_of(st);

	for (unsigned i = 0; i < PROBES; i++) {
		uint64_t seen = atomic_load_explicit(&slots[((key >> 1) + i) % SLOTS],
						     memory_order_acquire);

		if (seen == key)
			return true;
		if (!seen)
			break;
	}
	return atomic_load_explicit(&full, memory_order_acquire);
}
