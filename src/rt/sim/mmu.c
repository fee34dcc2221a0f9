/* SPDX-License-Identifier: MIT */
/*
 * mmu.c (sim) - views, page-table entries, a TLB per simulated thread, and the loads
 * and stores of simulated programs.
 *
 * Each thread is a CPU of its own. A translation it has used stays in its TLB (knob)
 * until it is flushed; while it differs from the page table (between an unmapping and
 * its flush) the access through it is a choice. Unmapping and write-protecting change
 * the entries, pass a point, and then flush every TLB, as an IPI would.
 *
 * A private view's own page has a frame of its own; a view without an object has no other
 * pages (anon.c). What rt.h allows a real machine to answer, this one answers: maps that stop
 * half way, -EAGAIN, -EEXIST, refused views.
 */
#include <errno.h>
#include <string.h>

#define SIM_NO_SITES
#include "rt/sim/fiber.h"
#include "rt/sim/machine.h"

int rt_mmu_open(struct rt_mmu *mmu)
{
	if (sim_fails("mmu_open"))
		return -EPERM;
	mmu->open = 1;
	return 0;
}

void rt_mmu_close(struct rt_mmu *mmu)
{
	mmu->open = 0;
}

/* --- addresses ------------------------------------------------------------------ */

static bool in_space(uint64_t addr, uint64_t len)
{
	return addr >= SIM_VBASE && len <= SIM_VPAGES * RT_PAGE &&
	       addr + len <= SIM_VBASE + SIM_VPAGES * RT_PAGE;
}

static struct sim_view *view_at(uint64_t addr)
{
	for (unsigned i = 0; i < SIM_VIEWS; i++)
		if (addr >= S->view[i].addr && addr < S->view[i].addr + S->view[i].len)
			return &S->view[i];
	return NULL;
}

bool sim_view_at(uint64_t vaddr, unsigned *object, uint64_t *index)
{
	const struct sim_view *v = view_at(vaddr);

	if (!v || v->reserved)
		return false;
	*object = v->object;
	*index = v->index + (vaddr - v->addr) / RT_PAGE;
	return true;
}

/* Is all of it in views, of whatever kind? */
static bool is_viewed(uint64_t addr, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct sim_view *v = view_at(addr + i * RT_PAGE);
		if (!v || v->reserved)
			return false;
	}
	return true;
}

/*
 * The view that the whole range lies in; NULL: none does. Shared views that continue each
 * other are one, private ones are not: a kernel merges those now and then, but not when
 * both have pages of their own.
 */
struct sim_view *mmu_view_of(uint64_t addr, uint64_t n)
{
	struct sim_view *v = view_at(addr);

	if (!v || v->reserved)
		return NULL;
	for (const struct sim_view *a = v, *b; addr + n * RT_PAGE > a->addr + a->len; a = b) {
		b = view_at(a->addr + a->len);
		if (!b || b->reserved || b->object != a->object || b->rights != a->rights ||
		    a->private || b->private || a->parted || b->parted ||
		    b->index != a->index + a->len / RT_PAGE)
			return NULL;
	}
	return v;
}

/* Mapping, copying, owning and moving are for views of objects. */
static void check_has_object(const struct sim_view *v, const char *op)
{
	if (v->object == SIM_NO_OBJECT)
		sim_fail("CONTRACT", "%s in a view without an object", op);
}

static bool is_free(uint64_t addr, uint64_t len)
{
	for (unsigned i = 0; i < SIM_VIEWS; i++)
		if (S->view[i].len && addr < S->view[i].addr + S->view[i].len &&
		    S->view[i].addr < addr + len)
			return false;
	return true;
}

static uint64_t find_room(uint64_t len)
{
	/* A page between views: they must not merge by chance. */
	for (uint64_t at = SIM_VBASE + RT_PAGE; in_space(at, len); at += RT_PAGE)
		if (is_free(at - RT_PAGE, len + 2 * RT_PAGE))
			return at;
	return 0;
}

static struct sim_view *view_new(void)
{
	for (unsigned i = 0; i < SIM_VIEWS; i++)
		if (S->view[i].len == 0)
			return &S->view[i];
	sim_fail("MACHINE", "more than %d views", SIM_VIEWS);
}

/* --- entries and TLBs -------------------------------------------------------------- */

static bool in_range(unsigned vpage, unsigned first, uint64_t n)
{
	return vpage >= first && vpage < first + n;
}

