/* FUNCTION: what the datagram says and what its descriptors are, seen and kept. */
#include "spawn/spawn.h"

/* ---- The table ---- */

static size_t place(const struct spawn *s, uint64_t number)
{
	size_t low = 0, high = s->n_functions;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;

		if (s->functions[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct function *function_from(const struct spawn *s, uint64_t number)
{
	const size_t i = place(s, number);

	return i < s->n_functions ? s->functions[i] : NULL;
}

struct function *function_find(const struct spawn *s, uint64_t number)
{
	const size_t i = place(s, number);

	return i < s->n_functions && s->functions[i]->number == number ? s->functions[i] : NULL;
}

static void function_free(struct function *f)
{
	image_put(f->image);
	cell_function_done(&f->def);
	free(f);
}

static void drop(struct spawn *s, struct function *f)
{
	const size_t i = place(s, f->number);

	memmove(&s->functions[i], &s->functions[i + 1], (s->n_functions - i - 1) * sizeof(struct function *));
	s->n_functions--;
	s->texts -= f->def.size;
	s->function_fds -= f->def.n_fds;
	function_free(f);
}

void function_put(struct spawn *s, struct function *f)
{
	f->cells--;
	if (f->forgotten && f->cells == 0)
		drop(s, f);
}

void functions_clone_beside(struct spawn *s)
{
	s->host.clone_beside = true;
	for (size_t i = 0; i < s->n_functions; i++)
		s->functions[i]->def.host.clone_beside = true;
}

void functions_done(struct spawn *s)
{
	while (s->n_functions > 0)
		function_free(s->functions[--s->n_functions]);
	free(s->functions);
	s->functions = NULL;
}

static int insert(struct spawn *s, struct function *f, struct err *e)
{
	if (s->n_functions == s->functions_cap) {
		const size_t cap = s->functions_cap ? s->functions_cap * 2 : 16;
		struct function **grown = realloc(s->functions, cap * sizeof(struct function *));

		if (!grown)
			return err_oom(e);
		s->functions = grown;
		s->functions_cap = cap;
	}
	s->functions[s->n_functions++] = f; /* its number is the greatest */
	s->texts += f->def.size;
	s->function_fds += f->def.n_fds;
	return 0;
}

static int make(struct spawn *s, struct spawn_datagram *d, struct err *e)
{
	struct function *f;
	int r;

	if (s->n_functions == SPAWN_MAX_FUNCTIONS || s->texts + d->head.size > SPAWN_MAX_FUNCTION_BYTES)
		return err_set(e, ERR_CAPACITY, ENOSPC, "%zu functions are known, which is enough", s->n_functions);
	if (!fds_left(s, d->n_fds))
		return err_set(e, ERR_CAPACITY, EMFILE, "no descriptors are left for another function");
	f = calloc(1, sizeof *f);
	if (!f)
		return err_oom(e);
	f->number = d->function.function;
	r = cell_function_take(&s->host, s->memory_bytes, d, &f->def, e);
	if (r == 0)
		r = insert(s, f, e);
	if (r < 0)
		function_free(f);
	return r;
}

int function_define(struct spawn *s, struct spawn_datagram *d, struct err *e)
{
	struct err why = {0};
	const uint32_t number = d->function.function;

	if (number <= s->last_function)
		return err_set(e, ERR_BUG, EPROTO, "a function with the old number %u", number);
	s->last_function = number;
	(void)!make(s, d, &why);
	tell_done(s, SPAWN_DONE, SPAWN_FUNCTION, number, &why);
	return 0;
}

int function_note(struct spawn *s, const struct spawn_function_note *m, struct err *e)
{
	struct function *f = function_find(s, m->function);

	if (m->function > s->last_function)
		return err_set(e, ERR_BUG, EPROTO, "a note about a function that never was");
	if (!f)
		return 0;
	f->def.wire->note_len = m->note_len;
	memcpy(f->def.wire->note, m->note, sizeof f->def.wire->note);
	return 0;
}

int function_forget(struct spawn *s, uint64_t number, struct err *e)
{
	struct function *f = function_find(s, number);

	if (number > s->last_function)
		return err_set(e, ERR_BUG, EPROTO, "a function to be forgotten that never was");
	if (!f)
		return 0;
	f->forgotten = true;
	if (s->publishing.number == number) /* nobody needs it any more */
		publish_stop(s);
	f->def.wire->flags |= SPAWN_FORGOTTEN;
	if (f->cells == 0)
		drop(s, f);
	return 0;
}
