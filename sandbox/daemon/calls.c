#include "daemon/calls.h"

#include "base/base64.h"
#include "base/fd.h"
#include "daemon/deploy.h"
#include "daemon/usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { WAIT_MS = 60000, LEASE_MS = 60000, SHRINKING_PER_USER = 4 };

const struct rights *call_rights(const struct daemon *d, const struct call *c)
{
	const struct peer *p = call_peer(c);

	return peers_find(&d->peers, p->uid, p->gid, p->groups, p->n_groups);
}

bool may_see(const struct daemon *d, const struct call *c, uid_t owner)
{
	return call_peer(c)->uid == owner || call_rights(d, c)->admin;
}

/* ---- Events ---- */

static bool take_text(struct invocation *v, const struct json *text)
{
	size_t len;
	const char *s = json_string_get(text, &len);

	buf_add(&v->event_text, s, len);
	v->event_len = len;
	return !v->event_text.failed;
}

/* Sealed, so that nobody changes or shrinks it under our hands, and of the kernel's own memory: a file of somebody's file
 * system could keep us waiting as long as that likes. */
static bool map_event(struct invocation *v, int fd)
{
	const int need = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
	const int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & need) != need || fstat(fd, &st) < 0 || st.st_size > SPEC_MAX_PAYLOAD)
		return false;
	v->event_len = (size_t)st.st_size;
	if (v->event_len == 0)
		return true;
	v->event_map = mmap(NULL, v->event_len, PROT_READ, MAP_SHARED, fd, 0);
	if (v->event_map != MAP_FAILED)
		return true;
	v->event_map = NULL;
	return false;
}

/* NULL, or the field that is at fault. */
static const char *take_event(struct invocation *v, struct call *c)
{
	const struct json *event = wire_get(c->params, "event"), *json = wire_get(event, "json"),
			  *text = wire_get(event, "text"), *base64 = wire_get(event, "base64"),
			  *fd = wire_get(event, "fd");
	size_t len;

	if (c->body) { /* beside the parameters, as it is */
		v->event_text = *c->body;
		*c->body = (struct buf){0};
		v->event_len = v->event_text.len;
		return v->event_text.failed || v->event_len > SPEC_MAX_PAYLOAD ? "event" : NULL;
	}
	if (!event) {
		buf_puts(&v->event_text, "{}");
		v->event_len = 2;
		return v->event_text.failed ? "event" : NULL;
	}
	if ((json != NULL) + (text != NULL) + (base64 != NULL) + (fd != NULL) != 1)
		return "event";
	if (json)
		json_dump_to(&v->event_text, json);
	else if (text)
		(void)take_text(v, text);
	else if (base64) {
		const char *s = json_string_get(base64, &len);

		if (!base64_decode(&v->event_text, s, len))
			return "event.base64";
	} else {
		AUTO_FD int taken = call_take_fd(c, json_integer_get(fd));

		return map_event(v, taken) ? NULL : "event.fd";
	}
	v->event_len = v->event_text.len;
	return v->event_text.failed || v->event_len > SPEC_MAX_PAYLOAD ? "event" : NULL;
}

/* ---- Invoke ---- */

static bool wants_parts(const struct call *c)
{
	return c->sink || (c->more && wire_get_bool(c->params, "stream"));
}

static struct unit *leased_unit(struct daemon *d, const struct call *c, const char *lease)
{
	struct unit *u = d->units;

	while (u && !(u->leased && strcmp(u->lease, lease) == 0 && may_see(d, c, u->f->owner)))
		u = u->next;
	return u && u->state != UNIT_ENDING && u->state != UNIT_LEAVING ? u : NULL;
}

