/* The Runtime API's server, without a cell: how it ends, snapshots, frames out of place. */
#include "tests/lib/api_peer.h"
#include "tests/lib/tap.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEXT API_NEXT
#define ID   API_ID
#define CALL API_CALL
#define NEED_WORLD                                                                      \
	do {                                                                            \
		if (!api_peer_world())                                                  \
			SKIP("needs root: a network namespace and an /opt of its own"); \
	} while (0)

static bool refused(int fd, const char *method, const char *path, const char *fields, const char *body, unsigned status,
		    const char *type)
{
	API_ANSWER(r);
	char wanted[200];

	(void)snprintf(wanted, sizeof wanted, "\"errorType\":\"%s\"", type);
	return CHECK(api_peer_ask(fd, method, path, fields, body, &r)) && CHECK_EQ(r.status, status) &&
	       CHECK_CONTAINS(r.body, wanted);
}

/* ---- Ends ---- */

TEST(how_the_program_ends_the_server_ends)
{
	static const struct {
		const char *command;
		int code, status;
	} cases[] = {
		{"exit 0", CLD_EXITED, 0},         {"exit 7", CLD_EXITED, 7},        {"exit 255", CLD_EXITED, 255},
		{"kill -SEGV $$", CLD_KILLED, 11}, {"kill -KILL $$", CLD_KILLED, 9}, {"kill -TERM $$", CLD_KILLED, 15},
		{"kill -34 $$", CLD_KILLED, 34},
	};

	NEED_WORLD;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *const argv[] = {"/bin/bash", "-c", cases[i].command, NULL};
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, argv, NULL) == 0);
		if (!api_ends_with(&p, cases[i].code, cases[i].status))
			tap_note("'%s'", cases[i].command);
	}
}

TEST(a_program_that_cannot_be_executed_is_lambdas_error)
{
	static const char *const argv[] = {"/not/there", NULL};
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_start(&p, argv, NULL) == 0);
	CHECK(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.InvalidEntrypoint",
			       "'/not/there' cannot be executed: No such file or directory", NULL));
	CHECK(api_ends_with(&p, CLD_EXITED, 1));
}

TEST(an_init_error_counts_though_the_program_ends_right_behind_it)
{
	static const char *const argv[] = {
		"/bin/bash", "-c",
		"exec 5<>/dev/tcp/127.0.0.1/9001; printf 'POST /2018-06-01/runtime/init/error HTTP/1.1\r\n"
		"Lambda-Runtime-Function-Error-Type: Runtime.NoLuck\r\nContent-Length: 24\r\n\r\n{\"errorMessage\":\"a bit"
		"\"}' >&5; exit 3",
		NULL};

	NEED_WORLD;
	for (int i = 0; i < 20; i++) {
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, argv, NULL) == 0);
		REQUIRE(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.NoLuck", "a bit",
					 "{\"errorMessage\":\"a bit\"}"));
		CHECK(api_ends_with(&p, CLD_EXITED, 1));
	}
}

TEST(an_answer_stands_though_the_program_ends_right_behind_it)
{
	static const char *const argv[] = {
		"/bin/bash", "-c",
		"exec 5<>/dev/tcp/127.0.0.1/9001; printf 'GET " NEXT
		" HTTP/1.1\r\n\r\n' >&5; while read -r x <&5 && [ ${#x} -gt 1 ]; do :; done; read -rN1 x <&5; "
		"printf 'POST " CALL "/response HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi' >&5; exit 5",
		NULL};

	NEED_WORLD;
	for (int i = 0; i < 20; i++) {
		struct chan_peer_frame f;
		CHAN_PEER(p);

		REQUIRE(api_peer_start(&p, argv, NULL) == 0 && api_expect(&p, CHAN_READY, 0, &f));
		CHECK_EQ(chan_peer_call(&p, 1, "1", 1), 0);
		REQUIRE(api_expect_data(&p, 1, "hi") && api_expect(&p, CHAN_DONE, 1, &f));
		CHECK(api_ends_with(&p, CLD_EXITED, 5));
	}
}

TEST(the_wrapper_is_executed_with_the_program_as_its_arguments)
{
	static const char *const env[] = {"AWS_LAMBDA_EXEC_WRAPPER=/opt/wrapper", NULL};
	static const char *const argv[] = {"/bin/prog", "a b", NULL};
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_program("wrapper", "#!/bin/sh\necho \"$# $1 $2 $AWS_LAMBDA_RUNTIME_API\"\n"));
	REQUIRE(api_peer_start(&p, argv, env) == 0);
	CHECK_CONTAINS(chan_peer_log(&p, "9001"), "2 /bin/prog a b 127.0.0.1:9001\n");
	CHECK(api_ends_with(&p, CLD_EXITED, 0));
	api_peer_remove_extensions();
}

