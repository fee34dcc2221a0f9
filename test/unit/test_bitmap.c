/* SPDX-License-Identifier: MIT */
/* test_bitmap.c - bitmap against an array of bools. */
#include "unit.h"

#include "base/bitmap.h"

#define BITS 300

static void words_of_a_size(void **state)
{
	assert_int_equal(BITMAP_WORDS(0), 0);
	assert_int_equal(BITMAP_WORDS(1), 1);
	assert_int_equal(BITMAP_WORDS(64), 1);
	assert_int_equal(BITMAP_WORDS(65), 2);
}

static void sets_and_clears_runs(void **state)
{
	uint64_t map[BITMAP_WORDS(BITS)] = { 0 }, r = 1;
	bool model[BITS] = { 0 };
	int round;
	size_t i;

	for (round = 0; round < 2000; round++) {
		size_t first = unit_random(&r) % BITS, n = unit_random(&r) % (BITS - first + 1);
		bool set = unit_random(&r) % 2;

		if (set)
			bitmap_set_run(map, first, n);
		else
			bitmap_clear_run(map, first, n);
		for (i = first; i < first + n; i++)
			model[i] = set;
		for (i = 0; i < BITS; i++)
			assert_int_equal(bitmap_test(map, i), model[i]);
	}
}

static size_t model_find_run(const bool *model, size_t nbits, size_t first, size_t n)
{
	size_t i;

	for (; n && first + n <= nbits; first++) {
		for (i = 0; i < n && !model[first + i]; i++)
			;
		if (i == n)
			return first;
	}
	return BITMAP_NONE;
}

static size_t model_find_last(const bool *model, size_t nbits)
{
	while (nbits-- > 0)
		if (!model[nbits])
			return nbits;
	return BITMAP_NONE;
}

static size_t model_next(const bool *model, size_t nbits, size_t first, bool set)
{
	while (first < nbits && model[first] != set)
		first++;
	return first < nbits ? first : nbits;
}

static void finds_what_the_model_finds(void **state)
{
	uint64_t r = 7;
	int round;

	for (round = 0; round < 3000; round++) {
		uint64_t map[BITMAP_WORDS(BITS)] = { 0 };
		bool model[BITS] = { 0 };
		size_t runs = unit_random(&r) % 12, nbits = 1 + unit_random(&r) % BITS, n, k, i;

		for (k = 0; k < runs; k++) {
			size_t first = unit_random(&r) % BITS;

			n = unit_random(&r) % 120;
			if (n > BITS - first)
				n = BITS - first;
			bitmap_set_run(map, first, n);
			for (i = first; i < first + n; i++)
				model[i] = true;
		}
		n = unit_random(&r) % 140;
		i = unit_random(&r) % nbits;
		assert_true(bitmap_find_run(map, nbits, n) == model_find_run(model, nbits, 0, n));
		assert_true(bitmap_find_run(map, nbits, 1) == model_find_run(model, nbits, 0, 1));
		assert_true(bitmap_find_run_from(map, nbits, i, n) ==
			    model_find_run(model, nbits, i, n));
		assert_true(bitmap_find_last(map, nbits) == model_find_last(model, nbits));
		for (i = 0; i <= nbits; i++)
			for (k = 0; k < 2; k++)
				assert_true(bitmap_next(map, nbits, i, k) ==
					    model_next(model, nbits, i, k));
	}
}

static void full_and_empty(void **state)
{
	uint64_t map[2] = { UINT64_MAX, UINT64_MAX };

	assert_true(bitmap_find_run(map, 128, 1) == BITMAP_NONE);
	assert_true(bitmap_find_last(map, 128) == BITMAP_NONE);
	assert_true(bitmap_find_last(map, 0) == BITMAP_NONE);
	bitmap_clear_run(map, 63, 2);
	assert_int_equal(bitmap_find_run(map, 128, 2), 63);
	assert_true(bitmap_find_run(map, 128, 3) == BITMAP_NONE);
	assert_true(bitmap_find_run(map, 64, 2) == BITMAP_NONE);
	assert_int_equal(bitmap_find_last(map, 128), 64);
	assert_int_equal(bitmap_find_last(map, 64), 63);
	map[0] = map[1] = 0;
	assert_int_equal(bitmap_find_run(map, 128, 128), 0);
	assert_true(bitmap_find_run(map, 128, 129) == BITMAP_NONE);
	assert_true(bitmap_find_run(map, 128, 0) == BITMAP_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_of_a_size),
		cmocka_unit_test(sets_and_clears_runs),
		cmocka_unit_test(finds_what_the_model_finds),
		cmocka_unit_test(full_and_empty),
	};

	return cmocka_run_group_tests_name("bitmap", tests, NULL, NULL);
}
