/* SPDX-License-Identifier: MIT */
/*
 * harness.h - what every native test needs: a process, a directory, a pattern.
 *
 * Each test runs in a process of its own, with a new directory (the current
 * one), and is killed with everything it started when it does not come back.
 * A crash is one failed test. The directory goes whatever happens. Output is
 * TAP, what a failed test said comes as comments after its line.
 *
 *     static void reads_back(void **state) { ... cmocka's asserts ... }
 *     int main(int argc, char **argv)
 *     {
 *             const struct CMUnitTest tests[] = { cmocka_unit_test(reads_back), };
 *             return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
 *     }
 *
 * argv: parts of names; without any, all tests. Environment: QUIRE_TEST_DIR
 * (where the directories are made), QUIRE_TEST_RETRY (P0..P4, for h_open),
 * QUIRE_TEST_OPTS (more options for h_open, "rmap=B,move=0"),
 * QUIRE_TEST_FORK=0 (no process per test, for a debugger; name one test),
 * QUIRE_TEST_SECONDS (how long a test may take; 120).
 *
 * Only the main thread may use cmocka's asserts and h_*() that fail by them;
 * other threads use CHECK, which says where and aborts.
 */
#ifndef QUIRE_TEST_HARNESS_H
#define QUIRE_TEST_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "quire/quire.h"

#define KIB  (1024UL)
#define MIB  (1024UL * KIB)
#define PAGE (4 * KIB)

int h_main(const struct CMUnitTest *tests, size_t n, int argc, char **argv);

/* For threads: cmocka's asserts jump, which only the main thread can follow. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			h_die(__FILE__, __LINE__, #cond);                                          \
	} while (0)
void h_die(const char *file, int line, const char *what) __attribute__((noreturn));

/* Skip this test, saying why; the reason is in the report. */
#define h_skip(...)                                                                                \
	do {                                                                                       \
		printf("SKIP " __VA_ARGS__);                                                       \
		printf("\n");                                                                      \
		fflush(stdout);                                                                    \
		skip();                                                                            \
	} while (0)

/* A page that was let go of may be held by another thread for a moment, which has read or
 * written it: wait until the value is as it must become. Never: the test times out. */
#define assert_becomes(value, want)                                                                \
	do {                                                                                       \
		while ((uint64_t)(value) != (uint64_t)(want))                                      \
			h_sleep_ms(1);                                                             \
	} while (0)

/* The call must fail, with that errno. */
#define assert_errno(call, want)                                                                   \
	do {                                                                                       \
		errno = 0;                                                                         \
		assert_int_equal((long)(call), -1);                                                \
		assert_int_equal(errno, (want));                                                   \
	} while (0)
#define assert_map_errno(call, want)                                                               \
	do {                                                                                       \
		errno = 0;                                                                         \
		assert_ptr_equal((call), MAP_FAILED);                                              \
		assert_int_equal(errno, (want));                                                   \
	} while (0)
#define assert_ok(call) h_ok((call), #call, __FILE__, __LINE__)
void h_ok(long result, const char *call, const char *file, int line);

/* ---- a quire ---- */

/* The default of most tests: small enough that a few MiB do not fit. */
#define H_BUDGET (16 * MIB)

/* Open with a budget, what QUIRE_TEST_RETRY and QUIRE_TEST_OPTS say, and more opts or NULL. */
struct quire *h_open(uint64_t memory, const char *opts);
/* Map all of [off, off+len) of fd, or fail the test. */
void *h_map(struct quire *q, size_t len, int prot, int flags, int fd, off_t off);
struct quire_stats h_stats(struct quire *q);
/*
 * msync after the cause of a failing write has gone. The first call may still
 * report a write-back that failed in the background, with that errno; the next
 * must succeed.
 */
void h_msync_healed(struct quire *q, void *p, size_t len, int error);

/* ---- files whose every word says where it belongs ---- */

