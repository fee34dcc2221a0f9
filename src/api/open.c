/* SPDX-License-Identifier: MIT */
/* open.c - a quire's life, options, budget and counters. */
#include <errno.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "api/quire.h"
#include "base/size.h"
#include "core/config.h"
#include "core/reclaim.h"
#include "core/writeback.h"
#include "rt/native/anon.h"
#include "rt/native/sigbus.h"
#include "rt/native/sys.h"

enum rt_fault_verdict api_fault(uintptr_t addr, bool write);

/* --- options ------------------------------------------------------------------ */

struct settings {
	struct mm_options mm;
	unsigned direct;
	unsigned move;  /* UFFDIO_MOVE may be used */
	char swap[256]; /* path, or "" */
};

static int set_retry(struct settings *s, const char *value)
{
	static const struct {
		const char *name, *word;
	} names[] = {
		{ "P0", "mmap" },     { "P1", "vma" },   { "P2", "hold" },
		{ "P3", "uptodate" }, { "P4", "folio" },
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i].name) == 0 || strcmp(value, names[i].word) == 0) {
			s->mm.retry = (enum retry_policy)i;
			return 0;
		}
	}
	return fail(EINVAL,
		    "retry=%s: not a policy; it is one of P0 (mmap), P1 (vma), P2 (hold), "
		    "P3 (uptodate), P4 (folio)",
		    value);
}

static int set_swap(struct settings *s, const char *path)
{
	if (*path == '\0' || strlen(path) >= sizeof(s->swap))
		return fail(EINVAL, "swap=%s: a path of 1 to %zu characters", path,
			    sizeof(s->swap) - 1);
	strcpy(s->swap, path);
	return 0;
}

static int set_number(const char *key, const char *value, unsigned least, unsigned most,
		      unsigned *out)
{
	char *end;
	unsigned long v = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end != '\0' || v < least || v > most)
		return fail(EINVAL, "%s=%s: a number from %u to %u", key, value, least, most);
	*out = (unsigned)v;
	return 0;
}

static int set_key(struct settings *s, const char *key, const char *value)
{
	uint64_t n;

	if (strcmp(key, "retry") == 0)
		return set_retry(s, value);
	if (strcmp(key, "readahead") == 0) {
		if (size_parse(value, 0, &n) != SIZE_OK)
			return fail(EINVAL, "readahead=%s: not a size, such as 2M or 0", value);
		s->mm.ahead_max = n / RT_PAGE;
		return 0;
	}
	if (strcmp(key, "swap") == 0)
		return set_swap(s, value);
	if (strcmp(key, "swap_size") == 0) {
		if (size_parse(value, 0, &n) != SIZE_OK || n < RT_PAGE)
			return fail(EINVAL, "swap_size=%s: not a size, such as 4G", value);
		s->mm.swap_bytes = n & ~(RT_PAGE - 1);
		return 0;
	}
	if (strcmp(key, "rmap") == 0) {
		if (strcmp(value, "A") != 0 && strcmp(value, "B") != 0)
			return fail(EINVAL,
				    "rmap=%s: not a design; it is A (the walker does not "
				    "lock the folio) or B (it does)",
				    value);
		s->mm.rmap = *value == 'A' ? RMAP_A_UNLOCKED : RMAP_B_LOCKED;
		return 0;
	}
	if (strcmp(key, "direct") == 0)
		return set_number(key, value, 0, 1, &s->direct);
	if (strcmp(key, "move") == 0)
		return set_number(key, value, 0, 1, &s->move);
	if (strcmp(key, "dirty") == 0)
		return set_number(key, value, 1, 100, &s->mm.dirty_percent);
	return fail(EINVAL,
		    "'%s' is not an option; they are retry, readahead, direct, dirty, "
		    "swap, swap_size, rmap, move",
		    key);
}

