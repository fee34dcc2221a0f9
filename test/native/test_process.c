/* SPDX-License-Identifier: MIT */
/*
 * test_process.c - fork, exec, threads that are cancelled or exit while they
 * fault, small stacks, alternate stacks, exit with a quire open.
 */
#include "harness.h"

#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)

static int child_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void child_access_is_sigsegv(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), status;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	pid_t pid;

	h_fill(p, MIB / 2, 2, 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		(void)*(volatile uint8_t *)p;
		_exit(0);
	}
	status = child_status(pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	/* The parent has noticed nothing. */
	assert_pattern(p, MIB / 2, 2, 0);
	assert_pattern(p + MIB / 2, MIB / 2, 1, MIB / 2);
	h_fill(p, MIB, 3, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 3, 0);
}

static void child_execs(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), status, i;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

	for (i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			execlp("true", "true", (char *)NULL);
			_exit(9);
		}
		p[i] = 7;
		status = child_status(pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	assert_all(p, 5, 7);
	assert_ok(quire_close(q));
}

static void vfork_and_system(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i;
	uint8_t *p = h_map(q, 16 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	for (i = 0; i < 5; i++) {
		assert_int_equal(system("exit 3"), 3 << 8);
		assert_pattern(p + (size_t)i * 3 * MIB, MIB, 1, (size_t)i * 3 * MIB);
	}
	assert_ok(quire_close(q));
}

/* A child that ends by exit() runs the library's destructors: they do nothing. */
static void child_exit_does_no_harm(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), status;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	pid_t pid;

	h_fill(p, MIB, 2, 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		exit(5);
	status = child_status(pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
	assert_pattern(p, MIB, 2, 0);
	assert_ok(quire_close(q));
	assert_file_pattern(fd, MIB, 2, 0);
}

struct load {
	uint8_t *p;
	size_t len;
	_Atomic bool stop;
	_Atomic uint64_t done;
};

static void *load_run(void *arg)
{
	struct load *l = arg;
	uint64_t r = (uintptr_t)&r | 1;

	while (!l->stop) {
		uint64_t at = h_random(&r) % l->len;

		CHECK(l->p[at] == h_byte(1, at));
		if (at % 3 == 0)
			l->p[at] = h_byte(1, at);
		l->done++;
	}
	return NULL;
}

static void fork_under_load(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i, status;
	struct load l = { .p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0), .len = 16 * MIB };
	pthread_t t[4];

	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, load_run, &l), 0);
	for (i = 0; i < 50; i++) {
		uint64_t before = l.done;
		pid_t pid = fork();

		if (pid == 0) {
			if (i % 2)
				_exit(4);
			execlp("true", "true", (char *)NULL);
			_exit(9);
		}
		assert_true(pid > 0);
		status = child_status(pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == (i % 2 ? 4 : 0));
		while (l.done == before)
			h_sleep_ms(1);
	}
	l.stop = true;
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_pattern(l.p, 16 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

/* A child has a quire of its own, or is told that it cannot: no third way. */
static void child_opens_its_own(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	int fd = h_file("f", MIB, 1), status;
	uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);
	pid_t pid;

	assert_pattern(p, MIB, 1, 0);
	pid = fork();
	if (pid == 0) {
		struct quire_options o = { .size = sizeof(o), .memory = H_BUDGET };
		struct quire *mine = quire_open(&o);
		uint8_t *m;

		if (!mine)
			_exit(quire_error()[0] ? 0 : 2);
		m = quire_mmap(mine, NULL, MIB, PROT_READ, MAP_SHARED, fd, 0);
		if (m == MAP_FAILED)
			_exit(3);
		_exit(h_differs(m, MIB, 1, 0) == -1 && quire_close(mine) == 0 ? 0 : 4);
	}
	status = child_status(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void threads_cancelled_while_faulting(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i;
	struct load l = { .p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0), .len = 16 * MIB };
	pthread_t t;
	void *result;

	if (h_sanitized())
		h_skip("AddressSanitizer does not survive an asynchronous cancel");
	for (i = 0; i < 100; i++) {
		uint64_t before = l.done;

		assert_int_equal(pthread_create(&t, NULL, load_run, &l), 0);
		while (l.done == before)
			h_sleep_ms(0);
		assert_int_equal(pthread_cancel(t), 0);
		l.stop = true;
		assert_int_equal(pthread_join(t, &result), 0);
		l.stop = false;
	}
	assert_pattern(l.p, 16 * MIB, 1, 0);
	assert_ok(quire_msync(q, l.p, 16 * MIB, MS_SYNC));
	assert_ok(quire_munmap(q, l.p, 16 * MIB));
	assert_ok(quire_close(q));
}

static void *cancel_run(void *arg)
{
	int old;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	return load_run(arg);
}

/* In the middle of any instruction, so also of one that faults. */
static void threads_cancelled_asynchronously(void **state)
{
	struct quire *q = h_open(4 * MIB, "readahead=0");
	struct h_store *s = h_store_new(16 * MIB, 1);
	struct load l = { .p = h_map_store(q, 16 * MIB, RW, MAP_SHARED, s), .len = 16 * MIB };
	pthread_t t;
	int i;

	if (h_sanitized())
		h_skip("AddressSanitizer does not survive an asynchronous cancel");
	s->delay_us = 200;
	for (i = 0; i < 200; i++) {
		uint64_t before = l.done;

		assert_int_equal(pthread_create(&t, NULL, cancel_run, &l), 0);
		while (l.done == before)
			h_sleep_ms(0);
		assert_int_equal(pthread_cancel(t), 0);
		assert_int_equal(pthread_join(t, NULL), 0);
	}
	s->delay_us = 0;
	/* No lock stayed behind: everything can be had and dropped. */
	assert_pattern(l.p, 16 * MIB, 1, 0);
	assert_ok(quire_msync(q, l.p, 16 * MIB, MS_SYNC));
	assert_ok(quire_munmap(q, l.p, 16 * MIB));
	assert_ok(quire_close(q));
}

static void *touch_and_exit(void *arg)
{
	struct load *l = arg;
	uint64_t at = l->done++ * 8191 % l->len;

	CHECK(l->p[at] == h_byte(1, at));
	pthread_exit(NULL);
}

static void many_short_threads(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i, k;
	struct load l = { .p = h_map(q, 16 * MIB, PROT_READ, MAP_SHARED, fd, 0), .len = 16 * MIB };
	pthread_t t[8];

	for (i = 0; i < 200; i++) {
		for (k = 0; k < 8; k++)
			assert_int_equal(pthread_create(&t[k], NULL, touch_and_exit, &l), 0);
		for (k = 0; k < 8; k++)
			assert_int_equal(pthread_join(t[k], NULL), 0);
	}
	assert_ok(quire_close(q));
}

static void *small_stack_run(void *arg)
{
	struct load *l = arg;
	uint64_t r = 17;
	int i;

	for (i = 0; i < 3000; i++) {
		uint64_t at = h_random(&r) % l->len;

		CHECK(l->p[at] == h_byte(1, at));
		l->p[at] = h_byte(1, at);
	}
	return NULL;
}

static void small_stacks(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i;
	struct load l = { .p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0), .len = 16 * MIB };
	pthread_attr_t attr;
	pthread_t t[4];

	if (h_sanitized())
		h_skip("AddressSanitizer's frames are larger than ours");
	assert_int_equal(pthread_attr_init(&attr), 0);
	assert_int_equal(pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN + 16 * KIB), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], &attr, small_stack_run, &l), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_ok(quire_close(q));
}

