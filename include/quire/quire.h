/* SPDX-License-Identifier: MIT */
/*
 * quire.h - user-space paging for a program that maps more than its RAM.
 *
 * A quire is an address space with a budget. What is mapped into it is paged
 * inside the thread that faults, under that budget, without root, a kernel
 * patch, a sysctl or a daemon. The calls are shaped like mmap(2)'s: the same
 * arguments, the same errno.
 *
 *     struct quire *q = quire_open(&(struct quire_options){
 *             .size = sizeof(struct quire_options), .memory = 512 << 20 });
 *     char *p = quire_mmap(q, NULL, len, PROT_READ, MAP_SHARED, fd, 0);
 *     ... p[i] is a plain pointer, from any thread ...
 *     quire_munmap(q, p, len);
 *     quire_close(q);
 *
 * Rules that hold for every call below
 *   - Lengths and offsets are bytes. Addresses and file offsets must be
 *     multiples of the page size where mmap(2) wants that, else EINVAL.
 *   - int functions return 0, or -1 with errno. Pointer functions return NULL
 *     or MAP_FAILED with errno, as said.
 *   - All are safe to call from any thread at any time, except quire_close(),
 *     which must be the last call on its quire. None is async-signal-safe.
 *   - A structure's first member is its size in bytes, set by the caller. New
 *     members are only ever added at the end; a library that is older than the
 *     program ignores what it does not know if it is zero, and fails with
 *     E2BIG if it is not.
 *
 * What a program must know
 *   - A system call on managed memory that is not pinned may fail with EFAULT:
 *     the kernel's own accesses do not reach us. Use quire_pin() around such
 *     calls (`quire run` does so by itself).
 *   - SIGBUS belongs to the library from quire_open() on. A handler that was
 *     there before, or is installed with quire_sigaction(), gets what is not
 *     ours. SIGBUS must not be blocked in a thread that touches managed memory.
 *   - Managed memory must not hold an alternate signal stack or a thread stack.
 *   - After fork() the child has no access to managed memory (it gets SIGSEGV
 *     there); it may exec.
 *
 * Source of the semantics: mmap(2), munmap(2), mprotect(2), madvise(2),
 * msync(2), mremap(2), mincore(2), userfaultfd(2); what is ours is in
 * libquire(7).
 */
#ifndef QUIRE_QUIRE_H
#define QUIRE_QUIRE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QUIRE_API __attribute__((visibility("default")))
#else
#define QUIRE_API
#endif

struct quire;

/*
 * What a fault may hold while it waits for I/O (see LOCKING.md).
 * The default is QUIRE_RETRY_VMA.
 */
enum quire_retry {
	QUIRE_RETRY_DEFAULT = 0,
	QUIRE_RETRY_MMAP = 1,     /* P0: drop, wait, retry under the mmap_lock */
	QUIRE_RETRY_VMA = 2,      /* P1: drop, wait, retry under the VMA lock */
	QUIRE_RETRY_HOLD = 3,     /* P2: keep the VMA lock through the I/O */
	QUIRE_RETRY_UPTODATE = 4, /* P3: keep it only for an uptodate folio */
	QUIRE_RETRY_FOLIO = 5,    /* P4: drop, lock the folio, take it again */
};

struct quire_options {
	size_t size;        /* sizeof(struct quire_options) */
	uint64_t memory;    /* the budget in bytes: frames and metadata */
	uint32_t retry;     /* enum quire_retry */
	uint32_t flags;     /* 0 */
	const char *opts;   /* NULL or "key=value,key=value", as QUIRE_OPTS:
			     *   retry=P0|P1|P2|P3|P4, readahead=SIZE|0,
			     *   direct=0|1, dirty=PERCENT, swap=PATH,
			     *   swap_size=SIZE, rmap=A|B, move=0|1.
			     * A key wins over the member of the same name. */
	const char *swap;   /* NULL, or where anonymous memory goes that has no room: a
			     * directory, or a file that does not exist. The file
			     * has no name from the beginning, and goes with q. */
	uint64_t swap_size; /* its bytes, all reserved by quire_open(); 0: 4 x memory */
};

