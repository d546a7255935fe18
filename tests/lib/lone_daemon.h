/* What fsboxd does with functions from before, without cells, clients and children: its own code, with a socket in the
 * place of fsbox-spawn. Each case is a process, because that code has one daemon.
 *
 * Its time runs LONE_FASTER as fast as ours, and by the linker (tools/daemon.mk) allocations, also those of SQLite, and
 * readings of the store fail when they are told to. The functions of main.c are here. */
#pragma once

#include "daemon/deployment.h"

enum { LONE_FASTER = 20, LONE_OWNER = 7, LONE_NUMBER = 5, LONE_OPENINGS = 16 };
#define LONE_SPEC "{\"target\": \"/f.so\"}"

extern struct lone {
	struct daemon d;
	char dir[64], path[96]; /* the store's */
	int spawn_end;          /* of the socket to fsbox-spawn */

	uint64_t allocations, fail_at; /* the first one after that was set: 1; 0: none fails */
	bool failed;
	int reading;  /* so many more rows are given before reading fails with EIO; -1: it does not */
	int going_on; /* so many functions fail for lack of memory when their files are to be looked at */

	unsigned opened; /* how often the store was opened again, and when */
	uint64_t opened_ns[LONE_OPENINGS];
	char began[256]; /* the names of functions whose files were to be looked at, with a blank behind each */
	char told[1024]; /* events: "+name " for deployed, "-name " for undeployed */
} lone;

/* Of the last case, in memory that its process shares. */
extern struct lone_result {
	int line;    /* what it returned */
	bool failed; /* an allocation was made to fail */
} * lone_result;

/* Runs one case in a process and a directory of its own. It returns 0, or the line of what is not as it should be, which is
 * a failed check then. */
void lone_run(int (*fn)(uint64_t), uint64_t arg);
#define WANT(cond)                       \
	do {                             \
		if (!(cond))             \
			return __LINE__; \
	} while (0)

/* ---- In a case ---- */

/* A file with functions of these names (NULL at the end), which are their digests as well, and this spec. */
bool lone_make_store(const char *file, const char *spec, const char *const *names);
bool lone_sql(const char *file, const char *text);
bool lone_write(const char *file, const char *text, size_t len);

bool lone_open(void); /* deploy_open_store() */
/* What fsbox-spawn hands over: the function @name. No descriptors come with it, as if there had been no room. */
int lone_hand_over(const char *name, uint32_t flags, uint32_t kept, struct err *e);
/* Has fsboxd said this to fsbox-spawn since the last look? */
bool lone_has_sent(enum spawn_word word);
/* Lets the daemon work until @done, at most so many seconds of its time. */
bool lone_work_until(bool (*done)(void), uint64_t most_s);
bool lone_never(void);
