/* SPDX-License-Identifier: MIT */
/*
 * anon.c (sim) - views without an object, and the pools where pages wait that were taken
 * out of them.
 *
 * A page of such a view is a frame that no object has, as a private view's copy is:
 * SIM_PTE_OWN, and who unmaps it loses it. Taken, it keeps its frame, and its content lies
 * in the pool, where it is read at an address of its own:
 *
 *     (nothing) --fill--> mapped --take--> in the pool --put--> mapped
 *                         mapped --move--> mapped elsewhere
 *                         mapped --zap, close--> (nothing)
 *                                          in the pool --drop, pool_close--> (nothing)
 *
 * Take and move clear the entries, pass a point, flush every TLB, and only then look at the
 * content: whoever had an old translation may have stored until then. Meanwhile the pages
 * are nowhere, and what the call was promised is looked at again when it comes back. If they
 * end early, what is left is write-protected, or not.
 *
 * What rt.h says the core does not do, it is caught at: CONTRACT.
 */
#include <errno.h>
#include <string.h>

#define SIM_NO_SITES
#include "base/bitmap.h"
#include "rt/sim/fiber.h"
#include "rt/sim/machine.h"

/* --- pools ----------------------------------------------------------------------- */

/* Where `frames` are that no pool has; -1: nowhere. */
static int find_frames(uint64_t frames)
{
	for (unsigned first = 0; first + frames <= SIM_POOL_FRAMES; first++) {
		bool is_free = true;
		for (unsigned i = 0; i < SIM_POOLS; i++)
			is_free &= first + frames <= S->pool[i].first ||
				   S->pool[i].first + S->pool[i].frames <= first;
		if (is_free)
			return (int)first;
	}
	return -1;
}

int rt_pool_open(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frames)
{
	int id = 0;

	(void)mmu;
	machine_point("pool_open", MEMORY, SIM_W);
	if (sim_fails("pool_open"))
		return -ENOMEM;
	while (id < SIM_POOLS && S->pool[id].frames)
		id++;
	int first = find_frames(frames);
	if (id == SIM_POOLS || first < 0)
		return -ENOMEM;
	S->pool[id] = (struct sim_pool){ (uint16_t)first, (uint16_t)frames };
	p->id = id;
	machine_seen((uint64_t)first);
	return 0;
}

/* Frame `frame` of the pool, among those of all; n of them are meant. */
static unsigned slot_of(const struct rt_pool *p, uint64_t frame, uint64_t n)
{
	const struct sim_pool *pool = &S->pool[p->id];

	if (pool->frames == 0)
		sim_fail("FREE", "a pool is used after it was closed");
	if (frame >= pool->frames || n > pool->frames - frame)
		sim_fail("CONTRACT", "frame %llu is more than its pool has",
			 (unsigned long long)(frame + n - 1));
	return pool->first + (unsigned)frame;
}

void *rt_pool_at(struct rt_pool *p, uint64_t frame)
{
	return S->pool_page[slot_of(p, frame, 1)];
}

bool pool_has(const void *p, size_t bytes)
{
	const char *begin = (const char *)S->pool_page, *at = p;

	return at < begin + sizeof(S->pool_page) && begin < at + bytes;
}

void pool_check_readable(const void *p, size_t bytes)
{
	size_t at = (size_t)((const char *)p - (const char *)S->pool_page);

	for (size_t i = at / RT_PAGE; i * RT_PAGE < at + bytes; i++)
		if (i >= SIM_POOL_FRAMES || !S->pool_frame[i])
			sim_fail("CONTRACT", "a frame of a pool is read that is not there");
}

static void tell(enum sim_page what, uint64_t from, uint64_t to)
{
	if (E.on_page)
		E.on_page(what, from, to);
}

void rt_note_moved(uint64_t dst, uint64_t src)
{
	tell(SIM_PAGE_MOVED, src, dst);
}

void rt_note_lost(uint64_t addr, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		tell(SIM_PAGE_LOST, addr + i * RT_PAGE, 0);
}

