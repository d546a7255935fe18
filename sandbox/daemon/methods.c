#include "daemon/methods.h"

#include "spec/spec.h"
#include "wire/spawn.h"

#include <string.h>

enum { MAX_ID = 128, MAX_WAIT_MS = 900000, MAX_LEASE_MS = 3600000, MAX_CELLS = 4096, MAX_FORK = 256, MAX_TRACE = 255 };

/* ---- Forms of texts ---- */

static bool made_of(const char *s, size_t len, const char *beside_alnum)
{
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
		      strchr(beside_alnum, s[i])))
			return false;
	return len > 0;
}

static bool is_name(const char *s, size_t len)
{
	return made_of(s, len, "-_");
}

static bool is_id(const char *s, size_t len)
{
	return made_of(s, len, "-_.:");
}

/* X-Amzn-Trace-Id's alphabet: printable, no control characters, nothing that ends a line. */
static bool is_printable(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	return true;
}

#define NAME(n, f, d)                                                                                            \
	{                                                                                                        \
		.name = n, .type = WIRE_STRING, .flags = f, .max_len = SPEC_MAX_NAME, .valid = is_name, .doc = d \
	}
#define ID(n, f, d)                                                                                     \
	{                                                                                               \
		.name = n, .type = WIRE_STRING, .flags = f, .max_len = MAX_ID, .valid = is_id, .doc = d \
	}
#define TEXT(n, f, d)                                                \
	{                                                            \
		.name = n, .type = WIRE_STRING, .flags = f, .doc = d \
	}
#define INT(n, f, d)                                              \
	{                                                         \
		.name = n, .type = WIRE_INT, .flags = f, .doc = d \
	}
#define BOUNDED(n, lo, hi, d)                                                                       \
	{                                                                                           \
		.name = n, .type = WIRE_INT, .flags = WIRE_OPTIONAL, .min = lo, .max = hi, .doc = d \
	}
#define BOOL(n, f, d)                                              \
	{                                                          \
		.name = n, .type = WIRE_BOOL, .flags = f, .doc = d \
	}
#define OBJ(n, f, d)                                                 \
	{                                                            \
		.name = n, .type = WIRE_OBJECT, .flags = f, .doc = d \
	}
#define FD(n, f, d)                                              \
	{                                                        \
		.name = n, .type = WIRE_FD, .flags = f, .doc = d \
	}
#define ENUM(n, f, e, d)                                                         \
	{                                                                        \
		.name = n, .type = WIRE_ENUM, .flags = f, .of_enum = e, .doc = d \
	}
#define STRUCT(n, f, s, d)                                                           \
	{                                                                            \
		.name = n, .type = WIRE_STRUCT, .flags = f, .of_struct = s, .doc = d \
	}
#define OPT WIRE_OPTIONAL

/* ---- Types ---- */

#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})
static const struct wire_enum states = {.values = VALUES("starting", "init", "idle", "busy", "paused", "ending")};
static const struct wire_enum kinds = {.values = VALUES("cold", "warm", "restored")};
static const struct wire_enum event_kinds = {.values = VALUES("deployed", "undeployed", "started", "ready", "ended",
							      "called", "paused", "resumed", "snapshot", "exec")};
static const struct wire_enum wishes = {.values = VALUES("no", "yes", "unseeded")};
static const struct wire_enum streams = {.values = VALUES("stdout", "stderr", "platform")};
static const struct wire_enum parts = {.values = VALUES("result", "data", "frames")};
static const struct wire_enum statuses = {.values = VALUES("success", "failure", "timeout", "error")};

