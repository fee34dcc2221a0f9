/* SPDX-License-Identifier: MIT */
/*
 * rt.h - everything that the core may ask of a machine. This is all of it.
 *
 * Two machines keep this contract: rt/native (pthread, futex, liburcu, userfaultfd,
 * io_uring) and rt/sim (fibers, virtual time, a software MMU, a simulated disk). The build chooses
 * by include path: the types and the inline bodies come from rt_types.h, found there. The core
 * names no machine, and a need it has is a line here, never an #ifdef there.
 *
 * Rules for the whole contract
 *   - Functions that can fail return 0 or a count, or a negative errno.
 *   - "May sleep" means the calling thread may be descheduled for I/O or
 *     another thread. What does not say so does not sleep.
 *   - Addresses of views are uint64_t in bytes; page counts and indices are in
 *     pages of RT_PAGE bytes.
 *   - Every function may be called from inside the fault handler.
 */
#ifndef RT_RT_H
#define RT_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The memory orders of the operations below; each non-relaxed use names its partner. */
enum rt_order { RT_RELAXED, RT_ACQUIRE, RT_RELEASE, RT_ACQ_REL, RT_SEQ_CST };

#include "rt_types.h" /* RT_PAGE_SHIFT, struct rt_u32, rt_u64, rt_ptr, rt_lock, rt_object, rt_pool, rt_mmu, rt_ioq,
			 rt_file, rt_thread, and the inline bodies */

#define RT_PAGE (1ull << RT_PAGE_SHIFT)

/* --- atomic: rt_load_u32(), rt_store_u32(), rt_cas_u32(), rt_add_u32() ... in rt_types.h.
 * rt_cas_*(p, expected, new, order): true if *p was expected and is now new.
 * rt_add_, rt_sub_, rt_or_, rt_and_: return the value before.
 * rt_count_u64(p, n): add without a look at what is there, ordered with nothing: counts
 * commute, so that a machine that searches schedules need not try both orders. */

/* --- notes: what a machine that checks wants to be told; a real one does nothing.
 *   rt_note_class(p, name)   p is a lock of this class (rt_lock_init() says it by itself)
 *   rt_note_want(p)          about to wait for p, held by somebody
 *   rt_note_held(p, write)   it is ours now, for reading or writing
 *   rt_note_dropped(p)       it is not any more
 *   rt_note_live(p, n), rt_note_free(p, n)   the life of an object in type-stable memory:
 *     between the two its plain fields are somebody's; after, only atomics are looked at
 *   rt_note_moved(dst, src)  the page at address src is at dst from here on, and neither was
 *     mapped: what is mapped the machine moves itself
 *   rt_note_lost(addr, n)    what was in n pages from addr on is so no more */

/* --- lock: not recursive; a waiter sleeps. A holder does not sleep, unless that is said
 * where the lock is declared.
 *   void rt_lock_init(struct rt_lock *); rt_lock(); bool rt_trylock(); rt_unlock();
 *   void rt_lock_assert(struct rt_lock *)   - the caller, or anyone, holds it */

/* --- wait: sleep on a word, as futex(2).
 * rt_wait: if *word is still expected, sleep until a wake, timeout_ns (0: no limit),
 *   or a reason of the machine's own: a return says nothing, look again.
 *   Returns 0, or -EINTR when the thread was killed and should unwind.
 * rt_wake: wake up to n sleepers; which ones is not said. Order: everything before the
 *   wake is visible to a thread that is woken by it. */
int rt_wait(rt_u32 *word, uint32_t expected, uint64_t timeout_ns);
void rt_wake(rt_u32 *word, unsigned n);
bool rt_killed(void);
void rt_relax(void);

/* --- rcu: readers never block; synchronize may sleep, and waits for every section
 * that was open at its start. Not from inside a section. */
void rt_rcu_read_lock(void);
void rt_rcu_read_unlock(void);
void rt_rcu_synchronize(void);

/* --- thread and clock. A thread's signals are blocked: it does not touch views. */
int rt_thread_start(struct rt_thread *t, void (*fn)(void *), void *arg, const char *name);
void rt_thread_join(struct rt_thread *t);
uint64_t rt_now_ns(void);

/* --- memory of our own: zeroed pages, never managed memory. NULL if there is none. */
void *rt_pages_alloc(size_t bytes);
void rt_pages_free(void *p, size_t bytes);

/* --- object: the memory that holds cached pages of one mapping. A page is either
 * there (it has content and costs a frame) or not.
 * fill:  make pages [index, index+n) be there with the content of buf. One that fails may
 *   have made the pages before the failing one be there.
 * fetch: copy pages that are there to buf; a page that is not reads zero. One that fails
 *   spoils buf; past the end it is -EIO.
 * drop:  pages are not there afterwards, nor mapped in any view.
 * patch: change bytes of a page that is there.
 * close: when no view shows it.
 * Patch and drop of pages that are there do not fail. May sleep for memory. The caller
 * orders fill, drop and rt_mmu_map of one page. */
