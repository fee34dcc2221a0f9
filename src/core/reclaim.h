/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - who stays in memory, and the pager that keeps some of it free.
 *
 * Two lists, newest first. A folio that is read enters `cold`, unless it was evicted
 * less than one budget of evictions ago (the ghost table knows): then it enters
 * `hot`, if there is room. What is at the old end of cold goes, so that neither a
 * scan (never read twice) nor a loop longer than the budget (the hot part of it
 * stays) drives out what is used.
 *
 * There is no accessed bit. Reclaim unmaps, by whole windows (one call for 2 MiB of
 * addresses: unmapping page by page costs 17-19 us each with a second thread), and
 * a folio that is used comes back by a soft fault, which sets FOLIO_REFERENCED:
 *
 *     cold, old end:  REFERENCED        -> hot, if there is room, else again cold
 *                     mapped, small     -> unmap its window, once more round (TESTED);
 *                                          but where few pages of the window are cached,
 *                                          evict it, and those of them that are cold too
 *                     mapped, TESTED or read by a stream -> unmap, evict
 *                     unmapped          -> evict
 *     hot, old end, one for each one evicted:
 *                     REFERENCED        -> again hot
 *                     unmapped for two budgets of evictions or more -> cold
 *                     mapped            -> unmap its window if that was not done for
 *                                          one budget of evictions; again hot
 *
 * How much room hot has: a window's unmapping is paid by the pages evicted from it,
 * so cold must be long enough for each window to collect some. Large folios are
 * their own window: all but a tenth of the budget may be hot. Small ones, scattered
 * over the file: half of it.
 *
 * Anonymous folios are on the same lists, by the same rules. Unmapped they are idle (anon.h);
 * a dirty one is written by reclaim itself, and goes when that ends.
 *
 * A folio that somebody refers to, has pinned, or that is dirty or under write-back,
 * goes once more round; the dirty ones are queued for writing.
 */
#ifndef CORE_RECLAIM_H
#define CORE_RECLAIM_H

#include "core/mm.h"

int reclaim_init(struct mm *mm);
void reclaim_fini(struct mm *mm);

/*
 * The pager starts to run when less than reclaim_low() is free and stops at
 * reclaim_high(). Both grow with every fault that finds nothing free, by up to a
 * sixteenth and an eighth of the budget, and shrink again by a 16th a tick: a few threads need
 * little, 256 can take a megabyte at once.
 */
uint64_t reclaim_low(struct mm *mm);
uint64_t reclaim_high(struct mm *mm);
void reclaim_reserve_grow(struct mm *mm);
void reclaim_reserve_decay(struct mm *mm); /* pager only */

void lru_add(struct mm *mm, struct folio *f);
/* lru_del - off its list; remember: into the ghost table. */
void lru_del(struct mm *mm, struct folio *f, bool remember);
/* lru_isolate - take f off its list, with a reference. False: it is on none. Needs: f
 * locked. */
bool lru_isolate(struct mm *mm, struct folio *f);
/* lru_return - back on a list, after reclaim has isolated it. lru_forget - off its list, if
 * it is on one. lru_remember_slot - what the slot has was evicted now. */
void lru_return(struct mm *mm, struct folio *f, bool hot);
void lru_forget(struct mm *mm, struct folio *f);
void lru_remember_slot(struct mm *mm, uint32_t slot);
/* lru_deactivate - next to go. */
void lru_deactivate(struct mm *mm, struct folio *f);

/* reclaim_round - try to free some pages. Returns the pages freed, and those whose write
 * has begun. Sleeps. Needs: no lock. */
uint64_t reclaim_round(struct mm *mm);
/* reclaim_direct - for a fault that found none free: until `pages` are, waiting for
 * write-back if it must. False: there is nothing more to free. Sleeps. Needs: no lock. */
bool reclaim_direct(struct mm *mm, uint64_t pages);

int pager_start(struct mm *mm);
void pager_stop(struct mm *mm);
void pager_kick(struct mm *mm);
void pager_kick_write(struct mm *mm); /* and write back */
/* pager_progress - memory or write-back moved on: wake who waits for that. */
void pager_progress(struct mm *mm);
/* pager_freed, pager_wait_freed - the same for pages: no more are woken than can have one. */
void pager_freed(struct mm *mm, uint64_t pages);
void pager_wait_freed(struct mm *mm, uint32_t seq);
/* pager_wait - until pager_progress() was called after seq was read, or 100 ms. */
void pager_wait(struct mm *mm, uint32_t seq);

#endif