/* clang-format off */
static const struct wire_struct payload = {
	.name = "Payload",
	.doc = "A body, by exactly one of its members.",
	.fields = WIRE_FIELDS(
		OBJ("json", OPT, "any JSON object; it is passed on in compact form"),
		TEXT("text", OPT, "any text without NUL, JSON of other types among it; passed on byte by byte"),
		TEXT("base64", OPT, "any bytes"),
		FD("fd", OPT, "index of a descriptor of the message: a memfd that is sealed against writing, growing and\n"
			      "shrinking; what stands in it from its beginning to its end")),
};
static const struct wire_struct phases = {
	.name = "Phases",
	.doc = "Where the time went, in microseconds.",
	.fields = WIRE_FIELDS(
		INT("queueUs", 0, "from the request to the beginning of the call"),
		INT("buildUs", OPT, "of a cold start: from asking for the cell until its first process was executed"),
		INT("initUs", OPT, "of a cold start: from there until the runtime was ready"),
		INT("restoreUs", OPT, "of a restored one: from asking for the cell until the hooks after the restore have run"),
		INT("thawUs", OPT, "thawing the cell"),
		INT("callUs", OPT, "from the event's sending until the answer")),
};
static const struct wire_struct usage = {
	.name = "Usage",
	.fields = WIRE_FIELDS(
		INT("durationUs", 0, "of the call"),
		INT("billedMs", 0, "the same, rounded up to milliseconds"),
		INT("memoryMb", 0, "the limit, in MB (2^20 bytes)"),
		INT("maxMemoryMb", OPT, "the most that the cell has used so far")),
};
static const struct wire_struct function = {
	.name = "Function",
	.fields = WIRE_FIELDS(
		NAME("name", 0, NULL), INT("owner", 0, "uid of who deployed it; names are each owner's own"),
		TEXT("digest", 0, "of the spec and of what its files are: equal ones are the same deployment"),
		OBJ("spec", 0, "as it was deployed"), TEXT("runtime", 0, "native, python, node or custom"),
		INT("provisioned", 0, NULL), INT("reserved", 0, NULL), INT("maxCells", 0, "0: no bound of its own"),
		INT("cells", 0, NULL), INT("idle", 0, NULL), INT("busy", 0, NULL), INT("queued", 0, NULL),
		INT("maxQueued", OPT, "so many calls wait at most: each for a cell that there is or may be"),
		INT("calls", 0, "that ended"), INT("failures", 0, "of these, not with success"),
		INT("rejected", 0, "calls that were refused for want of room"), INT("coldStarts", 0, NULL),
		INT("p50Us", 0, "of the last 512 calls"), INT("p99Us", 0, NULL),
		TEXT("snapshot", OPT, "id of the one that its cells are restored from")),
};
static const struct wire_struct cell = {
	.name = "Cell",
	.fields = WIRE_FIELDS(
		TEXT("id", 0, NULL), NAME("function", 0, NULL), INT("owner", 0, NULL), ENUM("state", 0, &states, NULL),
		ENUM("startKind", 0, &kinds, "how it came to be"), INT("createdMs", 0, "wall clock"),
		INT("pid", OPT, "of its first process, on the host"), TEXT("cgroup", OPT, "below the hierarchies' roots"),
		BOOL("leased", 0, NULL), INT("calls", 0, NULL),
		INT("execs", OPT, "commands that Exec has begun in it: somebody may have changed what is in it"), INT("memoryMb", 0, "the limit"),
		INT("usedMb", OPT, "in use now"), INT("maxMemoryMb", OPT, "the most that was in use"),
		INT("cpuUs", OPT, NULL), INT("processes", OPT, NULL)),
};
static const struct wire_struct clone = {
	.name = "Clone",
	.fields = WIRE_FIELDS(TEXT("cell", 0, NULL), TEXT("lease", 0, "for Invoke and Release; who has it has the cell")),
};
static const struct wire_struct event = {
	.name = "Event",
	.fields = WIRE_FIELDS(
		INT("cursor", 0, "rises; 0 in the cells that stand at the beginning of a subscription"), INT("timeMs", 0, NULL),
		ENUM("kind", 0, &event_kinds, NULL), NAME("function", 0, NULL), INT("owner", 0, NULL), TEXT("cell", OPT, NULL),
		TEXT("invocation", OPT, NULL), TEXT("status", OPT, "of a call; of a cell at the beginning, its state"),
		TEXT("detail", OPT, "why it ended; the call's error type; of exec, with the status begun who and what, with ended how")),
};
static const struct wire_struct chunk = {
	.name = "LogChunk",
	.fields = WIRE_FIELDS(
		INT("cursor", 0, NULL), INT("timeMs", 0, NULL), NAME("function", 0, NULL), TEXT("cell", 0, NULL),
		TEXT("invocation", OPT, NULL), ENUM("stream", 0, &streams, NULL),
		TEXT("text", 0, "as the function wrote it; bytes that are not UTF-8 are replaced by U+FFFD"),
		INT("dropped", 0, "chunks that are missing before this one")),
};

