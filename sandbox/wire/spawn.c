/* Seeing that a datagram is what it says. Nothing here looks beyond it: what a number or a descriptor means, the receiver
 * knows. */
#include "wire/spawn.h"
#include "wire/spawn_exec.h"

#include "base/fd.h"
#include "base/mem.h"

#include <limits.h>

_Static_assert(sizeof(struct spawn_function) == offsetof(struct spawn_function, texts) &&
		       sizeof(struct spawn_exec) == offsetof(struct spawn_exec, texts),
	       "texts follow at once");

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_BUG, EPROTO, "a malformed datagram: %s", what);
}

/* ---- Texts of a FUNCTION ---- */

const char *spawn_text_of(const struct spawn_function *f, const struct spawn_text *t)
{
	return f->texts + t->at;
}

const char *spawn_list_next(const struct spawn_function *f, const struct spawn_list *l, size_t *at)
{
	const char *text = f->texts + l->at + *at;

	if (*at >= l->len)
		return NULL;
	*at += strlen(text) + 1;
	return text;
}

static bool text_fits(const struct spawn_function *f, const struct spawn_text *t)
{
	if (t->at >= f->texts_len || t->len >= f->texts_len - t->at)
		return false;
	return memchr(f->texts + t->at, '\0', (size_t)t->len + 1) == f->texts + t->at + t->len;
}

static bool list_fits(const struct spawn_function *f, const struct spawn_list *l, uint32_t max)
{
	const char *p = f->texts + l->at, *end = p + l->len;
	uint32_t n = 0;

	if (l->zero != 0 || l->n > max || (l->n == 0) != (l->len == 0))
		return false;
	if (l->n == 0)
		return true;
	if (l->at >= f->texts_len || l->len > f->texts_len - l->at || end[-1] != '\0')
		return false;
	for (; p < end; n++)
		p += strlen(p) + 1;
	return n == l->n;
}

/* A text that is there when it has to be, and only then, with at most @max bytes. */
static bool text_ok(const struct spawn_function *f, const struct spawn_text *t, bool wanted, size_t min, size_t max)
{
	if (!wanted)
		return t->at == 0 && t->len == 0;
	return text_fits(f, t) && t->len >= min && t->len <= max;
}

static bool all_of(const char *s, const char *more)
{
	for (; *s; s++) {
		const char c = *s;

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strchr(more, c))
			return false;
	}
	return true;
}

