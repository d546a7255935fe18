/* Between the parts of the Telemetry API: subscribe.c takes subscriptions, telemetry.c makes records, deliver.c brings
 * them.
 *
 * A record is a line of JSON. A subscription's queue holds lines; a batch is taken off its front, at most max_items and
 * max_bytes of it, and stays in `out` until it is delivered. */
#pragma once

#include "runtime/api/api.h"

enum { MAX_SOURCES = MAX_EXTENSIONS + 1 /* programs whose output runs through here */ };

struct subscription {
	bool used, logs_api, tcp, post;
	unsigned types; /* enum telemetry_type */
	char name[MAX_NAME + 1], path[256];
	unsigned port;
	int64_t max_items, max_bytes, timeout_ms;
	struct bytes queue; /* lines */
	int64_t items;
	uint64_t since_ns; /* of the oldest in the queue */
	uint64_t dropped, dropped_bytes;
	int fd;              /* a delivery under way, or the open connection of TCP; -1 */
	struct bytes out;    /* the batch under way, or one that is to be tried again */
	size_t out_at;       /* bytes of it that are sent */
	int64_t out_items;   /* records in it */
	struct bytes in;     /* the listener's answer */
	uint64_t give_up_ns; /* when a delivery has taken too long */
	uint64_t retry_ns;   /* not before */
};

struct source {
	int fd[2];                    /* what a child writes to 1 and 2; -1 */
	char extension[MAX_NAME + 1]; /* "" for the runtime */
	struct bytes line[2];
};

struct telemetry {
	struct subscription subs[MAX_EXTENSIONS];
	struct source sources[MAX_SOURCES];
	size_t n_sources;
	struct bytes early; /* platform records of the init so far, for those who subscribe during it */
	int64_t early_items;
};

struct telemetry *telemetry_get(struct api *a);
/* Closes the connection and forgets what was to be sent over it. */
void deliver_cancel(struct subscription *s);
/* Begins what is due, whatever the time when @now; says when the next is due (CLOCK_MONOTONIC ns, UINT64_MAX: never). */
uint64_t deliver_begin(struct subscription *s, bool now);
void deliver_events(struct subscription *s, short events);
