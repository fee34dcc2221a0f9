/* SPDX-License-Identifier: MIT */
/* fiber.c - see fiber.h. */
#include "rt/sim/fiber.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define FIBERS 32

static char *stacks;
static size_t stack_bytes;

void fiber_stacks(void *base, size_t bytes)
{
	stacks = base;
	stack_bytes = bytes;
}

/* --- the switch ------------------------------------------------------------- */

#if defined(__x86_64__)
void sim_switch(void **save, void *to);
__asm__(".text\n"
	".globl sim_switch\n"
	".hidden sim_switch\n"
	".type sim_switch,@function\n"
	"sim_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size sim_switch,.-sim_switch\n");

static void *prepare(void *stack, size_t bytes, void (*entry)(void))
{
	void **top = (void **)(((uintptr_t)stack + bytes) & ~15ull);

	*--top = NULL;          /* entry() never returns */
	*--top = (void *)entry; /* popped by ret; the stack is 8 off 16 then, as after a call */
	for (int i = 0; i < 6; i++)
		*--top = NULL;
	return top;
}
#elif defined(__aarch64__)
void sim_switch(void **save, void *to);
__asm__(".text\n"
	".globl sim_switch\n"
	".hidden sim_switch\n"
	".type sim_switch,%function\n"
	"sim_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size sim_switch,.-sim_switch\n");

static void *prepare(void *stack, size_t bytes, void (*entry)(void))
{
	uint64_t *top = (uint64_t *)(((uintptr_t)stack + bytes) & ~15ull) - 20;

	for (int i = 0; i < 20; i++)
		top[i] = 0;
	top[11] = (uint64_t)entry; /* x30 */
	return top;
}
#else
#include <ucontext.h>

/* The context lies at the low end of the stack, so that a copy of the stack has it. */
static ucontext_t main_context;

static void sim_switch(void **save, void *to)
{
	ucontext_t *here = *save ? *save : &main_context;

	*save = here;
	swapcontext(here, to ? to : &main_context);
}

static void *prepare(void *stack, size_t bytes, void (*entry)(void))
{
	ucontext_t *c = stack;

	getcontext(c);
	c->uc_stack.ss_sp = (char *)stack + sizeof(*c);
	c->uc_stack.ss_size = bytes - sizeof(*c);
	c->uc_link = NULL;
	makecontext(c, entry, 0);
	return c;
}
#endif

/* --- sanitizers --------------------------------------------------------------- */

#ifdef SIM_TSAN
static void *tsan_fiber[FIBERS], *tsan_main;
static char gate; /* an address to meet at */
static char race[400];

/* A race that was told is told again when its schedule is replayed. */
#pragma GCC visibility push(default) /* for libtsan */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "suppress_equal_stacks=0:suppress_equal_addresses=0:exitcode=1";
}

/* Of libtsan; in no header of gcc's. */
void __tsan_on_report(void *report);
int __tsan_get_report_mop(void *report, unsigned long i, int *tid, void **addr, int *size,
			  int *write, int *atomic, void **trace, unsigned long n);
void __sanitizer_symbolize_pc(void *pc, const char *fmt, char *buf, size_t n);
void __sanitizer_set_report_fd(void *fd);
#pragma GCC visibility pop

/* "write of 8 in folio_put core/folio.c:120" */
static size_t print_access(void *report, unsigned i, char *buf, size_t n)
{
	void *addr, *trace[2] = { NULL };
	int tid, size, write, atomic;
	char where[160] = "?";

	if (!__tsan_get_report_mop(report, i, &tid, &addr, &size, &write, &atomic, trace, 2))
		return 0;
	if (trace[0])
		__sanitizer_symbolize_pc(trace[0], "%f %S", where, sizeof(where));
	return (size_t)snprintf(buf, n, "%s%s of %d in %s", i ? " against " : "",
				write ? "write" : "read", size, where);
}

/* TSan's own text is printed for the first one, and for none of its replays. */
void __tsan_on_report(void *report)
{
	static int null = -1;

	if (!race[0]) {
		size_t n = print_access(report, 0, race, sizeof(race));
		if (n < sizeof(race))
			print_access(report, 1, race + n, sizeof(race) - n);
	}
	if (null < 0)
		null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null >= 0)
		__sanitizer_set_report_fd((void *)(intptr_t)null);
}

const char *fiber_race(void)
{
	return race[0] ? race : NULL;
}

/* Each leaves at the gate what it did; then each takes all of it. */
void fibers_meet(void)
{
	race[0] = '\0';
	if (!tsan_main) {
		tsan_main = __tsan_get_current_fiber();
		/* The driver puts the world back, and looks at it. */
		__tsan_ignore_thread_begin();
		atexit(__tsan_ignore_thread_end);
	}
	for (int i = 0; i < FIBERS; i++) {
		if (!tsan_fiber[i])
			continue;
		__tsan_switch_to_fiber(tsan_fiber[i], __tsan_switch_to_fiber_no_sync);
		__tsan_release(&gate);
	}
	__tsan_switch_to_fiber(tsan_main, __tsan_switch_to_fiber_no_sync);
	__tsan_acquire(&gate);
	__tsan_release(&gate);
	for (int i = 0; i < FIBERS; i++) {
		if (!tsan_fiber[i])
			continue;
		__tsan_switch_to_fiber(tsan_fiber[i], __tsan_switch_to_fiber_no_sync);
		__tsan_acquire(&gate);
	}
	__tsan_switch_to_fiber(tsan_main, __tsan_switch_to_fiber_no_sync);
}
#endif

void *fiber_make(int fiber, void *stack, size_t bytes, void (*entry)(void))
{
#ifdef SIM_ASAN
	__asan_unpoison_memory_region(stack, bytes);
#endif
#ifdef SIM_TSAN
	if (!tsan_fiber[fiber])
		tsan_fiber[fiber] = __tsan_create_fiber(0);
#endif
	(void)fiber;
	return prepare(stack, bytes, entry);
}

#ifdef SIM_ASAN
static void *main_bottom;
static size_t main_bytes;

static void main_bounds(void)
{
	pthread_attr_t attr;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &main_bottom, &main_bytes);
	pthread_attr_destroy(&attr);
}
#endif

SIM_RAW void fiber_switch(int from, void **save, int to, void *to_sp)
{
	(void)from;
#ifdef SIM_ASAN
	void *fake = NULL;

	if (!main_bottom)
		main_bounds();
	if (to == FIBER_MAIN)
		__sanitizer_start_switch_fiber(&fake, main_bottom, main_bytes);
	else
		__sanitizer_start_switch_fiber(&fake, stacks + (size_t)to * stack_bytes,
					       stack_bytes);
#endif
#ifdef SIM_TSAN
	__tsan_switch_to_fiber(to == FIBER_MAIN ? tsan_main : tsan_fiber[to],
			       __tsan_switch_to_fiber_no_sync);
#endif
	(void)to;
	sim_switch(save, to_sp);
#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
}

void fiber_arrived(void)
{
#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
}

void fiber_stack_clean(const void *from, const void *end)
{
#ifdef SIM_ASAN
	__asan_unpoison_memory_region(from, (size_t)((const char *)end - (const char *)from));
#endif
	(void)from;
	(void)end;
}
