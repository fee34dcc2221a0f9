/* SPDX-License-Identifier: MIT */
/*
 * fiber.h - a thread of control that is switched by hand.
 *
 * A fiber is its stack and the place where it stopped; sim_switch() stores the one that
 * runs and goes on with another. By hand on x86-64 and aarch64 (some 14 ns), by
 * swapcontext(3) elsewhere (some 210: it makes a system call). A fiber that stands still
 * is memory: copied and put back, it goes on from there again.
 *
 * Sanitizers are told of every switch. TSan is told that a switch orders nothing, so
 * that it sees the races between simulated threads; its fibers are made once and used
 * again. It looks at the core alone: the machine and the checker are compiled without it
 * (SIM_TSAN says that it is there), and what the machine orders it is told by
 * __tsan_acquire() and __tsan_release(). The core is compiled so that calls leave no trace
 * in TSan's own stack: a fiber that is given up would leave it there.
 */
#ifndef RT_SIM_FIBER_H
#define RT_SIM_FIBER_H

#include <stddef.h>
#include <stdint.h>

/* Told by the build where a file is compiled without. */
#if defined(SIM_ASAN)
#elif defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif

/* The machine's own accesses to simulated memory: what they may touch, and in which
 * order, is what the machine is about. */
#ifdef SIM_ASAN
#define SIM_RAW __attribute__((no_sanitize_address))
#else
#define SIM_RAW
#endif

#define FIBER_MAIN (-1)

/* fiber_make - what sp begins as: entry() on this stack. Needs: the stack writable. */
void *fiber_make(int fiber, void *stack, size_t bytes, void (*entry)(void));
/* fiber_switch - store where `from` is in *save, go on at `to_sp`. The stack bounds are
 * what ASan wants to know; FIBER_MAIN is the OS thread's own. dying: `from` never comes
 * back. */
void fiber_switch(int from, void **save, int to, void *to_sp);
/* fiber_arrived - first thing on a fiber that was made, not switched from. */
void fiber_arrived(void);
/* fiber_stack_clean - forget what ASan knows of frames there: they are given up. */
void fiber_stack_clean(const void *from, const void *end);
/* fiber_stacks - where stack i is: base + i * bytes. Once. */
void fiber_stacks(void *base, size_t bytes);

#ifdef SIM_TSAN
#include <sanitizer/tsan_interface.h>
void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_end(void);
#define ACQUIRE(p) __tsan_acquire((void *)(p))
#define RELEASE(p) __tsan_release((void *)(p))
/* A call of the explorer's, which is not of the simulated world: malloc(3) and memcpy(3)
 * are seen in whatever calls them. */
#define UNSEEN(call)                                                                               \
	({                                                                                         \
		__tsan_ignore_thread_begin();                                                      \
		__auto_type unseen_ = (call);                                                      \
		__tsan_ignore_thread_end();                                                        \
		unseen_;                                                                           \
	})

/* fibers_meet - all that any fiber did so far comes before all that any does from now on:
 * a run begins. Needs: the OS thread's own stack. */
void fibers_meet(void);
/* fiber_race - the first data race since fibers_meet(), in words; NULL: none. */
const char *fiber_race(void);
#else
#define ACQUIRE(p)   ((void)0)
#define RELEASE(p)   ((void)0)
#define UNSEEN(call) (call)

static inline void fibers_meet(void)
{
}
static inline const char *fiber_race(void)
{
	return NULL;
}
#endif

#endif
