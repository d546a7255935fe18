/* Requests for dump and restore, and why they failed. Both go to a CRIU that was started for this one (`criu swrk`): not
 * all that containers need is an option of its command line. */
#include "snapshot/internal.h"
#include "snapshot/rpc.h"

#include "sys/sys.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	SOCKET_FD = 100, /* in CRIU's process */
	LOG_MAX = 64 << 20,
	LOG_LEVEL = 4, /* who looks into the log wants to know why; costs some milliseconds */
	FOREVER_MS = 1 << 30,
	REQUEST_ROOM = 128 << 10,
	KDAT_MAX = 64 << 10,
	CHECK_MS = 20000,
	CG_IGNORE = 0,
	GHOST_LIMIT = 1 << 30, /* deleted files that are still open go into the images up to this size */
};
/* What CRIU executes is the host's: tar for the contents of a tmpfs, ip for a network namespace. */
#define TOOLS "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- Whether the network has to stand still ---- */

struct flow {
	char local[40], remote[40];
};

/* Lines of /proc/PID/net/tcp: "sl local_address rem_address st …", addresses in hexadecimal; st 01 is established
 * (proc_pid_net(5)). */
static bool read_flow(const char *line, struct flow *f)
{
	char state[8];

	return sscanf(line, "%*[^:]: %39s %39s %7s", f->local, f->remote, state) == 3 && strcmp(state, "01") == 0;
}

static int compare_flows(const void *a, const void *b)
{
	const struct flow *f = a, *g = b;
	const int local = strcmp(f->local, g->local);

	return local ? local : strcmp(f->remote, g->remote);
}

/* Has each of the @n its other end among them? Sorted, because it is the container that decides how many there are. */
static bool are_pairs(struct flow *flows, size_t n)
{
	struct flow back;

	if (n > 0)
		qsort(flows, n, sizeof *flows, compare_flows);
	for (size_t i = 0; i < n; i++) {
		memcpy(back.local, flows[i].remote, sizeof back.local);
		memcpy(back.remote, flows[i].local, sizeof back.remote);
		if (!bsearch(&back, flows, n, sizeof *flows, compare_flows))
			return false;
	}
	return true;
}

static bool is_closed_table(pid_t pid, const char *name)
{
	AUTO(buf_done) struct buf flows = {0};
	AUTO_FREE char *table = NULL;
	AUTO_FD int fd = FD_NONE;
	char path[48];
	size_t len;

	(void)snprintf(path, sizeof path, "/proc/%d/net/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT; /* no IPv6 */
	if (fd_read_all(fd, LOG_MAX, &table, &len) < 0)
		return false;
	for (const char *line = table; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		struct flow f;

		if (read_flow(line, &f))
			buf_add(&flows, &f, sizeof f);
	}
	return !flows.failed && are_pairs((struct flow *)(void *)flows.data, flows.len / sizeof(struct flow));
}

/* Between dump and restore nothing may reach a connection, or its peer is told that there is none. Rules of the network are
 * needed for that only when there is a peer outside. */
static int network_lock(const struct criu_job *j)
{
	if (!j->tcp_established || (is_closed_table(j->pid, "tcp") && is_closed_table(j->pid, "tcp6")))
		return NETWORK_LOCK_SKIP;
	return NETWORK_LOCK_NFTABLES; /* with the library that CRIU brings; iptables would be a program of the host's */
}

/* ---- The command ---- */

int criu_worker(const struct snap_engine *en, int sock, struct criu_command *ret, struct err *e)
{
	char *at = ret->text;
	size_t left = sizeof ret->text;
	const char *texts[2];

	engine_argv(en, at, 2 * sizeof en->dir, ret->argv);
	at += 2 * sizeof en->dir;
	left -= 2 * sizeof en->dir;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		int n = i == 0 ? snprintf(at, left, "%d", sock)
			       : snprintf(at, left, "CRIU_LIBS_DIR=%s/plugins", en->dir);

		if (n < 0 || (size_t)n >= left)
			return err_set(e, ERR_SYSTEM, ENAMETOOLONG, "CRIU's directory has too long a name");
		texts[i] = at;
		at += n + 1;
		left -= (size_t)n + 1;
	}
	ret->argv[ENGINE_WORDS] = "--no-default-config";
	ret->argv[ENGINE_WORDS + 1] = "swrk";
	ret->argv[ENGINE_WORDS + 2] = texts[0];
	ret->argv[ENGINE_WORDS + 3] = NULL;
	ret->envp[0] = "HOME=/nonexistent";
	ret->envp[1] = TOOLS;
	ret->envp[2] = texts[1];
	ret->envp[3] = NULL;
	return 0;
}

