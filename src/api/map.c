/* SPDX-License-Identifier: MIT */
/* map.c - the calls that are shaped like mmap(2)'s: arguments checked, errno set. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "api/quire.h"
#include "core/anon.h"
#include "core/move.h"
#include "core/pin.h"
#include "core/writeback.h"
#include "rt/native/sys.h"
#include "store/file.h"
#include "store/user.h"

#ifndef MADV_COLD
#define MADV_COLD    20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define TOP (1ull << 47) /* above: no user address */

static uint64_t round_up(uint64_t len)
{
	return (len + RT_PAGE - 1) & ~(RT_PAGE - 1);
}

static int set_errno(int err, const char *call)
{
	return err ? fail(-err, "%s: %s", call, strerror(-err)) : 0;
}

/* An aligned, non-empty range of user addresses. */
static int check_range(const void *addr, size_t len, const char *call)
{
	uint64_t a = (uintptr_t)addr;

	if (a % RT_PAGE)
		return fail(EINVAL, "%s: address %p is not page aligned", call, addr);
	if (len == 0)
		return fail(EINVAL, "%s: length 0", call);
	if (len > TOP || a + round_up(len) > TOP)
		return fail(ENOMEM, "%s: %zu bytes from %p are no addresses", call, len, addr);
	return 0;
}

/* --- mapping -------------------------------------------------------------------- */

#define KNOWN_FLAGS                                                                                \
	(MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_NORESERVE | MAP_POPULATE |               \
	 MAP_ANONYMOUS | QUIRE_MAP_RESERVE)

static unsigned rights_of(int prot)
{
	/* As on every machine we know: what can be written can be read. */
	return (prot & PROT_READ ? RT_READ : 0) | (prot & PROT_WRITE ? RT_READ | RT_WRITE : 0);
}

static int check_map(const void *addr, size_t len, int prot, int flags, uint64_t off)
{
	int type = flags & MAP_TYPE;

	if (len == 0)
		return fail(EINVAL, "quire_mmap: length 0");
	if (off % RT_PAGE)
		return fail(EINVAL, "quire_mmap: offset %llu is not a multiple of the page size",
			    (unsigned long long)off);
	if (prot & ~(PROT_READ | PROT_WRITE))
		return fail(EINVAL, "quire_mmap: protection 0x%x: only PROT_READ and PROT_WRITE",
			    prot);
	if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
		return fail(EINVAL,
			    "quire_mmap: flags 0x%x have neither MAP_SHARED nor MAP_PRIVATE",
			    flags);
	if (flags & ~KNOWN_FLAGS)
		return fail(type == MAP_SHARED_VALIDATE ? EOPNOTSUPP : EINVAL,
			    "quire_mmap: flags 0x%x are not known", flags & ~KNOWN_FLAGS);
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) && (uintptr_t)addr % RT_PAGE)
		return fail(EINVAL, "quire_mmap: fixed address %p is not page aligned", addr);
	if (len > TOP)
		return fail(ENOMEM, "quire_mmap: %zu bytes are more than there are addresses", len);
	if (off > INT64_MAX - round_up(len))
		return fail(EOVERFLOW, "quire_mmap: offset and length overflow");
	return 0;
}

static unsigned view_flags(int flags)
{
	unsigned v = (flags & MAP_TYPE) == MAP_PRIVATE ? RT_VIEW_PRIVATE : 0;

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		v |= RT_VIEW_FIXED;
	if (flags & MAP_FIXED_NOREPLACE)
		v |= RT_VIEW_NOREPLACE;
	return v;
}

/* Consumes store. */
static void *map_store(struct quire *q, struct store *store, void *addr, size_t len, int prot,
		       int flags, uint64_t off)
{
	uint64_t at = (uintptr_t)addr;

	if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
		at &= ~(RT_PAGE - 1);
	/* A view can be made writable later only if what it was opened with can write. */
	bool may_write = (flags & MAP_TYPE) == MAP_PRIVATE || store->writable;
	int err = mm_map(&q->mm, store, off / RT_PAGE, round_up(len), rights_of(prot),
			 view_flags(flags) | (may_write ? RT_VIEW_MAY_WRITE : 0), &at);
	if (err)
		return fail_ptr(-err, "quire_mmap: %s", strerror(-err));
	if (flags & MAP_POPULATE && prot != PROT_NONE)
		mm_populate(&q->mm, at, round_up(len), prot & PROT_WRITE);
	return (void *)at;
}

