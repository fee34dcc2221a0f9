/* SPDX-License-Identifier: MIT */
/* Seen: after fork() a call of the child on its parent's quire never returned. Why: locks
 * that the parent's other threads, or fork() itself, held were held for good there. */
#include "harness.h"

#include <pthread.h>
#include <sys/wait.h>

#define RW    (PROT_READ | PROT_WRITE)
#define LEN   MIB
#define FORKS 30

struct job {
	struct quire *q;
	int fd;
	uint8_t *p;
	_Atomic bool stop;
};

/* Holds the locks of the quire as often as it can. */
static void *load(void *arg)
{
	struct job *j = arg;

	while (!j->stop) {
		uint8_t *p = quire_mmap(j->q, NULL, LEN, RW, MAP_SHARED, j->fd, 0);

		CHECK(p != MAP_FAILED);
		memset(p, 1, 8 * PAGE);
		CHECK(quire_msync(j->q, p, LEN, MS_ASYNC) == 0);
		CHECK(quire_munmap(j->q, p, LEN) == 0);
	}
	return NULL;
}

#define FAILS(n, call)                                                                             \
	do {                                                                                       \
		errno = 0;                                                                         \
		if ((long)(call) != -1 || errno != EINVAL)                                         \
			_exit(n);                                                                  \
	} while (0)

/* Exit status: the number of the first call that did not fail with EINVAL; 0: none. */
static void child(struct job *j, struct h_store *s)
{
	unsigned char vec[LEN / PAGE];
	struct quire *q = j->q;
	uint8_t *p = j->p;

	alarm(20);
	FAILS(1, quire_munmap(q, p, PAGE));
	FAILS(2, quire_mprotect(q, p, LEN, PROT_READ));
	FAILS(3, quire_madvise(q, p, LEN, MADV_DONTNEED));
	FAILS(4, quire_madvise(q, p, LEN, MADV_POPULATE_READ));
	FAILS(5, quire_msync(q, p, LEN, MS_SYNC));
	FAILS(6, quire_msync(q, p, LEN, MS_ASYNC));
	FAILS(7, quire_mremap(q, p, LEN, 2 * LEN, MREMAP_MAYMOVE, NULL));
	FAILS(8, quire_pin(q, p, LEN, 0));
	FAILS(9, quire_resident(q, p, LEN, vec));
	FAILS(10, quire_set_memory(q, 2 * H_BUDGET));
	FAILS(11, quire_on_error(q, p, LEN, NULL, NULL));
	FAILS(12, quire_mmap(q, NULL, LEN, RW, MAP_SHARED, j->fd, 0));
	FAILS(13, quire_mmap_store(q, NULL, LEN, RW, MAP_SHARED, &h_store_ops, s, LEN, 0));
	if (quire_contains(q, p, LEN) != 0)
		_exit(14);
	quire_unpin(q, p, LEN);
	_exit(0);
}

static void child_calls_fail(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct job j = { .q = q, .fd = h_file("f", LEN, 1) };
	struct h_store *s = h_store_new(LEN, 1);
	int i, status;
	pthread_t t[2];

	j.p = h_map(q, LEN, RW, MAP_SHARED, h_file("g", LEN, 2), 0);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, load, &j), 0);
	for (i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			child(&j, s);
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status)); /* SIGALRM: a call did not return */
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	j.stop = true;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	/* The parent's mapping is as it was. */
	assert_pattern(j.p, LEN, 2, 0);
	assert_int_equal(h_stats(q).memory, H_BUDGET);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(child_calls_fail) };

	return h_main(tests, 1, argc, argv);
}
