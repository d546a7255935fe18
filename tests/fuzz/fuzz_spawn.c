/* Datagrams between fsboxd and fsbox-spawn: whatever passes can be read without a look beyond its end.
 *
 * Input: which side receives (bit 0) and whether the length is put right (bit 1); the number of descriptors; the
 * datagram. Of a FUNCTION the room for its note is left out. */
#include "wire/spawn.h"
#include "wire/spawn_exec.h"

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static size_t text_end(const struct spawn_function *f, const struct spawn_text *t)
{
	return t->at + strlen(spawn_text_of(f, t)) + 1;
}

static void walk_list(const struct spawn_function *f, const struct spawn_list *l, size_t max)
{
	size_t at = 0, n = 0;

	for (const char *s; (s = spawn_list_next(f, l, &at)); n++)
		must((size_t)(s - f->texts) + strlen(s) + 1 <= f->texts_len);
	must(n == l->n && n <= max && at == l->len);
}

static void walk_function(const struct spawn_datagram *d)
{
	const struct spawn_function *f = &d->function;
	const struct {
		const struct spawn_text *text;
		bool there;
	} texts[] = {
		{&f->name, true},
		{&f->policy, true},
		{&f->code_name, f->flags & SPAWN_HAS_CODE},
		{&f->handler, f->flags & SPAWN_HAS_HANDLER},
		{&f->interpreter, f->flags & SPAWN_HAS_INTERPRETER},
		{&f->image_cwd, f->flags & SPAWN_HAS_IMAGE},
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		must(!texts[i].there || text_end(f, texts[i].text) <= f->texts_len);
	if (f->flags & SPAWN_HAS_CODE) {
		const char *name = spawn_text_of(f, &f->code_name);

		must(*name && !strchr(name, '/') && strcmp(name, "..") != 0);
	}
	walk_list(f, &f->env, SPAWN_MAX_ENV);
	walk_list(f, &f->secrets, SPAWN_MAX_SECRETS);
	walk_list(f, &f->image_args, SPAWN_MAX_ARGS);
	walk_list(f, &f->image_env, SPAWN_MAX_IMAGE_ENV);
	must(d->n_fds == spawn_function_fds(f) && d->n_fds <= SPAWN_MAX_FDS);
}

static void walk_exec(const struct spawn_exec *m)
{
	size_t at = 0, n = 0;

	for (const char *s; (s = spawn_exec_next(m, &at)); n++) {
		must((size_t)(s - m->texts) + strlen(s) + 1 <= m->texts_len);
		must(n < m->n_args || n >= m->n_args + m->n_env || strchr(s, '='));
		must(n < m->n_args + m->n_env || (*s == '/' && strlen(s) < SPAWN_MAX_PATH));
	}
	must(at == m->texts_len && n == m->n_args + m->n_env + (m->flags & SPAWN_EXEC_CWD ? 1U : 0U));
	must(m->n_args > 0 && m->n_args <= SPAWN_MAX_EXEC_ARGS && m->n_env <= SPAWN_MAX_EXEC_ENV && m->texts[0]);
}

static size_t fill(struct spawn_datagram *d, const uint8_t *data, size_t size)
{
	const size_t note = offsetof(struct spawn_function, note);
	size_t len = size < SPAWN_MAX_BYTES ? size : SPAWN_MAX_BYTES;

	memset(d, 0, sizeof *d);
	if (len > 0)
		memcpy(d->bytes, data, len);
	if (d->head.word != SPAWN_FUNCTION || len <= note || len + SPAWN_MAX_FUNCTION_NOTE > SPAWN_MAX_BYTES)
		return len;
	memmove(d->function.texts, d->bytes + note, len - note);
	memset(d->function.note, 0, SPAWN_MAX_FUNCTION_NOTE);
	return len + SPAWN_MAX_FUNCTION_NOTE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spawn_datagram *d = malloc(sizeof *d);
	struct err e = {0};
	size_t len;

	must(d != NULL);
	if (size >= 2) {
		const enum spawn_side side = data[0] & 4   ? SPAWN_FROM_PUBLISHER
					     : data[0] & 1 ? SPAWN_TO_DAEMON
							   : SPAWN_TO_SPAWN;

		len = fill(d, data + 2, size - 2);
		d->n_fds = data[1] % (SPAWN_MAX_FDS + 1);
		if (data[0] & 2)
			d->head.size = (uint32_t)len;
		if (spawn_check(d, len, side, &e) == 0) {
			must(e.kind == ERR_NONE && d->head.size == len);
			if (d->head.word == SPAWN_FUNCTION)
				walk_function(d);
			if (d->head.word == SPAWN_EXEC)
				walk_exec(&d->exec);
			if (d->head.word == SPAWN_PUBLISHED)
				must(strlen(d->published.id) == (d->published.err.kind == ERR_NONE ? 64 : 0));
			if (d->head.word == SPAWN_OPEN)
				must(d->open.path[0] == '/' && strlen(d->open.path) == d->open.path_len);
			if (d->head.word == SPAWN_MADE || d->head.word == SPAWN_ADOPT)
				must(strlen(d->cell.id) == 12 &&
				     strlen(d->cell.cgroup_name) < sizeof d->cell.cgroup_name);
		} else {
			must(e.kind == ERR_BUG);
		}
	}
	free(d);
	return 0;
}