static int check_file(int fd, int prot, int flags, struct stat *st, bool *writable)
{
	int mode = fcntl(fd, F_GETFL);

	if (mode < 0 || mode & O_PATH || fstat(fd, st) != 0)
		return fail(EBADF, "quire_mmap: descriptor %d is not open", fd);
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return fail(ENODEV,
			    "quire_mmap: descriptor %d is neither a file nor a block device", fd);
	bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	if ((mode & O_ACCMODE) == O_WRONLY)
		return fail(EACCES, "quire_mmap: descriptor %d is not open for reading", fd);
	*writable = (mode & O_ACCMODE) == O_RDWR && shared;
	if (shared && prot & PROT_WRITE && !*writable)
		return fail(EACCES, "quire_mmap: descriptor %d is not open for writing", fd);
	return 0;
}

/* Shared or private is the same here: no child of a fork has a part in it. */
static void *map_anon(struct quire *q, void *addr, size_t len, int prot, int flags)
{
	uint64_t at = (uintptr_t)addr;

	if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
		at &= ~(RT_PAGE - 1);
	int err = mm_map_anon(&q->mm, round_up(len), rights_of(prot), view_flags(flags),
			      flags & MAP_NORESERVE, &at);
	if (err == -ENOMEM)
		return fail_ptr(
			ENOMEM,
			"quire_mmap: %zu bytes of anonymous memory do not fit: %llu are "
			"promised, the budget is %llu and the swap store %llu",
			len,
			(unsigned long long)rt_load_u64(&q->mm.committed, RT_RELAXED) * RT_PAGE,
			(unsigned long long)rt_load_u64(&q->mm.budget, RT_RELAXED),
			(unsigned long long)q->mm.swap.slots * RT_PAGE);
	if (err)
		return fail_ptr(-err, "quire_mmap: %s", strerror(-err));
	if (flags & MAP_POPULATE && prot != PROT_NONE)
		mm_populate(&q->mm, at, round_up(len), prot & PROT_WRITE);
	return (void *)at;
}

void *quire_mmap(struct quire *q, void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct store *store;
	struct stat st;
	bool writable;

	if (is_gone(q, "quire_mmap") || check_map(addr, len, prot, flags, (uint64_t)off) != 0)
		return MAP_FAILED;
	if (flags & MAP_ANONYMOUS)
		return map_anon(q, addr, len, prot, flags);
	if (check_file(fd, prot, flags, &st, &writable) != 0)
		return MAP_FAILED;
	if (flags & QUIRE_MAP_RESERVE) {
		long err = sys(SYS_fallocate, fd, 0, off, len);
		if (err)
			return fail_ptr((int)-err, "quire_mmap: reserving %zu bytes: %s", len,
					strerror((int)-err));
	}
	int err = store_file_open(fd, st.st_dev, st.st_ino, writable, q->direct, &store);
	if (err)
		return fail_ptr(-err, "quire_mmap: opening the file again: %s", strerror(-err));
	return map_store(q, store, addr, len, prot, flags, (uint64_t)off);
}

void *quire_mmap_store(struct quire *q, void *addr, size_t len, int prot, int flags,
		       const struct quire_store_ops *ops, void *ctx, uint64_t length, uint64_t off)
{
	struct store *store;

	if (is_gone(q, "quire_mmap_store") || check_map(addr, len, prot, flags, off) != 0)
		return MAP_FAILED;
	if (!ops || ops->size < offsetof(struct quire_store_ops, sync) + sizeof(ops->sync) ||
	    !ops->read)
		return fail_ptr(EINVAL, "quire_mmap_store: no read function, or size not set");
	if (prot & PROT_WRITE && (flags & MAP_TYPE) != MAP_PRIVATE && !ops->write)
		return fail_ptr(EACCES, "quire_mmap_store: the store has no write function");
	if (check_size(ops, ops->size, sizeof(*ops)) != 0)
		return MAP_FAILED;
	int err = store_user_open(ops, ctx, length, &store);
	if (err)
		return fail_ptr(-err, "quire_mmap_store: %s", strerror(-err));
	return map_store(q, store, addr, len, prot, flags, off);
}

/* --- changing -------------------------------------------------------------------- */

int quire_munmap(struct quire *q, void *addr, size_t len)
{
	if (is_gone(q, "quire_munmap"))
		return -1;
	if (check_range(addr, len, "quire_munmap") != 0) {
		errno = EINVAL; /* as munmap(2), also for what are no addresses */
		return -1;
	}
	return set_errno(mm_unmap(&q->mm, (uintptr_t)addr, round_up(len)), "quire_munmap");
}

