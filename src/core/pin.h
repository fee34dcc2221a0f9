/* SPDX-License-Identifier: MIT */
/*
 * pin.h - pages that are held mapped, for a system call; and faulting ranges in.
 *
 * A pin is counted in the page's entry and in its folio. While there is one, reclaim
 * neither unmaps the page nor evicts the folio, and write-back does not make a page
 * that was pinned for writing unwritable under the call: it is written again when the
 * pin goes. Unmapping the range drops its pins.
 */
#ifndef CORE_PIN_H
#define CORE_PIN_H

#include "core/mm.h"

/* mm_pin - 0; -EFAULT (rights, end of file, read error), -ENOMEM (budget). Bytes that
 * are in no VMA are skipped. Sleeps. */
int mm_pin(struct mm *mm, uint64_t addr, uint64_t len, bool write);
void mm_unpin(struct mm *mm, uint64_t addr, uint64_t len);
/* mm_populate - fault the range in without holding it; as mm_pin(). The reads are
 * started first, and run while the first pages are mapped. */
int mm_populate(struct mm *mm, uint64_t addr, uint64_t len, bool write);
/* mm_willneed - start reading the range. */
void mm_willneed(struct mm *mm, uint64_t addr, uint64_t len);
/* mm_deactivate - let the range go first; now: at once, if it is clean. */
void mm_deactivate(struct mm *mm, uint64_t addr, uint64_t len, bool now);

#endif
