/* state.json, and what the container is now. */
#include "oci/store.h"

#include "base/fd.h"
#include "json/json.h"
#include "sys/sys.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { STATE_MAX_BYTES = 1 << 20 };

const char *status_name(enum oci_status s)
{
	static const char *const names[] = {"creating", "created", "running", "paused", "stopped"};

	return names[s];
}

uint64_t process_start(int64_t pid)
{
	char path[40], text[1024], *p;
	uint64_t start = 0;

	(void)snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
	if (pid <= 0 || fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
		return 0;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
		return 0;
	for (int field = 2; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	for (p = p ? p + 1 : NULL; p && *p >= '0' && *p <= '9'; p++)
		start = start * 10 + (uint64_t)(*p - '0');
	return start;
}

/* A pidfd that is looked at: the number may be somebody else's by now. */
static int open_process(const struct oci_state *st)
{
	AUTO_FD int pidfd = st->pid > 0 ? sys_pidfd_open((pid_t)st->pid) : FD_NONE;

	if (pidfd < 0 || st->start_ticks == 0 || process_start(st->pid) != st->start_ticks)
		return -ESRCH;
	return take_fd(&pidfd);
}

int state_signal(const struct oci_state *st, int sig)
{
	AUTO_FD int pidfd = open_process(st);

	return pidfd < 0 ? pidfd : sys_pidfd_kill(pidfd, sig);
}

void state_end(const struct oci_state *st, int patience_ms)
{
	AUTO_FD int pidfd = open_process(st);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	if (pidfd >= 0 && sys_pidfd_kill(pidfd, SIGKILL) == 0)
		(void)poll(&p, 1, patience_ms);
}

static void put(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, ",\"%s\":", key);
	json_add_string(b, value, strlen(value));
}

static void put_annotations(struct buf *b, const struct oci_state *st)
{
	buf_puts(b, ",\"annotations\":{");
	for (size_t i = 0; i < st->n_annotations; i++) {
		const struct ct_pair *p = &st->annotations[i];

		buf_puts(b, i ? "," : "");
		json_add_string(b, p->key, strlen(p->key));
		buf_puts(b, ":");
		json_add_string(b, p->value, strlen(p->value));
	}
	buf_puts(b, "}");
}

void state_print(struct buf *b, const struct oci_state *st, bool more)
{
	buf_puts(b, "{\"ociVersion\":");
	json_add_string(b, st->version, strlen(st->version));
	put(b, "id", st->id);
	put(b, "status", status_name(st->status));
	buf_printf(b, ",\"pid\":%" PRId64, st->status == OCI_STOPPED ? 0 : st->pid);
	put(b, "bundle", st->bundle);
	if (more) {
		put(b, "rootfs", st->rootfs);
		put(b, "created", st->created);
	}
	if (st->n_annotations > 0 || more)
		put_annotations(b, st);
	if (more)
		buf_printf(b, ",\"owner\":\"%s\"", st->owner == 0 ? "root" : "");
	buf_puts(b, "}");
}

int state_write(int dir, const struct oci_state *st, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};

	buf_puts(&b, "{\"ociVersion\":");
	json_add_string(&b, st->version, strlen(st->version));
	put(&b, "bundle", st->bundle);
	put(&b, "rootfs", st->rootfs);
	put(&b, "created", st->created);
	put(&b, "cgroup", st->cgroup);
	if (st->unit[0] && st->asked) {
		put(&b, "unit", st->unit);
		put(&b, "manager", st->user_unit ? "user" : "system");
	}
	if (st->found[0])
		put(&b, "found", st->found);
	buf_printf(&b, ",\"pid\":%" PRId64 ",\"owner\":%" PRId64 ",\"start\":%" PRIu64 ",\"creating\":%s", st->pid,
		   st->owner, st->start_ticks, st->creating ? "true" : "false");
	put_annotations(&b, st);
	buf_puts(&b, "}\n");
	return b.failed ? err_oom(e) : file_replace(dir, "state.json", b.data, b.len, 0600, e);
}

/* ---- Reading: what we wrote ourselves, so a wrong type is damage, not a mistake of somebody's ---- */

static const char *text_of(struct oci_state *st, const struct json *root, const char *key)
{
	const struct json *v = json_member(root, key);
	const char *s = v && json_type_of(v) == JSON_STRING ? json_string_get(v, NULL) : "";

	s = arena_strdup(&st->arena, s);
	return s ? s : "";
}

