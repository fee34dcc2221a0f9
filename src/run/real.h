/* SPDX-License-Identifier: MIT */
/*
 * real.h - the functions that the wrappers stand in front of.
 *
 *     return REAL(read)(fd, buf, n);
 *
 * A wrapper may run before our constructor, inside ld.so or inside malloc, when
 * dlsym() cannot be used. So the calls that those make start out as bare system
 * calls and become the next library's functions in real_init(); the others are
 * looked up on first use.
 *
 * WRAP marks a function that the program shall see instead of libc's. ALIAS
 * gives it a second name (off_t has 64 bits here, so pread64 is pread).
 */
#ifndef QUIRE_RUN_REAL_H
#define QUIRE_RUN_REAL_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "the *64 names are aliases");

#define WRAP __attribute__((visibility("default")))
#if __has_attribute(copy) /* gcc wants the other's attributes repeated */
#define ALIAS(name, of) WRAP __typeof__(name) name __attribute__((alias(#of), copy(of)))
#else
#define ALIAS(name, of) WRAP __typeof__(name) name __attribute__((alias(#of)))
#endif

/* clang-format off */

/* Called before the constructor, by ld.so's clients and malloc's. */
#define REAL_EARLY(X) \
	X(mmap) X(munmap) X(mprotect) X(mremap) X(madvise) X(msync) X(mincore) \
	X(read) X(write) X(pread) X(pwrite) X(readv) X(writev) X(preadv) X(pwritev) \
	X(open) X(openat) X(ftruncate) X(getrandom) X(_exit)

#define REAL_LATE(X) \
	X(posix_madvise) X(mlock) X(mlock2) X(munlock) X(mlockall) \
	X(preadv2) X(pwritev2) X(getentropy) \
	X(fsync) X(fdatasync) X(sync) X(syncfs) X(sync_file_range) \
	X(truncate) X(fallocate) X(posix_fallocate) \
	X(copy_file_range) X(sendfile) X(splice) \
	X(fopen) X(freopen) X(fread) X(fwrite) X(fread_unlocked) X(fwrite_unlocked) \
	X(fputs) X(puts) X(fputs_unlocked) \
	X(send) X(sendto) X(sendmsg) X(sendmmsg) \
	X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) \
	X(sigprocmask) X(pthread_sigmask) X(pthread_create) X(pthread_attr_setsigmask_np) \
	X(sigaction) X(signal) X(sysv_signal) X(signalfd) \
	X(sigwait) X(sigwaitinfo) X(sigtimedwait) X(sigsuspend) \
	X(ppoll) X(pselect) X(epoll_pwait) X(epoll_pwait2) \
	X(execve) X(execvpe) X(fexecve) X(execveat) \
	X(poll) X(select) X(epoll_wait) X(epoll_ctl) X(nanosleep) X(sigaltstack) \
	X(stat) X(lstat) X(fstat) X(fstatat) X(statfs) X(fstatfs) X(readlink) X(readlinkat) \
	X(access) X(faccessat) X(unlink) X(unlinkat) X(rmdir) X(mkdir) X(mkdirat) X(chdir) \
	X(chmod) X(chown) X(renameat) \
	X(bind) X(connect) X(accept) X(accept4) X(getsockname) X(getpeername) X(getsockopt) \
	X(setsockopt)

/* clang-format on */

struct real {
#define REAL_FIELD(name) __typeof__(&name) name;
	REAL_EARLY(REAL_FIELD)
	REAL_LATE(REAL_FIELD)
#undef REAL_FIELD
};

extern struct real real;

/* real_find - the next definition of name, also stored in *slot; aborts without. */
void *real_find(const char *name, void **slot);

/* real_init - from the constructor: replace the bare system calls. */
void real_init(void);

#define REAL(name)                                                                                 \
	(real.name ? real.name : (__typeof__(&name))real_find(#name, (void **)&real.name))

#endif
