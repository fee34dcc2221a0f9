/* SPDX-License-Identifier: MIT */
/*
 * writeback.h - from a dirty folio to the store, and what msync promises.
 *
 *     clean --folio_mark_dirty--> dirty --write_begin--> writeback (clean)
 *     writeback --done--> clean          writeback --failed--> dirty, error noted
 *     dirty again while under write-back: written again afterwards
 *
 * A write begins with the folio locked: its pages are write-protected in every view,
 * the dirty mark is taken off, the content is copied to a bounce buffer, WRITEBACK is
 * set, and the folio unlocked: the program writes on while the copy travels. A write
 * that fails marks the folio dirty again, notes the error in the mapping, and is
 * tried again after RETRY_NS or by the next msync: a page is never silently clean.
 *
 * Dirty folios are on a stack of their mapping, which holds a reference. A write-out
 * takes the stack, sorts by index, and writes neighbours in one request.
 *
 * msync: write what is dirty in the range, wait for every write of this mapping that
 * began before, sync the store, report the error noted since the last report.
 *
 * A sync of the store that fails is told once: Linux takes for clean what it could not
 * make durable, and the next one succeeds. So whatever was written since the last good
 * one is made dirty again; which that is, the folios say by the era they were written in.
 * What is not cached any more cannot be written again: then msync fails for good.
 */
#ifndef CORE_WRITEBACK_H
#define CORE_WRITEBACK_H

#include "core/mm.h"

/* folio_mark_dirty - page `index` of f is about to be written. Needs: f locked. */
void folio_mark_dirty(struct mm *mm, struct folio *f, uint64_t index);

/* writeback_throttle - wait while too much of the budget is dirty. Sleeps. Needs: no lock. */
void writeback_throttle(struct mm *mm);
/* writeback_failing - did a write fail within the last seconds? What is dirty then does
 * not come clean by waiting. */
bool writeback_failing(struct mm *mm);
/* writeback_some - start writing, for reclaim. Does not wait. */
void writeback_some(struct mm *mm);
/* writeback_background - what is old, too much, or of an idle mapping. Pager only. */
void writeback_background(struct mm *mm);
/* writeback_sync - msync of pages [index, end): 0, or the error. wait: MS_SYNC.
 * Sleeps. Needs: m held or a view of it kept, no lock. */
int writeback_sync(struct mapping *m, uint64_t index, uint64_t end, bool wait);
/* writeback_push - the same without the barrier: the store has the bytes, or an error is
 * returned, which msync still reports. */
int writeback_push(struct mapping *m, uint64_t index, uint64_t end);
/* writeback_all - every mapping, and wait. The first error. */
int writeback_all(struct mm *mm);
/* writeback_pending - is anything dirty or being written? */
bool writeback_pending(struct mapping *m);

/* folio_note_written - the content of f has reached the store, by a write of ours or the
 * program's. Needs: f under write-back, or locked. */
void folio_note_written(struct mapping *m, struct folio *f);
/* folio_written_in - the era in which it last did; 0: not since it was read. */
uint64_t folio_written_in(const struct mapping *m, const struct folio *f);
/* writeback_note_gone - what was written in that era is not cached any more. Needs:
 * m->slots_lock. */
void writeback_note_gone(struct mapping *m, uint64_t era);

/* writeback_forget - f leaves the mapping, and its content is nothing to keep. Needs: f
 * locked, not under write-back. */
void writeback_forget(struct folio *f);
/* writeback_drop_queue - let go of the stack. Needs: nobody else uses m. */
void writeback_drop_queue(struct mapping *m);

#endif
