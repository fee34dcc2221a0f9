/* SPDX-License-Identifier: MIT */
/*
 * test_radix.c - radix against an array, with an allocator that can run dry,
 * and under a reader that never locks.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>

#include "core/radix.h"

/* ---- a slab of the test's own: counts, fails on command, reuses at once ---- */

#define NODES 4096
static struct radix_node pool[NODES];
static void *pool_free[NODES];
static int pool_frees, pool_used, pool_live, pool_left;

void *slab_alloc(struct slab *s)
{
	if (pool_left == 0)
		return NULL;
	pool_left--;
	pool_live++;
	if (pool_frees)
		return pool_free[--pool_frees];
	assert_true(pool_used < NODES);
	return &pool[pool_used++];
}

void slab_free(struct slab *s, void *object)
{
	assert_true(pool_live > 0);
	pool_live--;
	pool_free[pool_frees++] = object;
}

static void pool_reset(void)
{
	pool_frees = pool_used = pool_live = 0;
	pool_left = INT32_MAX;
}

/* A value that says where it belongs; even, and not NULL. */
static void *value_of(uint64_t key, uint64_t n)
{
	return (void *)(uintptr_t)((key + 1) << 16 | n << 1);
}

/* ---- the tests ---- */

static void empty_has_nothing(void **state)
{
	struct radix r;

	pool_reset();
	radix_init(&r, NULL);
	assert_null(radix_lookup(&r, 0));
	assert_null(radix_lookup(&r, UINT64_MAX));
	assert_int_equal(radix_store(&r, 100, 7, NULL), 0);
	assert_int_equal(pool_live, 0);
}

static void far_keys(void **state)
{
	static const uint64_t keys[] = { 0,         63,         64,         4095,
					 4096,      1ull << 30, 1ull << 52, (1ull << 52) + 1,
					 1ull << 60 };
	struct radix r;
	size_t i, k;

	pool_reset();
	radix_init(&r, NULL);
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_int_equal(radix_store(&r, keys[i], 1, value_of(i, 1)), 0);
		for (k = 0; k <= i; k++)
			assert_ptr_equal(radix_lookup(&r, keys[k]), value_of(k, 1));
		assert_null(radix_lookup(&r, keys[i] + 2));
	}
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_int_equal(radix_store(&r, keys[i], 1, NULL), 0);
		assert_null(radix_lookup(&r, keys[i]));
	}
	assert_int_equal(pool_live, 0);
}

/* What is not there costs nothing: a walk over all keys steps over empty nodes. */
static void gang_over_everything(void **state)
{
	uint64_t keys[4];
	struct radix r;
	void *values[4];

	pool_reset();
	radix_init(&r, NULL);
	assert_int_equal(radix_gang(&r, 0, UINT64_MAX, values, keys, 4), 0);
	assert_int_equal(radix_store(&r, 5, 1, value_of(5, 1)), 0);
	assert_int_equal(radix_store(&r, 1ull << 50, 1, value_of(6, 1)), 0);
	assert_int_equal(radix_gang(&r, 0, UINT64_MAX, values, keys, 4), 2);
	assert_int_equal(keys[0], 5);
	assert_int_equal(keys[1], 1ull << 50);
	assert_ptr_equal(values[1], value_of(6, 1));
	assert_int_equal(radix_gang(&r, 6, 1ull << 50, values, keys, 4), 0);
	assert_int_equal(radix_gang(&r, (1ull << 50) + 1, UINT64_MAX, values, keys, 4), 0);
}

#define KEYS 9000

