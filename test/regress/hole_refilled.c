/* SPDX-License-Identifier: MIT */
/* Seen: faults found nonsense in the VMA index after a munmap and MAP_FIXED of the program.
 * Why: the kernel had put a new index into the hole between the two; arenas since. */
#include "harness.h"

#include <pthread.h>
#include <sched.h>

#define RW     (PROT_READ | PROT_WRITE)
#define ROUNDS 2000
#define VIEWS  4

struct job {
	struct quire *q;
	int fd;
	pthread_barrier_t *start;
	_Atomic bool *stop;
};

/* A view is two pages and more: only something of quire's own fits into the hole. */
static void *mapper(void *arg)
{
	struct job *j = arg;
	uint64_t r = (uintptr_t)&r | 1;
	bool first = true;

	while (!*j->stop) {
		uint8_t *p[VIEWS];
		size_t len[VIEWS];
		int i;

		for (i = 0; i < VIEWS; i++) {
			len[i] = (2 + h_random(&r) % 30) * PAGE;
			p[i] = quire_mmap(j->q, NULL, len[i], PROT_READ, MAP_SHARED, j->fd, 0);
			CHECK(p[i] != MAP_FAILED);
			CHECK(p[i][PAGE] == h_byte(1, PAGE));
		}
		for (i = 0; i < VIEWS; i++)
			CHECK(quire_munmap(j->q, p[i], len[i]) == 0);
		if (first)
			pthread_barrier_wait(j->start);
		first = false;
	}
	return NULL;
}

static void holes_are_the_programs(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", 32 * PAGE, 1), i;
	uint8_t *view = h_map(q, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	uint8_t *own = mmap(NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	_Atomic bool stop = false;
	pthread_barrier_t start;
	struct job j = { q, fd, &start, &stop };
	pthread_t t[2];

	assert_ptr_not_equal(own, MAP_FAILED);
	memset(own, 0xff, 8 * PAGE);
	assert_int_equal(pthread_barrier_init(&start, NULL, 3), 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, mapper, &j), 0);
	pthread_barrier_wait(&start);
	for (i = 0; i < ROUNDS; i++) {
		uint8_t *hole = own + (size_t)(1 + i % 6) * PAGE;

		assert_ok(munmap(hole, PAGE));
		sched_yield();
		assert_ptr_equal(
			mmap(hole, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), hole);
		memset(hole, 0xff, PAGE);
		hole = view + (size_t)(1 + i % 6) * PAGE;
		assert_ok(quire_munmap(q, hole, PAGE));
		sched_yield();
		assert_ptr_equal(quire_mmap(q, hole, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
					    hole - view),
				 hole);
		assert_int_equal(hole[9], h_byte(1, (uint64_t)(hole - view) + 9));
	}
	stop = true;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_all(own, 8 * PAGE, 0xff);
	assert_pattern(view, 8 * PAGE, 1, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(holes_are_the_programs) };

	return h_main(tests, 1, argc, argv);
}
