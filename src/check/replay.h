/* SPDX-License-Identifier: MIT */
/* replay.h - replay() for those who look on: see explore.h. */
#ifndef CHECK_REPLAY_H
#define CHECK_REPLAY_H

#include "check/explore.h"

struct watch {
	/* The world stands, and its hooks in E are set: they may be wrapped. */
	void (*built)(void);
	/* A choice that is not the usual one. */
	void (*chose)(enum sim_choice kind, unsigned n, unsigned got);
};

/* replay_watched - as replay(); E.on_op, E.on_switch and E.on_note are the caller's. */
enum sim_status replay_watched(const struct schedule *s, struct schedule *exact, uint64_t *hash,
			       const struct watch *w);

#endif
