/* SPDX-License-Identifier: MIT */
/*
 * test_open.c - opening and closing a quire: budgets, options that grow, what
 * is refused and in which words.
 */
#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static struct quire *try_open(uint64_t memory, const char *opts)
{
	struct quire_options o = { .size = sizeof(o), .memory = memory, .opts = opts };

	errno = 0;
	return quire_open(&o);
}

static void opens_and_closes(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct quire_stats s = h_stats(q);

	assert_int_equal(s.memory, H_BUDGET);
	assert_int_equal(s.mappings, 0);
	assert_true(s.charged <= H_BUDGET);
	assert_ok(quire_close(q));
}

static void close_of_null(void **state)
{
	assert_ok(quire_close(NULL));
}

static void opens_again_and_again(void **state)
{
	int fd = h_file("f", MIB, 1), i;

	for (i = 0; i < 50; i++) {
		struct quire *q = h_open(H_BUDGET, NULL);
		uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

		assert_pattern(p + 4096 * i, 4096, 1, 4096UL * i);
		assert_ok(quire_close(q));
	}
}

static void no_descriptor_leaks(void **state)
{
	int fd = h_file("f", MIB, 1), before = -1, i, next;

	for (i = 0; i < 10; i++) {
		struct quire *q = h_open(H_BUDGET, NULL);
		uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);

		assert_pattern(p, 4096, 1, 0);
		assert_ok(quire_close(q));
		next = dup(fd);
		close(next);
		if (i == 1)
			before = next;
	}
	assert_int_equal(next, before);
}

static void two_quires_at_once(void **state)
{
	int fd = h_file("f", 4 * MIB, 1);
	struct quire *a = h_open(H_BUDGET, NULL), *b = h_open(2 * H_BUDGET, NULL);
	uint8_t *p = h_map(a, 4 * MIB, PROT_READ, MAP_SHARED, fd, 0);
	uint8_t *r = h_map(b, 4 * MIB, PROT_READ, MAP_SHARED, fd, 0);

	assert_pattern(p, 4 * MIB, 1, 0);
	assert_pattern(r, 4 * MIB, 1, 0);
	assert_true(quire_contains(a, p, 1));
	assert_false(quire_contains(b, p, 1));
	assert_false(quire_contains(a, r, 1));
	assert_ok(quire_close(a));
	assert_pattern(r, 4 * MIB, 1, 0);
	assert_int_equal(h_stats(b).memory, 2 * H_BUDGET);
	assert_ok(quire_close(b));
}

static void budget_is_required(void **state)
{
	assert_null(try_open(0, NULL));
	assert_int_equal(errno, EINVAL);
	assert_true(strlen(quire_error()) > 0);
}

static void budget_too_small_names_the_least(void **state)
{
	uint64_t least = quire_memory_min();
	struct quire *q;

	assert_true(least > 0);
	assert_null(try_open(least - 1, NULL));
	assert_int_equal(errno, ENOSPC);
	assert_true(strlen(quire_error()) > 0);
	q = h_open(least, NULL);
	assert_ok(quire_close(q));
}

static void least_budget_works(void **state)
{
	struct quire *q = h_open(quire_memory_min(), NULL);
	int fd = h_file("f", 8 * MIB, 1);
	uint8_t *p = h_map(q, 8 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_pattern(p, 8 * MIB, 1, 0);
	h_fill(p, 8 * MIB, 2, 0);
	assert_pattern(p, 8 * MIB, 2, 0);
	assert_true(h_stats(q).charged_max <= quire_memory_min());
	assert_ok(quire_close(q));
	assert_file_pattern(fd, 8 * MIB, 2, 0);
}

static void options_are_checked(void **state)
{
	static const char *const bad[] = {
		"nonsense=1", "retry=P9",  "retry=",  "retry", "readahead=x",   "readahead=-1",
		"direct=2",   "dirty=101", "dirty=x", "=",     "retry=P1,zz=1",
	};
	static const char *const good[] = {
		"",         "retry=P0", "retry=P1",    "retry=P2",
		"retry=P3", "retry=P4", "readahead=0", "readahead=1M",
		"direct=0", "direct=1", "dirty=5",     "retry=P2,readahead=128K,direct=0,dirty=20",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct quire *q = try_open(H_BUDGET, bad[i]);

		if (q || errno != EINVAL || !quire_error()[0])
			fail_msg("opts \"%s\": %s, errno %d, \"%s\"", bad[i],
				 q ? "opened" : "refused", errno, quire_error());
	}
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct quire *q = try_open(H_BUDGET, good[i]);

		if (!q)
			fail_msg("opts \"%s\": errno %d, \"%s\"", good[i], errno, quire_error());
		assert_ok(quire_close(q));
	}
}