/* ---- Methods ---- */

static const struct wire_method methods[] = {
	{"Describe", "What this daemon is and can do.", NULL, WIRE_FIELDS(
		TEXT("vendor", 0, NULL), TEXT("version", 0, NULL), INT("apiLevel", 0, "rises with each addition to this interface"),
		TEXT("bootId", 0, "another one: no cell and no lease from before is there"),
		{.name = "features", .type = WIRE_STRING, .flags = WIRE_ARRAY}, INT("uid", 0, "who the caller is taken for"),
		TEXT("rule", 0, "which rule of the daemon's policy applies to the caller"), OBJ("limits", 0, "of the caller")),
	 0, 0, M_DESCRIBE},
	{"Capacity", "What is free at the moment, for the caller.", NULL, WIRE_FIELDS(
		INT("memoryFreeMb", 0, NULL), INT("memoryBudgetMb", 0, NULL), INT("cells", 0, "that are there"), INT("maxCells", 0, NULL),
		INT("queued", 0, "calls that wait"), INT("maxQueued", 0, NULL),
		{.name = "cpusBusy", .type = WIRE_FLOAT, .doc = "shares of the cells that run a call"}, INT("cpus", 0, NULL),
		{.name = "warm", .type = WIRE_INT, .flags = WIRE_MAP, .doc = "idle cells of the caller's functions, by name"}),
	 0, 0, M_CAPACITY},
	{"Deploy",
	 "Makes a function known, or changes it. The spec has the keys of `fsbox run --spec`. Files are named by path, which is\n"
	 "opened with the caller's own permission, or come as descriptors; then the paths in the spec are only names. The\n"
	 "same spec with the same files again changes nothing: created is false.", WIRE_FIELDS(
		NAME("name", 0, NULL), OBJ("spec", 0, NULL), FD("codeFd", OPT, "spec.target, opened for reading"),
		FD("layerFds", OPT | WIRE_ARRAY, "spec.layer, directories or zip archives"), FD("rootfsFd", OPT, "spec.rootfs"),
		BOUNDED("provisioned", 0, MAX_CELLS, "so many cells are kept past their init"),
		BOUNDED("reserved", 0, MAX_CELLS, "so many cells it may always have, and no more; 0: neither"),
		BOUNDED("maxCells", 0, MAX_CELLS, "0: as many as there is room for"),
		ENUM("snapshot", OPT, &wishes, "yes: one is made in the background, and cells are restored from it as soon as it is\n"
						"there; unseeded: even when what is in its memory cannot be reseeded. Default: no"),
		BOOL("replace", OPT, "take the place of what has this name; with the same spec and files only the numbers\n"
				     "change, and its cells stay. Otherwise AlreadyExists")), WIRE_FIELDS(
		TEXT("digest", 0, NULL), BOOL("created", 0, NULL)),
	 0, 16, M_DEPLOY},
	{"Undeploy", "Forgets a function. Calls that run end as they would; its idle cells are ended, and its leases.", WIRE_FIELDS(
		NAME("name", 0, NULL)), WIRE_FIELDS(BOOL("existed", 0, NULL)), 0, 0, M_UNDEPLOY},
	{"Scale", "Changes the numbers of a function; what is not named stays. Its cells stay.", WIRE_FIELDS(
		NAME("name", 0, NULL), BOUNDED("provisioned", 0, MAX_CELLS, "these and their values: as of Deploy"), BOUNDED("reserved", 0, MAX_CELLS, NULL),
		BOUNDED("maxCells", 0, MAX_CELLS, NULL)), WIRE_FIELDS(
		INT("provisioned", 0, NULL), INT("reserved", 0, NULL), INT("maxCells", 0, NULL)), 0, 0, M_SCALE},
	{"Functions", "The caller's functions, one in each answer. Without any, one answer without one.", WIRE_FIELDS(
		NAME("name", OPT, "only this one")), WIRE_FIELDS(STRUCT("function", OPT, &function, NULL)),
	 WIRE_MORE | WIRE_NEEDS_MORE, 0, M_FUNCTIONS},
	{"Acquire", "Takes a cell for the caller's calls alone, started if need be.", WIRE_FIELDS(
		NAME("function", 0, NULL), ID("requestToken", OPT, "the same one again within 60 s: the same lease"),
		BOUNDED("waitMs", 0, MAX_WAIT_MS, "default 60,000"),
		BOUNDED("leaseMs", 1, MAX_LEASE_MS, "the lease ends when it was not used for so long; default 60,000")), WIRE_FIELDS(
		TEXT("cell", 0, NULL), TEXT("lease", 0, "for Invoke and Release; who has it has the cell"),
		ENUM("startKind", 0, &kinds, NULL), STRUCT("phases", 0, &phases, NULL)), 0, 0, M_ACQUIRE},
	{"Release", "Gives a leased cell back.", WIRE_FIELDS(
		ID("lease", 0, NULL), BOOL("reuse", OPT, "default true; false: the cell is ended, after the call that runs in it")),
	 WIRE_FIELDS(BOOL("existed", 0, NULL)), 0, 0, M_RELEASE},
	{"Invoke",
	 "Runs the function once: in a warm cell, else in one that is started for it. A call that the function answers with an\n"
	 "error is answered here all the same, with status failure; errors of this interface mean that there is no result.\n"
	 "With \"upgrade\" and without parameters: nothing is run, and the connection carries frames from then on.", WIRE_FIELDS(
		NAME("function", OPT, "this or lease"), ID("lease", OPT, NULL),
		ID("invocation", OPT, "chosen by the client: the function runs at most once for it. The same one again attaches to\n"
				      "the running call, or gets its result for 60 s after the end; after that NotFound"),
		STRUCT("event", OPT, &payload, "default: the JSON object {}"),
		BOUNDED("deadlineMs", 1, MAX_WAIT_MS + 60000, "for all of it, waiting included. Default: the function's timeout and 60 s of waiting"),
		{.name = "traceId", .type = WIRE_STRING, .flags = OPT, .max_len = MAX_TRACE, .valid = is_printable},
		BOOL("cancelOnClose", OPT, "end the call when nobody waits for it any more"),
		BOOL("logs", OPT, "the answer has the last 4 KiB of what the function wrote"),
		BOOL("answerFd", OPT, "the answer's body comes as a sealed memfd"),
		BOOL("stream", OPT, "with more: the answer in parts, as it is written")), WIRE_FIELDS(
		ENUM("kind", 0, &parts, NULL), TEXT("invocation", 0, NULL), TEXT("cell", OPT, NULL), ENUM("status", OPT, &statuses, NULL),
		ENUM("startKind", OPT, &kinds, NULL), STRUCT("payload", OPT, &payload, "the answer, or the function's error document"),
		TEXT("errorType", OPT, NULL), TEXT("errorMessage", OPT, NULL), STRUCT("phases", OPT, &phases, NULL),
		STRUCT("usage", OPT, &usage, NULL), TEXT("log", OPT, NULL)), WIRE_MORE | WIRE_UPGRADE, 1, M_INVOKE},
	{"Cancel", "Ends a call, with its cell when it runs.", WIRE_FIELDS(ID("invocation", 0, NULL)),
	 WIRE_FIELDS(BOOL("existed", 0, NULL)), 0, 0, M_CANCEL},
	{"Pause", "Freezes an idle cell; it takes no calls until it is resumed, and does not end for being idle.",
	 WIRE_FIELDS(ID("cell", 0, NULL)), NULL, 0, 0, M_PAUSE},
	{"Resume", "Ends a pause.", WIRE_FIELDS(ID("cell", 0, NULL)), NULL, 0, 0, M_RESUME},
	{"Update", "Changes the limits of a cell that is there.", WIRE_FIELDS(
		ID("cell", 0, NULL), BOUNDED("memoryMb", SPEC_MIN_MEMORY_MB, WIRE_INT_MAX >> 20, "its CPU share follows"),
		BOUNDED("pids", SPEC_MIN_PIDS, SPEC_MAX_PIDS, NULL)), NULL, 0, 0, M_UPDATE},
	{"Kill", "Ends every process of a cell. A call that runs ends as a crash.", WIRE_FIELDS(ID("cell", 0, NULL)),
	 WIRE_FIELDS(BOOL("existed", 0, NULL)), 0, 0, M_KILL},
	{"Remove", "Ends a cell in good order, or cancels its call.", WIRE_FIELDS(ID("cell", 0, NULL)),
	 WIRE_FIELDS(BOOL("existed", 0, NULL)), 0, 0, M_REMOVE},
	{"Inspect", "One cell, as List has it.", WIRE_FIELDS(ID("cell", 0, NULL)), WIRE_FIELDS(STRUCT("cell", 0, &cell, NULL)), 0, 0, M_INSPECT},
	{"List", "The caller's cells, one in each answer. Without any, one answer without one.", WIRE_FIELDS(
		NAME("function", OPT, "only of this one")), WIRE_FIELDS(STRUCT("cell", OPT, &cell, NULL)),
	 WIRE_MORE | WIRE_NEEDS_MORE, 0, M_LIST},
	{"Stats", "Figures of the daemon and the caller's functions: once, or with more again and again.", WIRE_FIELDS(
		BOUNDED("everyMs", 100, 3600000, "default 1,000"), NAME("function", OPT, NULL)),
	 WIRE_FIELDS(OBJ("stats", 0, NULL)), WIRE_MORE, 0, M_STATS},
	{"Logs", "What functions wrote. Only what is kept: the newest 8 MiB of all functions together.", WIRE_FIELDS(
		NAME("function", OPT, NULL), ID("cell", OPT, NULL), BOUNDED("since", 0, WIRE_INT_MAX, "only what has a greater cursor; Lost when it is none of this daemon's"),
		BOOL("follow", OPT, "go on with what comes")), WIRE_FIELDS(STRUCT("chunk", OPT, &chunk, NULL)),
	 WIRE_MORE | WIRE_NEEDS_MORE, 0, M_LOGS},
	{"Subscribe", "Without since: first the cells that are there, as events with the cursor 0, then what happens. With it: what\n"
		      "happened after that cursor, or Lost when it is not kept any more.", WIRE_FIELDS(
		BOUNDED("since", 0, WIRE_INT_MAX, NULL)), WIRE_FIELDS(STRUCT("event", 0, &event, NULL)),
	 WIRE_MORE | WIRE_NEEDS_MORE, 0, M_SUBSCRIBE},
	{"Snapshot",
	 "Makes a snapshot of the function after its init, or finds the one that fits, and has its cells restored from it from now\n"
	 "on. What is a function's fault comes as SystemFailure with the function's error type.", WIRE_FIELDS(
		NAME("function", 0, NULL), BOOL("unseeded", OPT, "even when what is in its memory cannot be reseeded")), WIRE_FIELDS(
		TEXT("snapshot", 0, "its id"), INT("bytes", 0, "of memory in the image"), BOOL("created", 0, "false: it was there")),
	 0, 0, M_SNAPSHOT},
	{"Fork", "So many clones of the function's snapshot, for the caller's calls alone: all of them, or none. Without a snapshot\n"
		 "NotFound.", WIRE_FIELDS(
		NAME("function", 0, NULL), BOUNDED("cells", 1, MAX_FORK, "default 1"),
		BOUNDED("leaseMs", 1, MAX_LEASE_MS, "as of Acquire; default 60,000")), WIRE_FIELDS(
		{.name = "clones", .type = WIRE_STRUCT, .flags = WIRE_ARRAY, .of_struct = &clone}, INT("tookUs", 0, NULL)),
	 0, 0, M_FORK},
	{"Exec",
	 "Runs a command in a cell, for looking at what goes on there: as the cell's user, with its filter, limits and files, in a\n"
	 "small environment of its own. The answer comes when it has ended; with the connection it is ended, and with it all\n"
	 "that it has started. Meanwhile the cell takes no new call. Not for everybody: see docs/daemon-policy.md.", WIRE_FIELDS(
		ID("cell", 0, NULL),
		{.name = "argv", .type = WIRE_STRING, .flags = WIRE_ARRAY, .max_items = SPAWN_MAX_EXEC_ARGS,
		 .doc = "what is executed, by its path in the cell, or a name that is looked for along its PATH"},
		{.name = "env", .type = WIRE_STRING, .flags = OPT | WIRE_ARRAY, .max_items = SPAWN_MAX_EXEC_ENV, .doc = "KEY=VALUE"},
		{.name = "cwd", .type = WIRE_STRING, .flags = OPT, .max_len = SPAWN_MAX_PATH - 1, .doc = "absolute; default: the function's"},
		FD("stdinFd", OPT, "a file, pipe, socket or terminal, as the next two; default: the cell's /dev/null"),
		FD("stdoutFd", OPT, NULL), FD("stderrFd", OPT, NULL),
		BOOL("tty", OPT, "stdinFd is a terminal, is all three, and becomes the command's controlling terminal")), WIRE_FIELDS(
		INT("exitStatus", OPT, NULL), INT("signal", OPT, "that ended it, instead"), INT("durationUs", 0, NULL)), 0, 3, M_EXEC},
	{.name = NULL},
};

