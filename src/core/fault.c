/* SPDX-License-Identifier: MIT */
/* fault.c - see fault.h. Reading order: from the bottom up. */
#include "core/fault.h"

#include <errno.h>

#include "core/fault_try.h"
#include "core/filemap.h"
#include "core/mm.h"
#include "core/reclaim.h"
#include "core/swap.h"
#include "core/writeback.h"

void fault_lock_release(struct fault *f)
{
	if (f->flags & FAULT_VMA_LOCK)
		vma_read_unlock(f->vma);
	else
		rwlock_read_unlock(&f->mm->mmap_lock);
	f->vma = NULL; /* whoever uses it now is wrong at once */
}

bool first_try(const struct fault *f)
{
	return f->flags & FAULT_ALLOW_RETRY && !(f->flags & FAULT_TRIED);
}

/* RETRY, and under which lock: RETRY_VMA only if we ran under the VMA lock and the
 * policy believes in it. */
unsigned retry_result(const struct fault *f)
{
	if (f->flags & FAULT_VMA_LOCK && f->mm->retry != RETRY_P0_MMAP)
		return FAULT_RETRY | FAULT_RETRY_VMA;
	return FAULT_RETRY;
}

/* May the fault lock be dropped to wait for (or read) this folio? */
bool may_drop(const struct fault *f, const struct folio *folio)
{
	if (!first_try(f))
		return false;
	switch (f->mm->retry) {
	case RETRY_P2_HOLD:
		return false;
	case RETRY_P3_UPTODATE:
		return !folio_test(folio, FOLIO_UPTODATE) || folio_test(folio, FOLIO_WRITEBACK);
	default:
		return true;
	}
}

unsigned fault_error(struct fault *f, unsigned result, int error)
{
	f->error = error;
	return result;
}

/* Run again what the machine could not do now; report the rest. */
unsigned machine_result(struct fault *f, int64_t err)
{
	COVER(finish_fault_machine);
	/* -EAGAIN, or the range is being taken from under us, or somebody was first. */
	if (err == -EAGAIN || err == -ENOENT || err == -EEXIST)
		return FAULT_NOPAGE;
	return fault_error(f, FAULT_SIGBUS, (int)-err);
}

/* --- waiting for a folio --------------------------------------------------- */

/* Needs: the folio locked; unlocks it. */
static void unlock_settled(struct mm *mm, struct folio *folio)
{
	if (folio_test(folio, FOLIO_ANON)) {
		/* The slot has it, too; but somebody else may come for it. */
		if (folio_test(folio, FOLIO_SWAPCACHE) &&
		    rt_load_u32(&folio->refs, RT_ACQUIRE) == 2)
			swap_cache_del(mm, folio, false);
	} else if (folio->mapping && filemap_settle(folio->mapping, folio) != 0) {
		filemap_del(folio->mapping, folio);
	}
	folio_unlock(mm, folio);
}

/*
 * Keep a reference to the folio that this fault has waited for until it is mapped, or
 * the fault has ended otherwise: reclaim takes no folio that somebody refers to, so
 * that no read is wasted however small the budget (the thrash of fault-path.md W1).
 * It keeps the memory only; what the page is, the next try looks up again.
 */
void keep_wanted(struct fault *f, struct folio *folio)
{
	if (f->wanted == folio)
		return;
	/* The caller may have the new one locked: do not wait for the old. */
	if (f->wanted && folio_test(f->wanted, FOLIO_BOUNCED) && folio_trylock(f->wanted))
		unlock_settled(f->mm, f->wanted);
	if (f->wanted)
		folio_put(f->mm, f->wanted);
	else
		rt_count_u64(&f->mm->inflight, 1);
	folio_get(folio);
	f->wanted = folio;
	f->wanted_came = folio_test(folio, FOLIO_UPTODATE);
}

void put_wanted(struct fault *f)
{
	struct folio *folio = f->wanted;

	if (!folio)
		return;
	/* Read for us, and we did not come to map it: do not keep the buffer busy. */
	if (folio_test(folio, FOLIO_BOUNCED)) {
		COVER(wanted_not_mapped);
		folio_lock(f->mm, folio, false);
		unlock_settled(f->mm, folio);
	}
	rt_count_u64(&f->mm->inflight, -1ull);
	folio_put(f->mm, folio);
	f->wanted = NULL;
}

