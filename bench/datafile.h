/* SPDX-License-Identifier: MIT */
/* datafile.h - the file that is measured: make it, check it, read it directly. */
#ifndef BENCH_DATAFILE_H
#define BENCH_DATAFILE_H

#include <stddef.h>
#include <stdint.h>

/* Write a file of size bytes (a multiple of 1 MiB), every block allocated. */
void datafile_make(const char *path, uint64_t size);

/*
 * Read all of it from the device and compare every word. *wrong: pages that are
 * not what pattern.h says. *writes: the sum of the pages' write counts.
 */
void datafile_check(const char *path, uint64_t size, uint64_t *wrong, uint64_t *writes);

/*
 * Read [0, size) of fd in order with O_DIRECT through io_uring: depth requests
 * of block bytes in flight. each(arg, first page, data, pages) sees every block,
 * in the order of completion.
 */
void datafile_scan(int fd, uint64_t size, size_t block, unsigned int depth,
		   void (*each)(void *arg, uint64_t page, const uint64_t *data, size_t pages),
		   void *arg);

/* The same with writes of what pattern.h says, all over again. */
void datafile_write(int fd, uint64_t size, size_t block, unsigned int depth);

/* An each() for datafile_scan(): adds the wrong pages to *(uint64_t *)arg. */
void datafile_compare(void *arg, uint64_t page, const uint64_t *data, size_t pages);

#endif