/*
 * quire_open - make an address space with a budget.
 *
 * opts: see above; read only during the call. memory is required.
 * Returns the quire, owned by the caller until quire_close(); NULL with errno:
 *   EINVAL  no budget, an unknown key or a bad value in opts->opts
 *   E2BIG   opts->size is larger than this library knows, and not zero there
 *   ENOSPC  the budget is smaller than quire_memory_min(), or there is no room for
 *           the swap store
 *   ENOENT, EEXIST, EACCES, EOPNOTSUPP, ...  as open(2) of the swap store
 *   EPERM, ENOSYS, ENOTSUP  userfaultfd is refused or too old: `quire doctor`
 *   ENOMEM, EMFILE, EAGAIN  as mmap(2), userfaultfd(2), pthread_create(3)
 * quire_error() has the sentence.
 */
QUIRE_API struct quire *quire_open(const struct quire_options *opts);

/*
 * quire_close - write back what is dirty, unmap everything, stop the pager.
 *
 * q: may be NULL. It and every address in it are gone afterwards, also on
 * failure. No other thread may touch its memory or call on it any more.
 * errno: EIO, ENOSPC, ... the first write-back that failed: that data is lost.
 */
QUIRE_API int quire_close(struct quire *q);

/*
 * quire_error - why the last failing call of this thread failed, in a sentence.
 * Never NULL; valid until the thread's next failing call. "" if none failed.
 */
QUIRE_API const char *quire_error(void);

/* quire_memory_min - the least budget in bytes that quire_open() accepts. */
QUIRE_API uint64_t quire_memory_min(void);

/* Extra quire_mmap() flag bits, outside those of mmap(2). */
#define QUIRE_MAP_RESERVE 0x40000000 /* allocate the file's blocks now */

/*
 * quire_mmap - map a file, or anonymous memory, into q. Nothing is read before it is
 * touched.
 *
 * addr, len, prot, flags, fd, off: as mmap(2). flags: MAP_SHARED or
 *   MAP_SHARED_VALIDATE or MAP_PRIVATE, with MAP_FIXED (replaces only what is
 *   q's own), MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_POPULATE,
 *   QUIRE_MAP_RESERVE, MAP_ANONYMOUS. prot: PROT_NONE, PROT_READ, PROT_WRITE.
 *   fd is a regular file (or block device); it may be closed afterwards.
 *   Bytes of the last page past the end of the file read zero and are never
 *   written. Whole pages past the end are SIGBUS until the file grows (through
 *   quire_ftruncate() or quire_pwritev(), or noticed by the pager within 100 ms).
 *   A private page that was written is the process's own: it stays resident and
 *   charged to the budget; a write that does not fit is an error at that page
 *   (see quire_on_error()), ENOMEM.
 *   With MAP_ANONYMOUS fd and off are of no account, and shared is as private: no other
 *   process sees it. It is zeros at first; what the budget has no room for goes to the
 *   swap store. Writable memory must find a place in both together, or the call fails
 *   with ENOMEM; with a store, MAP_NORESERVE waives that: then a touch that finds no
 *   room is an error at that page, ENOMEM.
 * Returns the address; MAP_FAILED with errno:
 *   EACCES  fd not open for reading, or shared+writable and not for writing
 *   EBADF   fd is not open
 *   EEXIST  MAP_FIXED_NOREPLACE over something
 *   EINVAL  len 0, unaligned addr or off, unknown or missing flags, PROT_EXEC,
 *           MAP_FIXED over memory that is not q's
 *   ENODEV  fd is neither a regular file nor a block device
 *   ENOMEM  no address space or metadata, or len + off overflows (EOVERFLOW)
 *   ENOSPC  QUIRE_MAP_RESERVE and the disk is full
 */
QUIRE_API void *quire_mmap(struct quire *q, void *addr, size_t len, int prot, int flags, int fd,
			   off_t off);

/*
 * A store of the caller's own under a plain pointer.
 *
 * The functions run on the faulting thread inside a signal handler with every
 * signal masked, on threads of the library's own, or on one that calls msync, close
 * or preadv: they may sleep, but must not touch
 * managed memory nor take a lock (malloc's, stdio's) that code which touches
 * managed memory may hold. offset and len are multiples
 * of 4096, but for the len of a write at the end of the data.
 *   read:  fill buf with len bytes; returns bytes read (short only at the end
 *          of the data; the rest reads zero), or -errno.
 *   write: returns len, or -errno; a failed page stays dirty and is tried again.
 *          NULL: the store is read-only.
 *   sync:  make earlier writes durable; 0 or -errno. NULL: nothing to do.
 */