SIM_RAW void mmu_flush(unsigned first, uint64_t n)
{
	for (uint32_t i = 0; i < S->threads; i++)
		for (unsigned j = 0; j < SIM_TLB; j++)
			if (in_range(S->t[i].tlb[j].vpage, first, n))
				S->t[i].tlb[j].vpage = 0;
}

SIM_RAW bool mmu_flushed_already(unsigned first, uint64_t n)
{
	for (uint32_t i = 0; i < S->threads; i++)
		for (unsigned j = 0; j < SIM_TLB; j++)
			if (S->t[i].tlb[j].vpage && in_range(S->t[i].tlb[j].vpage, first, n))
				return false;
	return true;
}

static void clear_entries(unsigned first, uint64_t n)
{
	for (unsigned i = first; i < first + n; i++) {
		unsigned flags = S->pte[i].flags;
		S->pte[i].flags = 0;
		if (flags & SIM_PTE_OWN) {
			mmu_flush(i, 1);
			frame_free(S->pte[i].frame);
		}
	}
}

/* Entries as numbers, several in a step. */
typedef uint32_t entries __attribute__((vector_size(16), may_alias));
_Static_assert(sizeof(struct sim_pte) == sizeof(uint32_t), "an entry is a number");

static bool in_entries(unsigned frame)
{
	const struct sim_pte look = { .frame = UINT16_MAX, .flags = SIM_PTE_PRESENT };
	const struct sim_pte want = { .frame = (uint16_t)frame, .flags = SIM_PTE_PRESENT };
	const size_t n = sizeof(entries) / sizeof(struct sim_pte);
	const entries *e = (const void *)S->pte;
	uint32_t mask, value;
	entries found = { 0 };
	bool any = false;

	memcpy(&mask, &look, sizeof(mask));
	memcpy(&value, &want, sizeof(value));
	for (unsigned i = 0; i < SIM_VPAGES / n; i++)
		found |= (entries)((e[i] & mask) == value);
	for (unsigned i = 0; i < n; i++)
		any |= found[i] != 0;
	return any;
}

bool sim_frame_mapped(unsigned frame)
{
	if (in_entries(frame))
		return true;
	for (uint32_t i = 0; i < S->threads; i++)
		for (unsigned j = 0; j < SIM_TLB; j++)
			if (S->t[i].tlb[j].vpage && S->t[i].tlb[j].frame == frame)
				return true;
	return false;
}

void mmu_forget_frame(unsigned object, uint64_t index)
{
	for (unsigned i = 0; i < SIM_VIEWS; i++) {
		struct sim_view *v = &S->view[i];
		if (!v->len || v->reserved || v->object != object || index < v->index ||
		    index >= v->index + v->len / RT_PAGE)
			continue;
		unsigned vpage = vpage_of(v->addr) + (unsigned)(index - v->index);
		if (!(S->pte[vpage].flags & SIM_PTE_OWN))
			S->pte[vpage].flags = 0;
		mmu_flush(vpage, 1);
	}
}

/* --- views --------------------------------------------------------------------------- */

/* Cut [addr, addr+len) out of the views that are there. */
static void cut(uint64_t addr, uint64_t len)
{
	for (unsigned i = 0; i < SIM_VIEWS; i++) {
		struct sim_view *v = &S->view[i];
		uint64_t end = v->addr + v->len;
		if (!v->len || addr >= end || v->addr >= addr + len)
			continue;
		struct sim_view old = *v;
		uint64_t from = addr > v->addr ? addr : v->addr;
		uint64_t to = addr + len < end ? addr + len : end;
		clear_entries(vpage_of(from), (to - from) / RT_PAGE);
		mmu_flush(vpage_of(from), (to - from) / RT_PAGE);
		v->len = from - v->addr;
		if (to < end) {
			struct sim_view *rest = v->len ? view_new() : v;
			*rest = old;
			rest->addr = to;
			rest->len = end - to;
			rest->index += (to - old.addr) / RT_PAGE;
		}
	}
}

