/* Extensions: programs in /opt/extensions, and threads of the runtime that register by themselves ("internal" ones). */
#include "runtime/api/api.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY "/opt/extensions"

/* AWS's budgets for the end, milliseconds. */
enum { BUDGET_NONE = 0, BUDGET_INTERNAL = 500, BUDGET_EXTERNAL = 2000, BUDGET_RUNTIME = 300 };

/* ---- Starting ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The executable files of the directory, by name. Their number; *ret is freed by the caller. */
static size_t list_programs(char **ret, size_t max)
{
	DIR *d = opendir(DIRECTORY);
	const struct dirent *de;
	size_t n = 0;

	while (d && (de = readdir(d)) && n < max) {
		struct stat st;

		if (de->d_name[0] == '.' || fstatat(dirfd(d), de->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode) ||
		    !(st.st_mode & 0111) || strlen(de->d_name) > MAX_NAME)
			continue;
		ret[n] = strdup(de->d_name);
		n += ret[n] != NULL;
	}
	if (d)
		(void)closedir(d);
	qsort(ret, n, sizeof *ret, compare);
	return n;
}

static void start_one(struct api *a, const char *name)
{
	struct extension *x = &a->extensions[a->n_extensions];
	char path[sizeof DIRECTORY + 1 + MAX_NAME + 1], why[512];
	const char *argv[] = {path, NULL};
	int r;

	(void)snprintf(path, sizeof path, DIRECTORY "/%s", name);
	*x = (struct extension){.external = true};
	(void)snprintf(x->name, sizeof x->name, "%s", name);
	r = child_start(a, argv, true, name, &x->pid);
	if (r == 0) {
		a->n_extensions++;
		return;
	}
	(void)snprintf(why, sizeof why, "extension '%s' cannot be executed: %s", name, strerror(-r));
	runtime_init_failed(a, "Extension.LaunchError", why);
}

void extension_start_all(struct api *a)
{
	char *names[MAX_EXTENSIONS + 1];
	const size_t n = list_programs(names, MAX_EXTENSIONS + 1);

	if (n > MAX_EXTENSIONS)
		runtime_init_failed(a, "Extension.TooManyExtensions", "Extension limit (10) reached");
	for (size_t i = 0; i < n; i++) {
		start_one(a, names[i]);
		free(names[i]);
	}
}

bool extension_all_registered(const struct api *a)
{
	for (size_t i = 0; i < a->n_extensions; i++)
		if (!a->extensions[i].registered)
			return false;
	return true;
}

bool extension_all_idle(const struct api *a)
{
	for (size_t i = 0; i < a->n_extensions; i++) {
		const struct extension *x = &a->extensions[i];

		if (!x->idle && (!a->ready || x->wants_invoke))
			return false;
	}
	return true;
}

/* ---- Registering ---- */

void extension_tell_states(struct api *a)
{
	for (size_t i = 0; i < a->n_extensions && telemetry_wanted(a); i++) {
		const struct extension *x = &a->extensions[i];
		struct bytes name = {0};

		json_quote(&name, x->name, strlen(x->name));
		if (!name.failed)
			telemetry_platform(a, "extension", "{\"name\":%s,\"state\":\"Ready\",\"events\":[%s%s%s]}",
					   name.data, x->wants_invoke ? "\"INVOKE\"" : "",
					   x->wants_invoke && x->wants_shutdown ? "," : "",
					   x->wants_shutdown ? "\"SHUTDOWN\"" : "");
		bytes_free(&name);
	}
}

static struct extension *find_by_name(struct api *a, const char *name)
{
	for (size_t i = 0; i < a->n_extensions; i++)
		if (strcmp(a->extensions[i].name, name) == 0)
			return &a->extensions[i];
	return NULL;
}

/* Reads {"events":[…]}. False when it is none. */
static bool take_events(const struct conn *c, bool *ret_invoke, bool *ret_shutdown, bool *ret_unknown)
{
	struct json_view whole, events, v;
	char text[32];

	*ret_invoke = *ret_shutdown = *ret_unknown = false;
	if (c->body.len == 0)
		return true;
	if (!json_whole(c->body.data, c->body.len, &whole) || *whole.at != '{')
		return false;
	if (!json_get(whole, "events", &events))
		return true;
	if (*events.at != '[')
		return false;
	for (size_t i = 0; json_element(events, i, &v); i++) {
		const bool is_text = json_text(v, text, sizeof text);

		if (is_text && strcmp(text, "INVOKE") == 0)
			*ret_invoke = true;
		else if (is_text && strcmp(text, "SHUTDOWN") == 0)
			*ret_shutdown = true;
		else
			*ret_unknown = true;
	}
	return true;
}

