/* fsbox stats: the numbers as fsboxd gives them. They are shown by their shape and not by their names, so that what a newer
 * daemon counts is shown, too. */
#include "cli/client.h"

#include "cli/table.h"

#include <stdio.h>

enum { MAX_COLUMNS = 16 };

static void add_scalar(struct table *t, const struct json *v)
{
	AUTO(buf_done) struct buf b = {0};

	if (v && json_type_of(v) == JSON_STRING) {
		table_add(t, json_string_get(v, NULL));
		return;
	}
	if (v && json_type_of(v) != JSON_NULL)
		json_dump_to(&b, v);
	table_add(t, b.data);
}

static bool is_rows(const struct json *v)
{
	return json_type_of(v) == JSON_ARRAY && json_length(v) > 0 && json_type_of(json_at(v, 0)) == JSON_OBJECT;
}

/* ---- Names and values ---- */

struct pairs {
	struct table t;
	const char *prefix; /* "latency." */
};

static int add_pair(const char *key, const struct json *v, void *arg)
{
	struct pairs *p = arg;
	const char *prefix = p->prefix;
	char name[160];

	if (is_rows(v))
		return 0; /* a table of its own */
	(void)snprintf(name, sizeof name, "%s%s", prefix, key);
	if (json_type_of(v) == JSON_OBJECT && strlen(name) + 2 < sizeof name && json_length(v) > 0) {
		char inner[sizeof name + 1];

		(void)snprintf(inner, sizeof inner, "%s.", name);
		p->prefix = inner;
		(void)json_each(v, add_pair, p); /* as deep as a document may be */
		p->prefix = prefix;
		return 0;
	}
	table_add(&p->t, name);
	add_scalar(&p->t, v);
	return 0;
}

/* ---- Arrays of objects: the first one's members are the columns ---- */

struct columns {
	const char *keys[MAX_COLUMNS];
	size_t n;
	uint32_t numbers;
};

static int add_column(const char *key, const struct json *v, void *arg)
{
	struct columns *c = arg;
	enum json_type type = json_type_of(v);

	if (c->n == MAX_COLUMNS || type == JSON_OBJECT || type == JSON_ARRAY)
		return 0;
	if (type == JSON_INTEGER || type == JSON_REAL)
		c->numbers |= UINT32_C(1) << c->n;
	c->keys[c->n++] = key;
	return 0;
}

static int add_rows(const char *key, const struct json *v, void *arg)
{
	struct buf *out = arg;
	struct columns c = {.n = 0};
	struct table t;

	if (!is_rows(v))
		return 0;
	(void)json_each(json_at(v, 0), add_column, &c);
	t = (struct table){.columns = c.n, .right = c.numbers};
	for (size_t i = 0; i < c.n; i++)
		table_add(&t, c.keys[i]);
	for (size_t row = 0; row < json_length(v); row++)
		for (size_t i = 0; i < c.n; i++) {
			const struct json *one = json_at(v, row);

			add_scalar(&t, json_type_of(one) == JSON_OBJECT ? json_member(one, c.keys[i]) : NULL);
		}
	buf_puts(out, "\n");
	buf_puts(out, key);
	buf_puts(out, "\n");
	table_print(&t, out);
	return 0;
}

static int stats(struct client *c, void *args, char **operands, struct err *e)
{
	const struct client_args *a = args;
	AUTO(buf_done) struct buf params = {0}, out = {0};
	struct client_reply reply;
	const struct json *v;
	int r;

	params_text(&params, "function", operands[0]);
	params_end(&params);
	r = client_call(c, "Stats", &params, &reply, e);
	if (r < 0)
		return r;
	v = client_object(reply.params, "stats");
	if (!v) {
		r = client_malformed(e, "it has no stats");
	} else if (a->json) {
		json_dump_to(&out, v);
		buf_puts(&out, "\n");
	} else {
		struct pairs p = {.t = {.columns = 2, .right = 2}, .prefix = ""};

		(void)json_each(v, add_pair, &p);
		table_print(&p.t, &out);
		(void)json_each(v, add_rows, &out);
	}
	client_reply_done(&reply);
	return r < 0 ? r : client_print(c, &out, e);
}

static int stats_main(int argc, char **argv)
{
	struct client_args a = {0};

	return client_run(&cmd_stats, argc, argv, &a, 0, 1, stats);
}

const struct command cmd_stats = {
	.name = "stats",
	.operands = "[options] [NAME]",
	.summary = "the daemon's numbers, or a function's",
	.details = "Counters run from the daemon's start. `fsbox top` shows them as rates.\n\n"
		   "Exit status: 0 success; 1 failed; 2 bad usage.\n",
	.tables = {&client_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = stats_main,
};
