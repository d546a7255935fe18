/* fsbox top: functions and cells, live. Fsboxd's Stats come over one connection in their rhythm; with each of them a second
 * one asks for what is free. Rates are differences between two such moments. */
#include "cli/client.h"

#include "base/clock.h"
#include "base/fd.h"
#include "cli/table.h"
#include "cli/terminal.h"

#include <poll.h>
#include <stdio.h>

enum { MAX_ROWS = 512 };

struct top_args {
	struct client_args client; /* first */
	uint64_t interval_ns;
};

static int set_interval(void *args, const struct opt *o, const char *value, struct err *e)
{
	struct top_args *a = args;

	if (!parse_seconds(value, &a->interval_ns) || a->interval_ns < 100 * NS_PER_MS ||
	    a->interval_ns > 60 * NS_PER_S)
		return err_set(e, ERR_SPEC, 0, "--%s: expected seconds (0.1 to 60, decimals allowed), got '%s'",
			       o->name, value);
	return 0;
}

/* clang-format off */
static const struct opt opts[] = {
	{ "interval", "SECONDS", 0, set_interval, 0, "between two looks, decimals allowed (default 1)", 'd' },
};
/* clang-format on */
static const struct opt_table top_opts = {opts, ARRAY_LEN(opts)};

/* ---- A look ---- */

/* The counters of a function or a cell, and what was measured since the look before. -1: not known. */
struct row {
	char name[72], function[72], state[24];
	int64_t calls, failures, cold, cpu_us, used_mb, limit_mb, cells, idle, busy, queued, p50_us, p99_us;
	double calls_s, cpu;
};

struct look {
	uint64_t at_ns;
	int64_t max_cells, budget_mb, free_mb; /* of all owners together */
	struct row all;                        /* sums of what follows */
	struct row functions[MAX_ROWS], cells[MAX_ROWS];
	size_t n_functions, n_cells, all_cells;
	struct buf json; /* --json: the document */
};

static int64_t number(const struct json *v, const char *key)
{
	int64_t n;

	return client_int(v, key, &n) ? n : -1;
}

static void read_row(struct row *r, const struct json *v, const char *name_key)
{
	const char *name = client_text(v, name_key), *function = client_text(v, "function");
	const char *state = client_text(v, "state");

	*r = (struct row){
		.calls = number(v, "calls"),
		.failures = number(v, "failures"),
		.cold = number(v, "coldStarts"),
		.cpu_us = number(v, "cpuUs"),
		.used_mb = number(v, "usedMb"),
		.limit_mb = number(v, "memoryMb"),
		.cells = number(v, "cells"),
		.idle = number(v, "idle"),
		.busy = number(v, "busy"),
		.queued = number(v, "queued"),
		.p50_us = number(v, "p50Us"),
		.p99_us = number(v, "p99Us"),
		.calls_s = -1,
		.cpu = -1,
	};
	(void)snprintf(r->name, sizeof r->name, "%s", name ? name : "?");
	(void)snprintf(r->function, sizeof r->function, "%s", function ? function : "?");
	(void)snprintf(r->state, sizeof r->state, "%s", state ? state : "?");
}

static size_t read_rows(const struct json *stats, const char *key, const char *name_key, struct row *rows,
			size_t *ret_n)
{
	const struct json *v = json_member(stats, key);
	const size_t all = v && json_type_of(v) == JSON_ARRAY ? json_length(v) : 0;

	*ret_n = all < MAX_ROWS ? all : MAX_ROWS;
	for (size_t i = 0; i < *ret_n; i++)
		read_row(&rows[i], json_at(v, i), name_key);
	return all;
}

static int read_stats(struct look *l, const struct client_reply *reply, struct err *e)
{
	const struct json *v = client_object(reply->params, "stats");

	if (!v)
		return client_malformed(e, "it has no stats");
	l->at_ns = clock_mono_ns();
	(void)read_rows(v, "functions", "name", l->functions, &l->n_functions);
	l->all_cells = read_rows(v, "cells", "id", l->cells, &l->n_cells);
	buf_puts(&l->json, "{\"stats\":");
	json_dump_to(&l->json, v);
	return 0;
}

