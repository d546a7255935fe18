/* From a message to a call, and from a handler's answer to a message. */
#include "daemon/conn.h"

#include "base/fd.h"

#include <stdio.h>

static struct buf *scratch(struct server *s)
{
	s->scratch.len = 0;
	s->scratch.failed = false;
	return &s->scratch;
}

/* ---- Answers ---- */

static void send_text(struct conn *c, const char *before, const struct buf *params, const char *after, size_t after_len,
		      int *fds, size_t n_fds)
{
	const bool has = params && params->len > 0;
	const struct out_text parts[OUT_TEXTS] = {
		{before, strlen(before)},
		{has ? params->data : "{}", has ? params->len : 2},
		{after, after_len},
	};

	out_message(c, parts, fds, n_fds);
}

static bool hears(const struct call *c)
{
	return !c->oneway && !c->gone;
}

/* Sends one answer, or closes the connection when its text could not be made: its client must not wait for ever. */
static void answer(struct call *c, const struct buf *params, bool continues, int *fds, size_t n_fds)
{
	static const char last[] = "}", more[] = ",\"continues\":true}";

	if (!hears(c))
		close_fds(fds, n_fds);
	else if (params && params->failed) {
		close_fds(fds, n_fds);
		conn_break(c->conn);
	} else
		send_text(c->conn, "{\"parameters\":", params, continues ? more : last,
			  continues ? sizeof more : sizeof last, fds, n_fds);
}

void call_reply(struct call *c, const struct buf *params, int *fds, size_t n_fds)
{
	if (c->sink) {
		close_fds(fds, n_fds);
		c->sink->reply(c, params);
		return;
	}
	answer(c, params, false, fds, n_fds);
	conn_end_call(c->conn);
}

bool call_continue(struct call *c, const struct buf *params, int *fds, size_t n_fds)
{
	struct conn *conn = c->conn;
	const struct server_config *config = &conn->s->config;

	if (hears(c) &&
	    (!c->more || conn->queued >= config->max_queued || conn->queued_bytes >= config->max_queued_bytes)) {
		close_fds(fds, n_fds);
		conn->refused = c->more;
		return false;
	}
	answer(c, params, true, fds, n_fds);
	return true;
}

static void send_error(struct conn *c, const char *error, const struct buf *params)
{
	char before[200];

	(void)snprintf(before, sizeof before,
		       "{\"error\":\"%s\",\"parameters\":", error); /* a name of a table: plain text */
	send_text(c, before, params, "}", 2, NULL, 0);
}

void call_error(struct call *c, const char *error, const struct buf *params)
{
	if (c->sink) {
		c->sink->error(c, error, params);
		return;
	}
	if (hears(c) && params && params->failed)
		conn_break(c->conn);
	else if (hears(c))
		send_error(c->conn, error, params);
	conn_end_call(c->conn);
}

static struct buf *name(struct server *s, const char *key, const char *value, size_t len)
{
	struct buf *b = scratch(s);
	struct wire_obj o;

	wire_obj_begin(&o, b);
	wire_obj_bytes(&o, key, value, len);
	wire_obj_end(&o);
	return b;
}

static void send_named(struct conn *c, const char *error, const char *key, const char *value, size_t len)
{
	const struct buf *b = name(c->s, key, value, len);

	if (b->failed)
		conn_break(c);
	else
		send_error(c, error, b);
}

void call_invalid(struct call *c, const char *parameter)
{
	if (c->sink) {
		c->sink->error(c, WIRE_INVALID_PARAMETER, name(c->conn->s, "parameter", parameter, strlen(parameter)));
		return;
	}
	if (hears(c))
		send_named(c->conn, WIRE_INVALID_PARAMETER, "parameter", parameter, strlen(parameter));
	conn_end_call(c->conn);
}

/* ---- What a call holds ---- */

int call_take_fd(struct call *c, int64_t index)
{
	int fd;

	if (index < 0 || (uint64_t)index >= c->n_fds)
		return FD_NONE;
	fd = take_fd(&c->fds[index]);
	(void)server_count(c->conn); /* less than before */
	return fd;
}

void call_drop_params(struct call *c)
{
	if (c->sink) {
		c->sink->drop_params(c);
		return;
	}
	json_doc_free(c->conn->doc);
	c->conn->doc = NULL;
	c->params = NULL;
}

