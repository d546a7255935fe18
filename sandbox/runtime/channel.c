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
	ERROR_MAX = ERROR_MIN + CHAN_MAX_TYPE + CHAN_MAX_MESSAGE,
	INSN_BYTES = 8, /* struct sock_filter */
};

/* clang-format off */
static const struct frame_rule rules[] = {
	{ CHAN_CALL,       CHAN_CELL, NUMBER_SOME, sizeof(struct chan_call),  CHAN_MAX_BODY },
	{ CHAN_FILTER,     CHAN_CELL, NUMBER_NONE, INSN_BYTES,                CHAN_MAX_INSNS * INSN_BYTES },
	{ CHAN_SHUTDOWN,   CHAN_CELL, NUMBER_NONE, 0,                         0 },
	{ CHAN_READY,      CHAN_HOST, NUMBER_NONE, sizeof(struct chan_ready), sizeof(struct chan_ready) },
	{ CHAN_INIT_ERROR, CHAN_HOST, NUMBER_NONE, ERROR_MIN,                 ERROR_MAX },
	{ CHAN_DATA,       CHAN_HOST, NUMBER_SOME, 0,                         CHAN_MAX_PAYLOAD },
	{ CHAN_DONE,       CHAN_HOST, NUMBER_SOME, 0,                         0 },
	{ CHAN_ERROR,      CHAN_HOST, NUMBER_SOME, ERROR_MIN,                 ERROR_MAX },
	{ CHAN_FAULT,      CHAN_HOST, NUMBER_ANY,  sizeof(struct chan_fault), sizeof(struct chan_fault) },
	{ CHAN_EXIT,       CHAN_HOST, NUMBER_NONE, sizeof(struct chan_exit),  sizeof(struct chan_exit) },
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
	if (h.len < rule->min || (h.type == CHAN_FILTER && h.len % INSN_BYTES != 0))
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

	if (body_len < sizeof err)
		return -EPROTO;
	memcpy(&err, p, sizeof err);
	if (err.type_len > CHAN_MAX_TYPE || err.message_len > CHAN_MAX_MESSAGE)
		return -EMSGSIZE;
	if (err.zero != 0 || sizeof err + err.type_len + err.message_len != body_len)
		return -EPROTO;
	*ret_view = (struct chan_error_view){
		.type = p + sizeof err,
		.type_len = err.type_len,
		.message = p + sizeof err + err.type_len,
		.message_len = err.message_len,
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
