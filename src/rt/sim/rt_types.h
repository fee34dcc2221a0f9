/* SPDX-License-Identifier: MIT */
/*
 * rt_types.h (sim) - the types of the contract on the simulated machine.
 *
 * Included by rt.h alone; rt.h has the promises. Every operation is a call, because
 * every one may be a scheduling point. Pages are small, so that a run's whole world is
 * some tens of KiB and is put back in a microsecond.
 */
#ifndef RT_SIM_TYPES_H
#define RT_SIM_TYPES_H

#define RT_PAGE_SHIFT 8

typedef struct {
	uint32_t v;
} rt_u32;
typedef struct {
	uint64_t v;
} rt_u64;
typedef struct {
	void *v;
} rt_ptr;

uint32_t rt_load_u32(const rt_u32 *p, enum rt_order o);
uint64_t rt_load_u64(const rt_u64 *p, enum rt_order o);
void *rt_load_ptr(const rt_ptr *p, enum rt_order o);
void rt_store_u32(rt_u32 *p, uint32_t v, enum rt_order o);
void rt_store_u64(rt_u64 *p, uint64_t v, enum rt_order o);
void rt_store_ptr(rt_ptr *p, void *v, enum rt_order o);
bool rt_cas_u32(rt_u32 *p, uint32_t expected, uint32_t v, enum rt_order o);
bool rt_cas_u64(rt_u64 *p, uint64_t expected, uint64_t v, enum rt_order o);
bool rt_cas_ptr(rt_ptr *p, void *expected, void *v, enum rt_order o);
uint32_t rt_add_u32(rt_u32 *p, uint32_t n, enum rt_order o);
uint32_t rt_sub_u32(rt_u32 *p, uint32_t n, enum rt_order o);
uint32_t rt_or_u32(rt_u32 *p, uint32_t n, enum rt_order o);
uint32_t rt_and_u32(rt_u32 *p, uint32_t n, enum rt_order o);
uint64_t rt_add_u64(rt_u64 *p, uint64_t n, enum rt_order o);
uint64_t rt_sub_u64(rt_u64 *p, uint64_t n, enum rt_order o);
uint64_t rt_or_u64(rt_u64 *p, uint64_t n, enum rt_order o);
uint64_t rt_and_u64(rt_u64 *p, uint64_t n, enum rt_order o);
void rt_count_u64(rt_u64 *p, uint64_t n);

/* Who holds it is known here. As large as the native one. */
struct rt_lock {
	uint32_t owner; /* thread + 1, 0: free */
};

void rt_sim_lock_init(struct rt_lock *l, const char *class);
#define rt_lock_init(l) rt_sim_lock_init(l, #l)
bool rt_trylock(struct rt_lock *l);
void rt_lock(struct rt_lock *l);
void rt_unlock(struct rt_lock *l);
void rt_lock_assert(struct rt_lock *l);

void rt_note_class(const void *p, const char *name);
void rt_note_want(const void *p);
void rt_note_held(const void *p, bool write);
void rt_note_dropped(const void *p);
void rt_note_live(void *p, size_t n);
void rt_note_free(void *p, size_t n);
void rt_note_moved(uint64_t dst, uint64_t src);
void rt_note_lost(uint64_t addr, uint64_t n);

struct rt_thread {
	int id;
};

struct rt_object {
	int id;
};

struct rt_pool {
	int id;
};

struct rt_mmu {
	int open;
};

struct rt_file {
	int id;
	bool writable;
};

struct rt_ioq {
	int thread;
};

/* A marked branch: counted in each run that takes it, and listed when none does. */
struct sim_cover {
	const char *name;
	uint32_t runs; /* that took it */
	uint32_t last; /* the run that took it last */
};

void rt_sim_cover(struct sim_cover *c);

#define RT_COVER(what)                                                                             \
	do {                                                                                       \
		static struct sim_cover cover_                                                     \
			__attribute__((section("sim_covers"), used)) = { .name = what };           \
		rt_sim_cover(&cover_);                                                             \
	} while (0)

#define RT_TAIL "rt/sim/sites.h"

#endif
