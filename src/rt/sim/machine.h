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
/* machine_copy - memcpy(3) that no sanitizer sees. */
void machine_copy(void *to, const void *from, size_t n);

/* frames */
int frame_new(void); /* -1: none left */
void frame_free(unsigned frame);
uint64_t *frame_word(unsigned frame, unsigned word);

/* mmu: unmap whatever shows page `index` of an object, and flush */
void mmu_forget_frame(unsigned object, uint64_t index);

#define FRAME_POISON 0xdeaddeaddeaddeadull

#endif