int rt_object_open(struct rt_object *o, uint64_t pages);
void rt_object_close(struct rt_object *o);
int rt_object_grow(struct rt_object *o, uint64_t pages);
int rt_object_fill(struct rt_object *o, uint64_t index, const void *buf, uint64_t n);
int rt_object_fetch(struct rt_object *o, uint64_t index, void *buf, uint64_t n);
int rt_object_drop(struct rt_object *o, uint64_t index, uint64_t n);
int rt_object_patch(struct rt_object *o, uint64_t byte, const void *buf, size_t len);

/* --- mmu: views of objects at addresses that the program uses. A range lies in one view,
 * else -ENOENT, and nothing is done; parts of different rights are views of their own;
 * adjacent ones may or may not be one. wrprotect, unprotect, zap, protect and close may
 * span views. Past the object: -EFAULT.
 * open:  a range whose pages are all unmapped; every touch faults to us.
 *   *addr: in, the wish (0: none) or the place (RT_VIEW_FIXED); out, the place. NOREPLACE
 *   only with FIXED. If a FIXED open fails, the range may be empty.
 * protect: rights of the range (RT_READ | RT_WRITE), mapped pages stay mapped. RT_WRITE
 *   includes reading.
 * part:  the range becomes views of its own, mapped pages stay mapped. -ENOMEM: there is
 *   no room for more views, and nothing has changed.
 * close: does not fail. The middle of a view only once it is parted: what is left of that
 *   are two.
 * map:   map n pages from addr, which are there in the object, at once; wp: the
 *   first write faults; in a private view always wp. Returns the pages mapped from the
 *   front (a page mapped already counts and keeps its protection), or -errno if none:
 *   -EFAULT the page is not there; -ENOENT the range is not a view; -EAGAIN try again.
 * copy:  fill and map in one, for a page of a shared view that is neither there nor mapped.
 *   0, or -errno: -EEXIST it is there or mapped already; the others as map.
 * zap:   unmap; the pages stay in the object. No other thread uses an old
 *   translation after it returned. A private copy is lost. Does not fail.
 * wrprotect / unprotect: the next write faults / does not. wrprotect does not fail when a
 *   page under the same table is mapped.
 * own:   make the page of a private view the process's own, with the content of buf,
 *   whatever was mapped there. Not one step: that is gone even if it fails. */
#define RT_READ           1u
#define RT_WRITE          2u
#define RT_VIEW_FIXED     1u
#define RT_VIEW_NOREPLACE 2u
#define RT_VIEW_PRIVATE   4u
#define RT_VIEW_MAY_WRITE 8u /* for the core: rights may come to include writing */
int rt_mmu_open(struct rt_mmu *mmu);
void rt_mmu_close(struct rt_mmu *mmu);
int rt_view_open(struct rt_mmu *mmu, struct rt_object *o, uint64_t index, uint64_t len,
		 unsigned rights, unsigned flags, uint64_t *addr);
void rt_view_close(struct rt_mmu *mmu, uint64_t addr, uint64_t len);
/* reserve: take a free range, to be replaced by a fixed view; -EEXIST: it is not free. */
int rt_view_reserve(struct rt_mmu *mmu, uint64_t addr, uint64_t len);
int rt_view_protect(struct rt_mmu *mmu, uint64_t addr, uint64_t len, unsigned rights);
int rt_view_part(struct rt_mmu *mmu, uint64_t addr, uint64_t len);
/* move: a private view with its copies, to where another view may be. The caller has zapped
 * all but these, and none is write-protected. If it fails nothing has changed, but that
 * there may be no view at `to`. */
int rt_view_move(struct rt_mmu *mmu, uint64_t old, uint64_t len, uint64_t to, unsigned rights);
int64_t rt_mmu_map(struct rt_mmu *mmu, uint64_t addr, uint64_t n, bool wp);
int rt_mmu_copy(struct rt_mmu *mmu, uint64_t addr, const void *buf, bool wp);
void rt_mmu_zap(struct rt_mmu *mmu, uint64_t addr, uint64_t n);
int rt_mmu_wrprotect(struct rt_mmu *mmu, uint64_t addr, uint64_t n);
int rt_mmu_unprotect(struct rt_mmu *mmu, uint64_t addr, uint64_t n);
int rt_mmu_own(struct rt_mmu *mmu, uint64_t addr, const void *buf);