size_t call_backlog(const struct call *c)
{
	return c->conn->queued_bytes;
}

const struct peer *call_peer(const struct call *c)
{
	return &c->conn->peer;
}

/* ---- org.varlink.service ---- */

static void get_info(struct call *c)
{
	const struct server_config *config = &c->conn->s->config;
	struct buf *b = scratch(c->conn->s);
	struct wire_obj o;

	wire_obj_begin(&o, b);
	wire_obj_string(&o, "vendor", config->vendor ? config->vendor : "");
	wire_obj_string(&o, "product", config->product ? config->product : "");
	wire_obj_string(&o, "version", config->version ? config->version : "");
	wire_obj_string(&o, "url", config->url ? config->url : "");
	wire_obj_key(&o, "interfaces");
	buf_puts(b, "[\"org.varlink.service\"");
	for (const struct wire_interface *const *i = config->interfaces; *i; i++)
		buf_printf(b, ",\"%s\"", (*i)->name);
	buf_puts(b, "]");
	wire_obj_end(&o);
	call_reply(c, b, NULL, 0);
}

static const struct wire_interface *find_interface(const struct server *s, const char *name, size_t len)
{
	if (strncmp(wire_service.name, name, len) == 0 && wire_service.name[len] == '\0')
		return &wire_service;
	for (const struct wire_interface *const *i = s->config.interfaces; *i; i++)
		if (strncmp((*i)->name, name, len) == 0 && (*i)->name[len] == '\0')
			return *i;
	return NULL;
}

static void get_description(struct call *c)
{
	AUTO(buf_done) struct buf text = {0};
	const char *name = wire_get_string(c->params, "interface");
	const struct wire_interface *i = find_interface(c->conn->s, name, strlen(name));
	struct buf *b;
	struct wire_obj o;

	if (!i) {
		if (hears(c))
			send_named(c->conn, WIRE_INTERFACE_NOT_FOUND, "interface", name, strlen(name));
		conn_end_call(c->conn);
		return;
	}
	wire_describe(&text, i);
	b = scratch(c->conn->s);
	wire_obj_begin(&o, b);
	wire_obj_bytes(&o, "description", text.data, text.len);
	wire_obj_end(&o);
	b->failed = b->failed || text.failed;
	call_reply(c, b, NULL, 0);
}

static void serve_service(struct call *c)
{
	switch ((enum wire_service_id)c->method->id) {
	case WIRE_GET_INFO:
		get_info(c);
		return;
	case WIRE_GET_INTERFACE_DESCRIPTION:
		get_description(c);
		return;
	}
}

/* ---- Finding and checking ---- */

/* What is known of a message before it is a call. */
struct request {
	struct wire_call w;
	const struct wire_interface *interface;
	const struct wire_method *method;
	struct err e;
};

static bool all_valid(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!fd_valid(fds[i]))
			return false;
	return true;
}

/* The table's word on the request: NULL, or an error's name with *key and *value, if it has a parameter. */
static const char *judge(struct conn *c, struct request *q, const int *fds, size_t n_fds, const char **key,
			 const char **value, size_t *len)
{
	const struct server_config *config = &c->s->config;
	const char *dot = memrchr(q->w.method, '.', q->w.method_len);

	*key = "parameter";
	*value = "method";
	*len = strlen("method");
	if (!dot)
		return WIRE_INVALID_PARAMETER;
	*value = q->w.method;
	*len = (size_t)(dot - q->w.method);
	*key = "interface";
	q->interface = find_interface(c->s, *value, *len);
	if (!q->interface)
		return WIRE_INTERFACE_NOT_FOUND;
	q->method = wire_find_method(q->interface, dot + 1, q->w.method_len - *len - 1);
	*key = "method";
	*len = q->w.method_len;
	if (!q->method)
		return WIRE_METHOD_NOT_FOUND;
	if (q->w.upgrade && !(q->method->flags & WIRE_UPGRADE))
		return WIRE_METHOD_NOT_IMPLEMENTED;
	*key = NULL;
	if (q->interface != &wire_service && config->ops->allowed &&
	    !config->ops->allowed(config->arg, &c->peer, q->method))
		return WIRE_PERMISSION_DENIED;
	if ((q->method->flags & WIRE_NEEDS_MORE) && !q->w.more)
		return WIRE_EXPECTED_MORE;
	*key = "parameter";
	*value = "fds";
	*len = strlen("fds");
	if (n_fds > q->method->max_fds || !all_valid(fds, n_fds))
		return WIRE_INVALID_PARAMETER;
	if (wire_check(q->method->in, q->w.params, n_fds, &q->e) < 0) {
		*value = q->e.where;
		*len = strlen(q->e.where);
		return WIRE_INVALID_PARAMETER;
	}
	return NULL;
}

