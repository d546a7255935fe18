/* The Runtime API's server: extensions and telemetry. An extension's program only waits or ends; what it would ask is asked
 * from here in its name. */
#include "tests/lib/api_peer.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEXT      API_NEXT
#define ID        API_ID
#define RESPONSE  API_CALL "/response"
#define EXTENSION "/2020-01-01/extension"
#define WAITS     "#!/bin/sh\nexec sleep 1000\n"
#define NEED_WORLD                                                                      \
	do {                                                                            \
		if (!api_peer_world())                                                  \
			SKIP("needs root: a network namespace and an /opt of its own"); \
		api_peer_remove_extensions();                                           \
	} while (0)

/* A pipe for a program to wait at. Open in both directions, so that nobody waits for who is gone. */
static int make_fifo(const char *path)
{
	return mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
}

/* One that is registered, with its connection and the field that names it. */
struct ext {
	int fd;
	char field[200];
};

static bool enrol(struct ext *x, const char *name, const char *events)
{
	char field[300], body[100];
	API_ANSWER(r);

	x->fd = api_peer_connect(9001);
	(void)snprintf(field, sizeof field, "Lambda-Extension-Name: %s\r\n", name);
	(void)snprintf(body, sizeof body, "{\"events\":[%s]}", events);
	if (!CHECK(api_peer_ask(x->fd, "POST", EXTENSION "/register", field, body, &r)) || !CHECK_EQ(r.status, 200))
		return false;
	(void)snprintf(x->field, sizeof x->field, "Lambda-Extension-Identifier: %s\r\n",
		       api_peer_field(&r, "Lambda-Extension-Identifier"));
	return CHECK_CONTAINS(r.body, "\"functionName\":");
}

static bool ext_next(const struct ext *x)
{
	return CHECK(api_peer_send(x->fd, "GET", EXTENSION "/event/next", x->field, NULL));
}

static bool ext_event(const struct ext *x, const char *part)
{
	API_ANSWER(r);

	return CHECK(api_peer_read(x->fd, &r)) && CHECK_EQ(r.status, 200) && CHECK_CONTAINS(r.body, part);
}

static int runtime_next(void)
{
	int fd = api_peer_connect(9001);

	(void)api_peer_send(fd, "GET", NEXT, "", NULL);
	return fd;
}

static bool answer_call(struct chan_peer *p, uint64_t number, int runtime)
{
	API_ANSWER(r);

	return CHECK_EQ(chan_peer_call(p, number, "1", 1), 0) && CHECK(api_peer_read(runtime, &r)) &&
	       CHECK(api_peer_ask(runtime, "POST", RESPONSE, "", "2", &r)) && CHECK_EQ(r.status, 202) &&
	       CHECK(api_peer_send(runtime, "GET", NEXT, "", NULL));
}

static bool register_refused(const char *name, const char *body, const char *type)
{
	char field[400];
	API_ANSWER(r);

	(void)snprintf(field, sizeof field, "Lambda-Extension-Name: %s\r\n", name ? name : "");
	return CHECK(api_peer_once("POST", EXTENSION "/register", name ? field : "", body, &r)) &&
	       CHECK_EQ(r.status, 403) && CHECK_CONTAINS(r.body, type);
}

TEST(the_runtime_waits_for_registrations_and_init_for_all_to_ask)
{
	struct chan_peer_frame f;
	struct ext x = {.fd = -1};
	int fd;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_program("ran", "") && api_peer_program("extensions/one", WAITS));
	const char *const argv[] = {"/bin/sh", "-c", "echo started; exec sleep 1000", NULL};
	REQUIRE(api_peer_start(&p, argv, NULL) == 0);
	fd = api_peer_connect(9001);
	CHECK(api_peer_silent(p.log)); /* not before "one" has registered */
	REQUIRE(enrol(&x, "one", "\"INVOKE\",\"SHUTDOWN\""));
	CHECK_CONTAINS(chan_peer_log(&p, "started"), "started");
	CHECK(api_peer_send(fd, "GET", NEXT, "", NULL));
	CHECK(api_peer_silent(p.out));
	REQUIRE(ext_next(&x) && api_expect(&p, CHAN_READY, 0, &f));
	CHECK(f.body[4] & CHAN_HAS_SHUTDOWN);
	/* A call is over when both have asked for the next. */
	REQUIRE(answer_call(&p, 1, fd) && ext_event(&x, "\"eventType\":\"INVOKE\",\"deadlineMs\":"));
	REQUIRE(api_expect(&p, CHAN_DATA, 1, &f));
	CHECK(api_peer_silent(p.out));
	REQUIRE(ext_next(&x) && api_expect(&p, CHAN_DONE, 1, &f));
	CHECK(register_refused("late", "{\"events\":[]}", "Extension.RegistrationClosed"));
	(void)close(fd);
	(void)close(x.fd);
}

