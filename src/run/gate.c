/* SPDX-License-Identifier: MIT */
/* gate.c - see gate.h. */
#include "run/gate.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/size.h"
#include "run/log.h"
#include "run/mask.h"
#include "run/real.h"

/* Of the kernel's signal set, which is all that the system call looks at. */
#define KERNEL_SIGSET_BYTES 8

_Atomic(struct quire *) gate_current;
_Thread_local unsigned gate_inside;
struct config gate_config;

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner; /* the process that gate_current belongs to */

static _Thread_local sigset_t fork_saved;

/* Everything but what a fault of this very thread raises. */
void gate_enter(sigset_t *saved)
{
	uint64_t all = ~0ull;
	static const int faults[] = { SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGSYS };
	int error = errno;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		all &= ~(1ull << (faults[i] - 1));
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, saved, KERNEL_SIGSET_BYTES);
	gate_inside++;
	errno = error;
}

void gate_leave(const sigset_t *saved)
{
	int error = errno;

	gate_inside--;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, KERNEL_SIGSET_BYTES);
	errno = error;
}

/*
 * fork - the range lock is held across it, so that the child's copy of the set
 * is whole. Our handlers must run before libquire's take its locks (the order
 * in mmap() is range lock, then theirs), which is why they are registered after
 * the first open: the last registered prepares first.
 */
static void before_fork(void)
{
	gate_enter(&fork_saved);
	range_lock();
}

static void after_fork_parent(void)
{
	range_unlock();
	gate_leave(&fork_saved);
}

/* The child has no managed memory: all its addresses are the kernel's again. */
static void after_fork_child(void)
{
	atomic_store_explicit(&gate_current, NULL, memory_order_release);
	range_reset();
	range_unlock();
	gate_leave(&fork_saved);
}

/* Once: a child that opens a quire of its own has inherited them. */
static void watch_fork(void)
{
	static bool watched;

	if (watched)
		return;
	if (pthread_atfork(before_fork, after_fork_parent, after_fork_child))
		log_die("no memory for the fork handlers");
	watched = true;
}

/* Names the cause in one line; what to do about it is doctor's business. */
static void __attribute__((noreturn)) refuse(int error)
{
	const char *why = quire_error();

	if (!*why)
		why = strerror(error);
	log_die("cannot manage this program's memory: %s (see `quire doctor`)", why);
}

static struct quire *open_locked(void)
{
	struct quire_options options = {
		.size = sizeof(options),
		.memory = gate_config.memory,
		.opts = gate_config.opts,
		.swap = gate_config.swap,
		.swap_size = gate_config.swap_size,
	};
	char text[SIZE_TEXT_MAX];
	struct quire *q;

	q = quire_open(&options);
	if (!q)
		refuse(errno);
	watch_fork();
	owner = getpid();
	log_line("open, budget %s", size_format(text, gate_config.memory));
	/* Release: pairs with gate_quire(). */
	atomic_store_explicit(&gate_current, q, memory_order_release);
	return q;
}

struct quire *gate_open(void)
{
	struct quire *q = atomic_load_explicit(&gate_current, memory_order_acquire);
	sigset_t saved;

	if (q)
		return q;
	gate_enter(&saved);
	pthread_mutex_lock(&open_lock);
	q = atomic_load_explicit(&gate_current, memory_order_acquire);
	if (!q)
		q = open_locked();
	pthread_mutex_unlock(&open_lock);
	gate_leave(&saved);
	return q;
}

void gate_flush(void)
{
	struct quire *q = gate_quire();
	sigset_t saved;

	if (!q || getpid() != owner)
		return;
	gate_enter(&saved);
	if (quire_fsync(q, -1))
		log_stderr("not everything could be written back: %s", strerror(errno));
	gate_leave(&saved);
}

/* Tenths of a microsecond: total_ns / count. */
static uint64_t mean_tenths(uint64_t total_ns, uint64_t count)
{
	return count ? total_ns / count / 100 : 0;
}

static void print_summary(const struct quire_stats *s)
{
	char budget[SIZE_TEXT_MAX], peak[SIZE_TEXT_MAX], in[SIZE_TEXT_MAX], out[SIZE_TEXT_MAX];
	uint64_t minor = mean_tenths(s->minor_ns, s->minor_ns_count);
	uint64_t major = mean_tenths(s->major_ns, s->major_ns_count);

	log_stderr("%s[%d]: budget %s, peak %s", program_invocation_short_name, (int)getpid(),
		   size_format(budget, s->memory), size_format(peak, s->charged_max));
	log_stderr("  faults %lu: minor %lu (%lu.%lu us), major %lu (%lu.%lu us), write %lu, "
		   "copy %lu, error %lu",
		   s->faults, s->faults_minor, minor / 10, minor % 10, s->faults_major, major / 10,
		   major % 10, s->faults_write, s->faults_cow, s->faults_error);
	log_stderr("  read %s in %lu (%lu ahead), wrote %s in %lu, errors %lu + %lu",
		   size_format(in, s->read_bytes), s->reads, s->reads_ahead,
		   size_format(out, s->write_bytes), s->writes, s->read_errors, s->write_errors);
	if (s->faults_zero)
		log_stderr("  anonymous: %lu first touches, swap in %s in %lu, out %s in %lu, "
			   "%s of %s used",
			   s->faults_zero, size_format(in, s->swap_read_bytes), s->swap_reads,
			   size_format(out, s->swap_write_bytes), s->swap_writes,
			   size_format(peak, s->swap_used), size_format(budget, s->swap_size));
	log_stderr("  evicted %lu pages, refaults %lu, stalls %lu (%lu ms), retries %lu + %lu",
		   s->evicted_pages, s->refaults, s->stalls, s->stall_ns / 1000000, s->retries_vma,
		   s->retries_mmap);
}

void gate_summary(void)
{
	static atomic_flag done = ATOMIC_FLAG_INIT;
	struct quire_stats stats = { .size = sizeof(stats) };
	struct quire *q = gate_quire();
	sigset_t saved;

	if (!gate_config.stats || !q || getpid() != owner || atomic_flag_test_and_set(&done))
		return;
	gate_enter(&saved);
	if (!quire_stats(q, &stats))
		print_summary(&stats);
	gate_leave(&saved);
}

static void __attribute__((constructor)) start(void)
{
	char why[256];

	real_init();
	if (config_read(&gate_config, why, sizeof(why)))
		log_die("%s", why);
	if (!gate_config.active)
		return;
	if (config_keep(&gate_config))
		log_die("out of memory");
	if (gate_config.stats)
		log_keep_stderr();
	if (gate_config.log && log_open(gate_config.log))
		log_die("QUIRE_LOG: cannot open '%s': %s", gate_config.log, strerror(errno));
	mask_start();
}

/*
 * At a normal end. Other threads may still run, so the quire stays open; what
 * they write from here on is lost (libquire(7) says so).
 */
static void __attribute__((destructor)) finish(void)
{
	gate_flush();
	gate_summary();
}
