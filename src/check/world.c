/* SPDX-License-Identifier: MIT */
/*
 * world.c - a scenario on the simulated machine: built, run, looked at, taken down.
 *
 * Build: files, mm_open(), the regions, the `before` operations, then the budget that the
 * scenario asks for; one simulated thread for each of its threads; the snapshot. A run is
 * those threads, the pager and the device. Afterwards the oracles look at what is there,
 * all is written back and closed, the device must hold what the shadow says, and nothing
 * may be left over.
 *
 * What an operation may give: what its line expects; and, in a run in which a fallible
 * call was made to fail, any error too. Never a wrong value.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/world.h"
#include "core/fault.h"
#include "core/filedata.h"
#include "core/pin.h"
#include "core/reclaim.h"
#include "core/rmap.h"
#include "core/move.h"
#include "core/truncate.h"
#include "core/writeback.h"
#include "rt/sim/fiber.h"
#include "store/file.h"

#define OPEN_BUDGET  (40ull << 10) /* while it is built: sizes the buffers */
#define PLENTY       64            /* frames, if the scenario does not say */
#define ACCESS_TRIES 200           /* faults that one access may take */

struct world *W;

static const struct scenario *scenario; /* of the world that stands */
static struct knobs knobs;
static bool remaps; /* some operation maps, unmaps or moves */
static bool pins;   /* ... pins */
static bool protects;

void check_broken(const char *invariant, const char *fmt, ...)
{
	va_list ap;

	if (E.status == SIM_BROKEN)
		return;
	E.status = SIM_BROKEN;
	snprintf(E.invariant, sizeof(E.invariant), "%s", invariant);
	va_start(ap, fmt);
	vsnprintf(E.story, sizeof(E.story), fmt, ap);
	va_end(ap);
}

/* --- results --------------------------------------------------------------------- */

static unsigned result_of(int err)
{
	switch (err) {
	case -EBUSY:
		return RESULT_BUSY;
	case -EEXIST:
		return RESULT_EXIST;
	case 0:
		return RESULT_OK;
	case -ENOMEM:
		return RESULT_ENOMEM;
	case -EINTR:
		return RESULT_KILLED;
	default:
		return RESULT_ERROR;
	}
}

static unsigned fault_result(const struct fault_error *e)
{
	switch (e->error) {
	case EACCES:
		return RESULT_SEGV;
	case ENOMEM:
		return RESULT_ENOMEM;
	case EINTR:
		return RESULT_KILLED;
	default:
		return RESULT_SIGBUS;
	}
}

static uint64_t new_token(unsigned thread)
{
	uint64_t n = thread * TOKENS_EACH + ++W->tokens[thread] % TOKENS_EACH;

	return n << TOKEN_SHIFT | (thread + 1);
}

/* --- loads and stores ---------------------------------------------------------------- */

struct touch {
	unsigned region, word;
	int page;
	bool write;
	uint64_t addr;
};

static void touched(void *arg, uint64_t value)
{
	struct touch *t = arg;
	struct place p = { .word = t->word, .region = -1, .own_page = t->page };
	unsigned object;
	uint64_t index;

	/* The view as it is at this moment: another thread may be replacing it. */
	if (!sim_view_at(t->addr, &object, &index))
		return;
	if (object == SIM_NO_OBJECT) {
		if (t->write)
			shadow_anon_stored(t->region, t->page, t->word, value);
		else
			shadow_anon_loaded(t->region, t->page, t->word, value);
		return;
	}
	int file = oracle_file_of(object);
	if (file < 0)
		sim_fail("STALE", "%s reaches memory of a mapping that is gone", S->t[S->cur].name);
	p.file = (unsigned)file;
	p.page = (int)index;
	if (W->scenario->region[t->region].private)
		p.region = (int)t->region;
	if (t->write)
		shadow_stored(&p, value);
	else
		shadow_loaded(&p, value);
}

static uint64_t page_addr(unsigned region, int page)
{
	return W->addr[region] + (uint64_t)page * RT_PAGE;
}