TEST(what_a_registration_may_not_be_is_said)
{
	struct ext x = {.fd = -1}, internal[10];
	API_ANSWER(r);
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_program("extensions/one", WAITS) && api_peer_start(&p, NULL, NULL) == 0);
	CHECK(register_refused(NULL, "{}", "Extension.InvalidExtensionName"));
	CHECK(register_refused("one", "nonsense", "Extension.InvalidRequestFormat"));
	CHECK(register_refused("one", "{\"events\":[\"DREAM\"]}", "Extension.InvalidEventType"));
	CHECK(register_refused("inner", "{\"events\":[\"SHUTDOWN\"]}", "Extension.InvalidEventType"));
	REQUIRE(enrol(&x, "one", ""));
	CHECK(register_refused("one", "{\"events\":[]}", "Extension.AlreadyRegistered"));
	for (int i = 0; i < 9; i++) {
		char name[20];

		(void)snprintf(name, sizeof name, "inner%d", i);
		REQUIRE(enrol(&internal[i], name, "\"INVOKE\""));
		(void)close(internal[i].fd);
	}
	CHECK(register_refused("inner9", "{\"events\":[]}", "Extension limit (10) reached"));
	static const struct {
		const char *field, *type;
	} ids[] = {{"", "Extension.MissingExtensionIdentifier"},
		   {"Lambda-Extension-Identifier: x\r\n", "Extension.InvalidExtensionIdentifier"},
		   {"Lambda-Extension-Identifier: " ID "\r\n", "Extension.UnknownExtensionIdentifier"}};
	for (size_t i = 0; i < 3; i++) {
		CHECK(api_peer_once("GET", EXTENSION "/event/next", ids[i].field, NULL, &r) && r.status == 403);
		CHECK_CONTAINS(r.body, ids[i].type);
	}
	CHECK(api_peer_once("POST", EXTENSION "/init/error", x.field, "{}", &r) && r.status == 403);
	CHECK_CONTAINS(r.body, "Lambda-Extension-Function-Error-Type");
	(void)close(x.fd);
}

TEST(eleven_programs_are_too_many)
{
	CHAN_PEER(p);

	NEED_WORLD;
	for (int i = 0; i < 11; i++) {
		char name[40];

		(void)snprintf(name, sizeof name, "extensions/e%d", i);
		REQUIRE(api_peer_program(name, WAITS));
	}
	REQUIRE(api_peer_start(&p, NULL, NULL) == 0);
	CHECK(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Extension.TooManyExtensions", "Extension limit (10) reached",
			       NULL));
	CHECK(api_ends_with(&p, CLD_EXITED, 1));
}