/* Memory is needed first: drop the lock and say so; NOWAIT keeps it and gives up. */
unsigned need_memory(struct fault *f)
{
	if (f->flags & FAULT_RETRY_NOWAIT)
		return FAULT_RETRY;
	unsigned result = retry_result(f) | FAULT_RECLAIM;
	fault_lock_release(f);
	return result;
}

/*
 * folio_lock_or_retry - lock the folio, or wait for it as the flags allow.
 * Returns 0: locked, fault lock untouched. Else FAULT_RETRY...: not locked, and the
 * fault lock is dropped, but for the first try with NOWAIT.
 * Needs: fault lock, a reference (stays the caller's).  (fault-path.md 1.0, table.)
 */
unsigned folio_lock_or_retry(struct fault *f, struct folio *folio)
{
	struct mm *mm = f->mm;
	bool killable = f->flags & FAULT_KILLABLE;

	if (folio_trylock(folio))
		return 0;
	if (!folio_test(folio, FOLIO_UPTODATE))
		f->waited_for_read = true;
	if (first_try(f) && f->flags & FAULT_RETRY_NOWAIT)
		return FAULT_RETRY;
	if (may_drop(f, folio)) {
		unsigned result = retry_result(f);
		fault_lock_release(f);
		/* From here f->vma is gone: others may unmap, and map anew. */
		if (waitq_sleep(&mm->waitq, folio, FOLIO_LOCKED, killable) != 0)
			result = FAULT_RETRY;
		keep_wanted(f, folio);
		return result;
	}
	if (folio_lock(mm, folio, killable) == 0)
		return 0;
	COVER(lock_killed);
	fault_lock_release(f);
	return FAULT_RETRY;
}

/* --- one try ---------------------------------------------------------------- */

/* handle_fault - one try. Needs: the fault lock; see the rule at the top of fault.h. */
static unsigned handle_fault(struct fault *f)
{
	struct vma *v = f->vma;
	unsigned need = f->flags & FAULT_WRITE ? RT_WRITE : RT_READ;

	ASSERT(!(f->flags & FAULT_RETRY_NOWAIT) || !(f->flags & FAULT_VMA_LOCK));
	/* The window between lookups is open to mprotect: rights are looked at anew. */
	if (!(v->rights & need))
		return fault_error(f, FAULT_SIGSEGV, EACCES);
	f->index = vma_index_at(v, f->addr);
	/* Before any folio is locked: allocation may wait for memory (3b). */
	f->table = ptable_get(f->mm, f->addr);
	if (!f->table)
		return fault_error(f, FAULT_OOM, ENOMEM);
	return v->mapping ? do_file_fault(f) : do_anon_fault(f);
}

/* --- all tries ---------------------------------------------------------------- */

/* Take the fault lock for f->addr. False: no VMA there, nothing is held. */
static bool fault_lock_acquire(struct fault *f, bool vma_lock)
{
	if (vma_lock) {
		f->vma = vma_lock_under_rcu(f->mm, f->addr);
		f->flags |= FAULT_VMA_LOCK;
		if (f->vma)
			return true;
	}
	f->flags &= ~(unsigned)FAULT_VMA_LOCK;
	rwlock_read_lock(&f->mm->mmap_lock);
	f->vma = vma_find(f->mm, f->addr);
	if (f->vma && f->addr >= f->vma->start)
		return true;
	rwlock_read_unlock(&f->mm->mmap_lock);
	f->vma = NULL;
	return false;
}

static void fill_error(const struct fault *f, struct fault_error *e)
{
	e->error = f->error;
	e->offset = f->index * RT_PAGE;
	e->on_error = f->vma->on_error;
	e->on_error_arg = f->vma->on_error_arg;
}

static void count_fault(struct fault *f, uint64_t start_ns)
{
	uint64_t ns = rt_now_ns() - start_ns;

	if (f->waited_for_read) {
		stat_inc(f->mm, faults_major);
		stat_add(f->mm, major_ns, ns);
		stat_inc(f->mm, major_ns_count);
	} else {
		stat_inc(f->mm, faults_minor);
		stat_add(f->mm, minor_ns, ns);
		stat_inc(f->mm, minor_ns_count);
	}
}

