/* SPDX-License-Identifier: MIT */
/* driver_sim.h - what the tests of the simulated machine alone ask of its driver. */
#ifndef CONTRACT_DRIVER_SIM_H
#define CONTRACT_DRIVER_SIM_H

#include "driver.h"
#include "rt/sim/sim.h"

/* may_fail - calls that can fail do so now and then, from here on in this run. */
void may_fail(bool yes);
/* saw - an outcome of a kind test: 0 .. 31. */
void saw(unsigned outcome);
/* KNOB - this run's: some outcomes come only with one. */
#define KNOB(name) (E.knobs.name)
/* Two pages that were taken before the first run: each begins with them, BEFORE in
 * every word. */
extern uint64_t *pages_before;
#define BEFORE 0x1234567800ull
/* Frame 0 of a pool that was there before the first run: token BEFORE, and so it begins. */
extern struct rt_pool pool_before;
/* breaks - from here on this run breaks the contract, and the machine says so, in a story
 * that contains this; NULL: after all it does not. */
void breaks(const char *story);
/* expect - the outcomes that this test is to see, as a mask, and nothing else. */
void expect(uint32_t outcomes);

#endif
