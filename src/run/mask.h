/* SPDX-License-Identifier: MIT */
/*
 * mask.h - SIGBUS stays deliverable, whatever the program asks.
 *
 * A fault on managed memory arrives as SIGBUS, and the kernel kills a process
 * that faults while SIGBUS is blocked. Programs that block "all signals" in
 * their threads do not mean that. So every mask that passes through here loses
 * SIGBUS on its way to the kernel, and gets it back when the program reads it:
 *
 *     what the kernel has  =  what the program set  -  SIGBUS
 *     what the program reads  =  what the kernel has  +  SIGBUS if it set that
 *
 * The program's wish is one bit per thread, inherited by pthread_create().
 * Masks that libc saves and restores by itself (sigsetjmp, getcontext) do not
 * carry the bit.
 */
#ifndef QUIRE_RUN_MASK_H
#define QUIRE_RUN_MASK_H

/*
 * mask_hand_on - for exec(): the next program inherits what this one has set.
 * mask_take_back - when exec() has failed.
 */
void mask_hand_on(void);
void mask_take_back(void);

/* mask_start - from the constructor: adopt the mask that exec() left us. */
void mask_start(void);

#endif
