/* SPDX-License-Identifier: MIT */
/*
 * pieces.c - pieces of the core alone, two or three threads at one of them: small enough
 * for every schedule to be tried, in both ways of sleep.c.
 *
 * A piece is a setup, up to three threads, and what must hold at the end. Its world is
 * one struct stage on the simulated machine, with an mm of which only those parts are
 * made that the piece uses. What the threads find wrong themselves is a sim_fail().
 *
 * Exclusion is judged by a counter that is read and written in two operations: who comes
 * between the two makes it lose a count. A lost wake-up is a deadlock, or where a timeout
 * would hide it, a clock that had to move.
 */
#include <string.h>

#include "check/program.h"
#include "core/filemap.h"
#include "core/mm.h"
#include "core/pgtable.h"
#include "core/reclaim.h"
#include "core/writeback.h"

#define THREADS 3
#define BUDGET  (64ull << 10)

struct stage {
	struct mm mm;
	struct folio *f, *g;
	struct mapping *m;
	struct store store;
	struct rwlock lock;
	struct radix radix;
	struct rt_lock writer; /* of radix */
	struct bounce bounce;
	void *buf;
	rt_ptr shown;
	rt_u32 count, a, b;
	uint32_t pages;      /* used before the threads start */
	uint64_t clock;      /* then */
	uint64_t metadata;   /* charged before the piece began */
	uint64_t values[24]; /* what radix entries point at */
	void *got[THREADS];
	int result[THREADS];
};

struct piece {
	void (*setup)(void);
	void (*thread[THREADS])(void);
	bool (*good)(void);
};

static struct stage *st;

#define MM (&st->mm)

/* --- what several of them use ---------------------------------------------------------- */

static uint32_t get(rt_u32 *p)
{
	return rt_load_u32(p, RT_ACQUIRE);
}

static void set(rt_u32 *p, uint32_t v)
{
	rt_store_u32(p, v, RT_RELEASE);
}

static void count_up(void)
{
	set(&st->count, get(&st->count) + 1);
}

/* One object is made and freed, so that none of the threads has to grow the slab. */
static void slab_make(struct slab *s, size_t bytes)
{
	slab_init(s, MM, bytes, CONFIG_SLAB_BYTES);
	slab_free(s, slab_alloc(s));
}

static unsigned slab_all(const struct slab *s)
{
	unsigned n = 0;

	for (void *c = s->chunks; c; c = *(void **)c)
		n += (unsigned)((s->chunk_bytes - 64) / s->object_bytes);
	return n;
}

/* One that was freed twice makes a ring of the list: then it is too many. */
static unsigned slab_left(const struct slab *s)
{
	unsigned n = 0;

	for (const char *o = s->free; o && n <= slab_all(s); n++)
		memcpy(&o, o + s->object_bytes - sizeof(void *), sizeof(o));
	return n;
}

static bool check(bool good, const char *invariant, const char *what)
{
	if (!good)
		check_broken(invariant, "%s", what);
	return good;
}

static bool slab_has_out(const struct slab *s, unsigned n)
{
	return check(slab_left(s) + n == slab_all(s), "REF",
		     "the slab does not have the objects that nobody uses");
}

static bool no_time_passed(void)
{
	return check(S->clock == st->clock, "WAKE", "a wake-up was lost: a timeout came instead");
}

/* --- folio: the lock ----------------------------------------------------------------------- */

static struct folio *folio_make(void)
{
	struct folio *f = folio_new(MM, 0);

	folio_unlock(MM, f);
	return f;
}

static void folio_setup(void)
{
	slab_make(&MM->folios, sizeof(struct folio));
	waitq_init(&MM->waitq);
	st->f = folio_make();
	st->g = folio_make();
}

static bool nobody_waits(void)
{
	for (unsigned i = 0; i < CONFIG_WAIT_BUCKETS; i++)
		if (!check(list_empty(&MM->waitq.bucket[i].waiters), "WAKE",
			   "a waiter is still queued"))
			return false;
	return true;
}

static void lock_and_count(void)
{
	folio_lock(MM, st->f, false);
	count_up();
	folio_unlock(MM, st->f);
}

static bool locked_n_times(uint32_t n)
{
	return nobody_waits() &&
	       check(!folio_test(st->f, FOLIO_LOCKED), "LOCK", "the folio stayed locked") &&
	       check(get(&st->count) == n, "LOCK", "two held the folio's lock at once");
}

static bool locked_twice(void)
{
	return locked_n_times(2);
}

static bool locked_thrice(void)
{
	return locked_n_times(3);
}

static const struct piece folio_lock_two = {
	.setup = folio_setup,
	.thread = { lock_and_count, lock_and_count },
	.good = locked_twice,
};

static const struct piece folio_lock_three = {
	.setup = folio_setup,
	.thread = { lock_and_count, lock_and_count, lock_and_count },
	.good = locked_thrice,
};

static void try_and_count(void)
{
	if (folio_trylock(st->f)) {
		count_up();
		folio_unlock(MM, st->f);
	} else {
		st->result[sim_self()] = 1;
	}
}

