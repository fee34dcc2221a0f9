/* SPDX-License-Identifier: MIT */
/*
 * fault.c - a SIGBUS finds its quire, and a failed one its owner.
 *
 * The registry is read inside the handler: slots of pointers, under RCU only for as
 * long as it takes to see whether the address is in one of them.
 */
#include <errno.h>
#include <sys/mman.h>

#include "api/quire.h"
#include "core/fault.h"
#include "rt/native/sigbus.h"
#include "rt/native/sys.h"

#define QUIRES_MAX 64

static rt_ptr quires[QUIRES_MAX];

int registry_add(struct quire *q)
{
	for (int i = 0; i < QUIRES_MAX; i++)
		if (rt_cas_ptr(&quires[i], NULL, q, RT_RELEASE))
			return 0;
	return -EMFILE;
}

void registry_del(struct quire *q)
{
	for (int i = 0; i < QUIRES_MAX; i++)
		rt_cas_ptr(&quires[i], q, NULL, RT_RELEASE);
	rt_rcu_synchronize();
}

struct quire *registry_next(unsigned *at)
{
	while (*at < QUIRES_MAX) {
		struct quire *q = rt_load_ptr(&quires[(*at)++], RT_ACQUIRE);
		if (q)
			return q;
	}
	return NULL;
}

static struct quire *quire_at(uintptr_t addr)
{
	struct quire *found = NULL, *q;

	rt_rcu_read_lock();
	for (unsigned at = 0; !found && (q = registry_next(&at)) != NULL;) {
		if (q->child)
			continue; /* the parent's: an address of ours may be there now */
		struct vma *v = vma_find(&q->mm, addr);
		if (v && addr >= v->start)
			found = q;
	}
	rt_rcu_read_unlock();
	return found;
}

/* Nothing of ours is there any more. If nothing at all is, it was unmapped under the
 * access, and running it again gives the SIGSEGV that it would have got. */
static enum rt_fault_verdict unknown_address(uintptr_t addr)
{
	unsigned char vec;

	if (sys(SYS_mincore, addr & ~(RT_PAGE - 1), RT_PAGE, &vec) == -ENOMEM)
		return RT_FAULT_DONE;
	return RT_FAULT_FOREIGN;
}

static enum rt_fault_verdict report(const struct fault_error *e, uintptr_t addr, bool write)
{
	typedef enum quire_error_action (*callback)(const struct quire_error_info *, void *);
	callback fn = (callback)e->on_error;

	/* Rights: the machine's own protection says it better, as SIGSEGV. */
	if (e->error == EACCES)
		return RT_FAULT_DONE;
	if (!fn)
		return RT_FAULT_ERROR;
	struct quire_error_info info = {
		.size = sizeof(info),
		.addr = (void *)addr,
		.offset = e->offset + (addr & (RT_PAGE - 1)),
		.error = e->error,
		.write = write,
	};
	return fn(&info, e->on_error_arg) == QUIRE_ERROR_RETRY ? RT_FAULT_DONE : RT_FAULT_ERROR;
}

enum rt_fault_verdict api_fault(uintptr_t addr, bool write);

enum rt_fault_verdict api_fault(uintptr_t addr, bool write)
{
	struct quire *q = quire_at(addr);
	struct fault_error e;

	if (!q)
		return unknown_address(addr);
	switch (mm_fault(&q->mm, addr, write, 0, &e)) {
	case FAULT_END_DONE:
		return RT_FAULT_DONE;
	case FAULT_END_FOREIGN:
		return unknown_address(addr);
	default:
		return report(&e, addr, write);
	}
}
