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

static uint64_t left(uint64_t of, uint64_t taken)
{
	return of > taken ? of - taken : 0;
}

/* What others may still claim because it was reserved for them: nobody more than his rights give him, as they are now. */
static void reserved_by_others(const struct function *f, uint64_t *cells, uint64_t *memory)
{
	*cells = *memory = 0;
	for (struct account *a = f->d->accounts; a; a = a->next)
		a->claimed_cells = a->claimed_bytes = 0;
	for (const struct function *o = f->d->functions; o; o = o->next) {
		const struct rights *r;
		struct account *a = o->account;
		uint64_t n, bytes;

		if (o == f || o->forgotten || o->n_units >= o->reserved)
			continue;
		r = function_rights(o);
		n = least(o->reserved - o->n_units, left(r->max_cells, a->cells + a->claimed_cells));
		bytes = least(n * o->spec.memory_bytes, left(r->memory_bytes, a->memory_bytes + a->claimed_bytes));
		a->claimed_cells += n;
		a->claimed_bytes += bytes;
		*cells += n;
		*memory += bytes;
	}
}

bool function_is_full(const struct function *f)
{
	return (f->max_cells > 0 && f->n_units >= f->max_cells) || (f->reserved > 0 && f->n_units >= f->reserved);
}

enum shortage function_may_take(const struct function *f, uint64_t cells, uint64_t bytes)
{
	const struct daemon *d = f->d;
	const struct rights *r = function_rights(f);
	uint64_t others, others_bytes;

	if (f->account->cells + cells > r->max_cells)
		return SHORT_OF_OWN_CELLS;
	if (f->account->memory_bytes + bytes > r->memory_bytes)
		return SHORT_OF_OWN_MEMORY;
	/* What is reserved for this one nobody else could take. */
	if (cells > 0 && f->n_units + cells <= f->reserved)
		others = others_bytes = 0;
	else
		reserved_by_others(f, &others, &others_bytes);
	if (cells > 0 && d->n_units + others + cells > d->config.max_cells)
		return SHORT_OF_CELLS;
	return d->memory_bytes + others_bytes + bytes > d->config.memory_bytes ? SHORT_OF_MEMORY : SHORT_OF_NOTHING;
}

enum shortage function_may_start(const struct function *f)
{
	return function_is_full(f) ? SHORT_OF_OWN_CELLS : function_may_take(f, 1, f->spec.memory_bytes);
}

int function_may_reserve(const struct function *f, uint32_t cells, const struct function *instead, struct err *e)
{
	const struct daemon *d = f->d;
	const struct rights *r = function_rights(f);
	uint64_t own = cells, own_bytes = (uint64_t)cells * f->spec.memory_bytes, all = own, all_bytes = own_bytes;

	if (cells == 0)
		return 0;
	for (const struct function *o = d->functions; o; o = o->next) {
		if (o == f || o == instead || o->forgotten)
			continue;
		all += o->reserved;
		all_bytes += (uint64_t)o->reserved * o->spec.memory_bytes;
		own += o->owner == f->owner ? o->reserved : 0;
		own_bytes += o->owner == f->owner ? (uint64_t)o->reserved * o->spec.memory_bytes : 0;
	}
	if (own > r->max_cells || own_bytes > r->memory_bytes)
		return err_where(e,
				 err_set(e, ERR_DENIED, 0,
					 "more would be reserved than the daemon's policy gives this user"),
				 "reserved");
	if (all > (uint64_t)d->config.max_cells * 3 / 4 || all_bytes > d->config.memory_bytes / 4 * 3)
		return err_set(e, ERR_CAPACITY, 0, "%s",
			       shortage_name(all_bytes > d->config.memory_bytes / 4 * 3 ? SHORT_OF_MEMORY
											: SHORT_OF_CELLS));
	return 0;
}

double function_share(const struct daemon *d, uint64_t memory_bytes)
{
	const struct cg_cpu cpu = cg_cpu_of_memory(memory_bytes, d->n_cpus);

	return (double)cpu.quota_us / (double)cpu.period_us;
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

uint32_t function_most_queued(const struct function *f)
{
	const struct daemon *d = f->d;
	const struct rights *r = function_rights(f);
	const uint64_t bytes = f->spec.memory_bytes > 0 ? f->spec.memory_bytes : 1;
	const double busy = ((double)d->n_cpus * d->config.overcommit + 0.001) / f->share; /* function_wants_cell() */
	uint64_t cells = busy < 1 ? 1 : busy > CELL_MAX_SLOTS ? (uint64_t)CELL_MAX_SLOTS : (uint64_t)busy;

	cells = cells < f->provisioned ? f->provisioned : cells;
	cells = least(cells, least(r->max_cells, d->config.max_cells));
	cells = least(cells, least(r->memory_bytes, d->config.memory_bytes) / bytes);
	cells = f->max_cells > 0 ? least(cells, f->max_cells) : cells;
	cells = f->reserved > 0 ? least(cells, f->reserved) : cells;
	cells = cells < f->n_units ? f->n_units
				   : cells; /* there were more before the numbers were lowered, or clones */
	return (uint32_t)least(cells, least(r->max_queued, d->config.max_queued));
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