/* The same id again: 1 when that was all there is to do. */
static int attach_again(struct daemon *d, struct call *c, const char *id)
{
	const uid_t uid = call_peer(c)->uid;
	struct invocation *v = invocation_find(d, uid, id);
	struct err e = {0};

	if (!v && once_look(&d->once, uid, id) == ONCE_NEW)
		return 0;
	if (!v) {
		answer_not_found(c, "invocation", id);
	} else if (!invocation_attach(v, c, wire_get_bool(c->params, "answerFd"), wire_get_bool(c->params, "logs"),
				      wants_parts(c))) {
		(void)err_oom(&e);
		answer_err(c, &e);
	}
	return 1;
}

/* The function or the leased cell. NULL: it has been answered. */
static struct function *callee(struct daemon *d, struct call *c, struct unit **ret_unit)
{
	const char *name = wire_get_string(c->params, "function"), *lease = wire_get_string(c->params, "lease");
	struct function *f = NULL;

	*ret_unit = NULL;
	if (!name == !lease) {
		call_invalid(c, name ? "lease" : "function");
		return NULL;
	}
	if (name) {
		f = function_find(d, call_peer(c)->uid, name);
		if (!f)
			deploy_answer_unknown(d, c, name);
		return f;
	}
	*ret_unit = leased_unit(d, c, lease);
	if (*ret_unit)
		return (*ret_unit)->f;
	answer_not_found(c, "lease", lease);
	return NULL;
}

static void drop(struct invocation *v)
{
	struct err e = {0};

	(void)err_set(&e, ERR_CANCELLED, ECANCELED, "not begun");
	invocation_refuse(v, "Cancelled", &e); /* nobody is attached: only forgotten */
}