/* ---- Snapshots, and frames out of order ---- */

static bool send_restore(struct chan_peer *p, const char *env, size_t env_len)
{
	char body[sizeof(struct chan_restore) + 256];
	struct chan_restore r = {.generation = 1,
				 .wall_ns = INT64_C(1700000000000000000),
				 .memory_mb = 128,
				 .env_len = (uint32_t)env_len,
				 .clone_id = "0123456789ab"};

	memset(r.random, 7, sizeof r.random);
	memcpy(body, &r, sizeof r);
	if (env_len > 0)
		memcpy(body + sizeof r, env, env_len);
	return api_send_frame(p, CHAN_RESTORE, 0, body, sizeof r + env_len);
}

static const char *const snap_start[] = {"AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "AWS_ACCESS_KEY_ID=old",
					 "AWS_SECRET_ACCESS_KEY=secret", NULL};

TEST(a_runtime_is_told_of_its_restore_and_fetches_its_keys)
{
	static const char *const argv[] = {
		"/bin/sh", "-c",
		"echo \"[$AWS_ACCESS_KEY_ID$AWS_SECRET_ACCESS_KEY] "
		"token=$AWS_CONTAINER_AUTHORIZATION_TOKEN; $AWS_CONTAINER_CREDENTIALS_FULL_URI\"; "
		"exec sleep 1000",
		NULL};
	static const char env[] = "AWS_ACCESS_KEY_ID=new";
	struct chan_peer_frame f;
	char field[200], token[100] = "";
	const char *log;
	int fd;
	CHAN_PEER(p);
	API_ANSWER(r);

	NEED_WORLD;
	REQUIRE(api_peer_start(&p, argv, snap_start) == 0);
	log = chan_peer_log(&p, "credentials");
	CHECK_CONTAINS(log, "[] token="); /* no keys in what will be dumped */
	REQUIRE(sscanf(log, "[] token=%90[^;]", token) == 1);
	fd = api_peer_connect(9001);
	CHECK(api_peer_send(fd, "GET", "/2018-06-01/runtime/restore/next", "", NULL));
	REQUIRE(api_expect(&p, CHAN_READY, 0, &f));
	CHECK(api_send_frame(&p, CHAN_SNAPSHOT, 0, NULL, 0));
	REQUIRE(api_expect(&p, CHAN_PARKED, 0, &f));
	CHECK(f.head.len == 4 && f.body[0] == 0); /* it reseeds itself */
	CHECK(api_peer_silent(fd));
	CHECK(send_restore(&p, env, sizeof env));
	CHECK(api_peer_read(fd, &r));
	CHECK_EQ(r.status, 200);
	CHECK_EQ(r.len, 0);
	(void)snprintf(field, sizeof field, "Authorization: %s\r\n", token);
	CHECK(api_peer_ask(fd, "GET", "/2021-04-23/credentials", field, NULL, &r));
	CHECK_STREQ(r.body, "{\"AccessKeyId\":\"new\",\"SecretAccessKey\":\"secret\",\"Token\":\"\","
			    "\"Expiration\":\"9999-12-31T23:59:59Z\"}");
	CHECK(refused(fd, "GET", "/2021-04-23/credentials", "Authorization: other\r\n", NULL, 404, "NotFound"));
	CHECK(refused(fd, "GET", "/2021-04-23/credentials", "", NULL, 404, "NotFound"));
	REQUIRE(api_send_next(fd) && api_expect(&p, CHAN_RESTORED, 0, &f));
	CHECK(api_send_frame(&p, CHAN_DRAW, 0, NULL, 0));
	CHECK(api_expect(&p, CHAN_DRAWN, 0, &f) && f.head.len > 2);
	CHECK(api_call_works(&p, 1, fd));
	(void)close(fd);
}