static bool locked_or_not(void)
{
	return locked_n_times(2 - (uint32_t)st->result[1]);
}

static const struct piece folio_trylock_one = {
	.setup = folio_setup,
	.thread = { lock_and_count, try_and_count },
	.good = locked_or_not,
};

/* What lay on the stack is over: nobody may write there any more. */
static __attribute__((noinline)) void keep_stack(void)
{
	volatile uint8_t mine[256];

	for (unsigned i = 0; i < sizeof(mine); i++)
		mine[i] = 0xa5;
	folio_test(st->f, FOLIO_LOCKED); /* a point: now others */
	for (unsigned i = 0; i < sizeof(mine); i++)
		if (mine[i] != 0xa5)
			sim_fail("STALE", "something writes to a stack frame that is gone");
}

/* A killed waiter leaves the queue, whoever wakes it meanwhile. */
static void lock_killable(void)
{
	int err = folio_lock(MM, st->f, true);

	st->result[sim_self()] = err;
	if (err) {
		keep_stack();
		return;
	}
	count_up();
	folio_unlock(MM, st->f);
}

static void kill_second(void)
{
	sim_kill(1);
}

static bool locked_unless_killed(void)
{
	return locked_n_times(st->result[1] ? 1 : 2);
}

static const struct piece folio_lock_killed = {
	.setup = folio_setup,
	.thread = { lock_and_count, lock_killable, kill_second },
	.good = locked_unless_killed,
};

/* Two folios in one bucket: the wake-up of one leaves the other's waiter alone. */
static void lock_both(void)
{
	folio_lock(MM, st->f, false);
	folio_lock(MM, st->g, false);
	folio_unlock(MM, st->f);
	folio_unlock(MM, st->g);
}

static void lock_other(void)
{
	folio_lock(MM, st->g, false);
	folio_unlock(MM, st->g);
}

static bool both_free(void)
{
	return locked_n_times(0) &&
	       check(!folio_test(st->g, FOLIO_LOCKED), "LOCK", "the folio stayed locked");
}

static const struct piece folio_one_bucket = {
	.setup = folio_setup,
	.thread = { lock_both, lock_other },
	.good = both_free,
};

/* --- folio: write-back ------------------------------------------------------------------------ */

static void writeback_setup(void)
{
	folio_setup();
	folio_set(st->f, FOLIO_WRITEBACK);
}

static void end_writeback(void)
{
	set(&st->a, 1);
	folio_end_writeback(MM, st->f);
}

static void wait_writeback(void)
{
	folio_wait_writeback(MM, st->f);
	if (!get(&st->a))
		sim_fail("WAKE", "a waiter goes on before the write has ended");
}

static bool writeback_over(void)
{
	return nobody_waits() &&
	       check(!folio_test(st->f, FOLIO_WRITEBACK), "WAKE", "the write never ends");
}

static const struct piece folio_writeback = {
	.setup = writeback_setup,
	.thread = { end_writeback, wait_writeback, wait_writeback },
	.good = writeback_over,
};

/* One waits for the write, one for the lock: each is woken for its own bit. */
static void end_both(void)
{
	folio_lock(MM, st->f, false);
	end_writeback();
	folio_unlock(MM, st->f);
}

static void just_lock(void)
{
	folio_lock(MM, st->f, false);
	folio_unlock(MM, st->f);
}

static const struct piece folio_two_bits = {
	.setup = writeback_setup,
	.thread = { end_both, wait_writeback, just_lock },
	.good = writeback_over,
};

/* --- folio: references ---------------------------------------------------------------------------
 */

/* The last reference goes and the structure is another folio at once; a stale reader
 * gets a reference to one of the two, or none. */
static void put_and_reuse(void)
{
	folio_put(MM, st->f);
	st->g = folio_new(MM, 1);
	folio_unlock(MM, st->g);
}

static void try_stale(void)
{
	struct folio *f = st->f;

	if (!folio_tryget(f))
		return;
	if (get(&f->refs) == 0)
		sim_fail("REF", "a folio is free with a reference held");
	folio_put(MM, f);
}

static void reuse_setup(void)
{
	slab_make(&MM->folios, sizeof(struct folio));
	waitq_init(&MM->waitq);
	st->f = folio_make();
}

static bool one_folio(void)
{
	return check(get(&st->g->refs) == 1, "REF", "the new folio has not one reference") &&
	       check(st->g == st->f || get(&st->f->refs) == 0, "REF", "the old one is not free") &&
	       slab_has_out(&MM->folios, 1);
}

static const struct piece folio_reuse = {
	.setup = reuse_setup,
	.thread = { put_and_reuse, try_stale, try_stale },
	.good = one_folio,
};

/* Two of the last three holders let go at once: one frees it. */
static void put_only(void)
{
	folio_put(MM, st->f);
}

static void put_setup(void)
{
	reuse_setup();
	folio_get(st->f);
	folio_get(st->f);
}

static bool no_folio(void)
{
	return check(get(&st->f->refs) == 0, "REF", "references are left") &&
	       slab_has_out(&MM->folios, 0);
}

