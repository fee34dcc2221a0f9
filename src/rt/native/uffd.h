/* SPDX-License-Identifier: MIT */
/*
 * uffd.h - the few userfaultfd(2) definitions that Debian 12's header lacks.
 *
 * The numbers are the kernel's user-space ABI (UFFDIO_MOVE: Linux 6.8, POISON:
 * 6.6, WP_UNPOPULATED: 6.4).
 */
#ifndef RT_NATIVE_UFFD_H
#define RT_NATIVE_UFFD_H

#include <linux/userfaultfd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
#endif
#ifndef UFFDIO_MOVE
struct uffdio_move {
	__u64 dst, src, len, mode;
	__s64 move; /* out: bytes, or -errno */
};
#define UFFDIO_MOVE               _IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE ((__u64)1 << 0)
#endif
#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif

/* What file pages need: all of these, or rt_mmu_open() refuses. */
/* WP_UNPOPULATED came with CONTINUE_MODE_WP, which has no bit of its own: Linux 6.4. */
#define UFFD_NEEDED                                                                                \
	(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |        \
	 UFFD_FEATURE_WP_UNPOPULATED)

#endif
