/* SPDX-License-Identifier: MIT */
/*
 * anon.c - the pages of anonymous views: filled, taken to frames, put back, moved.
 *
 * A page changes its place by UFFDIO_MOVE, or is copied: write-protected, copied, and
 * unmapped where it was. Both ways are whole; a kernel before 6.8 has the second alone.
 *
 * Which one: MOVE flushes the TLB once for each contiguous stretch; copying does so twice,
 * however much lies between, but makes pages. bench/anon_ops on the development VM, runs with
 * gaps as long in a window of 512 pages, us a page, alone / with a second thread running:
 *
 *	run     out: MOVE     copied       in: MOVE     copied
 *	  1     24 / 57     1.7 / 1.9     4.5 / 4.8     1.9 / 2.2
 *	  4     20 / 35     1.1 / 1.1     3.0 / 3.1     0.8 / 0.9
 *	 16     18 / 36     1.0 / 1.2     2.7 / 5.5     0.4 / 0.5
 *	 33     18 / 14     2.1 / 2.4     2.6 / 4.0     3.4 / 3.7
 *	 34    4.4 / 5.4    3.0 / 3.4     1.7 / 2.2     7.7 / 15
 *	 64    1.3 / 1.7    2.7 / 2.9     0.8 / 0.8     7.0 / 18
 *	128    0.8 / 1.0    2.6 / 2.9     0.4 / 0.5     6.8 / 7.0
 *	512    0.3 / 0.7    1.5 / 1.9     0.2 / 0.3     6.5 / 15
 *
 * The step is the kernel's: on x86-64 it flushes up to 33 pages one by one. Hence RUN_MOVED,
 * where out and in together are cheaper moved. (Up to 16 the frames that are copied to and
 * from are stale ones, from 34 on they are new: pool.h.)
 *
 * What MOVE refuses with -EINVAL is copied too: views that cannot be written, or that
 * mlock(2) was called on. Copying does not see that a page is pinned.
 */
#include <sys/ioctl.h>
#include <string.h>

#include "base/bitmap.h"
#include "rt/native/anon.h"
#include "rt/native/pool.h"
#include "rt/native/sys.h"
#include "rt/native/uffd.h"

/* Pages that are write-protected and unmapped together: two page tables at most, and
 * one of the first and one of the last are mapped, so that protecting needs no memory. */
#define CHUNK 512

void rt_mmu_without_move(struct rt_mmu *mmu)
{
	mmu->has_move = false;
}

/* Pages from the front, or -errno if none. */
static int64_t copy_pages(struct rt_mmu *mmu, uint64_t dst, uint64_t src, uint64_t n, bool wp)
{
	struct uffdio_copy c = { .dst = dst,
				 .src = src,
				 .len = n * RT_PAGE,
				 .mode = UFFDIO_COPY_MODE_DONTWAKE |
					 (wp ? UFFDIO_COPY_MODE_WP : 0) };
	long err = sys(SYS_ioctl, mmu->fd, UFFDIO_COPY, &c);

	if (err == 0)
		return (int64_t)n;
	return err == -EAGAIN && c.copy > 0 ? c.copy / (int64_t)RT_PAGE : err;
}

/* How many pages from the front are in memory at dst, and not at src. */
static uint64_t moved_already(uint64_t dst, uint64_t src, uint64_t n)
{
	unsigned char at_dst[64], at_src[64];

	for (uint64_t i = 0; i < n; i++) {
		uint64_t k = i % sizeof(at_dst), left = (n - i) * RT_PAGE, at = i * RT_PAGE;
		uint64_t len = left < sizeof(at_dst) * RT_PAGE ? left : sizeof(at_dst) * RT_PAGE;
		if (k == 0 && (sys(SYS_mincore, dst + at, len, at_dst) != 0 ||
			       sys(SYS_mincore, src + at, len, at_src) != 0))
			return i;
		if (!(at_dst[k] & 1) || at_src[k] & 1)
			return i;
	}
	return n;
}

/*
 * Pages from the front, or -errno if none.
 *
 * Linux 6.18 moves pages in batches, and loses count: where an entry changed under it (the
 * accessed bit, cleared by reclaim or MADV_COLD, is enough) it tries again, moves the batch,
 * takes the old -EAGAIN for that, tries once more, and finds its own pages in the way. Pages
 * that it reports less are moved for good, and the rest is refused with -EEXIST. Nobody but us
 * fills dst, and all of src was mapped: a page that is there, and not here, has been moved.
 */