/* ---- What it knows of the kernel ---- */

/* For root it is /run, and no other place. */
static int place_kdat(int dir)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	return sys_move_mount(dir, AT_FDCWD, CRIU_KDAT_DIR);
}

static int enter_check(void *arg)
{
	return place_kdat(*(const int *)arg);
}

/* `criu check` finds out, whatever it then says of it. */
static int find_out(const struct snap_engine *en, struct buf *ret, struct err *e)
{
	AUTO_FD int dir = kdat_dir_open(ret, e);
	AUTO_FD int file = FD_NONE;
	AUTO_FREE char *data = NULL;
	struct criu_command c = {0};
	struct keeper k = {.argv = c.argv, .envp = c.envp, .enter = enter_check, .arg = (void *)&dir, .out = FD_NONE};
	size_t len;
	int status, r = dir < 0 ? dir : criu_worker(en, SOCKET_FD, &c, e);

	c.argv[ENGINE_WORDS + 1] = "check";
	c.argv[ENGINE_WORDS + 2] = NULL;
	if (r == 0)
		r = keeper_start(&k, e);
	if (r == 0)
		r = keeper_wait(&k, CHECK_MS, FD_NONE, &status, e);
	if (r < 0)
		return r;
	file = openat(dir, CRIU_KDAT, O_RDONLY | O_CLOEXEC);
	r = file < 0 ? -errno : fd_read_all(file, KDAT_MAX, &data, &len);
	if (r == 0)
		buf_add(ret, data, len);
	return r;
}

