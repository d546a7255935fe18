/* fsbox logs, events: what functions print, and what happens to cells. */
#include "cli/client.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

/* One answer after the other to @take until it was the last. A daemon that ends a stream says why. */
typedef int take_fn(struct client *c, void *state, const struct client_reply *reply, struct err *e);

static int stream(struct client *c, const char *method, const struct buf *params, take_fn *take, void *state,
		  struct err *e)
{
	int r = client_send(c, method, params, true, NULL, 0, e);
	bool more = true;

	while (r == 0 && more) {
		struct client_reply reply;

		r = client_receive(c, &reply, e);
		if (r < 0)
			return r;
		more = reply.continues;
		r = take(c, state, &reply, e);
		client_reply_done(&reply);
	}
	return r;
}

static int print_json(struct client *c, const struct json *v, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};

	json_dump_to(&b, v);
	buf_puts(&b, "\n");
	return client_print(c, &b, e);
}

/* ---- logs ---- */

struct logs_args {
	struct client_args client; /* first */
	const char *since;         /* number, or NULL */
	bool follow;
	char cell[16]; /* of the chunk before */
	bool mid_line;
};

/* clang-format off */
static const struct opt logs_opt[] = {
	{ "follow", NULL,     OPT_FLAG, opt_set_flag,   offsetof(struct logs_args, follow), "go on with what comes", 'f' },
	{ "since",  "CURSOR", 0,        client_set_number, offsetof(struct logs_args, since),  "only what comes after that cursor", 0 },
};
/* clang-format on */
static const struct opt_table logs_opts = {logs_opt, ARRAY_LEN(logs_opt)};

/* The text as it was printed; what another cell says begins on a line of its own. */
static int print_chunk(struct client *c, struct logs_args *a, const struct json *chunk, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	const char *text = client_text(chunk, "text"), *cell = client_text(chunk, "cell");
	int64_t dropped = 0;
	size_t len;

	if (!text || !cell)
		return client_malformed(e, "its chunk has no text or no cell");
	len = strlen(text);
	if (client_int(chunk, "dropped", &dropped) && dropped > 0)
		(void)fprintf(stderr, "fsbox: output is missing here (dropped: %lld)\n", (long long)dropped);
	if (a->mid_line && strcmp(a->cell, cell) != 0)
		buf_puts(&b, "\n");
	buf_add(&b, text, len);
	(void)snprintf(a->cell, sizeof a->cell, "%s", cell);
	a->mid_line = len > 0 ? text[len - 1] != '\n' : a->mid_line;
	return client_print(c, &b, e);
}

static int take_chunk(struct client *c, void *state, const struct client_reply *reply, struct err *e)
{
	struct logs_args *a = state;
	const struct json *chunk = client_object(reply->params, "chunk");

	if (!chunk)
		return 0; /* the last answer has none */
	return a->client.json ? print_json(c, chunk, e) : print_chunk(c, a, chunk, e);
}

/* Cells are called by 12 hexadecimal digits, functions hardly ever. */
static bool is_cell(const char *name)
{
	return strlen(name) == 12 && strspn(name, "0123456789abcdef") == 12;
}

static int read_logs(struct client *c, struct logs_args *a, const char *key, const char *name, struct err *e)
{
	AUTO(buf_done) struct buf params = {0};

	params_text(&params, key, name);
	params_raw(&params, "since", a->since);
	params_raw(&params, "follow", a->follow ? "true" : NULL);
	params_end(&params);
	return stream(c, "Logs", &params, take_chunk, a, e);
}

static int logs(struct client *c, void *args, char **operands, struct err *e)
{
	struct logs_args *a = args;
	const char *name = operands[0];
	struct err first = {0};
	int r;

	if (!name || !is_cell(name))
		return read_logs(c, a, "function", name, e);
	r = read_logs(c, a, "cell", name, &first);
	if (first.kind == ERR_NOT_FOUND) {
		struct err second = {0};

		r = read_logs(c, a, "function", name, &second);
		if (second.kind != ERR_NOT_FOUND)
			first = second;
	}
	return first.kind == ERR_NONE ? r : err_adopt(e, &first);
}