TEST(extensions_that_fail_end_the_init_or_the_call)
{
	struct chan_peer_frame f;

	NEED_WORLD;
	REQUIRE(api_peer_program("extensions/one", "#!/bin/sh\nexit 4\n"));
	{
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, NULL, NULL) == 0);
		CHECK(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Extension.Crash",
				       "extension 'one' has ended (exit status 4)", NULL));
		CHECK(api_ends_with(&p, CLD_EXITED, 1));
	}
	REQUIRE(api_peer_program("extensions/one", "#!/not/there\n"));
	{
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, NULL, NULL) == 0);
		CHECK(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Extension.LaunchError",
				       "extension 'one' cannot be executed: No such file or directory", NULL));
	}
	REQUIRE(api_peer_program("extensions/one", WAITS));
	{
		struct ext x = {.fd = -1};
		char field[400];
		API_ANSWER(r);
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, NULL, NULL) == 0 && enrol(&x, "one", ""));
		(void)snprintf(field, sizeof field, "%sLambda-Extension-Function-Error-Type: Extension.Own\r\n",
			       x.field);
		CHECK(api_peer_ask(x.fd, "POST", EXTENSION "/init/error", field, "{}", &r) && r.status == 202);
		CHECK(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Extension.InitError",
				       "extension 'one' reports: Extension.Own", NULL));
		CHECK_CONTAINS(chan_peer_log(&p, "EXTENSION"),
			       "Name: one\tState: InitError\tError Type: Extension.Own");
		(void)close(x.fd);
	}
	/* In a call: with the answer given the caller has it, without it the call has failed. */
	REQUIRE(api_peer_program("extensions/one", "#!/bin/sh\nread x </opt/end\nkill -9 $$\n"));
	for (int answered = 0; answered < 2; answered++) {
		struct ext x = {.fd = -1};
		API_ANSWER(r);
		CHAN_PEER(p);
		int fd, pipe = -1;

		(void)unlink("/opt/end");
		REQUIRE((pipe = make_fifo("/opt/end")) >= 0 && api_peer_start(&p, NULL, NULL) == 0);
		REQUIRE(enrol(&x, "one", "\"INVOKE\"") && ext_next(&x));
		fd = runtime_next();
		REQUIRE(api_expect(&p, CHAN_READY, 0, &f));
		if (answered) {
			REQUIRE(answer_call(&p, 1, fd) && api_expect(&p, CHAN_DATA, 1, &f));
		} else {
			REQUIRE(chan_peer_call(&p, 1, "1", 1) == 0 && CHECK(api_peer_read(fd, &r)));
		}
		CHECK(write(pipe, "x\n", 2) == 2);
		if (answered)
			CHECK(api_expect(&p, CHAN_DONE, 1, &f));
		else
			CHECK(api_expect_error(&p, CHAN_ERROR, 1, "Extension.Crash",
					       "extension 'one' has ended (signal 9)", NULL));
		CHECK(api_ends_with(&p, CLD_EXITED, 1));
		(void)close(fd);
		(void)close(pipe);
		(void)close(x.fd);
	}
}

TEST(extensions_hear_of_the_end_whether_they_wait_or_are_busy)
{
	struct chan_peer_frame f;

	NEED_WORLD;
	/* The runtime is told by SIGTERM before, and prints; then it is the extension's turn. */
	const char *const argv[] = {"/bin/sh", "-c",
				    "trap 'echo term; exit' TERM; echo up; while :; do sleep 0.01; done", NULL};
	REQUIRE(api_peer_program("extensions/one", "#!/bin/sh\nread x </opt/end\n"));
	for (int busy = 0; busy < 2; busy++) {
		struct ext x = {.fd = -1};
		CHAN_PEER(p);
		int fd, pipe = -1;

		(void)unlink("/opt/end");
		REQUIRE((pipe = make_fifo("/opt/end")) >= 0 && api_peer_start(&p, argv, NULL) == 0);
		REQUIRE(enrol(&x, "one", "\"INVOKE\",\"SHUTDOWN\"") && ext_next(&x));
		fd = runtime_next();
		REQUIRE(api_expect(&p, CHAN_READY, 0, &f));
		if (busy)
			REQUIRE(answer_call(&p, 1, fd) && api_expect(&p, CHAN_DATA, 1, &f) && ext_event(&x, "INVOKE"));
		CHECK_CONTAINS(chan_peer_log(&p, "up"), "up"); /* the trap is set */
		CHECK(api_send_frame(&p, CHAN_SHUTDOWN, 0, NULL, 0));
		CHECK_CONTAINS(chan_peer_log(&p, "term"), "term");
		if (busy)
			REQUIRE(ext_next(&x));
		CHECK(ext_event(&x, "{\"eventType\":\"SHUTDOWN\",\"shutdownReason\":\"spindown\",\"deadlineMs\":"));
		CHECK(write(pipe, "x\n", 2) == 2);
		while (chan_peer_next(&p, &f) == 1 && f.head.type != CHAN_EXIT)
			;
		CHECK_EQ(f.head.type, CHAN_EXIT);
		(void)close(fd);
		(void)close(pipe);
		(void)close(x.fd);
	}
}

/* ---- Telemetry ---- */

static bool subscribe(const struct ext *x, const char *types, const char *destination)
{
	char body[600];
	API_ANSWER(r);

	(void)snprintf(
		body, sizeof body,
		"{\"schemaVersion\":\"2022-12-13\",\"types\":[%s],\"buffering\":{\"timeoutMs\":25},\"destination\":{%s}}",
		types, destination);
	return CHECK(api_peer_ask(x->fd, "PUT", "/2022-07-01/telemetry", x->field, body, &r)) &&
	       CHECK_EQ(r.status, 200) && CHECK_STREQ(r.body, "OK");
}