static int64_t move_pages(struct rt_mmu *mmu, uint64_t dst, uint64_t src, uint64_t n)
{
	struct uffdio_move m = {
		.dst = dst, .src = src, .len = n * RT_PAGE, .mode = UFFDIO_MOVE_MODE_DONTWAKE
	};
	long err = sys(SYS_ioctl, mmu->fd, UFFDIO_MOVE, &m);

	if (err == 0)
		return (int64_t)n;
	if (err == -EAGAIN && m.move > 0)
		return m.move / (int64_t)RT_PAGE;
	uint64_t moved = err == -EEXIST ? moved_already(dst, src, n) : 0;
	return moved > 0 ? (int64_t)moved : err;
}

/* UFFDIO_CONTINUE is not for anonymous memory, -EINVAL, but looks at the range first. */
static int check_view(struct rt_mmu *mmu, uint64_t addr, uint64_t n)
{
	struct uffdio_continue c = { .range = { addr, n * RT_PAGE },
				     .mode = UFFDIO_CONTINUE_MODE_DONTWAKE };
	long err = sys(SYS_ioctl, mmu->fd, UFFDIO_CONTINUE, &c);

	return err == -EINVAL ? 0 : (int)err;
}

int64_t rt_mmu_fill(struct rt_mmu *mmu, uint64_t addr, const void *buf, uint64_t n, bool wp)
{
	uint64_t done = 0;

	while (done < n) {
		uint64_t at = done * RT_PAGE;
		int64_t got = copy_pages(mmu, addr + at, (uintptr_t)buf + at, n - done, wp);
		if (got < 0)
			return done > 0 ? (int64_t)done : got;
		done += (uint64_t)got; /* cut short: the next try says why */
	}
	return (int64_t)done;
}

/* --- take ---------------------------------------------------------------------------- */

/* Pages [from, to) of a take: first the scattered ones are copied, then the long runs
 * moved, and what was copied is unmapped. */
struct take {
	struct rt_mmu *mmu;
	struct rt_pool *pool;
	uint64_t addr;
	const uint32_t *frame;
	const uint64_t *there; /* NULL: all */
	uint64_t from, to;
	uint64_t run_moved; /* the shortest run that is moved */
	int64_t err;        /* why it ended early */
};

/* The next run of mapped pages from *at on whose frames are in a row; *at is its end then.
 * False: there is none. */
static bool next_run(const struct take *t, uint64_t *at, uint64_t *first)
{
	uint64_t end = t->to;

	*first = *at;
	if (t->there)
		*first = bitmap_next(t->there, t->to, *at, true);
	if (*first >= t->to)
		return false;
	if (t->there)
		end = bitmap_next(t->there, t->to, *first, false);
	for (*at = *first + 1; *at < end && t->frame[*at] == t->frame[*at - 1] + 1; (*at)++)
		;
	return true;
}

static bool is_moved(const struct take *t, uint64_t first, uint64_t end)
{
	return end - first >= t->run_moved;
}

static uint64_t page_at(const struct take *t, uint64_t i)
{
	return t->addr + i * RT_PAGE;
}

/* [*low, *high): from the first to the last page below `end` that is copied. */
static bool copied_span(const struct take *t, uint64_t end, uint64_t *low, uint64_t *high)
{
	uint64_t at = t->from, first;
	bool any = false;

	while (next_run(t, &at, &first) && first < end) {
		if (is_moved(t, first, at))
			continue;
		if (!any)
			*low = first;
		*high = at < end ? at : end;
		any = true;
	}
	return any;
}

/* Copy the write-protected pages [first, end). Returns where that ended. */
static uint64_t copy_run(struct take *t, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint64_t frame = t->frame[first], k;
		void *to = rt_pool_at(t->pool, frame);
		int64_t got;

		if (rt_pool_claim(t->pool, frame, end - first, &k)) {
			memcpy(to, (void *)page_at(t, first), k * RT_PAGE);
			first += k;
			continue;
		}
		got = copy_pages(t->mmu, (uintptr_t)to, page_at(t, first), k, false);
		if (got < 0) {
			rt_pool_emptied(t->pool, frame, k);
			t->err = got;
			break;
		}
		if ((uint64_t)got < k)
			rt_pool_emptied(t->pool, frame + (uint64_t)got, k - (uint64_t)got);
		first += (uint64_t)got;
	}
	return first;
}

static uint64_t copy_runs(struct take *t, uint64_t low, uint64_t high)
{
	uint64_t at = low, first;

	t->err = rt_mmu_wrprotect(t->mmu, page_at(t, low), high - low);
	if (t->err)
		return low;
	while (next_run(t, &at, &first)) {
		if (is_moved(t, first, at))
			continue;
		uint64_t end = copy_run(t, first, at);
		if (end < at)
			return end;
	}
	return t->to;
}

