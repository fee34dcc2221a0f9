/* SPDX-License-Identifier: MIT */
/*
 * mem.c (sim) - pages of the core's own, and the frames of objects.
 *
 * rt_pages_alloc() takes from a small array of pages. Freed pages come back at once
 * (reuse_last: what a stale pointer finds is somebody else's: ABA) or as late as can be
 * (what it finds is poison). An object's page is a frame; filling one takes two steps
 * with a point between, so that who maps it too early sees half of it.
 */
#include <errno.h>
#include <string.h>

#define SIM_NO_SITES
#include "base/bitmap.h"
#include "rt/sim/fiber.h"
#include "rt/sim/machine.h"

#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n)   ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#define PAGES (SIM_PAGES_BYTES / RT_PAGE)

void machine_reset(void)
{
	for (unsigned i = 0; i < SIM_FRAMES; i++)
		S->frame_free[i] = (uint16_t)(SIM_FRAMES - 1 - i);
	S->frames_free = SIM_FRAMES;
	for (unsigned i = 0; i < SIM_POOL_FRAMES; i++)
		page_poison(S->pool_page[i]);
	UNPOISON((void *)SIM_PAGES, SIM_PAGES_BYTES);
	disk_reset();
}

/*
 * What ASan holds of the pages belongs to a run as they do: freed in one, they are there
 * again in the next.
 */
#ifdef SIM_ASAN
static char shadow[SIM_PAGES_BYTES / 8];

static char *shadow_of_pages(void)
{
	size_t scale, offset;

	__asan_get_shadow_mapping(&scale, &offset);
	return (char *)((SIM_PAGES >> scale) + offset);
}

void machine_keep_shadow(void)
{
	machine_copy(shadow, shadow_of_pages(), sizeof(shadow));
}

void machine_put_shadow(void)
{
	/* Beyond is what only a run took: it is there again when it is taken. */
	machine_copy(shadow_of_pages(), shadow, (size_t)S->pages_high * RT_PAGE / 8);
}
#else
void machine_keep_shadow(void)
{
}

void machine_put_shadow(void)
{
}
#endif

void machine_transfer(void *to, const void *from, size_t n)
{
#ifdef SIM_ASAN
	memcpy(to, from, n);
#else
	machine_copy(to, from, n);
#endif
}

/* --- pages -------------------------------------------------------------------- */

static SIM_RAW void fill_bytes(void *p, uint64_t value, size_t n)
{
#if defined(__x86_64__)
	n /= 8;
	__asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(value) : "memory");
#else
	volatile uint64_t *w = p;

	for (size_t i = 0; i < n / 8; i++)
		w[i] = value;
#endif
}

static char *page_at(size_t i)
{
	return (char *)SIM_PAGES + i * RT_PAGE;
}

void *rt_pages_alloc(size_t bytes)
{
	size_t n = (bytes + RT_PAGE - 1) / RT_PAGE, at = BITMAP_NONE;

	machine_point("pages_alloc", S->page_map, SIM_W);
	if (n > PAGES || sim_fails("pages_alloc")) {
		machine_seen(0);
		return NULL;
	}
	ACQUIRE(S->page_map);
	if (!E.knobs.reuse_last)
		at = bitmap_find_run_from(S->page_map, PAGES, S->pages_high, n);
	if (at == BITMAP_NONE)
		at = bitmap_find_run(S->page_map, PAGES, n);
	if (at == BITMAP_NONE)
		sim_fail("MACHINE", "the simulated machine has no %zu pages in a row", n);
	bitmap_set_run(S->page_map, at, n);
	S->used_pages += (uint32_t)n;
	if (at + n > S->pages_high)
		S->pages_high = (uint32_t)(at + n);
	UNPOISON(page_at(at), n * RT_PAGE);
	fill_bytes(page_at(at), 0, n * RT_PAGE);
	RELEASE(S->page_map);
	machine_seen(at);
	return page_at(at);
}

void rt_pages_free(void *p, size_t bytes)
{
	size_t n = (bytes + RT_PAGE - 1) / RT_PAGE;

	if (!p)
		return;
	machine_point("pages_free", S->page_map, SIM_W);
	ACQUIRE(S->page_map);
	size_t at = (size_t)((char *)p - page_at(0)) / RT_PAGE;
	for (size_t i = at; i < at + n; i++)
		if (!bitmap_test(S->page_map, i))
			sim_fail("FREE", "pages are freed that are free");
	bitmap_clear_run(S->page_map, at, n);
	S->used_pages -= (uint32_t)n;
	fill_bytes(p, 0x5a5a5a5a5a5a5a5aull, n * RT_PAGE);
	POISON(p, n * RT_PAGE);
	RELEASE(S->page_map);
	machine_seen(at);
}

/*
 * The life of an object in type-stable memory. Freed, its memory stays readable for
 * those who look through atomics; ASan reports a plain access. Without ASan a stale
 * pointer finds what the last owner left, which the identity checks must catch.
 */
void rt_note_live(void *p, size_t n)
{
	UNPOISON(p, n);
}

void rt_note_free(void *p, size_t n)
{
	/* The last word is the slab's link. */
	POISON(p, (n - sizeof(void *)) & ~(size_t)7);
}

/* --- frames -------------------------------------------------------------------- */

void page_poison(void *page)
{
	fill_bytes(page, FRAME_POISON, RT_PAGE);
}

int frame_new(void)
{
	if (S->frames_free == 0)
		return -1;
	unsigned frame = S->frame_free[--S->frames_free];
	page_poison(S->frame[frame]); /* whatever ran before */
	return (int)frame;
}