static void refuse(struct conn *c, const char *error, const char *key, const char *value, size_t len)
{
	if (key)
		send_named(c, error, key, value, len);
	else
		send_error(c, error, NULL);
}

/* A message that is none: the answer names the member, or says what is wrong with the whole; after what is not even
 * an object there is no going on. */
static void refuse_message(struct conn *c, const struct request *q)
{
	const char *member = q->e.where;
	char whole[sizeof q->e.msg + sizeof "message: "];

	if (q->e.code == ENOMEM) { /* ours and not the client's: who finds the connection broken may call again */
		conn_break(c);
		return;
	}
	c->s->counts.bad_messages++;
	if (member[0] == '\0') {
		(void)snprintf(whole, sizeof whole, "message: %s", q->e.msg);
		member = whole;
	}
	if (!q->w.oneway)
		refuse(c, WIRE_INVALID_PARAMETER, "parameter", member, strlen(member));
	if (member == whole)
		c->closing = true;
}

static bool open_call(struct conn *c, struct request *q, const int *fds, size_t n_fds)
{
	struct call *call = &c->call;

	*call = (struct call){
		.conn = c,
		.interface = q->interface,
		.method = q->method,
		.params = q->w.params ? q->w.params : json_doc_root(c->s->empty),
		.more = q->w.more && (q->method->flags & (WIRE_MORE | WIRE_NEEDS_MORE)),
		.oneway = q->w.oneway,
		.upgrade = q->w.upgrade,
		.gone = c->dead,
	};
	if (n_fds > 0) {
		call->fds = reallocarray(NULL, n_fds, sizeof *fds);
		if (!call->fds)
			return false;
		memcpy(call->fds, fds, n_fds * sizeof *fds);
		call->n_fds = n_fds;
	}
	c->doc = take_ptr(&q->w.doc);
	c->open = true;
	c->s->counts.calls++;
	c->s->counts.open_calls++;
	return true;
}

static void tell(struct conn *c)
{
	const struct server_config *config = &c->s->config;

	c->dispatching = true;
	if (c->call.interface == &wire_service)
		serve_service(&c->call);
	else
		config->ops->call(config->arg, &c->call);
	c->dispatching = false;
	if (c->open && c->call.gone && config->ops->gone) /* it was dead before its call was read */
		config->ops->gone(config->arg, &c->call);
}

/* What it is nobody has looked at, not even whether it wants an answer. */
static void refuse_long(struct conn *c)
{
	const struct server_config *config = &c->s->config;
	struct buf *b = scratch(c->s);
	struct wire_obj o;

	wire_obj_begin(&o, b);
	wire_obj_int(&o, "maxBytes", (int64_t)config->max_message_bytes);
	wire_obj_end(&o);
	send_error(c, config->too_long, b);
	(void)server_count(c);
}

void dispatch(struct conn *c, const struct wire_message *m, int *fds, size_t n_fds)
{
	struct request q = {0};
	const char *key, *value, *error;
	size_t len;

	if (!m->text) {
		refuse_long(c);
		return;
	}
	if (wire_call_parse(m->text, m->len, &q.w, &q.e) < 0) {
		refuse_message(c, &q);
		close_fds(fds, n_fds);
		(void)server_count(c);
		return;
	}
	error = judge(c, &q, fds, n_fds, &key, &value, &len);
	if (error && !q.w.oneway)
		refuse(c, error, key, value, len);
	if (error || !open_call(c, &q, fds, n_fds)) {
		if (!error) /* out of memory, and the client waits for an answer */
			conn_break(c);
		close_fds(fds, n_fds);
		(void)server_count(c);
	} else {
		tell(c);
	}
	wire_call_done(&q.w);
}