/* The machine's entry, as rt/native/sigbus.c and api/fault.c: fault until it works. */
static unsigned touch_page(struct touch *t, uint64_t *value)
{
	uint64_t addr = t->addr = page_addr(t->region, t->page);

	for (unsigned tries = 0; tries < ACCESS_TRIES; tries++) {
		struct fault_error e;
		switch (sim_access(addr, t->word, t->write, value, touched, t)) {
		case SIM_ACCESS_OK:
			return RESULT_OK;
		case SIM_ACCESS_SEGV:
			return RESULT_SEGV;
		case SIM_ACCESS_FAULT:
			if (!W->pins_gone && (W->pins[t->region][t->page][1] ||
					      (!t->write && W->pins[t->region][t->page][0])))
				sim_fail("PIN", "%s faults on a page that is pinned",
					 S->t[S->cur].name);
			break;
		}
		switch (mm_fault(&W->mm, addr, t->write, 0, &e)) {
		case FAULT_END_DONE:
			break;
		case FAULT_END_FOREIGN:
			return RESULT_SEGV;
		case FAULT_END_ERROR:
			return fault_result(&e);
		}
	}
	sim_fail("PROG", "%s: %d faults for one access", S->t[S->cur].name, ACCESS_TRIES);
}

static unsigned do_touch(const struct scenario_op *op, unsigned thread, bool write)
{
	struct touch t = { op->region, op->word, op->page, write, 0 };
	uint64_t value = write ? new_token(thread) : 0;

	if (op->kind == OP_FILL) {
		t.word = SIM_WHOLE;
		value |= value << 32; /* the same 32 bits, over and over */
	}
	unsigned r = touch_page(&t, &value);

	if (write && r == RESULT_OK)
		W->last_token[thread] = value;
	return r;
}

/* --- files --------------------------------------------------------------------------------- */

/* The mapping of a file, held; NULL: it is not mapped. */
static struct mapping *hold_file(unsigned file)
{
	struct mapping *found = NULL;
	struct list_node *pos;

	rwlock_read_lock(&W->mm.mmap_lock);
	list_for_each(pos, &W->mm.mappings)
	{
		struct mapping *m = list_entry(pos, struct mapping, by_mm);
		if (store_is_file(m->store, 1, file + 1)) {
			mapping_hold(m);
			found = m;
			break;
		}
	}
	rwlock_read_unlock(&W->mm.mmap_lock);
	return found;
}

struct resize {
	unsigned file;
	uint64_t size;
};

static int resize_file(void *arg)
{
	struct resize *r = arg;

	sim_file_truncate(r->file, r->size);
	return 0;
}

/* As quire_ftruncate(). */
static unsigned do_truncate(const struct scenario_op *op)
{
	uint64_t size = (uint64_t)op->page * RT_PAGE + (op->half ? SIM_SECTOR : 0);
	struct mapping *m = hold_file(op->file);
	struct resize r = { op->file, size };

	sim_point("size", S->file, SIM_R);
	uint64_t old = S->file[op->file].size;
	shadow_size_begin(op->file, size, old);
	if (m)
		mapping_resize(m, size, resize_file, &r);
	else
		resize_file(&r);
	if (m)
		mapping_unhold(m);
	shadow_size_end(op->file, size, old);
	return RESULT_OK;
}

static unsigned do_outside(const struct scenario_op *op)
{
	uint64_t size = (uint64_t)op->page * RT_PAGE + (op->half ? SIM_SECTOR : 0);

	sim_point("size", S->file, SIM_R);
	shadow_unknown(op->file, size < S->file[op->file].size ? size : S->file[op->file].size);
	sim_file_truncate(op->file, size);
	return RESULT_OK;
}

struct pwrite {
	unsigned file;
	uint64_t token, off;
};

static int64_t pwrite_put(void *arg, uint64_t off, uint64_t len)
{
	struct pwrite *w = arg;
	struct rt_file f = { .id = (int)w->file, .writable = true };

	return rt_file_write(&f, (const char *)&w->token + (off - w->off), len, off);
}

static void pwrite_get(void *arg, uint64_t off, void *buf, uint64_t len)
{
	struct pwrite *w = arg;

	memcpy(buf, (const char *)&w->token + (off - w->off), len);
}

static unsigned do_pwrite(const struct scenario_op *op, unsigned thread)
{
	uint64_t off = (uint64_t)op->page * RT_PAGE + op->word * SIM_SECTOR;
	struct pwrite w = { op->file, new_token(thread), off };
	struct filedata_source src = { pwrite_put, pwrite_get, &w };
	struct mapping *m = hold_file(op->file);

	shadow_write_begin(op->file, op->page, op->word, w.token);
	int64_t put = m ? filedata_write(m, off, 8, &src) : pwrite_put(&w, off, 8);
	shadow_write_end(op->file, op->page, op->word, w.token, put == 8);
	if (m)
		mapping_unhold(m);
	if (put == 8)
		W->last_token[thread] = w.token;
	return put == 8 ? RESULT_OK : result_of(put < 0 ? (int)put : -EIO);
}

/* --- regions ---------------------------------------------------------------------------------- */

static const struct scenario_region *region_of(unsigned region)
{
	return &W->scenario->region[region];
}

