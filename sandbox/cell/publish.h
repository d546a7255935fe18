/* Publishing a snapshot: init, the hooks before it, the dump, and the test that its clones differ. Nothing here prints. */
#pragma once

#include "cell/session.h"

enum { PUBLISH_INIT_MS = 130000, PUBLISH_HOOKS_MS = 10000 }; /* Lambda's */

struct publisher {
	struct cell_host *host; /* with an engine */
	const struct cell_spec *spec;
	const struct filter *base;
	const char *policy; /* for messages */
	const struct session_sink *sink;
	const struct snap_store *store;
	struct snap_key *key;
	int signal_fd;
	/* Out: how init and hooks went, when they are why it failed: Lambda's error type and the message. */
	char error_type[CHAN_MAX_TYPE + 1];
	uint64_t init_ns;
};

/* Makes a snapshot of a cell of its own. On success *ret is open. ERR_FUNCTION when the function's init or hooks failed,
 * ERR_UNSUPPORTED when an image cannot hold what the function holds or its clones would not differ, ERR_CANCELLED.
 * Nothing is left in the store then. */
NODISCARD int publish(struct publisher *p, struct snap *ret, struct err *e);

/* The same without a result: dumps and restores, and leaves nothing. */
NODISCARD int publish_try(struct publisher *p, struct err *e);

/* Can this process make and restore snapshots of the function? Raises its limit of open files for it. ERR_UNSUPPORTED. */
NODISCARD int publish_check(const struct cell_host *h, const struct cell_spec *s, struct err *e);
/* What its snapshot depends on (docs/snapshots.md). @host knows the code; @base and @after_init are its policy's
 * filters. */
NODISCARD int publish_key(struct snap_key *k, const struct snap_engine *en, const struct cell_host *host,
			  const struct cell_spec *s, const struct filter *base, const struct filter *after_init,
			  struct err *e);

/* ---- clone.c: for restores alone ---- */

/* Makes the host able to restore: its engine, and what earlier workers of this boot found out about the kernel. @en is
 * borrowed. */
void publish_use_engine(struct cell_host *h, const struct snap_engine *en);
/* Reads what is kept of @what ("criu", "criu-dump") when @kdat is empty. True when there was something. */
bool kdat_read(const struct cell_host *h, const char *what, struct buf *kdat);
/* Keeps what the last worker and the last dump found out, if it is news. Failing costs time only. */
void publish_keep_kdat(struct cell_host *h);

/* The first word to a clone of @snap: who it is. */
NODISCARD int clone_tell(struct session *s, const struct snap *snap, struct err *e);
/* The same for who leaves the conversation to somebody else: session_expect_restored(). Nothing has been written to the
 * channel yet. */
NODISCARD int clone_introduce(struct cell *c, const struct snap *snap, struct err *e);
