#include "daemon/function.h"

#include <stdio.h>

struct account *account_of(struct daemon *d, uid_t uid)
{
	struct account *a = d->accounts;

	while (a && a->uid != uid)
		a = a->next;
	if (a)
		return a;
	a = calloc(1, sizeof *a);
	if (!a)
		return NULL;
	*a = (struct account){.uid = uid, .next = d->accounts};
	d->accounts = a;
	return a;
}

struct function *function_find(struct daemon *d, uid_t owner, const char *name)
{
	struct function *f = d->functions;

	while (f && (f->forgotten || f->owner != owner || strcmp(f->name, name) != 0))
		f = f->next;
	return f;
}

struct function *function_by_number(struct daemon *d, uint32_t number)
{
	struct function *f = d->functions;

	while (f && f->number != number)
		f = f->next;
	return f;
}

struct function *function_new(struct daemon *d, uid_t owner, const char *name)
{
	struct function *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	*f = (struct function){
		.d = d,
		.owner = owner,
		.account = account_of(d, owner),
		.code = {.fd = FD_NONE},
		.created_ms = wall_ms(),
	};
	f->queue_end = &f->queue;
	spec_init(&f->spec);
	(void)snprintf(f->name, sizeof f->name, "%s", name);
	if (!f->account) {
		function_free(f);
		return NULL;
	}
	return f;
}

void function_free(struct function *f)
{
	if (!f)
		return;
	loop_disarm(&f->d->loop, &f->again);
	filter_done(&f->filter);
	code_close(&f->code);
	spec_done(&f->spec);
	free(f->groups);
	free(f->spec_text);
	free(f->path);
	free(f);
}

void function_add(struct function *f)
{
	f->next = f->d->functions;
	f->d->functions = f;
}

void function_forget(struct function *f)
{
	f->forgotten = true;
	f->provisioned = 0;
	loop_disarm(&f->d->loop, &f->again);
	if (f->defined)
		(void)!link_number(f->d->link, SPAWN_FORGET, f->number);
}

void function_release(struct function *f)
{
	struct function **at = &f->d->functions;

	if (!f->forgotten || f->n_units > 0 || f->queue || f->d->publishing == f)
		return;
	while (*at && *at != f)
		at = &(*at)->next;
	if (*at)
		*at = f->next;
	function_free(f);
}

/* ---- Budgets ---- */

const char *shortage_name(enum shortage s)
{
	static const char *const names[] = {"", "cells", "memory", "cells of this user", "memory of this user", "cpu"};

	return names[s];
}

const struct rights *function_rights(const struct function *f)
{
	return peers_find(&f->d->peers, f->owner, f->gid, f->groups, f->n_groups);
}

/* What others may still claim because it was reserved for them. */
static void reserved_by_others(const struct function *f, uint64_t *cells, uint64_t *memory)
{
	*cells = *memory = 0;
	for (const struct function *o = f->d->functions; o; o = o->next) {
		if (o == f || o->forgotten || o->n_units >= o->reserved)
			continue;
		*cells += o->reserved - o->n_units;
		*memory += (o->reserved - o->n_units) * o->spec.memory_bytes;
	}
}

bool function_is_full(const struct function *f)
{
	return (f->max_cells > 0 && f->n_units >= f->max_cells) || (f->reserved > 0 && f->n_units >= f->reserved);
}

enum shortage function_may_start(const struct function *f)
{
	const struct daemon *d = f->d;
	const struct rights *r = function_rights(f);
	uint64_t cells, memory;

	if (function_is_full(f) || f->account->cells >= r->max_cells)
		return SHORT_OF_OWN_CELLS;
	if (f->account->memory_bytes + f->spec.memory_bytes > r->memory_bytes)
		return SHORT_OF_OWN_MEMORY;
	/* What is reserved for this one nobody else could take. */
	if (f->n_units < f->reserved)
		cells = memory = 0;
	else
		reserved_by_others(f, &cells, &memory);
	if (d->n_units + cells >= d->config.max_cells)
		return SHORT_OF_CELLS;
	if (d->memory_bytes + memory + f->spec.memory_bytes > d->config.memory_bytes)
		return SHORT_OF_MEMORY;
	return SHORT_OF_NOTHING;
}

/* A share that is promised has to be there: cells that run at the same time may not want more than the host has. */
enum shortage function_may_run(const struct function *f)
{
	const struct daemon *d = f->d;
	const double most = (double)d->n_cpus * d->config.overcommit;

	/* Somebody of whom nothing runs does not wait for others' calls to end. */
	return f->account->busy_cpus > 0 && d->busy_cpus + f->share > most + 0.001 ? SHORT_OF_CPU : SHORT_OF_NOTHING;
}

bool function_wants_cell(const struct function *f)
{
	const uint32_t cells = f->n_starting + f->n_free + f->n_busy;
	const double most = (double)f->d->n_cpus * f->d->config.overcommit;

	return cells == 0 || (cells + 1) * f->share <= most + 0.001;
}

/* ---- Figures ---- */

void function_latency(struct function *f, uint64_t ns)
{
	const uint64_t us = ns / 1000;

	f->latency_us[f->n_latencies++ % LATENCIES] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
	f->service_ns = f->service_ns == 0 ? ns : f->service_ns - f->service_ns / 8 + ns / 8;
}

/* Smoothed over more calls than a burst has that is no load. A pause is no longer than a call: what was before it has been
 * answered, and a long one would be remembered long. */
void function_asked(struct function *f, uint64_t now_ns)
{
	const uint64_t gap = now_ns > f->asked_ns ? now_ns - f->asked_ns : 0;
	const uint64_t counted = gap < f->service_ns ? gap : f->service_ns;

	f->gap_ns = f->service_ns == 0 ? 0 : f->gap_ns == 0 ? f->service_ns : f->gap_ns - f->gap_ns / 16 + counted / 16;
	f->asked_ns = now_ns;
}

static int by_size(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t function_percentile(const struct function *f, double p)
{
	const uint32_t n = f->n_latencies < LATENCIES ? f->n_latencies : LATENCIES;
	uint32_t sorted[LATENCIES];

	if (n == 0)
		return 0;
	memcpy(sorted, f->latency_us, n * sizeof sorted[0]);
	qsort(sorted, n, sizeof sorted[0], by_size);
	return sorted[(uint32_t)((double)(n - 1) * p + 0.5)];
}