static void as_an_array(void **state)
{
	static void *model[KEYS];
	uint64_t rnd = 5, keys[64], k;
	struct radix r;
	void *values[64];
	int round;

	pool_reset();
	radix_init(&r, NULL);
	for (round = 0; round < 20000; round++) {
		uint64_t key = unit_random(&rnd) % KEYS, n = 1ull << unit_random(&rnd) % 10, i, end;
		void *v;

		/* Runs as folios are: aligned, all empty or all of one value. */
		key &= ~(n - 1);
		if (key + n > KEYS)
			continue;
		v = model[key];
		for (i = 1; i < n && model[key + i] == v; i++)
			;
		if (i < n)
			continue;
		if (v && (key == 0 || model[key - 1] != v) &&
		    (key + n == KEYS || model[key + n] != v))
			v = NULL;
		else if (!v)
			v = value_of(key, n);
		else
			continue;
		assert_int_equal(radix_store(&r, key, n, v), 0);
		for (i = 0; i < n; i++)
			model[key + i] = v;

		key = unit_random(&rnd) % KEYS;
		assert_ptr_equal(radix_lookup(&r, key), model[key]);
		end = key + unit_random(&rnd) % 500;
		n = radix_gang(&r, key, end, values, keys, 64);
		for (i = 0, k = key; k < end && k < KEYS && i < 64; k++) {
			if (!model[k])
				continue;
			assert_true(i < n);
			assert_int_equal(keys[i], k);
			assert_ptr_equal(values[i], model[k]);
			i++;
		}
		assert_int_equal(i, n);
	}
	for (k = 0; k < KEYS; k++)
		assert_ptr_equal(radix_lookup(&r, k), model[k]);
	assert_int_equal(radix_store(&r, 0, KEYS, NULL), 0);
	assert_int_equal(pool_live, 0);
}

/* The n-th allocation fails, for every n: nothing was changed, nothing leaks. */
static void no_memory_changes_nothing(void **state)
{
	int n;

	for (n = 0; n < 40; n++) {
		struct radix r;
		int live, rc;
		uint64_t k;

		pool_reset();
		radix_init(&r, NULL);
		assert_int_equal(radix_store(&r, 10, 1, value_of(10, 1)), 0);
		live = pool_live;
		pool_left = n;
		rc = radix_store(&r, 1u << 20, 512, value_of(1, 512));
		pool_left = INT32_MAX;
		assert_true(rc == 0 || rc == -ENOMEM);
		for (k = 0; k < 512; k += 63)
			assert_ptr_equal(radix_lookup(&r, (1u << 20) + k),
					 rc ? NULL : value_of(1, 512));
		assert_ptr_equal(radix_lookup(&r, 10), value_of(10, 1));
		/* Higher roots may stay, but no branch that holds nothing. */
		assert_true(rc == 0 || pool_live <= live + 4);
		assert_int_equal(radix_store(&r, 1u << 20, 512, value_of(2, 512)), 0);
		assert_int_equal(radix_store(&r, 1u << 20, 512, NULL), 0);
		assert_int_equal(radix_store(&r, 10, 1, NULL), 0);
		assert_int_equal(pool_live, 0);
		if (rc == 0)
			return;
	}
	fail();
}

struct race {
	struct radix r;
	_Atomic bool stop;
	_Atomic uint64_t wrong, found;
};

/* A value names its key: whatever is found must have been stored there. */
static void *reader(void *arg)
{
	struct race *race = arg;
	uint64_t rnd = 99;

	while (!race->stop) {
		uint64_t key = unit_random(&rnd) % 20000;
		void *v;

		if (unit_random(&rnd) % 8 == 0)
			key <<= 20;
		v = radix_lookup(&race->r, key);
		if (!v)
			continue;
		race->found++;
		/* The comment of radix.h: a reused node may give another key's value
		 * to a late reader, which re-checks; but a value it is. */
		if ((uintptr_t)v % 2 || ((uintptr_t)v >> 1 & 0x7fff) != 1)
			race->wrong++;
	}
	return NULL;
}

static void readers_without_a_lock(void **state)
{
	static struct race race;
	uint64_t rnd = 1;
	pthread_t t;
	int i;

	pool_reset();
	radix_init(&race.r, NULL);
	assert_int_equal(pthread_create(&t, NULL, reader, &race), 0);
	for (i = 0; i < 400000 || (race.found < 100 && i < 100000000); i++) {
		uint64_t key = unit_random(&rnd) % 20000;

		if (unit_random(&rnd) % 8 == 0)
			key <<= 20;
		if (radix_lookup(&race.r, key))
			assert_int_equal(radix_store(&race.r, key, 1, NULL), 0);
		else if (pool_live < NODES - 8)
			assert_int_equal(radix_store(&race.r, key, 1, value_of(key, 1)), 0);
	}
	race.stop = true;
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(race.wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_has_nothing),
		cmocka_unit_test(far_keys),
		cmocka_unit_test(gang_over_everything),
		cmocka_unit_test(as_an_array),
		cmocka_unit_test(no_memory_changes_nothing),
		cmocka_unit_test(readers_without_a_lock),
	};

	return cmocka_run_group_tests_name("radix", tests, NULL, NULL);
}
