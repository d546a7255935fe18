/* Listening, and what each uid holds. */
#include "daemon/conn.h"

#include "base/clock.h"
#include "base/fd.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
	TURN_ACCEPTS = 16,
	RETRY_MS = 100,     /* after EMFILE and the like, when no connection is closed meanwhile */
	MAX_GROUPS = 65536, /* NGROUPS_MAX */
};

/* ---- Users ---- */

static struct user *find_user(struct server *s, uid_t uid)
{
	struct user *u = s->users;

	while (u && u->uid != uid)
		u = u->next;
	if (u)
		return u;
	u = calloc(1, sizeof *u);
	if (!u)
		return NULL;
	*u = (struct user){.next = s->users, .uid = uid};
	s->users = u;
	return u;
}

static void drop_user_if_idle(struct server *s, struct user *u)
{
	struct user **at = &s->users;

	if (u->conns > 0)
		return;
	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	free(u);
}

bool server_count(struct conn *c)
{
	const size_t bytes = c->rx.cap + c->queued_bytes + c->held;
	size_t n = c->rx.n_fds;

	for (size_t i = 0; i < c->call.n_fds; i++)
		n += fd_valid(c->call.fds[i]);
	c->user->fds += n - c->fds_counted; /* unsigned: right when it shrinks, too */
	c->user->bytes += bytes - c->bytes_counted;
	c->fds_counted = n;
	c->bytes_counted = bytes;
	return c->user->fds <= c->s->config.max_fds_per_uid && c->user->bytes <= c->s->config.max_bytes_per_uid;
}

/* ---- Accepting ---- */

static void listen_again(struct server *s)
{
	if (s->accepting && s->counts.conns < s->config.max_conns)
		(void)loop_set(s->loop, &s->listener, EPOLLIN);
}

static void retry_due(void *arg)
{
	listen_again(arg);
}

/* Level-triggered, the listener would be told without end while it cannot be served. */
static void pause_accepting(struct server *s, bool retry)
{
	(void)loop_set(s->loop, &s->listener, 0);
	if (retry && loop_arm(s->loop, &s->retry, clock_mono_ns() + RETRY_MS * NS_PER_MS) < 0)
		listen_again(s); /* rather spin than go deaf */
}

static int read_groups(int fd, struct peer *p)
{
	gid_t some[64];
	socklen_t len = sizeof some;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, some, &len) == 0) {
		if (len == 0)
			return 0;
		p->groups = malloc(len);
		if (!p->groups)
			return -ENOMEM;
		memcpy(p->groups, some, len);
	} else {
		if (errno != ERANGE || len > MAX_GROUPS * sizeof some[0]) /* then len is what it takes (socket(7)) */
			return -errno;
		p->groups = malloc(len);
		if (!p->groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p->groups, &len) < 0)
			return -ENOMEM;
	}
	p->n_groups = len / sizeof some[0];
	return 0;
}

/* Whose connection it is; false when that cannot be told. */
static bool read_peer(int fd, struct peer *p)
{
	struct ucred cred;
	socklen_t len = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	*p = (struct peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	return read_groups(fd, p) == 0;
}

static void admit(struct server *s, int fd)
{
	struct peer p = {0};
	struct user *u = read_peer(fd, &p) ? find_user(s, p.uid) : NULL;

	if (!u || u->conns >= s->config.max_conns_per_uid) {
		s->counts.refused++;
		free(p.groups);
		(void)close(fd);
	} else {
		conn_start(s, fd, u, &p);
	}
	if (u)
		drop_user_if_idle(s, u);
}

static void accept_some(void *arg, uint32_t events)
{
	struct server *s = arg;

	(void)events;
	for (int i = 0; i < TURN_ACCEPTS && s->accepting; i++) {
		int fd;

		if (s->counts.conns >= s->config.max_conns) {
			pause_accepting(s, false);
			return;
		}
		fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			admit(s, fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED) {
			pause_accepting(s, true);
			return;
		}
	}
}

void server_conn_gone(struct server *s, struct conn *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->user->conns--;
	s->counts.conns--;
	drop_user_if_idle(s, c->user);
	listen_again(s);
}

/* ---- Opening and closing ---- */

static unsigned conns_of_rlimit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == RLIM_INFINITY || r.rlim_cur / 4 * 3 > UINT32_MAX)
		return UINT32_MAX;
	return r.rlim_cur < 4 ? 1 : (unsigned)(r.rlim_cur / 4 * 3);
}

static void fill_defaults(struct server_config *c)
{
	const unsigned most = conns_of_rlimit();

	c->max_conns = c->max_conns ? c->max_conns : 4096;
	c->max_conns = c->max_conns < most ? c->max_conns : most;
	c->max_conns_per_uid = c->max_conns_per_uid ? c->max_conns_per_uid : 256;
	c->max_fds_per_uid = c->max_fds_per_uid ? c->max_fds_per_uid : 1024;
	c->max_bytes_per_uid = c->max_bytes_per_uid ? c->max_bytes_per_uid : 256 << 20;
	c->max_message_bytes = c->max_message_bytes ? c->max_message_bytes : WIRE_DEFAULT_BYTES;
	c->max_queued_bytes = c->max_queued_bytes ? c->max_queued_bytes : 1 << 20;
	c->max_queued = c->max_queued ? c->max_queued : 1024;
}

static int prepare(struct server *s, int listener, struct err *e)
{
	int flags = fcntl(listener, F_GETFL), r;

	if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, errno, "listening socket");
	r = json_parse("", "{}", 2, 2, &s->empty, e);
	if (r < 0)
		return r;
	return loop_add(s->loop, &s->listener, listener, EPOLLIN, accept_some, s, e);
}

int server_open(struct server **ret, struct loop *l, int listener, const struct server_config *config, struct err *e)
{
	struct server *s;
	int r;

	if (config->max_message_bytes > WIRE_LIMIT_BYTES)
		return err_set(e, ERR_BUG, EINVAL, "messages of %zu bytes: at most %d", config->max_message_bytes,
			       WIRE_LIMIT_BYTES);
	s = calloc(1, sizeof *s);
	if (!s)
		return err_oom(e);
	*s = (struct server){.loop = l, .config = *config, .accepting = true};
	s->retry.due = retry_due;
	s->retry.arg = s;
	fill_defaults(&s->config);
	r = prepare(s, listener, e);
	if (r < 0) {
		server_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void server_stop_accepting(struct server *s)
{
	s->accepting = false;
	loop_disarm(s->loop, &s->retry);
	loop_remove(s->loop, &s->listener);
}

void server_close(struct server *s)
{
	const struct server_ops *ops = s->config.ops;

	server_stop_accepting(s);
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		if (c->open && !c->call.gone) {
			c->call.gone = true;
			if (ops->gone)
				ops->gone(s->config.arg, &c->call);
		}
		conn_close(c);
	}
	json_doc_free(s->empty);
	buf_done(&s->scratch);
	free(s);
}

const struct server_counts *server_counts(const struct server *s)
{
	return &s->counts;
}