static int parse_opts(struct settings *s, const char *opts)
{
	char text[512];

	if (!opts || *opts == '\0')
		return 0;
	if (strlen(opts) >= sizeof(text))
		return fail(EINVAL, "options are longer than %zu characters", sizeof(text) - 1);
	strcpy(text, opts);
	for (char *word = text, *comma; word; word = comma ? comma + 1 : NULL) {
		comma = strchr(word, ',');
		if (comma)
			*comma = '\0';
		char *equals = strchr(word, '=');
		if (!equals)
			return fail(EINVAL, "option '%s' has no value; write KEY=VALUE", word);
		*equals = '\0';
		if (set_key(s, word, equals + 1) != 0)
			return -1;
	}
	return 0;
}

/* A later version's structure may be longer: what we do not know must be zero. */
int check_size(const void *p, size_t size, size_t known)
{
	const unsigned char *bytes = p;

	if (size < sizeof(size_t))
		return fail(EINVAL, "a structure of %zu bytes: set its size member", size);
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return fail(E2BIG, "a structure of %zu bytes; this library knows %zu", size,
				    known);
	return 0;
}

static int read_options(const struct quire_options *given, struct settings *s)
{
	struct quire_options o = { 0 };

	if (!given)
		return fail(EINVAL, "no options: the budget is required");
	if (check_size(given, given->size, sizeof(o)) != 0)
		return -1;
	memcpy(&o, given, given->size < sizeof(o) ? given->size : sizeof(o));
	if (o.flags != 0 || o.retry > QUIRE_RETRY_FOLIO)
		return fail(EINVAL, "flags 0x%x, retry %u: not known", o.flags, o.retry);
	if (o.memory == 0)
		return fail(EINVAL, "no budget: set memory");
	if (o.memory < quire_memory_min())
		return fail(ENOSPC, "a budget of %llu bytes; the least that works is %llu",
			    (unsigned long long)o.memory, (unsigned long long)quire_memory_min());
	uint64_t budget = o.memory & ~(RT_PAGE - 1);
	uint64_t ahead = 8ull << CONFIG_READ_ORDER_MAX;
	*s = (struct settings){
		.mm = { .budget = budget,
			.retry = RETRY_P1_VMA,
			.dirty_percent = 40,
			.swap_handle = -1,
			.swap_bytes = 4 * budget,
			.ahead_max =
				budget / RT_PAGE / 16 < ahead ? budget / RT_PAGE / 16 : ahead },
		.direct = 1,
		.move = 1,
	};
	if (o.retry != QUIRE_RETRY_DEFAULT)
		s->mm.retry = (enum retry_policy)(o.retry - 1);
	if (o.swap && set_swap(s, o.swap) != 0)
		return -1;
	if (o.swap_size)
		s->mm.swap_bytes = o.swap_size & ~(RT_PAGE - 1);
	return parse_opts(s, o.opts);
}

uint64_t quire_memory_min(void)
{
	return CONFIG_MEMORY_MIN;
}

/* --- the page of counters ------------------------------------------------------- */

#define LOAD(field) rt_load_u64(&mm->field, RT_RELAXED)

