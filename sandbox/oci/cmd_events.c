/* events: what a container uses, and when memory ran out. */
#include "base/clock.h"
#include "base/fd.h"
#include "oci/stats.h"

#include <errno.h>
#include <poll.h>

static uint64_t oom_count(const struct cg_group *g)
{
	uint64_t n = stats_value(g, "memory", "memory.oom_control", NULL, "oom_kill");

	return n ? n : stats_value(g, "memory", NULL, "memory.events", "oom_kill");
}

/* "5s", "1m", "300ms", plain seconds. */
static bool read_interval(const char *text, uint64_t *ret_ms)
{
	char digits[16];
	const size_t n = strspn(text, "0123456789");
	uint64_t v, unit = 1000;

	str_copy(digits, n + 1 < sizeof digits ? n + 1 : sizeof digits, text);
	if (strcmp(text + n, "ms") == 0)
		unit = 1;
	else if (strcmp(text + n, "m") == 0)
		unit = 60000;
	else if (text[n] && strcmp(text + n, "s") != 0)
		return false;
	if (!parse_u64(digits, 1, 1000000, &v))
		return false;
	*ret_ms = v * unit;
	return true;
}

static int watch(const struct oci_state *st, const struct cg_group *g, uint64_t interval_ms, struct err *e)
{
	uint64_t ooms = oom_count(g), next = clock_mono_ns();

	while (process_start(st->pid) == st->start_ticks) {
		AUTO(buf_done) struct buf b = {0};
		uint64_t now = clock_mono_ns(), seen = oom_count(g);
		int r = 0;

		if (seen > ooms)
			buf_printf(&b, "{\"type\":\"oom\",\"id\":\"%s\"}\n", st->id);
		ooms = seen;
		if (now >= next) {
			stats_add(&b, st, g);
			next = now + interval_ms * NS_PER_MS;
		}
		if (b.len > 0)
			r = oci_print(&b, e);
		if (r < 0)
			return r;
		(void)poll(NULL, 0, 100);
	}
	return 0;
}

static int events_main(struct oci_args *a, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	struct oci_state st = {0};
	struct cg_group g = {0};
	AUTO_FD int dir = FD_NONE;
	uint64_t interval_ms = 5000;
	int r;

	if (a->interval && !read_interval(a->interval, &interval_ms))
		return err_set(e, ERR_SPEC, EINVAL, "--interval '%s': expected a duration such as 5s", a->interval);
	r = store_group(a, false, &st, &dir, &g, e);
	if (r == 0 && a->stats) {
		stats_add(&b, &st, &g);
		r = oci_print(&b, e);
	} else if (r == 0) {
		r = watch(&st, &g, interval_ms, e);
	}
	cg_group_close(&g);
	state_done(&st);
	return r;
}

static const struct opt events_options[] = {
	OCI_FLAG("stats", stats, 0, "one line of what it uses, and end"),
	OCI_TEXT("interval", interval, 0, "DURATION", "how often (5s)"),
};
const struct oci_command oci_events = {
	.name = "events",
	.operands = "ID",
	.summary = "print what a container uses, and when memory ran out",
	.options = {events_options, ARRAY_LEN(events_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = events_main,
};