static const struct piece folio_last_put = {
	.setup = put_setup,
	.thread = { put_only, put_only, put_only },
	.good = no_folio,
};

/* --- rwlock
 * ------------------------------------------------------------------------------------------ */

static void rwlock_setup(void)
{
	rwlock_init(&st->lock);
	rt_note_class(&st->lock, "rwlock");
}

static void look(void)
{
	uint32_t a = get(&st->a);

	if (get(&st->b) != a)
		sim_fail("LOCK", "a reader looks on while a writer writes");
}

static void write_pair(void)
{
	rwlock_write_lock(&st->lock);
	set(&st->a, get(&st->a) + 1);
	set(&st->b, get(&st->b) + 1);
	rwlock_write_unlock(&st->lock);
}

static void read_pair(void)
{
	rwlock_read_lock(&st->lock);
	look();
	rwlock_read_unlock(&st->lock);
}

static void try_pair(void)
{
	if (!rwlock_read_trylock(&st->lock))
		return;
	look();
	rwlock_read_unlock(&st->lock);
}

static bool rwlock_free_after(uint32_t writes)
{
	return check((get(&st->lock.word) & ~RW_PENDING) == 0, "LOCK", "the lock stayed held") &&
	       check(get(&st->a) == writes && get(&st->b) == writes, "LOCK",
		     "two writers were in at once");
}

static bool wrote_once(void)
{
	return rwlock_free_after(1);
}

static bool wrote_twice(void)
{
	return rwlock_free_after(2);
}

static const struct piece rwlock_one_each = {
	.setup = rwlock_setup,
	.thread = { read_pair, write_pair },
	.good = wrote_once,
};

static const struct piece rwlock_readers = {
	.setup = rwlock_setup,
	.thread = { read_pair, read_pair, write_pair },
	.good = wrote_once,
};

static const struct piece rwlock_writers = {
	.setup = rwlock_setup,
	.thread = { write_pair, write_pair },
	.good = wrote_twice,
};

static const struct piece rwlock_pending = {
	.setup = rwlock_setup,
	.thread = { read_pair, write_pair, write_pair },
	.good = wrote_twice,
};

static const struct piece rwlock_try = {
	.setup = rwlock_setup,
	.thread = { try_pair, try_pair, write_pair },
	.good = wrote_once,
};

/* --- rcu, and VMAs that are found under it
 * --------------------------------------------------------------- */

#define WORD_GOOD 7

static void rcu_setup(void)
{
	st->buf = rt_pages_alloc(RT_PAGE);
	set(st->buf, WORD_GOOD);
	rt_store_ptr(&st->shown, st->buf, RT_RELEASE);
}

static void look_under_rcu(void)
{
	rt_rcu_read_lock();
	rt_u32 *p = rt_load_ptr(&st->shown, RT_ACQUIRE);
	if (p && get(p) != WORD_GOOD)
		sim_fail("RCU", "it is gone while a section still looks at it");
	rt_rcu_read_unlock();
}

static void hide_and_free(void)
{
	rt_u32 *p = rt_load_ptr(&st->shown, RT_RELAXED);

	rt_store_ptr(&st->shown, NULL, RT_RELEASE);
	rt_rcu_synchronize();
	set(p, 0);
	rt_pages_free(p, RT_PAGE);
}

static bool all_freed(void)
{
	return check(S->used_pages + 1 == st->pages, "REF", "the page was not freed");
}

static const struct piece rcu_free = {
	.setup = rcu_setup,
	.thread = { hide_and_free, look_under_rcu, look_under_rcu },
	.good = all_freed,
};

#define OLD_AT (4 * RT_PAGE)
#define NEW_AT (8 * RT_PAGE)

static struct vma *vma_make(uint64_t at, unsigned rights)
{
	struct vma *v = vma_new(MM);

	v->start = at;
	v->end = at + 2 * RT_PAGE;
	v->rights = rights;
	return v;
}

static void vma_setup(void)
{
	slab_make(&MM->vmas, sizeof(struct vma));
	rwlock_init(&MM->mmap_lock);
	rt_note_class(&MM->mmap_lock, "mmap_lock");
	struct vma_index *x = rt_pages_alloc(RT_PAGE);
	x->bytes = RT_PAGE;
	rt_store_ptr(&MM->index, x, RT_RELEASE);
	struct vma *v = vma_make(OLD_AT, RT_READ);
	mm_write_lock(MM);
	vma_replace(MM, OLD_AT, v->end, &v, 1);
	vma_reap(MM);
	mm_write_unlock(MM);
	st->got[0] = v;
}

/* munmap, then an mmap elsewhere that gets the same structure. */
static void vma_unmap_and_map(void)
{
	mm_write_lock(MM);
	vma_write_lock(MM, st->got[0]);
	if (vma_replace(MM, OLD_AT, OLD_AT + 2 * RT_PAGE, NULL, 0) == 0)
		st->got[0] = NULL;
	mm_write_unlock(MM);

	mm_write_lock(MM);
	vma_reap(MM);
	struct vma *v = vma_make(NEW_AT, RT_WRITE);
	if (vma_replace(MM, NEW_AT, v->end, &v, 1) == 0)
		st->got[1] = v;
	else
		vma_free(MM, v);
	vma_reap(MM);
	mm_write_unlock(MM);
}