void method_invoke(struct daemon *d, struct call *c)
{
	const char *id = wire_get_string(c->params, "invocation"), *trace = wire_get_string(c->params, "traceId"),
		   *wrong;
	struct unit *u;
	struct function *f;
	struct invocation *v;
	uint64_t ms;
	struct err e = {0};

	if (id && attach_again(d, c, id))
		return;
	f = callee(d, c, &u);
	if (!f)
		return;
	v = invocation_new(d, f, call_peer(c)->uid, id);
	if (!v) {
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	wrong = take_event(v, c);
	ms = (uint64_t)wire_get_int(c->params, "deadlineMs", (int64_t)(f->spec.timeout_ns / NS_PER_MS) + WAIT_MS);
	v->deadline_ns = v->arrived_ns + ms * NS_PER_MS;
	v->cancel_on_close = wire_get_bool(c->params, "cancelOnClose");
	str_copy(v->trace_id, sizeof v->trace_id, trace ? trace : "");
	v->wanted = u != NULL;
	v->u = u;
	if (wrong) {
		if (v->event_text.failed && err_oom(&e) < 0)
			answer_err(c, &e);
		else
			call_invalid(c, wrong);
		drop(v);
		return;
	}
	if (!invocation_attach(v, c, wire_get_bool(c->params, "answerFd"), wire_get_bool(c->params, "logs"),
			       wants_parts(c))) {
		drop(v);
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	call_drop_params(c);
	invocation_submit(v);
}

/* ---- Leases ---- */

void method_acquire(struct daemon *d, struct call *c)
{
	const char *name = wire_get_string(c->params, "function"), *token = wire_get_string(c->params, "requestToken");
	struct function *f = function_find(d, call_peer(c)->uid, name);
	char id[INVOCATION_BYTES];
	struct invocation *v;
	struct err e = {0};

	if (!f) {
		deploy_answer_unknown(d, c, name);
		return;
	}
	/* Not one that a client could choose for a call. */
	(void)snprintf(id, sizeof id, "=%s", token ? token : "");
	if (token && attach_again(d, c, id))
		return;
	v = invocation_new(d, f, call_peer(c)->uid, token ? id : NULL);
	if (!v || !invocation_attach(v, c, false, false, false)) {
		if (v)
			drop(v);
		(void)err_oom(&e);
		answer_err(c, &e);
		return;
	}
	v->lease = true;
	v->lease_ns = (uint64_t)wire_get_int(c->params, "leaseMs", LEASE_MS) * NS_PER_MS;
	v->deadline_ns = v->arrived_ns + (uint64_t)wire_get_int(c->params, "waitMs", WAIT_MS) * NS_PER_MS;
	call_drop_params(c);
	invocation_submit(v);
}

void method_release(struct daemon *d, struct call *c)
{
	struct unit *u = leased_unit(d, c, wire_get_string(c->params, "lease"));
	const struct json *reuse = wire_get(c->params, "reuse");

	if (u && (!reuse || json_bool_get(reuse)))
		unit_lease(u, NULL, 0);
	else if (u)
		unit_retire(u, "released");
	answer_existed(c, u != NULL);
	if (u)
		d->on_room(d, u->f);
}

void method_cancel(struct daemon *d, struct call *c)
{
	struct invocation *v = invocation_find(d, call_peer(c)->uid, wire_get_string(c->params, "invocation"));
	const bool there = v && v->state != INVOCATION_OVER;

	if (there)
		invocation_cancel(v);
	answer_existed(c, there);
}

/* ---- Cells ---- */

struct unit *named_unit(struct daemon *d, const struct call *c)
{
	struct unit *u = unit_find(d, wire_get_string(c->params, "cell"));

	return u && may_see(d, c, u->f->owner) && u->state != UNIT_ENDING && u->state != UNIT_LEAVING ? u : NULL;
}

static void inspect(struct call *c, struct unit *u)
{
	struct buf b = {0};
	struct wire_obj o, cell;

	usage_refresh(u);
	wire_obj_begin(&o, &b);
	wire_obj_key(&o, "cell");
	wire_obj_begin(&cell, &b);
	add_cell(&cell, u);
	wire_obj_end(&cell);
	wire_obj_end(&o);
	call_reply(c, &b, NULL, 0);
	buf_done(&b);
}

/* Answered when fsbox-spawn has done it. */
struct update {
	struct update *next;
	struct call *call;
	struct account *shrinks_for; /* who asked for less memory, which may take long; NULL: for something else */
	uint64_t cell, memory_bytes, was;
};
static struct update *updates;

static bool is_being_updated(const struct unit *u)
{
	const struct update *p = updates;

	while (p && p->cell != u->number)
		p = p->next;
	return p != NULL;
}

static int may_update(const struct unit *u, uint64_t memory_bytes, struct err *e)
{
	const struct daemon *d = u->d;
	enum shortage short_of = SHORT_OF_NOTHING;

	if (is_being_updated(u))
		return err_set(e, ERR_BUSY, EBUSY, "its limits are being changed");
	if (memory_bytes > u->memory_bytes)
		short_of = function_may_take(u->f, 0, memory_bytes - u->memory_bytes);
	/* Who may have all that there is is not short by the policy. */
	if (short_of == SHORT_OF_OWN_MEMORY && function_rights(u->f)->memory_bytes < d->config.memory_bytes)
		return err_set(e, ERR_DENIED, 0, "more than the daemon's policy gives this user");
	return short_of == SHORT_OF_NOTHING ? 0 : err_set(e, ERR_CAPACITY, 0, "%s", shortage_name(SHORT_OF_MEMORY));
}

/* The kernel may take its time, and fsbox-spawn has so many places: none of the users may have them all. */
static int may_shrink(struct account *a, struct err *e)
{
	if (!a)
		return err_oom(e);
	if (a->shrinking >= SHRINKING_PER_USER)
		return err_set(e, ERR_BUSY, EBUSY, "the limits of %d other cells are being lowered for this user",
			       SHRINKING_PER_USER);
	return 0;
}

static int send_update(struct daemon *d, const struct unit *u, const struct update *p, uint32_t pids, struct err *e)
{
	struct spawn_limits m;

	spawn_begin(&m, SPAWN_LIMITS, sizeof m);
	m.cell = u->number;
	m.memory_bytes = p->memory_bytes;
	m.pids = pids;
	return link_send(d->link, &m, NULL, 0) ? 0 : err_oom(e);
}

static int begin_update(struct daemon *d, struct call *c, struct unit *u, struct update *p, struct err *e)
{
	int r = may_update(u, p->memory_bytes, e);

	if (r == 0 && p->memory_bytes != 0 && p->memory_bytes < u->memory_bytes) {
		p->shrinks_for = account_of(d, call_peer(c)->uid);
		r = may_shrink(p->shrinks_for, e);
	}
	if (r == 0)
		r = send_update(d, u, p, (uint32_t)wire_get_int(c->params, "pids", 0), e);
	return r;
}

static void update(struct daemon *d, struct call *c, struct unit *u)
{
	const uint64_t memory = (uint64_t)wire_get_int(c->params, "memoryMb", 0) << 20;
	struct update *p = malloc(sizeof *p), **at = &updates;
	struct err e = {0};
	int r;

	if (p)
		*p = (struct update){.call = c, .cell = u->number, .memory_bytes = memory, .was = u->memory_bytes};
	r = p ? begin_update(d, c, u, p, &e) : err_oom(&e);
	if (r < 0) {
		free(p);
		answer_err(c, &e);
		return;
	}
	if (p->shrinks_for)
		p->shrinks_for->shrinking++;
	if (memory > u->memory_bytes) /* counted when it is asked for: another one may be before this is done */
		unit_resize(u, memory);
	while (*at)
		at = &(*at)->next;
	*at = p;
	c->user = p;
}

void cell_done(struct daemon *d, const struct spawn_done *m)
{
	struct update **at = &updates, *p;
	struct unit *u = unit_by_number(d, m->number);
	struct err e = {0};

	while (*at && (*at)->cell != m->number)
		at = &(*at)->next;
	p = *at;
	if (!p)
		return;
	*at = p->next;
	if (p->shrinks_for)
		p->shrinks_for->shrinking--;
	if (m->err.kind != ERR_NONE)
		(void)err_adopt(&e, &m->err);
	if (u && p->memory_bytes > 0)
		unit_resize(u, m->err.kind == ERR_NONE ? p->memory_bytes : p->was);
	if (p->call && m->err.kind == ERR_NONE)
		answer_done(p->call);
	else if (p->call)
		answer_err(p->call, &e);
	free(p);
}

void cell_client_gone(struct daemon *d, struct call *c)
{
	struct update *p = c->user;

	(void)d;
	if (p)
		p->call = NULL;
	answer_done(c);
}

void method_about_cell(struct daemon *d, struct call *c)
{
	struct unit *u = named_unit(d, c);
	const int method = c->method->id;
	struct err e = {0};

	if (!u && (method == M_KILL || method == M_REMOVE)) {
		answer_existed(c, false);
		return;
	}
	if (!u) {
		answer_not_found(c, "cell", wire_get_string(c->params, "cell"));
		return;
	}
	switch (method) {
	case M_INSPECT:
		inspect(c, u);
		return;
	case M_UPDATE:
		update(d, c, u);
		return;
	case M_PAUSE:
	case M_RESUME:
		if (unit_pause(u, method == M_PAUSE, &e) < 0)
			answer_err(c, &e);
		else
			answer_done(c);
		return;
	case M_KILL:
		/* A call that runs has its outcome of the cell's death. Otherwise no call may come to it between this and
		 * the news of that, and one that waits for its initialization goes to another cell. */
		if (u->state == UNIT_BUSY)
			(void)!link_number(d->link, SPAWN_KILL, u->number);
		else
			unit_end(u, "killed");
		break;
	case M_REMOVE:
		if (u->invocation)
			invocation_cancel(u->invocation);
		else
			unit_leave(u, "removed");
		break;
	default:
		break;
	}
	answer_existed(c, true);
}