/* Anonymous regions lie apart, or neighbours would become one; some begin in the middle of a
 * page table. */
static int map_anon(unsigned region)
{
	const struct scenario_region *r = region_of(region);
	unsigned flags = RT_VIEW_FIXED | (W->addr[region] ? 0 : RT_VIEW_NOREPLACE);
	uint64_t addr = W->addr[region];

	if (!addr)
		addr = SIM_VBASE + (SIM_VPAGES / 8 + 8 + 20ull * region) * RT_PAGE;
	int err = mm_map_anon(&W->mm, (uint64_t)r->pages * RT_PAGE, r->rights, flags,
			      W->scenario->swap > 0, &addr);
	if (!err)
		W->addr[region] = addr;
	return err;
}

static int map_region(unsigned region, unsigned file, int page)
{
	const struct scenario_region *r = region_of(region);

	if (r->anon)
		return map_anon(region);
	unsigned flags = (r->private ? RT_VIEW_PRIVATE : 0) |
			 (r->private || r->rights & RT_WRITE ? RT_VIEW_MAY_WRITE : 0);
	uint64_t addr = W->addr[region], len = (uint64_t)r->pages * RT_PAGE;
	struct store *store;

	int err = store_file_open((int)file, 1, file + 1, true, false, &store);
	if (err)
		return err;
	if (addr)
		flags |= RT_VIEW_FIXED;
	err = mm_map(&W->mm, store, (uint64_t)page, len, r->rights, flags, &addr);
	if (err)
		return err;
	sim_point("placed", W->addr, SIM_W);
	W->addr[region] = addr;
	W->region_file[region] = (uint8_t)file;
	W->region_page[region] = page;
	return 0;
}

static void range_of(const struct scenario_op *op, uint64_t *addr, uint64_t *len)
{
	int page = op->has_range ? op->page : 0;
	int pages = op->has_range ? op->pages : region_of(op->region)->pages;

	*addr = page_addr(op->region, page);
	*len = (uint64_t)(pages ? pages : 1) * RT_PAGE;
}

/* Calls that drop private copies: munmap, MADV_DONTNEED. */
static unsigned dropping(const struct scenario_op *op, int (*call)(struct mm *, uint64_t, uint64_t))
{
	int page = op->has_range ? op->page : 0;
	int pages = op->has_range ? op->pages : region_of(op->region)->pages;
	uint64_t addr, len;

	range_of(op, &addr, &len);
	if (region_of(op->region)->anon)
		return result_of(call(&W->mm, addr, len));
	shadow_drop_begin(op->region, page, pages);
	int err = call(&W->mm, addr, len);
	shadow_drop_end(op->region, page, pages);
	return result_of(err);
}

static unsigned do_map(const struct scenario_op *op)
{
	const struct scenario_region *r = region_of(op->region);
	bool other = op->has_range;

	return result_of(
		map_region(op->region, other ? op->file : r->file, other ? op->page : r->page));
}

static unsigned do_advise(const struct scenario_op *op, uint64_t addr, uint64_t len)
{
	struct mm *mm = &W->mm;

	switch ((enum scenario_advice)op->how) {
	case ADVICE_RANDOM:
		return result_of(mm_advise(mm, addr, len, VMA_RANDOM));
	case ADVICE_SEQUENTIAL:
		return result_of(mm_advise(mm, addr, len, VMA_SEQUENTIAL));
	case ADVICE_WILLNEED:
		mm_willneed(mm, addr, len);
		return RESULT_OK;
	case ADVICE_DONTNEED:
		return dropping(op, mm_dontneed);
	case ADVICE_COLD:
	case ADVICE_PAGEOUT:
		mm_deactivate(mm, addr, len, op->how == ADVICE_PAGEOUT);
		return RESULT_OK;
	default:
		return result_of(mm_advise(mm, addr, len, VMA_NORMAL));
	}
}

static unsigned do_remap(const struct scenario_op *op)
{
	uint64_t to = 0, old = W->addr[op->region];
	uint64_t len = (uint64_t)region_of(op->region)->pages * RT_PAGE;

	if (op->move) {
		/* A place that is surely free: the upper half of the space. */
		to = SIM_VBASE + (SIM_VPAGES / 2 + 20ull * op->region) * RT_PAGE;
	}
	int err =
		mm_remap(&W->mm, old, len, (uint64_t)op->pages * RT_PAGE, op->move, op->move, &to);
	sim_point("placed", W->addr, SIM_W);
	if (!err)
		W->addr[op->region] = to;
	return result_of(err);
}

/* --- anonymous memory
 * ---------------------------------------------------------------------------------------------- */

