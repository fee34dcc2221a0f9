/* SPDX-License-Identifier: MIT */
/* user.h - a store of the program's own: quire_mmap_store(). */
#ifndef STORE_USER_H
#define STORE_USER_H

#include "quire/quire.h"
#include "store/store.h"

/* store_user_open - ops and ctx stay the caller's and outlive the store. 0 or -errno. */
int store_user_open(const struct quire_store_ops *ops, void *ctx, uint64_t length,
		    struct store **out);

#endif