static void vma_look(uint64_t at, unsigned rights)
{
	struct vma *v = vma_lock_under_rcu(MM, at);

	if (!v)
		return;
	if (v->start > at || v->end <= at || v->rights != rights || v->detached)
		sim_fail("STALE", "a VMA is locked that is not at the address");
	sim_point("use the VMA", NULL, SIM_NONE);
	if (v->start > at || v->end <= at || v->rights != rights || v->detached)
		sim_fail("STALE", "a VMA changes under its lock");
	vma_read_unlock(v);
}

static void vma_look_old(void)
{
	vma_look(OLD_AT + RT_PAGE, RT_READ);
}

static void vma_look_new(void)
{
	vma_look(NEW_AT + RT_PAGE, RT_WRITE);
}

static bool vma_new_is_left(void)
{
	struct vma_index *x = rt_load_ptr(&MM->index, RT_ACQUIRE);
	unsigned n = 0;

	/* Each of the two steps may have failed for want of memory. */
	for (unsigned i = 0; i < 2; i++)
		if (st->got[i] && !check(n < x->count && x->vma[n++] == st->got[i], "REF",
					 "a VMA is not in the index"))
			return false;
	return check(x->count == n, "REF", "a VMA is in the index that was unmapped") &&
	       check(!MM->retired_vmas && !MM->retired_indexes && MM->retired == 0, "REF",
		     "something is still to be freed") &&
	       check(S->used_pages == st->pages, "REF", "pages were lost") &&
	       slab_has_out(&MM->vmas, n);
}

static const struct piece vma_reuse = {
	.setup = vma_setup,
	.thread = { vma_unmap_and_map, vma_look_old },
	.good = vma_new_is_left,
};

static const struct piece vma_reuse_both = {
	.setup = vma_setup,
	.thread = { vma_unmap_and_map, vma_look_new, vma_look_old },
	.good = vma_new_is_left,
};

/* mprotect: a reader sees the rights of before or of after, and they stay. */
static void vma_change(void)
{
	struct vma *v = st->got[0];

	mm_write_lock(MM);
	vma_write_lock(MM, v);
	v->rights = RT_WRITE;
	mm_write_unlock(MM);
}

static void vma_look_twice(void)
{
	struct vma *v = vma_lock_under_rcu(MM, OLD_AT);

	if (!v)
		return;
	unsigned rights = v->rights;
	sim_point("use the VMA", &st->a, SIM_R);
	if (v->rights != rights)
		sim_fail("STALE", "rights change under the VMA's lock");
	vma_read_unlock(v);
}

static bool vma_changed(void)
{
	struct vma *v = st->got[0];

	return check(v->rights == RT_WRITE && !get(&v->lock.word), "LOCK",
		     "the VMA is not as its writer left it");
}

static const struct piece vma_protect = {
	.setup = vma_setup,
	.thread = { vma_change, vma_look_twice, vma_look_twice },
	.good = vma_changed,
};

/* --- radix
 * ------------------------------------------------------------------------------------------------
 */

/* Key k's value points at values[k]; 3 and 4 are a run and have one value. */
static void *value_at(uint64_t key)
{
	return &st->values[key == 4 ? 3 : key];
}

static void store(uint64_t key, uint64_t n, bool there)
{
	rt_lock(&st->writer);
	radix_store(&st->radix, key, n, there ? value_at(key) : NULL);
	rt_unlock(&st->writer);
}

static void radix_setup(void)
{
	slab_make(&MM->nodes, sizeof(struct radix_node));
	rt_lock_init(&st->writer);
	radix_init(&st->radix, &MM->nodes);
	store(0, 1, true);
	store(5, 1, true);
}

/* What is always there must be found. What was taken out may be, or what took the place
 * of its leaf (the caller looks whose it is); never a node. */
static void radix_look(void)
{
	void *v = radix_lookup(&st->radix, 5);

	if (v && v != value_at(5) && v != value_at(13))
		sim_fail("DATA", "a lookup finds what is no value");
	if (radix_lookup(&st->radix, 0) != value_at(0))
		sim_fail("DATA", "a lookup does not find what is there all the time");
}

/* The leaf of 5 goes, and its node is the new root, whose slot 1 leads to a node. */
static void radix_grow(void)
{
	store(5, 1, false);
	store(21, 1, true);
}

/* ... and its node is another leaf. */
static void radix_move(void)
{
	store(5, 1, false);
	store(13, 1, true);
}

static bool radix_has(uint64_t key)
{
	return check(radix_lookup(&st->radix, 0) == value_at(0) &&
			     radix_lookup(&st->radix, key) == value_at(key) &&
			     !radix_lookup(&st->radix, 5),
		     "DATA", "the map is not as its writer left it");
}

static bool radix_has_21(void)
{
	return radix_has(21);
}

static bool radix_has_13(void)
{
	return radix_has(13);
}