/* Takes batches at a listener until @part has come; all that came is in @got. Answers with @answer. */
static bool deliveries(int listener, const char *part, const char *answer, char *got, size_t size)
{
	size_t len = strlen(got);

	while (!strstr(got, part)) {
		int fd = api_peer_accept(listener);
		size_t begin = len, want = SIZE_MAX;

		if (fd < 0 || size - len < 2)
			return CHECK_CONTAINS(got, part);
		while (len < want && len + 1 < size) {
			ssize_t n = read(fd, got + len, size - 1 - len);
			const char *head, *field;
			unsigned long length;

			if (n <= 0)
				break;
			len += (size_t)n;
			got[len] = '\0';
			head = strstr(got + begin, "\r\n\r\n");
			field = strstr(got + begin, "Content-Length: ");
			if (head && field && sscanf(field, "Content-Length: %lu", &length) == 1)
				want = (size_t)(head + 4 - got) + length;
		}
		(void)api_peer_puts(fd, answer);
		(void)close(fd);
	}
	return true;
}

TEST(subscriptions_are_checked)
{
	static const struct {
		const char *path, *body, *why;
	} cases[] = {
		{"/2022-07-01/telemetry", "nonsense", "not a JSON object"},
		{"/2022-07-01/telemetry", "{}", "schemaVersion is missing"},
		{"/2022-07-01/telemetry", "{\"schemaVersion\":\"1999\"}", "schemaVersion"},
		{"/2020-08-15/logs", "{\"types\":[]}", "at least one"},
		{"/2020-08-15/logs", "{\"types\":[\"dreams\"]}", "types"},
		{"/2020-08-15/logs", "{\"types\":[\"platform\"]}", "a protocol is expected"},
		{"/2020-08-15/logs", "{\"types\":[\"platform\"],\"buffering\":{\"maxItems\":1}}", "out of its range"},
		{"/2020-08-15/logs", "{\"types\":[\"platform\"],\"destination\":{\"protocol\":\"TCP\",\"port\":0}}",
		 "port"},
		{"/2020-08-15/logs",
		 "{\"types\":[\"platform\"],\"destination\":{\"protocol\":\"HTTP\",\"URI\":\"http://example.org:80\"}}",
		 "sandbox.localdomain"},
	};
	struct ext x = {.fd = -1};
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_start(&p, NULL, NULL) == 0 && enrol(&x, "inner", "\"INVOKE\""));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		CHECK(api_peer_ask(x.fd, "PUT", cases[i].path, x.field, cases[i].body, &r));
		CHECK_EQ(r.status, 400);
		CHECK_CONTAINS(r.body, cases[i].why);
	}
	(void)close(x.fd);
}