struct quire_store_ops {
	size_t size; /* sizeof(struct quire_store_ops) */
	ssize_t (*read)(void *ctx, void *buf, size_t len, uint64_t offset);
	ssize_t (*write)(void *ctx, const void *buf, size_t len, uint64_t offset);
	int (*sync)(void *ctx);
};

/*
 * quire_mmap_store - as quire_mmap(), over ops(ctx) instead of a file.
 *
 * length: size of the store in bytes. ctx: identifies the store: views of the
 * same (ops, ctx) in one quire are coherent. ops and ctx must outlive the last
 * view. errno: as quire_mmap(); EACCES for a writable shared view without
 * ops->write; E2BIG as at the top.
 */
QUIRE_API void *quire_mmap_store(struct quire *q, void *addr, size_t len, int prot, int flags,
				 const struct quire_store_ops *ops, void *ctx, uint64_t length,
				 uint64_t off);

/*
 * quire_munmap - as munmap(2). Dirty pages of a shared view stay in the cache
 * and are written back. Ranges of [addr, addr+len) that are not q's are left
 * alone. errno: EINVAL (unaligned, len 0), ENOMEM (a split needs metadata).
 */
QUIRE_API int quire_munmap(struct quire *q, void *addr, size_t len);

/*
 * quire_mprotect - as mprotect(2), for PROT_NONE, PROT_READ, PROT_WRITE.
 * errno: EACCES (writable, and the file was not open for writing), EINVAL,
 * ENOMEM (a hole in the range, or a split needs metadata).
 */
QUIRE_API int quire_mprotect(struct quire *q, void *addr, size_t len, int prot);

/*
 * quire_madvise - as madvise(2). Advice that is known:
 *   MADV_NORMAL      learn the pattern (the default)
 *   MADV_RANDOM      never read ahead
 *   MADV_SEQUENTIAL  read ahead at once
 *   MADV_WILLNEED    start reading the range; does not wait
 *   MADV_DONTNEED    unmap; shared pages stay in the cache, private pages that
 *                    were written are lost, as with the kernel
 *   MADV_FREE        the same, for anonymous memory
 *   MADV_COLD, MADV_PAGEOUT   let go of the range first / now
 *   MADV_POPULATE_READ, MADV_POPULATE_WRITE   fault the range in, and wait
 * Other advice: EINVAL. Hole in the range: ENOMEM. POPULATE: EFAULT when a page
 * cannot be read, ENOMEM when the budget cannot hold it.
 */
QUIRE_API int quire_madvise(struct quire *q, void *addr, size_t len, int advice);

/*
 * quire_msync - as msync(2): MS_SYNC waits until what was dirty in the range is
 * on the device (a barrier: fdatasync); MS_ASYNC starts it. MS_INVALIDATE is
 * accepted. errno: EINVAL, ENOMEM (a hole), or the error of a write-back that
 * failed in this file since this quire last reported one (EIO, ENOSPC, EDQUOT):
 * those pages are still dirty, and a later msync tries them again.
 */
QUIRE_API int quire_msync(struct quire *q, void *addr, size_t len, int flags);

/*
 * quire_mremap - as mremap(2), with MREMAP_MAYMOVE and MREMAP_FIXED.
 * The old range must lie within one mapping. Returns the new address;
 * MAP_FAILED with errno: EINVAL, EFAULT (old range not mapped), ENOMEM (cannot
 * grow in place, or no address space).
 */
QUIRE_API void *quire_mremap(struct quire *q, void *old_addr, size_t old_len, size_t new_len,
			     int flags, void *new_addr);

#define QUIRE_MOVE_ALLOW_HOLES 1 /* pages that are not there at src are passed over */

/*
 * quire_move - the pages of [src, src+len) come to dst, without being copied.
 *
 * dst, src, len: multiples of the page size; each range within one mapping of anonymous
 *   memory that can be written. Nothing may be at dst: fresh, or after MADV_DONTNEED.
 *   Afterwards src reads zeros. Pages that are in the swap store move as well, unread.
 * flags: 0 or QUIRE_MOVE_ALLOW_HOLES. moved: NULL, or takes the bytes from the front
 *   that are moved, also on failure; what is beyond is as it was.
 * A thread that touches a page meanwhile finds it at one place or none: then zeros at src.
 * errno: EINVAL (unaligned, len 0, flags, or not such mappings), ENOENT (a hole, and not
 *   allowed; or nothing is mapped there), EEXIST (a page is at dst), EBUSY (a page is
 *   pinned, or under a system call), ENOMEM (metadata).
 * Source: ioctl_userfaultfd(2), UFFDIO_MOVE; fault-path.md 1.2.
 */
