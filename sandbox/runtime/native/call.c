/* One call: from the CALL frame to DONE or ERROR, and the functions of fsbox.h between them.
 *
 * A small answer waits in the output buffer and leaves with DONE in one write. A failure takes the buffer over: what
 * was answered before does not count any more. Larger answers and streamed parts go out at once, as their memory is
 * the function's. */
#include "runtime/native/native.h"

#include <stdarg.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	SMALL_ANSWER = 16384,  /* copied, to save a system call */
	EVENT_MAPPED = 131072, /* events from this size on get pages of their own, given back after the call */
	ERROR_BODY_MAX = sizeof(struct chan_error) + CHAN_MAX_TYPE + CHAN_MAX_MESSAGE,
	OUT_BYTES = sizeof(struct chan_head) + ERROR_BODY_MAX,
};

_Static_assert(2 * sizeof(struct chan_head) + SMALL_ANSWER <= OUT_BYTES, "DATA and DONE fit");
_Static_assert(sizeof(struct chan_call) + CHAN_MAX_ID + CHAN_MAX_TRACE <= LINK_PEEK_MAX, "the front can be peeked at");

enum call_state { CALL_ENDED, CALL_OPEN, CALL_ANSWERED, CALL_STREAMING, CALL_FAILED };

struct fsbox_call {
	enum call_state state;
	uint64_t number;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	uint8_t *event;       /* a 0 byte follows */
	size_t event_len;
	size_t sent;    /* bytes of the answer that were taken */
	size_t refused; /* size of an answer that was too large and was not replaced by another */
	size_t out_len; /* bytes of out[] */
	char id[CHAN_MAX_ID + 1];
};

/* The environment keeps pointing to it (putenv(3)): setenv() would leak a string for every call. */
#define TRACE_NAME "_X_AMZN_TRACE_ID"
static char trace_env[sizeof TRACE_NAME + CHAN_MAX_TRACE + 1] = TRACE_NAME "=";
#define TRACE_ID (trace_env + sizeof TRACE_NAME)

static struct fsbox_call call;
static uint8_t out[OUT_BYTES];
static uint8_t no_event[1];
static pid_t self;
static struct {
	const char *name, *version;
	unsigned memory_mb;
} config = {.name = "", .version = ""};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static unsigned parse_number(const char *s)
{
	unsigned n = 0;

	for (; s && *s >= '0' && *s <= '9' && n <= (UINT_MAX - 9) / 10; s++)
		n = n * 10 + (unsigned)(*s - '0');
	return n;
}

void call_setup(void)
{
	const char *name = secure_getenv("AWS_LAMBDA_FUNCTION_NAME");
	const char *version = secure_getenv("AWS_LAMBDA_FUNCTION_VERSION");

	config.name = name ? name : "";
	config.version = version ? version : "";
	config.memory_mb = parse_number(secure_getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
	self = getpid();
}

void call_set_memory(unsigned mb)
{
	config.memory_mb = mb;
}

void call_end_child(const char *function)
{
	if (getpid() == self)
		return;
	(void)dprintf(STDERR_FILENO, "fsbox: a forked child returned from %s; it ends here\n", function);
	_exit(1);
}

/* ---- The frames of an answer ---- */

static void out_add(const void *data, size_t len)
{
	if (len)
		memcpy(out + call.out_len, data, len); /* fits: every caller has a bound, asserted above */
	call.out_len += len;
}

static void out_head(uint16_t type, uint64_t number, size_t len)
{
	struct chan_head head = {.len = (uint32_t)len, .type = type, .call = number};

	out_add(&head, sizeof head);
}

static int out_flush(void)
{
	struct iovec iov = {out, call.out_len};

	call.out_len = 0;
	return link_write(&iov, 1);
}

/* The longest front of @s of at most @max bytes that does not cut a UTF-8 character in two. */
static size_t bounded_len(const char *s, size_t max)
{
	size_t len = strnlen(s, max + 1), cut;

	if (len <= max)
		return len;
	for (cut = max; cut > max - 3 && ((uint8_t)s[cut] & 0xc0) == 0x80; cut--)
		; /* s[cut] continues a character: it cannot start the rest */
	return ((uint8_t)s[cut] & 0xc0) == 0x80 ? max : cut;
}

static void out_error(uint16_t frame, uint64_t number, const char *type, const char *message)
{
	struct chan_error err = {
		.type_len = (uint16_t)bounded_len(type, CHAN_MAX_TYPE),
		.message_len = (uint32_t)bounded_len(message, CHAN_MAX_MESSAGE),
	};

	call.out_len = 0;
	out_head(frame, number, sizeof err + err.type_len + err.message_len);
	out_add(&err, sizeof err);
	out_add(type, err.type_len);
	out_add(message, err.message_len);
}

int call_init_failed(const char *type, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)fflush(stdout); /* what the function printed comes before what is said about it */
	out_error(CHAN_INIT_ERROR, 0, type, text);
	(void)out_flush(); /* when nobody listens, the exit status still tells */
	return 1;
}