static int logs_main(int argc, char **argv)
{
	struct logs_args a = {0};

	return client_run(&cmd_logs, argc, argv, &a, 0, 1, logs);
}

const struct command cmd_logs = {
	.name = "logs",
	.operands = "[-f] [options] [NAME|CELL]",
	.summary = "what functions have printed",
	.details =
		"Of a function, of one cell, or of all. The text is as it was printed; with --json each piece has its\n"
		"time, cell, stream, invocation and cursor. Old output is not kept for ever: what was dropped is told.\n\n"
		"Exit status: 0 success; 1 failed; 2 bad usage.\n",
	.tables = {&client_opts, &logs_opts},
	.n_tables = 2,
	.group = GROUP_DAEMON,
	.main = logs_main,
};

/* ---- events ---- */

struct events_args {
	struct client_args client; /* first */
	const char *since;         /* number, or NULL */
};

/* clang-format off */
static const struct opt events_opt[] = {
	{ "since", "CURSOR", 0, client_set_number, offsetof(struct events_args, since), "what came after that cursor, too", 0 },
};
/* clang-format on */
static const struct opt_table events_opts = {events_opt, ARRAY_LEN(events_opt)};

/* Text of somebody's making in a line for a terminal. */
static void add_clean(struct buf *b, const char *text)
{
	for (; *text; text++) {
		const bool control = (unsigned char)*text < 0x20 || *text == 0x7f;

		buf_add(b, control ? "?" : text, 1);
	}
}

static void add_time(struct buf *b, int64_t wall_ms)
{
	const time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;
	char date[40] = "?";

	if (wall_ms >= 0 && gmtime_r(&s, &tm))
		(void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(b, "%s.%03dZ", date, (int)(wall_ms >= 0 ? wall_ms % 1000 : 0));
}

static int take_event(struct client *c, void *state, const struct client_reply *reply, struct err *e)
{
	static const char *const more[] = {"invocation", "status", "detail"};
	const struct events_args *a = state;
	const struct json *event = client_object(reply->params, "event");
	const char *kind = client_text(event, "kind"), *function = client_text(event, "function");
	const char *cell = client_text(event, "cell");
	AUTO(buf_done) struct buf b = {0};
	int64_t ms;

	if (!event || !kind || !function || !client_int(event, "timeMs", &ms))
		return event || reply->continues ? client_malformed(e, "its event has no kind, function or time") : 0;
	if (a->client.json)
		return print_json(c, event, e);
	add_time(&b, ms);
	buf_puts(&b, "  ");
	add_clean(&b, kind);
	for (size_t n = strlen(kind); n < 10; n++)
		buf_puts(&b, " ");
	buf_puts(&b, "  ");
	add_clean(&b, function);
	buf_puts(&b, cell ? "  " : "");
	add_clean(&b, cell ? cell : "");
	for (size_t i = 0; i < ARRAY_LEN(more); i++) {
		const char *text = client_text(event, more[i]);

		if (!text)
			continue;
		buf_printf(&b, "  %s=", more[i]);
		add_clean(&b, text);
	}
	buf_puts(&b, "\n");
	return client_print(c, &b, e);
}

static int events(struct client *c, void *args, char **operands, struct err *e)
{
	const struct events_args *a = args;
	AUTO(buf_done) struct buf params = {0};

	(void)operands;
	params_raw(&params, "since", a->since);
	params_end(&params);
	return stream(c, "Subscribe", &params, take_event, args, e);
}

static int events_main(int argc, char **argv)
{
	struct events_args a = {0};

	return client_run(&cmd_events, argc, argv, &a, 0, 0, events);
}

const struct command cmd_events = {
	.name = "events",
	.operands = "[options]",
	.summary = "what happens to functions and cells, as it happens",
	.details =
		"First a line for each cell that is there, then one for each thing that happens, until interrupted. With\n"
		"--json each has its cursor; --since goes on where somebody stopped.\n\n"
		"Exit status: 0 the daemon ended it; 1 failed; 2 bad usage.\n",
	.tables = {&client_opts, &events_opts},
	.n_tables = 2,
	.group = GROUP_DAEMON,
	.main = events_main,
};