/* --root may lie where others may make files, too. */
static bool is_ours_alone(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

void criu_kdat(const struct snap_engine *en, int dir, struct buf *ret)
{
	char name[128], aside[160], boot[40];
	AUTO_FD int fd = FD_NONE;
	AUTO_FREE char *data = NULL;
	struct err ignored = {0};
	size_t len;

	if (fd_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", boot, sizeof boot) < 0)
		return;
	(void)snprintf(name, sizeof name, ".criu-%s-%s.kdat", en->version, boot);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd_valid(fd) && is_ours_alone(fd) && fd_read_all(fd, KDAT_MAX, &data, &len) == 0) {
		buf_add(ret, data, len);
		return;
	}
	if (find_out(en, ret, &ignored) < 0 || ret->len == 0)
		return;
	(void)snprintf(aside, sizeof aside, "%s.%d", name, getpid());
	fd_closep(&fd);
	(void)unlinkat(dir, aside, 0);
	fd = openat(dir, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd_valid(fd) && (fd_write_all(fd, ret->data, ret->len) < 0 || renameat(dir, aside, dir, name) < 0))
		(void)unlinkat(dir, aside, 0);
}

/* ---- Requests ---- */

static void put_flags(struct rpc_out *o, const struct criu_job *j)
{
	const struct {
		unsigned field;
		bool wanted;
	} flags[] = {
		{OPT_EXT_UNIX_SK, j->ext_unix_sockets},
		{OPT_TCP_ESTABLISHED, j->tcp_established},
		{OPT_SHELL_JOB, j->shell_job},
		{OPT_FILE_LOCKS, j->file_locks},
		{OPT_AUTO_DEDUP, j->auto_dedup},
		{OPT_LINK_REMAP, j->link_remap},
		{OPT_LAZY_PAGES, j->lazy_pages},
		{OPT_TCP_CLOSE, j->tcp_close},
		{OPT_ORPHAN_PTS_MASTER, true}, /* a terminal's master is outside */
		{OPT_MNTNS_COMPAT_MODE, j->compat_mounts},
		{OPT_EXT_MASTERS, true}, /* what is mounted from the host may hear of its mounts */
	};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (flags[i].wanted)
			rpc_put_number(o, flags[i].field, 1);
}

static void put_common(struct rpc_out *o, const struct criu_job *j, int work_fd)
{
	rpc_put_number(o, OPT_IMAGES_DIR_FD, fd_valid(j->images_fd) ? (uint64_t)j->images_fd : UINT64_MAX);
	rpc_put_text(o, OPT_IMAGES_DIR, fd_valid(j->images_fd) ? NULL : j->images);
	rpc_put_number(o, OPT_WORK_DIR_FD, (uint64_t)work_fd);
	rpc_put_number(o, OPT_LOG_LEVEL, LOG_LEVEL);
	rpc_put_text(o, OPT_LOG_FILE, j->log);
	rpc_put_text(o, OPT_CONFIG_FILE, j->config);
	put_flags(o, j);
	if (j->empty_net)
		rpc_put_number(o, OPT_EMPTY_NS, CLONE_NEWNET);
	rpc_put_number(o, OPT_MANAGE_CGROUPS, 1);
	rpc_put_number(o, OPT_MANAGE_CGROUPS_MODE, CG_IGNORE); /* groups are the runtime's */
	for (size_t i = 0; i < j->n_externals; i++)
		rpc_put_text(o, OPT_EXTERNAL, j->externals[i]);
}

static void put_page_server(struct rpc_out *o, const struct criu_job *j)
{
	unsigned char message[512];
	struct rpc_out m = {.at = message, .size = sizeof message};

	rpc_put_text(&m, SERVER_ADDRESS, j->page_host);
	rpc_put_number(&m, SERVER_PORT, j->page_port);
	rpc_put_bytes(o, OPT_PAGE_SERVER, message, rpc_length(&m));
}

static void put_dump(struct rpc_out *o, const struct criu_job *j, int work_fd)
{
	put_common(o, j, work_fd);
	rpc_put_number(o, OPT_PID, (uint64_t)j->pid);
	rpc_put_number(o, OPT_LEAVE_RUNNING, j->leave_running && !j->pre_dump);
	rpc_put_number(o, OPT_TRACK_MEM, j->track_memory || j->pre_dump);
	rpc_put_number(o, OPT_SKIP_IN_FLIGHT, j->skip_in_flight);
	rpc_put_number(o, OPT_GHOST_LIMIT, GHOST_LIMIT);
	rpc_put_number(o, OPT_NETWORK_LOCK, (uint64_t)network_lock(j));
	rpc_put_text(o, OPT_FREEZE_CGROUP, j->frozen);
	rpc_put_text(o, OPT_PARENT_IMG, j->parent);
	if (j->page_host)
		put_page_server(o, j);
	if (fd_valid(j->status_fd))
		rpc_put_number(o, OPT_STATUS_FD, (uint64_t)j->status_fd);
}

static void put_restore(struct rpc_out *o, const struct criu_job *j, int work_fd)
{
	put_common(o, j, work_fd);
	rpc_put_number(o, OPT_NOTIFY_SCRIPTS, 1);
	rpc_put_number(o, OPT_RST_SIBLING, 1); /* our child, not its */
	rpc_put_text(o, OPT_ROOT, j->root);
	rpc_put_text(o, OPT_LSM_PROFILE, j->lsm_profile);
	rpc_put_text(o, OPT_LSM_MOUNT_CONTEXT, j->lsm_context);
	for (size_t i = 0; i < j->n_inherited; i++)
		rpc_put_inherited(o, j->inherited[i].key, j->inherited[i].fd);
}

static size_t make_request(void (*put)(struct rpc_out *, const struct criu_job *, int), uint64_t type,
			   const struct criu_job *j, int work_fd, void *buf, size_t size)
{
	struct rpc_out count = {.at = NULL}, req = {.at = buf, .size = size};

	put(&count, j, work_fd); /* a message begins with its length */
	rpc_put_number(&req, REQ_TYPE, type);
	rpc_put_varint(&req, (uint64_t)REQ_OPTS << 3 | WIRE_BYTES);
	rpc_put_varint(&req, count.len);
	put(&req, j, work_fd);
	return req.len;
}

size_t criu_restore_request(const struct criu_job *j, int work_fd, void *buf, size_t size)
{
	return make_request(put_restore, TYPE_RESTORE, j, work_fd, buf, size);
}

/* ---- Failures ---- */

int criu_explain(const struct criu_job *j, int work_fd, const char *doing, const char *otherwise, struct err *e)
{
	AUTO_FD int log = openat(work_fd, j->log, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	char why[240];
	size_t len;

	if (!fd_valid(log) || fd_read_all(log, LOG_MAX, &text, &len) < 0 || len == 0)
		return err_set(e, ERR_SYSTEM, EIO, "%s: %s", doing, otherwise);
	snap_engine_complaint(text, why, sizeof why);
	return err_hint(e, err_set(e, ERR_SYSTEM, EIO, "%s: criu failed: %s", doing, why), "the log is %.200s/%s",
			j->work, j->log);
}

/* What it says before it has a log, of an option for instance: an error as in the log, or a line of words. */
static void read_words(int out, int status, char *why, size_t size)
{
	char text[4096], plain[4096], *end;
	ssize_t n = pread(out, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	str_copy(plain, sizeof plain, text);
	end = strchr(plain, '\n');
	if (strstr(text, "Error ("))
		snap_engine_complaint(text, why, size);
	else if (end)
		(void)snprintf(why, size, "criu failed: %.*s", (int)(end - plain), plain);
	else
		(void)snprintf(why, size, "criu ended with status %d", status);
}

/* ---- Dump ---- */

struct entry {
	const struct criu_job *job;
	int kdat_dir, sock;
};

static int enter(void *arg)
{
	const struct entry *x = arg;

	for (size_t i = 0; i < x->job->n_ns; i++) {
		int r = sys_setns(x->job->ns[i].fd, x->job->ns[i].type);

		if (r < 0)
			return r;
	}
	if (dup2(x->sock, SOCKET_FD) < 0)
		return -errno;
	return place_kdat(x->kdat_dir);
}

/* A lazy dump waits for who takes the memory, as long as it takes; killing it might leave its code in the processes. A page
 * server that is told what it does not understand ends, and CRIU lets the processes go on. One that serves already listens
 * no more. */
static void refuse_pages(void *arg)
{
	const struct criu_job *j = ((const struct entry *)arg)->job;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(j->page_port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(j->page_port)};
	const bool is_v4 = inet_pton(AF_INET, j->page_host, &v4.sin_addr) == 1;
	unsigned char nonsense[64];
	AUTO_FD int fd = FD_NONE;

	if (!is_v4 && inet_pton(AF_INET6, j->page_host, &v6.sin6_addr) != 1)
		return;
	for (size_t i = 0; i < j->n_ns; i++) /* where CRIU is */
		if (j->ns[i].type == CLONE_NEWNET)
			(void)!sys_setns(j->ns[i].fd, CLONE_NEWNET);
	memset(nonsense, 0xff, sizeof nonsense);
	fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    connect(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, is_v4 ? sizeof v4 : sizeof v6) == 0)
		(void)!send(fd, nonsense, sizeof nonsense, MSG_NOSIGNAL);
}

static int send_dump(const struct criu_job *j, int sock, int work, struct err *e)
{
	AUTO_FREE void *bytes = malloc(REQUEST_ROOM);
	size_t len;

	if (!bytes)
		return err_oom(e);
	len = make_request(put_dump, j->pre_dump ? TYPE_SINGLE_PRE_DUMP : TYPE_DUMP, j, work, bytes, REQUEST_ROOM);
	if (len > REQUEST_ROOM)
		return err_set(e, ERR_LIMIT, E2BIG, "the container has too many mounts to checkpoint it");
	return send(sock, bytes, len, MSG_NOSIGNAL) != (ssize_t)len ? err_sys(e, errno, "asking CRIU") : 0;
}

/* The request is there before CRIU is: no part of this has to wait for another. Its exit status is the answer. */
static int run(const struct snap_engine *en, struct entry *x, int out, int *ret_status, struct err *e)
{
	struct criu_command c = {0};
	struct keeper k = {.argv = c.argv,
			   .envp = c.envp,
			   .enter = enter,
			   .arg = x,
			   .out = out,
			   .finish = true,
			   .give_up = x->job->lazy_pages && x->job->page_host ? refuse_pages : NULL};
	int r = criu_worker(en, SOCKET_FD, &c, e);

	if (r == 0)
		r = keeper_start(&k, e);
	return r == 0 ? keeper_wait(&k, FOREVER_MS, FD_NONE, ret_status, e) : r;
}

int criu_dump(const struct snap_engine *en, const struct buf *known, const struct criu_job *j, struct err *e)
{
	AUTO_FD int kdat = kdat_dir_open(known, e);
	AUTO_FD int out = memfd_create("criu", MFD_CLOEXEC);
	AUTO_FD int work = open(j->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int ours = FD_NONE, theirs = FD_NONE;
	struct entry x = {.job = j, .kdat_dir = kdat};
	int sv[2], status = 0, r = kdat < 0 ? kdat : 0;
	char why[240];

	if (r == 0 && (out < 0 || work < 0))
		r = err_sys(e, errno, "opening '%s'", j->work);
	if (r < 0)
		return r;
	(void)unlinkat(work, j->log, 0); /* one of an earlier dump would explain this one */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making a pair of sockets");
	ours = sv[0];
	theirs = sv[1];
	x.sock = theirs;
	r = send_dump(j, ours, work, e);
	if (r == 0)
		r = run(en, &x, out, &status, e);
	if (r < 0 || status == 0)
		return r;
	read_words(out, status, why, sizeof why);
	return criu_explain(j, work, "checkpoint", why, e);
}
