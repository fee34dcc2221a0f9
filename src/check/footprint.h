/* SPDX-License-Identifier: MIT */
/* footprint.h - what a thread is about to do, and whether it matters who is first. */
#ifndef CHECK_FOOTPRINT_H
#define CHECK_FOOTPRINT_H

#include "rt/sim/sim.h"

struct footprint {
	const void *obj;
	uint8_t cls; /* enum sim_class */
};

static inline struct footprint footprint_of(int thread)
{
	return (struct footprint){ S->t[thread].obj, S->t[thread].cls };
}

/* It meets whatever its target does, and who wakes the target at that moment. */
static inline bool footprint_is_signal(struct footprint f)
{
	return f.cls == SIM_W && f.obj >= (void *)S->t && f.obj < (void *)(S->t + SIM_THREADS);
}

static inline bool footprints_conflict(struct footprint a, struct footprint b)
{
	if (footprint_is_signal(a) || footprint_is_signal(b))
		return true;
	if (a.obj != b.obj || a.cls == SIM_NONE || b.cls == SIM_NONE)
		return false;
	if (a.cls == b.cls)
		return a.cls != SIM_R && a.cls != SIM_C;
	if (a.cls == SIM_WAKE || b.cls == SIM_WAKE) /* not the word: who sleeps on it */
		return a.cls == SIM_WAIT || b.cls == SIM_WAIT;
	return !(a.cls == SIM_R && b.cls == SIM_WAIT) && !(a.cls == SIM_WAIT && b.cls == SIM_R);
}

#endif