static void answer_registered(struct api *a, struct conn *c, const struct extension *x)
{
	static const char *const members[][2] = {{"functionName", "AWS_LAMBDA_FUNCTION_NAME"},
						 {"functionVersion", "AWS_LAMBDA_FUNCTION_VERSION"},
						 {"handler", "_HANDLER"}};
	const char *feature = http_field(&c->request, "Lambda-Extension-Accept-Feature");
	char fields[128];
	struct bytes b = {0};

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		const char *value = secure_getenv(members[i][1]);

		bytes_printf(&b, "%c\"%s\":", i ? ',' : '{', members[i][0]);
		json_quote(&b, value ? value : "", value ? strlen(value) : 0);
	}
	bytes_puts(&b, feature && strstr(feature, "accountId") ? ",\"accountId\":\"012345678912\"}" : "}");
	(void)snprintf(fields, sizeof fields, "Lambda-Extension-Identifier: %s\r\n", x->id);
	conn_answer(a, c, 200, fields, "application/json", b.failed ? "{}" : b.data, b.failed ? 2 : b.len);
	bytes_free(&b);
}

void route_register(struct api *a, struct conn *c)
{
	const char *name = http_field(&c->request, "Lambda-Extension-Name");
	bool invoke, shutdown, unknown;
	struct extension *x;

	if (!name || !*name || strlen(name) > MAX_NAME) {
		conn_error(a, c, 403, "Extension.InvalidExtensionName", "Invalid extension name");
		return;
	}
	if (c->too_large || !take_events(c, &invoke, &shutdown, &unknown)) {
		conn_error(a, c, 403, "Extension.InvalidRequestFormat", "the body is not {\"events\":[…]}");
		return;
	}
	x = find_by_name(a, name);
	if (a->ready || (x && x->registered)) {
		conn_error(a, c, 403, a->ready ? "Extension.RegistrationClosed" : "Extension.AlreadyRegistered",
			   "Extension registration closed already");
		return;
	}
	if (unknown || (!x && shutdown)) {
		conn_error(a, c, 403, "Extension.InvalidEventType",
			   unknown ? "Invalid event type" : "an internal extension cannot register for SHUTDOWN");
		return;
	}
	if (!x && a->n_extensions == MAX_EXTENSIONS) {
		conn_error(a, c, 403, "Extension.TooManyExtensions", "Extension limit (10) reached");
		return;
	}
	if (!x) {
		x = &a->extensions[a->n_extensions++];
		*x = (struct extension){0};
		(void)snprintf(x->name, sizeof x->name, "%s", name);
	}
	x->registered = true;
	x->wants_invoke = invoke;
	x->wants_shutdown = shutdown;
	make_uuid(x->id);
	answer_registered(a, c, x);
}

struct extension *extension_of(struct api *a, struct conn *c)
{
	const char *id = http_field(&c->request, "Lambda-Extension-Identifier");

	if (!id) {
		conn_error(a, c, 403, "Extension.MissingExtensionIdentifier",
			   "Missing Lambda-Extension-Identifier header");
		return NULL;
	}
	if (strlen(id) != UUID_LEN || strspn(id, "0123456789abcdefABCDEF-") != UUID_LEN) {
		conn_error(a, c, 403, "Extension.InvalidExtensionIdentifier",
			   "Invalid Lambda-Extension-Identifier header");
		return NULL;
	}
	for (size_t i = 0; i < a->n_extensions; i++)
		if (a->extensions[i].registered && strcmp(a->extensions[i].id, id) == 0)
			return &a->extensions[i];
	conn_error(a, c, 403, "Extension.UnknownExtensionIdentifier", "Unknown extension %s", id);
	return NULL;
}

/* ---- Events ---- */

static void give(struct api *a, struct extension *x)
{
	struct conn *c = x->waiter;
	struct bytes b = {0};
	char fields[128], id[UUID_LEN + 1];

	if (!c)
		return;
	x->waiter = NULL;
	x->idle = false;
	if (x->pending == EXT_INVOKE)
		bytes_printf(
			&b,
			"{\"eventType\":\"INVOKE\",\"deadlineMs\":%lld,\"requestId\":\"%s\",\"invokedFunctionArn\":\"%s\","
			"\"tracing\":{\"type\":\"X-Amzn-Trace-Id\",\"value\":",
			(long long)a->call.deadline_ms, a->call.id, a->arn);
	else
		bytes_printf(&b, "{\"eventType\":\"SHUTDOWN\",\"shutdownReason\":\"%s\",\"deadlineMs\":%lld}",
			     a->shutdown_reason, (long long)a->shutdown_deadline_ms);
	if (x->pending == EXT_INVOKE) {
		json_quote(&b, a->call.trace, strlen(a->call.trace));
		bytes_puts(&b, "}}");
	}
	x->pending = EXT_NOTHING;
	make_uuid(id);
	(void)snprintf(fields, sizeof fields, "Lambda-Extension-Event-Identifier: %s\r\n", id);
	conn_answer(a, c, 200, fields, "application/json", b.failed ? "{}" : b.data, b.failed ? 2 : b.len);
	bytes_free(&b);
}

