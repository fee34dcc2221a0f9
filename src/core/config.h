/* SPDX-License-Identifier: MIT */
/*
 * config.h - every size and limit of the core, in one place.
 *
 * Tests shrink them with -D so that the rare becomes common.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "rt/rt.h"

#ifndef CONFIG_READ_ORDER_MAX
/* The largest folio, and readahead request: 1 MiB. At 2 MiB a sequential pass ran at 1.1
 * GB/s instead of 1.5: the last copy out of the bounce buffer is waited for. */
#define CONFIG_READ_ORDER_MAX 8
#endif
#ifndef CONFIG_PTES_SHIFT
#define CONFIG_PTES_SHIFT 9 /* pages under one table: 2 MiB */
#endif
#ifndef CONFIG_WAIT_BUCKETS
#define CONFIG_WAIT_BUCKETS 256
#endif
#ifndef CONFIG_MAP_BATCH
#define CONFIG_MAP_BATCH 256 /* folios that one fault-around holds locked */
#endif
#ifndef CONFIG_RECLAIM_BATCH
#define CONFIG_RECLAIM_BATCH 64 /* folios that one round of reclaim holds locked */
#endif
#ifndef CONFIG_SPARSE_WINDOW
#define CONFIG_SPARSE_WINDOW 16 /* cached pages of a window that are evicted untested */
#endif
#ifndef CONFIG_WRITE_BATCH
#define CONFIG_WRITE_BATCH 1024 /* dirty folios sorted at once */
#endif
#ifndef CONFIG_STREAMS
#define CONFIG_STREAMS 8 /* sequential readers told apart in one VMA */
#endif
#ifndef CONFIG_RUN_PAGES
#define CONFIG_RUN_PAGES 256 /* one write is at most this, and its list fits a page: 1 MiB */
#endif
#ifndef CONFIG_LATER
#define CONFIG_LATER 16 /* MADV_WILLNEED ranges that the pager still reads */
#endif
#ifndef CONFIG_STALLS_MAX
#define CONFIG_STALLS_MAX 1000 /* rounds of direct reclaim before a fault gives up */
#endif

#ifndef CONFIG_ORDER_SHARE
#define CONFIG_ORDER_SHARE 64 /* a folio is at most this part of the budget */
#endif
#ifndef CONFIG_WINDOW_CLOCKS_SHIFT
#define CONFIG_WINDOW_CLOCKS_SHIFT 13 /* windows whose last unmapping is remembered, hashed */
#endif
#ifndef CONFIG_BOUNCE_RESERVE
#define CONFIG_BOUNCE_RESERVE 32 /* buffers that only faults may take */
#endif
#ifndef CONFIG_REAP_AFTER
#define CONFIG_REAP_AFTER 64 /* retired VMAs and indexes before a grace period is worth it */
#endif
#ifndef CONFIG_IDLE_ROUNDS
#define CONFIG_IDLE_ROUNDS 16 /* of reclaim, beyond what turns the lists over */
#endif
#ifndef CONFIG_RETRY_MS
#define CONFIG_RETRY_MS 1000 /* until a write that failed is tried again */
#endif
#ifndef CONFIG_PIN_TRIES
#define CONFIG_PIN_TRIES 1000 /* faults before a pin gives up: each came undone at once */
#endif
#ifndef CONFIG_MAP_ROOM
#define CONFIG_MAP_ROOM 16 /* pages, for the metadata of one more mapping */
#endif
#ifndef CONFIG_TOUCH_PAGES
#define CONFIG_TOUCH_PAGES 64 /* anonymous pages that one fault maps, at most */
#endif
#ifndef CONFIG_DULL
#define CONFIG_DULL 32 /* see worth_a_look() */
#endif
#ifndef CONFIG_FRAMES
/* Frames in the pool, for a budget of so many pages: a frame is an address, and stretches
 * must be found. */
#define CONFIG_FRAMES(pages) (4 * (pages) + 4096)
#endif
#ifndef CONFIG_STATS_SHARDS
#define CONFIG_STATS_SHARDS 16
#endif
#ifndef CONFIG_RADIX_SHIFT
#define CONFIG_RADIX_SHIFT 6
#endif
#ifndef CONFIG_SLAB_BYTES
#define CONFIG_SLAB_BYTES (16 << 10) /* what a slab grows by; page tables twice that */
#endif
#ifndef CONFIG_ROOM_MIN
#define CONFIG_ROOM_MIN (128ull << 10) /* of the budget kept for metadata, at least ... */
#define CONFIG_ROOM_MAX (1ull << 20)   /* ... and at most */
#endif
#ifndef CONFIG_LOW_MAX
#define CONFIG_LOW_MAX (1ull << 20) /* free, below which the pager runs; more if faults wait */
#endif
#ifndef CONFIG_COPY_FLOOR
#define CONFIG_COPY_FLOOR 64 /* frames that private copies leave to files, at least */
#endif

/* The least budget: bounce buffers, the first slabs, and some hundred frames. */
#define CONFIG_MEMORY_MIN (2ull << 20)

/* What the real machine pays beside the frame, and nobody else counts: a table of
 * the kernel's per table of ours, a node of the memfd's tree per node of ours. */
#ifndef CONFIG_HW_TABLE_BYTES
#define CONFIG_HW_TABLE_BYTES 4096
#define CONFIG_HW_NODE_BYTES  576
#endif

#define PTES        (1u << CONFIG_PTES_SHIFT)
#define TABLE_SHIFT (RT_PAGE_SHIFT + CONFIG_PTES_SHIFT)
#define TABLE_BYTES (1ull << TABLE_SHIFT)

#endif