static void *altstack_run(void *arg)
{
	stack_t ss = { .ss_size = (size_t)SIGSTKSZ + 16 * KIB };

	ss.ss_sp = malloc(ss.ss_size);
	CHECK(ss.ss_sp);
	CHECK(sigaltstack(&ss, NULL) == 0);
	small_stack_run(arg);
	ss.ss_flags = SS_DISABLE;
	CHECK(sigaltstack(&ss, NULL) == 0);
	free(ss.ss_sp);
	return NULL;
}

static void alternate_stacks(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i;
	struct load l = { .p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0), .len = 16 * MIB };
	pthread_t t[4];

	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, altstack_run, &l), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_ok(quire_close(q));
}

/* A handler of another signal touches managed memory, at any moment. */
static uint8_t *tick_p;
static volatile sig_atomic_t ticks, tick_bad;

static void tick(int sig)
{
	static uint64_t r = 77;
	uint64_t at = h_random(&r) % (16 * MIB);
	int saved = errno;

	if (*(volatile uint8_t *)(tick_p + at) != h_byte(1, at))
		tick_bad = 1;
	ticks++;
	errno = saved;
}

static void faults_inside_signal_handlers(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1);
	struct sigaction sa = { .sa_handler = tick, .sa_flags = SA_RESTART };
	struct itimerval it = { { 0, 500 }, { 0, 500 } };
	uint64_t r = 3;

	tick_p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0);
	assert_ok(sigaction(SIGALRM, &sa, NULL));
	assert_ok(setitimer(ITIMER_REAL, &it, NULL));
	while (ticks < 500) {
		uint64_t at = h_random(&r) % (16 * MIB);

		assert_int_equal(tick_p[at], h_byte(1, at));
		tick_p[at] = h_byte(1, at);
	}
	it = (struct itimerval){ 0 };
	assert_ok(setitimer(ITIMER_REAL, &it, NULL));
	assert_false(tick_bad);
	assert_ok(quire_close(q));
}