int rt_view_open(struct rt_mmu *mmu, struct rt_object *o, uint64_t index, uint64_t len,
		 unsigned rights, unsigned flags, uint64_t *addr)
{
	(void)mmu;
	machine_point("view_open", MEMORY, SIM_W);
	if (!o && !(flags & RT_VIEW_PRIVATE))
		sim_fail("CONTRACT", "a shared view is opened without an object");
	bool fails = sim_fails("view_open");
	if (flags & RT_VIEW_FIXED) {
		if (!in_space(*addr, len))
			return -ENOMEM;
		if (flags & RT_VIEW_NOREPLACE && !is_free(*addr, len))
			return -EEXIST;
		/* A real one replaces what was there, and may fail then. */
		if (fails &&
		    (is_free(*addr, len) || sim_choose(2) == 0))
			return -ENOMEM;
		cut(*addr, len);
	}
	if (fails)
		return -ENOMEM;
	if (!(flags & RT_VIEW_FIXED) && (!*addr || !in_space(*addr, len) || !is_free(*addr, len))) {
		*addr = find_room(len);
		if (!*addr)
			return -ENOMEM;
	}
	*view_new() = (struct sim_view){ .addr = *addr,
					 .len = len,
					 .index = o ? index : 0,
					 .object = o ? (uint8_t)o->id : SIM_NO_OBJECT,
					 .rights = (uint8_t)rights,
					 .private = flags & RT_VIEW_PRIVATE };
	machine_seen(*addr);
	return 0;
}

int rt_view_reserve(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	(void)mmu;
	machine_point("view_reserve", MEMORY, SIM_W);
	if (sim_fails("view_reserve"))
		return -ENOMEM;
	if (!in_space(addr, len))
		return -ENOMEM;
	if (!is_free(addr, len))
		return -EEXIST;
	*view_new() = (struct sim_view){ .addr = addr, .len = len, .reserved = true };
	machine_seen(addr);
	return 0;
}

void rt_view_close(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	(void)mmu;
	machine_point("view_close", MEMORY, SIM_W);
	const struct sim_view *v = view_at(addr);
	if (v && v->addr < addr && addr + len < v->addr + v->len)
		sim_fail("CONTRACT", "the middle of a view is closed, which was not parted");
	cut(addr, len);
	machine_seen(addr);
}

/* Make addr a boundary of views. */
static void split_view(uint64_t addr)
{
	struct sim_view *v = view_at(addr);

	if (!v || v->addr == addr)
		return;
	struct sim_view *rest = view_new();
	*rest = *v;
	rest->addr = addr;
	rest->len = v->addr + v->len - addr;
	rest->index = v->index + (addr - v->addr) / RT_PAGE;
	v->len = addr - v->addr;
}

int rt_view_protect(struct rt_mmu *mmu, uint64_t addr, uint64_t len, unsigned rights)
{
	(void)mmu;
	machine_point("view_protect", MEMORY, SIM_W);
	if (!is_viewed(addr, len / RT_PAGE) || sim_fails("view_protect"))
		return -ENOMEM;
	split_view(addr);
	split_view(addr + len);
	for (unsigned i = 0; i < SIM_VIEWS; i++)
		if (S->view[i].len && S->view[i].addr >= addr && S->view[i].addr < addr + len)
			S->view[i].rights = (uint8_t)rights;
	mmu_flush(vpage_of(addr), len / RT_PAGE);
	machine_seen(rights);
	return 0;
}

int rt_view_part(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	(void)mmu;
	machine_point("view_part", MEMORY, SIM_W);
	if (!is_viewed(addr, len / RT_PAGE) || sim_fails("view_part"))
		return -ENOMEM;
	split_view(addr);
	split_view(addr + len);
	for (unsigned i = 0; i < SIM_VIEWS; i++)
		if (S->view[i].len && S->view[i].addr >= addr && S->view[i].addr < addr + len)
			S->view[i].parted = true;
	machine_seen(addr);
	return 0;
}

int rt_view_move(struct rt_mmu *mmu, uint64_t old, uint64_t len, uint64_t to, unsigned rights)
{
	(void)mmu;
	machine_point("view_move", MEMORY, SIM_W);
	if (!is_viewed(old, len / RT_PAGE))
		return -ENOMEM;
	check_has_object(view_at(old), "move");
	bool fails = sim_fails("view_move");
	for (unsigned i = vpage_of(old); i < vpage_of(old) + len / RT_PAGE; i++) {
		/* A real one takes them along, without their protection. */
		unsigned flags = S->pte[i].flags;
		if (flags & SIM_PTE_PRESENT && (!(flags & SIM_PTE_OWN) || flags & SIM_PTE_WP))
			sim_fail("CONTRACT", "a view is moved with more than private copies in it");
	}
	if (fails) {
		/* A real one has made room before it fails, or not. */
		if (sim_choose(2) == 1)
			cut(to, len);
		return -ENOMEM;
	}
	split_view(old);
	split_view(old + len);
	struct sim_view v = *view_at(old);
	cut(to, len);
	for (uint64_t i = 0; i < len / RT_PAGE; i++) {
		struct sim_pte *from = &S->pte[vpage_of(old) + i];
		if (from->flags & SIM_PTE_OWN) {
			S->pte[vpage_of(to) + i] = *from;
			mmu_flush(vpage_of(old) + (unsigned)i, 1);
			from->flags = 0;
		}
	}
	cut(old, len);
	v.addr = to;
	v.len = len;
	v.rights = (uint8_t)rights;
	v.parted = false;
	*view_new() = v;
	machine_seen(to);
	return 0;
}