static int64_t number_of(const struct json *root, const char *key)
{
	const struct json *v = json_member(root, key);

	return v && json_type_of(v) == JSON_INTEGER ? json_integer_get(v) : 0;
}

static int add_annotation(const char *key, const struct json *v, void *arg)
{
	struct oci_state *st = arg;
	struct ct_pair *p = &st->annotations[st->n_annotations];

	p->key = arena_strdup(&st->arena, key);
	p->value = json_type_of(v) == JSON_STRING ? arena_strdup(&st->arena, json_string_get(v, NULL)) : NULL;
	st->n_annotations += p->key && p->value;
	return 0;
}

static void read_members(struct oci_state *st, const struct json *root)
{
	const struct json *creating = json_member(root, "creating"), *annotations = json_member(root, "annotations");

	st->version = text_of(st, root, "ociVersion");
	st->bundle = text_of(st, root, "bundle");
	st->rootfs = text_of(st, root, "rootfs");
	st->created = text_of(st, root, "created");
	st->cgroup = text_of(st, root, "cgroup");
	st->unit = text_of(st, root, "unit");
	st->asked = st->unit[0] != '\0';
	st->user_unit = strcmp(text_of(st, root, "manager"), "user") == 0;
	st->found = text_of(st, root, "found");
	st->pid = number_of(root, "pid");
	st->owner = number_of(root, "owner");
	st->start_ticks = (uint64_t)number_of(root, "start");
	st->creating = creating && json_type_of(creating) == JSON_BOOL && json_bool_get(creating);
	if (!annotations || json_type_of(annotations) != JSON_OBJECT)
		return;
	st->annotations = arena_alloc(&st->arena, (json_length(annotations) + 1) * sizeof *st->annotations);
	if (st->annotations)
		(void)json_each(annotations, add_annotation, st);
}

static bool is_paused(const struct oci_state *st)
{
	struct cg_group g;
	struct err ignored = {0};
	bool frozen;

	if (!st->cgroup[0] || cg_group_find(st->cgroup, &g, &ignored) < 0)
		return false;
	frozen = cg_group_is_frozen(&g);
	cg_group_close(&g);
	return frozen;
}

/* The socket may have outlived the wait: a "start" that was killed could not remove it. A connection without a word is
 * nothing to who waits. */
bool state_waits_for_start(int dir)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	AUTO_FD int sock = FD_NONE;

	if (faccessat(dir, "start.sock", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/start.sock", dir);
	return sock < 0 || connect(sock, (const struct sockaddr *)&to, sizeof to) == 0 || errno != ECONNREFUSED;
}

static enum oci_status compute(int dir, const struct oci_state *st)
{
	uint64_t start = process_start(st->pid);

	if (st->pid > 0 && (start == 0 || start != st->start_ticks))
		return OCI_STOPPED;
	if (st->creating || st->pid <= 0)
		return OCI_CREATING;
	if (is_paused(st))
		return OCI_PAUSED;
	return state_waits_for_start(dir) ? OCI_CREATED : OCI_RUNNING;
}

int state_read(int dir, const char *id, struct oci_state *ret, struct err *e)
{
	AUTO_FD int fd = openat(dir, "state.json", O_RDONLY | O_CLOEXEC);
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO_FREE char *text = NULL;
	size_t len;
	int r;

	*ret = (struct oci_state){.id = id,
				  .version = "1.0.2",
				  .bundle = "",
				  .rootfs = "",
				  .created = "",
				  .cgroup = "",
				  .unit = "",
				  .found = ""};
	if (fd < 0 && errno == ENOENT)
		return 0;
	r = fd < 0 ? -errno : fd_read_all(fd, STATE_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_sys(e, r, "reading the state of container %s", id);
	r = json_parse("state.json", text, len, STATE_MAX_BYTES, &doc, e);
	if (r < 0)
		return r;
	if (json_type_of(json_doc_root(doc)) != JSON_OBJECT)
		return err_set(e, ERR_SYSTEM, EBADMSG, "the state of container %s is damaged", id);
	read_members(ret, json_doc_root(doc));
	ret->status = compute(dir, ret);
	return 0;
}

void state_done(struct oci_state *st)
{
	arena_done(&st->arena);
}
