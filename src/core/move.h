/* SPDX-License-Identifier: MIT */
/*
 * move.h - pages of anonymous memory go from one place to another, without a copy.
 *
 * What is in the view is moved by the machine; what is idle, swapped or `same` is an entry
 * of ours alone. A folio that moves belongs to the destination's anon_vma from then on, with
 * the index it has there: both change under its lock, and under design A with the source's
 * anon_vma locked for writing, so that no walker looks for it where it is not any more
 * (fault-path.md 1.2, 2a to 2c). A folio in the swap cache needs nothing: it belongs to no
 * anon_vma before it is mapped, and who maps it looks at the entry first (2f, 2g).
 */
#ifndef CORE_MOVE_H
#define CORE_MOVE_H

#include "core/mm.h"

/*
 * mm_move - the pages of [src, src+len) come to dst, where there are none.
 * holes: what is none at src is passed over, and counts as moved. *moved: bytes from the
 * front that are done, also on failure.
 * 0; -ENOENT: a hole (and not holes), or no mapping at src or dst; -EEXIST: there is a page
 * at dst; -EINVAL: a range is not in one mapping, or that is not anonymous, or cannot be
 * written; -EBUSY: a page is pinned, or the machine is at it; -ENOMEM. Sleeps. Needs: no lock.
 */
int mm_move(struct mm *mm, uint64_t dst, uint64_t src, uint64_t len, bool holes, uint64_t *moved);

/* move_pages - the same for VMAs that are there and right; pins move along. Needs: mmap_lock
 * for writing, both VMAs write-locked. -EBUSY where the source cannot be written, and a page is
 * pinned: the machine can move nothing there. */
int move_pages(struct mm *mm, struct vma *to, struct vma *from, uint64_t dst, uint64_t src,
	       uint64_t len, uint64_t *moved);

#endif
