/* The calls to systemd's manager: org.freedesktop.systemd1(5), by sd-bus(3). */
#include "scope/scope.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define DESTINATION "org.freedesktop.systemd1"
#define PATH        "/org/freedesktop/systemd1"
#define MANAGER     "org.freedesktop.systemd1.Manager"
#define PATIENCE_NS (30 * NS_PER_S)

static void message_unrefp(sd_bus_message **m)
{
	sd_bus_message_unref(*m);
}

static void bus_closep(sd_bus **b)
{
	sd_bus_flush_close_unref(*b);
}

static int failed(int r, const sd_bus_error *error, const char *doing, const char *unit, struct err *e)
{
	if (error && error->message)
		return err_set(e, ERR_SYSTEM, -r, "%s of unit %s: %.250s", doing, unit, error->message);
	return err_sys(e, r, "%s of unit %s", doing, unit);
}

/* ---- The connection ---- */

/* systemd's own socket, for hosts on which no bus runs: only root may (systemd(1), FILES). */
static int open_private(sd_bus **ret)
{
	AUTO(bus_closep) sd_bus *b = NULL;
	int r = sd_bus_new(&b);

	if (r >= 0)
		r = sd_bus_set_address(b, "unix:path=/run/systemd/private");
	if (r >= 0)
		r = sd_bus_start(b);
	if (r >= 0)
		*ret = take_ptr(&b);
	return r;
}

static int open_bus(const struct scope_request *q, sd_bus **ret, struct err *e)
{
	int r = q->user ? sd_bus_open_user(ret) : sd_bus_open_system(ret);

	if (r < 0 && !q->user && geteuid() == 0 && open_private(ret) >= 0)
		return 0;
	return r < 0 ? err_sys(e, r, "connecting to the %s bus, where systemd is", q->user ? "user's" : "system") : 0;
}

/* ---- Properties ---- */

static int append_values(sd_bus_message *m, const struct scope_property *p)
{
	const char *types = p->element[0] ? p->element : p->signature;
	const bool structure = p->element[0] && p->signature[1] == '(';
	char inner[SCOPE_MAX_NAME + 3];
	int r = 0;

	if (p->n_element >= SCOPE_MAX_NAME)
		return -E2BIG;
	str_copy(inner, p->n_element + 1, p->element);
	if (p->element[0])
		r = sd_bus_message_open_container(m, 'a', p->signature + 1);
	for (size_t i = 0; r >= 0 && i < p->count; i++) {
		if (structure)
			r = sd_bus_message_open_container(m, 'r', inner);
		for (size_t k = 0; r >= 0 && k < p->n_element; k++) {
			union scope_value v;
			const char *word = p->values[i * p->n_element + k], type = types[k];

			if (!scope_value_read(type, word, &v))
				return -EINVAL;
			r = sd_bus_message_append_basic(m, type, type == 's' || type == 'o' ? (const void *)v.s : &v);
		}
		if (r >= 0 && structure)
			r = sd_bus_message_close_container(m);
	}
	return r >= 0 && p->element[0] ? sd_bus_message_close_container(m) : r;
}

static int append_property(sd_bus_message *m, const struct scope_property *p)
{
	int r = sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', p->name);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', p->signature);
	if (r >= 0)
		r = append_values(m, p);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r >= 0 ? sd_bus_message_close_container(m) : r;
}

/* "252.38-1~deb12u1", "v255"; one that says nothing is taken for a new one. */
static unsigned version_of(sd_bus *b)
{
	AUTO_FREE char *text = NULL;
	unsigned v = 0;

	if (sd_bus_get_property_string(b, DESTINATION, PATH, MANAGER, "Version", NULL, &text) < 0)
		return UINT32_MAX;
	for (const char *p = text + strcspn(text, "0123456789"); *p >= '0' && *p <= '9' && v < 100000; p++)
		v = v * 10 + (unsigned)(*p - '0');
	return v ? v : UINT32_MAX;
}

