#include "daemon/execs.h"

#include "base/fd.h"
#include "wire/spawn_exec.h"

#include <signal.h>
#include <stdio.h>

enum { WHAT_BYTES = 120 };

struct exec {
	struct exec *next;
	uint64_t number, unit, begin_ns;
	struct call *call;       /* NULL: the client is gone */
	struct account *account; /* its client's */
	char cell[UNIT_ID_BYTES];
	char *command, *cwd; /* heap; cwd may be NULL */
};
static struct exec *execs;
static uint64_t last_exec;

static void exec_free(struct exec *x)
{
	free(x->command);
	free(x->cwd);
	free(x);
}

/* ---- What is asked for ---- */

/* False when one of them is too much, or is not what its place needs. */
static bool put_texts(struct spawn_datagram *m, const struct json *list, bool pairs, uint32_t *ret_n)
{
	const size_t n = list ? json_length(list) : 0;

	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_get(json_at(list, i), NULL);

		if ((pairs && (!strchr(text, '=') || *text == '=')) || !spawn_exec_put(m, text))
			return false;
	}
	*ret_n = (uint32_t)n;
	return true;
}

/* NULL, or the parameter that is at fault. */
static const char *take_texts(struct spawn_datagram *m, const struct call *c)
{
	const struct json *argv = wire_get(c->params, "argv");
	const char *cwd = wire_get_string(c->params, "cwd");

	if (json_length(argv) == 0 || *json_string_get(json_at(argv, 0), NULL) == '\0' ||
	    !put_texts(m, argv, false, &m->exec.n_args))
		return "argv";
	if (!put_texts(m, wire_get(c->params, "env"), true, &m->exec.n_env))
		return "env";
	if (cwd && (*cwd != '/' || !spawn_exec_put(m, cwd)))
		return "cwd";
	m->exec.flags |= cwd ? (uint32_t)SPAWN_EXEC_CWD : 0U;
	return NULL;
}

/* What the descriptors are fsbox-spawn looks at. */
static const char *take_fds(struct spawn_datagram *m, struct call *c)
{
	static const char *const names[] = {"stdinFd", "stdoutFd", "stderrFd"};
	const bool tty = wire_get_bool(c->params, "tty");

	if (tty)
		m->exec.flags |= SPAWN_EXEC_TTY;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct json *index = wire_get(c->params, names[i]);

		if (tty && !index == (i == 0))
			return names[i];
		if (!index)
			continue;
		m->fds[m->n_fds++] = call_take_fd(c, json_integer_get(index));
		m->exec.flags |= 1U << i;
	}
	return NULL;
}

static struct exec *exec_new(struct unit *u, struct call *c)
{
	const char *cwd = wire_get_string(c->params, "cwd");
	struct exec *x = calloc(1, sizeof *x);

	if (!x)
		return NULL;
	*x = (struct exec){.number = last_exec + 1, .unit = u->number, .call = c, .begin_ns = clock_mono_ns()};
	str_copy(x->cell, sizeof x->cell, u->id);
	x->command = strdup(json_string_get(json_at(wire_get(c->params, "argv"), 0), NULL));
	x->cwd = cwd ? strdup(cwd) : NULL;
	if (x->command && !cwd == !x->cwd)
		return x;
	exec_free(x);
	return NULL;
}

/* ---- Events: who did what in whose cell, and how it went ---- */

