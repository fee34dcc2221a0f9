/* SPDX-License-Identifier: MIT */
/* file.h - a store that is a file, by descriptor. */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include "store/store.h"

/* store_file_open - handle stays the caller's. (dev, ino) is the file's identity.
 * direct: past the machine's own cache where that works. 0 or -errno. */
int store_file_open(int handle, uint64_t dev, uint64_t ino, bool writable, bool direct,
		    struct store **out);
/* store_is_file - is s the file (dev, ino)? */
bool store_is_file(const struct store *s, uint64_t dev, uint64_t ino);

#endif
