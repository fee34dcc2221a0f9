/* SPDX-License-Identifier: MIT */
/*
 * anon.h - anonymous folios: one page each, one entry at most, and no file to go to.
 *
 * The entry (pgtable.h) and the folio's state say together where the content is:
 *
 *     entry          content                              who changes it
 *     none           zeros, no folio                      first touch: fault_anon.c
 *     same           one 32-bit word, over and over       anon_evict()
 *     present        in the view
 *     present|wp     in the view, and in the slot: clean  (or zeros, and no slot)
 *     idle           in folio->frame                      anon_idle_window(), a soft fault
 *     swap           in the slot; perhaps in the cache,   swap.h
 *                    BOUNCED in a buffer, or on its way
 *
 *     present --anon_idle_window--> idle --anon_evict--> idle, WRITEBACK --the write ends-->
 *     swap, and the folio is gone;  idle and clean goes at once.
 *
 * A folio is clean if it is not DIRTY: its content is that of its slot, or zeros if it has
 * none. Storing to it takes the slot away, because the next write shall go where its
 * neighbours go then. What is idle cannot change, so nothing is write-protected to be
 * written.
 *
 * Lock order: folio lock > anon_vma lock > pte lock > lru.lock, swap.lock, frames.lock.
 */
#ifndef CORE_ANON_H
#define CORE_ANON_H

#include "core/folio.h"
#include "core/pgtable.h"

struct mm;

/* anon_new - a folio, charged, locked, with one reference; NULL: over the budget. */
struct folio *anon_new(struct mm *mm);
/* anon_free - the last reference is gone. For folio_put() alone. */
void anon_free(struct mm *mm, struct folio *f);

/* anon_frame_release - the content is elsewhere, or not wanted: free the frame. drop: it is
 * still there. Needs: f locked, or nobody else's. */
void anon_frame_release(struct mm *mm, struct folio *f, bool drop);
/* anon_unbounce - free the buffer of f, if it has one. Needs: as above. */
void anon_unbounce(struct mm *mm, struct folio *f);
/* anon_set_dirty - f is about to be stored to: it gives up its slot. Needs: f locked. */
void anon_set_dirty(struct mm *mm, struct folio *f);
/* anon_entry_gone - an entry of anonymous memory, not none, is no more. Needs: the lock of
 * its table. */
void anon_entry_gone(struct mm *mm, pte_t e);

/*
 * anon_idle_window - reclaim's question whether f is used: what is mapped around it goes to
 * frames, in few calls, and whoever touches it comes back by a soft fault. locked: f is, by
 * the caller (always under design B). Never sleeps for a lock. Returns the pages.
 */
uint64_t anon_idle_window(struct mm *mm, struct folio *f, bool locked);
/* anon_idle_range - the same for [start, end): rights are about to be taken. What is pinned
 * or busy stays. Needs: a lock that keeps the VMA there, as the next two. */
uint64_t anon_idle_range(struct mm *mm, uint64_t start, uint64_t end);
/* anon_deactivate - what is in memory of [start, end) goes first. anon_pageout - it goes now,
 * but for what is pinned or busy; dirty pages when their write has ended. */
void anon_deactivate(struct mm *mm, uint64_t start, uint64_t end);
void anon_pageout(struct mm *mm, uint64_t start, uint64_t end);

/* anon_gather_idle - cold neighbours of f that are idle as well: locked, isolated, with a
 * reference. They are written side by side. Returns how many. Needs: f locked. */
unsigned anon_gather_idle(struct mm *mm, struct folio *f, struct folio **out, unsigned most);

/*
 * anon_evict - let go of f[0..n): each locked, isolated, idle or without an entry, with a
 * reference; all three are taken over. What must be written is: it goes when that ends.
 * Returns the pages freed now; *writing: how many go when their write ends.
 */
uint64_t anon_evict(struct mm *mm, struct folio **f, unsigned n, unsigned *writing);

/* anon_take_error - the errno of a write that failed for pages of v since it was asked
 * last; 0: none. */
int anon_take_error(struct vma *v);

#endif
