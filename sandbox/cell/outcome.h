/* From what a session saw to what a caller is told: status, Lambda's error type and message, and the
 * exit status of `fsbox run`. */
#pragma once

#include "cell/invoke.h"

struct outcome {
	enum call_status status;
	int exit_status;
	char type[CHAN_MAX_TYPE + 1];
	struct buf message;
	struct buf document; /* the caller's, in the function's own words; may be empty */
	bool plain;          /* the message is the function's own */
	bool fatal;          /* the cell cannot serve another call */
	bool log;            /* the platform says it in the log, too */
};

void outcome_of_init(struct outcome *o, enum session_event ev, struct session *s, const char *policy);
void outcome_of_restore(struct outcome *o, enum session_event ev, struct session *s, const char *policy);
void outcome_of_call(struct outcome *o, enum session_event ev, struct session *s, const struct cell_spec *spec,
		     uint64_t deadline_ns, const char *policy);
void outcome_timed_out(struct outcome *o, const struct cell_spec *spec);
void outcome_done(struct outcome *o);
