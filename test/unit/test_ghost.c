/* SPDX-License-Identifier: MIT */
/* test_ghost.c - what it remembers, for how long, and in how much memory. */
#include "unit.h"

#include "base/ghost.h"

static struct ghost make(size_t keys)
{
	size_t bytes = ghost_bytes(keys);
	struct ghost g;
	void *p = calloc(1, bytes ? bytes : 1);

	assert_non_null(p);
	ghost_init(&g, p, bytes);
	return g;
}

static void memory_is_bounded(void **state)
{
	size_t n;

	for (n = 1; n < 100000; n = n * 3 + 1) {
		assert_true(ghost_bytes(n) >= n * sizeof(struct ghost_cell));
		assert_true(ghost_bytes(n) <= 2 * (n + GHOST_WAYS) * sizeof(struct ghost_cell));
	}
}

static void remembers_once(void **state)
{
	struct ghost g = make(64);
	uint32_t age = 99;

	assert_false(ghost_take(&g, 5, 0, &age));
	ghost_add(&g, 5, 100);
	assert_true(ghost_take(&g, 5, 117, &age));
	assert_int_equal(age, 17);
	assert_false(ghost_take(&g, 5, 118, &age));
	free(g.cells);
}

static void the_latest_time_counts(void **state)
{
	struct ghost g = make(64);
	uint32_t age;

	ghost_add(&g, 5, 100);
	ghost_add(&g, 5, 150);
	assert_true(ghost_take(&g, 5, 160, &age));
	assert_int_equal(age, 10);
	assert_false(ghost_take(&g, 5, 160, &age));
	free(g.cells);
}

static void time_wraps(void **state)
{
	struct ghost g = make(64);
	uint32_t age;

	ghost_add(&g, 1, UINT32_MAX - 3);
	assert_true(ghost_take(&g, 1, 6, &age));
	assert_int_equal(age, 10);
	free(g.cells);
}

/* A table for n keys keeps most of the last n, and the newest of them best. */
static void keeps_most_of_the_last(void **state)
{
	struct ghost g = make(4096);
	uint64_t key;
	size_t found = 0, newest = 0;
	uint32_t age;

	for (key = 0; key < 20000; key++)
		ghost_add(&g, key, (uint32_t)key);
	for (key = 20000; key-- > 20000 - 2048;) {
		if (!ghost_take(&g, key, 20000, &age))
			continue;
		found++;
		newest += key >= 20000 - 512;
		assert_int_equal(age, 20000 - key);
	}
	assert_true(found >= 2048 * 8 / 10);
	assert_true(newest >= 512 * 9 / 10);
	free(g.cells);
}

static void seldom_remembers_what_never_was(void **state)
{
	struct ghost g = make(4096);
	uint64_t key;
	size_t wrong = 0;
	uint32_t age;

	for (key = 0; key < 4096; key++)
		ghost_add(&g, key, 1);
	for (key = 1000000; key < 1100000; key++)
		wrong += ghost_take(&g, key, 2, &age);
	/* 4 in 65536 of 100000 are 6. */
	assert_true(wrong < 40);
	free(g.cells);
}

static void without_memory_it_knows_nothing(void **state)
{
	struct ghost g;
	uint32_t age;

	ghost_init(&g, NULL, 0);
	ghost_add(&g, 1, 1);
	assert_false(ghost_take(&g, 1, 1, &age));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(remembers_once),
		cmocka_unit_test(the_latest_time_counts),
		cmocka_unit_test(time_wraps),
		cmocka_unit_test(keeps_most_of_the_last),
		cmocka_unit_test(seldom_remembers_what_never_was),
		cmocka_unit_test(without_memory_it_knows_nothing),
	};

	return cmocka_run_group_tests_name("ghost", tests, NULL, NULL);
}
