/* SPDX-License-Identifier: MIT */
/*
 * sigbus.h - SIGBUS: where a fault enters, and whose it is otherwise.
 *
 * rt_signal_open() installs the handler for the whole process and keeps what was
 * there. For each SIGBUS of the kernel's it asks `fault`:
 *     RT_FAULT_DONE     served: the access runs again
 *     RT_FAULT_FOREIGN  not ours: to the program's own handler or the default
 *     RT_FAULT_ERROR    ours, and it failed: likewise, with that address
 * Linux only: this is not part of the machine contract, the api layer calls it.
 */
#ifndef RT_NATIVE_SIGBUS_H
#define RT_NATIVE_SIGBUS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum rt_fault_verdict { RT_FAULT_DONE, RT_FAULT_FOREIGN, RT_FAULT_ERROR };

typedef enum rt_fault_verdict (*rt_fault_fn)(uintptr_t addr, bool write);

int rt_signal_open(rt_fault_fn fault);
/* sigaction(2) on what the program believes to be the action of SIGBUS. */
int rt_signal_action(const struct sigaction *act, struct sigaction *old);

/* Held over a fork: a child may install and ask too. */
void rt_signal_lock(void);
void rt_signal_unlock(void);

#endif