static int read_capacity(struct client *c, struct look *l, struct err *e)
{
	struct client_reply reply;
	int r = client_call(c, "Capacity", NULL, &reply, e);

	if (r < 0)
		return r;
	l->max_cells = number(reply.params, "maxCells");
	l->budget_mb = number(reply.params, "memoryBudgetMb");
	l->free_mb = number(reply.params, "memoryFreeMb");
	buf_puts(&l->json, ",\"capacity\":");
	if (reply.params)
		json_dump_to(&l->json, reply.params);
	else
		buf_puts(&l->json, "{}");
	buf_puts(&l->json, "}\n");
	client_reply_done(&reply);
	return 0;
}

/* ---- Rates and sums ---- */

static double rate(int64_t now, int64_t before, double seconds)
{
	return now >= 0 && before >= 0 && now >= before && seconds > 0 ? (double)(now - before) / seconds : -1;
}

static void set_rates(struct row *now, const struct row *before, double seconds)
{
	now->calls_s = rate(now->calls, before->calls, seconds);
	now->cpu = rate(now->cpu_us, before->cpu_us, seconds);
	if (now->cpu >= 0)
		now->cpu /= 1e4; /* from µs in a second to hundredths of a CPU */
}

static void rate_rows(struct row *now, size_t n, const struct row *before, size_t n_before, double seconds)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n_before; k++) {
			const struct row *b = &before[(i + k) % n_before]; /* mostly where it was */

			if (strcmp(now[i].name, b->name) == 0) {
				set_rates(&now[i], b, seconds);
				break;
			}
		}
}

static void add_known(int64_t *sum, int64_t v)
{
	if (v >= 0)
		*sum = (*sum < 0 ? 0 : *sum) + v;
}

static void add_rate(double *sum, double v)
{
	if (v >= 0)
		*sum = (*sum < 0 ? 0 : *sum) + v;
}

/* What cells use, to their functions; everything to the whole. */
static void add_up(struct look *l)
{
	struct row *all = &l->all;

	*all = (struct row){
		.calls = -1, .failures = -1, .used_mb = -1, .idle = -1, .busy = -1, .queued = -1, .cpu = -1};
	all->calls_s = -1;
	for (size_t i = 0; i < l->n_cells; i++) {
		const struct row *cell = &l->cells[i];

		for (size_t k = 0; k < l->n_functions; k++)
			if (strcmp(l->functions[k].name, cell->function) == 0) {
				add_known(&l->functions[k].used_mb, cell->used_mb);
				add_rate(&l->functions[k].cpu, cell->cpu);
			}
		add_known(&all->used_mb, cell->used_mb);
		add_rate(&all->cpu, cell->cpu);
	}
	for (size_t i = 0; i < l->n_functions; i++) {
		const struct row *f = &l->functions[i];

		add_known(&all->calls, f->calls);
		add_known(&all->failures, f->failures);
		add_known(&all->idle, f->idle);
		add_known(&all->busy, f->busy);
		add_known(&all->queued, f->queued);
		add_rate(&all->calls_s, f->calls_s);
	}
}

static int busiest_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->calls_s < y->calls_s || x->calls_s > y->calls_s)
		return x->calls_s < y->calls_s ? 1 : -1;
	if (x->cpu < y->cpu || x->cpu > y->cpu)
		return x->cpu < y->cpu ? 1 : -1;
	return strcmp(x->name, y->name);
}

static void finish_look(struct look *now, const struct look *before)
{
	const double seconds = before ? (double)(now->at_ns - before->at_ns) / 1e9 : 0;

	if (before) {
		rate_rows(now->functions, now->n_functions, before->functions, before->n_functions, seconds);
		rate_rows(now->cells, now->n_cells, before->cells, before->n_cells, seconds);
	}
	add_up(now);
	qsort(now->functions, now->n_functions, sizeof *now->functions, busiest_first);
	qsort(now->cells, now->n_cells, sizeof *now->cells, busiest_first);
}

