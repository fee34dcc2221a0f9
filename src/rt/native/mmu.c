/* SPDX-License-Identifier: MIT */
/*
 * mmu.c - views, and their page tables through userfaultfd(2).
 *
 * A view of an object is a mapping of its memfd, registered MISSING, MINOR and WP
 * together (MINOR alone zero-fills holes silently, MISSING alone lets the kernel
 * map cached neighbours: fault-path.md 3), and MADV_DONTFORK. One without an object is
 * private anonymous memory, where MINOR is refused; what is special to it is in anon.c.
 *
 * Ranges never span two views: an ioctl over two kernel VMAs is ENOENT.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "rt/rt.h"
#include "rt/native/anon.h"
#include "rt/native/sys.h"
#include "rt/native/uffd.h"

static int prot_of(unsigned rights)
{
	return (rights & RT_READ ? PROT_READ : 0) | (rights & RT_WRITE ? PROT_WRITE : 0);
}

int rt_mmu_open(struct rt_mmu *mmu)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_NEEDED | UFFD_FEATURE_MOVE };
	long fd = sys(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return (int)fd;
	long err = sys(SYS_ioctl, fd, UFFDIO_API, &api);
	mmu->has_move = err == 0;
	if (err < 0) {
		/* A bit that the kernel does not know is EINVAL, and it can be asked again. */
		api = (struct uffdio_api){ .api = UFFD_API, .features = UFFD_NEEDED };
		err = sys(SYS_ioctl, fd, UFFDIO_API, &api);
	}
	if (err < 0) {
		sys(SYS_close, fd);
		return -ENOTSUP;
	}
	mmu->fd = (int)sys_fd_away(fd);
	return 0;
}

void rt_mmu_close(struct rt_mmu *mmu)
{
	sys(SYS_close, mmu->fd);
	mmu->fd = -1;
}

static int uffd_register(struct rt_mmu *mmu, uint64_t addr, uint64_t len, uint64_t mode)
{
	struct uffdio_register reg = { .range = { addr, len }, .mode = mode };
	long err = sys(SYS_ioctl, mmu->fd, UFFDIO_REGISTER, &reg);

	if (err == 0)
		err = sys(SYS_madvise, addr, len, MADV_DONTFORK);
	return (int)err;
}

static int view_register(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	return uffd_register(mmu, addr, len,
			     UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR |
				     UFFDIO_REGISTER_MODE_WP);
}

