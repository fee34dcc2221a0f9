/* SPDX-License-Identifier: MIT */
/* Seen: two quire_pwritev() over the same pages never returned, while a reader faulted.
 * Why: each held the folios it wrote and waited for one that the other had locked. */
#include "harness.h"

#include <pthread.h>

#define RW     (PROT_READ | PROT_WRITE)
#define LEN    (256 * KIB)
#define ROUNDS 300

struct job {
	struct quire *q;
	uint8_t *p;
	int fd;
	uint64_t seed;
	pthread_barrier_t *start;
	_Atomic bool *stop;
};

/* Every byte that is written is the pattern's: what is read is known at any moment. */
static void *writer(void *arg)
{
	struct job *j = arg;
	uint64_t r = j->seed;
	uint8_t *buf = malloc(LEN);
	int i;

	CHECK(buf);
	pthread_barrier_wait(j->start);
	for (i = 0; i < ROUNDS; i++) {
		uint64_t at = h_random(&r) % (LEN / 2), n = 1 + h_random(&r) % (LEN / 2);
		struct iovec v = { buf, n };

		h_fill(buf, n, 1, at);
		CHECK(quire_pwritev(j->q, j->fd, &v, 1, (off_t)at) == (ssize_t)n);
	}
	free(buf);
	return NULL;
}

static void *reader(void *arg)
{
	struct job *j = arg;
	uint64_t r = j->seed;

	pthread_barrier_wait(j->start);
	while (!*j->stop) {
		uint64_t at = h_random(&r) % LEN;

		CHECK(j->p[at] == h_byte(1, at));
	}
	return NULL;
}

static void *pageout(void *arg)
{
	struct job *j = arg;

	pthread_barrier_wait(j->start);
	while (!*j->stop) {
		CHECK(quire_madvise(j->q, j->p, LEN, MADV_PAGEOUT) == 0);
		h_sleep_ms(0);
	}
	return NULL;
}

static void overlapping_writes_end(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", LEN, 1), i;
	uint8_t *p = h_map(q, LEN, RW, MAP_SHARED, fd, 0);
	_Atomic bool stop = false;
	pthread_barrier_t start;
	struct job j[5];
	pthread_t t[5];

	assert_int_equal(pthread_barrier_init(&start, NULL, 5), 0);
	for (i = 0; i < 5; i++) {
		j[i] = (struct job){ q, p, fd, 77 + (uint64_t)i, &start, &stop };
		assert_int_equal(pthread_create(&t[i], NULL,
						i < 3    ? writer
						: i == 3 ? reader
							 : pageout,
						&j[i]),
				 0);
	}
	for (i = 0; i < 3; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	stop = true;
	for (; i < 5; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_pattern(p, LEN, 1, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, LEN, 1, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(overlapping_writes_end) };

	return h_main(tests, 1, argc, argv);
}
