#define TAP_NO_MAIN
#include "tests/lib/python_peer.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Where the functions stand, whatever folder the tests are started in. */
static void task_root(char *dst, size_t size)
{
	char path[4096];
	const char *src = getenv("FSBOX_SRC");

	(void)snprintf(dst, size, "LAMBDA_TASK_ROOT=%s/tests/functions-python",
		       realpath(src ? src : ".", path) ? path : ".");
}

int python_start(struct chan_peer *p, const char *handler, const char *const *extra)
{
	char name[256], root[4200];
	const char *envp[24] = {
		"AWS_LAMBDA_FUNCTION_NAME=shop",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/shop",
		"AWS_REGION=eu-west-1",
		"LANG=en_US.UTF-8",
		"PATH=/usr/bin:/bin",
		name,
		root,
	};
	const char *const argv[] = {PYTHON, chan_peer_built("runtime/python/main.py"), NULL};
	size_t n = 9;

	(void)snprintf(name, sizeof name, "_HANDLER=%s", handler);
	task_root(root, sizeof root);
	while (extra && *extra && n < 17)
		envp[n++] = *extra++;
	return chan_peer_start(p, 0, argv, envp);
}

bool python_ready(struct chan_peer *p, const char *handler, const char *const *extra)
{
	struct chan_peer_frame f;

	if (CHECK_EQ(python_start(p, handler, extra), 0) && CHECK_EQ(chan_peer_next(p, &f), 1) &&
	    CHECK_EQ(f.head.type, CHAN_READY))
		return true;
	tap_note("  handler '%s': %s", handler, chan_peer_log(p, NULL));
	return false;
}

bool python_expect_error(struct chan_peer *p, uint16_t frame, const char *type, const char *const *texts)
{
	char want[CHAN_MAX_TYPE + 64], got[CHAN_MAX_TYPE + 1], *document;
	struct chan_error_view v;
	struct chan_peer_frame f;
	bool ok;

	if (!CHECK_EQ(chan_peer_next(p, &f), 1) || !CHECK_EQ(f.head.type, frame) ||
	    !CHECK_EQ(chan_error_parse(f.body, f.head.len, &v), 0)) {
		tap_note("  wanted %s: %s", type, chan_peer_log(p, NULL));
		return false;
	}
	(void)snprintf(got, sizeof got, "%.*s", (int)v.type_len, v.type);
	document = strndup(v.document, v.document_len);
	if (!document)
		abort();
	(void)snprintf(want, sizeof want, "\", \"errorType\": \"%s\", \"requestId\": \"", type);
	ok = CHECK_STREQ(got, type);
	ok = CHECK(strncmp(document, "{\"errorMessage\": \"", 18) == 0) && ok;
	ok = CHECK_CONTAINS(document, want) && ok;
	ok = CHECK_CONTAINS(document, "\", \"stackTrace\": [") && ok;
	for (; *texts; texts++)
		ok = CHECK_CONTAINS(document, *texts) && ok;
	free(document);
	return ok;
}

bool python_answers(const char *handler, const char *event, const char *answer)
{
	CHAN_PEER(p);

	if (python_ready(&p, handler, NULL) && call_and_expect(&p, 1, event, answer))
		return true;
	tap_note("  handler '%s', event '%s'", handler, event);
	return false;
}

bool python_init_fails(const char *handler, const char *type, const char *text)
{
	CHAN_PEER(p);

	if (CHECK_EQ(python_start(&p, handler, NULL), 0) && PYTHON_EXPECT_ERROR(&p, CHAN_INIT_ERROR, type, text)) {
		expect_exit(&p, 1);
		return true;
	}
	tap_note("  handler '%s'", handler);
	return false;
}

int python_send(struct chan_peer *p, uint16_t type)
{
	const struct chan_head h = {.type = type};

	return chan_peer_send(p, &h, sizeof h);
}

int python_send_restore(struct chan_peer *p, uint32_t flags, const char *env, size_t env_len)
{
	struct {
		struct chan_head head;
		struct chan_restore restore;
		char env[512];
	} f = {
		.head = {.type = CHAN_RESTORE, .len = (uint32_t)(sizeof f.restore + env_len)},
		.restore = {.random = {1},
			    .generation = 3,
			    .memory_mb = 256,
			    .flags = flags,
			    .env_len = (uint32_t)env_len,
			    .clone_id = "00c0ffee1234"},
	};

	if (env_len > sizeof f.env)
		return -E2BIG;
	if (env_len)
		memcpy(f.env, env, env_len);
	return chan_peer_send(p, &f, sizeof f.head + f.head.len);
}
