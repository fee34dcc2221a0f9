/* SPDX-License-Identifier: MIT */
/* bitmap.c - see bitmap.h. A word at a time: a map that is long, or in many pieces, is cheap. */
#include "base/bitmap.h"

bool bitmap_test(const uint64_t *map, size_t bit)
{
	return (map[bit / 64] >> (bit % 64)) & 1;
}

/* Of the bits [first, end) those in word `word`. */
static uint64_t mask_in(size_t word, size_t first, size_t end)
{
	uint64_t mask = UINT64_MAX;

	if (word == first / 64)
		mask &= UINT64_MAX << (first % 64);
	if (end - word * 64 < 64)
		mask &= (1ull << (end - word * 64)) - 1;
	return mask;
}

void bitmap_set_run(uint64_t *map, size_t first, size_t n)
{
	for (size_t word = first / 64; word * 64 < first + n; word++)
		map[word] |= mask_in(word, first, first + n);
}

void bitmap_clear_run(uint64_t *map, size_t first, size_t n)
{
	for (size_t word = first / 64; word * 64 < first + n; word++)
		map[word] &= ~mask_in(word, first, first + n);
}

size_t bitmap_find_run(const uint64_t *map, size_t nbits, size_t n)
{
	return bitmap_find_run_from(map, nbits, 0, n);
}

/* Where n < 64 bits in a row are set in x, or 64. Halving: after each step a bit stands for
 * `have` bits in a row from it on. */
static unsigned row_in_word(uint64_t x, size_t n)
{
	for (size_t have = 1, step; have < n; have += step) {
		step = n - have < have ? n - have : have;
		x &= x >> step;
	}
	return x ? (unsigned)__builtin_ctzll(x) : 64;
}

size_t bitmap_find_run_from(const uint64_t *map, size_t nbits, size_t first, size_t n)
{
	size_t run = 0; /* clear bits right below the word */

	if (n == 0 || n > nbits)
		return BITMAP_NONE;
	for (size_t word = first / 64; word * 64 < nbits; word++) {
		uint64_t clear = ~map[word] & mask_in(word, first, nbits);
		unsigned low = clear == UINT64_MAX ? 64 : (unsigned)__builtin_ctzll(~clear);

		if (run + low >= n)
			return word * 64 - run;
		if (low == 64) {
			run += 64;
			continue;
		}
		unsigned at = n < 64 ? row_in_word(clear, n) : 64;
		if (at < 64)
			return word * 64 + at;
		run = (unsigned)__builtin_clzll(~clear);
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