TEST(records_come_by_http_to_one_who_was_late_and_end_with_the_report)
{
	static const char *const argv[] = {"/bin/sh", "-c",
					   "echo early; while :; do read -r x </opt/say; echo \"said $x\"; done", NULL};
	static const struct chan_report report = {.duration_ns = 1500000, .billed_ms = 2, .init_ns = 3000000};
	static char got[1 << 20];
	struct chan_peer_frame f;
	struct ext x = {.fd = -1};
	unsigned port = 0;
	char where[120];
	int listener, fd, say = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	got[0] = '\0';
	listener = api_peer_listen(&port);
	(void)snprintf(where, sizeof where, "\"protocol\":\"HTTP\",\"URI\":\"http://sandbox.localdomain:%u/in\"", port);
	REQUIRE(api_peer_program("extensions/a\"b", "#!/bin/sh\necho from extension\nexec sleep 1000\n"));
	REQUIRE((say = make_fifo("/opt/say")) >= 0 && api_peer_start(&p, argv, NULL) == 0);
	REQUIRE(enrol(&x, "a\"b", "\"INVOKE\",\"SHUTDOWN\""));
	CHECK_CONTAINS(chan_peer_log(&p, "early"), "early"); /* the init has begun before there is a subscription */
	REQUIRE(subscribe(&x, "\"platform\",\"function\"", where) && ext_next(&x));
	fd = runtime_next();
	REQUIRE(api_expect(&p, CHAN_READY, 0, &f));
	CHECK(f.body[4] & CHAN_WANTS_REPORTS);
	REQUIRE(chan_peer_call(&p, 1, "1", 1) == 0 && ext_event(&x, "INVOKE"));
	CHECK(write(say, "so\n", 3) == 3);
	CHECK_CONTAINS(chan_peer_log(&p, "said so"), "said so\n");
	API_ANSWER(r);
	CHECK(api_peer_read(fd, &r) && api_peer_ask(fd, "POST", RESPONSE, "", "2", &r) && r.status == 202);
	CHECK(api_peer_send(fd, "GET", NEXT, "", NULL));
	REQUIRE(ext_next(&x) && api_expect(&p, CHAN_DATA, 1, &f) && api_expect(&p, CHAN_DONE, 1, &f));
	CHECK(api_send_frame(&p, CHAN_REPORT, 1, &report, sizeof report));
	/* An answer that stays open, as some servers have it, is over when it is complete. */
	CHECK(deliveries(listener, "platform.report", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", got,
			 sizeof got));
	CHECK_CONTAINS(got, "POST /in HTTP/1.1\r\n");
	CHECK_CONTAINS(got, "\"type\":\"platform.initStart\",\"record\":{\"initializationType\":\"on-demand\"");
	CHECK_CONTAINS(got, "\"type\":\"platform.telemetrySubscription\",\"record\":{\"name\":\"a\\\"b\","
			    "\"state\":\"Subscribed\",\"types\":[\"platform\",\"function\"]}");
	CHECK_CONTAINS(got, "\"type\":\"platform.extension\",\"record\":{\"name\":\"a\\\"b\",\"state\":\"Ready\","
			    "\"events\":[\"INVOKE\",\"SHUTDOWN\"]}");
	CHECK_CONTAINS(got, "\"type\":\"platform.initReport\"");
	CHECK_CONTAINS(got, "\"type\":\"platform.start\",\"record\":{\"requestId\":\"" ID "\"");
	CHECK_CONTAINS(got, "\"type\":\"function\",\"record\":\"said so\\n\"");
	CHECK_CONTAINS(got, "\"type\":\"platform.runtimeDone\"");
	CHECK_CONTAINS(got, "\"metrics\":{\"durationMs\":1.500,\"billedDurationMs\":2,");
	CHECK_LACKS(got, "from extension"); /* not asked for */
	(void)close(fd);
	(void)close(say);
	(void)close(x.fd);
	(void)close(listener);
}

TEST(records_come_by_tcp_as_lines_and_wait_for_a_listener)
{
	static char got[1 << 20];
	struct chan_peer_frame f;
	struct ext x = {.fd = -1};
	unsigned port = 0;
	size_t len = 0;
	char where[100];
	int listener, fd, from;
	CHAN_PEER(p);

	NEED_WORLD;
	listener = api_peer_listen(&port);
	(void)close(listener); /* nobody listens at first */
	(void)snprintf(where, sizeof where, "\"protocol\":\"TCP\",\"port\":%u", port);
	REQUIRE(api_peer_start(&p, NULL, NULL) == 0 && enrol(&x, "inner", ""));
	REQUIRE(subscribe(&x, "\"platform\"", where) && ext_next(&x));
	fd = runtime_next();
	REQUIRE(api_expect(&p, CHAN_READY, 0, &f));
	(void)nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL); /* some tries fail */
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	REQUIRE(api_peer_listen_at(listener, port));
	from = api_peer_accept(listener);
	while (!strstr(got, "initReport") && len < sizeof got - 1) {
		ssize_t n = read(from, got + len, sizeof got - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
		got[len] = '\0';
	}
	CHECK(got[0] == '{');
	CHECK_CONTAINS(got, "}\n{\"time\":\"");
	CHECK_CONTAINS(got, "platform.initStart");
	CHECK_CONTAINS(got, "platform.initReport");
	(void)close(from);
	(void)close(fd);
	(void)close(x.fd);
	(void)close(listener);
}

/* CPU time of the processes of the server, in ticks. */
static long ticks_of(const struct chan_peer *p)
{
	char path[64], text[1024] = "";
	long user = 0, system = 0;
	int child = 0;
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)p->pid, (int)p->pid);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%d", &child) != 1)
		child = 0;
	(void)fclose(file);
	(void)snprintf(path, sizeof path, "/proc/%d/stat", child);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fgets(text, sizeof text, file) && strrchr(text, ')'))
		(void)sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
			     &system);
	(void)fclose(file);
	return user + system;
}