/* --- anonymous memory. A view opened without an object (o NULL, RT_VIEW_PRIVATE; index is
 * of no account): its pages are its own, and there is nothing under them. A page that is
 * taken out of the view waits in a frame of the pool. A frame is there (it has content and
 * costs a page) or not. Zap, wrprotect, unprotect, protect, part and close are as for any
 * view: what is zapped is lost. rt_mmu_map, rt_mmu_copy, rt_mmu_own and rt_view_move are not
 * for these views. Nobody takes, moves, puts or drops what a transfer of ours is at: what
 * -EBUSY says of a transfer, the machine may as well not see.
 * pool_open: room for `frames` of them, numbered from 0; none is there.
 * pool_at: where the content of a frame that is there is read, also by the file calls and
 *   the queue. Nobody writes there. Frames in a row lie in a row.
 * pool_drop: those frames are not there afterwards. Does not fail.
 * fill: n pages at addr get the content of buf; none of them is mapped before. wp: the first
 *   write faults. Returns the pages mapped from the front, or -errno if none: -EEXIST the
 *   first one is mapped; -ENOENT the range is not a view; -EAGAIN, -ENOMEM.
 * take: what is mapped of n pages from addr is not mapped afterwards, and page i in frame[i],
 *   which was not there; what is not mapped is passed over, and what frame[] has for it. Long
 *   rows of pages are moved where their frames are in a row, too. No frame is named twice.
 *   Bit i of `there` (as base/bitmap.h has them) says whether page i is mapped; NULL: all are.
 *   Returns the pages from the front for which that is so, or -errno if none: -EBUSY the
 *   machine is at the first one that is mapped (a transfer of somebody's); -EAGAIN,
 *   -ENOMEM. What is left may be write-protected then. No other thread used an old translation
 *   after it returned. The view can be read.
 * put: n frames, which are all there, become pages at addr, writable, where none is mapped.
 *   They are not there afterwards. Returns as fill; -EBUSY: a transfer from the frame is
 *   under way. The view can be written.
 * move: n pages at src, all mapped, come to dst, where none is, and are writable there. Both
 *   views can be written. Returns the pages moved from the front, or -errno if none: as fill
 *   for dst; -EBUSY as take for src. What is left of src may be write-protected then. */
int rt_pool_open(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frames);
void rt_pool_close(struct rt_mmu *mmu, struct rt_pool *p);
void *rt_pool_at(struct rt_pool *p, uint64_t frame);
void rt_pool_drop(struct rt_mmu *mmu, struct rt_pool *p, uint64_t frame, uint64_t n);
int64_t rt_mmu_fill(struct rt_mmu *mmu, uint64_t addr, const void *buf, uint64_t n, bool wp);
int64_t rt_mmu_take(struct rt_mmu *mmu, struct rt_pool *p, uint64_t addr, const uint32_t *frame,
		    uint64_t n, const uint64_t *there);
int64_t rt_mmu_put(struct rt_mmu *mmu, struct rt_pool *p, uint64_t addr, uint64_t frame,
		   uint64_t n);
int64_t rt_mmu_move(struct rt_mmu *mmu, uint64_t dst, uint64_t src, uint64_t n);

/* --- file: where a store's bytes are. Offsets and lengths in bytes, buffers page
 * aligned. Reads and writes may sleep, may be short, and may fail with any errno: a write
 * may have arrived in part then, a read spoils buf. Writing a file that was not opened for
 * it: -EBADF.
 * sync: what was written before it began is durable. If it fails, that may be lost, and a
 *   later sync does not promise it: it is to be written again. */
int rt_file_open(struct rt_file *f, int handle, bool writable, bool direct);
void rt_file_close(struct rt_file *f);
int64_t rt_file_size(struct rt_file *f);
int64_t rt_file_read(struct rt_file *f, void *buf, size_t len, uint64_t off);
int64_t rt_file_write(struct rt_file *f, const void *buf, size_t len, uint64_t off);
int rt_file_sync(struct rt_file *f);
/* rt_file_trim - let the machine forget copies it may keep of the range. */
void rt_file_trim(struct rt_file *f, uint64_t off, uint64_t len);

/* --- io queue: reads and writes that run meanwhile. submit does not wait for its
 * own I/O, but may for others' when too many are under way; more: another submit or a flush follows
 * soon, this one may wait for it. done(req) runs later on a thread of the machine's own, once per
 * request, in any order. req->res: bytes, or -errno. */
struct rt_io {
	struct rt_file *file;
	void *buf;
	size_t len;
	uint64_t off;
	bool write;
	int64_t res;
	void (*done)(struct rt_io *io);
};
int rt_ioq_open(struct rt_ioq *q);
void rt_ioq_close(struct rt_ioq *q); /* waits until the last done() has returned */
void rt_ioq_submit(struct rt_ioq *q, struct rt_io *io, bool more);
void rt_ioq_flush(struct rt_ioq *q);

/* --- failure: say where and stop. */
_Noreturn void rt_panic(const char *file, int line, const char *what);

#define ASSERT(c)                                                                                  \
	do {                                                                                       \
		if (!(c))                                                                          \
			rt_panic(__FILE__, __LINE__, #c);                                          \
	} while (0)

/* COVER(name) marks a rare branch; a machine that searches schedules counts them. */
#ifndef RT_COVER
#define RT_COVER(name) ((void)0)
#endif
#define COVER(name) RT_COVER(#name)

#ifdef RT_TAIL
#include RT_TAIL /* what a machine wraps around the calls above */
#endif

#endif