/* Move the long runs below `end`. Returns `end`, or where that ended before. */
static uint64_t move_runs(struct take *t, uint64_t end)
{
	uint64_t at = t->from, first;

	while (next_run(t, &at, &first) && first < end) {
		if (!is_moved(t, first, at))
			continue;
		rt_pool_claim_empty(t->mmu, t->pool, t->frame[first], at - first);
		while (first < at) {
			uint64_t to = (uintptr_t)rt_pool_at(t->pool, t->frame[first]);
			int64_t got = move_pages(t->mmu, to, page_at(t, first), at - first);
			if (got < 0) {
				rt_pool_emptied(t->pool, t->frame[first], at - first);
				t->err = got;
				return first;
			}
			first += (uint64_t)got;
		}
	}
	return end;
}

/* Pages [end, copied) stay: their copies are not needed. */
static void drop_copies(struct take *t, uint64_t end, uint64_t copied)
{
	uint64_t at = end, first;

	while (next_run(t, &at, &first) && first < copied)
		rt_pool_drop(t->mmu, t->pool, t->frame[first], (at < copied ? at : copied) - first);
}

/* Returns where it ended: t->to, or before, and t->err says why. */
static uint64_t take_chunk(struct take *t)
{
	uint64_t low = 0, high = 0, end = t->to;
	bool copies = copied_span(t, t->to, &low, &high);

	t->err = 0;
	if (copies)
		end = copy_runs(t, low, high);
	uint64_t copied = end;
	end = move_runs(t, end);
	/* Whole runs: a short one ends at `end` or lies on one side of it. */
	if (copies && copied_span(t, end, &low, &high))
		rt_mmu_zap(t->mmu, page_at(t, low), high - low);
	if (end < copied)
		drop_copies(t, end, copied);
	return end;
}

int64_t rt_mmu_take(struct rt_mmu *mmu, struct rt_pool *p, uint64_t addr, const uint32_t *frame,
		    uint64_t n, const uint64_t *there)
{
	struct take t = { .mmu = mmu,
			  .pool = p,
			  .addr = addr,
			  .frame = frame,
			  .there = there,
			  .run_moved = mmu->has_move ? RUN_MOVED : UINT64_MAX };

	t.err = check_view(mmu, addr, n);
	while (t.from < n && !t.err) {
		t.to = n - t.from < CHUNK ? n : t.from + CHUNK;
		t.from = take_chunk(&t);
		if (t.err == -EINVAL && t.run_moved != UINT64_MAX) {
			t.run_moved = UINT64_MAX;
			t.err = 0;
		}
	}
	return t.from > 0 ? (int64_t)t.from : t.err;
}

/* --- put, move --------------------------------------------------------------------------- */

int64_t rt_mmu_put(struct rt_mmu *mmu, struct rt_pool *p, uint64_t addr, uint64_t frame, uint64_t n)
{
	bool can_move = mmu->has_move;
	uint64_t done = 0;
	int64_t got = 0;

	while (done < n) {
		uint64_t dst = addr + done * RT_PAGE, left = n - done;
		uint64_t src = (uintptr_t)rt_pool_at(p, frame + done);
		bool moved = can_move && left >= RUN_MOVED;

		got = moved ? move_pages(mmu, dst, src, left)
			    : copy_pages(mmu, dst, src, left, false);
		if (moved && got == -EINVAL) {
			can_move = false;
			continue;
		}
		if (moved && got == -EEXIST) {
			/* To MOVE a write protection of nothing is something. */
			moved = false;
			got = copy_pages(mmu, dst, src, 1, false);
		}
		if (got < 0)
			break;
		if (moved)
			rt_pool_emptied(p, frame + done, (uint64_t)got);
		else
			rt_pool_drop(mmu, p, frame + done, (uint64_t)got);
		done += (uint64_t)got;
	}
	return done > 0 ? (int64_t)done : got;
}

static int64_t move_by_copy(struct rt_mmu *mmu, uint64_t dst, uint64_t src, uint64_t n)
{
	int err = check_view(mmu, src, n); /* of dst, COPY does */
	if (!err)
		err = rt_mmu_wrprotect(mmu, src, n);
	if (err)
		return err;
	int64_t got = copy_pages(mmu, dst, src, n, false);
	if (got > 0)
		rt_mmu_zap(mmu, src, (uint64_t)got);
	return got;
}

int64_t rt_mmu_move(struct rt_mmu *mmu, uint64_t dst, uint64_t src, uint64_t n)
{
	bool can_move = mmu->has_move;
	uint64_t done = 0;
	int64_t got = 0;

	while (done < n) {
		uint64_t at = done * RT_PAGE, left = n - done;

		got = can_move ? move_pages(mmu, dst + at, src + at, left)
			       : move_by_copy(mmu, dst + at, src + at, left);
		if (can_move && got == -EINVAL) {
			can_move = false;
			continue;
		}
		if (can_move && got == -EEXIST)
			got = move_by_copy(mmu, dst + at, src + at, 1); /* as in rt_mmu_put() */
		if (got < 0)
			break;
		done += (uint64_t)got;
	}
	return done > 0 ? (int64_t)done : got;
}