static unsigned do_move(const struct scenario_op *op)
{
	uint64_t dst = page_addr(op->region, op->page);
	uint64_t src = page_addr(op->from_region, op->from_page);
	uint64_t len = (uint64_t)op->pages * RT_PAGE, moved = 0;
	const char *name = S->t[S->cur].name;

	W->moving[S->cur] = true;
	W->moved[S->cur] = 0;
	int err = mm_move(&W->mm, dst, src, len, op->holes, &moved);
	W->moving[S->cur] = false;
	uint64_t seen = W->moved[S->cur] * RT_PAGE;
	if (moved > len || (!err && moved < len) || seen > moved || (!op->holes && seen < moved))
		sim_fail("EXPECT", "%s: a move says %llu pages and %s; %llu went", name,
			 (unsigned long long)(moved / RT_PAGE), strerror(-err),
			 (unsigned long long)(seen / RT_PAGE));
	return result_of(err);
}

/* The folio at addr, with a reference; NULL: none. */
static struct folio *hold_page(uint64_t addr)
{
	struct ptable *t = ptable_lookup(&W->mm, addr);
	struct folio *f = NULL;

	if (!t)
		return NULL;
	rt_lock(&t->lock);
	pte_t e = t->pte[pte_slot(addr)];
	if (e & (PTE_PRESENT | PTE_IDLE) && !pte_is_copy(e)) {
		f = pte_folio(e);
		folio_get(f);
	}
	rt_unlock(&t->lock);
	return f;
}

/* A walker that sleeps, as an age scan would: whoever moves the page meanwhile, its entry is
 * found. Our reference keeps reclaim from it: it has one at the end, or lost it for good. */
static unsigned do_walk(const struct scenario_op *op)
{
	struct mm *mm = &W->mm;
	bool lock = mm->rmap == RMAP_B_LOCKED;
	uint64_t addr = page_addr(op->region, op->page);

	rwlock_read_lock(&mm->mmap_lock); /* tables stay */
	struct folio *f = hold_page(addr);
	rwlock_read_unlock(&mm->mmap_lock);
	struct rmap r;

	if (!f)
		return RESULT_OK;
	if (lock)
		folio_lock(mm, f, false);
	bool found = rmap_lock(mm, f, false, &r);
	if (found && (*r.pte & ~(PTE_FOLIO | PTE_WP | PTE_PRESENT | PTE_IDLE | PTE_OWN) ||
		      pte_folio(*r.pte) != f))
		sim_fail("RMAP", "%s is led to an entry of another page", S->t[S->cur].name);
	if (!found && oracle_has_entry(f))
		sim_fail("RMAP", "%s finds no entry of a page that has one", S->t[S->cur].name);
	if (found)
		rmap_unlock(mm, &r);
	if (lock)
		folio_unlock(mm, f);
	folio_put(mm, f);
	return RESULT_OK;
}

/* --- msync, and what it promises
 * ------------------------------------------------------------------ */

struct promise {
	unsigned file;
	int first, end;
	uint64_t must[SIM_FILE_PAGES][SIM_WORDS];
};

/* What was promised is there, or something later. */
static void check_durable(const struct promise *m, const uint64_t is[SIM_FILE_PAGES][SIM_WORDS])
{
	for (int p = m->first; p < m->end && !W->sizes_moved; p++)
		for (unsigned w = 0; w < SIM_WORDS; w++)
			if (m->must[p][w] && !shadow_follows(is[p][w], m->must[p][w]))
				sim_fail("DURABLE",
					 "msync returned, and a crash now loses %#llx of page %d "
					 "word %u (%#llx is there)",
					 (unsigned long long)m->must[p][w], p, w,
					 (unsigned long long)is[p][w]);
}

static unsigned do_sync(const struct scenario_op *op, bool wait)
{
	struct promise m = { .file = W->region_file[op->region],
			     .first = W->region_page[op->region] + (op->has_range ? op->page : 0) };
	uint64_t is[SIM_FILE_PAGES][SIM_WORDS];
	struct mapping *mapping = hold_file(m.file);

	m.end = m.first + (op->has_range ? op->pages : region_of(op->region)->pages);
	if (!mapping)
		return RESULT_ENOMEM;
	sim_point("shadow", S->pte, SIM_R);
	for (int p = m.first; p < m.end; p++)
		for (unsigned w = 0; w < SIM_WORDS; w++)
			m.must[p][w] = shadow_must_sync(m.file, p, w);
	int err = writeback_sync(mapping, (uint64_t)m.first, (uint64_t)m.end, wait);
	mapping_unhold(mapping);
	if (err || !wait)
		return result_of(err);
	check_durable(&m, S->file[m.file].durable); /* before anybody makes it good */
	/* And where it counts as a look at the file and at its size, which may move. */
	sim_point("durable", S->file, SIM_R);
	memcpy(is, S->file[m.file].durable, sizeof(is));
	sim_point("shadow", S->pte, SIM_R);
	check_durable(&m, is);
	return RESULT_OK;
}

