/* What clients send: a stream cut into messages with descriptors, calls read and checked. Whatever the pieces are, the
 * same messages come out, with the same descriptors when each came with its message; no descriptor is lost; and what is
 * refused says where. Input: the size of pieces, then the stream; a byte 0x01 in it stands for a descriptor that comes
 * with the byte before it. */
#include "base/fd.h"
#include "base/mem.h"
#include "wire/message.h"

#include <fcntl.h>

enum { MAX_BYTES = 4096, MAX_SENT = 64 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static const struct wire_struct payload = {
	.name = "Payload",
	.fields = WIRE_FIELDS({.name = "text", .type = WIRE_STRING, .flags = WIRE_OPTIONAL, .max_len = 40},
			      {.name = "fd", .type = WIRE_FD, .flags = WIRE_OPTIONAL},
			      {.name = "in", .type = WIRE_STRUCT, .flags = WIRE_OPTIONAL, .of_struct = &payload}),
};
static const struct wire_enum state = {.values = (const char *const[]){"idle", "busy", NULL}};
static const struct wire_field fields[] = {
	{.name = "name", .type = WIRE_STRING},
	{.name = "n", .type = WIRE_INT, .flags = WIRE_OPTIONAL, .min = -3, .max = 1000},
	{.name = "x", .type = WIRE_FLOAT, .flags = WIRE_OPTIONAL},
	{.name = "b", .type = WIRE_BOOL, .flags = WIRE_OPTIONAL},
	{.name = "spec", .type = WIRE_OBJECT, .flags = WIRE_OPTIONAL},
	{.name = "state", .type = WIRE_ENUM, .flags = WIRE_OPTIONAL, .of_enum = &state},
	{.name = "fds", .type = WIRE_FD, .flags = WIRE_OPTIONAL | WIRE_ARRAY, .max_items = 5},
	{.name = "warm", .type = WIRE_INT, .flags = WIRE_OPTIONAL | WIRE_MAP},
	{.name = "event", .type = WIRE_STRUCT, .flags = WIRE_OPTIONAL, .of_struct = &payload},
	{.name = NULL},
};

/* What one way of cutting gives: the messages with the number of their descriptors, and how it ended. */
struct seen {
	struct buf text;
	size_t fds;
	int end;
};

/* The same facts by plain code: the check may say yes only when these hold. */
static void check_again(const struct json *o, size_t n_fds)
{
	const struct json *name = json_member(o, "name"), *list = wire_get(o, "fds"), *event = wire_get(o, "event");
	int64_t n = wire_get_int(o, "n", 0);

	must(name && json_type_of(name) == JSON_STRING);
	must(n >= -3 && n <= 1000);
	must(!list || (json_type_of(list) == JSON_ARRAY && json_length(list) <= 5 && json_length(list) <= n_fds));
	must(!event || json_type_of(event) == JSON_OBJECT);
	if (event && wire_get(event, "fd")) {
		int64_t fd = wire_get_int(event, "fd", -1);

		must(fd >= 0 && (size_t)fd < n_fds);
		for (size_t i = 0; list && i < json_length(list); i++)
			must(json_integer_get(json_at(list, i)) != fd);
	}
	must(json_length(o) <= ARRAY_LEN(fields) - 1);
}

static void look(const struct wire_message *m, size_t n_fds)
{
	AUTO(buf_done) struct buf again = {0};
	struct wire_call c, d;
	struct err e = {0};

	if (wire_call_parse(m->text, m->len, &c, &e) < 0) {
		must((e.kind == ERR_SPEC || e.kind == ERR_LIMIT) && e.msg[0] && !c.doc);
		return;
	}
	must(c.method && strlen(c.method) == c.method_len && !(c.oneway && (c.more || c.upgrade)));
	if (c.params)
		json_dump_to(&again, c.params);
	struct buf text = {0};
	wire_add_call(&text, c.method, again.data, again.len, c.more, c.oneway);
	must(!text.failed && wire_call_parse(text.data, text.len - 1, &d, &e) == 0); /* what we write we read */
	must(strcmp(c.method, d.method) == 0 && c.more == d.more && c.oneway == d.oneway);
	wire_call_done(&d);
	buf_done(&text);
	if (wire_check(fields, c.params, n_fds, &e) < 0)
		must(e.kind == ERR_SPEC && e.msg[0] && e.where[0]);
	else
		check_again(c.params, n_fds);
	wire_call_done(&c);
}

static void take_all(struct wire_rx *rx, struct seen *s, bool deep)
{
	struct wire_message m;
	int fds[WIRE_MAX_FDS], r;
	size_t n;

	while ((r = wire_rx_next(rx, &m, fds, &n)) > 0) {
		must(strlen(m.text) == m.len && m.len <= MAX_BYTES && n <= WIRE_MAX_FDS);
		buf_add(&s->text, m.text, m.len + 1);
		buf_printf(&s->text, "%zu", n);
		for (size_t i = 0; i < n; i++)
			must(close(fds[i]) == 0);
		s->fds += n;
		if (deep)
			look(&m, n);
		wire_rx_trim(rx);
	}
	s->end = r < 0 ? r : s->end;
}

/* Feeds the stream in pieces of at most @piece bytes; a piece ends where a descriptor comes, as the kernel's reads do. */
static void run(const uint8_t *data, size_t size, size_t piece, struct seen *s)
{
	struct wire_rx rx = {.max_bytes = MAX_BYTES};
	size_t sent = 0, left;

	for (size_t at = 0; at < size && s->end == 0;) {
		size_t n = 0, fds_n = 0;
		int fds[MAX_SENT];

		while (at + n < size && n < piece && data[at + n] != 1)
			n++;
		while (n > 0 && at + n + fds_n < size && data[at + n + fds_n] == 1 && sent < MAX_SENT) {
			fds[fds_n] = fcntl(0, F_DUPFD_CLOEXEC, 3);
			must(fd_valid(fds[fds_n]));
			fds_n++;
			sent++;
		}
		if (n == 0) { /* a mark without a byte before it, or one too many */
			at++;
			continue;
		}
		s->end = wire_rx_feed(&rx, data + at, n, fds, fds_n);
		at += n + fds_n;
		left = rx.n_fds;
		if (s->end == 0)
			take_all(&rx, s, piece == size);
		must(rx.n_fds <= left);
	}
	buf_printf(&s->text, "%d", s->end);
	must(s->end == 0 || s->end == -EMSGSIZE);
	left = rx.n_fds;
	wire_rx_done(&rx);
	must(s->fds + left <= sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {0}, pieces = {0};
	int before = fcntl(0, F_DUPFD_CLOEXEC, 3), after;

	(void)close(before);
	if (size < 2)
		return 0;
	run(data + 1, size - 1, size - 1, &whole);
	run(data + 1, size - 1, data[0] % 32 + 1U, &pieces);
	must(whole.text.len == pieces.text.len && memcmp(whole.text.data, pieces.text.data, whole.text.len) == 0);
	must(whole.fds == pieces.fds);
	buf_done(&whole.text);
	buf_done(&pieces.text);
	after = fcntl(0, F_DUPFD_CLOEXEC, 3); /* all are closed: the lowest free number is what it was */
	(void)close(after);
	must(before == after);
	return 0;
}
