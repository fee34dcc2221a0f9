/* SPDX-License-Identifier: MIT */
/* move.c - see move.h. Reading order: from the bottom up. */
#include "core/move.h"

#include <errno.h>

#include "core/anon.h"
#include "core/anon_vma.h"

#define BUSY_TRIES 100 /* of the machine's -EAGAIN for one page */

/* A move under way: src and dst go forward together. */
struct move {
	struct mm *mm;
	struct vma *to, *from;
	uint64_t dst, src, end; /* of src */
	bool holes, pins;
	struct ptable *td, *ts; /* locked in a step */
	struct folio *wait;     /* locked by somebody, with a reference: wait, and go on */
};

static pte_t *dst_pte(const struct move *m, unsigned i)
{
	return &m->td->pte[pte_slot(m->dst) + i];
}

static pte_t *src_pte(const struct move *m, unsigned i)
{
	return &m->ts->pte[pte_slot(m->src) + i];
}

/* By address, so that two opposite moves do not wait for each other (2j). */
static void lock_tables(struct move *m)
{
	struct ptable *first = m->td < m->ts ? m->td : m->ts;
	struct ptable *second = m->td < m->ts ? m->ts : m->td;

	rt_lock(&first->lock);
	if (second != first)
		rt_lock(&second->lock);
}

static void unlock_tables(struct move *m)
{
	rt_unlock(&m->td->lock);
	if (m->ts != m->td)
		rt_unlock(&m->ts->lock);
}

/* Pages that one step may take: within both tables, and the range. */
static unsigned step_limit(const struct move *m)
{
	uint64_t n = (m->end - m->src) >> RT_PAGE_SHIFT;
	uint64_t in_src = PTES - pte_slot(m->src), in_dst = PTES - pte_slot(m->dst);

	n = n < in_src ? n : in_src;
	return (unsigned)(n < in_dst ? n : in_dst);
}

static void advance(struct move *m, unsigned pages)
{
	m->src += pages * RT_PAGE;
	m->dst += pages * RT_PAGE;
}

/* The entry of the i-th page moves; the folio, if it has one, is locked. Needs: both tables
 * locked, the anon_vma of the source for writing under design A. */
static void move_entry(struct move *m, unsigned i, pte_t e)
{
	*dst_pte(m, i) = e;
	*src_pte(m, i) = 0;
	m->td->present++;
	m->ts->present--;
	if (!(e & PTE_PRESENT))
		rt_note_moved(m->dst + i * RT_PAGE, m->src + i * RT_PAGE);
	if (!(e & (PTE_PRESENT | PTE_IDLE)))
		return;
	struct folio *f = pte_folio(e);
	f->index = vma_index_at(m->to, m->dst + i * RT_PAGE);
	rt_store_ptr(&f->anon, rt_load_ptr(&m->to->anon_vma, RT_RELAXED), RT_RELEASE);
}

/* Lock the folio of e, or note it as the one to wait for. */
static bool take_folio(struct move *m, pte_t e)
{
	struct folio *f = pte_folio(e);

	if (folio_trylock(f))
		return true;
	folio_get(f); /* the entry holds one */
	m->wait = f;
	return false;
}

/* May the entry move? 0, or -errno. Needs: both tables locked. */
static int may_move(const struct move *m, pte_t e, pte_t at_dst)
{
	if (at_dst != 0)
		return -EEXIST;
	if (e == 0)
		return m->holes ? 0 : -ENOENT;
	return pte_pins(e) > 0 && e & PTE_PRESENT && !m->pins ? -EBUSY : 0;
}

/* Mapped pages in a row, their folios locked: how many of n. */
static unsigned gather_present(struct move *m, unsigned n)
{
	unsigned run = 0;

	for (; run < n; run++) {
		pte_t e = *src_pte(m, run);
		if (!(e & PTE_PRESENT) || may_move(m, e, *dst_pte(m, run)) != 0 ||
		    !take_folio(m, e))
			break;
	}
	if (run > 0 && m->wait) { /* these first */
		folio_put(m->mm, m->wait);
		m->wait = NULL;
	}
	return run;
}

