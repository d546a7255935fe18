/* The frames of the channel as bytes: what both sides accept, and nothing more. */
#include "runtime/channel.h"

#include <errno.h>
#include <string.h>

enum number { NUMBER_NONE, NUMBER_SOME, NUMBER_ANY }; /* of the call in the head */

struct frame_rule {
	uint16_t type;
	enum chan_side reader;
	enum number number;
	uint32_t min, max; /* bytes of the body */
};

enum {
	ERROR_MIN = sizeof(struct chan_error),
	ERROR_MAX = ERROR_MIN + CHAN_MAX_TYPE + CHAN_MAX_MESSAGE + CHAN_MAX_DOCUMENT,
	INSN_BYTES = 8, /* struct sock_filter */
	RESTORE_MIN = sizeof(struct chan_restore),
	RESTORED = sizeof(struct chan_restored),
	REPORT = sizeof(struct chan_report),
};

/* clang-format off */
static const struct frame_rule rules[] = {
	{ CHAN_CALL,       CHAN_CELL, NUMBER_SOME, sizeof(struct chan_call),  CHAN_MAX_BODY },
	{ CHAN_FILTER,     CHAN_CELL, NUMBER_NONE, INSN_BYTES,                CHAN_MAX_INSNS * INSN_BYTES },
	{ CHAN_SHUTDOWN,   CHAN_CELL, NUMBER_NONE, 0,                         0 },
	{ CHAN_SNAPSHOT,   CHAN_CELL, NUMBER_NONE, 0,                         0 },
	{ CHAN_RESTORE,    CHAN_CELL, NUMBER_NONE, RESTORE_MIN,               RESTORE_MIN + CHAN_MAX_ENV },
	{ CHAN_DRAW,       CHAN_CELL, NUMBER_NONE, 0,                         0 },
	{ CHAN_REPORT,     CHAN_CELL, NUMBER_SOME, REPORT,                    REPORT },
	{ CHAN_READY,      CHAN_HOST, NUMBER_NONE, sizeof(struct chan_ready), sizeof(struct chan_ready) },
	{ CHAN_INIT_ERROR, CHAN_HOST, NUMBER_NONE, ERROR_MIN,                 ERROR_MAX },
	{ CHAN_DATA,       CHAN_HOST, NUMBER_SOME, 0,                         CHAN_MAX_PAYLOAD },
	{ CHAN_DONE,       CHAN_HOST, NUMBER_SOME, 0,                         0 },
	{ CHAN_ERROR,      CHAN_HOST, NUMBER_SOME, ERROR_MIN,                 ERROR_MAX },
	{ CHAN_FAULT,      CHAN_HOST, NUMBER_ANY,  sizeof(struct chan_fault), sizeof(struct chan_fault) },
	{ CHAN_EXIT,       CHAN_HOST, NUMBER_NONE, sizeof(struct chan_exit),  sizeof(struct chan_exit) },
	{ CHAN_PARKED,     CHAN_HOST, NUMBER_NONE, 0,                         sizeof(struct chan_parked) },
	{ CHAN_RESTORED,   CHAN_HOST, NUMBER_NONE, RESTORED,                  RESTORED },
	{ CHAN_DRAWN,      CHAN_HOST, NUMBER_NONE, 0,                         CHAN_MAX_DRAWN },
};
/* clang-format on */

static const struct frame_rule *find_rule(uint16_t type)
{
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		if (rules[i].type == type)
			return &rules[i];
	}
	return NULL;
}

int chan_head_parse(const void *bytes, enum chan_side reader, struct chan_head *ret_head)
{
	const struct frame_rule *rule;
	struct chan_head h;

	memcpy(&h, bytes, sizeof h); /* @bytes need not be aligned */
	rule = find_rule(h.type);
	if (!rule || rule->reader != reader || h.zero != 0)
		return -EPROTO;
	if (h.len > rule->max)
		return -EMSGSIZE;
	if (h.len < rule->min || (h.type == CHAN_FILTER && h.len % INSN_BYTES != 0) ||
	    (h.type == CHAN_PARKED && h.len != 0 && h.len != rule->max))
		return -EPROTO;
	if (rule->number != NUMBER_ANY && (h.call != 0) != (rule->number == NUMBER_SOME))
		return -EPROTO;
	*ret_head = h;
	return 0;
}

ptrdiff_t chan_call_parse(const void *body, size_t have, size_t body_len, struct chan_call_view *ret_view)
{
	const char *p = body;
	struct chan_call c;
	size_t event_at;

	if (body_len < sizeof c)
		return -EPROTO;
	if (have < sizeof c)
		return 0;
	memcpy(&c, p, sizeof c);
	if (c.id_len > CHAN_MAX_ID || c.trace_len > CHAN_MAX_TRACE || c.event_len > CHAN_MAX_PAYLOAD)
		return -EMSGSIZE;
	event_at = sizeof c + c.id_len + c.trace_len; /* cannot overflow: the limits were just checked */
	if (event_at + c.event_len != body_len)
		return -EPROTO;
	if (have < event_at)
		return 0;
	if (memchr(p + sizeof c, 0, event_at - sizeof c)) /* they become C strings in the runtime */
		return -EPROTO;
	*ret_view = (struct chan_call_view){
		.fixed = c,
		.id = p + sizeof c,
		.trace = p + sizeof c + c.id_len,
		.event_at = event_at,
	};
	return (ptrdiff_t)event_at;
}

