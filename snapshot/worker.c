/* What is said to a CRIU that waits in a prepared cell, and what it answers: a writer of the few fields that a request
 * has and a reader of the few that an answer has (the wire format is protobuf's: a key of field number and wire type,
 * then a varint or a length and bytes). The worker runs in the cell's namespaces, on images that hold a function's
 * memory: what comes from it is foreign. */
#include "snapshot/internal.h"

#include <stdio.h>

/* Field numbers of criu_req, criu_opts, criu_resp and criu_notify, as CRIU 4.2 has them. */
enum {
	REQ_TYPE = 1,
	REQ_OPTS = 2,
	REQ_NOTIFY_SUCCESS = 3,

	OPT_IMAGES_DIR_FD = 1,
	OPT_TCP_ESTABLISHED = 5,
	OPT_LOG_LEVEL = 9,
	OPT_NOTIFY_SCRIPTS = 12,
	OPT_INHERIT_FD = 27,
	OPT_MANAGE_CGROUPS = 24,
	OPT_MANAGE_CGROUPS_MODE = 34,
	OPT_NETWORK_LOCK = 65,
	OPT_UNPRIVILEGED = 67,
	OPT_IMAGES_DIR = 68,
	OPT_LOG_TO_STDERR = 71,

	NETWORK_LOCK_SKIP = 3,

	FD_KEY = 1,
	FD_NUMBER = 2,

	RESP_TYPE = 1,
	RESP_SUCCESS = 2,
	RESP_RESTORE = 4,
	RESP_NOTIFY = 5,
	RESP_ERRNO = 7,
	RESP_ERRMSG = 9,
	RESTORE_PID = 1,
	NOTIFY_SCRIPT = 1,

	TYPE_RESTORE = 2,
	TYPE_NOTIFY = 6,

	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5,
};

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

struct out {
	unsigned char *at;
	size_t len, size; /* len goes on counting beyond size: too large, and nothing more is written */
};

static void put(struct out *o, const void *data, size_t len)
{
	if (o->len + len <= o->size && len > 0)
		memcpy(o->at + o->len, data, len);
	o->len += len;
}

static void put_varint(struct out *o, uint64_t v)
{
	unsigned char bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
		n++;
	} while (v > 0);
	put(o, bytes, n);
}

static void put_number(struct out *o, unsigned field, uint64_t v)
{
	put_varint(o, (uint64_t)field << 3 | WIRE_VARINT);
	put_varint(o, v);
}

static void put_bytes(struct out *o, unsigned field, const void *data, size_t len)
{
	put_varint(o, (uint64_t)field << 3 | WIRE_BYTES);
	put_varint(o, len);
	put(o, data, len);
}

static size_t done(const struct out *o)
{
	return o->len <= o->size ? o->len : 0;
}

size_t snap_worker_request(const struct snap_manifest *m, void *buf, size_t size)
{
	unsigned char opts[1024], fd[64];
	struct out o = {.at = opts, .size = sizeof opts};
	struct out req = {.at = buf, .size = size};

	put_number(&o, OPT_IMAGES_DIR_FD,
		   UINT64_MAX); /* -1: by its name, as a descriptor of ours means nothing there */
	put_bytes(&o, OPT_IMAGES_DIR, SNAP_DIR_IMAGES, strlen(SNAP_DIR_IMAGES));
	/* Both ends are in the image, and nobody else is in the network: nothing has to be kept from arriving. */
	put_number(&o, OPT_TCP_ESTABLISHED, 1);
	put_number(&o, OPT_NETWORK_LOCK, NETWORK_LOCK_SKIP);
	put_number(&o, OPT_LOG_LEVEL, 1);
	put_number(&o, OPT_LOG_TO_STDERR, 1);
	put_number(&o, OPT_NOTIFY_SCRIPTS, 1);
	put_number(&o, OPT_MANAGE_CGROUPS, 1);
	put_number(&o, OPT_MANAGE_CGROUPS_MODE,
		   0); /* ignore: it lives in the cell's groups, and so will its children */
	put_number(&o, OPT_UNPRIVILEGED, 1);
	for (int i = 0; i < SNAP_MAX_PIPES; i++) {
		struct out f = {.at = fd, .size = sizeof fd};

		put_bytes(&f, FD_KEY, m->pipes[i], strnlen(m->pipes[i], sizeof m->pipes[i]));
		put_number(&f, FD_NUMBER, SNAP_WORKER_PIPES + (uint64_t)i);
		put_bytes(&o, OPT_INHERIT_FD, fd, done(&f));
	}
	put_number(&req, REQ_TYPE, TYPE_RESTORE);
	put_bytes(&req, REQ_OPTS, opts, done(&o));
	return done(&req);
}