TEST(a_listener_that_never_answers_costs_no_time_and_its_own_records)
{
	static const char *const argv[] = {"/bin/sh", "-c",
					   "read -r x </opt/say; yes | head -c 4000000; exec sleep 1000", NULL};
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	static char got[4 << 20];
	struct chan_peer_frame f;
	struct ext x = {.fd = -1};
	unsigned port = 0;
	char where[120];
	long before;
	int listener, fd, say = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	listener = api_peer_listen(&port);
	(void)snprintf(where, sizeof where, "\"protocol\":\"HTTP\",\"URI\":\"http://sandbox.localdomain:%u\"", port);
	REQUIRE(api_peer_program("extensions/one", WAITS) && (say = make_fifo("/opt/say")) >= 0);
	REQUIRE(api_peer_start(&p, argv, NULL) == 0 && enrol(&x, "one", "\"INVOKE\""));
	REQUIRE(subscribe(&x, "\"platform\",\"function\"", where) && ext_next(&x));
	fd = runtime_next();
	REQUIRE(api_expect(&p, CHAN_READY, 0, &f));
	CHECK(write(say, "x\n", 2) == 2);
	for (size_t n = 0; n < 4000000 && CHECK(poll(&(struct pollfd){.fd = p.log, .events = POLLIN}, 1, 10000) > 0);) {
		char data[65536];
		ssize_t len = read(p.log, data, sizeof data);

		n += len > 0 ? (size_t)len : 0;
	}
	REQUIRE(answer_call(&p, 1, fd) && ext_event(&x, "INVOKE") && ext_next(&x));
	CHECK(api_expect(&p, CHAN_DATA, 1, &f) && api_expect(&p, CHAN_DONE, 1, &f));
	/* While it waits for the listener it does nothing: a loop that spins has some 100 ticks a second. */
	before = ticks_of(&p);
	(void)nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
	CHECK(before >= 0);
	CHECK_LE(ticks_of(&p) - before, 5);
	/* When it does answer it hears of what it has missed. */
	for (int i = 0; i < 4; i++) {
		got[0] = '\0';
		CHECK(deliveries(listener, "HTTP/1.1\r\n", ok, got, sizeof got));
		CHECK_LT(strlen(got), 262144 + 512); /* no batch is larger than what it asked for */
	}
	REQUIRE(answer_call(&p, 2, fd) && ext_event(&x, "INVOKE") && ext_next(&x));
	CHECK(api_expect(&p, CHAN_DATA, 2, &f) && api_expect(&p, CHAN_DONE, 2, &f));
	CHECK(deliveries(listener, "platform.logsDropped", ok, got, sizeof got));
	CHECK_CONTAINS(got, "\"reason\":\"the subscriber is too slow\",\"droppedRecords\":");
	(void)close(fd);
	(void)close(say);
	(void)close(x.fd);
	(void)close(listener);
}

TEST(what_was_printed_comes_before_the_end_of_the_call)
{
	static const char *const argv[] = {
		"/bin/bash", "-c",
		"exec 5<>/dev/tcp/127.0.0.1/9001; n=0; while :; do "
		"printf 'GET " NEXT " HTTP/1.1\r\n\r\n' >&5; while read -r x <&5 && [ ${#x} -gt 1 ]; do :; done; "
		"read -rN1 x <&5; n=$((n+1)); echo \"printed $n\"; "
		"printf 'POST " RESPONSE " HTTP/1.1\r\nContent-Length: 1\r\n\r\n2' >&5; "
		"while read -r x <&5 && [ ${#x} -gt 1 ]; do :; done; read -rN15 x <&5; done",
		NULL};
	struct chan_peer_frame f;
	struct ext x = {.fd = -1};
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_program("extensions/one", WAITS) && api_peer_start(&p, argv, NULL) == 0);
	REQUIRE(enrol(&x, "one", "") && ext_next(&x) && api_expect(&p, CHAN_READY, 0, &f));
	for (uint64_t n = 1; n <= 30; n++) {
		char line[40];

		(void)snprintf(line, sizeof line, "printed %d\n", (int)n);
		REQUIRE(chan_peer_call(&p, n, "1", 1) == 0 && api_expect(&p, CHAN_DATA, n, &f) &&
			api_expect(&p, CHAN_DONE, n, &f));
		REQUIRE(CHECK_CONTAINS(chan_peer_log(&p, NULL), line)); /* without waiting */
	}
	(void)close(x.fd);
}
