/* SPDX-License-Identifier: MIT */
/* lock.h (native) - what the handler's entry must do about RCU. */
#ifndef RT_NATIVE_LOCK_H
#define RT_NATIVE_LOCK_H

#include <stdbool.h>

/* rt_native_thread_new - register this thread with RCU if it is not. True: it was done
 * now, and the signal mask let glibc's own signals through: set it again. */
bool rt_native_thread_new(void);

#endif