static const struct piece radix_grown = {
	.setup = radix_setup,
	.thread = { radix_grow, radix_look },
	.good = radix_has_21,
};

static const struct piece radix_moved = {
	.setup = radix_setup,
	.thread = { radix_move, radix_look },
	.good = radix_has_13,
};

/* Over two leaves, while keys come and go on both sides of the boundary. */
static void radix_walk(void)
{
	void *v[4];
	uint64_t key[4];
	unsigned n = radix_gang(&st->radix, 0, 8, v, key, 4);

	for (unsigned i = 0; i < n; i++) {
		if (i && key[i] <= key[i - 1])
			sim_fail("DATA", "a walk is out of order");
		if (v[i] != value_at(key[i]))
			sim_fail("DATA", "a walk finds what is not there");
	}
	if (n == 0 || key[0] != 0)
		sim_fail("DATA", "a walk leaves out what is there all the time");
}

static void radix_add_run(void)
{
	store(3, 2, true);
	store(5, 1, false);
}

static bool radix_has_run(void)
{
	return radix_has(3) && radix_has(4);
}

static const struct piece radix_gang_run = {
	.setup = radix_setup,
	.thread = { radix_add_run, radix_walk },
	.good = radix_has_run,
};

/* --- tables, slabs, charges
 * ----------------------------------------------------------------------------- */

static void ptable_setup(void)
{
	slab_make(&MM->nodes, sizeof(struct radix_node));
	slab_make(&MM->tables_slab, sizeof(struct ptable));
	radix_init(&MM->tables, &MM->nodes);
	rt_lock_init(&MM->tables_lock);
}

static void ptable_bring(void)
{
	st->got[sim_self()] = ptable_get(MM, 3 * TABLE_BYTES);
}

static bool ptable_is_one(void)
{
	struct ptable *t = ptable_lookup(MM, 3 * TABLE_BYTES);

	for (int i = 0; i < THREADS; i++)
		/* with a failure, and only then, it may be nothing */
		if (!check(st->got[i] == t || (!st->got[i] && S->failures), "PMD",
			   "two tables for one range"))
			return false;
	return slab_has_out(&MM->tables_slab, t ? 1 : 0);
}

static const struct piece ptable_race = {
	.setup = ptable_setup,
	.thread = { ptable_bring, ptable_bring, ptable_bring },
	.good = ptable_is_one,
};

static void slab_setup(void)
{
	slab_init(&MM->vmas, MM, 200, CONFIG_SLAB_BYTES);
}

static void slab_use(void)
{
	int me = sim_self();
	int *a = slab_alloc(&MM->vmas), *b;

	if (a)
		*a = me;
	b = slab_alloc(&MM->vmas);
	if (b)
		*b = me + 8;
	if (a && *a != me)
		sim_fail("DATA", "an object has two owners");
	if (a)
		slab_free(&MM->vmas, a);
	st->got[me] = b;
}

static bool slab_owned(void)
{
	unsigned out = 0;

	for (int i = 0; i < THREADS; i++) {
		int *b = st->got[i];
		out += b != NULL;
		if (b && !check(*b == i + 8, "DATA", "an object has two owners"))
			return false;
	}
	return slab_has_out(&MM->vmas, out) && check(rt_load_u64(&MM->metadata, RT_RELAXED) ==
							     (S->used_pages - st->pages) * RT_PAGE,
						     "REF", "the charge is not what the slab has");
}

static const struct piece slab_three = {
	.setup = slab_setup,
	.thread = { slab_use, slab_use, slab_use },
	.good = slab_owned,
};

/* Room for one page more, and two that want it. */
static void charge_setup(void)
{
	while (mm_charge_pages(MM, 1))
		;
	mm_uncharge_pages(MM, 1);
}

static void charge_one(void)
{
	st->result[sim_self()] = mm_charge_pages(MM, 1);
}

static void charge_and_return(void)
{
	mm_charge_metadata(MM, RT_PAGE);
	mm_uncharge_metadata(MM, RT_PAGE);
}

static bool charged_right(void)
{
	uint64_t charged = rt_load_u64(&MM->charged, RT_RELAXED);
	uint64_t limit = mm_frame_limit(MM) / RT_PAGE * RT_PAGE;
	int got = st->result[0] + st->result[1];

	return check(got <= 1 && charged + (got ? 0 : RT_PAGE) == limit, "REF",
		     "more was charged than there is") &&
	       check(rt_load_u64(&MM->charged_max, RT_RELAXED) >= charged, "REF",
		     "the most that was charged is less than what is");
}

static const struct piece mm_charge = {
	.setup = charge_setup,
	.thread = { charge_one, charge_one, charge_and_return },
	.good = charged_right,
};

/* --- bounce
 * ------------------------------------------------------------------------------------------------
 */

/* All pages of the pool are out. Who finds the machine without memory too sleeps. */
static void bounce_setup(void)
{
	bounce_init(&st->bounce, NULL, 2);
	st->got[0] = bounce_get_page(&st->bounce);
	st->buf = bounce_get_page(&st->bounce);
}