TEST(a_restore_may_fail_be_lost_or_go_unasked)
{
	NEED_WORLD;
	for (int k = 0; k < 4; k++) {
		struct chan_peer_frame f;
		int fd;
		CHAN_PEER(p);
		API_ANSWER(r);

		REQUIRE(api_peer_start(&p, NULL, snap_start) == 0);
		fd = api_peer_connect(9001);
		CHECK(api_peer_send(fd, "GET", k == 3 ? NEXT : "/2018-06-01/runtime/restore/next", "", NULL));
		REQUIRE(api_expect(&p, CHAN_READY, 0, &f));
		CHECK(api_send_frame(&p, CHAN_SNAPSHOT, 0, NULL, 0));
		REQUIRE(api_expect(&p, CHAN_PARKED, 0, &f));
		CHECK_EQ(f.body[0], k == 3 ? CHAN_NOT_RESEEDED : 0);
		if (k == 2) {
			(void)close(fd);
			(void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		}
		CHECK(send_restore(&p, NULL, 0));
		if (k == 2) { /* lost: told when it asks again */
			fd = api_peer_connect(9001);
			CHECK(api_peer_ask(fd, "GET", "/2018-06-01/runtime/restore/next", "", NULL, &r));
			CHECK_EQ(r.status, 200);
			REQUIRE(api_send_next(fd));
		} else if (k < 2) {
			CHECK(api_peer_read(fd, &r) && r.status == 200);
			CHECK(api_peer_ask(fd, "POST",
					   k ? "/2018-06-01/runtime/restore/error" : "/2018-06-01/runtime/init/error",
					   "", "{\"errorMessage\":\"hook\"}", &r));
			CHECK_EQ(r.status, 202);
			CHECK(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.AfterRestoreError", "hook", NULL));
			CHECK(api_ends_with(&p, CLD_EXITED, 1));
		}
		if (k >= 2)
			CHECK(api_expect(&p, CHAN_RESTORED, 0, &f) && api_call_works(&p, 1, fd));
		(void)close(fd);
	}
}

TEST(frames_out_of_place_end_the_server)
{
	static const uint16_t alone[] = {CHAN_RESTORE, CHAN_REPORT, CHAN_READY, 99};
	static const uint16_t before[] = {CHAN_SNAPSHOT, CHAN_DRAW, CHAN_CALL};
	static const char zero[512];

	NEED_WORLD;
	for (size_t i = 0; i < 4 + 3 + 2; i++) {
		int fd = -1;
		struct chan_peer_frame f;
		CHAN_PEER(p);

		if (i < 4) {
			REQUIRE(api_peer_ready(&p, &fd));
			if (alone[i] == CHAN_RESTORE)
				CHECK(send_restore(&p, NULL, 0));
			else
				CHECK(api_send_frame(&p, alone[i], alone[i] == CHAN_REPORT, zero,
						     alone[i] == CHAN_REPORT ? 48 : 8));
		} else if (i < 7) { /* not READY yet */
			REQUIRE(api_peer_start(&p, NULL, NULL) == 0);
			if (before[i - 4] == CHAN_CALL)
				CHECK_EQ(chan_peer_call(&p, 1, "1", 1), 0);
			else
				CHECK(api_send_frame(&p, before[i - 4], 0, NULL, 0));
		} else {
			REQUIRE(api_peer_ready(&p, &fd));
			CHECK(i == 7 ? api_send_frame(&p, CHAN_SNAPSHOT, 0, NULL, 0) : api_give_event(&p, 1, fd, "1"));
			if (i == 7)
				CHECK(api_expect(&p, CHAN_PARKED, 0, &f));
			CHECK_EQ(chan_peer_call(&p, 2, "1", 1), 0);
		}
		CHECK_CONTAINS(chan_peer_log(&p, "fsbox: the channel"), "fsbox: the channel: ");
		if (!api_ends_with(&p, CLD_EXITED, 1))
			tap_note("case %zu", i);
		(void)close(fd);
	}
}

TEST(a_filter_is_refused_with_the_reason)
{
	static const char filter[8];
	int next = -1;
	CHAN_PEER(p);

	NEED_WORLD;
	REQUIRE(api_peer_ready(&p, &next));
	CHECK(api_send_frame(&p, CHAN_FILTER, 0, filter, sizeof filter));
	CHECK(api_expect_error(&p, CHAN_INIT_ERROR, 0, "Runtime.InitError", NULL, NULL));
	CHECK(api_ends_with(&p, CLD_EXITED, 1));
	(void)close(next);
}

TEST(the_end_of_the_channel_is_an_end_with_status_0_and_half_a_frame_is_not)
{
	NEED_WORLD;
	for (int k = 0; k < 3; k++) {
		int next = -1;
		CHAN_PEER(p);

		REQUIRE(api_peer_ready(&p, &next));
		if (k == 0)
			CHECK(api_send_frame(&p, CHAN_SHUTDOWN, 0, NULL, 0));
		if (k == 2)
			CHECK_EQ(chan_peer_send(&p, "\1\0\0\0\1", 5), 0);
		chan_peer_hang_up(&p);
		CHECK(api_ends_with(&p, CLD_EXITED, k == 2));
		(void)close(next);
	}
}