void fill_stats(struct quire *q, struct quire_stats *s)
{
	struct mm *mm = &q->mm;
	struct vma_index *x;

	*s = (struct quire_stats){ .size = sizeof(*s) };
	s->memory = LOAD(budget);
	s->charged = LOAD(charged);
	s->charged_max = LOAD(charged_max);
	s->metadata = LOAD(metadata);
	s->cached = LOAD(cached) * RT_PAGE;
	s->mapped = LOAD(mapped) * RT_PAGE;
	s->dirty = LOAD(dirty) * RT_PAGE;
	s->writeback = LOAD(writeback) * RT_PAGE;
	s->owned = LOAD(owned) * RT_PAGE;
	s->pinned = LOAD(pinned) * RT_PAGE;
	s->anon = LOAD(anon) * RT_PAGE;
	s->committed = LOAD(committed) * RT_PAGE;
	s->swap_size = (uint64_t)mm->swap.slots * RT_PAGE;
	s->swap_used = (uint64_t)mm->swap.used * RT_PAGE;
	rt_rcu_read_lock();
	x = rt_load_ptr(&mm->index, RT_ACQUIRE);
	s->mappings = x->count;
	rt_rcu_read_unlock();
	s->faults = stat_sum(mm, faults);
	s->faults_minor = stat_sum(mm, faults_minor);
	s->faults_major = stat_sum(mm, faults_major);
	s->faults_write = stat_sum(mm, faults_write);
	s->faults_cow = stat_sum(mm, faults_cow);
	s->faults_spurious = stat_sum(mm, faults_spurious);
	s->faults_error = stat_sum(mm, faults_error);
	s->minor_ns = stat_sum(mm, minor_ns);
	s->minor_ns_count = stat_sum(mm, minor_ns_count);
	s->major_ns = stat_sum(mm, major_ns);
	s->major_ns_count = stat_sum(mm, major_ns_count);
	s->pages_mapped = stat_sum(mm, pages_mapped);
	s->retries_vma = stat_sum(mm, retries_vma);
	s->retries_mmap = stat_sum(mm, retries_mmap);
	s->reads = stat_sum(mm, reads);
	s->read_bytes = stat_sum(mm, read_bytes);
	s->reads_ahead = stat_sum(mm, reads_ahead);
	s->read_errors = stat_sum(mm, read_errors);
	s->writes = stat_sum(mm, writes);
	s->write_bytes = stat_sum(mm, write_bytes);
	s->write_errors = stat_sum(mm, write_errors);
	s->evicted_pages = stat_sum(mm, evicted_pages);
	s->unmapped_pages = stat_sum(mm, unmapped_pages);
	s->refaults = stat_sum(mm, refaults);
	s->activated = stat_sum(mm, activated);
	s->stalls = stat_sum(mm, stalls);
	s->stall_ns = stat_sum(mm, stall_ns);
	s->lost_reads = stat_sum(mm, lost_reads);
	s->throttled = stat_sum(mm, throttled);
	s->faults_zero = stat_sum(mm, faults_zero);
	s->swap_reads = stat_sum(mm, swap_reads);
	s->swap_read_bytes = stat_sum(mm, swap_read_bytes);
	s->swap_writes = stat_sum(mm, swap_writes);
	s->swap_write_bytes = stat_sum(mm, swap_write_bytes);
	s->moved_pages = stat_sum(mm, moved_pages);
}

int quire_stats(struct quire *q, struct quire_stats *out)
{
	struct quire_stats s;

	if (!out || out->size < sizeof(size_t))
		return fail(EINVAL, "quire_stats: set the size member");
	size_t size = out->size;
	fill_stats(q, &s);
	memset(out, 0, size);
	memcpy(out, &s, size < sizeof(s) ? size : sizeof(s));
	out->size = size;
	return 0;
}

static void page_open(struct quire *q)
{
	q->page_fd = (int)sys_fd_away(sys(SYS_memfd_create, STATPAGE_NAME, MFD_CLOEXEC));
	if (q->page_fd < 0)
		return; /* only `quire stat` misses it */
	long p = -1;
	if (sys(SYS_ftruncate, q->page_fd, STATPAGE_BYTES) == 0)
		p = sys(SYS_mmap, NULL, STATPAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			q->page_fd, 0L);
	if (p < 0 && p > -4096)
		return;
	q->page = (struct statpage *)p;
	q->page->version = 1;
	q->page->pid = (uint32_t)getpid();
	q->page->magic = STATPAGE_MAGIC;
}

/* Runs on the pager every tick. The page shows a whole state or none. */
static void page_tick(void *arg)
{
	struct quire *q = arg;
	struct quire_stats now;

	fill_stats(q, &now);
	if (!q->page || memcmp(&now, &q->last, sizeof(now)) == 0)
		return;
	q->last = now;
	__atomic_fetch_add(&q->page->seq, 1, __ATOMIC_ACQ_REL);
	q->page->stats = now;
	q->page->updated_ns = rt_now_ns();
	__atomic_fetch_add(&q->page->seq, 1, __ATOMIC_ACQ_REL);
}

