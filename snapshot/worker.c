/* What is said to a CRIU that waits in a prepared cell, and what it answers: a writer of the few fields that a request
 * has and a reader of the few that an answer has (rpc.h). The worker runs in the cell's namespaces, on images that hold
 * a function's memory: what comes from it is foreign. */
#include "snapshot/internal.h"
#include "snapshot/rpc.h"

#include <stdio.h>

void snap_worker_command(const char *argv[SNAP_WORKER_ARGS], const char *envp[SNAP_WORKER_ENV])
{
	static const char *const command[] = {
#ifdef __aarch64__
		SNAP_DIR_ENGINE "/lib/ld-linux-aarch64.so.1",
#else
		SNAP_DIR_ENGINE "/lib/ld-linux-x86-64.so.2",
#endif
		"--inhibit-cache",
		"--library-path",
		SNAP_DIR_ENGINE "/lib",
		SNAP_DIR_ENGINE "/bin/criu",
		"--no-default-config", /* it would be the one of the cell's root */
		"swrk",
		"100", /* SNAP_WORKER_SOCKET */
	};
	static const char *const environment[] = {
		"XDG_RUNTIME_DIR=" SNAP_DIR_WORK,            /* criu.kdat: what it knows of this kernel */
		"CRIU_LIBS_DIR=" SNAP_DIR_ENGINE "/plugins", /* none: nothing of the cell's root is to be loaded */
		"HOME=/nonexistent",                         /* nor configured */
		"PATH=" SNAP_DIR_ENGINE "/plugins",          /* nor executed */
		NULL,
	};

	memcpy(argv, command, sizeof command);
	argv[sizeof command / sizeof command[0]] = NULL;
	memcpy(envp, environment, sizeof environment);
}

/* ---- writing ---- */

size_t snap_worker_request(const struct snap_manifest *m, void *buf, size_t size)
{
	unsigned char opts[1024];
	struct rpc_out o = {.at = opts, .size = sizeof opts};
	struct rpc_out req = {.at = buf, .size = size};

	rpc_put_number(&o, OPT_IMAGES_DIR_FD,
		       UINT64_MAX); /* -1: by its name, as a descriptor of ours means nothing there */
	rpc_put_bytes(&o, OPT_IMAGES_DIR, SNAP_DIR_IMAGES, strlen(SNAP_DIR_IMAGES));
	/* Both ends are in the image, and nobody else is in the network: nothing has to be kept from arriving. */
	rpc_put_number(&o, OPT_TCP_ESTABLISHED, 1);
	rpc_put_number(&o, OPT_NETWORK_LOCK, NETWORK_LOCK_SKIP);
	rpc_put_number(&o, OPT_LOG_LEVEL, 1);
	rpc_put_number(&o, OPT_LOG_TO_STDERR, 1);
	rpc_put_number(&o, OPT_NOTIFY_SCRIPTS, 1);
	rpc_put_number(&o, OPT_MANAGE_CGROUPS, 1);
	rpc_put_number(&o, OPT_MANAGE_CGROUPS_MODE,
		       0); /* ignore: it lives in the cell's groups, and so will its children */
	rpc_put_number(&o, OPT_UNPRIVILEGED, 1);
	for (int i = 0; i < SNAP_MAX_PIPES; i++)
		rpc_put_inherited(&o, m->pipes[i], SNAP_WORKER_PIPES + i);
	rpc_put_number(&req, REQ_TYPE, TYPE_RESTORE);
	rpc_put_bytes(&req, REQ_OPTS, opts, rpc_length(&o));
	return rpc_length(&req);
}

size_t snap_worker_go_on(void *buf, size_t size)
{
	struct rpc_out req = {.at = buf, .size = size};

	rpc_put_number(&req, REQ_TYPE, TYPE_NOTIFY);
	rpc_put_number(&req, REQ_NOTIFY_SUCCESS, 1);
	return rpc_length(&req);
}

size_t snap_seccomp_image(const void *insns, size_t len, void *buf, size_t size)
{
	/* Magics of the image format and of seccomp.img; then one entry: its length, one list of one filter. */
	static const unsigned char magic[] = {0x19, 0x43, 0x56, 0x54, 0x49, 0x30, 0x41, 0x64};
	const size_t bytes = len * 8;
	unsigned char head[32];
	struct rpc_out h = {.at = head, .size = sizeof head};
	struct rpc_out o = {.at = buf, .size = size};
	unsigned char length[4];
	size_t inner;

	/* Of the filter: its program = 1, flags = 3. TSYNC, as CRIU writes it: the first thread to be restored installs it
	 * for all of them. */
	rpc_put_varint(&h, 1U << 3 | WIRE_BYTES);
	rpc_put_varint(&h, bytes);
	inner = h.len + bytes + 2;
	h.len = 0;
	rpc_put_varint(&h, 1U << 3 | WIRE_BYTES);
	rpc_put_varint(&h, inner);
	for (int i = 0; i < 4; i++)
		length[i] = (unsigned char)((h.len + inner) >> (8 * i));
	rpc_put(&o, magic, sizeof magic);
	rpc_put(&o, length, sizeof length);
	rpc_put(&o, head, h.len);
	rpc_put_bytes(&o, 1, insns, bytes);
	rpc_put_number(&o, 3, 1);
	return rpc_length(&o);
}

/* ---- reading ---- */

static void parse_notification(struct rpc_in in, struct snap_answer *ret, bool *ret_bad)
{
	struct rpc_field f;

	while (rpc_take_field(&in, &f, ret_bad)) {
		if (f.number == NOTIFY_SCRIPT)
			rpc_take_text(f.content, ret->script, sizeof ret->script);
		else if (f.number == NOTIFY_PID)
			ret->pid = (pid_t)f.value;
	}
}

void snap_worker_parse(const void *bytes, size_t len, struct snap_answer *ret)
{
	struct rpc_in in = {bytes, len}, inner;
	struct rpc_field f;
	uint64_t type = 0;
	bool success = false, bad = false;

	*ret = (struct snap_answer){.word = SNAP_WORD_NONSENSE};
	while (rpc_take_field(&in, &f, &bad)) {
		inner = f.content;
		if (f.number == RESP_TYPE)
			type = f.value;
		else if (f.number == RESP_SUCCESS)
			success = f.value == 1;
		else if (f.number == RESP_ERRNO)
			ret->cr_errno = (int)f.value;
		else if (f.number == RESP_ERRMSG)
			rpc_take_text(f.content, ret->text, sizeof ret->text);
		else if (f.number == RESP_RESTORE)
			while (rpc_take_field(&inner, &f, &bad))
				ret->pid = f.number == RESTORE_PID ? (pid_t)f.value : ret->pid;
		else if (f.number == RESP_NOTIFY)
			parse_notification(inner, ret, &bad);
		if (bad)
			return;
	}
	if (bad)
		return;
	if (!success)
		ret->word = SNAP_WORD_FAILED;
	else if (type == TYPE_NOTIFY)
		ret->word = SNAP_WORD_NOTIFY;
	else if (type == TYPE_RESTORE)
		ret->word = SNAP_WORD_RESTORED;
}