QUIRE_API int quire_move(struct quire *q, void *dst, void *src, size_t len, int flags,
			 size_t *moved);

#define QUIRE_PIN_WRITE 1 /* the system call will write to the range */

/*
 * quire_pin - fault [addr, addr+len) in and hold it until quire_unpin(), so
 * that a system call can be given it. Pins nest. Bytes of the range that are
 * not q's are ignored (len counts from addr, any alignment).
 * errno: EFAULT (rights, end of file, read error), ENOMEM (the budget cannot
 * hold it; nothing stays pinned), EINVAL (flags).
 */
QUIRE_API int quire_pin(struct quire *q, const void *addr, size_t len, int flags);
/* quire_unpin - undo one quire_pin() of exactly that range. */
QUIRE_API void quire_unpin(struct quire *q, const void *addr, size_t len);

/*
 * quire_contains - does [addr, addr+len) overlap a mapping of q? Cheap (one
 * lookup, no lock); the answer may be old when another thread maps or unmaps.
 */
QUIRE_API int quire_contains(struct quire *q, const void *addr, size_t len);

/*
 * quire_resident - as mincore(2): vec[i] bit 0 is set when page i is in memory
 * (a touch needs no I/O), bit 1 when it is mapped (no fault), bit 2 when dirty.
 * vec: (len + page - 1) / page bytes. errno: EINVAL (unaligned), ENOMEM (hole).
 */
QUIRE_API int quire_resident(struct quire *q, void *addr, size_t len, unsigned char *vec);

/*
 * quire_set_memory - change the budget, in bytes, while running. Shrinking
 * returns when the new budget holds.
 * errno: ENOSPC (below quire_memory_min()), EBUSY (pinned, private or
 * unwritable pages do not fit; the old budget holds again).
 */
QUIRE_API int quire_set_memory(struct quire *q, uint64_t memory);

/* One failed access, as a callback sees it. */
struct quire_error_info {
	size_t size;     /* sizeof(struct quire_error_info) */
	void *addr;      /* the faulting byte */
	uint64_t offset; /* in the file, of that byte */
	int error;       /* errno: EIO, ENOMEM, ENXIO (past the end of the file) */
	int write;       /* was it a write */
};

/* What a callback wants done. */
enum quire_error_action {
	QUIRE_ERROR_SIGNAL = 0, /* SIGBUS to the program at that address */
	QUIRE_ERROR_RETRY = 1,  /* run the access again */
};

/*
 * quire_on_error - call fn(info, arg) on the faulting thread when an access in
 * the mappings of [addr, addr+len) cannot be served, instead of SIGBUS. fn runs
 * inside the signal handler, after every lock of quire was dropped: it may
 * siglongjmp() out, or return an action. fn NULL restores SIGBUS.
 * errno: EINVAL, ENOMEM (a hole).
 */
QUIRE_API int quire_on_error(struct quire *q, void *addr, size_t len,
			     enum quire_error_action (*fn)(const struct quire_error_info *info,
							   void *arg),
			     void *arg);

/*
 * File operations that stay coherent with what q has mapped of the same file.
 * fd may be any descriptor of it; a file that q does not map goes straight to
 * the kernel. Arguments, results and errno as pread(2), pwritev(2),
 * ftruncate(2), fsync(2). With off -1 the first two use (and move) the file position.
 * The buffers may themselves be managed memory, as far as the budget can hold them at
 * once (ENOMEM). quire_fsync() with fd -1 writes back every file of q.
 */
QUIRE_API ssize_t quire_preadv(struct quire *q, int fd, const struct iovec *iov, int n, off_t off);
QUIRE_API ssize_t quire_pwritev(struct quire *q, int fd, const struct iovec *iov, int n, off_t off);
QUIRE_API int quire_ftruncate(struct quire *q, int fd, off_t length);
QUIRE_API int quire_fsync(struct quire *q, int fd);