/* --- the rest
 * ---------------------------------------------------------------------------------------- */

static unsigned do_budget(const struct scenario_op *op)
{
	uint64_t bytes = W->budget_base + (uint64_t)op->pages * RT_PAGE;

	rt_store_u64(&W->mm.budget, bytes, RT_RELAXED);
	if (reclaim_direct(&W->mm, 0))
		return RESULT_OK;
	writeback_all(&W->mm);
	return reclaim_direct(&W->mm, 0) ? RESULT_OK : RESULT_ERROR;
}

static unsigned do_fail(const struct scenario_op *op)
{
	sim_point("fail", S->file, SIM_W);
	S->file[op->file].dead_reads = op->how == FAIL_READS;
	S->file[op->file].dead_writes = op->how == FAIL_WRITES;
	S->file[op->file].dead_syncs = op->how == FAIL_WRITES || op->how == FAIL_SYNCS;
	S->file[op->file].hangs = op->how == FAIL_HANGS;
	W->bad_disk = true;
	return RESULT_OK;
}

static unsigned do_full(const struct scenario_op *op)
{
	sim_point("full", S->file, SIM_W);
	S->file[op->file].full = op->pages < 0 ? -1 : op->pages * (int)RT_PAGE;
	W->bad_disk = true;
	return RESULT_OK;
}

static unsigned do_resident(const struct scenario_op *op, uint64_t addr, uint64_t len)
{
	unsigned char vec[SIM_FILE_PAGES];

	(void)op;
	return result_of(mm_resident(&W->mm, addr, len, vec));
}

static unsigned do_op(const struct scenario_op *op, unsigned thread)
{
	struct mm *mm = &W->mm;
	struct fault_error e;
	uint64_t addr, len;

	sim_point("where", W->addr, SIM_R);
	range_of(op, &addr, &len);
	if (op->kind == OP_UNMAP || op->kind == OP_MAP || op->kind == OP_REMAP ||
	    op->kind == OP_TRUNCATE || op->kind == OP_OUTSIDE || op->kind == OP_PROTECT ||
	    (op->kind == OP_ADVISE &&
	     (region_of(op->region)->private || region_of(op->region)->anon))) {
		if (pins)
			sim_point("pins", S->pte, SIM_W);
		W->pins_gone = true;
	}
	switch ((enum op_kind)op->kind) {
	case OP_READ:
	case OP_WRITE:
	case OP_FILL:
		return do_touch(op, thread, op->kind != OP_READ);
	case OP_MOVE:
		return do_move(op);
	case OP_WALK:
		return do_walk(op);
	case OP_NOWAIT:
		mm_fault(mm, page_addr(op->region, op->page), false, FAULT_RETRY_NOWAIT, &e);
		return RESULT_OK;
	case OP_POPULATE:
		return result_of(mm_populate(mm, addr, len, op->how & RT_WRITE));
	case OP_MAP:
		return do_map(op);
	case OP_UNMAP:
		return dropping(op, mm_unmap);
	case OP_PROTECT:
		return result_of(mm_protect(mm, addr, len, op->how));
	case OP_ADVISE:
		return do_advise(op, addr, len);
	case OP_SYNC:
	case OP_ASYNC:
		return do_sync(op, op->kind == OP_SYNC);
	case OP_REMAP:
		return do_remap(op);
	case OP_PIN: {
		int perr = mm_pin(mm, addr, len, op->how & RT_WRITE);
		sim_point("pinned", S->pte, SIM_W); /* loads and stores look */
		for (int i = 0; !perr && i < (int)(len / RT_PAGE); i++)
			W->pins[op->region][(op->has_range ? op->page : 0) + i]
			       [!!(op->how & RT_WRITE)]++;
		return result_of(perr);
	}
	case OP_UNPIN:
		sim_point("unpin", S->pte, SIM_W);
		for (int i = 0; i < (int)(len / RT_PAGE); i++) {
			uint8_t *pp = W->pins[op->region][(op->has_range ? op->page : 0) + i];
			if (pp[1])
				pp[1]--;
			else if (pp[0])
				pp[0]--;
		}
		mm_unpin(mm, addr, len);
		return RESULT_OK;
	case OP_RESIDENT:
		return do_resident(op, addr, len);
	case OP_TRUNCATE:
		return do_truncate(op);
	case OP_OUTSIDE:
		return do_outside(op);
	case OP_REFRESH:
		mappings_refresh_sizes(mm);
		return RESULT_OK;
	case OP_PWRITE:
		return do_pwrite(op, thread);
	case OP_RECLAIM:
		for (int i = 0; i < (op->pages ? op->pages : 1); i++)
			reclaim_round(mm);
		return RESULT_OK;
	case OP_WRITEBACK:
		rt_store_u32(&mm->pager.write, 1, RT_SEQ_CST);
		writeback_background(mm);
		return RESULT_OK;
	case OP_BUDGET:
		return do_budget(op);
	case OP_FREEZE:
		mm_freeze(mm);
		for (uint32_t i = 0; i < S->threads; i++)
			for (uint32_t h = 0; (int)i != S->cur && h < S->t[i].n_held; h++)
				if (strcmp(sim_class_of(S->t[i].held[h].lock), "vma lock") == 0)
					sim_fail("LOCK", "%s holds a VMA lock over a fork",
						 S->t[i].name);
		sim_yield("forking");
		mm_thaw(mm);
		return RESULT_OK;
	case OP_KILL:
		sim_kill(W->tid[op->thread]);
		return RESULT_OK;
	case OP_FAIL:
		return do_fail(op);
	case OP_FULL:
		return do_full(op);
	case OP_AFTER:
		while (S->t[W->tid[op->thread]].state != SIM_DONE)
			rt_relax();
		return RESULT_OK;
	}
	return RESULT_ERROR;
}

