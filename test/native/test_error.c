/* SPDX-License-Identifier: MIT */
/*
 * test_error.c - a read that fails: SIGBUS at that byte, or the callback, and
 * the next access tries again. And SIGBUS that is not ours.
 */
#include "harness.h"

#include <pthread.h>

#define RW (PROT_READ | PROT_WRITE)

static void read_error_is_sigbus(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s), byte;

	h_catch();
	s->read_error = EIO;
	assert_sigbus(p + 12345);
	assert_int_equal(h_write(p + 54321, 1), SIGBUS);
	assert_ptr_equal(h_fault_addr, p + 54321);
	assert_true(s->read_fails >= 2);
	assert_true(h_stats(q).read_errors > 0);
	assert_true(h_stats(q).faults_error >= 2);
	/* The next access tries again. */
	s->read_error = 0;
	assert_int_equal(h_read(p + 12345, &byte), 0);
	assert_int_equal(byte, h_byte(1, 12345));
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void only_the_bad_page_fails(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(4 * MIB, 1);
	uint8_t *p = h_map_store(q, 4 * MIB, PROT_READ, MAP_SHARED, s), byte;
	size_t at;

	h_catch();
	s->fail_from = 2 * MIB + 7 * PAGE;
	s->fail_to = 2 * MIB + 8 * PAGE;
	s->read_error = EIO;
	/* Readahead over the bad page spoils nobody else's. */
	for (at = 0; at < 4 * MIB; at += PAGE) {
		int sig = h_read(p + at, &byte);

		if (at == 2 * MIB + 7 * PAGE) {
			assert_int_equal(sig, SIGBUS);
			assert_ptr_equal(h_fault_addr, p + at);
		} else {
			if (sig)
				fail_msg("page %zu: signal %d", at / PAGE, sig);
			assert_int_equal(byte, h_byte(1, at));
		}
	}
	assert_ok(quire_close(q));
}

static volatile int calls;
static struct quire_error_info last;

static enum quire_error_action give_up(const struct quire_error_info *info, void *arg)
{
	calls++;
	last = *info;
	return QUIRE_ERROR_SIGNAL;
}

static enum quire_error_action heal(const struct quire_error_info *info, void *arg)
{
	struct h_store *s = arg;

	last = *info;
	if (++calls == 3)
		s->read_error = 0;
	return QUIRE_ERROR_RETRY;
}

static sigjmp_buf out;

static enum quire_error_action jump(const struct quire_error_info *info, void *arg)
{
	calls++;
	last = *info;
	siglongjmp(out, 1);
}

static void callback_is_told(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_SHARED, s);

	h_catch();
	assert_ok(quire_on_error(q, p, MIB, give_up, NULL));
	s->read_error = EIO;
	assert_sigbus(p + 5 * PAGE + 77);
	assert_int_equal(calls, 1);
	assert_true(last.size >= sizeof(last));
	assert_ptr_equal(last.addr, p + 5 * PAGE + 77);
	assert_int_equal(last.offset, 5 * PAGE + 77);
	assert_int_equal(last.error, EIO);
	assert_int_equal(last.write, 0);
	assert_int_equal(h_write(p + 6 * PAGE, 1), SIGBUS);
	assert_int_equal(calls, 2);
	assert_int_equal(last.write, 1);
	s->read_error = ESTALE;
	assert_sigbus(p);
	assert_int_equal(last.error, ESTALE);
	assert_ok(quire_close(q));
}

static void callback_heals_and_retries(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, PROT_READ, MAP_SHARED, s);

	assert_ok(quire_on_error(q, p, MIB, heal, s));
	s->read_error = EIO;
	assert_int_equal(p[999], h_byte(1, 999));
	assert_int_equal(calls, 3);
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

/* After the jump nothing is held: the same page, msync and munmap all work. */
static void callback_jumps_out(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *volatile p = h_map_store(q, MIB, RW, MAP_SHARED, s);
	volatile int i;

	assert_ok(quire_on_error(q, p, MIB, jump, NULL));
	for (i = 0; i < 100; i++) {
		s->read_error = EIO;
		if (sigsetjmp(out, 1) == 0) {
			p[i * PAGE] = 1;
			fail();
		}
		assert_int_equal(calls, i + 1);
		s->read_error = 0;
		p[i * PAGE] = 2;
	}
	assert_ok(quire_msync(q, p, MIB, MS_SYNC));
	assert_int_equal(s->data[7 * PAGE], 2);
	assert_ok(quire_munmap(q, p, MIB));
	assert_ok(quire_close(q));
}

static void callback_of_a_part(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, PROT_READ, MAP_SHARED, s);

	h_catch();
	s->read_error = EIO;
	assert_ok(quire_on_error(q, p, MIB, give_up, NULL));
	assert_sigbus(p + MIB / 2);
	assert_int_equal(calls, 1);
	/* NULL takes it away again. */
	assert_ok(quire_on_error(q, p, MIB, NULL, NULL));
	assert_sigbus(p);
	assert_int_equal(calls, 1);
	assert_errno(quire_on_error(q, p + 1, PAGE, give_up, NULL), EINVAL);
	assert_errno(quire_on_error(q, p, 2 * MIB, give_up, NULL), ENOMEM);
	assert_ok(quire_munmap(q, p + 5 * PAGE, PAGE));
	assert_errno(quire_on_error(q, p, MIB, give_up, NULL), ENOMEM);
	assert_ok(quire_close(q));
}