static void page_close(struct quire *q)
{
	if (q->page)
		sys(SYS_munmap, q->page, STATPAGE_BYTES);
	if (q->page_fd >= 0)
		sys(SYS_close, q->page_fd);
}

/* --- open and close ---------------------------------------------------------------- */

static struct quire *open_failed(struct quire *q, int err)
{
	page_close(q);
	rt_pages_free(q, sizeof(*q));
	if (err == -EPERM || err == -ENOSYS || err == -ENOTSUP)
		fail(-err, "userfaultfd is %s here: %s; `quire doctor` says what is missing",
		     err == -EPERM ? "refused" : "not there, or too old", strerror(-err));
	else
		fail(-err, "cannot open an address space: %s", strerror(-err));
	return NULL;
}

static void close_swap(const struct settings *s)
{
	if (s->mm.swap_handle >= 0)
		sys(SYS_close, s->mm.swap_handle);
}

struct quire *quire_open(const struct quire_options *options)
{
	struct settings s;

	if (read_options(options, &s) != 0)
		return NULL;
	if (*s.swap) {
		s.mm.swap_handle = swap_file_open(s.swap, s.mm.swap_bytes);
		if (s.mm.swap_handle < 0)
			return NULL;
	}
	struct quire *q = rt_pages_alloc(sizeof(*q));
	if (!q) {
		close_swap(&s);
		fail(ENOMEM, "no memory for an address space");
		return NULL;
	}
	q->direct = s.direct;
	page_open(q);
	s.mm.tick = page_tick;
	s.mm.tick_arg = q;
	int err = mm_open(&q->mm, &s.mm);
	close_swap(&s); /* the mm has opened it again */
	if (err)
		return open_failed(q, err);
	if (!s.move)
		rt_mmu_without_move(&q->mm.mmu);
	err = fork_handlers_install();
	if (!err)
		err = rt_signal_open(api_fault);
	fork_lock();
	if (!err)
		err = registry_add(q);
	fork_unlock();
	if (err) {
		mm_close(&q->mm);
		return open_failed(q, err);
	}
	page_tick(q);
	return q;
}

int quire_close(struct quire *q)
{
	if (!q)
		return 0;
	if (q->child)
		return 0; /* the parent's; what the child inherited goes with it */
	fork_lock();
	registry_del(q);
	int err = mm_close(&q->mm);
	fork_unlock();
	page_close(q);
	rt_pages_free(q, sizeof(*q));
	return err ? fail(-err, "write-back failed: %s; that data is lost", strerror(-err)) : 0;
}

int quire_set_memory(struct quire *q, uint64_t memory)
{
	struct mm *mm = &q->mm;
	uint64_t old = rt_load_u64(&mm->budget, RT_RELAXED);

	if (is_gone(q, "quire_set_memory"))
		return -1;
	memory &= ~(RT_PAGE - 1);
	if (memory < quire_memory_min())
		return fail(ENOSPC, "a budget of %llu bytes; the least that works is %llu",
			    (unsigned long long)memory, (unsigned long long)quire_memory_min());
	rt_store_u64(&mm->budget, memory, RT_RELAXED);
	if (reclaim_direct(mm, 0))
		return 0;
	/* What is dirty may go once it is written. */
	writeback_all(mm);
	if (reclaim_direct(mm, 0))
		return 0;
	rt_cas_u64(&mm->budget, memory, old, RT_RELAXED);
	return fail(EBUSY, "%llu bytes are pinned, private, unwritable or metadata: more than %llu",
		    (unsigned long long)rt_load_u64(&mm->charged, RT_RELAXED),
		    (unsigned long long)memory);
}

int quire_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	if (sig != SIGBUS)
		return fail(EINVAL, "signal %d: only SIGBUS is shared", sig);
	int err = rt_signal_action(act, old);
	return err ? fail(-err, "sigaction: %s", strerror(-err)) : 0;
}