static const char *result_names(unsigned mask, char *buf, size_t n)
{
	static const char *const name[] = { "ok",     "sigbus", "segv", "enomem",
					    "killed", "error",  "busy", "exist" };
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if (mask & 1u << i)
			at += (size_t)snprintf(buf + at, n - at, "%s%s", at ? "|" : "", name[i]);
	return buf;
}

static void run_op(const struct scenario_op *op, unsigned thread)
{
	char text[80], got[40], want[80];

	if (E.on_note) {
		scenario_op_print(W->scenario, op, text, sizeof(text));
		(void)UNSEEN((E.on_note(text), 0));
	}
	unsigned r = do_op(op, thread), allowed = op->expect;

	if (S->t[S->cur].n_held > 0)
		sim_fail("LOCK", "%s comes back from a call with %s held", S->t[S->cur].name,
			 sim_name_of(S->t[S->cur].held[0].lock, text, sizeof(text)));
	if (S->failures > 0)
		allowed |=
			RESULT_SIGBUS | RESULT_ENOMEM | RESULT_ERROR | RESULT_BUSY | RESULT_EXIST;
	if (S->t[S->cur].killed)
		allowed |= RESULT_KILLED;
	if (op->kind == OP_PIN) /* it gives up when each of a few faults came undone at once */
		allowed |= RESULT_ENOMEM;
	/* A call that maps, and fails, may have taken away what was there; one that protects may
	 * not have given back what one before it took. */
	if (S->failures > 0 && (remaps || protects))
		allowed |= RESULT_SEGV | RESULT_ENOMEM;
	if (r & allowed)
		return;
	scenario_op_print(W->scenario, op, text, sizeof(text));
	sim_fail("EXPECT", "%s: `%s` gives %s; expected %s", S->t[S->cur].name, text,
		 result_names(r, got, sizeof(got)), result_names(allowed, want, sizeof(want)));
}

static void thread_main(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;
	const struct scenario_thread *t = &W->scenario->thread[i];

	for (unsigned k = 0; k < t->ops; k++) {
		run_op(&t->op[k], i);
		if (S->t[S->cur].killed)
			return; /* a killed thread goes no further */
	}
}

/* --- build
 * ---------------------------------------------------------------------------------------------- */

/* The bytes of a world, without what no private region needs. New pages hold zeros. */
static size_t world_bytes(const struct scenario *s)
{
	unsigned n = SCENARIO_REGIONS;

	while (n > 0 && !(n <= s->regions && s->region[n - 1].private))
		n--;
	return offsetof(struct world, own) + n * sizeof(W->own[0]);
}

/* Else less memory than it says may be too little. */
static bool swap_holds_all(void)
{
	unsigned pages = 0;

	for (unsigned r = 0; r < scenario->regions; r++)
		pages += scenario->region[r].anon ? (unsigned)scenario->region[r].pages : 0;
	return pages == 0 || scenario->swap >= pages;
}