/* --- mapping ---------------------------------------------------------------------------- */

int64_t rt_mmu_map(struct rt_mmu *mmu, uint64_t addr, uint64_t n, bool wp)
{
	uint64_t done = 0;

	(void)mmu;
	machine_point("map", MEMORY, SIM_W);
	struct sim_view *v = mmu_view_of(addr, n);
	if (sim_hiccups("mmu_map")) {
		n = sim_choose((unsigned)n);
		if (n == 0) {
			machine_seen(0);
			return -EAGAIN;
		}
	}
	if (!v) {
		machine_seen(1);
		return -ENOENT;
	}
	check_has_object(v, "map");
	if (v->private && !wp) /* a real one copies at the first store, behind our back */
		sim_fail("CONTRACT", "a page of a private view is mapped for writing");
	for (; done < n; done++) {
		uint64_t index = v->index + (addr + done * RT_PAGE - v->addr) / RT_PAGE;
		uint16_t slot = index < SIM_OBJECT_PAGES ? S->object[v->object].frame[index] : 0;
		struct sim_pte *pte = &S->pte[vpage_of(addr) + done];
		if (!slot) {
			machine_seen(2);
			return done ? (int64_t)done : -EFAULT;
		}
		if (pte->flags & SIM_PTE_PRESENT)
			continue;
		if (E.on_map)
			E.on_map(addr + done * RT_PAGE, v->object, index, false);
		pte->frame = slot - 1u;
		pte->flags = SIM_PTE_PRESENT | (wp ? SIM_PTE_WP : 0);
	}
	machine_seen(done);
	return (int64_t)done;
}

int rt_mmu_copy(struct rt_mmu *mmu, uint64_t addr, const void *buf, bool wp)
{
	(void)mmu;
	machine_point("copy", MEMORY, SIM_W);
	if (sim_hiccups("mmu_copy"))
		return -EAGAIN;
	struct sim_view *v = mmu_view_of(addr, 1);
	if (!v)
		return -ENOENT;
	check_has_object(v, "copy");
	if (v->private)
		sim_fail("CONTRACT", "a page is copied into a private view");
	uint64_t index = v->index + (addr - v->addr) / RT_PAGE;
	struct sim_object *o = &S->object[v->object];
	struct sim_pte *pte = &S->pte[vpage_of(addr)];
	if (index >= o->pages || index >= SIM_OBJECT_PAGES)
		return -EFAULT;
	if (pte->flags & SIM_PTE_PRESENT || o->frame[index]) {
		machine_seen(1);
		return -EEXIST;
	}
	int frame = frame_new();
	if (frame < 0)
		return -ENOMEM;
	machine_copy(S->frame[frame], buf, RT_PAGE);
	o->frame[index] = (uint16_t)(frame + 1);
	if (E.on_map)
		E.on_map(addr, v->object, index, true);
	pte->frame = (uint16_t)frame;
	pte->flags = SIM_PTE_PRESENT | (wp ? SIM_PTE_WP : 0);
	machine_seen(index);
	return 0;
}

void rt_mmu_zap(struct rt_mmu *mmu, uint64_t addr, uint64_t n)
{
	(void)mmu;
	machine_point("zap", MEMORY, SIM_W);
	clear_entries(vpage_of(addr), n);
	machine_seen(n);
	if (mmu_flushed_already(vpage_of(addr), n))
		return;
	machine_point("flush", MEMORY, SIM_W);
	mmu_flush(vpage_of(addr), n);
	machine_seen(n);
}

int rt_mmu_wrprotect(struct rt_mmu *mmu, uint64_t addr, uint64_t n)
{
	(void)mmu;
	machine_point("wrprotect", MEMORY, SIM_W);
	if (!is_viewed(addr, n))
		return -ENOENT;
	for (unsigned i = vpage_of(addr); i < vpage_of(addr) + n; i++)
		if (S->pte[i].flags & SIM_PTE_PRESENT)
			S->pte[i].flags |= SIM_PTE_WP;
	machine_seen(n);
	if (mmu_flushed_already(vpage_of(addr), n))
		return 0;
	machine_point("flush", MEMORY, SIM_W);
	mmu_flush(vpage_of(addr), n);
	machine_seen(n);
	return 0;
}