/* Move mapped pages: they come out writable, hence dirty. Returns the pages, or -errno. */
static int64_t move_present(struct move *m, unsigned n)
{
	unsigned run = gather_present(m, n);
	int64_t got = -EAGAIN;

	if (run == 0)
		return 0;
	for (unsigned i = 0; i < run; i++)
		if (*src_pte(m, i) & PTE_WP) /* else it is, and has no slot */
			anon_set_dirty(m->mm, pte_folio(*src_pte(m, i)));
	got = rt_mmu_move(&m->mm->mmu, m->dst, m->src, run);
	if (got == -ENOENT && run > 1) /* over a seam of the machine's views */
		got = rt_mmu_move(&m->mm->mmu, m->dst, m->src, 1);
	for (unsigned i = 0; i < run; i++) {
		pte_t e = *src_pte(m, i);
		if (got > (int64_t)i)
			move_entry(m, i, e & ~PTE_WP);
		else
			*src_pte(m, i) |= PTE_WP; /* the machine may have */
		folio_unlock(m->mm, pte_folio(e));
	}
	return got;
}

/* Move what is an entry alone. Returns the pages; 0: m->wait. */
static int64_t move_entries(struct move *m, unsigned n)
{
	unsigned i = 0;

	for (; i < n; i++) {
		pte_t e = *src_pte(m, i);
		if (e & PTE_PRESENT || may_move(m, e, *dst_pte(m, i)) != 0)
			break;
		if (e & PTE_IDLE && !take_folio(m, e))
			break;
		if (e)
			move_entry(m, i, e);
		if (e & PTE_IDLE)
			folio_unlock(m->mm, pte_folio(e));
	}
	return i;
}

/* The machine moves nothing out of a view that cannot be written: there a mapped page is made
 * idle first, by step(). This one was busy, or is pinned. */
static int64_t refuse_present(struct move *m)
{
	if (pte_pins(*src_pte(m, 0)) > 0)
		return -EBUSY;
	if (!take_folio(m, *src_pte(m, 0)))
		return 0;
	folio_unlock(m->mm, pte_folio(*src_pte(m, 0)));
	return -EAGAIN;
}

/* Some pages from the front. Returns how many, or -errno; 0: m->wait. */
static int64_t step_locked(struct move *m)
{
	unsigned n = step_limit(m);
	int err = may_move(m, *src_pte(m, 0), *dst_pte(m, 0));

	if (err)
		return err;
	if (!(*src_pte(m, 0) & PTE_PRESENT))
		return move_entries(m, n);
	return m->from->rights & RT_WRITE ? move_present(m, n) : refuse_present(m);
}

/* Where the source has no table there are holes alone. */
static int64_t step_over_hole(struct move *m)
{
	return m->holes ? (int64_t)step_limit(m) : -ENOENT;
}

/* The one that the pages of the source are looked for by, if that is without their lock. */
static struct anon_vma *root_of(const struct move *m)
{
	return m->mm->rmap == RMAP_A_UNLOCKED ? rt_load_ptr(&m->from->anon_vma, RT_ACQUIRE) : NULL;
}

static int64_t step(struct move *m)
{
	struct anon_vma *a = root_of(m);

	m->ts = ptable_lookup(m->mm, m->src);
	if (!m->ts)
		return step_over_hole(m);
	m->td = ptable_get(m->mm, m->dst);
	if (!m->td)
		return -ENOMEM;
	if (m->from->rights && !(m->from->rights & RT_WRITE))
		anon_idle_range(m->mm, m->src, m->src + step_limit(m) * RT_PAGE);
	if (a)
		rwlock_write_lock(&a->lock);
	lock_tables(m);
	/* With its first page the source got one: again, for its lock comes before these. */
	int64_t got = root_of(m) == a ? step_locked(m) : 0;
	unlock_tables(m);
	if (a)
		rwlock_write_unlock(&a->lock);
	return got;
}

/* Until the end, a failure, or a folio that must be waited for: 0, with m->wait. */
static int move_some(struct move *m)
{
	unsigned busy = 0;

	while (m->src < m->end) {
		int64_t got = step(m);
		if (got == -EAGAIN && ++busy < BUSY_TRIES)
			continue;
		if (got < 0)
			return got == -EAGAIN ? -EBUSY : (int)got;
		if (got > 0)
			stat_add(m->mm, moved_pages, (uint64_t)got);
		advance(m, (unsigned)got);
		if (m->wait)
			return 0;
		busy = 0;
	}
	return 0;
}

