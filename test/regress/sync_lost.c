/* SPDX-License-Identifier: MIT */
/* Seen: after an msync whose fdatasync(2) failed the next one was 0, and a power cut lost the
 * data. Why: such a failure is told once; what it was for is to be written again. */
#include "harness.h"

#define RW  (PROT_READ | PROT_WRITE)
#define LEN (16 * PAGE)

/* A store as a file on Linux: a sync that fails forgets what it was for. */
struct device {
	uint8_t cache[LEN], durable[LEN];
	bool fresh[LEN / PAGE]; /* written, and neither synced nor lost */
	_Atomic int sync_error;
	_Atomic int syncs;
};

static ssize_t device_read(void *ctx, void *buf, size_t len, uint64_t off)
{
	struct device *d = ctx;

	memcpy(buf, d->cache + off, len);
	return (ssize_t)len;
}

static ssize_t device_write(void *ctx, const void *buf, size_t len, uint64_t off)
{
	struct device *d = ctx;

	memcpy(d->cache + off, buf, len);
	for (size_t at = off; at < off + len; at += PAGE)
		d->fresh[at / PAGE] = true;
	return (ssize_t)len;
}

static int device_sync(void *ctx)
{
	struct device *d = ctx;

	d->syncs++;
	for (size_t p = 0; p < LEN / PAGE; p++) {
		if (d->fresh[p] && !d->sync_error)
			memcpy(d->durable + p * PAGE, d->cache + p * PAGE, PAGE);
		d->fresh[p] = false;
	}
	return -d->sync_error;
}

static const struct quire_store_ops ops = {
	.size = sizeof(ops), .read = device_read, .write = device_write, .sync = device_sync
};

static struct device *device_new(void)
{
	struct device *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	h_fill(d->cache, LEN, 1, 0);
	h_fill(d->durable, LEN, 1, 0);
	return d;
}

static uint8_t *map(struct quire *q, struct device *d)
{
	uint8_t *p = quire_mmap_store(q, NULL, LEN, RW, MAP_SHARED, &ops, d, LEN, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void it_is_written_again(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct device *d = device_new();
	uint8_t *p = map(q, d);

	h_fill(p, LEN / 2, 2, 0);
	assert_ok(quire_msync(q, p, LEN, MS_SYNC));
	h_fill(p + LEN / 2, LEN / 4, 3, LEN / 2);
	d->sync_error = ENOSPC;
	assert_errno(quire_msync(q, p, LEN, MS_SYNC), ENOSPC);
	d->sync_error = 0;
	/* What an earlier sync has made durable is not written again. */
	assert_int_equal(h_stats(q).dirty, LEN / 4);
	assert_ok(quire_msync(q, p, LEN, MS_SYNC));
	assert_int_equal(h_stats(q).dirty, 0);
	assert_pattern(d->durable, LEN / 2, 2, 0);
	assert_pattern(d->durable + LEN / 2, LEN / 4, 3, LEN / 2);
	assert_pattern(d->durable + LEN / 4 * 3, LEN / 4, 1, LEN / 4 * 3);
	assert_ok(quire_close(q));
}

/* Dropped from the cache, it cannot be: msync says so until the store is unmapped. */
static void what_is_gone_is_told_for_good(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct device *d = device_new();
	uint8_t *p = map(q, d);

	h_fill(p, LEN / 2, 2, 0);
	assert_ok(quire_madvise(q, p, LEN, MADV_PAGEOUT));
	d->sync_error = EIO;
	assert_errno(quire_msync(q, p, LEN, MS_SYNC), EIO);
	d->sync_error = 0;
	for (int i = 0; i < 3; i++)
		assert_errno(quire_msync(q, p, LEN, MS_SYNC), EIO);
	/* It syncs, all the same. */
	h_fill(p + LEN / 2, LEN / 2, 3, LEN / 2);
	assert_errno(quire_msync(q, p, LEN, MS_SYNC), EIO);
	assert_pattern(d->durable + LEN / 2, LEN / 2, 3, LEN / 2);
	assert_ok(quire_munmap(q, p, LEN));
	p = map(q, d);
	h_fill(p, LEN, 4, 0);
	assert_ok(quire_msync(q, p, LEN, MS_SYNC));
	assert_pattern(d->durable, LEN, 4, 0);
	assert_ok(quire_close(q));
}

/* What was dropped after a good sync is durable: nothing is lost by one that fails later. */
static void what_was_durable_may_go(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct device *d = device_new();
	uint8_t *p = map(q, d);

	h_fill(p, LEN, 2, 0);
	assert_ok(quire_msync(q, p, LEN, MS_SYNC));
	assert_ok(quire_madvise(q, p, LEN, MADV_PAGEOUT));
	p[0] ^= 0xff;
	d->sync_error = EIO;
	assert_errno(quire_msync(q, p, LEN, MS_SYNC), EIO);
	d->sync_error = 0;
	assert_ok(quire_msync(q, p, LEN, MS_SYNC));
	assert_int_equal(d->durable[0], h_byte(2, 0) ^ 0xff);
	assert_pattern(d->durable + PAGE, LEN - PAGE, 2, PAGE);
	assert_ok(quire_close(q));
}

/* Eras are told apart by few bits: the 255th sync is none that they mistake. */
static void over_many_syncs(void **state)
{
	struct quire *q = h_open(H_BUDGET, NULL);
	struct device *d = device_new();
	uint8_t *p = map(q, d);

	for (int i = 0; i < 600; i++) {
		p[i % (LEN / PAGE) * PAGE] = (uint8_t)i;
		d->sync_error = i % 7 == 3 ? EIO : 0;
		if (d->sync_error)
			assert_errno(quire_msync(q, p, LEN, MS_SYNC), EIO);
		else
			assert_ok(quire_msync(q, p, LEN, MS_SYNC));
		if (!d->sync_error)
			assert_memory_equal(d->durable, p, LEN);
	}
	d->sync_error = EIO;
	assert_errno(quire_close(q), EIO);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_written_again),
		cmocka_unit_test(what_is_gone_is_told_for_good),
		cmocka_unit_test(what_was_durable_may_go),
		cmocka_unit_test(over_many_syncs),
	};

	return h_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