int rt_native_anon_register(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	/* A kernel that has neither does not know the advice. A page that is merged with
	 * another (a process may ask for that everywhere) would not move. */
	sys(SYS_madvise, addr, len, MADV_NOHUGEPAGE);
	sys(SYS_madvise, addr, len, MADV_UNMERGEABLE);
	return uffd_register(mmu, addr, len,
			     UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
}

int rt_view_open(struct rt_mmu *mmu, struct rt_object *o, uint64_t index, uint64_t len,
		 unsigned rights, unsigned flags, uint64_t *addr)
{
	int mflags = flags & RT_VIEW_PRIVATE ? MAP_PRIVATE : MAP_SHARED;

	if (!o)
		mflags |= MAP_ANONYMOUS;
	if (flags & RT_VIEW_FIXED)
		mflags |= flags & RT_VIEW_NOREPLACE ? MAP_FIXED_NOREPLACE : MAP_FIXED;
	/* Inaccessible until it is registered: no touch may slip to the kernel. */
	long at = sys(SYS_mmap, *addr, len, PROT_NONE, mflags | MAP_NORESERVE, o ? o->fd : -1,
		      o ? index * RT_PAGE : 0);
	if (at < 0 && at > -4096)
		return (int)at;
	if (flags & RT_VIEW_NOREPLACE && (uint64_t)at != *addr) {
		sys(SYS_munmap, at, len); /* a kernel before 4.17 took it as a hint */
		return -EEXIST;
	}
	int err = o ? view_register(mmu, (uint64_t)at, len)
		    : rt_native_anon_register(mmu, (uint64_t)at, len);
	if (!err && rights)
		err = rt_view_protect(mmu, (uint64_t)at, len, rights);
	if (err) {
		sys(SYS_munmap, at, len);
		return err;
	}
	*addr = (uint64_t)at;
	return 0;
}

int rt_view_reserve(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	(void)mmu;
	long at = sys(SYS_mmap, addr, len, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0L);
	if (at < 0 && at > -4096)
		return (int)at;
	if ((uint64_t)at != addr) {
		sys(SYS_munmap, at, len);
		return -EEXIST;
	}
	return 0;
}

int rt_view_part(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	(void)mmu;
	/* Other advice than all others have: the kernel splits its VMA, or says -EAGAIN at
	 * vm.max_map_count. Then one end may be split already; that comes together again. */
	if (sys(SYS_madvise, addr, len, MADV_SEQUENTIAL) == 0)
		return 0;
	sys(SYS_madvise, addr, len, MADV_NORMAL);
	return -ENOMEM;
}

void rt_view_close(struct rt_mmu *mmu, uint64_t addr, uint64_t len)
{
	(void)mmu;
	/*
	 * What munmap(2) may refuse is to leave two VMAs of one, at vm.max_map_count: hence
	 * rt_view_part(). Were it passed over, the range would stay a registered view that is
	 * nobody's, whose touches are SIGBUS and whose memfd never goes; and nothing that
	 * could be put in its place (mmap, mprotect, UNREGISTER) needs fewer VMAs.
	 */
	ASSERT(sys(SYS_munmap, addr, len) == 0);
}

int rt_view_protect(struct rt_mmu *mmu, uint64_t addr, uint64_t len, unsigned rights)
{
	(void)mmu;
	return (int)sys(SYS_mprotect, addr, len, prot_of(rights));
}

int rt_view_move(struct rt_mmu *mmu, uint64_t old, uint64_t len, uint64_t to, unsigned rights)
{
	/*
	 * mremap(2) drops registration and write protection: the caller has unmapped
	 * all but the private copies, and those are writable. It drops them for the
	 * whole of the VMA that the moved one merges with, too (seen on 6.18: the
	 * neighbour read zeros from then on). So it must not merge: it is inaccessible
	 * meanwhile, and differs in advice from every other view, accessible or not.
	 */
	int err = rt_view_protect(mmu, old, len, 0);
	if (!err)
		err = rt_view_part(mmu, old, len);
	if (err)
		goto as_before;
	long at = sys(SYS_mremap, old, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (at < 0 && at > -4096) {
		err = (int)at;
		goto as_before;
	}
	err = view_register(mmu, to, len);
	if (!err)
		err = rt_view_protect(mmu, to, len, rights);
	if (!err) {
		ASSERT(sys(SYS_madvise, to, len, MADV_NORMAL) == 0);
		return 0;
	}
	/* Back, or the copies would be where nobody looks for them. Something stays at `to`
	 * until the caller closes it: another thread's mapping must not come to be there. */
	at = sys(SYS_mremap, to, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, old);
	ASSERT((uint64_t)at == old);
	ASSERT(view_register(mmu, old, len) == 0);
as_before:
	ASSERT(sys(SYS_madvise, old, len, MADV_NORMAL) == 0);
	ASSERT(rt_view_protect(mmu, old, len, rights) == 0);
	return err;
}

int64_t rt_mmu_map(struct rt_mmu *mmu, uint64_t addr, uint64_t n, bool wp)
{
	uint64_t done = 0;

	while (done < n) {
		struct uffdio_continue c = {
			.range = { addr + done * RT_PAGE, (n - done) * RT_PAGE },
			.mode = UFFDIO_CONTINUE_MODE_DONTWAKE | (wp ? UFFDIO_CONTINUE_MODE_WP : 0)
		};
		long err = sys(SYS_ioctl, mmu->fd, UFFDIO_CONTINUE, &c);

		if (err == 0)
			return (int64_t)n;
		if (err == -EAGAIN && c.mapped > 0)
			done += (uint64_t)c.mapped / RT_PAGE; /* the next try says why */
		else if (err == -EEXIST)
			done++;
		else if (done > 0)
			return (int64_t)done;
		else
			return err == -EINVAL ? -EFAULT : err; /* past the end of the memfd */
	}
	return (int64_t)done;
}

int rt_mmu_copy(struct rt_mmu *mmu, uint64_t addr, const void *buf, bool wp)
{
	struct uffdio_copy c = { .dst = addr,
				 .src = (uintptr_t)buf,
				 .len = RT_PAGE,
				 .mode = UFFDIO_COPY_MODE_DONTWAKE |
					 (wp ? UFFDIO_COPY_MODE_WP : 0) };

	return (int)sys(SYS_ioctl, mmu->fd, UFFDIO_COPY, &c);
}

void rt_mmu_zap(struct rt_mmu *mmu, uint64_t addr, uint64_t n)
{
	long err;

	(void)mmu;
	do {
		err = sys(SYS_madvise, addr, n * RT_PAGE, MADV_DONTNEED_LOCKED);
	} while (err == -EAGAIN || err == -EINTR);
	/* Stores to a page that stays mapped would be missed. -ENOMEM: the program has unmapped
	 * a part of the range behind our back, the rest was done. */
	ASSERT(err == 0 || err == -ENOMEM);
}

static int writeprotect(struct rt_mmu *mmu, uint64_t addr, uint64_t n, uint64_t mode)
{
	struct uffdio_writeprotect wp = { .range = { addr, n * RT_PAGE }, .mode = mode };
	long err;

	do {
		err = sys(SYS_ioctl, mmu->fd, UFFDIO_WRITEPROTECT, &wp);
	} while (err == -EAGAIN || err == -EINTR);
	return (int)err;
}

int rt_mmu_wrprotect(struct rt_mmu *mmu, uint64_t addr, uint64_t n)
{
	return writeprotect(mmu, addr, n, UFFDIO_WRITEPROTECT_MODE_WP);
}

int rt_mmu_unprotect(struct rt_mmu *mmu, uint64_t addr, uint64_t n)
{
	return writeprotect(mmu, addr, n, UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
}

int rt_mmu_own(struct rt_mmu *mmu, uint64_t addr, const void *buf)
{
	/*
	 * Into a private view UFFDIO_COPY puts an anonymous page. Making the kernel copy
	 * by a write of ours would be simpler, and faults now and then: another thread's
	 * copying clears the entry for a moment, which raises SIGBUS, here with locks held.
	 */
	rt_mmu_zap(mmu, addr, 1);
	return rt_mmu_copy(mmu, addr, buf, false);
}