static void wait_folio(struct move *m)
{
	COVER(move_waits);
	folio_lock(m->mm, m->wait, false);
	folio_unlock(m->mm, m->wait);
	folio_put(m->mm, m->wait);
	m->wait = NULL;
}

int move_pages(struct mm *mm, struct vma *to, struct vma *from, uint64_t dst, uint64_t src,
	       uint64_t len, uint64_t *moved)
{
	struct move m = { .mm = mm,
			  .to = to,
			  .from = from,
			  .dst = dst,
			  .src = src,
			  .end = src + len,
			  .holes = true,
			  .pins = true };
	int err;

	do {
		err = move_some(&m);
		if (m.wait)
			wait_folio(&m);
	} while (!err && m.src < m.end);
	*moved = m.src - src;
	return err;
}

/* --- the two VMAs --------------------------------------------------------------------- */

/* Both VMAs stay as they are: by their own locks, or by the mmap_lock. */
struct pair {
	struct vma *to, *from;
	bool vma_locks;
};

static void unlock_pair(struct mm *mm, struct pair *p)
{
	if (!p->vma_locks) {
		rwlock_read_unlock(&mm->mmap_lock);
		return;
	}
	vma_read_unlock(p->to);
	if (p->from != p->to)
		vma_read_unlock(p->from);
}

/* The second is only tried: who holds one VMA lock waits for nobody's mmap_lock. */
static bool try_pair(struct mm *mm, struct pair *p, uint64_t dst, uint64_t src)
{
	p->to = vma_lock_under_rcu(mm, dst);
	if (!p->to)
		return false;
	if (src >= p->to->start && src < p->to->end)
		p->from = p->to;
	else
		p->from = vma_lock_under_rcu(mm, src);
	/* A first page needs the mmap_lock, as in a fault. */
	if (p->from && rt_load_ptr(&p->to->anon_vma, RT_ACQUIRE)) {
		p->vma_locks = true;
		return true;
	}
	if (p->from && p->from != p->to)
		vma_read_unlock(p->from);
	vma_read_unlock(p->to);
	return false;
}

static struct vma *vma_at(struct mm *mm, uint64_t addr)
{
	struct vma *v = vma_find(mm, addr);

	return v && addr >= v->start ? v : NULL;
}

static int check_pair(struct mm *mm, const struct pair *p, uint64_t dst, uint64_t src, uint64_t len)
{
	if (!p->to || !p->from)
		return -ENOENT;
	if (p->to->mapping || p->from->mapping || dst + len > p->to->end ||
	    src + len > p->from->end || !(p->to->rights & RT_WRITE) ||
	    !(p->from->rights & RT_WRITE))
		return -EINVAL;
	return p->vma_locks ? 0 : anon_vma_prepare(mm, p->to);
}

static int lock_pair(struct mm *mm, struct pair *p, uint64_t dst, uint64_t src, uint64_t len)
{
	*p = (struct pair){ 0 };
	if (!try_pair(mm, p, dst, src)) {
		rwlock_read_lock(&mm->mmap_lock);
		p->vma_locks = false;
		p->to = vma_at(mm, dst);
		p->from = vma_at(mm, src);
	}
	int err = check_pair(mm, p, dst, src, len);
	if (err)
		unlock_pair(mm, p);
	return err;
}

int mm_move(struct mm *mm, uint64_t dst, uint64_t src, uint64_t len, bool holes, uint64_t *moved)
{
	uint64_t done = 0;
	int err;

	do {
		struct pair p;
		err = lock_pair(mm, &p, dst + done, src + done, len - done);
		if (err)
			break;
		struct move m = { .mm = mm,
				  .to = p.to,
				  .from = p.from,
				  .dst = dst + done,
				  .src = src + done,
				  .end = src + len,
				  .holes = holes };
		err = move_some(&m);
		done = m.src - src;
		unlock_pair(mm, &p);
		if (m.wait)
			wait_folio(&m); /* with no lock: its holder may want one */
	} while (!err && done < len);
	*moved = done;
	return err;
}