/* exit() with a quire open: what was written and not synced is in the file. */
static void exit_without_close(void **state)
{
	int fd = h_file("f", MIB, 1), status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct quire *q = h_open(H_BUDGET, NULL);
		uint8_t *p = h_map(q, MIB, RW, MAP_SHARED, fd, 0);

		h_fill(p, MIB, 2, 0);
		assert_ok(quire_msync(q, p, MIB, MS_SYNC));
		exit(6);
	}
	status = child_status(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 6);
	assert_file_pattern(fd, MIB, 2, 0);
}

/* The pager must not take signals that were meant for the program. */
static volatile sig_atomic_t usr1_here;
static pthread_t main_thread;

static void usr1(int sig)
{
	usr1_here += pthread_equal(pthread_self(), main_thread) ? 1 : 1000;
}

static void pager_takes_no_signals(void **state)
{
	struct quire *q;
	int i;

	main_thread = pthread_self();
	signal(SIGUSR1, usr1);
	q = h_open(H_BUDGET, NULL);
	for (i = 0; i < 100; i++) {
		kill(getpid(), SIGUSR1);
		while (usr1_here < i + 1)
			h_sleep_ms(0);
	}
	assert_int_equal(usr1_here, 100);
	assert_ok(quire_close(q));
}

/* When nothing stands behind it, our error kills as SIGBUS always did. */
static void default_action_kills(void **state)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		struct h_store *s = h_store_new(MIB, 1);
		struct quire *q;
		uint8_t *p;

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGBUS, SIG_DFL);
		q = h_open(H_BUDGET, NULL);
		p = h_map_store(q, MIB, PROT_READ, MAP_SHARED, s);
		s->read_error = EIO;
		(void)*(volatile uint8_t *)p;
		_exit(0);
	}
	status = child_status(pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_access_is_sigsegv),
		cmocka_unit_test(child_execs),
		cmocka_unit_test(vfork_and_system),
		cmocka_unit_test(child_exit_does_no_harm),
		cmocka_unit_test(fork_under_load),
		cmocka_unit_test(child_opens_its_own),
		cmocka_unit_test(threads_cancelled_while_faulting),
		cmocka_unit_test(threads_cancelled_asynchronously),
		cmocka_unit_test(many_short_threads),
		cmocka_unit_test(small_stacks),
		cmocka_unit_test(alternate_stacks),
		cmocka_unit_test(faults_inside_signal_handlers),
		cmocka_unit_test(exit_without_close),
		cmocka_unit_test(pager_takes_no_signals),
		cmocka_unit_test(default_action_kills),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