int quire_mprotect(struct quire *q, void *addr, size_t len, int prot)
{
	if (is_gone(q, "quire_mprotect"))
		return -1;
	if ((uintptr_t)addr % RT_PAGE == 0 && len == 0)
		return 0;
	if (check_range(addr, len, "quire_mprotect") != 0)
		return -1;
	if (prot & ~(PROT_READ | PROT_WRITE))
		return fail(EINVAL, "quire_mprotect: protection 0x%x", prot);
	return set_errno(mm_protect(&q->mm, (uintptr_t)addr, round_up(len), rights_of(prot)),
			 "quire_mprotect");
}

static bool covered(struct quire *q, uint64_t addr, uint64_t len)
{
	rwlock_read_lock(&q->mm.mmap_lock);
	bool yes = mm_covered(&q->mm, addr, len);
	rwlock_read_unlock(&q->mm.mmap_lock);
	return yes;
}

int quire_madvise(struct quire *q, void *addr, size_t len, int advice)
{
	struct mm *mm = &q->mm;
	uint64_t at = (uintptr_t)addr, n = round_up(len);
	int err = 0;

	if (is_gone(q, "quire_madvise"))
		return -1;
	if (at % RT_PAGE == 0 && len == 0)
		return 0;
	if (check_range(addr, len, "quire_madvise") != 0)
		return -1;
	if (!covered(q, at, n))
		return fail(ENOMEM, "quire_madvise: %zu bytes from %p: part of it is not mapped",
			    len, addr);
	switch (advice) {
	case MADV_NORMAL:
		err = mm_advise(mm, at, n, VMA_NORMAL);
		break;
	case MADV_RANDOM:
		err = mm_advise(mm, at, n, VMA_RANDOM);
		break;
	case MADV_SEQUENTIAL:
		err = mm_advise(mm, at, n, VMA_SEQUENTIAL);
		break;
	case MADV_WILLNEED:
		mm_willneed(mm, at, n);
		break;
	case MADV_FREE: /* at once is within "at any time" */
	case MADV_DONTNEED:
		err = mm_dontneed(mm, at, n);
		break;
	case MADV_COLD:
	case MADV_PAGEOUT:
		mm_deactivate(mm, at, n, advice == MADV_PAGEOUT);
		break;
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		err = mm_populate(mm, at, n, advice == MADV_POPULATE_WRITE);
		break;
	default:
		return fail(EINVAL, "quire_madvise: advice %d is not known", advice);
	}
	return set_errno(err, "quire_madvise");
}

/* The first mapping with a shared view in [*at, end), held, and its pages there. */
static struct mapping *next_shared(struct mm *mm, uint64_t *at, uint64_t end, uint64_t *index,
				   uint64_t *index_end)
{
	struct mapping *m = NULL;

	rwlock_read_lock(&mm->mmap_lock);
	while (!m && *at < end) {
		struct vma *v = vma_find(mm, *at);
		if (!v || v->start >= end) {
			*at = end;
			break;
		}
		uint64_t from = v->start > *at ? v->start : *at, to = v->end < end ? v->end : end;
		*at = v->end;
		if (v->private)
			continue; /* a shared one has a mapping */
		*index = vma_index_at(v, from);
		*index_end = *index + ((to - from) >> RT_PAGE_SHIFT);
		m = v->mapping;
		mapping_hold(m);
	}
	rwlock_read_unlock(&mm->mmap_lock);
	return m;
}

/* A write to the swap store that failed for what is anonymous in the range: its errno. */
static int swap_error(struct quire *q, uint64_t at, uint64_t end)
{
	int err = 0;

	rwlock_read_lock(&q->mm.mmap_lock);
	for (struct vma *v = vma_find(&q->mm, at); v && v->start < end;
	     v = vma_find(&q->mm, v->end)) {
		int one = v->mapping ? 0 : anon_take_error(v);
		err = err ? err : one;
	}
	rwlock_read_unlock(&q->mm.mmap_lock);
	return err;
}

int quire_msync(struct quire *q, void *addr, size_t len, int flags)
{
	uint64_t at = (uintptr_t)addr, end = at + round_up(len), index, index_end;
	struct mapping *m;
	int first = 0;

	if (is_gone(q, "quire_msync"))
		return -1;
	if (flags & ~(MS_SYNC | MS_ASYNC | MS_INVALIDATE) ||
	    (flags & (MS_SYNC | MS_ASYNC)) == (MS_SYNC | MS_ASYNC))
		return fail(EINVAL, "quire_msync: flags 0x%x", flags);
	if (at % RT_PAGE == 0 && len == 0)
		return 0;
	if (check_range(addr, len, "quire_msync") != 0)
		return -1;
	bool hole = !covered(q, at, end - at);
	while ((m = next_shared(&q->mm, &at, end, &index, &index_end)) != NULL) {
		int err = writeback_sync(m, index, index_end, flags & MS_SYNC);
		mapping_unhold(m);
		if (!first)
			first = err;
	}
	if (!first)
		first = -swap_error(q, (uintptr_t)addr, end);
	if (!first && hole)
		return fail(ENOMEM, "quire_msync: %zu bytes from %p: part of it is not mapped", len,
			    addr);
	return set_errno(first, "quire_msync");
}