/* ---- Drawing ---- */

static void add_count(struct table *t, int64_t v)
{
	if (v >= 0)
		table_addf(t, "%lld", (long long)v);
	else
		table_add(t, NULL);
}

static void add_fraction(struct table *t, double v)
{
	if (v >= 0)
		table_addf(t, "%.1f", v);
	else
		table_add(t, NULL);
}

static void add_us(struct table *t, int64_t us)
{
	if (us >= 0)
		table_addf(t, "%.2f", (double)us / 1e3);
	else
		table_add(t, NULL);
}

static void add_heads(struct table *t, const char *const *heads)
{
	for (size_t i = 0; i < t->columns; i++)
		table_add(t, heads[i]);
}

static void draw_all(struct buf *b, const struct look *l)
{
	static const char *const heads[] = {"CELLS",     "OF",    "IDLE",  "BUSY",    "QUEUED", "USED MB",
					    "LIMITS MB", "OF MB", "CPU %", "CALLS/S", "CALLS",  "FAILURES"};
	struct table t = {.columns = ARRAY_LEN(heads), .right = 0xfff};

	add_heads(&t, heads);
	add_count(&t, (int64_t)l->all_cells);
	add_count(&t, l->max_cells);
	add_count(&t, l->all.idle);
	add_count(&t, l->all.busy);
	add_count(&t, l->all.queued);
	add_count(&t, l->all.used_mb);
	add_count(&t, l->budget_mb >= 0 && l->free_mb >= 0 ? l->budget_mb - l->free_mb : -1);
	add_count(&t, l->budget_mb);
	add_fraction(&t, l->all.cpu);
	add_fraction(&t, l->all.calls_s);
	add_count(&t, l->all.calls);
	add_count(&t, l->all.failures);
	table_print(&t, b);
}

static void draw_functions(struct buf *b, const struct look *l)
{
	static const char *const heads[] = {"FUNCTION", "CELLS",    "BUSY", "QUEUED", "USED MB", "CPU %",
					    "CALLS/S",  "FAILURES", "COLD", "P50 MS", "P99 MS"};
	struct table t = {.columns = ARRAY_LEN(heads), .right = 0x7fe};

	add_heads(&t, heads);
	for (size_t i = 0; i < l->n_functions; i++) {
		const struct row *f = &l->functions[i];

		table_add(&t, f->name);
		add_count(&t, f->cells);
		add_count(&t, f->busy);
		add_count(&t, f->queued);
		add_count(&t, f->used_mb);
		add_fraction(&t, f->cpu);
		add_fraction(&t, f->calls_s);
		add_count(&t, f->failures);
		add_count(&t, f->cold);
		add_us(&t, f->p50_us);
		add_us(&t, f->p99_us);
	}
	buf_puts(b, "\n");
	table_print(&t, b);
}

static void draw_cells(struct buf *b, const struct look *l)
{
	static const char *const heads[] = {"CELL",  "FUNCTION", "STATE",   "USED MB",
					    "OF MB", "CPU %",    "CALLS/S", "CALLS"};
	struct table t = {.columns = ARRAY_LEN(heads), .right = 0xf8};

	add_heads(&t, heads);
	for (size_t i = 0; i < l->n_cells; i++) {
		const struct row *c = &l->cells[i];

		table_add(&t, c->name);
		table_add(&t, c->function);
		table_add(&t, c->state);
		add_count(&t, c->used_mb);
		add_count(&t, c->limit_mb);
		add_fraction(&t, c->cpu);
		add_fraction(&t, c->calls_s);
		add_count(&t, c->calls);
	}
	buf_puts(b, "\n");
	table_print(&t, b);
	if (l->all_cells > l->n_cells)
		buf_printf(b, "… and %zu more\n", l->all_cells - l->n_cells);
}

static void draw(struct buf *b, const struct look *l)
{
	draw_all(b, l);
	if (l->n_functions > 0)
		draw_functions(b, l);
	draw_cells(b, l);
}

/* ---- Running ---- */

