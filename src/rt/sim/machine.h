/* SPDX-License-Identifier: MIT */
/* machine.h (sim) - what the files of the simulated machine share. */
#ifndef RT_SIM_MACHINE_H
#define RT_SIM_MACHINE_H

#include "rt/sim/sim.h"

void machine_reset(void); /* files, frames, views: empty. Calls mem_, disk_reset(). */
void disk_reset(void);
/* machine_keep_shadow, machine_put_shadow - of sim_snapshot(), and back. */
void machine_keep_shadow(void);
void machine_put_shadow(void);
/* machine_point, machine_seen - before and after an operation of the machine's. */
void machine_point(const char *op, const void *obj, enum sim_class cls);
void machine_seen(uint64_t value);
/* machine_yield - as sim_yield(), and what follows it is an operation on obj. */
void machine_yield(const char *op, const void *obj, enum sim_class cls);
/* machine_waited - what the thread waited for, spinning, was a change of obj. */
void machine_waited(const void *obj);
/* sim_choose - which of n: the explorer says. 0, the usual, when nobody asks. */
unsigned sim_choose(unsigned n);
/* machine_copy - memcpy(3) that no sanitizer sees. */
void machine_copy(void *to, const void *from, size_t n);
/* machine_transfer - from or to a buffer of the core's: ASan sees it. */
void machine_transfer(void *to, const void *from, size_t n);

/* The object that all conflict on that touch views, objects, frames or pools. */
#define MEMORY ((void *)S->pte)

/* frames */
int frame_new(void); /* -1: none left */
void frame_free(unsigned frame);
uint64_t *frame_word(unsigned frame, unsigned word);
void page_poison(void *page);

/* mmu: unmap whatever shows page `index` of an object, and flush */
void mmu_forget_frame(unsigned object, uint64_t index);
/* The one view that all n pages lie in; NULL: there is none. */
struct sim_view *mmu_view_of(uint64_t addr, uint64_t n);
void mmu_flush(unsigned first, uint64_t n);
bool mmu_flushed_already(unsigned first, uint64_t n);

static inline unsigned vpage_of(uint64_t addr)
{
	return (unsigned)((addr - SIM_VBASE) >> RT_PAGE_SHIFT);
}

/* pools: is any of these bytes in one? Those who read there need the frames there. */
bool pool_has(const void *p, size_t bytes);
void pool_check_readable(const void *p, size_t bytes);

/* disk: is a transfer from these bytes to a file under way? */
bool disk_reads_from(const void *p, size_t bytes);

#define FRAME_POISON 0xdeaddeaddeaddeadull

#endif