int chan_error_parse(const void *body, size_t body_len, struct chan_error_view *ret_view)
{
	const char *p = body;
	struct chan_error err;
	size_t document_at;

	if (body_len < sizeof err)
		return -EPROTO;
	memcpy(&err, p, sizeof err);
	if (err.type_len > CHAN_MAX_TYPE || err.message_len > CHAN_MAX_MESSAGE)
		return -EMSGSIZE;
	document_at = sizeof err + err.type_len + err.message_len;
	if (err.zero != 0 || document_at > body_len)
		return -EPROTO;
	if (body_len - document_at > CHAN_MAX_DOCUMENT)
		return -EMSGSIZE;
	*ret_view = (struct chan_error_view){
		.type = p + sizeof err,
		.type_len = err.type_len,
		.message = p + sizeof err + err.type_len,
		.message_len = err.message_len,
		.document = p + document_at,
		.document_len = body_len - document_at,
	};
	return 0;
}

bool chan_exit_parse(const void *tail, struct chan_exit *ret_exit)
{
	struct chan_head h;
	struct chan_exit x;

	if (chan_head_parse(tail, CHAN_HOST, &h) < 0 || h.type != CHAN_EXIT)
		return false;
	memcpy(&x, (const char *)tail + sizeof h, sizeof x);
	if (x.magic != CHAN_EXIT_MAGIC)
		return false;
	*ret_exit = x;
	return true;
}

bool chan_fault_parse(const void *tail, struct chan_fault *ret_fault)
{
	struct chan_head h;

	if (chan_head_parse(tail, CHAN_HOST, &h) < 0 || h.type != CHAN_FAULT)
		return false;
	memcpy(ret_fault, (const char *)tail + sizeof h, sizeof *ret_fault);
	return true;
}

static bool is_clone_id(const char id[static 16])
{
	for (size_t i = 0; i < 16; i++) {
		const char c = id[i];

		if (i < CHAN_CLONE_ID_LEN ? !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) : c != '\0')
			return false;
	}
	return true;
}

/* Strings with a name and a '=', each terminated, and nothing behind them. */
static bool is_environment(const char *env, size_t len)
{
	size_t at = 0;

	while (at < len) {
		const char *string = env + at, *end = memchr(string, 0, len - at);
		const char *equals = end ? memchr(string, '=', (size_t)(end - string)) : NULL;

		if (!equals || equals == string)
			return false;
		at += (size_t)(end - string) + 1;
	}
	return true;
}

int chan_restore_parse(const void *body, size_t body_len, struct chan_restore_view *ret_view)
{
	const char *p = body;
	struct chan_restore r;

	if (body_len < sizeof r)
		return -EPROTO;
	memcpy(&r, p, sizeof r);
	if (r.env_len > CHAN_MAX_ENV)
		return -EMSGSIZE;
	if (sizeof r + r.env_len != body_len || r.zero != 0 || (r.flags & ~(uint32_t)CHAN_KEEP_SEEDS) != 0 ||
	    r.elapsed_ns < 0 || !is_clone_id(r.clone_id) || !is_environment(p + sizeof r, r.env_len))
		return -EPROTO;
	*ret_view = (struct chan_restore_view){.fixed = r, .env = p + sizeof r};
	return 0;
}

const char *chan_restore_env(const struct chan_restore_view *v, size_t *at)
{
	const char *string = v->env + *at;

	if (*at >= v->fixed.env_len)
		return NULL;
	*at += strlen(string) + 1;
	return string;
}

int chan_drawn_next(const void *body, size_t body_len, size_t *at, struct chan_drawn_view *ret_view)
{
	const uint8_t *p = (const uint8_t *)body + *at;
	const size_t have = body_len - *at;
	struct chan_drawn d;

	if (have == 0)
		return 0;
	if (have < sizeof d)
		return -EPROTO;
	memcpy(&d, p, sizeof d);
	if (d.name_len > CHAN_MAX_DRAWN_NAME || d.value_len > CHAN_MAX_DRAWN_VALUE)
		return -EMSGSIZE;
	if (d.name_len == 0 || d.value_len == 0 || (size_t)d.name_len + d.value_len > have - sizeof d)
		return -EPROTO;
	for (size_t i = 0; i < d.name_len; i++) {
		if (p[sizeof d + i] <= ' ' || p[sizeof d + i] > '~')
			return -EPROTO;
	}
	*ret_view = (struct chan_drawn_view){
		.name = (const char *)p + sizeof d,
		.name_len = d.name_len,
		.value = p + sizeof d + d.name_len,
		.value_len = d.value_len,
	};
	*at += sizeof d + d.name_len + d.value_len;
	return 1;
}