static void set_up(void *arg)
{
	struct mm_options o = { .budget = OPEN_BUDGET,
				.retry = (enum retry_policy)knobs.policy,
				.ahead_max = knobs.ahead,
				.dirty_percent = 20,
				.rmap = (enum rmap_design)knobs.rmap,
				.swap_handle = scenario->swap ? (int)scenario->swap_file : -1,
				.swap_bytes = scenario->swap * RT_PAGE };
	unsigned frames = knobs.frames && !remaps && swap_holds_all() ? knobs.frames
			  : scenario->memory                          ? scenario->memory
								      : PLENTY;

	(void)arg;
	W = rt_pages_alloc(world_bytes(scenario));
	W->scenario = scenario;
	W->baseline = S->used_pages;
	for (unsigned f = 0; f < scenario->files; f++)
		sim_file_new(f, (uint64_t)scenario->file[f].pages * RT_PAGE +
					(scenario->file[f].half ? SIM_SECTOR : 0));
	shadow_reset();
	int err = mm_open(&W->mm, &o);
	if (err)
		sim_fail("BUILD", "mm_open: %s", strerror(-err));
	/* The pager goes to sleep before anything starts: its start is no race of ours. */
	for (unsigned i = 0; i < 4; i++)
		rt_relax();
	for (unsigned r = 0; r < scenario->regions; r++) {
		W->region_file[r] = scenario->region[r].file;
		W->region_page[r] = scenario->region[r].page;
		if (scenario->region[r].unmapped)
			continue;
		err = map_region(r, scenario->region[r].file, scenario->region[r].page);
		if (err)
			sim_fail("BUILD", "mapping region %s: %s", scenario->region[r].name,
				 strerror(-err));
	}
	for (unsigned i = 0; i < scenario->befores; i++)
		run_op(&scenario->before[i], 0);
	/* What the budget covers beside frames is known once each slab has a chunk; what they
	 * grow by later is granted up to a chunk. */
	struct slab *slabs[] = { &W->mm.folios,      &W->mm.nodes, &W->mm.table_nodes,
				 &W->mm.tables_slab, &W->mm.vmas,  &W->mm.anon_vmas };
	for (unsigned i = 0; i < sizeof(slabs) / sizeof(slabs[0]); i++)
		slab_free(slabs[i], slab_alloc(slabs[i]));
	W->budget_base = W->mm.metadata.v + bounce_unused(&W->mm.bounce) + CONFIG_ROOM_MIN +
			 CONFIG_SLAB_BYTES;
	rt_store_u64(&W->mm.budget, W->budget_base + frames * RT_PAGE, RT_RELAXED);
	reclaim_direct(&W->mm, 0);
	W->retries = stat_sum(&W->mm, retries_vma) + stat_sum(&W->mm, retries_mmap);
}

static bool has(const struct scenario *s, enum op_kind kind)
{
	for (unsigned i = 0; i < s->threads; i++)
		for (unsigned k = 0; k < s->thread[i].ops; k++)
			if (s->thread[i].op[k].kind == kind)
				return true;
	return false;
}

static bool scenario_build(const struct program *p, const struct knobs *k)
{
	scenario = p->arg;
	knobs = *k;
	remaps = has(scenario, OP_MAP) || has(scenario, OP_REMAP) || has(scenario, OP_UNMAP);
	pins = has(scenario, OP_PIN) || has(scenario, OP_UNPIN);
	protects = has(scenario, OP_PROTECT);
	if (!knobs.ahead)
		knobs.ahead = scenario->ahead;
	E.on_map = oracle_on_map;
	E.on_drop = oracle_on_drop;
	E.on_page = oracle_on_page;
	E.on_write = scenario->swap ? oracle_on_write : NULL;
	E.on_want = oracle_on_want;
	sim_reset();
	if (!sim_setup(set_up, NULL))
		return false;
	for (unsigned i = 0; i < scenario->threads; i++)
		W->tid[i] = sim_spawn(thread_main, (void *)(uintptr_t)i, scenario->thread[i].name,
				      false);
	sim_snapshot();
	return true;
}

/* --- the end
 * -----------------------------------------------------------------------------------------------
 */

static bool compare(const struct scenario_expect *e, uint64_t got)
{
	return e->cmp == '<' ? got <= e->value : e->cmp == '>' ? got >= e->value : got == e->value;
}

static bool is_swap(unsigned file)
{
	return scenario->swap && file == scenario->swap_file;
}