/* As much of a name as an event needs, whole characters that can stand in a line. */
static void put_what(char *to, size_t size, uid_t uid, const char *command)
{
	int n = snprintf(to, size, "uid %u: ", uid);
	size_t len = strlen(command) < WHAT_BYTES ? strlen(command) : WHAT_BYTES;

	while (len > 0 && ((unsigned char)command[len] & 0xc0) == 0x80)
		len--;
	for (size_t i = 0; i < len && (size_t)n < size - 1; i++)
		to[n++] = command[i];
	to[n] = '\0';
	for (char *at = to; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
}

static void tell_begun(struct daemon *d, const struct unit *u, const struct exec *x)
{
	char what[WHAT_BYTES + 32];

	put_what(what, sizeof what, call_peer(x->call)->uid, x->command);
	daemon_event(d, EV_EXEC, u->f, u, NULL, "begun", what);
}

static void tell_over(struct daemon *d, const struct unit *u, const struct spawn_exec_end *m)
{
	char how[sizeof m->err.msg];

	if (m->err.kind != ERR_NONE)
		str_copy(how, sizeof how, m->err.msg);
	else
		(void)snprintf(how, sizeof how, "%s %d", m->how.code == CLD_EXITED ? "exit status" : "signal",
			       m->how.status);
	daemon_event(d, EV_EXEC, u->f, u, NULL, "ended", how);
}

/* ---- Beginning ---- */

/* fsbox-spawn has its own bound for all of them. */
static int check_room(struct daemon *d, const struct call *c, struct account **ret, struct err *e)
{
	struct account *a = account_of(d, call_peer(c)->uid);

	if (!a)
		return err_oom(e);
	if (a->execs >= call_rights(d, c)->max_execs)
		return err_set(e, ERR_CAPACITY, 0, "commands of this user");
	*ret = a;
	return 0;
}

static int send_off(struct daemon *d, struct exec *x, struct unit *u, const struct spawn_datagram *m, struct err *e)
{
	int r = check_room(d, x->call, &x->account, e);

	if (r == 0)
		r = unit_begin_exec(u, e);
	if (r < 0)
		return r;
	if (link_send(d->link, m->bytes, m->fds, m->n_fds))
		return 0;
	unit_end_exec(u);
	return err_oom(e);
}

static void begin(struct daemon *d, struct call *c, struct unit *u, struct spawn_datagram *m)
{
	struct exec *x;
	struct err e = {0};
	const char *wrong;

	spawn_exec_begin(m, last_exec + 1, u->number);
	wrong = take_texts(m, c);
	if (!wrong)
		wrong = take_fds(m, c);
	if (wrong) {
		call_invalid(c, wrong);
		return;
	}
	x = exec_new(u, c);
	if (!x) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	if (send_off(d, x, u, m, &e) < 0) {
		exec_free(x);
		answer_err(c, &e);
		return;
	}
	last_exec = x->number;
	x->next = execs;
	execs = x;
	x->account->execs++;
	c->user = x;
	call_drop_params(c);
	tell_begun(d, u, x);
}

void method_exec(struct daemon *d, struct call *c)
{
	const struct rights *r = call_rights(d, c);
	struct unit *u = named_unit(d, c);
	struct spawn_datagram *m;
	struct err e = {0};

	if (!r->exec) {
		answer_denied(c, "commands in cells need the right exec", r->rule);
		return;
	}
	if (!u || u->state == UNIT_MAKING) {
		answer_not_found(c, "cell", wire_get_string(c->params, "cell"));
		return;
	}
	m = calloc(1, sizeof *m);
	if (!m) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	begin(d, c, u, m);
	spawn_drop(m);
	free(m);
}

/* ---- Its end ---- */

void exec_client_gone(struct daemon *d, struct call *c)
{
	struct exec *x = c->user;

	c->user = NULL;
	x->call = NULL;
	(void)!link_number(d->link, SPAWN_EXEC_KILL, x->number);
	answer_done(c);
}

static void answer_failure(const struct exec *x, const struct spawn_exec_end *m)
{
	const bool exec = strcmp(m->err.stage, "exec") == 0;
	struct err e = {0};

	(void)err_adopt(&e, &m->err);
	if (e.kind == ERR_NOT_FOUND && exec)
		answer_not_found(x->call, "command", x->command);
	else if (e.kind == ERR_NOT_FOUND && strcmp(e.stage, "directory") == 0)
		answer_not_found(x->call, "directory", x->cwd ? x->cwd : "");
	else if (e.kind == ERR_NOT_FOUND)
		answer_not_found(x->call, "cell", x->cell);
	else if (exec)
		answer_denied(x->call, e.msg, "");
	else
		answer_err(x->call, &e);
}

static void answer_end(const struct exec *x, const struct spawn_exec_end *m)
{
	struct buf b = {0};
	struct wire_obj o;

	wire_obj_begin(&o, &b);
	wire_obj_int(&o, m->how.code == CLD_EXITED ? "exitStatus" : "signal", m->how.status);
	wire_obj_int(&o, "durationUs", (int64_t)((clock_mono_ns() - x->begin_ns) / 1000));
	wire_obj_end(&o);
	call_reply(x->call, &b, NULL, 0);
	buf_done(&b);
}

void exec_ended(struct daemon *d, const struct spawn_exec_end *m)
{
	struct exec **at = &execs, *x;
	struct unit *u;

	while (*at && (*at)->number != m->number)
		at = &(*at)->next;
	x = *at;
	if (!x)
		return;
	*at = x->next;
	x->account->execs--;
	u = unit_by_number(d, x->unit);
	if (u)
		tell_over(d, u, m);
	if (x->call) {
		x->call->user = NULL;
		if (m->err.kind == ERR_NONE)
			answer_end(x, m);
		else
			answer_failure(x, m);
	}
	exec_free(x);
	if (u)
		unit_end_exec(u);
}
