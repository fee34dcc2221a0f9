/* SPDX-License-Identifier: MIT */
/*
 * bitmap.h - find and mark runs of bits in an array of 64-bit words.
 *
 * Bit i is word i / 64, bit i % 64. A set bit is taken. The caller brings the
 * memory, zeroed, and the lock.
 */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORDS(nbits) (((nbits) + 63) / 64)
#define BITMAP_NONE         SIZE_MAX

bool bitmap_test(const uint64_t *map, size_t bit);
void bitmap_set_run(uint64_t *map, size_t first, size_t n);
void bitmap_clear_run(uint64_t *map, size_t first, size_t n);

/* bitmap_find_run - the first of n clear bits in a row below nbits, or BITMAP_NONE. */
size_t bitmap_find_run(const uint64_t *map, size_t nbits, size_t n);

/* bitmap_find_run_from - the same, from bit `first` on. */
size_t bitmap_find_run_from(const uint64_t *map, size_t nbits, size_t first, size_t n);

/* bitmap_next - the first bit from `first` on that is set, or is not; nbits: none is. */
size_t bitmap_next(const uint64_t *map, size_t nbits, size_t first, bool set);

/* bitmap_find_last - the last clear bit below nbits, or BITMAP_NONE. */
size_t bitmap_find_last(const uint64_t *map, size_t nbits);

#endif