/* What was taken is what is in the pool: nobody writes there. */
static void check_unwritten(unsigned slot)
{
	if (memcmp(S->pool_page[slot], S->frame[S->pool_frame[slot] - 1], RT_PAGE) != 0)
		sim_fail("CONTRACT", "a frame of a pool was written to");
}

/* The content goes into the pool: the frame is kept, and must not change from now on. */
static void slot_fill(unsigned slot, unsigned frame)
{
	machine_copy(S->pool_page[slot], S->frame[frame], RT_PAGE);
	S->pool_frame[slot] = (uint16_t)(frame + 1);
}

/* ... and out of it. */
static unsigned slot_empty(unsigned slot)
{
	check_unwritten(slot);
	unsigned frame = S->pool_frame[slot] - 1u;
	S->pool_frame[slot] = 0;
	page_poison(S->pool_page[slot]);
	return frame;
}

/* Nobody puts or drops a frame while a write from it is under way: a real machine need not
 * see that. */
static void check_unread(unsigned slot, uint64_t n, const char *op)
{
	if (disk_reads_from(S->pool_page[slot], n * RT_PAGE))
		sim_fail("CONTRACT", "%s of a frame while a transfer reads from it", op);
}

static void drop(unsigned slot, uint64_t n)
{
	check_unread(slot, n, "drop");
	for (; n > 0; slot++, n--) {
		if (!S->pool_frame[slot])
			continue;
		frame_free(slot_empty(slot));
	}
}

void rt_pool_drop(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frame, uint64_t n)
{
	(void)mmu;
	machine_point("pool_drop", MEMORY, SIM_W);
	unsigned slot = slot_of(p, frame, n);
	for (uint64_t i = 0; i < n; i++)
		if (S->pool_frame[slot + i])
			tell(SIM_PAGE_DROP, frame + i, 0);
	drop(slot, n);
	machine_seen(n);
}

void rt_pool_close(struct rt_mmu *mmu, struct rt_pool *p)
{
	(void)mmu;
	machine_point("pool_close", MEMORY, SIM_W);
	drop(slot_of(p, 0, 1), S->pool[p->id].frames);
	S->pool[p->id] = (struct sim_pool){ 0 };
	machine_seen(0);
}

/* --- what the four have in common ---------------------------------------------------- */

/* What becomes of a call on n pages. */
struct course {
	uint64_t end;  /* it comes to this one */
	int err;       /* why to none, if end is 0 */
	bool protects; /* the rest are write-protected */
};

/* One choice, for a schedule names each by its operation: the errno, one of `errs`, or how far,
 * and whether the rest is protected (leaves). */
static struct course course_of(const char *what, uint64_t n, const int *errs, unsigned count,
			       bool leaves)
{
	unsigned outcomes = count + (unsigned)n - 1;

	if (!sim_hiccups(what))
		return (struct course){ .end = n };
	unsigned c = UNSEEN(E.choose(E.explorer, SIM_VALUE, leaves ? 2 * outcomes : outcomes));
	struct course got = { .protects = c >= outcomes };
	c %= outcomes;
	if (c < count)
		got.err = errs[c];
	else
		got.end = c - count + 1;
	return got;
}

static int64_t answer(uint64_t done, int err)
{
	int64_t n = done ? (int64_t)done : err;

	machine_seen((uint64_t)n);
	return n;
}

/* The view without an object that n pages lie in, with one of the rights (0: whatever it
 * has); NULL: no view. */
static struct sim_view *anon_view(uint64_t addr, uint64_t n, unsigned rights, const char *op)
{
	struct sim_view *v = mmu_view_of(addr, n);

	if (!v)
		return NULL;
	if (v->object != SIM_NO_OBJECT)
		sim_fail("CONTRACT", "%s in a view of an object", op);
	if (rights && !(v->rights & rights))
		sim_fail("CONTRACT", "%s in a view that cannot be %s", op,
			 rights & RT_READ ? "read" : "written");
	return v;
}

