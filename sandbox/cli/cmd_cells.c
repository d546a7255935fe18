/* fsbox ps, functions, inspect, pause, resume, kill, rm, undeploy: what is there, and short words to it. */
#include "cli/client.h"

#include "base/clock.h"
#include "cli/table.h"

#include <stdio.h>

/* ---- Lists: answers one after the other, each with one member that may be null ---- */

struct listing {
	const char *method, *member; /* of the interface */
	const char *plural;          /* the key of the JSON document */
	const char *filter;          /* parameter that an operand goes to */
	void (*row)(struct table *t, const struct json *v);
	const char *const *heads;
	size_t columns;
	uint32_t right;
};

static void add_document(struct buf *b, size_t *n, const struct json *v)
{
	buf_puts(b, (*n)++ > 0 ? "," : "");
	json_dump_to(b, v);
}

static int list(struct client *c, const struct client_args *a, const struct listing *l, const char *name, struct err *e)
{
	AUTO(buf_done) struct buf out = {0}, params = {0};
	struct table t = {.columns = l->columns, .right = l->right};
	bool more = true;
	size_t n = 0;
	int r;

	params_text(&params, l->filter, name);
	params_end(&params);
	buf_printf(&out, a->json ? "{\"%s\":[" : "%.0s", l->plural);
	for (size_t i = 0; i < l->columns; i++)
		table_add(&t, l->heads[i]);
	r = client_send(c, l->method, &params, true, NULL, 0, e);
	while (r == 0 && more) {
		struct client_reply reply;
		const struct json *v;

		r = client_receive(c, &reply, e);
		more = r == 0 && reply.continues;
		v = r == 0 ? client_object(reply.params, l->member) : NULL;
		if (v && a->json)
			add_document(&out, &n, v);
		else if (v)
			l->row(&t, v);
		client_reply_done(&reply);
	}
	if (a->json)
		buf_puts(&out, "]}\n");
	table_print(&t, a->json ? &params : &out); /* the other is thrown away */
	return r < 0 ? r : client_print(c, &out, e);
}

static void add_number(struct table *t, const struct json *v, const char *key)
{
	int64_t n;

	if (client_int(v, key, &n))
		table_addf(t, "%lld", (long long)n);
	else
		table_add(t, NULL);
}

