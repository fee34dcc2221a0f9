/* SPDX-License-Identifier: MIT */
/* fork.h (native) - what all address spaces share is whole in a child: RCU, arenas. */
#ifndef RT_NATIVE_FORK_H
#define RT_NATIVE_FORK_H

enum rt_fork { RT_FORK_PREPARE, RT_FORK_PARENT, RT_FORK_CHILD };

void rt_native_fork(enum rt_fork when);

#endif