static bool is_mapped(uint64_t addr)
{
	return S->pte[vpage_of(addr)].flags & SIM_PTE_PRESENT;
}

static void set_entry(uint64_t addr, unsigned frame, bool wp)
{
	S->pte[vpage_of(addr)] = (struct sim_pte){
		.frame = (uint16_t)frame,
		.flags = (uint8_t)(SIM_PTE_PRESENT | SIM_PTE_OWN | (wp ? SIM_PTE_WP : 0)),
	};
}

/*
 * Unmap the pages up to `end` of the n that were asked for, with a point before the flush; those
 * that are left are write-protected, or not. frame: of each page, + 1; 0: it was not mapped.
 */
static void unmap(uint64_t addr, uint64_t n, uint64_t end, bool protects, uint16_t *frame)
{
	unsigned first = vpage_of(addr);

	for (uint64_t i = 0; i < end; i++) {
		struct sim_pte *pte = &S->pte[first + i];
		frame[i] = pte->flags & SIM_PTE_PRESENT ? (uint16_t)(pte->frame + 1u) : 0;
		pte->flags = 0;
	}
	for (uint64_t i = end; i < n && protects; i++)
		if (S->pte[first + i].flags & SIM_PTE_PRESENT)
			S->pte[first + i].flags |= SIM_PTE_WP;
	if (mmu_flushed_already(first, n))
		return;
	machine_seen(n);
	machine_point("flush", MEMORY, SIM_W);
	mmu_flush(first, n);
}

/* --- fill, take, put, move ---------------------------------------------------------- */

int64_t rt_mmu_fill(struct rt_mmu *mmu, uint64_t addr, const void *buf, uint64_t n, bool wp)
{
	static const int errs[] = { -EAGAIN, -ENOMEM };
	uint64_t done;

	(void)mmu;
	machine_point("mmu_fill", MEMORY, SIM_W);
	struct course c = course_of("mmu_fill", n, errs, 2, false);
	int err = c.err;
	if (!anon_view(addr, n, 0, "fill"))
		return answer(0, -ENOENT);
	if (pool_has(buf, n * RT_PAGE))
		pool_check_readable(buf, n * RT_PAGE);
	for (done = 0; done < c.end; done++) {
		if (is_mapped(addr + done * RT_PAGE)) {
			err = -EEXIST;
			break;
		}
		int frame = frame_new();
		if (frame < 0) {
			err = -ENOMEM;
			break;
		}
		machine_copy(S->frame[frame], (const char *)buf + done * RT_PAGE, RT_PAGE);
		tell(SIM_PAGE_FILL, addr + done * RT_PAGE, 0);
		set_entry(addr + done * RT_PAGE, (unsigned)frame, wp);
	}
	return answer(done, err);
}

static void check_there(unsigned slot, uint64_t n)
{
	for (uint64_t i = slot; i < slot + n; i++)
		if (!S->pool_frame[i])
			sim_fail("CONTRACT", "a frame is put that is not there");
}

/* Into those frames nothing was taken. */
static void check_free(const struct rt_pool *p, const uint32_t *frame, uint64_t addr, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (is_mapped(addr + i * RT_PAGE) && S->pool_frame[slot_of(p, frame[i], 1)])
			sim_fail("CONTRACT", "a page is taken into a frame that is there");
}

static void check_told(uint64_t addr, uint64_t n, const uint64_t *there)
{
	for (uint64_t i = 0; i < n; i++)
		if (is_mapped(addr + i * RT_PAGE) != (!there || bitmap_test(there, i)))
			sim_fail("CONTRACT", "take is told wrongly which pages are mapped");
}