static bool is_component(const char *s)
{
	return *s && !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static bool pairs_ok(const struct spawn_function *f, const struct spawn_list *l)
{
	size_t at = 0;

	for (const char *s; (s = spawn_list_next(f, l, &at));)
		if (!strchr(s, '=') || *s == '=')
			return false;
	return true;
}

static bool secrets_ok(const struct spawn_function *f)
{
	size_t at = 0;

	for (const char *s; (s = spawn_list_next(f, &f->secrets, &at));) {
		size_t before = 0;
		const char *other;

		if (!*s || *s == '.' || strlen(s) > NAME_MAX || !all_of(s, "_.-"))
			return false;
		while ((other = spawn_list_next(f, &f->secrets, &before)) != s) /* one file for each name */
			if (strcmp(other, s) == 0)
				return false;
	}
	return true;
}

static int check_texts(const struct spawn_function *f, struct err *e)
{
	const bool code = f->flags & SPAWN_HAS_CODE, image = f->flags & SPAWN_HAS_IMAGE;

	if (!text_ok(f, &f->name, true, 1, 64) || !all_of(spawn_text_of(f, &f->name), "-_"))
		return malformed(e, "the function's name");
	if (!text_ok(f, &f->policy, true, 1, 255))
		return malformed(e, "the policy's name");
	if (!text_ok(f, &f->code_name, code, 1, NAME_MAX) || (code && !is_component(spawn_text_of(f, &f->code_name))))
		return malformed(e, "the code's name");
	if (!text_ok(f, &f->handler, f->flags & SPAWN_HAS_HANDLER, 0, SPAWN_MAX_PATH - 1))
		return malformed(e, "the handler");
	if (!text_ok(f, &f->interpreter, f->flags & SPAWN_HAS_INTERPRETER, 2, SPAWN_MAX_PATH - 1) ||
	    (f->interpreter.len > 0 && spawn_text_of(f, &f->interpreter)[0] != '/'))
		return malformed(e, "the interpreter's path");
	if (!text_ok(f, &f->image_cwd, image, 1, SPAWN_MAX_PATH - 1) ||
	    (image && spawn_text_of(f, &f->image_cwd)[0] != '/'))
		return malformed(e, "the image's working directory");
	if (!list_fits(f, &f->env, SPAWN_MAX_ENV) || f->env.len > SPAWN_MAX_ENV_BYTES + 2 * f->env.n ||
	    !pairs_ok(f, &f->env))
		return malformed(e, "the environment");
	if (!list_fits(f, &f->secrets, SPAWN_MAX_SECRETS) || !secrets_ok(f))
		return malformed(e, "the names of secrets");
	if (!list_fits(f, &f->image_args, image ? SPAWN_MAX_ARGS : 0) || (image && f->image_args.n == 0))
		return malformed(e, "the image's words");
	if (!list_fits(f, &f->image_env, image ? SPAWN_MAX_IMAGE_ENV : 0) || !pairs_ok(f, &f->image_env))
		return malformed(e, "the image's environment");
	return 0;
}

size_t spawn_function_fds(const struct spawn_function *f)
{
	return (size_t)f->n_layers + f->secrets.n + (f->flags & SPAWN_HAS_CODE ? 1 : 0) +
	       (f->flags & SPAWN_HAS_ROOTFS ? 1 : 0) + (f->flags & SPAWN_HAS_FILTER ? 1 : 0) +
	       (f->flags & SPAWN_HAS_AFTER ? 1 : 0);
}

static int check_function(const struct spawn_datagram *d, enum spawn_side side, struct err *e)
{
	const struct spawn_function *f = &d->function;
	const bool code = f->flags & SPAWN_HAS_CODE, image = f->flags & SPAWN_HAS_IMAGE;
	const bool interpreted = f->runtime == SPAWN_RUNTIME_PYTHON || f->runtime == SPAWN_RUNTIME_NODE;
	uint32_t known = SPAWN_FUNCTION_FLAGS;
	int r;

	if (side == SPAWN_TO_SPAWN)
		known &= ~(uint32_t)SPAWN_FORGOTTEN;
	if (f->texts_len != f->head.size - sizeof *f)
		return malformed(e, "the length of a function's texts");
	if (f->function == 0 || (f->flags & ~known) || f->net >= SPAWN_NET_COUNT || f->runtime < SPAWN_RUNTIME_NATIVE ||
	    f->runtime > SPAWN_RUNTIME_CUSTOM || f->n_layers > SPAWN_MAX_LAYERS ||
	    f->note_len > SPAWN_MAX_FUNCTION_NOTE)
		return malformed(e, "a function's numbers");
	if (code == image || (image && !(f->flags & SPAWN_HAS_ROOTFS)) ||
	    (image && (f->runtime != SPAWN_RUNTIME_CUSTOM || !(f->flags & SPAWN_HAS_HANDLER))) ||
	    (!code && (f->flags & SPAWN_CODE_IS_DIR)) || interpreted != ((f->flags & SPAWN_HAS_INTERPRETER) != 0))
		return malformed(e, "a function's flags");
	r = check_texts(f, e);
	if (r < 0)
		return r;
	return d->lacking || d->n_fds == spawn_function_fds(f) ? 0 : malformed(e, "a function's descriptors");
}

/* ---- EXEC ---- */

const char *spawn_exec_next(const struct spawn_exec *m, size_t *at)
{
	const char *text = m->texts + *at;

	if (*at >= m->texts_len)
		return NULL;
	*at += strlen(text) + 1;
	return text;
}

/* The last text ends with the datagram, and each is what its place says. */
static bool exec_texts_ok(const struct spawn_exec *m)
{
	const uint32_t n_all = m->n_args + m->n_env + (m->flags & SPAWN_EXEC_CWD ? 1 : 0);
	size_t at = 0;
	uint32_t n = 0;

	if (m->texts_len == 0 || m->texts[m->texts_len - 1] != '\0' || m->texts[0] == '\0')
		return false;
	for (const char *s; (s = spawn_exec_next(m, &at)); n++) {
		if (n >= m->n_args && n < m->n_args + m->n_env && (!strchr(s, '=') || *s == '='))
			return false;
		if (n == m->n_args + m->n_env && (*s != '/' || strlen(s) >= SPAWN_MAX_PATH))
			return false;
	}
	return n == n_all;
}

static int check_exec(const struct spawn_datagram *d, struct err *e)
{
	const struct spawn_exec *m = &d->exec;
	const uint32_t stdio = SPAWN_EXEC_STDIN | SPAWN_EXEC_STDOUT | SPAWN_EXEC_STDERR;

	if (m->texts_len != m->head.size - sizeof *m || m->texts_len > SPAWN_MAX_EXEC_BYTES)
		return malformed(e, "the length of a command's texts");
	if (m->number == 0 || m->cell == 0 || (m->flags & ~(uint32_t)SPAWN_EXEC_FLAGS) || m->n_args == 0 ||
	    m->n_args > SPAWN_MAX_EXEC_ARGS || m->n_env > SPAWN_MAX_EXEC_ENV)
		return malformed(e, "a command's numbers");
	if (m->flags & SPAWN_EXEC_TTY && (m->flags & stdio) != SPAWN_EXEC_STDIN)
		return malformed(e, "a command's terminal");
	if (!exec_texts_ok(m))
		return malformed(e, "a command's texts");
	return d->n_fds == (size_t)__builtin_popcount(m->flags & stdio) ? 0 : malformed(e, "a command's descriptors");
}

/* ---- The fixed ones ---- */

static bool is_terminated(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

static bool err_ok(const struct err *e)
{
	return e->kind < ERR_KIND_COUNT && is_terminated(e->stage, sizeof e->stage) &&
	       is_terminated(e->where, sizeof e->where) && is_terminated(e->msg, sizeof e->msg) &&
	       is_terminated(e->hint, sizeof e->hint);
}

static bool id_ok(const char *id)
{
	return strspn(id, "0123456789abcdef") == 12 && id[12] == '\0';
}

static bool cell_ok(const struct spawn_datagram *d)
{
	const struct spawn_cell *c = &d->cell;

	return c->cell != 0 && c->function != 0 && !(c->fds & ~(uint32_t)SPAWN_FD_ALL) &&
	       (c->fds & SPAWN_FD_ALWAYS) == SPAWN_FD_ALWAYS &&
	       (d->lacking || (size_t)__builtin_popcount(c->fds) == d->n_fds) && c->boosted <= 1 && c->exited <= 1 &&
	       c->restored <= 1 && c->zero == 0 && c->note_len <= SPAWN_MAX_NOTE &&
	       is_terminated(c->id, sizeof c->id) && id_ok(c->id) &&
	       is_terminated(c->cgroup_parent, sizeof c->cgroup_parent) &&
	       is_terminated(c->cgroup_name, sizeof c->cgroup_name);
}

static bool open_ok(const struct spawn_open *o)
{
	return o->number != 0 && o->directory <= 2 && o->path_len > 0 && o->path_len < SPAWN_MAX_PATH &&
	       o->path[0] == '/' && memchr(o->path, '\0', sizeof o->path) == o->path + o->path_len;
}

static bool opened_ok(const struct spawn_datagram *d)
{
	const struct spawn_opened *o = &d->opened;

	return o->code >= 0 && o->directory <= 1 && (d->lacking || d->n_fds == (o->code == 0 ? 1U : 0U));
}

static bool hello_ok(const struct spawn_hello *h)
{
	return h->version == SPAWN_VERSION && !(h->flags & ~(uint32_t)SPAWN_HELLO_FLAGS) && h->zero == 0 &&
	       is_terminated(h->runtime_dir, sizeof h->runtime_dir) && is_terminated(h->state_dir, sizeof h->state_dir);
}

static bool published_ok(const struct spawn_published *m)
{
	const bool is_there = m->err.kind == ERR_NONE;

	return m->number != 0 && m->number <= UINT32_MAX && m->zero == 0 && is_terminated(m->id, sizeof m->id) &&
	       strspn(m->id, "0123456789abcdef") == (is_there ? 64U : 0U) && m->id[is_there ? 64 : 0] == '\0' &&
	       is_terminated(m->error_type, sizeof m->error_type) && err_ok(&m->err);
}

static bool image_ok(const struct spawn_datagram *d)
{
	const struct spawn_image *m = &d->image;
	bool ok = m->zero == 0 && m->max_pid <= INT_MAX && published_ok(&m->told);

	for (size_t i = 0; i < ARRAY_LEN(m->pipes); i++)
		ok = ok && is_terminated(m->pipes[i], sizeof m->pipes[i]);
	return ok && m->told.head.word == SPAWN_PUBLISHED && m->told.head.size == sizeof m->told &&
	       d->n_fds == (m->told.err.kind == ERR_NONE ? 2U : 0U);
}

static bool done_ok(const struct spawn_done *m)
{
	if (m->head.word == SPAWN_FAILED)
		return m->of == SPAWN_MAKE && m->err.kind != ERR_NONE && err_ok(&m->err);
	return (m->of == SPAWN_FUNCTION || m->of == SPAWN_SETTLE || m->of == SPAWN_LIMITS) && err_ok(&m->err);
}

/* A fixed datagram of each word: to whom, how long, with how many descriptors (MANY: cell_ok() and its like count). */
enum { MANY = -1 };
static const struct {
	enum spawn_side side;
	size_t size;
	int fds;
} words[] = {
	[SPAWN_FUNCTION_NOTE] = {SPAWN_TO_SPAWN, sizeof(struct spawn_function_note), 0},
	[SPAWN_FORGET] = {SPAWN_TO_SPAWN, sizeof(struct spawn_number), 0},
	[SPAWN_MAKE] = {SPAWN_TO_SPAWN, sizeof(struct spawn_make), 0},
	[SPAWN_SETTLE] = {SPAWN_TO_SPAWN, sizeof(struct spawn_number), 0},
	[SPAWN_NOTE] = {SPAWN_TO_SPAWN, sizeof(struct spawn_note), 0},
	[SPAWN_LIMITS] = {SPAWN_TO_SPAWN, sizeof(struct spawn_limits), 0},
	[SPAWN_KILL] = {SPAWN_TO_SPAWN, sizeof(struct spawn_number), 0},
	[SPAWN_END] = {SPAWN_TO_SPAWN, sizeof(struct spawn_number), 0},
	[SPAWN_OPEN] = {SPAWN_TO_SPAWN, sizeof(struct spawn_open), 1},
	[SPAWN_READY] = {SPAWN_TO_SPAWN, sizeof(struct spawn_number), 0},
	[SPAWN_PUBLISH] = {SPAWN_TO_SPAWN, sizeof(struct spawn_number), MANY},
	[SPAWN_EXEC_KILL] = {SPAWN_TO_SPAWN, sizeof(struct spawn_number), 0},
	[SPAWN_HELLO] = {SPAWN_TO_DAEMON, sizeof(struct spawn_hello), 0},
	[SPAWN_ADOPT] = {SPAWN_TO_DAEMON, sizeof(struct spawn_cell), MANY},
	[SPAWN_ADOPTED] = {SPAWN_TO_DAEMON, sizeof(struct spawn_number), 0},
	[SPAWN_DONE] = {SPAWN_TO_DAEMON, sizeof(struct spawn_done), 0},
	[SPAWN_MADE] = {SPAWN_TO_DAEMON, sizeof(struct spawn_cell), MANY},
	[SPAWN_FAILED] = {SPAWN_TO_DAEMON, sizeof(struct spawn_done), 0},
	[SPAWN_EXITED] = {SPAWN_TO_DAEMON, sizeof(struct spawn_exit), 0},
	[SPAWN_ENDED] = {SPAWN_TO_DAEMON, sizeof(struct spawn_exit), 0},
	[SPAWN_OPENED] = {SPAWN_TO_DAEMON, sizeof(struct spawn_opened), MANY},
	[SPAWN_PUBLISHED] = {SPAWN_TO_DAEMON, sizeof(struct spawn_published), 0},
	[SPAWN_IMAGE] = {SPAWN_FROM_PUBLISHER, sizeof(struct spawn_image), MANY},
	[SPAWN_EXEC_ENDED] = {SPAWN_TO_DAEMON, sizeof(struct spawn_exec_end), 0},
};

static bool fixed_ok(const struct spawn_datagram *d)
{
	switch (d->head.word) {
	case SPAWN_FUNCTION_NOTE:
		return d->function_note.function != 0 && d->function_note.note_len <= SPAWN_MAX_FUNCTION_NOTE;
	case SPAWN_FORGET:
		return d->number.number != 0 && d->number.number <= UINT32_MAX;
	case SPAWN_MAKE:
		return d->make.cell != 0 && d->make.function != 0 && d->make.note_len <= SPAWN_MAX_NOTE &&
		       d->make.restored <= 1 && d->make.zero == 0 && (d->make.restored || d->make.give_up_ns == 0);
	case SPAWN_SETTLE:
	case SPAWN_KILL:
	case SPAWN_END:
	case SPAWN_EXEC_KILL:
		return d->number.number != 0;
	case SPAWN_NOTE:
		return d->note.cell != 0 && d->note.zero == 0 && d->note.note_len <= SPAWN_MAX_NOTE;
	case SPAWN_LIMITS:
		return d->limits.cell != 0 && d->limits.zero == 0;
	case SPAWN_OPEN:
		return open_ok(&d->open);
	case SPAWN_HELLO:
		return hello_ok(&d->hello);
	case SPAWN_ADOPT:
	case SPAWN_MADE:
		return cell_ok(d);
	case SPAWN_READY:
	case SPAWN_ADOPTED:
		return d->number.number == 0;
	case SPAWN_DONE:
	case SPAWN_FAILED:
		return d->done.zero == 0 && done_ok(&d->done);
	case SPAWN_EXITED:
	case SPAWN_ENDED:
		return d->exit.cell != 0 && err_ok(&d->exit.err);
	case SPAWN_OPENED:
		return opened_ok(d);
	case SPAWN_PUBLISH:
		return d->number.number != 0 && d->number.number <= UINT32_MAX && d->n_fds >= 1 && d->n_fds <= 2;
	case SPAWN_PUBLISHED:
		return published_ok(&d->published);
	case SPAWN_IMAGE:
		return image_ok(d);
	case SPAWN_EXEC_ENDED:
		return d->exec_end.number != 0 && err_ok(&d->exec_end.err);
	default:
		return false;
	}
}

int spawn_check(const struct spawn_datagram *d, size_t len, enum spawn_side side, struct err *e)
{
	const uint32_t word = d->head.word;

	if (len < sizeof d->head || len > SPAWN_MAX_BYTES || d->head.size != len)
		return malformed(e, "its length");
	if (word == SPAWN_FUNCTION)
		return len < sizeof d->function ? malformed(e, "its length") : check_function(d, side, e);
	if (word == SPAWN_EXEC && side == SPAWN_TO_SPAWN)
		return len < sizeof d->exec ? malformed(e, "its length") : check_exec(d, e);
	if (word >= ARRAY_LEN(words) || words[word].size == 0 || words[word].side != side)
		return malformed(e, "no word for this side");
	if (len != words[word].size)
		return malformed(e, "its length");
	if (words[word].fds != MANY && d->n_fds != (size_t)words[word].fds)
		return malformed(e, "its descriptors");
	return fixed_ok(d) ? 0 : malformed(e, "its fields");
}

/* ---- Building ---- */

void spawn_begin(void *msg, enum spawn_word word, size_t size)
{
	const struct spawn_head head = {.word = word, .size = (uint32_t)size};

	memset(msg, 0, size);
	memcpy(msg, &head, sizeof head);
}

void spawn_function_begin(struct spawn_datagram *d, uint32_t number)
{
	spawn_begin(&d->function, SPAWN_FUNCTION, sizeof d->function);
	d->function.function = number;
}

static bool put(struct spawn_datagram *d, const char *text, uint32_t *ret_at, uint32_t *ret_len)
{
	struct spawn_function *f = &d->function;
	const size_t len = strlen(text);

	if (len + 1 > SPAWN_MAX_BYTES - f->head.size)
		return false;
	memcpy(d->bytes + f->head.size, text, len + 1);
	*ret_at = f->texts_len;
	*ret_len = (uint32_t)len;
	f->head.size += (uint32_t)len + 1;
	f->texts_len += (uint32_t)len + 1;
	return true;
}

bool spawn_put_text(struct spawn_datagram *d, struct spawn_text *to, const char *text)
{
	return put(d, text, &to->at, &to->len);
}

bool spawn_put_list(struct spawn_datagram *d, struct spawn_list *to, const char *text)
{
	uint32_t at, len;

	if (!put(d, text, &at, &len))
		return false;
	if (to->n == 0)
		to->at = at;
	to->len += len + 1;
	to->n++;
	return true;
}

void spawn_exec_begin(struct spawn_datagram *d, uint64_t number, uint64_t cell)
{
	spawn_begin(&d->exec, SPAWN_EXEC, sizeof d->exec);
	d->exec.number = number;
	d->exec.cell = cell;
}

bool spawn_exec_put(struct spawn_datagram *d, const char *text)
{
	const size_t len = strlen(text) + 1;

	if (len > SPAWN_MAX_EXEC_BYTES - d->exec.texts_len)
		return false;
	memcpy(d->bytes + d->head.size, text, len);
	d->head.size += (uint32_t)len;
	d->exec.texts_len += (uint32_t)len;
	return true;
}
