/* SPDX-License-Identifier: MIT */
/* host.h - what a kernel and a user must allow for quire to work. */
#ifndef QUIRE_CLI_HOST_H
#define QUIRE_CLI_HOST_H

#include "base/size.h"
#include "quire/quire.h"

/*
 * The bit of uffd_features that came with UFFDIO_CONTINUE's MODE_WP, which has
 * none of its own. Named here, since Debian 12's header lacks it.
 */
#define HOST_WP_UNPOPULATED (1ull << 13)

/* host_refusal - the first thing that makes quire impossible, NULL if nothing. */
const char *host_refusal(const struct quire_probe *p);

/* host_least_budget - quire_memory_min(), up to a whole MiB: enough when typed. */
char *host_least_budget(char buf[SIZE_TEXT_MAX]);

#endif