void *quire_mremap(struct quire *q, void *old_addr, size_t old_len, size_t new_len, int flags,
		   void *new_addr)
{
	uint64_t to = (uintptr_t)new_addr;
	bool fixed = flags & MREMAP_FIXED;

	if (is_gone(q, "quire_mremap"))
		return MAP_FAILED;
	if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED) || (fixed && !(flags & MREMAP_MAYMOVE)))
		return fail_ptr(EINVAL, "quire_mremap: flags 0x%x", flags);
	if (check_range(old_addr, old_len, "quire_mremap") != 0 || new_len == 0 ||
	    new_len > TOP * 4096 || (fixed && to % RT_PAGE))
		return fail_ptr(EINVAL, "quire_mremap: from %p, %zu to %zu bytes", old_addr,
				old_len, new_len);
	if (new_len > TOP)
		return fail_ptr(ENOMEM, "quire_mremap: %zu bytes are more than there are addresses",
				new_len);
	int err = mm_remap(&q->mm, (uintptr_t)old_addr, round_up(old_len), round_up(new_len),
			   flags & MREMAP_MAYMOVE, fixed, &to);
	if (err)
		return fail_ptr(-err, "quire_mremap: %s", strerror(-err));
	return (void *)to;
}

int quire_move(struct quire *q, void *dst, void *src, size_t len, int flags, size_t *moved)
{
	uint64_t done = 0;

	if (moved)
		*moved = 0;
	if (is_gone(q, "quire_move"))
		return -1;
	if (flags & ~QUIRE_MOVE_ALLOW_HOLES)
		return fail(EINVAL, "quire_move: flags 0x%x", flags);
	if ((uintptr_t)dst % RT_PAGE || (uintptr_t)src % RT_PAGE || len % RT_PAGE || len == 0)
		return fail(EINVAL, "quire_move: %p, %p and %zu must be multiples of %llu", dst,
			    src, len, (unsigned long long)RT_PAGE);
	if (check_range(dst, len, "quire_move") != 0 || check_range(src, len, "quire_move") != 0)
		return -1;
	int err = mm_move(&q->mm, (uintptr_t)dst, (uintptr_t)src, len,
			  flags & QUIRE_MOVE_ALLOW_HOLES, &done);
	if (moved)
		*moved = done;
	return err ? fail(-err, "quire_move: %s after %llu of %zu bytes", strerror(-err),
			  (unsigned long long)done, len)
		   : 0;
}

/* --- holding and looking ------------------------------------------------------------ */

int quire_pin(struct quire *q, const void *addr, size_t len, int flags)
{
	if (is_gone(q, "quire_pin"))
		return -1;
	if (flags & ~QUIRE_PIN_WRITE)
		return fail(EINVAL, "quire_pin: flags 0x%x", flags);
	if (len == 0)
		return 0;
	return set_errno(mm_pin(&q->mm, (uintptr_t)addr, len, flags & QUIRE_PIN_WRITE),
			 "quire_pin");
}

void quire_unpin(struct quire *q, const void *addr, size_t len)
{
	int saved = errno;

	if (len > 0 && !q->child)
		mm_unpin(&q->mm, (uintptr_t)addr, len);
	errno = saved;
}

int quire_contains(struct quire *q, const void *addr, size_t len)
{
	if (q->child)
		return 0;
	rt_rcu_read_lock();
	struct vma *v = vma_find(&q->mm, (uintptr_t)addr);
	int yes = v && v->start < (uintptr_t)addr + len;
	rt_rcu_read_unlock();
	return yes;
}

int quire_resident(struct quire *q, void *addr, size_t len, unsigned char *vec)
{
	if (is_gone(q, "quire_resident"))
		return -1;
	if (check_range(addr, len, "quire_resident") != 0)
		return -1;
	return set_errno(mm_resident(&q->mm, (uintptr_t)addr, round_up(len), vec),
			 "quire_resident");
}

int quire_on_error(struct quire *q, void *addr, size_t len,
		   enum quire_error_action (*fn)(const struct quire_error_info *, void *),
		   void *arg)
{
	if (is_gone(q, "quire_on_error"))
		return -1;
	if (check_range(addr, len, "quire_on_error") != 0)
		return -1;
	return set_errno(
		mm_set_on_error(&q->mm, (uintptr_t)addr, round_up(len), (void (*)(void))fn, arg),
		"quire_on_error");
}
