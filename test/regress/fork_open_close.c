/* SPDX-License-Identifier: MIT */
/* Seen: fork() while another thread opened or closed a quire hung or aborted. Why: after
 * the fork it thawed the quires that were there then, not those that it had frozen. */
#include "harness.h"

#include <pthread.h>
#include <sys/wait.h>

#define FORKS 200

struct job {
	int fd;
	_Atomic bool stop;
	_Atomic uint64_t done;
};

static void *opener(void *arg)
{
	struct job *j = arg;

	while (!j->stop) {
		struct quire_options o = { .size = sizeof(o), .memory = 4 * MIB };
		struct quire *q = quire_open(&o);
		uint8_t *p;

		CHECK(q);
		p = quire_mmap(q, NULL, MIB, PROT_READ, MAP_SHARED, j->fd, 0);
		CHECK(p != MAP_FAILED);
		CHECK(p[5] == h_byte(1, 5));
		CHECK(quire_close(q) == 0);
		j->done++;
	}
	return NULL;
}

static void fork_beside_open_and_close(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	struct job j = { .fd = h_file("f", MIB, 1) };
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, j.fd, 0);
	int i, status;
	pthread_t t[2];

	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, opener, &j), 0);
	for (i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct quire_options o = { .size = sizeof(o), .memory = 4 * MIB };

			alarm(20);
			/* What all quires share is whole here: one more can be had. */
			if (!h_sanitized() && i % 4 == 0)
				_exit(quire_close(quire_open(&o)) == 0 ? 0 : 1);
			_exit(0);
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_pattern(p, PAGE, 1, 0);
	}
	/* And on it goes. */
	for (status = 0; status < 3; status++) {
		uint64_t before = j.done;

		while (j.done == before)
			h_sleep_ms(1);
	}
	j.stop = true;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(fork_beside_open_and_close) };

	return h_main(tests, 1, argc, argv);
}