/*
 * Counters, since quire_open() unless said otherwise. The order is frozen: they
 * are also what `quire stat` reads from a running process.
 */
struct quire_stats {
	size_t size;              /* sizeof(struct quire_stats) */
	uint64_t memory;          /* budget, bytes */
	uint64_t charged;         /* bytes charged now */
	uint64_t charged_max;     /* the most there ever was */
	uint64_t metadata;        /* bytes of it that are not frames */
	uint64_t cached;          /* bytes of file pages in memory now */
	uint64_t mapped;          /* bytes of them that are mapped now */
	uint64_t dirty;           /* bytes not written back now */
	uint64_t writeback;       /* bytes being written now */
	uint64_t owned;           /* bytes of private copies now */
	uint64_t pinned;          /* bytes pinned now */
	uint64_t mappings;        /* VMAs now */
	uint64_t faults;          /* all that reached the handler */
	uint64_t faults_minor;    /* served from the cache */
	uint64_t faults_major;    /* waited for a read */
	uint64_t faults_write;    /* first write to a clean page */
	uint64_t faults_cow;      /* private copies made */
	uint64_t faults_spurious; /* somebody else had served it */
	uint64_t faults_error;    /* ended in SIGBUS or the callback */
	uint64_t minor_ns;        /* time in the handler, minor faults */
	uint64_t minor_ns_count;  /* faults that minor_ns is the sum of */
	uint64_t major_ns;        /* time in the handler, major faults */
	uint64_t major_ns_count;
	uint64_t pages_mapped; /* pages mapped by faults, neighbours too */
	uint64_t retries_vma;  /* retried under the VMA lock */
	uint64_t retries_mmap; /* retried under the mmap_lock */
	uint64_t reads;        /* reads from the store */
	uint64_t read_bytes;
	uint64_t reads_ahead; /* of them, not asked for by a fault */
	uint64_t read_errors;
	uint64_t writes;
	uint64_t write_bytes;
	uint64_t write_errors;
	uint64_t evicted_pages;
	uint64_t unmapped_pages; /* by reclaim, to see who comes back */
	uint64_t refaults;       /* read again within one budget of evictions */
	uint64_t activated;      /* came back while unmapped: kept */
	uint64_t stalls;         /* faults that had to reclaim themselves */
	uint64_t stall_ns;
	uint64_t lost_reads;  /* read for a fault and gone before mapped: 0 */
	uint64_t throttled;   /* faults that waited for write-back */
	uint64_t anon;        /* bytes of anonymous pages in memory now */
	uint64_t committed;   /* bytes of writable anonymous mappings now */
	uint64_t swap_size;   /* bytes of the swap store */
	uint64_t swap_used;   /* of them, taken now */
	uint64_t faults_zero; /* first touches of anonymous pages */
	uint64_t swap_reads;
	uint64_t swap_read_bytes;
	uint64_t swap_writes;
	uint64_t swap_write_bytes;
	uint64_t moved_pages; /* by quire_move() and quire_mremap() */
};

/* quire_stats - fill *s, up to s->size bytes. errno: EINVAL (size 0). */
QUIRE_API int quire_stats(struct quire *q, struct quire_stats *s);

/*
 * quire_sigaction - sigaction(2) for SIGBUS, for a program that wants those
 * which are not quire's (and quire's own errors). Other signals: EINVAL.
 */
QUIRE_API int quire_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/* What this kernel and this user may do. Filled by quire_probe(). */
struct quire_probe {
	size_t size;
	uint64_t uffd_features; /* of userfaultfd, 0 if refused */
	int uffd_errno;         /* 0, or why userfaultfd was refused */
	int user_mode_only;     /* 1: only faults of user mode (no sysctl needed) */
	int minor_shmem, wp_shmem, sigbus, move, poison; /* 1: there */
	int io_uring_errno;                              /* 0, or why io_uring was refused */
	int membarrier;                                  /* 1: RCU readers are free of barriers */
	char kernel[64];                                 /* uname release */
};

/* quire_probe - what is there; never fails but for EINVAL (size). */
QUIRE_API int quire_probe(struct quire_probe *p);

/* quire_version - "0.1.0". */
QUIRE_API const char *quire_version(void);

#ifdef __cplusplus
}
#endif
#endif
