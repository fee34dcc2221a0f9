/* SPDX-License-Identifier: MIT */
/*
 * pool.c - see pool.h. The lock is a leaf; shed() empties frames inside it, so that
 * nobody claims one meanwhile.
 */
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/bitmap.h"
#include "rt/native/anon.h"
#include "rt/native/pool.h"
#include "rt/native/range.h"
#include "rt/native/sys.h"

/* A mebibyte, which is not charged to anybody. Half of it goes at once: one flush. */
#define STALE_MAX   256
#define STALE_KEPT  128
#define SHED_RANGES 32

static size_t map_bytes(uint64_t frames)
{
	return BITMAP_WORDS(frames) * sizeof(uint64_t);
}

/* Negative: there is none. */
static int own_pidfd(void)
{
	long pid = sys(SYS_getpid);
	long fd = sys(SYS_pidfd_open, pid, 0L);

	return (int)sys_fd_away(fd);
}

int rt_pool_open(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frames)
{
	if (frames == 0 || frames > INT64_MAX / RT_PAGE)
		return -EINVAL;
	*p = (struct rt_pool){ .frames = frames, .pidfd = -1 };
	rt_lock_init(&p->lock);
	rt_note_class(&p->lock, "pool lock");
	p->base = rt_native_range_take(frames);
	p->there = rt_pages_alloc(map_bytes(frames));
	p->stale = rt_pages_alloc(map_bytes(frames));
	int err = p->base && p->there && p->stale ? 0 : -ENOMEM;
	/* Inaccessible until it is registered: after mlockall(2) it would be populated. */
	if (!err)
		err = rt_native_anon_register(mmu, (uintptr_t)p->base, frames * RT_PAGE);
	if (!err)
		err = (int)sys(SYS_mprotect, p->base, frames * RT_PAGE, PROT_READ | PROT_WRITE);
	if (!err)
		p->pidfd = own_pidfd();
	else
		rt_pool_close(mmu, p);
	return err;
}

void rt_pool_close(struct rt_mmu *mmu, struct rt_pool *p)
{
	(void)mmu;
	if (p->pidfd >= 0)
		sys(SYS_close, p->pidfd);
	rt_pages_free(p->there, map_bytes(p->frames));
	rt_pages_free(p->stale, map_bytes(p->frames));
	if (p->base)
		rt_native_range_give(p->base, p->frames);
	*p = (struct rt_pool){ .pidfd = -1 };
}

void *rt_pool_at(struct rt_pool *p, uint64_t frame)
{
	return p->base + frame * RT_PAGE;
}

static void zap_frames(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frame, uint64_t n)
{
	rt_mmu_zap(mmu, (uintptr_t)rt_pool_at(p, frame), n);
}

static void forget_stale_locked(struct rt_pool *p, uint64_t frame, uint64_t n)
{
	uint64_t end = frame + n, i = bitmap_next(p->stale, end, frame, true);

	for (; i < end; i = bitmap_next(p->stale, end, i + 1, true)) {
		bitmap_clear_run(p->stale, i, 1);
		p->stale_n--;
	}
}

/* --- too many stale frames ------------------------------------------------------------- */

/* The highest stale frames, and empty ones between them, as one range that is not stale any
 * more. The highest: the core takes low numbers first. */
static struct iovec shed_range_locked(struct rt_pool *p)
{
	uint64_t end = p->stale_end, low;

	while (!bitmap_test(p->stale, end - 1))
		end--;
	low = end;
	for (uint64_t i = end; p->stale_n > STALE_KEPT && i-- > 0 && !bitmap_test(p->there, i);) {
		if (bitmap_test(p->stale, i)) {
			low = i;
			bitmap_clear_run(p->stale, i, 1);
			p->stale_n--;
		}
	}
	p->stale_end = low;
	return (struct iovec){ rt_pool_at(p, low), (end - low) * RT_PAGE };
}

/* Scattered frames with one flush: process_madvise(2) on ourselves, Linux 6.13. */
static void zap_ranges(struct rt_mmu *mmu, struct rt_pool *p, struct iovec *ranges, unsigned k)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < k; i++)
		bytes += ranges[i].iov_len;
	if (k > 1 && sys(SYS_process_madvise, p->pidfd, ranges, (unsigned long)k,
			 MADV_DONTNEED_LOCKED, 0L) == (long)bytes)
		return;
	for (unsigned i = 0; i < k; i++)
		rt_mmu_zap(mmu, (uintptr_t)ranges[i].iov_base, ranges[i].iov_len / RT_PAGE);
}

static void shed_locked(struct rt_mmu *mmu, struct rt_pool *p)
{
	struct iovec ranges[SHED_RANGES];

	while (p->stale_n > STALE_KEPT) {
		unsigned k = 0;
		while (k < SHED_RANGES && p->stale_n > STALE_KEPT)
			ranges[k++] = shed_range_locked(p);
		zap_ranges(mmu, p, ranges, k);
	}
}

/* --- from one state to another ------------------------------------------------------------ */

bool rt_pool_claim(struct rt_pool *p, uint64_t frame, uint64_t n, uint64_t *k)
{
	ASSERT(frame + n <= p->frames);
	rt_lock(&p->lock);
	bool stale = bitmap_test(p->stale, frame);
	*k = bitmap_next(p->stale, frame + n, frame, !stale) - frame;
	forget_stale_locked(p, frame, *k);
	ASSERT(!bitmap_test(p->there, frame));
	bitmap_set_run(p->there, frame, *k);
	rt_unlock(&p->lock);
	return stale;
}

void rt_pool_claim_empty(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frame, uint64_t n)
{
	ASSERT(frame + n <= p->frames);
	rt_lock(&p->lock);
	uint64_t before = p->stale_n;
	forget_stale_locked(p, frame, n);
	bool populated = p->stale_n < before;
	ASSERT(!bitmap_test(p->there, frame));
	bitmap_set_run(p->there, frame, n);
	rt_unlock(&p->lock);
	/* They are ours now: nobody sheds them. */
	if (populated)
		zap_frames(mmu, p, frame, n);
}

void rt_pool_emptied(struct rt_pool *p, uint64_t frame, uint64_t n)
{
	rt_lock(&p->lock);
	bitmap_clear_run(p->there, frame, n);
	rt_unlock(&p->lock);
}

static void drop_few_locked(struct rt_pool *p, uint64_t frame, uint64_t n)
{
	for (uint64_t i = frame; i < frame + n; i++) {
		if (!bitmap_test(p->there, i))
			continue;
		bitmap_clear_run(p->there, i, 1);
		bitmap_set_run(p->stale, i, 1);
		p->stale_n++;
		if (p->stale_end <= i)
			p->stale_end = i + 1;
	}
}

void rt_pool_drop(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frame, uint64_t n)
{
	bool few = n < RUN_MOVED;

	ASSERT(frame + n <= p->frames);
	if (!few)
		zap_frames(mmu, p, frame, n);
	rt_lock(&p->lock);
	if (few) {
		drop_few_locked(p, frame, n);
	} else {
		bitmap_clear_run(p->there, frame, n);
		forget_stale_locked(p, frame, n);
	}
	if (p->stale_n > STALE_MAX)
		shed_locked(mmu, p);
	rt_unlock(&p->lock);
}