static void bounce_give(void)
{
	bounce_put(&st->bounce, st->got[0], 1);
	bounce_put(&st->bounce, st->buf, 1);
}

static void bounce_take(void)
{
	void *buf = bounce_get_page(&st->bounce);

	rt_store_u32(buf, (uint32_t)sim_self(), RT_RELAXED);
	if (get(buf) != (uint32_t)sim_self())
		sim_fail("DATA", "a buffer has two owners");
	bounce_put(&st->bounce, buf, 1);
}

static bool bounce_whole(void)
{
	return check(st->bounce.free == st->bounce.count, "REF", "a buffer was lost") &&
	       check(get(&st->bounce.waiters) == 0, "WAKE", "somebody still waits") &&
	       check(S->used_pages == st->pages, "REF", "a page was lost");
}

static const struct piece bounce_empty = {
	.setup = bounce_setup,
	.thread = { bounce_give, bounce_take },
	.good = bounce_whole,
};

static const struct piece bounce_empty_two = {
	.setup = bounce_setup,
	.thread = { bounce_give, bounce_take, bounce_take },
	.good = bounce_whole,
};

/* More of the pool is used than ever was: what was never used is charged, once. */
static void bounce_new_setup(void)
{
	st->metadata = rt_load_u64(&MM->metadata, RT_RELAXED);
	bounce_init(&st->bounce, MM, 24);
}

static void bounce_use(void)
{
	void *run = bounce_get_run(&st->bounce, 4), *one = bounce_get_page(&st->bounce);

	if (run)
		bounce_put(&st->bounce, run, 4);
	bounce_put(&st->bounce, one, 1);
}

static bool bounce_charged(void)
{
	uint64_t used = 25 * RT_PAGE - bounce_unused(&st->bounce);
	uint64_t charged = rt_load_u64(&MM->metadata, RT_RELAXED) - st->metadata;

	if (!check(charged == used, "REF", "a buffer was used and not charged, or charged twice"))
		return false;
	bounce_fini(&st->bounce);
	return check(rt_load_u64(&MM->metadata, RT_RELAXED) == st->metadata, "LEAK",
		     "buffers are gone, and charged still");
}

static const struct piece bounce_new = {
	.setup = bounce_new_setup,
	.thread = { bounce_use, bounce_use, bounce_use },
	.good = bounce_charged,
};

/* --- the pager's words
 * ---------------------------------------------------------------------------------------- */

static void pager_setup(void)
{
	rwlock_init(&MM->mmap_lock);
	list_init(&MM->mappings);
	rt_lock_init(&MM->later_lock);
	pager_start(MM);
}

static void kick_write(void)
{
	pager_kick_write(MM);
}

/* A run ends when all sleep: the pager asleep with work before it missed a kick. */
static bool pager_did_it(void)
{
	return check(!get(&MM->pager.write), "WAKE", "the pager sleeps, and was kicked") &&
	       no_time_passed();
}

static const struct piece pager_kicked = {
	.setup = pager_setup,
	.thread = { kick_write },
	.good = pager_did_it,
};

static const struct piece pager_kicked_twice = {
	.setup = pager_setup,
	.thread = { kick_write, kick_write },
	.good = pager_did_it,
};

static void make_progress(void)
{
	set(&st->a, 1);
	pager_progress(MM);
}

static void wait_for_progress(void)
{
	for (;;) {
		uint32_t seq = get(&MM->pager.progress);
		if (get(&st->a))
			return;
		pager_wait(MM, seq);
	}
}

static const struct piece pager_progressed = {
	.thread = { make_progress, wait_for_progress, wait_for_progress },
	.good = no_time_passed,
};

/* Two pages come free one by one, and two want one each. */
static void free_pages(void)
{
	rt_add_u32(&st->a, 1, RT_RELEASE);
	pager_freed(MM, 1);
	rt_add_u32(&st->a, 1, RT_RELEASE);
	pager_freed(MM, 1);
}

static void take_page(void)
{
	for (;;) {
		uint32_t seq = get(&MM->pager.freed), have = get(&st->a);
		if (have) {
			if (rt_cas_u32(&st->a, have, have - 1, RT_ACQUIRE))
				return;
			continue;
		}
		pager_wait_freed(MM, seq);
	}
}

static const struct piece pager_freed_two = {
	.thread = { free_pages, take_page, take_page },
	.good = no_time_passed,
};

/* --- mappings and their folios
 * ---------------------------------------------------------------------------------- */

static int64_t store_size(struct store *s)
{
	return 4 * RT_PAGE;
}

static void store_close(struct store *s)
{
	rt_add_u32(&st->count, 1, RT_RELAXED);
}

static const struct store_ops store_ops = { .size = store_size, .close = store_close };

static void mapping_setup(void)
{
	slab_make(&MM->folios, sizeof(struct folio));
	slab_make(&MM->nodes, sizeof(struct radix_node));
	rwlock_init(&MM->mmap_lock);
	rt_note_class(&MM->mmap_lock, "mmap_lock");
	list_init(&MM->mappings);
	list_init(&MM->lru.cold);
	list_init(&MM->lru.hot);
	rt_lock_init(&MM->lru.lock);
	waitq_init(&MM->waitq);
	st->store.ops = &store_ops;
	mapping_open(MM, &st->store, &st->m);
	st->m->views = 1;
}