void frame_free(unsigned frame)
{
	if (sim_frame_mapped(frame))
		sim_fail("TLB", "frame %u is freed while a page table or a TLB shows it", frame);
	page_poison(S->frame[frame]);
	S->frame_free[S->frames_free++] = (uint16_t)frame;
}

uint64_t *frame_word(unsigned frame, unsigned word)
{
	return (uint64_t *)(void *)(S->frame[frame] + word * SIM_SECTOR);
}

/* --- objects -------------------------------------------------------------------- */

int rt_object_open(struct rt_object *o, uint64_t pages)
{
	int id = 0;

	machine_point("object_open", S->pte, SIM_W);
	if (sim_fails("object_open"))
		return -ENFILE;
	if (pages > SIM_OBJECT_PAGES)
		return -EFBIG;
	while (id < SIM_OBJECTS && S->object[id].used)
		id++;
	if (id == SIM_OBJECTS)
		return -ENFILE;
	memset(&S->object[id], 0, sizeof(S->object[id]));
	S->object[id].used = true;
	S->object[id].pages = pages;
	o->id = id;
	machine_seen((uint64_t)id);
	return 0;
}

void rt_object_close(struct rt_object *o)
{
	machine_point("object_close", S->pte, SIM_W);
	for (unsigned i = 0; i < SIM_OBJECT_PAGES; i++)
		if (S->object[o->id].frame[i])
			frame_free(S->object[o->id].frame[i] - 1u);
	S->object[o->id].used = false;
	machine_seen(0);
}

int rt_object_grow(struct rt_object *o, uint64_t pages)
{
	machine_point("object_grow", S->pte, SIM_W);
	if (sim_fails("object_grow"))
		return -ENOSPC;
	if (pages > SIM_OBJECT_PAGES)
		return -EFBIG;
	if (pages > S->object[o->id].pages)
		S->object[o->id].pages = pages;
	machine_seen(pages);
	return 0;
}

static uint16_t *slot_of(struct rt_object *o, uint64_t index)
{
	if (!S->object[o->id].used)
		sim_fail("FREE", "the memory of a mapping is used after it was closed");
	if (index >= SIM_OBJECT_PAGES)
		sim_fail("MACHINE", "page %llu is more than a simulated object has",
			 (unsigned long long)index);
	return &S->object[o->id].frame[index];
}

int rt_object_fill(struct rt_object *o, uint64_t index, const void *buf, uint64_t n)
{
	uint64_t asked = n;

	machine_point("fill", S->pte, SIM_W);
	if (sim_fails("object_fill")) /* the pages before the one that failed are there */
		n = sim_choose((unsigned)n);
	for (uint64_t i = 0; i < n; i++) {
		uint16_t *slot = slot_of(o, index + i);
		if (!*slot) {
			int frame = frame_new();
			if (frame < 0) {
				n = i;
				break;
			}
			*slot = (uint16_t)(frame + 1);
		}
		machine_copy(S->frame[*slot - 1], (const char *)buf + i * RT_PAGE, RT_PAGE / 2);
	}
	if (n > 0 && index + n > S->object[o->id].pages)
		S->object[o->id].pages = index + n; /* a memfd grows, too */
	machine_seen(index);
	machine_point("filled", S->pte, SIM_W);
	for (uint64_t i = 0; i < n; i++) {
		uint16_t *slot = slot_of(o, index + i);
		if (!*slot)
			sim_fail("UPT", "page %llu is dropped while it is filled",
				 (unsigned long long)(index + i));
		machine_copy(S->frame[*slot - 1] + RT_PAGE / 2,
			     (const char *)buf + i * RT_PAGE + RT_PAGE / 2, RT_PAGE / 2);
	}
	machine_seen(n);
	return n < asked ? -ENOMEM : 0;
}

int rt_object_fetch(struct rt_object *o, uint64_t index, void *buf, uint64_t n)
{
	machine_point("fetch", S->pte, SIM_R);
	if (index + n > S->object[o->id].pages || sim_fails("object_fetch")) {
		fill_bytes(buf, FRAME_POISON, n * RT_PAGE); /* what was there is not kept */
		return -EIO;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint16_t slot = *slot_of(o, index + i);
		if (slot)
			machine_copy((char *)buf + i * RT_PAGE, S->frame[slot - 1], RT_PAGE);
		else
			memset((char *)buf + i * RT_PAGE, 0, RT_PAGE);
	}
	machine_seen(sim_hash(index, buf, n * RT_PAGE));
	return 0;
}

int rt_object_drop(struct rt_object *o, uint64_t index, uint64_t n)
{
	machine_point("drop", S->pte, SIM_W);
	if (E.on_drop)
		E.on_drop((unsigned)o->id, index, n);
	for (uint64_t i = index; i < index + n && i < SIM_OBJECT_PAGES; i++) {
		uint16_t *slot = slot_of(o, i);
		if (!*slot)
			continue;
		/* The contract: mapped in no view afterwards. */
		mmu_forget_frame((unsigned)o->id, i);
		unsigned frame = *slot - 1u;
		*slot = 0;
		frame_free(frame);
	}
	machine_seen(index);
	return 0;
}

int rt_object_patch(struct rt_object *o, uint64_t byte, const void *buf, size_t len)
{
	machine_point("patch", S->pte, SIM_W);
	while (len > 0) {
		uint16_t slot = *slot_of(o, byte / RT_PAGE);
		size_t n = RT_PAGE - byte % RT_PAGE;
		n = n < len ? n : len;
		if (!slot)
			sim_fail("UPT", "byte %llu of a page that is not there is patched",
				 (unsigned long long)byte);
		machine_copy(S->frame[slot - 1] + byte % RT_PAGE, buf, n);
		buf = (const char *)buf + n;
		byte += n;
		len -= n;
	}
	machine_seen(byte);
	return 0;
}