/* ---- fsbox.h ---- */

const void *fsbox_event(const fsbox_call *c, size_t *len)
{
	if (len)
		*len = c->event_len;
	return c->event ? c->event : no_event;
}

static int refuse(fsbox_call *c, size_t total)
{
	c->refused = total;
	return -EMSGSIZE;
}

int fsbox_respond(fsbox_call *c, const void *data, size_t len)
{
	int r = 0;

	if (c->state != CALL_OPEN)
		return -EALREADY;
	if (!data && len)
		return -EINVAL;
	if (len > FSBOX_MAX_PAYLOAD)
		return refuse(c, len);
	c->state = CALL_ANSWERED;
	c->refused = 0;
	c->sent = len;
	if (len > SMALL_ANSWER) {
		r = link_send(CHAN_DATA, c->number, data, len);
	} else if (len > 0) {
		out_head(CHAN_DATA, c->number, len);
		out_add(data, len);
	}
	return r;
}

int fsbox_write(fsbox_call *c, const void *data, size_t len)
{
	if (c->state != CALL_OPEN && c->state != CALL_STREAMING)
		return -EALREADY;
	if (!data && len)
		return -EINVAL;
	if (len > FSBOX_MAX_PAYLOAD - c->sent)
		return refuse(c, len > SIZE_MAX - c->sent ? SIZE_MAX : c->sent + len);
	c->state = CALL_STREAMING;
	if (len == 0)
		return 0;
	c->sent += len;
	return link_send(CHAN_DATA, c->number, data, len);
}

int fsbox_fail(fsbox_call *c, const char *type, const char *message)
{
	if (c->state != CALL_ENDED && c->state != CALL_FAILED) { /* the first failure is the one that explains */
		c->state = CALL_FAILED;
		out_error(CHAN_ERROR, c->number, type ? type : "", message ? message : "");
	}
	return 1;
}

const char *fsbox_request_id(const fsbox_call *c)
{
	return c->id;
}

int64_t fsbox_remaining_ms(const fsbox_call *c)
{
	uint64_t now = now_ns();

	return c->deadline_ns > now ? (int64_t)((c->deadline_ns - now) / 1000000) : 0;
}

const char *fsbox_trace_id(const fsbox_call *c)
{
	(void)c;
	return TRACE_ID;
}

const char *fsbox_function_name(void)
{
	return config.name;
}

const char *fsbox_function_version(void)
{
	return config.version;
}

unsigned fsbox_memory_mb(void)
{
	return config.memory_mb;
}

/* ---- The life of a call ---- */

static bool event_is_mapped(void)
{
	return call.event_len >= EVENT_MAPPED;
}

/* A 0 byte stands after the event. malloc() would keep a large block once it has seen one freed (mallopt(3),
 * M_MMAP_THRESHOLD is dynamic), so large events do not go through it. */