struct top {
	const struct top_args *args;
	struct client *stats, other;
	struct terminal terminal;
	bool live; /* on a terminal, until told to end */
	struct look looks[2];
	size_t n;
};

static int print_look(struct top *t, const struct look *l, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};

	if (t->args->client.json) {
		buf_add(&b, l->json.data, l->json.len);
		return client_print(t->stats, &b, e);
	}
	draw(&b, l);
	if (t->live) {
		struct buf screen = {0};

		terminal_frame(&screen, b.data ? b.data : "");
		buf_done(&b);
		b = screen;
	}
	return client_print(t->stats, &b, e);
}

/* 1 when it was the last. Without a terminal one look is shown: the second, which has rates, if there is one. */
static int take_look(struct top *t, struct err *e)
{
	struct look *now = &t->looks[t->n % 2], *before = t->n > 0 ? &t->looks[(t->n + 1) % 2] : NULL;
	struct client_reply reply;
	bool last;
	int r = client_receive(t->stats, &reply, e);

	if (r < 0)
		return r;
	buf_done(&now->json);
	*now = (struct look){0};
	last = !reply.continues || (!t->live && t->n > 0);
	r = read_stats(now, &reply, e);
	client_reply_done(&reply);
	if (r == 0)
		r = read_capacity(&t->other, now, e);
	if (r < 0)
		return r;
	finish_look(now, before);
	t->n++;
	if (t->live || last)
		r = print_look(t, now, e);
	return r < 0 ? r : last;
}

/* 1 when a key says so. */
static int wait_turn(struct top *t, struct err *e)
{
	while (!client_has_answer(t->stats)) {
		struct pollfd p[3] = {{.fd = t->stats->fd, .events = POLLIN},
				      {.fd = t->stats->signal_fd, .events = POLLIN},
				      {.fd = t->live ? STDIN_FILENO : FD_NONE, .events = POLLIN}};

		if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
			return err_sys(e, errno, "waiting for fsboxd");
		if (p[1].revents)
			return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted");
		if (p[2].revents && terminal_quits())
			return 1;
		if (p[0].revents)
			break;
	}
	return 0;
}

static int watch(struct top *t, struct err *e)
{
	AUTO(buf_done) struct buf params = {0};
	int r;

	buf_printf(&params, "{\"everyMs\":%llu}", (unsigned long long)(t->args->interval_ns / NS_PER_MS));
	r = client_send(t->stats, "Stats", &params, true, NULL, 0, e);
	while (r == 0) {
		r = wait_turn(t, e);
		if (r == 0)
			r = take_look(t, e);
	}
	return r < 0 ? r : 0;
}

static int top(struct client *c, void *args, char **operands, struct err *e)
{
	struct top *t = calloc(1, sizeof *t);
	int r;

	(void)operands;
	if (!t)
		return err_oom(e);
	t->args = args;
	t->stats = c;
	r = client_open(&t->other, c->path, e);
	t->other.signal_fd = c->signal_fd;
	t->live = r == 0 && !t->args->client.json && terminal_open(&t->terminal);
	if (r == 0)
		r = watch(t, e);
	if (t->live)
		terminal_close(&t->terminal);
	client_close(&t->other);
	buf_done(&t->looks[0].json);
	buf_done(&t->looks[1].json);
	free(t);
	return r;
}

static int top_main(int argc, char **argv)
{
	struct top_args a = {.interval_ns = NS_PER_S};

	return client_run(&cmd_top, argc, argv, &a, 0, 0, top);
}

const struct command cmd_top = {
	.name = "top",
	.operands = "[options]",
	.summary = "functions and cells, live",
	.details =
		"The daemon as a whole, its functions, its cells; the busiest first. q or an interrupt ends it. Without a\n"
		"terminal, or with --json, it looks twice, shows one picture and ends.\n\n"
		"Exit status: 0 success; 1 failed; 2 bad usage.\n",
	.tables = {&client_opts, &top_opts},
	.n_tables = 2,
	.group = GROUP_DAEMON,
	.main = top_main,
};