size_t snap_worker_go_on(void *buf, size_t size)
{
	struct out req = {.at = buf, .size = size};

	put_number(&req, REQ_TYPE, TYPE_NOTIFY);
	put_number(&req, REQ_NOTIFY_SUCCESS, 1);
	return done(&req);
}

size_t snap_seccomp_image(const void *insns, size_t len, void *buf, size_t size)
{
	/* Magics of the image format and of seccomp.img; then one entry: its length, one list of one filter. */
	static const unsigned char magic[] = {0x19, 0x43, 0x56, 0x54, 0x49, 0x30, 0x41, 0x64};
	const size_t bytes = len * 8;
	unsigned char head[32];
	struct out h = {.at = head, .size = sizeof head};
	struct out o = {.at = buf, .size = size};
	unsigned char length[4];
	size_t inner;

	/* Of the filter: its program = 1, flags = 3. TSYNC, as CRIU writes it: the first thread to be restored installs it
	 * for all of them. */
	put_varint(&h, 1U << 3 | WIRE_BYTES);
	put_varint(&h, bytes);
	inner = h.len + bytes + 2;
	h.len = 0;
	put_varint(&h, 1U << 3 | WIRE_BYTES);
	put_varint(&h, inner);
	for (int i = 0; i < 4; i++)
		length[i] = (unsigned char)((h.len + inner) >> (8 * i));
	put(&o, magic, sizeof magic);
	put(&o, length, sizeof length);
	put(&o, head, h.len);
	put_bytes(&o, 1, insns, bytes);
	put_number(&o, 3, 1);
	return done(&o);
}

/* ---- reading ---- */

struct in {
	const unsigned char *at;
	size_t len;
};

struct field {
	unsigned number;
	uint64_t value;    /* a number */
	struct in content; /* bytes */
};

static bool take_varint(struct in *in, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
		const unsigned char b = *in->at++;

		in->len--;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool skip(struct in *in, size_t n)
{
	if (in->len < n)
		return false;
	in->at += n;
	in->len -= n;
	return true;
}

/* False at the end, and on anything that is no field: *ret_bad tells them apart. */
static bool take_field(struct in *in, struct field *f, bool *ret_bad)
{
	uint64_t key, n;

	*f = (struct field){0};
	if (in->len == 0)
		return false;
	*ret_bad = true;
	if (!take_varint(in, &key) || key >> 3 > 0x1fffffff)
		return false;
	f->number = (unsigned)(key >> 3);
	switch (key & 7) {
	case WIRE_VARINT:
		if (!take_varint(in, &f->value))
			return false;
		break;
	case WIRE_BYTES:
		if (!take_varint(in, &n) || n > in->len)
			return false;
		f->content = (struct in){in->at, (size_t)n};
		(void)skip(in, (size_t)n);
		break;
	case WIRE_64:
		if (!skip(in, 8))
			return false;
		break;
	case WIRE_32:
		if (!skip(in, 4))
			return false;
		break;
	default:
		return false;
	}
	*ret_bad = false;
	return true;
}

static void take_text(struct in in, char *to, size_t size)
{
	size_t n = in.len < size ? in.len : size - 1;

	if (n > 0)
		memcpy(to, in.at, n);
	to[n] = '\0';
	for (size_t i = 0; i < n; i++) /* it will stand in a message */
		if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
			to[i] = ' ';
}

void snap_worker_parse(const void *bytes, size_t len, struct snap_answer *ret)
{
	struct in in = {bytes, len}, inner;
	struct field f;
	uint64_t type = 0;
	bool success = false, bad = false;

	*ret = (struct snap_answer){.word = SNAP_WORD_NONSENSE};
	while (take_field(&in, &f, &bad)) {
		inner = f.content;
		if (f.number == RESP_TYPE)
			type = f.value;
		else if (f.number == RESP_SUCCESS)
			success = f.value == 1;
		else if (f.number == RESP_ERRNO)
			ret->cr_errno = (int)f.value;
		else if (f.number == RESP_ERRMSG)
			take_text(f.content, ret->text, sizeof ret->text);
		else if (f.number == RESP_RESTORE)
			while (take_field(&inner, &f, &bad))
				ret->pid = f.number == RESTORE_PID ? (pid_t)f.value : ret->pid;
		else if (f.number == RESP_NOTIFY)
			while (take_field(&inner, &f, &bad))
				if (f.number == NOTIFY_SCRIPT)
					take_text(f.content, ret->script, sizeof ret->script);
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