static int event_alloc(size_t len)
{
	call.event_len = len;
	if (event_is_mapped()) {
		void *p = mmap(NULL, len + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		call.event = p == MAP_FAILED ? NULL : p;
	} else {
		call.event = malloc(len + 1);
		if (call.event)
			call.event[len] = 0;
	}
	if (call.event)
		return 0;
	call.event_len = 0;
	return -ENOMEM;
}

static void event_free(void)
{
	if (event_is_mapped())
		(void)munmap(call.event, call.event_len + 1);
	else
		free(call.event);
	call.event = NULL;
	call.event_len = 0;
}

static void set_trace(const char *trace, size_t len)
{
	bool had = TRACE_ID[0] != '\0';

	memcpy(TRACE_ID, trace, len);
	TRACE_ID[len] = '\0';
	if (len)
		(void)putenv(trace_env); /* again for every call: the function may have set the variable itself */
	else if (had)
		(void)unsetenv(TRACE_NAME);
}

/* Takes everything before the event. The event's length, or -errno. */
static ssize_t read_front(const struct chan_head *head)
{
	size_t want = sizeof(struct chan_call);
	struct chan_call_view v;
	const uint8_t *body;
	ptrdiff_t at;
	int r;

	for (;;) {
		r = link_peek(want, &body);
		if (r < 0)
			return r;
		at = chan_call_parse(body, want, head->len, &v);
		if (at != 0)
			break;
		/* The fixed part was fine, and it tells how long the rest is. */
		memcpy(&v.fixed, body, sizeof v.fixed);
		want = sizeof v.fixed + v.fixed.id_len + v.fixed.trace_len;
	}
	if (at < 0)
		return at;
	memcpy(call.id, v.id, v.fixed.id_len);
	call.id[v.fixed.id_len] = '\0';
	set_trace(v.trace, v.fixed.trace_len);
	call.number = head->call;
	call.deadline_ns = now_ns();
	if (__builtin_add_overflow(call.deadline_ns, v.fixed.remaining_ns, &call.deadline_ns))
		call.deadline_ns = UINT64_MAX;
	r = link_read(NULL, (size_t)at);
	return r < 0 ? r : (ssize_t)v.fixed.event_len;
}

static int finish(int result)
{
	char text[160];

	/* Printed before DONE means shown before END. Not fflush(NULL): it waits for the lock of every stream, also of
	 * one on which another thread of the function is blocked in a read. */
	(void)fflush(stdout);
	if (call.state != CALL_FAILED && call.refused) {
		(void)snprintf(text, sizeof text,
			       "Response payload size (%zu bytes) exceeded maximum allowed payload size (%d bytes).",
			       call.refused, FSBOX_MAX_PAYLOAD);
		(void)fsbox_fail(&call, "Function.ResponseSizeTooLarge", text);
	} else if (call.state != CALL_FAILED && result != 0) {
		(void)snprintf(text, sizeof text, "fsbox_handler returned %d", result);
		(void)fsbox_fail(&call, "Function.Unknown", text);
	}
	if (call.state != CALL_FAILED)
		out_head(CHAN_DONE, call.number, 0);
	call.state = CALL_ENDED;
	return out_flush();
}

int call_run(const struct chan_head *head, int (*handler)(fsbox_call *))
{
	ssize_t len = read_front(head);
	int r;

	if (len < 0)
		return (int)len;
	r = event_alloc((size_t)len);
	if (r < 0)
		return r;
	r = link_read(call.event, (size_t)len);
	if (r < 0) {
		event_free();
		return r;
	}
	call.state = CALL_OPEN;
	call.sent = call.refused = call.out_len = 0;
	fault_set_call(call.number);
	r = handler(&call);
	call_end_child("fsbox_handler()"); /* nor take the next event away from the runtime */
	r = finish(r);
	fault_set_call(0);
	event_free();
	return r;
}