/* Beside each: whether the same call may be tried again. */
static const struct wire_error errors[] = {
	{"NotFound", "Do not retry.", WIRE_FIELDS(TEXT("what", 0, "function, cell, lease, invocation, snapshot, file, command or directory"), TEXT("id", 0, NULL))},
	{"AlreadyExists", "Treat sameSpec as success.", WIRE_FIELDS(TEXT("id", 0, NULL), BOOL("sameSpec", 0, NULL))},
	{"InvalidSpec", "Do not retry.", WIRE_FIELDS(TEXT("field", 0, NULL), TEXT("reason", 0, NULL), TEXT("hint", 0, NULL))},
	{"Denied", "Do not retry.", WIRE_FIELDS(TEXT("reason", 0, NULL), TEXT("rule", 0, "of the daemon's policy"))},
	{"Busy", "Retry here after retryAfterMs.", WIRE_FIELDS(INT("retryAfterMs", 0, NULL), INT("queueDepth", 0, NULL))},
	{"CapacityExhausted", "Retry on another node.", WIRE_FIELDS(
		TEXT("resource", 0, "cells, memory, cpu, functions, commands or descriptors; or cells, memory, functions, commands or\n"
				    "streams of figures of this user"), INT("wanted", 0, NULL), INT("free", 0, NULL))},
	{"TooLarge", "With the body in a memfd, or in frames.", WIRE_FIELDS(INT("maxBytes", 0, "of a message"))},
	{"DeadlineExceeded", "The caller decides: in the phase run it may have had effects.", WIRE_FIELDS(
		TEXT("phase", 0, "queue, start or run"), INT("ranMs", 0, NULL))},
	{"Unsupported", "Do not retry.", WIRE_FIELDS(TEXT("feature", 0, NULL), TEXT("reason", 0, NULL))},
	{"Cancelled", "It was asked for: by Cancel, Remove, the end of the connection with cancelOnClose; for a Deploy, by Undeploy.", NULL},
	{"Lost", "Begin again without since.", WIRE_FIELDS(INT("firstAvailable", 0, "the lowest since that misses nothing of what is kept"))},
	{"SlowConsumer", "Begin again after the cursor, and read faster.", WIRE_FIELDS(INT("cursor", 0, "the last one that was sent"))},
	{"InvalidFrame", "Do not retry; the connection is closed.", WIRE_FIELDS(TEXT("reason", 0, NULL))},
	{"SystemFailure", "Retry with back-off.", WIRE_FIELDS(TEXT("stage", 0, NULL), TEXT("reason", 0, NULL), TEXT("hint", 0, NULL))},
	{"InternalError", "Retry with back-off, and report it.", WIRE_FIELDS(TEXT("incident", 0, NULL))},
	{.name = NULL},
};

const struct wire_interface sandbox_interface = {
	.name = "org.fsbox.Sandbox",
	.doc = "Functions in cells. Sizes in MB are 2^20 bytes; times are milliseconds or microseconds as the names say, instants in\n"
	       "milliseconds since 1970. Members may be added to answers: clients ignore those that they do not know.",
	.structs = (const struct wire_struct *const[]){&payload, &phases, &usage, &function, &cell, &clone, &event, &chunk, NULL},
	.methods = methods,
	.errors = errors,
};
/* clang-format on */

bool methods_has(const char *name)
{
	return wire_find_method(&sandbox_interface, name, strlen(name)) != NULL;
}
