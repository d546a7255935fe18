/* The host's side of the channel against any bytes of a cell, in any pieces. Input: the first byte chooses what goes on (1:
 * calls; 2: a snapshot; 4: the cell was restored; 8: draws), the second how large the pieces are, the rest is what the cell
 * writes before it ends.
 *
 * Properties: the session always comes to its end, after at most as many events as bytes; it holds no more than a frame and
 * an answer; what it tells is bounded and terminated; after SESSION_BROKEN it tells nothing but the end; an EXIT record is
 * believed only when it is the end of what was written. */
#include "cell/session.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static size_t room(void *arg)
{
	(void)arg;
	return 4096;
}

static void put(void *arg, int stream, const char *data, size_t len)
{
	(void)arg;
	(void)stream;
	(void)data;
	(void)len;
}

static int wants(void *arg)
{
	(void)arg;
	return FD_NONE;
}

static void writable(void *arg)
{
	(void)arg;
}

static const struct session_sink sink = {room, put, wants, writable, NULL};

struct run {
	struct cell_host host;
	struct cell_spec spec;
	struct cell cell;
	struct session s;
	int tell, hear;
	uint64_t calls;
	bool broken;
	uint8_t plan;
};

enum { STEP_CALLS = 1, STEP_SNAPSHOT = 2, STEP_RESTORED = 4, STEP_DRAWS = 8 };

static void pipe_of(int *r, int *w)
{
	int p[2];

	must(pipe2(p, O_CLOEXEC | O_NONBLOCK) == 0);
	*r = p[0];
	*w = p[1];
}

static void start(struct run *r, uint8_t plan)
{
	static const char *const env[] = {"KEY=VALUE", NULL};
	const struct chan_restore restore = {.clone_id = "0123456789ab"};
	struct err e = {0};

	*r = (struct run){.plan = plan};
	spec_init(&r->spec);
	cell_init(&r->cell, &r->host, &r->spec, NULL);
	pipe_of(&r->hear, &r->cell.in);
	pipe_of(&r->cell.out, &r->tell);
	if (plan & STEP_RESTORED) {
		session_init_restored(&r->s, &r->cell, &sink, FD_NONE, CHAN_HAS_SHUTDOWN);
		must(session_restore(&r->s, &restore, env, &e) == 0);
	} else {
		session_init(&r->s, &r->cell, &sink, FD_NONE);
	}
	r->s.stdout_open = r->s.stderr_open = false;
}

static void next_call(struct run *r)
{
	static const char event[] = "{}";
	struct err e = {0};
	char drain[4096];

	while (read(r->hear, drain, sizeof drain) > 0)
		;
	must(session_call(&r->s, ++r->calls, "id", "", 0, 0, event, sizeof event - 1, &e) == 0);
}

/* Once init, a snapshot or a restore has gone well. */
static void go_on(struct run *r)
{
	struct err e = {0};

	if (r->plan & STEP_SNAPSHOT && r->s.can_snapshot) {
		r->plan ^= STEP_SNAPSHOT;
		must(session_snapshot(&r->s, &e) == 0 && session_draw(&r->s, &(struct err){0}) < 0);
	} else if (r->plan & STEP_DRAWS) {
		r->plan ^= STEP_DRAWS;
		must(session_draw(&r->s, &e) == 0);
	} else if (r->plan & STEP_CALLS) {
		next_call(r);
	}
}

static void check_drawn(const struct run *r)
{
	struct chan_drawn_view v;
	size_t at = 0;
	int n;

	do
		n = chan_drawn_next(r->s.drawn.data, r->s.drawn.len, &at, &v);
	while (n > 0);
	must(n == 0 && r->s.drawn.len <= CHAN_MAX_DRAWN);
}

/* What may be said of the session at any time. */
static void check(const struct run *r)
{
	must(r->s.answer.len <= CHAN_MAX_PAYLOAD);
	must(r->s.rx.len <= CHAN_MAX_BODY + sizeof(struct chan_head) + 65536);
	must(memchr(r->s.error_type, 0, sizeof r->s.error_type) != NULL);
	must(r->s.error_message.len <= CHAN_MAX_MESSAGE + 256);
}

/* Takes what has come; false at the end. */
static bool take(struct run *r)
{
	for (;;) {
		enum session_event ev = session_wait(&r->s, clock_mono_ns());

		check(r);
		must(!r->broken || ev == SESSION_DEADLINE || ev == SESSION_ENDED);
		switch (ev) {
		case SESSION_DEADLINE:
			return true;
		case SESSION_ENDED:
			return false;
		case SESSION_READY:
			must(r->s.ready && !(r->plan & STEP_RESTORED));
			go_on(r);
			break;
		case SESSION_PARKED:
		case SESSION_RESTORED:
		case SESSION_DRAWN:
			must(r->calls == 0 && r->s.asked == SESSION_ASKED_NOTHING);
			if (ev == SESSION_DRAWN)
				check_drawn(r);
			go_on(r);
			break;
		case SESSION_DONE:
		case SESSION_ERROR:
			must(r->calls > 0 && r->s.call == 0);
			if (r->calls < 3)
				next_call(r);
			break;
		case SESSION_BROKEN:
			r->broken = true;
			must(r->s.error_message.len > 0);
			break;
		case SESSION_INIT_ERROR:
			break;
		case SESSION_TOO_LARGE:
			r->broken = true; /* the caller kills the cell */
			r->s.broken = true;
			break;
		case SESSION_OOM:
		case SESSION_SIGNAL:
			abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t piece = size > 1 ? (size_t)data[1] * 16 + 1 : 1;
	struct chan_exit x;
	struct run r;

	start(&r, size > 0 ? data[0] : 0);
	data += size < 2 ? size : 2;
	size -= size < 2 ? size : 2;
	for (size_t at = 0; at < size; at += piece) {
		size_t n = size - at < piece ? size - at : piece;

		must(write(r.tell, data + at, n) == (ssize_t)n);
		must(take(&r));
	}
	fd_closep(&r.tell);
	r.cell.reaped = true; /* PID 1 has ended, too */
	r.plan = 0;
	while (take(&r)) {
	}
	if (r.s.exit_seen)
		must(size >= CHAN_EXIT_BYTES && chan_exit_parse(data + size - CHAN_EXIT_BYTES, &x) &&
		     memcmp(&x, &r.s.exit, sizeof x) == 0);
	else
		must(size < CHAN_EXIT_BYTES || !chan_exit_parse(data + size - CHAN_EXIT_BYTES, &x));
	session_done(&r.s);
	spec_done(&r.spec);
	fd_closep(&r.hear);
	fd_closep(&r.cell.in);
	fd_closep(&r.cell.out);
	return 0;
}