void route_event_next(struct api *a, struct conn *c)
{
	struct extension *x = extension_of(a, c);

	if (!x)
		return;
	if (x->failed) {
		conn_error(a, c, 403, "Extension.InvalidExtensionState", "the extension has reported an error");
		return;
	}
	if (x->waiter && x->waiter != c)
		conn_close(a, x->waiter);
	x->waiter = c;
	x->idle = true;
	conn_wait(c);
	if (x->pending != EXT_NOTHING)
		give(a, x);
	runtime_check(a);
}

void extension_invoke(struct api *a)
{
	for (size_t i = 0; i < a->n_extensions; i++) {
		struct extension *x = &a->extensions[i];

		if (!x->wants_invoke)
			continue;
		x->pending = EXT_INVOKE;
		x->idle = false;
		give(a, x);
	}
}

void route_extension_error(struct api *a, struct conn *c)
{
	const char *type = http_field(&c->request, "Lambda-Extension-Function-Error-Type");
	const bool init = strstr(c->request.path, "/init/") != NULL;
	struct extension *x = extension_of(a, c);
	char text[600];

	if (!x)
		return;
	if (!type || !*type) {
		conn_error(a, c, 403, "Extension.MissingHeader", "Missing Lambda-Extension-Function-Error-Type header");
		return;
	}
	x->failed = true;
	(void)snprintf(text, sizeof text, "extension '%s' reports: %s", x->name, type);
	(void)dprintf(STDERR_FILENO, "EXTENSION\tName: %s\tState: %s\tError Type: %s\n", x->name,
		      init ? "InitError" : "ExitError", type);
	conn_json(a, c, 202, "{\"status\":\"OK\"}");
	if (!a->ready)
		runtime_init_failed(a, init ? "Extension.InitError" : "Extension.ExitError", text);
}

/* ---- Ends ---- */

bool extension_ended(struct api *a, pid_t pid, int wait_status)
{
	for (size_t i = 0; i < a->n_extensions; i++) {
		struct extension *x = &a->extensions[i];
		char text[400];

		if (x->pid != pid)
			continue;
		x->pid = 0;
		if (a->ending)
			return true;
		(void)snprintf(text, sizeof text, "extension '%s' has ended (%s %d)", x->name,
			       WIFSIGNALED(wait_status) ? "signal" : "exit status",
			       WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
		if (!a->ready)
			runtime_init_failed(a, "Extension.Crash", text);
		/* As on Lambda: without it the environment cannot go on. */
		(void)dprintf(STDERR_FILENO, "%s\n", text);
		telemetry_drain(a);
		if (!runtime_tell_outcome(a) && a->call.number)
			link_error(CHAN_ERROR, a->call.number, "Extension.Crash", text, NULL, 0);
		api_exit(a, 1);
	}
	return false;
}

void extension_lost(struct api *a, struct conn *c)
{
	for (size_t i = 0; i < a->n_extensions; i++)
		if (a->extensions[i].waiter == c)
			a->extensions[i].waiter = NULL; /* it stays idle: it may ask again */
}

static bool any_left(const struct api *a)
{
	for (size_t i = 0; i < a->n_extensions; i++)
		if (a->extensions[i].pid)
			return true;
	return false;
}

static int left_ms(uint64_t deadline_ns)
{
	const uint64_t now = now_ns();

	return deadline_ns > now ? (int)((deadline_ns - now) / 1000000) + 1 : 0;
}

/* The runtime first: it may still write what extensions want to see. */
static void end_runtime(struct api *a, uint64_t deadline_ns)
{
	if (a->runtime)
		(void)kill(a->runtime, SIGTERM);
	while (a->runtime && left_ms(deadline_ns) > 0)
		api_turn(a, left_ms(deadline_ns));
	if (a->runtime)
		(void)kill(a->runtime, SIGKILL);
}

void extension_shutdown(struct api *a, const char *reason)
{
	bool external = false;
	struct timespec wall;
	const uint64_t begin = now_ns();
	uint64_t deadline;

	for (size_t i = 0; i < a->n_extensions; i++)
		external |= a->extensions[i].external;
	if (a->n_extensions == 0)
		return;
	a->ending = true;
	deadline = begin + UINT64_C(1000000) * (external ? BUDGET_EXTERNAL : BUDGET_INTERNAL);
	end_runtime(a, external ? begin + UINT64_C(1000000) * BUDGET_RUNTIME : deadline);
	(void)clock_gettime(CLOCK_REALTIME, &wall);
	a->shutdown_reason = reason;
	a->shutdown_deadline_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 + left_ms(deadline);
	telemetry_flush(a);
	for (size_t i = 0; i < a->n_extensions; i++) {
		struct extension *x = &a->extensions[i];

		if (!x->wants_shutdown)
			continue;
		x->pending = EXT_SHUTDOWN; /* one that is busy gets it when it asks */
		give(a, x);
	}
	while (any_left(a) && left_ms(deadline) > 0)
		api_turn(a, left_ms(deadline));
}