int64_t rt_mmu_take(struct rt_mmu *mmu, struct rt_pool *p, uint64_t addr, const uint32_t *frame,
		    uint64_t n, const uint64_t *there)
{
	static const int errs[] = { -EAGAIN, -ENOMEM, -EBUSY };
	uint16_t taken[SIM_POOL_FRAMES];

	(void)mmu;
	machine_point("take", MEMORY, SIM_W);
	check_free(p, frame, addr, n);
	struct sim_view *v = anon_view(addr, n, RT_READ | RT_WRITE, "take");
	struct course c = course_of("mmu_take", n, errs, v && is_mapped(addr) ? 3 : 2, true);
	if (!v)
		return answer(0, -ENOENT);
	check_told(addr, n, there);
	for (uint64_t i = 0; i < c.end; i++)
		if (is_mapped(addr + i * RT_PAGE))
			tell(SIM_PAGE_TAKE, addr + i * RT_PAGE, frame[i]);
	unmap(addr, n, c.end, c.protects, taken);
	for (uint64_t i = 0; i < c.end; i++) {
		if (!taken[i])
			continue;
		unsigned slot = slot_of(p, frame[i], 1);
		if (S->pool_frame[slot])
			sim_fail("CONTRACT", "two pages are taken into one frame");
		slot_fill(slot, taken[i] - 1u);
	}
	return answer(c.end, c.err);
}

int64_t rt_mmu_put(struct rt_mmu *mmu, struct rt_pool *p, uint64_t addr, uint64_t frame, uint64_t n)
{
	static const int errs[] = { -EAGAIN, -ENOMEM, -EBUSY };
	uint64_t done;

	(void)mmu;
	machine_point("put", MEMORY, SIM_W);
	unsigned slot = slot_of(p, frame, n);
	check_there(slot, n);
	check_unread(slot, n, "put");
	struct course c = course_of("mmu_put", n, errs, 3, false);
	int err = c.err;
	if (!anon_view(addr, n, RT_WRITE, "put"))
		return answer(0, -ENOENT);
	for (done = 0; done < c.end; done++, slot++) {
		if (is_mapped(addr + done * RT_PAGE)) {
			err = -EEXIST;
			break;
		}
		tell(SIM_PAGE_PUT, frame + done, addr + done * RT_PAGE);
		set_entry(addr + done * RT_PAGE, slot_empty(slot), false);
	}
	return answer(done, err);
}

static void check_movable(uint64_t dst, uint64_t src, uint64_t n)
{
	if (dst < src + n * RT_PAGE && src < dst + n * RT_PAGE)
		sim_fail("CONTRACT", "pages are moved onto each other");
	for (uint64_t i = 0; i < n; i++)
		if (!is_mapped(src + i * RT_PAGE))
			sim_fail("CONTRACT", "a page is moved that is not mapped");
}

int64_t rt_mmu_move(struct rt_mmu *mmu, uint64_t dst, uint64_t src, uint64_t n)
{
	static const int errs[] = { -EAGAIN, -ENOMEM, -EBUSY };
	uint16_t moved[SIM_FRAMES];
	uint64_t free = 0;

	(void)mmu;
	machine_point("move", MEMORY, SIM_W);
	struct course c = course_of("mmu_move", n, errs, 3, true);
	int err = c.err;
	if (!anon_view(dst, n, RT_WRITE, "move") || !anon_view(src, n, RT_WRITE, "move"))
		return answer(0, -ENOENT);
	check_movable(dst, src, n);
	while (free < c.end && !is_mapped(dst + free * RT_PAGE))
		free++;
	if (free < c.end)
		err = -EEXIST;
	for (uint64_t i = 0; i < free; i++)
		tell(SIM_PAGE_MOVE, src + i * RT_PAGE, dst + i * RT_PAGE);
	unmap(src, n, free, c.protects, moved);
	for (uint64_t i = 0; i < free; i++) {
		uint64_t addr = dst + i * RT_PAGE;
		if (!anon_view(addr, 1, RT_WRITE, "move") || is_mapped(addr))
			sim_fail("CONTRACT", "something comes where pages are moved to meanwhile");
		set_entry(addr, moved[i] - 1u, false);
		tell(SIM_PAGE_MOVED, src + i * RT_PAGE, addr);
	}
	return answer(free, err);
}