int rt_mmu_unprotect(struct rt_mmu *mmu, uint64_t addr, uint64_t n)
{
	(void)mmu;
	machine_point("unprotect", MEMORY, SIM_W);
	if (!is_viewed(addr, n))
		return -ENOENT;
	if (sim_hiccups("mmu_unprotect"))
		return -EAGAIN;
	for (unsigned i = vpage_of(addr); i < vpage_of(addr) + n; i++)
		S->pte[i].flags &= (uint8_t)~SIM_PTE_WP;
	mmu_flush(vpage_of(addr), n); /* else a spurious fault: the real one flushes too */
	machine_seen(n);
	return 0;
}

int rt_mmu_own(struct rt_mmu *mmu, uint64_t addr, const void *buf)
{
	(void)mmu;
	/* As on a real one: in two steps, of which the second may fail. */
	if (view_at(addr) && S->pte[vpage_of(addr)].flags & SIM_PTE_PRESENT)
		rt_mmu_zap(mmu, addr, 1);
	machine_point("own", MEMORY, SIM_W);
	if (sim_hiccups("mmu_own"))
		return -EAGAIN;
	struct sim_view *v = mmu_view_of(addr, 1);
	if (!v)
		return -ENOENT;
	check_has_object(v, "own");
	if (!v->private)
		sim_fail("CONTRACT", "a page of a shared view is made the process's own");
	if (S->pte[vpage_of(addr)].flags & SIM_PTE_PRESENT)
		return -EEXIST; /* mapped meanwhile */
	if (v->index + (addr - v->addr) / RT_PAGE >= S->object[v->object].pages)
		return -EFAULT;
	int frame = frame_new();
	if (frame < 0)
		return -ENOMEM;
	machine_copy(S->frame[frame], buf, RT_PAGE);
	S->pte[vpage_of(addr)] = (struct sim_pte){ .frame = (uint16_t)frame,
						   .flags = SIM_PTE_PRESENT | SIM_PTE_OWN };
	machine_seen(addr);
	return 0;
}

/* --- the program ---------------------------------------------------------------------------- */

static SIM_RAW struct sim_tlb *tlb_find(struct sim_thread *t, unsigned vpage)
{
	for (unsigned i = 0; i < SIM_TLB; i++)
		if (t->tlb[i].vpage == vpage)
			return &t->tlb[i];
	return NULL;
}

SIM_RAW enum sim_access sim_access(uint64_t vaddr, unsigned word, bool write, uint64_t *value,
				   void (*done)(void *arg, uint64_t value), void *arg)
{
	machine_point(write ? "store" : "load", MEMORY, SIM_W);
	struct sim_thread *t = &S->t[S->cur];
	struct sim_view *v = view_at(vaddr);
	unsigned vpage = vpage_of(vaddr);
	unsigned frame;

	/* Rights are checked first: a TLB that held more was flushed by the change. Who may
	 * write may read: so it is in every page table. */
	if (!v || v->reserved || !(v->rights & (write ? RT_WRITE : RT_READ | RT_WRITE))) {
		machine_seen(2);
		return SIM_ACCESS_SEGV;
	}
	struct sim_tlb *e = tlb_find(t, vpage);
	struct sim_pte *pte = &S->pte[vpage];
	bool good = pte->flags & SIM_PTE_PRESENT && !(write && pte->flags & SIM_PTE_WP);
	bool stale = e && (!good || e->frame != pte->frame) && !(write && !e->writable);
	if (stale && !S->quiet && E.choose && sim_choose(2) == 0) {
		frame = e->frame; /* not flushed yet: it may still be used */
	} else if (good) {
		frame = pte->frame;
		if (E.knobs.tlb) {
			if (!e) {
				e = &t->tlb[t->tlb_next];
				t->tlb_next = (uint8_t)((t->tlb_next + 1) % SIM_TLB);
			}
			*e = (struct sim_tlb){ .vpage = (uint16_t)vpage,
					       .frame = (uint16_t)frame,
					       .writable = !(pte->flags & SIM_PTE_WP) };
		}
	} else {
		machine_seen(1);
		return SIM_ACCESS_FAULT;
	}
	for (unsigned i = 0; word == SIM_WHOLE && i < RT_PAGE / sizeof(*value); i++)
		frame_word(frame, 0)[i] = *value;
	if (word == SIM_WHOLE)
		;
	else if (write)
		*frame_word(frame, word) = *value;
	else
		*value = *frame_word(frame, word);
	if (done)
		done(arg, *value);
	machine_seen(*value);
	return SIM_ACCESS_OK;
}