static void held_setup(void)
{
	mapping_setup();
	mapping_hold(st->m);
}

static void held_twice_setup(void)
{
	held_setup();
	mapping_hold(st->m);
}

static void last_view_goes(void)
{
	mm_write_lock(MM);
	st->m->views--;
	mapping_release(st->m);
	mm_write_unlock(MM);
}

static void unhold(void)
{
	mapping_unhold(st->m);
}

static bool closed_once(void)
{
	return check(get(&st->count) == 1, "REF", "the store was not closed once") &&
	       check(list_empty(&MM->mappings), "REF", "the mapping is still listed");
}

static const struct piece mapping_held = {
	.setup = held_setup,
	.thread = { last_view_goes, unhold },
	.good = closed_once,
};

static const struct piece mapping_held_twice = {
	.setup = held_twice_setup,
	.thread = { last_view_goes, unhold, unhold },
	.good = closed_once,
};

/* Two faults bring the same page in: one folio, one charge. */
static void add_page(void)
{
	struct folio *f = NULL;
	int err = filemap_add(st->m, 1, 0, 0, &f);

	st->result[sim_self()] = err;
	if (!err) {
		st->got[0] = f;
		folio_unlock(MM, f);
		folio_put(MM, f);
	}
}

static bool added_once(void)
{
	struct folio *f = st->got[0];

	return check(f && get(&f->refs) == 1 && radix_lookup(&st->m->folios, 1) == f, "REF",
		     "the cache does not have the page once") &&
	       check(st->result[0] != st->result[1], "REF", "both brought it, or none") &&
	       check(rt_load_u64(&MM->cached, RT_RELAXED) == 1 &&
			     rt_load_u64(&MM->charged, RT_RELAXED) -
					     rt_load_u64(&MM->metadata, RT_RELAXED) ==
				     RT_PAGE,
		     "REF", "the page is not charged once") &&
	       slab_has_out(&MM->folios, 1);
}

static const struct piece filemap_race = {
	.setup = mapping_setup,
	.thread = { add_page, add_page },
	.good = added_once,
};

/* A lookup, while the folio leaves and its structure comes back as another page. */
static void cached_setup(void)
{
	mapping_setup();
	filemap_add(st->m, 0, 0, 0, &st->f);
	folio_unlock(MM, st->f);
}

static void replace_page(void)
{
	folio_lock(MM, st->f, false);
	filemap_forget(st->m, st->f, false);
	folio_unlock(MM, st->f);
	folio_put(MM, st->f);
	if (filemap_add(st->m, 2, 0, 0, &st->g) == 0)
		folio_unlock(MM, st->g);
}

static void find_page(void)
{
	struct folio *f = filemap_get(st->m, 0);

	if (!f)
		return;
	folio_lock(MM, f, false);
	if (f->mapping && (f->mapping != st->m || f->index != 0))
		sim_fail("STALE", "a lookup gives another page's folio");
	folio_unlock(MM, f);
	folio_put(MM, f);
}

static bool page_replaced(void)
{
	return check(!radix_lookup(&st->m->folios, 0), "REF", "the page is still there") &&
	       check(!st->g || get(&st->g->refs) == 2, "REF",
		     "the new page's references are wrong") &&
	       slab_has_out(&MM->folios, st->g ? 1 : 0);
}

static const struct piece filemap_lookup = {
	.setup = cached_setup,
	.thread = { replace_page, find_page },
	.good = page_replaced,
};

/* A page is written to, while write-back takes what is queued and cleans it: what is
 * dirty at the end is queued. */
static void make_dirty(void)
{
	folio_lock(MM, st->f, false);
	folio_mark_dirty(MM, st->f, 0);
	folio_unlock(MM, st->f);
}

static void dirty_setup(void)
{
	cached_setup();
	folio_set(st->f, FOLIO_UPTODATE);
	make_dirty();
}

static void take_and_clean(void)
{
	writeback_drop_queue(st->m);
	folio_lock(MM, st->f, false);
	writeback_forget(st->f);
	folio_unlock(MM, st->f);
}

static bool queued_right(void)
{
	uint64_t queued = st->m->dirty_folios;
	bool dirty = folio_test(st->f, FOLIO_DIRTY);

	return check(queued == (folio_test(st->f, FOLIO_QUEUED) ? 1 : 0) &&
			     (queued != 0) == (st->m->dirty != NULL),
		     "REF", "the queue and the folio do not agree") &&
	       check(queued || !dirty, "DATA", "a dirty folio is in no queue") &&
	       check(get(&st->f->refs) == 2 + queued, "REF", "the queue's reference is wrong") &&
	       check(rt_load_u64(&MM->dirty, RT_RELAXED) == dirty, "REF",
		     "dirty pages are miscounted");
}