static bool check_counts(void)
{
	struct mm *mm = &W->mm;

	for (unsigned i = 0; i < scenario->expects; i++) {
		const struct scenario_expect *e = &scenario->expect[i];
		const char *what = "";
		uint64_t got = 0;

		switch ((enum expect_what)e->what) {
		case EXPECT_READS:
			/* Readahead that comes short leaves the rest to the fault, which begins
			 * anew. */
			if (is_swap(e->file) && knobs.ahead && knobs.sim.short_reads)
				continue;
			got = S->file[e->file].page_reads[e->page];
			what = "device reads of the page";
			break;
		case EXPECT_RETRIES:
			got = stat_sum(mm, retries_vma) + stat_sum(mm, retries_mmap);
			what = "retries";
			break;
		case EXPECT_MAJOR:
			got = stat_sum(mm, faults_major);
			what = "major faults";
			break;
		case EXPECT_VMAS:
			got = ((struct vma_index *)mm->index.v)->count;
			what = "VMAs";
			break;
		case EXPECT_LOST:
			got = stat_sum(mm, lost_reads);
			what = "lost reads";
			break;
		case EXPECT_WORD:
			continue;
		}
		if (compare(e, got))
			continue;
		check_broken("EXPECT", "line %d: %llu %s", e->line, (unsigned long long)got, what);
		return false;
	}
	return true;
}

static int close_error;

static void take_down(void *arg)
{
	(void)arg;
	close_error = mm_close(&W->mm);
}

static bool check_device(void)
{
	for (unsigned f = 0; f < scenario->files && !W->outside; f++)
		for (int p = 0; p < SIM_FILE_PAGES && !is_swap(f); p++)
			for (unsigned w = 0; w < SIM_WORDS; w++) {
				uint64_t got = sim_file_word(f, (uint64_t)p, w);
				if ((uint64_t)p * RT_PAGE + w * SIM_SECTOR >= S->file[f].size)
					continue;
				if (shadow_allows(f, p, w, got))
					continue;
				check_broken("DATA",
					     "all was written back, and the file %s has %#llx in "
					     "page %d word %u; right is %#llx",
					     scenario->file[f].name, (unsigned long long)got, p, w,
					     (unsigned long long)W->cell[f][p][w].value[0]);
				return false;
			}
	return true;
}

static bool check_words(void)
{
	for (unsigned i = 0; i < scenario->expects; i++) {
		const struct scenario_expect *e = &scenario->expect[i];
		if (e->what != EXPECT_WORD)
			continue;
		uint64_t got = sim_file_word(e->file, (uint64_t)e->page, e->word);
		uint64_t want = e->thread >= 0 ? W->last_token[e->thread]
					       : 0xf000000000ull | (uint64_t)e->file << 16 |
							 (uint64_t)e->page << 4 | e->word;
		if (got == want)
			continue;
		check_broken("EXPECT", "line %d: the word is %#llx, not %#llx", e->line,
			     (unsigned long long)got, (unsigned long long)want);
		return false;
	}
	return true;
}

static bool pool_left(void)
{
	for (unsigned i = 0; i < SIM_POOLS; i++)
		if (S->pool[i].frames)
			return true;
	return false;
}

static bool check_leaks(void)
{
	if (S->used_pages != W->baseline)
		check_broken("LEAK", "%u pages of the core's own are left",
			     S->used_pages - (unsigned)W->baseline);
	else if (S->frames_free != SIM_FRAMES)
		check_broken("LEAK", "%u frames are left", SIM_FRAMES - S->frames_free);
	else if (pool_left())
		check_broken("LEAK", "a pool is left open");
	else
		return true;
	return false;
}

static bool scenario_finish(const struct program *p)
{
	(void)p;
	if (!oracle_quiescent())
		return false;
	if (S->failures == 0 && !check_counts())
		return false;
	/* The end costs as much as the run. */
	if (E.sparing)
		return true;
	bool disk_works = S->failures == 0;
	for (unsigned f = 0; f < scenario->files; f++) {
		S->file[f].dead_reads = S->file[f].dead_writes = S->file[f].dead_syncs = false;
		S->file[f].full = -1;
		S->file[f].hangs = false;
	}
	/* A file that failed lately is not written at once: twice is enough. */
	close_error = 0;
	if (!sim_quietly(take_down, NULL))
		return false;
	if (close_error && disk_works && !W->bad_disk)
		check_broken("EXPECT", "closing reports %s, and nothing had failed",
			     strerror(-close_error));
	else if (check_device() && (S->failures > 0 || check_words()))
		return check_leaks();
	return false;
}

void scenario_program(const struct scenario *s, struct program *p)
{
	*p = (struct program){ .name = s->name,
			       .title = s->title,
			       .threads = s->threads,
			       .tiny = s->tiny,
			       .build = scenario_build,
			       .finish = scenario_finish,
			       .arg = s };
}