static int append_properties(sd_bus *b, sd_bus_message *m, const struct scope_request *q)
{
	unsigned version = 0;
	int r = sd_bus_message_open_container(m, 'a', "(sv)");

	for (size_t at = 0, n; r >= 0 && at < q->n_words; at += n) {
		struct scope_property p;

		n = scope_property_read(q->words + at, q->n_words - at, &p);
		if (n == 0)
			return -EINVAL;
		if (p.since && !version)
			version = version_of(b);
		if (p.since <= version || !p.since)
			r = append_property(m, &p);
	}
	return r >= 0 ? sd_bus_message_close_container(m) : r;
}

/* ---- Jobs ---- */

struct job {
	char path[256]; /* "" until the call has answered */
	bool over;
	char result[32];
};

static int on_removed(sd_bus_message *m, void *arg, sd_bus_error *ignored)
{
	struct job *j = arg;
	const char *path, *unit, *result;
	uint32_t id;

	(void)ignored;
	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0 || strcmp(path, j->path) != 0)
		return 0;
	str_copy(j->result, sizeof j->result, result);
	j->over = true;
	return 0;
}

/* Before the call: the signal may come right behind its answer, and waits in the queue until we look. A connection of our
 * own to the manager knows no senders; on a bus anybody could speak in systemd's name. */
static int watch_jobs(sd_bus *b, struct job *j)
{
	const char *sender = sd_bus_is_bus_client(b) > 0 ? DESTINATION : NULL;
	int r = sd_bus_match_signal(b, NULL, sender, PATH, MANAGER, "JobRemoved", on_removed, j);

	if (r >= 0)
		r = sd_bus_call_method(b, DESTINATION, PATH, MANAGER, "Subscribe", NULL, NULL, NULL);
	return r;
}

static int await_job(sd_bus *b, struct job *j, const char *doing, const char *unit, struct err *e)
{
	const uint64_t end = clock_mono_ns() + PATIENCE_NS;

	while (!j->over) {
		const uint64_t now = clock_mono_ns();
		int r = sd_bus_process(b, NULL);

		if (r == 0 && now < end)
			r = sd_bus_wait(b, (end - now) / 1000 + 1);
		else if (r == 0)
			return err_set(e, ERR_DEADLINE, ETIMEDOUT, "%s of unit %s: systemd is not done after 30 s",
				       doing, unit);
		if (r < 0 && r != -EINTR)
			return err_sys(e, r, "%s of unit %s: waiting for systemd", doing, unit);
	}
	return strcmp(j->result, "done") == 0
		       ? 0
		       : err_set(e, ERR_SYSTEM, EIO, "%s of unit %s: systemd's job has ended with '%s'", doing, unit,
				 j->result);
}

static int take_job(sd_bus_message *reply, struct job *j)
{
	const char *path;
	int r = sd_bus_message_read_basic(reply, 'o', &path);

	if (r >= 0)
		str_copy(j->path, sizeof j->path, path);
	return r;
}

/* ---- Commands ---- */

static void reset_failed(sd_bus *b, const char *unit)
{
	(void)sd_bus_call_method(b, DESTINATION, PATH, MANAGER, "ResetFailedUnit", NULL, NULL, "s", unit);
}

static int call_start(sd_bus *b, const struct scope_request *q, sd_bus_error *error, struct job *j)
{
	AUTO(message_unrefp) sd_bus_message *m = NULL;
	AUTO(message_unrefp) sd_bus_message *reply = NULL;
	int r = sd_bus_message_new_method_call(b, &m, DESTINATION, PATH, MANAGER, "StartTransientUnit");

	if (r >= 0)
		r = sd_bus_message_append(m, "ss", q->unit, "replace");
	if (r >= 0)
		r = append_properties(b, m, q);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r >= 0)
		r = sd_bus_call(b, m, 0, error, &reply);
	return r >= 0 ? take_job(reply, j) : r;
}

