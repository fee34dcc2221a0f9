/* SPDX-License-Identifier: MIT */
/*
 * range.c - see range.h.
 *
 * A sorted array of disjoint, non-touching ranges in memory of its own: the
 * wrappers must not call malloc, which may be the caller.
 */
#include "run/range.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct range {
	uintptr_t start;
	uintptr_t end;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct range *ranges; /* under lock, as all below */
static size_t count;
static size_t room;

_Atomic uintptr_t range_low = UINTPTR_MAX;
_Atomic uintptr_t range_high;

void range_lock(void)
{
	pthread_mutex_lock(&lock);
}

void range_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

int range_reserve(void)
{
	size_t more = room ? room * 2 : 4096 / sizeof(*ranges);
	long p;

	/* A del may split one, an add may insert one. */
	if (count + 2 <= room)
		return 0;
	if (room)
		p = syscall(SYS_mremap, ranges, room * sizeof(*ranges), more * sizeof(*ranges),
			    MREMAP_MAYMOVE);
	else
		p = syscall(SYS_mmap, NULL, more * sizeof(*ranges), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == -1)
		return -1;
	ranges = (struct range *)p;
	room = more;
	return 0;
}

/* Index of the first range that ends after addr. */
static size_t first_after(uintptr_t addr)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (ranges[middle].end > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Replaces ranges [i, j) by n ranges. */
static void splice_ranges(size_t i, size_t j, const struct range *with, size_t n)
{
	memmove(ranges + i + n, ranges + j, (count - j) * sizeof(*ranges));
	memcpy(ranges + i, with, n * sizeof(*ranges));
	count = count - (j - i) + n;
}

void range_add(uintptr_t start, uintptr_t end)
{
	struct range all = { start, end };
	/* One that ends where we start is joined too. */
	size_t i = start ? first_after(start - 1) : 0;
	size_t j = i;

	for (; j < count && ranges[j].start <= end; j++) {
		if (ranges[j].start < all.start)
			all.start = ranges[j].start;
		if (ranges[j].end > all.end)
			all.end = ranges[j].end;
	}
	splice_ranges(i, j, &all, 1);
	if (start < atomic_load_explicit(&range_low, memory_order_relaxed))
		atomic_store_explicit(&range_low, start, memory_order_relaxed);
	if (end > atomic_load_explicit(&range_high, memory_order_relaxed))
		atomic_store_explicit(&range_high, end, memory_order_relaxed);
}

void range_del(uintptr_t start, uintptr_t end)
{
	struct range rest[2];
	size_t i = first_after(start);
	size_t j = i;
	size_t n = 0;

	while (j < count && ranges[j].start < end)
		j++;
	if (i == j)
		return;
	if (ranges[i].start < start)
		rest[n++] = (struct range){ ranges[i].start, start };
	if (ranges[j - 1].end > end)
		rest[n++] = (struct range){ end, ranges[j - 1].end };
	splice_ranges(i, j, rest, n);
}

bool range_next(uintptr_t start, uintptr_t end, uintptr_t *from, uintptr_t *to)
{
	size_t i = first_after(start);

	if (start >= end || i == count || ranges[i].start >= end)
		return false;
	*from = ranges[i].start > start ? ranges[i].start : start;
	*to = ranges[i].end < end ? ranges[i].end : end;
	return true;
}

void range_reset(void)
{
	count = 0;
	atomic_store(&range_low, UINTPTR_MAX);
	atomic_store(&range_high, 0);
}
