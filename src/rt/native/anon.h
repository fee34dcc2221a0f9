/* SPDX-License-Identifier: MIT */
/* anon.h (native) - what mmu.c and anon.c share, and a switch. */
#ifndef RT_NATIVE_ANON_H
#define RT_NATIVE_ANON_H

#include "rt/rt.h"

/* rt_native_anon_register - private anonymous memory whose every touch faults to us. Also
 * where it is inaccessible. */
int rt_native_anon_register(struct rt_mmu *mmu, uint64_t addr, uint64_t len);

/* Pages in a row from which on UFFDIO_MOVE is the cheaper way, and a range is emptied at once
 * (anon.c says why). */
#define RUN_MOVED 34

/* rt_mmu_without_move - be as on a kernel without UFFDIO_MOVE from now on: the option
 * move=0. Needs: no view is open. */
void rt_mmu_without_move(struct rt_mmu *mmu);

#endif