/* The 8 bytes at offset (a multiple of 8) of a file made with seed. */
uint64_t h_word(uint64_t seed, uint64_t offset);
/* Byte i of the pattern, at any offset. */
uint8_t h_byte(uint64_t seed, uint64_t offset);
void h_fill(void *buf, size_t len, uint64_t seed, uint64_t offset);
/* Offset in buf of the first byte that is not the pattern's, or -1. */
ssize_t h_differs(const void *buf, size_t len, uint64_t seed, uint64_t offset);
#define assert_pattern(buf, len, seed, offset)                                                     \
	assert_int_equal(h_differs((buf), (len), (seed), (offset)), -1)
/* The len bytes at p are all c. */
ssize_t h_not_all(const void *p, size_t len, int c);
#define assert_all(p, len, c) assert_int_equal(h_not_all((p), (len), (c)), -1)

/* A new file of len patterned bytes, open for reading and writing. */
int h_file(const char *name, size_t len, uint64_t seed);
/* The same, of len bytes of zero: a hole. */
int h_sparse(const char *name, size_t len);
/* What the file itself holds, past the kernel's cache: read with pread. */
void h_file_read(int fd, void *buf, size_t len, off_t off);
#define assert_file_pattern(fd, len, seed, off)                                                    \
	assert_int_equal(h_file_differs((fd), (len), (seed), (off)), -1)
ssize_t h_file_differs(int fd, size_t len, uint64_t seed, off_t off);

/* ---- accesses that may fail ---- */

/*
 * Run one access; 0, or the signal it got (SIGBUS or SIGSEGV), with the address
 * it came with in h_fault_addr and si_code in h_fault_code. From any thread.
 * h_catch() must have been called once, after quire_open().
 */
void h_catch(void);
extern __thread void *volatile h_fault_addr;
extern __thread volatile int h_fault_code;
int h_read(const volatile void *p, uint8_t *value);
int h_write(volatile void *p, uint8_t value);
/* An access that must fail at exactly that address. */
#define assert_sigbus(p)                                                                           \
	do {                                                                                       \
		uint8_t value__;                                                                   \
		assert_int_equal(h_read((p), &value__), SIGBUS);                                   \
		assert_ptr_equal(h_fault_addr, (p));                                               \
	} while (0)

/* ---- a store that fails on command ---- */

struct h_store {
	uint8_t *data;
	uint64_t length;
	_Atomic int read_error; /* errno every read fails with, 0: none */
	_Atomic int write_error;
	_Atomic int sync_error;
	_Atomic uint64_t fail_from; /* only at offsets in [from, to); 0,0: all */
	_Atomic uint64_t fail_to;
	_Atomic int fail_count;                /* > 0: so many failures, then none; 0: for ever */
	_Atomic int delay_us;                  /* each read takes that long */
	_Atomic uint64_t reads, writes, syncs; /* calls that succeeded */
	_Atomic uint64_t read_fails, write_fails;
	_Atomic uint64_t read_bytes;
};
extern const struct quire_store_ops h_store_ops;
/* Data is the pattern of seed. It lives until the process ends. */
struct h_store *h_store_new(uint64_t length, uint64_t seed);
void *h_map_store(struct quire *q, size_t len, int prot, int flags, struct h_store *s);

/* ---- mounts ---- */

/*
 * A mount namespace of our own, which ends with this process and its mounts with it;
 * within a user namespace, as its root, when we are not root. False: not on this machine.
 */
bool h_mounts_alone(void);
/* A new directory with a new tmpfs on it, in such a namespace; opts: "size=8m". */
bool h_mount_tmpfs(const char *dir, const char *opts);

/* ---- rest ---- */

/* xorshift: the state is the caller's, never 0. */
uint64_t h_random(uint64_t *state);
/* "P0".."P4" or NULL. */
const char *h_retry(void);
/* Are we built with AddressSanitizer: it has memory and time of its own. */
bool h_sanitized(void);
/* Sleep; for what happens in the background, within a loop that ends by it. */
void h_sleep_ms(int ms);

#endif