static void private_copy_of_a_bad_page(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map_store(q, MIB, RW, MAP_PRIVATE, s);

	h_catch();
	s->read_error = EIO;
	assert_int_equal(h_write(p + 10, 1), SIGBUS);
	assert_ptr_equal(h_fault_addr, p + 10);
	s->read_error = 0;
	assert_int_equal(h_write(p + 10, 1), 0);
	assert_int_equal(p[9], h_byte(1, 9));
	assert_int_equal(s->data[10], h_byte(1, 10));
	assert_ok(quire_close(q));
}

static void store_arguments(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	struct quire_store_ops ro = h_store_ops, none = h_store_ops;
	struct {
		struct quire_store_ops ops;
		void *more;
	} big = { .ops = h_store_ops, .more = s };
	uint8_t *p;

	ro.write = NULL;
	none.read = NULL;
	assert_map_errno(quire_mmap_store(q, NULL, MIB, RW, MAP_SHARED, &ro, s, MIB, 0), EACCES);
	p = quire_mmap_store(q, NULL, MIB, RW, MAP_PRIVATE, &ro, s, MIB, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	p[3] = 4;
	assert_int_equal(p[3], 4);
	p = quire_mmap_store(q, NULL, MIB, PROT_READ, MAP_SHARED, &ro, s, MIB, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_pattern(p, MIB, 1, 0);
	assert_errno(quire_mprotect(q, p, MIB, RW), EACCES);
	assert_map_errno(quire_mmap_store(q, NULL, MIB, PROT_READ, MAP_SHARED, &none, s, MIB, 0),
			 EINVAL);
	assert_map_errno(quire_mmap_store(q, NULL, MIB, PROT_READ, MAP_SHARED, NULL, s, MIB, 0),
			 EINVAL);
	assert_map_errno(quire_mmap_store(q, NULL, 0, PROT_READ, MAP_SHARED, &ro, s, MIB, 0),
			 EINVAL);
	assert_map_errno(quire_mmap_store(q, NULL, MIB, PROT_READ, MAP_SHARED, &ro, s, MIB, 5),
			 EINVAL);
	big.ops.size = sizeof(big);
	assert_map_errno(quire_mmap_store(q, NULL, MIB, PROT_READ, MAP_SHARED, &big.ops, s, MIB, 0),
			 E2BIG);
	big.more = NULL;
	p = quire_mmap_store(q, NULL, MIB, PROT_READ, MAP_SHARED, &big.ops, s, MIB, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_ok(quire_close(q));
}

static void views_of_a_store_are_coherent(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1), *t = h_store_new(MIB, 2);
	uint8_t *a = h_map_store(q, MIB, RW, MAP_SHARED, s);
	uint8_t *b = h_map_store(q, MIB, RW, MAP_SHARED, s);
	uint8_t *c = h_map_store(q, MIB, RW, MAP_SHARED, t);

	a[500] = 1;
	assert_int_equal(b[500], 1);
	assert_pattern(c, MIB, 2, 0);
	assert_ok(quire_close(q));
	assert_int_equal(s->data[500], 1);
}

static void store_of_odd_length(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(3 * PAGE + 100, 1);
	uint8_t *p = h_map_store(q, 5 * PAGE, RW, MAP_SHARED, s);

	h_catch();
	assert_pattern(p, 3 * PAGE + 100, 1, 0);
	assert_all(p + 3 * PAGE + 100, PAGE - 100, 0);
	assert_sigbus(p + 4 * PAGE);
	p[3 * PAGE + 99] = 9;
	p[3 * PAGE + 100] = 8;
	assert_ok(quire_close(q));
	assert_int_equal(s->data[3 * PAGE + 99], 9);
}

static void slow_store(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(64 * PAGE, 1);
	uint8_t *p = h_map_store(q, 64 * PAGE, PROT_READ, MAP_SHARED, s);

	s->delay_us = 5000;
	assert_pattern(p, 64 * PAGE, 1, 0);
	assert_ok(quire_close(q));
}

/* A SIGBUS of the program's own file mapping goes where it did before. */
static volatile int foreign;
static sigjmp_buf foreign_env;
static void *volatile foreign_addr;

static void foreign_sigbus(int sig, siginfo_t *info, void *uc)
{
	foreign++;
	foreign_addr = info->si_addr;
	siglongjmp(foreign_env, 1);
}

static void own_handler_before_open(void **state)
{
	struct sigaction sa = { .sa_sigaction = foreign_sigbus, .sa_flags = SA_SIGINFO };
	int fd = h_file("f", MIB, 1), fd2 = h_file("g", PAGE, 1);
	uint8_t *m = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd2, 0);
	struct quire *q;
	uint8_t *p;

	sigemptyset(&sa.sa_mask);
	assert_ok(sigaction(SIGBUS, &sa, NULL));
	q = h_open(H_BUDGET, NULL);
	p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	assert_pattern(p, MIB, 1, 0);
	assert_int_equal(foreign, 0);
	if (sigsetjmp(foreign_env, 1) == 0) {
		(void)*(volatile uint8_t *)(m + PAGE + 5);
		fail();
	}
	assert_int_equal(foreign, 1);
	assert_ptr_equal(foreign_addr, m + PAGE + 5);
	assert_ok(quire_madvise(q, p, MIB, MADV_PAGEOUT));
	assert_pattern(p, MIB, 1, 0);
	assert_ok(quire_close(q));
}

static void own_handler_by_sigaction(void **state)
{
	struct sigaction sa = { .sa_sigaction = foreign_sigbus, .sa_flags = SA_SIGINFO }, old;
	int fd = h_file("f", MIB, 1);
	struct quire *q = h_open(H_BUDGET, NULL);
	struct h_store *s = h_store_new(MIB, 1);
	uint8_t *p = h_map(q, MIB, PROT_READ, MAP_SHARED, fd, 0);
	uint8_t *volatile e = h_map_store(q, MIB, PROT_READ, MAP_SHARED, s);

	sigemptyset(&sa.sa_mask);
	assert_ok(quire_sigaction(SIGBUS, &sa, NULL));
	assert_ok(quire_sigaction(SIGBUS, NULL, &old));
	assert_ptr_equal(old.sa_sigaction, foreign_sigbus);
	assert_pattern(p, MIB, 1, 0);
	assert_int_equal(foreign, 0);
	/* Raised, not faulted. */
	if (sigsetjmp(foreign_env, 1) == 0) {
		raise(SIGBUS);
		fail();
	}
	assert_int_equal(foreign, 1);
	/* quire's own errors arrive too. */
	s->read_error = EIO;
	if (sigsetjmp(foreign_env, 1) == 0) {
		(void)*(volatile uint8_t *)(e + 100);
		fail();
	}
	assert_int_equal(foreign, 2);
	assert_ptr_equal(foreign_addr, e + 100);
	assert_ok(quire_close(q));
}

static void nothing_is_shown_of_errno(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	int fd = h_file("f", 16 * MIB, 1), i;
	uint8_t *p = h_map(q, 16 * MIB, RW, MAP_SHARED, fd, 0);
	uint64_t r = 3;

	for (i = 0; i < 5000; i++) {
		uint64_t at = h_random(&r) % (16 * MIB);

		errno = 12345;
		p[at] = h_byte(1, at);
		if (errno != 12345)
			fail_msg("a fault changed errno to %d", errno);
	}
	assert_ok(quire_close(q));
}

/* Readers of a page whose read fails now and then: each sees data or SIGBUS. */
static uint8_t *shared_p;
static _Atomic uint64_t failures;

static void *faulty_reader(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	uint8_t byte;
	int i;

	for (i = 0; i < 3000; i++) {
		uint64_t at = h_random(&r) % (16 * MIB);
		int sig = h_read(shared_p + at, &byte);

		if (sig) {
			CHECK(sig == SIGBUS);
			CHECK(h_fault_addr == shared_p + at);
			failures++;
		} else {
			CHECK(byte == h_byte(1, at));
		}
	}
	return NULL;
}

static void errors_under_threads(void **state)
{
	struct quire *q = h_open(4 * MIB, NULL);
	struct h_store *s = h_store_new(16 * MIB, 1);
	pthread_t t[8];
	size_t i;

	shared_p = h_map_store(q, 16 * MIB, PROT_READ, MAP_SHARED, s);
	h_catch();
	s->fail_from = 4 * MIB;
	s->fail_to = 8 * MIB;
	s->read_error = EIO;
	for (i = 0; i < 8; i++)
		assert_int_equal(
			pthread_create(&t[i], NULL, faulty_reader, (void *)(uintptr_t)(i + 1)), 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	/* A quarter of the file: 6000 of 24000, give or take. */
	assert_in_range(failures, 5000, 7000);
	s->read_error = 0;
	assert_pattern(shared_p, 16 * MIB, 1, 0);
	assert_ok(quire_close(q));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_error_is_sigbus),
		cmocka_unit_test(only_the_bad_page_fails),
		cmocka_unit_test(callback_is_told),
		cmocka_unit_test(callback_heals_and_retries),
		cmocka_unit_test(callback_jumps_out),
		cmocka_unit_test(callback_of_a_part),
		cmocka_unit_test(private_copy_of_a_bad_page),
		cmocka_unit_test(store_arguments),
		cmocka_unit_test(views_of_a_store_are_coherent),
		cmocka_unit_test(store_of_odd_length),
		cmocka_unit_test(slow_store),
		cmocka_unit_test(own_handler_before_open),
		cmocka_unit_test(own_handler_by_sigaction),
		cmocka_unit_test(nothing_is_shown_of_errno),
		cmocka_unit_test(errors_under_threads),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