static int find_group(sd_bus *b, const char *unit, struct buf *answer, struct err *e)
{
	AUTO(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	AUTO_FREE char *path = NULL, *group = NULL;
	int r = sd_bus_path_encode(PATH "/unit", unit, &path);

	if (r >= 0)
		r = sd_bus_get_property_string(b, DESTINATION, path, DESTINATION ".Scope", "ControlGroup", &error,
					       &group);
	if (r < 0)
		return failed(r, &error, "looking for the group", unit, e);
	if (group[0] != '/')
		return err_set(e, ERR_SYSTEM, ENOENT, "unit %s has no group: its process has ended", unit);
	buf_puts(answer, group);
	return answer->failed ? err_oom(e) : 0;
}

static int stop(sd_bus *b, const char *unit, struct job *j, struct err *e)
{
	AUTO(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	AUTO(message_unrefp) sd_bus_message *reply = NULL;
	int r;

	*j = (struct job){0};
	r = sd_bus_call_method(b, DESTINATION, PATH, MANAGER, "StopUnit", &error, &reply, "ss", unit, "replace");
	if (sd_bus_error_has_name(&error, DESTINATION ".NoSuchUnit"))
		return 0;
	if (r >= 0)
		r = take_job(reply, j);
	if (r < 0)
		return failed(r, &error, "stopping", unit, e);
	r = await_job(b, j, "stopping", unit, e);
	reset_failed(b, unit);
	return r;
}

/* One that failed keeps its name until it is reset; one that lives keeps it in any case. */
static int start_once_more(sd_bus *b, const struct scope_request *q, sd_bus_error *error, struct job *j)
{
	int r = call_start(b, q, error, j);

	if (!sd_bus_error_has_name(error, DESTINATION ".UnitExists"))
		return r;
	sd_bus_error_free(error);
	reset_failed(b, q->unit);
	return call_start(b, q, error, j);
}

int scope_start(const struct scope_request *q, struct buf *answer, struct err *e)
{
	AUTO(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	AUTO(bus_closep) sd_bus *b = NULL;
	struct job j = {.over = false};
	struct err second = {0};
	int r = open_bus(q, &b, e);

	if (r < 0)
		return r;
	r = watch_jobs(b, &j);
	if (r < 0)
		return err_sys(e, r, "listening to systemd");
	r = start_once_more(b, q, &error, &j);
	if (r < 0)
		return failed(r, &error, "starting", q->unit, e);
	r = await_job(b, &j, "starting", q->unit, e);
	if (r == 0)
		r = find_group(b, q->unit, answer, e);
	if (r < 0)
		(void)!stop(b, q->unit, &j, &second);
	return r;
}

int scope_set(const struct scope_request *q, struct buf *answer, struct err *e)
{
	AUTO(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	AUTO(message_unrefp) sd_bus_message *m = NULL;
	AUTO(bus_closep) sd_bus *b = NULL;
	int r = open_bus(q, &b, e);

	(void)answer;
	if (r < 0)
		return r;
	r = sd_bus_message_new_method_call(b, &m, DESTINATION, PATH, MANAGER, "SetUnitProperties");
	if (r >= 0)
		r = sd_bus_message_append(m, "sb", q->unit, true); /* until it ends, not for ever */
	if (r >= 0)
		r = append_properties(b, m, q);
	if (r >= 0)
		r = sd_bus_call(b, m, 0, &error, NULL);
	return r < 0 ? failed(r, &error, "setting properties", q->unit, e) : 0;
}

int scope_attach(const struct scope_request *q, struct buf *answer, struct err *e)
{
	AUTO(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	AUTO(bus_closep) sd_bus *b = NULL;
	union scope_value pid;
	int r = open_bus(q, &b, e);

	(void)answer;
	if (r < 0)
		return r;
	if (!scope_value_read('u', q->words[0], &pid))
		return err_set(e, ERR_SPEC, EINVAL, "expected the number of a process");
	r = sd_bus_call_method(b, DESTINATION, PATH, MANAGER, "AttachProcessesToUnit", &error, NULL, "ssau", q->unit,
			       "", 1, pid.u);
	return r < 0 ? failed(r, &error, "moving a process into the group", q->unit, e) : 0;
}

int scope_stop(const struct scope_request *q, struct buf *answer, struct err *e)
{
	AUTO(bus_closep) sd_bus *b = NULL;
	struct job j = {.over = false};
	int r = open_bus(q, &b, e);

	(void)answer;
	if (r < 0)
		return r;
	r = watch_jobs(b, &j);
	return r < 0 ? err_sys(e, r, "listening to systemd") : stop(b, q->unit, &j, e);
}