static void every_option_reads_and_writes(void **state)
{
	static const char *const opts[] = { "direct=0",     "direct=1", "readahead=0",
					    "readahead=2M", "dirty=1",  "dirty=90" };
	size_t i;

	for (i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		struct quire *q = h_open(8 * MIB, opts[i]);
		int fd = h_file("f", 12 * MIB, i);
		uint8_t *p = h_map(q, 12 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		assert_pattern(p, 12 * MIB, i, 0);
		h_fill(p, 12 * MIB, i + 100, 0);
		assert_pattern(p, 12 * MIB, i + 100, 0);
		assert_ok(quire_msync(q, p, 12 * MIB, MS_SYNC));
		assert_file_pattern(fd, 12 * MIB, i + 100, 0);
		assert_ok(quire_close(q));
		close(fd);
	}
}

static void members_are_checked(void **state)
{
	struct quire_options o = { .size = sizeof(o), .memory = H_BUDGET, .retry = 6 };

	assert_null(quire_open(&o));
	assert_int_equal(errno, EINVAL);
	o.retry = QUIRE_RETRY_FOLIO;
	o.flags = 1;
	assert_null(quire_open(&o));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(quire_open(NULL));
	assert_int_equal(errno, EINVAL);
	o.flags = 0;
	o.size = 0;
	assert_null(quire_open(&o));
	assert_int_equal(errno, EINVAL);
}

/* A program that is newer than the library: more members than we know. */
static void options_that_grew(void **state)
{
	struct {
		struct quire_options o;
		uint64_t more[4];
	} big = { .o = { .size = sizeof(big), .memory = H_BUDGET } };
	struct quire *q = quire_open(&big.o);

	assert_non_null(q);
	assert_ok(quire_close(q));
	big.more[3] = 1;
	errno = 0;
	assert_null(quire_open(&big.o));
	assert_int_equal(errno, E2BIG);
}

/* One that is older: what it does not have is as if zero. */
static void options_of_an_older_program(void **state)
{
	struct quire_options o = { .size = offsetof(struct quire_options, opts),
				   .memory = H_BUDGET,
				   .opts = "nonsense=1" };
	struct quire *q = quire_open(&o);

	assert_non_null(q);
	assert_ok(quire_close(q));
}

static void key_wins_over_member(void **state)
{
	struct quire_options o = {
		.size = sizeof(o), .memory = H_BUDGET, .retry = 77, .opts = "retry=P1"
	};
	struct quire *q;

	o.retry = QUIRE_RETRY_MMAP;
	q = quire_open(&o);
	assert_non_null(q);
	assert_ok(quire_close(q));
}

static void stats_of_any_size(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct {
		struct quire_stats s;
		uint64_t more[2];
	} big = { .s = { .size = sizeof(big) }, .more = { 7, 7 } };
	struct quire_stats small;

	assert_ok(quire_stats(q, &big.s));
	assert_int_equal(big.s.memory, H_BUDGET);
	memset(&small, 0x5a, sizeof(small));
	small.size = offsetof(struct quire_stats, charged_max);
	assert_ok(quire_stats(q, &small));
	assert_int_equal(small.memory, H_BUDGET);
	assert_all(&small.charged_max, sizeof(small) - offsetof(struct quire_stats, charged_max),
		   0x5a);
	small.size = 0;
	assert_errno(quire_stats(q, &small), EINVAL);
	assert_ok(quire_close(q));
}

static void probe_says_what_is_there(void **state)
{
	struct quire_probe p = { .size = sizeof(p) };

	assert_ok(quire_probe(&p));
	assert_true(p.kernel[0] != '\0');
	assert_int_equal(p.uffd_errno, 0);
	assert_true(p.uffd_features != 0);
	assert_true(p.sigbus);
	assert_true(p.minor_shmem);
	assert_true(p.wp_shmem);
	p.size = 0;
	assert_errno(quire_probe(&p), EINVAL);
}

static void version_is_set(void **state)
{
	assert_string_equal(quire_version(), "0.1.0");
}

static void error_is_never_null(void **state)
{
	assert_string_equal(quire_error(), "");
	assert_null(try_open(0, NULL));
	assert_true(strlen(quire_error()) > 10);
	assert_null(strchr(quire_error(), '\n'));
}

/* Seccomp answers userfaultfd with an errno, as a container does. */
static void userfaultfd_refuse(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned int)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	assert_ok(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	assert_ok(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

static void refused(int error)
{
	struct quire_probe p = { .size = sizeof(p) };

	userfaultfd_refuse(error);
	assert_null(try_open(H_BUDGET, NULL));
	assert_int_equal(errno, error);
	assert_non_null(strstr(quire_error(), "userfaultfd"));
	assert_non_null(strstr(quire_error(), "quire doctor"));
	assert_ok(quire_probe(&p));
	assert_int_equal(p.uffd_errno, error);
}

static void userfaultfd_denied(void **state)
{
	refused(EPERM);
}

static void userfaultfd_missing(void **state)
{
	refused(ENOSYS);
}

static void no_descriptors_left(void **state)
{
	struct rlimit r = { .rlim_cur = 3, .rlim_max = 3 };

	assert_ok(setrlimit(RLIMIT_NOFILE, &r));
	assert_null(try_open(H_BUDGET, NULL));
	assert_int_equal(errno, EMFILE);
}

static void bad_calls_on_structs(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct sigaction sa = { .sa_handler = SIG_DFL };

	assert_errno(quire_sigaction(SIGSEGV, &sa, NULL), EINVAL);
	assert_errno(quire_sigaction(0, &sa, NULL), EINVAL);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_and_closes),
		cmocka_unit_test(close_of_null),
		cmocka_unit_test(opens_again_and_again),
		cmocka_unit_test(no_descriptor_leaks),
		cmocka_unit_test(two_quires_at_once),
		cmocka_unit_test(budget_is_required),
		cmocka_unit_test(budget_too_small_names_the_least),
		cmocka_unit_test(least_budget_works),
		cmocka_unit_test(options_are_checked),
		cmocka_unit_test(every_option_reads_and_writes),
		cmocka_unit_test(members_are_checked),
		cmocka_unit_test(options_that_grew),
		cmocka_unit_test(options_of_an_older_program),
		cmocka_unit_test(key_wins_over_member),
		cmocka_unit_test(stats_of_any_size),
		cmocka_unit_test(probe_says_what_is_there),
		cmocka_unit_test(version_is_set),
		cmocka_unit_test(error_is_never_null),
		cmocka_unit_test(userfaultfd_denied),
		cmocka_unit_test(userfaultfd_missing),
		cmocka_unit_test(no_descriptors_left),
		cmocka_unit_test(bad_calls_on_structs),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
