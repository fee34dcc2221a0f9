/* SPDX-License-Identifier: MIT */
/* range.h (native) - addresses of our own, which no mapping of the program comes to. */
#ifndef RT_NATIVE_RANGE_H
#define RT_NATIVE_RANGE_H

#include <stddef.h>

/* rt_native_range_take - inaccessible, nothing is mapped there. NULL: there are none. */
void *rt_native_range_take(size_t pages);
/* rt_native_range_give - back; whatever is mapped there goes. */
void rt_native_range_give(void *p, size_t pages);

#endif
