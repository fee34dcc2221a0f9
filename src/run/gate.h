/* SPDX-License-Identifier: MIT */
/*
 * gate.h - the one quire of this process, and the way into it.
 *
 *     (nothing) --gate_open()--> open --fork, in the child--> (nothing)
 *
 * It is opened by the first mapping that is taken over, not at start: a
 * process that maps nothing gets no pager thread. Until then every wrapper
 * costs one load:
 *
 *     struct quire *q = gate_quire();
 *     if (!q)
 *             return REAL(read)(fd, buf, n);
 *
 * Calls on the quire are not async-signal-safe, and the program's handlers may
 * do anything. So they are bracketed, which holds off every signal but those
 * that a fault raises, and makes the wrappers stand aside for this thread:
 *
 *     sigset_t saved;
 *     gate_enter(&saved);
 *     r = quire_...(q, ...);
 *     gate_leave(&saved);          errno is kept
 */
#ifndef QUIRE_RUN_GATE_H
#define QUIRE_RUN_GATE_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quire/quire.h"
#include "run/config.h"
#include "run/range.h"

#define HIDDEN __attribute__((visibility("hidden")))

extern HIDDEN _Atomic(struct quire *) gate_current;
extern HIDDEN _Thread_local unsigned gate_inside;
extern HIDDEN struct config gate_config;

/* gate_quire - the quire, NULL when nothing is managed or this thread is inside. */
static inline struct quire *gate_quire(void)
{
	/* Acquire: pairs with the release in gate_open(). */
	struct quire *q = atomic_load_explicit(&gate_current, memory_order_acquire);

	return q && !gate_inside ? q : NULL;
}

/* gate_open - the quire, opened if it is not. Ends the process (125) if it cannot. */
struct quire *gate_open(void);

void gate_enter(sigset_t *saved);
void gate_leave(const sigset_t *saved);

/* gate_managed - does [addr, addr+len) overlap managed memory? May be stale. */
static inline bool gate_managed(struct quire *q, const void *addr, size_t len)
{
	uintptr_t start = (uintptr_t)addr;

	return range_may_overlap(start, start + len) && quire_contains(q, addr, len);
}

/*
 * gate_flush - write back every dirty page, because this process is about to
 * end or to become another program. Does nothing in a vfork() child, which
 * shares our memory but is not us.
 */
void gate_flush(void);

/* gate_summary - the counters on stderr, when QUIRE_STATS asks for them; once. */
void gate_summary(void);

#endif
