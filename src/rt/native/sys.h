/* SPDX-License-Identifier: MIT */
/*
 * sys.h - system calls made directly.
 *
 * `quire run` interposes libc's mmap, read, write and the rest; what the machine
 * does for itself must not come back through there, and must not meet a
 * cancellation point inside the fault handler. Each returns a value >= 0 or -errno.
 */
#ifndef RT_NATIVE_SYS_H
#define RT_NATIVE_SYS_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* MADV_DONTNEED refuses what mlock(2) was called on, even where that failed, and everything
 * after mlockall(2). Linux 5.18. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* errno belongs to the interrupted program: keep it. */
#define sys(...)                                                                                   \
	({                                                                                         \
		int saved_errno_ = errno;                                                          \
		long ret_ = syscall(__VA_ARGS__);                                                  \
		if (ret_ == -1)                                                                    \
			ret_ = -errno;                                                             \
		errno = saved_errno_;                                                              \
		ret_;                                                                              \
	})

/*
 * Keep a descriptor of ours out of the way: programs close, and dup2 over, the low
 * numbers, and expect the lowest free one from open(2). Returns the new number; if there
 * is none, fd itself. An error passes through.
 */
long sys_fd_away(long fd);

#endif