/* What a RETRY asks for before the next try. False: give up, f->error is set. */
static bool prepare_retry(struct fault *f, unsigned result, unsigned *stalls)
{
	struct mm *mm = f->mm;

	ASSERT(!(result & FAULT_ERROR));
	ASSERT(f->vma == NULL); /* RETRY: the fault lock is dropped */
	if (f->flags & FAULT_KILLABLE && rt_killed()) {
		COVER(fault_killed);
		f->error = EINTR;
		return false;
	}
	if (result & FAULT_RECLAIM) {
		uint64_t from = rt_now_ns();
		reclaim_reserve_grow(mm);
		/* What we want ourselves does not come free while we wait. */
		rt_count_u64(&mm->inflight, f->wanted ? -1ull : 0);
		bool freed = reclaim_direct(mm, 1);
		rt_count_u64(&mm->inflight, f->wanted ? 1 : 0);
		stat_inc(mm, stalls);
		stat_add(mm, stall_ns, rt_now_ns() - from);
		if (!freed || ++*stalls > CONFIG_STALLS_MAX) {
			COVER(fault_no_memory);
			f->error = ENOMEM;
			return false;
		}
		return true; /* not a try: it never waited for the folio */
	}
	if (result & FAULT_MMAP) {
		/* Nor is this one; and where it goes on it does not come back from. */
		stat_inc(mm, retries_mmap);
		return true;
	}
	/* Tried once, it sleeps with the lock held: there is no third round. */
	ASSERT(!(f->flags & FAULT_TRIED));
	f->flags |= FAULT_TRIED;
	if (result & FAULT_RETRY_VMA)
		stat_inc(mm, retries_vma);
	else
		stat_inc(mm, retries_mmap);
	return true;
}

static enum fault_end fault_failed(struct fault *f, struct fault_error *e)
{
	if (f->vma) {
		fill_error(f, e);
		fault_lock_release(f);
	} else {
		/* No lock is held: take what the report needs once more. */
		*e = (struct fault_error){ .error = f->error, .offset = f->index * RT_PAGE };
		if (fault_lock_acquire(f, false)) {
			fill_error(f, e);
			fault_lock_release(f);
		}
	}
	stat_inc(f->mm, faults);
	stat_inc(f->mm, faults_error);
	return FAULT_END_ERROR;
}

/* The loop of tries; f->wanted is left to the caller. */
static enum fault_end fault_loop(struct fault *f, struct fault_error *e)
{
	bool nowait = f->flags & FAULT_RETRY_NOWAIT, vma_lock = !nowait;
	unsigned stalls = 0;

	for (;;) {
		if (!fault_lock_acquire(f, vma_lock))
			return FAULT_END_FOREIGN;
		unsigned result = handle_fault(f);

		/* Qualifiers come with what they qualify, and say nothing else. */
		ASSERT(result & FAULT_RETRY ||
		       !(result & (FAULT_RETRY_VMA | FAULT_RECLAIM | FAULT_MMAP)));
		ASSERT(!(result & FAULT_COMPLETED) || f->vma == NULL);
		if (result & FAULT_ERROR)
			return fault_failed(f, e);
		if (result & FAULT_COMPLETED)
			return FAULT_END_DONE;
		if (!(result & FAULT_RETRY) || nowait) {
			/* The first try with NOWAIT comes back with the lock held. */
			fault_lock_release(f);
			return FAULT_END_DONE;
		}
		if (!prepare_retry(f, result, &stalls))
			return fault_failed(f, e);
		vma_lock = result & FAULT_RETRY_VMA;
	}
}

enum fault_end mm_fault(struct mm *mm, uint64_t addr, bool write, unsigned extra_flags,
			struct fault_error *e)
{
	struct fault f = { .mm = mm,
			   .addr = addr & ~(RT_PAGE - 1),
			   .flags = FAULT_ALLOW_RETRY | FAULT_KILLABLE | extra_flags };
	uint64_t start_ns = rt_now_ns();

	if (write) {
		f.flags |= FAULT_WRITE;
		writeback_throttle(mm);
	}
	enum fault_end end = fault_loop(&f, e);
	put_wanted(&f);
	if (end == FAULT_END_DONE) {
		stat_inc(mm, faults);
		count_fault(&f, start_ns);
	}
	return end;
}