static const struct piece dirty_queue = {
	.setup = dirty_setup,
	.thread = { make_dirty, take_and_clean },
	.good = queued_right,
};

/* --- as programs
 * -------------------------------------------------------------------------------------------------
 */

static void piece_setup(void *arg)
{
	const struct piece *piece = arg;

	st = rt_pages_alloc(sizeof(*st));
	rt_store_u64(&MM->budget, BUDGET, RT_RELAXED);
	if (piece->setup)
		piece->setup();
	st->pages = S->used_pages;
	st->clock = S->clock;
}

static void piece_thread(void *arg)
{
	void (*const *fn)(void) = arg;

	(*fn)();
}

static bool piece_build(const struct program *p, const struct knobs *k)
{
	static const char *const name[THREADS] = { "t1", "t2", "t3" };
	const struct piece *piece = p->arg;

	E.knobs = k->sim;
	E.on_map = NULL;
	E.on_page = NULL;
	E.on_drop = NULL;
	E.on_write = NULL;
	sim_reset();
	if (!sim_setup(piece_setup, (void *)piece))
		return false;
	for (int i = 0; i < THREADS && piece->thread[i]; i++)
		sim_spawn(piece_thread, (void *)&piece->thread[i], name[i], false);
	sim_snapshot();
	return true;
}

static bool piece_finish(const struct program *p)
{
	const struct piece *piece = p->arg;

	return piece->good();
}

#define PIECE(name_, title_, threads_, piece_)                                                     \
	&(const struct program)                                                                    \
	{                                                                                          \
		.name = name_, .title = title_, .threads = threads_, .tiny = true, .piece = true,  \
		.build = piece_build, .finish = piece_finish, .arg = &piece_                       \
	}

const struct program *const piece_programs[] = {
	PIECE("folio-lock", "a folio's lock, handed over", 2, folio_lock_two),
	PIECE("folio-lock-3", "a folio's lock, two waiters", 3, folio_lock_three),
	PIECE("folio-trylock", "a folio's lock, and one who only tries", 2, folio_trylock_one),
	PIECE("folio-lock-killed", "a waiter is killed while it is woken", 3, folio_lock_killed),
	PIECE("folio-bucket", "two folios' waiters in one bucket", 2, folio_one_bucket),
	PIECE("folio-writeback", "the end of a write, two waiters", 3, folio_writeback),
	PIECE("folio-two-bits", "one waits for the write, one for the lock", 3, folio_two_bits),
	PIECE("folio-reuse", "tryget against the last put and a new folio", 3, folio_reuse),
	PIECE("folio-last-put", "three let go at once", 3, folio_last_put),
	PIECE("rwlock", "a reader and a writer", 2, rwlock_one_each),
	PIECE("rwlock-readers", "two readers and a writer", 3, rwlock_readers),
	PIECE("rwlock-writers", "two writers", 2, rwlock_writers),
	PIECE("rwlock-pending", "a reader, a writer and one that is pending", 3, rwlock_pending),
	PIECE("rwlock-try", "two readers that only try, and a writer", 3, rwlock_try),
	PIECE("rcu-free", "two sections, and a page that is freed after them", 3, rcu_free),
	PIECE("vma-reuse", "a lookup under RCU, munmap, and the VMA reused", 2, vma_reuse),
	PIECE("vma-reuse-3", "the same, with a lookup at the new place", 3, vma_reuse_both),
	PIECE("vma-protect", "two lookups under RCU against mprotect", 3, vma_protect),
	PIECE("radix-grow", "a lookup, while its leaf becomes the root", 2, radix_grown),
	PIECE("radix-move", "a lookup, while its leaf becomes another", 2, radix_moved),
	PIECE("radix-gang", "a walk over two leaves that change", 2, radix_gang_run),
	PIECE("ptable-get", "three want the same table", 3, ptable_race),
	PIECE("slab", "three share a slab that has to grow", 3, slab_three),
	PIECE("mm-charge", "two want the last page of the budget", 3, mm_charge),
	PIECE("bounce-empty", "a buffer is wanted when none is left", 2, bounce_empty),
	PIECE("bounce-empty-3", "the same by two", 3, bounce_empty_two),
	PIECE("bounce-new", "buffers that never were used are, by three", 3, bounce_new),
	PIECE("pager-kick", "a kick, while the pager falls asleep", 1, pager_kicked),
	PIECE("pager-kick-2", "two kicks, while the pager falls asleep", 2, pager_kicked_twice),
	PIECE("pager-progress", "two wait for progress", 3, pager_progressed),
	PIECE("pager-freed", "two wait for a page each, which come one by one", 3, pager_freed_two),
	PIECE("mapping-hold", "the last view goes, the last hold too", 2, mapping_held),
	PIECE("mapping-hold-3", "the same with two holds", 3, mapping_held_twice),
	PIECE("filemap-add", "two bring the same page in", 2, filemap_race),
	PIECE("filemap-get", "a lookup, while the folio becomes another page", 2, filemap_lookup),
	PIECE("dirty-queue", "a page becomes dirty while the queue is taken", 2, dirty_queue),
	NULL,
};