/* How long ago, in its largest unit. */
static void add_age(struct table *t, const struct json *v, const char *key)
{
	static const struct {
		int64_t s;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	int64_t then, age;

	if (!client_int(v, key, &then)) {
		table_add(t, NULL);
		return;
	}
	age = (int64_t)(clock_wall_ns() / NS_PER_S) - then / 1000;
	age = age > 0 ? age : 0; /* the clock may have been set back */
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (age >= units[i].s || units[i].s == 1) {
			table_addf(t, "%lld%c", (long long)(age / units[i].s), units[i].unit);
			return;
		}
}

static void cell_row(struct table *t, const struct json *v)
{
	int64_t us;

	table_add(t, client_text(v, "id"));
	table_add(t, client_text(v, "function"));
	table_addf(t, "%s%s", client_text(v, "state") ?: "-", client_bool(v, "leased") ? " (leased)" : "");
	table_add(t, client_text(v, "startKind"));
	add_age(t, v, "createdMs");
	add_number(t, v, "calls");
	add_number(t, v, "usedMb");
	add_number(t, v, "maxMemoryMb");
	add_number(t, v, "memoryMb");
	if (client_int(v, "cpuUs", &us))
		table_addf(t, "%.2f", (double)us / 1e6);
	else
		table_add(t, NULL);
	add_number(t, v, "processes");
}

static int ps(struct client *c, void *args, char **operands, struct err *e)
{
	static const char *const heads[] = {"CELL", "FUNCTION", "STATE", "START", "AGE",      "CALLS",
					    "MB",   "MAX MB",   "OF MB", "CPU S", "PROCESSES"};
	static const struct listing cells = {
		.method = "List",
		.member = "cell",
		.plural = "cells",
		.filter = "function",
		.row = cell_row,
		.heads = heads,
		.columns = ARRAY_LEN(heads),
		.right = 0x7f0,
	};

	return list(c, args, &cells, operands[0], e);
}

static void function_row(struct table *t, const struct json *v)
{
	static const char *const numbers[] = {"cells",    "idle",        "busy",     "queued",  "calls",
					      "failures", "provisioned", "reserved", "maxCells"};

	const char *digest;

	table_add(t, client_text(v, "name"));
	table_add(t, client_text(v, "runtime"));
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		add_number(t, v, numbers[i]);
	digest = client_text(v, "digest") ?: "-";
	table_addf(t, "%.12s", strchr(digest, ':') ? strchr(digest, ':') + 1 : digest);
}

static int functions(struct client *c, void *args, char **operands, struct err *e)
{
	static const char *const heads[] = {"NAME",  "RUNTIME",  "CELLS",       "IDLE",     "BUSY", "QUEUED",
					    "CALLS", "FAILURES", "PROVISIONED", "RESERVED", "MAX",  "DIGEST"};
	static const struct listing all = {
		.method = "Functions",
		.member = "function",
		.plural = "functions",
		.filter = "name",
		.row = function_row,
		.heads = heads,
		.columns = ARRAY_LEN(heads),
		.right = 0x7fc,
	};

	return list(c, args, &all, operands[0], e);
}

/* ---- One word to one thing, or to several ---- */

struct word {
	const char *method, *key;
	const char *what; /* what may not have been there, NULL when that is an error */
};

static int say(struct client *c, bool json, const struct word *w, const char *id, struct err *e)
{
	AUTO(buf_done) struct buf params = {0}, out = {0};
	struct client_reply reply;
	int r;

	params_text(&params, w->key, id);
	params_end(&params);
	r = client_call(c, w->method, &params, &reply, e);
	if (r < 0)
		return r;
	if (json && reply.params)
		json_dump_to(&out, reply.params);
	else if (json)
		buf_puts(&out, "{}");
	else if (w->what && !client_bool(reply.params, "existed"))
		(void)fprintf(stderr, "fsbox: there was no %s '%s'\n", w->what, id);
	client_reply_done(&reply);
	if (json)
		buf_puts(&out, "\n");
	return client_print(c, &out, e);
}

/* The first failure is told and ends it: what comes after has not been tried, and can be asked for again. */
static int say_all(struct client *c, void *args, char **operands, const struct word *w, struct err *e)
{
	const struct client_args *a = args;
	int r = 0;

	for (; *operands && r == 0; operands++)
		r = say(c, a->json, w, *operands, e);
	return r;
}

static int pause_cells(struct client *c, void *args, char **operands, struct err *e)
{
	return say_all(c, args, operands, &(struct word){"Pause", "cell", NULL}, e);
}

static int resume_cells(struct client *c, void *args, char **operands, struct err *e)
{
	return say_all(c, args, operands, &(struct word){"Resume", "cell", NULL}, e);
}

static int kill_cells(struct client *c, void *args, char **operands, struct err *e)
{
	return say_all(c, args, operands, &(struct word){"Kill", "cell", "cell"}, e);
}

static int remove_cells(struct client *c, void *args, char **operands, struct err *e)
{
	return say_all(c, args, operands, &(struct word){"Remove", "cell", "cell"}, e);
}

static int undeploy(struct client *c, void *args, char **operands, struct err *e)
{
	return say_all(c, args, operands, &(struct word){"Undeploy", "name", "function"}, e);
}

static int inspect_one(struct client *c, const char *id, struct err *e)
{
	AUTO(buf_done) struct buf params = {0}, out = {0};
	struct client_reply reply;
	const struct json *cell;
	int r;

	params_text(&params, "cell", id);
	params_end(&params);
	r = client_call(c, "Inspect", &params, &reply, e);
	if (r < 0)
		return r;
	cell = client_object(reply.params, "cell");
	if (cell)
		json_dump_to(&out, cell);
	client_reply_done(&reply);
	if (!cell)
		return client_malformed(e, "it has no cell");
	buf_puts(&out, "\n");
	return client_print(c, &out, e);
}

static int inspect(struct client *c, void *args, char **operands, struct err *e)
{
	int r = 0;

	(void)args; /* it is JSON anyway */
	for (; *operands && r == 0; operands++)
		r = inspect_one(c, *operands, e);
	return r;
}

/* ---- The commands ---- */

#define CLIENT_COMMAND(id, min, max, act)                                          \
	static int id##_main(int argc, char **argv)                                \
	{                                                                          \
		struct client_args a = {0};                                        \
                                                                                   \
		return client_run(&cmd_##id, argc, argv, &a, (min), (max), (act)); \
	}

CLIENT_COMMAND(ps, 0, 1, ps)
CLIENT_COMMAND(functions, 0, 1, functions)
CLIENT_COMMAND(inspect, 1, -1, inspect)
CLIENT_COMMAND(pause, 1, -1, pause_cells)
CLIENT_COMMAND(resume, 1, -1, resume_cells)
CLIENT_COMMAND(kill, 1, -1, kill_cells)
CLIENT_COMMAND(rm, 1, -1, remove_cells)
CLIENT_COMMAND(undeploy, 1, -1, undeploy)

#define STATUS "Exit status: 0 success; 1 failed; 2 bad usage.\n"
#define CELLS  "CELL is a cell's id, as `fsbox ps` lists them.\n\n"

const struct command cmd_ps = {
	.name = "ps",
	.operands = "[options] [FUNCTION]",
	.summary = "list the daemon's cells",
	.details =
		"A line for each cell: its id, function, state (starting, init, idle, busy, paused, ending), how it was\n"
		"started, its age, calls, memory in MB now, at most and allowed, CPU time in seconds, processes.\n\n" STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = ps_main,
};

const struct command cmd_functions = {
	.name = "functions",
	.operands = "[options] [NAME]",
	.summary = "list the functions that are deployed",
	.details =
		"A line for each function: runtime, cells and how many of them are idle or busy, calls that wait, calls\n"
		"and failures so far, provisioned and reserved cells, the most cells it may have, its digest.\n\n" STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = functions_main,
};

const struct command cmd_inspect = {
	.name = "inspect",
	.operands = "[options] CELL...",
	.summary = "all that is known of cells, as JSON",
	.details = CELLS STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = inspect_main,
};

const struct command cmd_pause = {
	.name = "pause",
	.operands = "[options] CELL...",
	.summary = "freeze cells",
	.details = CELLS STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = pause_main,
};

const struct command cmd_resume = {
	.name = "resume",
	.operands = "[options] CELL...",
	.summary = "thaw cells",
	.details = CELLS STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = resume_main,
};

const struct command cmd_kill = {
	.name = "kill",
	.operands = "[options] CELL...",
	.summary = "end cells at once, with the call in them",
	.details = CELLS "A cell that is not there any more is no failure.\n\n" STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = kill_main,
};

const struct command cmd_rm = {
	.name = "rm",
	.operands = "[options] CELL...",
	.summary = "end cells in good order",
	.details = CELLS "A cell that is not there any more is no failure.\n\n" STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = rm_main,
};

const struct command cmd_undeploy = {
	.name = "undeploy",
	.operands = "[options] NAME...",
	.summary = "remove functions and their cells",
	.details = "A function that is not there is no failure.\n\n" STATUS,
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = undeploy_main,
};
