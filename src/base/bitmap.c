/* SPDX-License-Identifier: MIT */
/* bitmap.c - see bitmap.h. Whole words are skipped, so that a full map is cheap. */
#include "base/bitmap.h"

bool bitmap_test(const uint64_t *map, size_t bit)
{
	return (map[bit / 64] >> (bit % 64)) & 1;
}

void bitmap_set_run(uint64_t *map, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		map[i / 64] |= 1ull << (i % 64);
}

void bitmap_clear_run(uint64_t *map, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		map[i / 64] &= ~(1ull << (i % 64));
}

size_t bitmap_find_run(const uint64_t *map, size_t nbits, size_t n)
{
	return bitmap_find_run_from(map, nbits, 0, n);
}

size_t bitmap_find_run_from(const uint64_t *map, size_t nbits, size_t first, size_t n)
{
	size_t run = 0;

	if (n == 0 || n > nbits)
		return BITMAP_NONE;
	for (size_t i = first; i < nbits; i++) {
		if (i % 64 == 0 && map[i / 64] == UINT64_MAX) {
			run = 0;
			i += 63;
			continue;
		}
		run = bitmap_test(map, i) ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return BITMAP_NONE;
}

size_t bitmap_next(const uint64_t *map, size_t nbits, size_t first, bool set)
{
	for (size_t i = first; i < nbits; i = (i | 63) + 1) {
		uint64_t word = (set ? map[i / 64] : ~map[i / 64]) >> (i % 64);

		if (word) {
			i += (size_t)__builtin_ctzll(word);
			return i < nbits ? i : nbits;
		}
	}
	return nbits;
}

size_t bitmap_find_last(const uint64_t *map, size_t nbits)
{
	for (size_t word = BITMAP_WORDS(nbits); word-- > 0;) {
		uint64_t clear = ~map[word];

		if (nbits - word * 64 < 64)
			clear &= (1ull << (nbits - word * 64)) - 1;
		if (clear)
			return word * 64 + 63 - (size_t)__builtin_clzll(clear);
	}
	return BITMAP_NONE;
}
