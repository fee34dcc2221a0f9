/* SPDX-License-Identifier: MIT */
/* Seen: `owned` was negative and quire_close() aborted after MADV_DONTNEED of private pages
 * that were being written. Why: the copy's charge was given back there and by the fault. */
#include "harness.h"

#include <pthread.h>
#include <sched.h>

#define RW      (PROT_READ | PROT_WRITE)
#define LEN     (16 * PAGE)
#define WRITERS 3
#define ROUNDS  2000

struct job {
	uint8_t *p;
	_Atomic bool stop;
	_Atomic uint64_t done;
};

static void *writer(void *arg)
{
	struct job *j = arg;
	uint64_t r = (uintptr_t)&r | 1;

	while (!j->stop) {
		*(volatile uint8_t *)(j->p + h_random(&r) % LEN) = 0x33;
		j->done++;
	}
	return NULL;
}

static void race(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", LEN, 1), i;
	struct job j = { .p = h_map(q, LEN, RW, MAP_PRIVATE, fd, 0) };
	pthread_t t[WRITERS];
	uint64_t owned;

	for (i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, writer, &j), 0);
	for (i = 0; i < ROUNDS; i++) {
		uint64_t before = j.done;

		assert_ok(quire_madvise(q, j.p, LEN, MADV_DONTNEED));
		while (j.done == before)
			sched_yield();
	}
	j.stop = true;
	for (i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	owned = h_stats(q).owned;
	assert_true(owned <= LEN);
	assert_ok(quire_madvise(q, j.p, LEN, MADV_DONTNEED));
	assert_int_equal(h_stats(q).owned, 0);
	assert_pattern(j.p, LEN, 1, 0);
	memset(j.p, 0x34, LEN);
	assert_int_equal(h_stats(q).owned, LEN);
	assert_ok(quire_munmap(q, j.p, LEN));
	assert_int_equal(h_stats(q).owned, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, LEN, 1, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(race) };

	return h_main(tests, 1, argc, argv);
}
