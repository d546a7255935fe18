/* Private to cell/: tables of mounts (proc_pid_mountinfo(5)). */
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <sys/types.h>

struct mounted {
	unsigned id;
	dev_t dev;         /* of the file system */
	const char *point; /* where, as seen by the process of the table */
	const char *type;
	bool peers; /* it hears of others' mounts, or tells of its own */
};
struct mounted_table {
	struct mounted *at;
	size_t n;
};

/* Of /proc/@pid/mountinfo; 0: of ourselves. Texts are in @a. */
NODISCARD int mounts_of(pid_t pid, struct arena *a, struct mounted_table *ret, struct err *e);
