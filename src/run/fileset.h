/* SPDX-License-Identifier: MIT */
/*
 * fileset.h - the files that were ever taken over.
 *
 * read() and write() on such a file go through quire, which knows whether it
 * still maps or caches it. The set only grows: a stale member costs one call
 * that passes straight to the kernel, a missing one would cost coherence.
 * No lock; a member is seen by everyone once fileset_add() has returned.
 */
#ifndef QUIRE_RUN_FILESET_H
#define QUIRE_RUN_FILESET_H

#include <stdbool.h>
#include <sys/stat.h>

void fileset_add(const struct stat *st);
bool fileset_has(const struct stat *st);

#endif
