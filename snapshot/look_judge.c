#include "snapshot/look.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char close_it[] = "close it in fsbox_before_snapshot()";

/* ---- Sentences ---- */

/* Foreign text: what is no visible ASCII becomes a question mark. */
static void clean(char *s)
{
	for (; *s; s++) {
		if (*s < ' ' || *s >= 127)
			*s = '?';
	}
}

int look_refuse(const struct look_who *who, struct err *e, const char *remedy, const char *fmt, ...)
{
	char what[200], fd[32] = "", comm[sizeof who->comm + 1];
	va_list ap;

	(void)snprintf(comm, sizeof comm, "%.*s", (int)sizeof who->comm, who->comm);
	clean(comm);
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	clean(what);
	if (who->fd >= 0)
		(void)snprintf(fd, sizeof fd, "descriptor %d ", who->fd);
	return err_hint(e,
			err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "process %d (%s): %s%s", (int)who->pid, comm, fd, what),
			"%s", remedy);
}

/* ---- Texts ---- */

static const char *next_line(const char *p)
{
	p = strchr(p, '\n');
	return p ? p + 1 : NULL;
}

/* What follows "KEY:" and blanks at the beginning of a line. */
static const char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = text; p && *p; p = next_line(p)) {
		if (strncmp(p, key, len) == 0 && p[len] == ':')
			return p + len + 1 + strspn(p + len + 1, " \t");
	}
	return NULL;
}

/* A number in @base at @p, which is moved behind it. */
static bool number(const char **p, unsigned base, uint64_t *ret)
{
	uint64_t v = 0;
	bool any = false;

	for (;; (*p)++) {
		const char c = **p;
		const unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				       : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				       : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
							      : 99;

		if (digit >= base)
			break;
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v))
			return false;
		any = true;
	}
	*ret = v;
	return any;
}

bool look_number(const char *text, const char *key, unsigned index, int64_t *ret)
{
	const char *p = value_of(text, key);
	bool minus = false;
	uint64_t v = 0;

	if (!p)
		return false;
	for (unsigned i = 0; i <= index; i++) {
		p += strspn(p, " \t");
		minus = *p == '-';
		p += minus;
		if (!number(&p, 10, &v) || v > INT64_MAX)
			return false;
	}
	*ret = minus ? -(int64_t)v : (int64_t)v;
	return true;
}

static uint64_t flags_of(const char *fdinfo)
{
	const char *p = value_of(fdinfo, "flags");
	uint64_t v = 0;

	return p && number(&p, 8, &v) ? v : 0;
}

/* "pipe:[123]" */
static bool bracketed(const char *link, const char *kind, uint64_t *ret)
{
	const size_t len = strlen(kind);
	const char *p = link + len + 2;

	return strncmp(link, kind, len) == 0 && link[len] == ':' && link[len + 1] == '[' && number(&p, 10, ret) &&
	       strcmp(p, "]") == 0;
}

/* ---- Tables ---- */

enum {
	/* Descriptors and sockets of a cell of 1,024 processes with 64 each; twice over, as sockets are in two tables. */
	MAX_NODES = 131072,
};

void look_done(struct look *l)
{
	free(l->nodes);
	*l = (struct look){0};
}

int look_add(struct look *l, const struct look_node *node, struct err *e)
{
	if (l->n == l->cap) {
		const size_t cap = l->cap ? l->cap * 2 : 64;
		struct look_node *grown;

		if (cap > MAX_NODES)
			return err_set(e, ERR_LIMIT, EMFILE,
				       "the function has too many pipes and sockets for a snapshot");
		grown = reallocarray(l->nodes, cap, sizeof *grown);
		if (!grown)
			return err_oom(e);
		l->nodes = grown;
		l->cap = cap;
	}
	l->nodes[l->n++] = *node;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const struct look_node *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

void look_sort(struct look *l)
{
	size_t n = 0;

	if (l->n)
		qsort(l->nodes, l->n, sizeof *l->nodes, by_number);
	for (size_t i = 0; i < l->n; i++) {
		if (n && by_number(&l->nodes[n - 1], &l->nodes[i]) == 0)
			l->nodes[n - 1].flags |= l->nodes[i].flags;
		else
			l->nodes[n++] = l->nodes[i];
	}
	l->n = n;
}

const struct look_node *look_find(const struct look *l, enum look_kind kind, uint64_t ino)
{
	const struct look_node key = {.kind = kind, .ino = ino};

	return l->n ? bsearch(&key, l->nodes, l->n, sizeof key, by_number) : NULL;
}

int look_add_fd(struct look *l, const struct look_file *f, struct err *e)
{
	struct look_node node = {.kind = LOOK_PIPE};

	if (bracketed(f->link, "pipe", &node.ino)) {
		const uint64_t mode = flags_of(f->fdinfo) & O_ACCMODE;

		node.flags = mode == O_RDONLY ? LOOK_READS : mode == O_WRONLY ? LOOK_WRITES : LOOK_READS | LOOK_WRITES;
		return look_add(l, &node, e);
	}
	node.kind = LOOK_HELD;
	return bracketed(f->link, "socket", &node.ino) ? look_add(l, &node, e) : 0;
}

/* ---- Sockets ---- */

static int judge_unix(const struct look *l, const struct look_who *who, const struct look_file *f,
		      const struct look_node *s, struct err *e)
{
	int64_t in_flight;

	/* scm_fds: since Linux 5.6; the count of descriptors that wait in its queue. */
	if (look_number(f->fdinfo, "scm_fds", 0, &in_flight) && in_flight > 0)
		return look_refuse(who, e, "receive them in fsbox_before_snapshot()",
				   "is a unix socket in which descriptors wait to be received");
	/* CRIU: "Found a closed in-flight socket". */
	if ((s->flags & LOOK_LISTENS) && s->queue)
		return look_refuse(who, e, "accept or close them in fsbox_before_snapshot()",
				   "is a unix socket with connections that wait to be accepted");
	/* Whose queue it waits in cannot be seen; CRIU dumps it and cannot restore it ("Peer … unresolved"). */
	if (s->flags & LOOK_WAITING)
		return look_refuse(who, e, close_it, "is a unix socket whose connection nobody has accepted yet");
	if (s->peer && !look_find(l, LOOK_HELD, s->peer))
		return look_refuse(who, e, close_it,
				   "is a unix socket connected to something that is not a process of the function");
	/* unix(7): abstract names belong to the network namespace, so a second clone would find the name taken. */
	if (l->host_net && (s->flags & LOOK_ABSTRACT))
		return look_refuse(who, e, close_it, "is a unix socket with an abstract name in the host's network");
	return 0;
}

/* Both ends in the image: then each clone has a connection of its own, in its own network. */
static bool is_inside(const struct look *l, const struct look_node *s)
{
	for (size_t i = 0; (s->flags & LOOK_ESTABLISHED) && i < l->n; i++) {
		const struct look_node *o = &l->nodes[i];

		if (o->kind == LOOK_TCP && (o->flags & LOOK_ESTABLISHED) && look_same_address(o->local, s->remote) &&
		    look_same_address(o->remote, s->local) && look_find(l, LOOK_HELD, o->ino))
			return true;
	}
	return false;
}

static int judge_tcp(const struct look *l, const struct look_who *who, const struct look_node *s, struct err *e)
{
	char local[LOOK_ADDRESS], remote[LOOK_ADDRESS];

	look_address(s->local, local);
	look_address(s->remote, remote);
	if ((s->flags & LOOK_CONNECTED) && !is_inside(l, s))
		return look_refuse(
			who, e, close_it,
			"is a TCP connection from %s to %s, half closed, or its other end is in no process of the function",
			local, remote);
	/* CRIU: "In-flight connection". */
	if ((s->flags & LOOK_LISTENS) && s->queue)
		return look_refuse(who, e, "accept or close them in fsbox_before_snapshot()",
				   "is a TCP socket at %s with connections that wait to be accepted", local);
	return 0;
}

static int judge_udp(const struct look *l, const struct look_who *who, const struct look_node *s, struct err *e)
{
	bool inside = !(s->flags & LOOK_CONNECTED);
	char local[LOOK_ADDRESS], remote[LOOK_ADDRESS];

	look_address(s->local, local);
	look_address(s->remote, remote);
	if (s->queue)
		return look_refuse(who, e, "receive them in fsbox_before_snapshot()",
				   "is a UDP socket at %s with unread datagrams, which would be lost", local);
	for (size_t i = 0; !inside && i < l->n; i++) {
		const struct look_node *o = &l->nodes[i];

		inside = o->kind == LOOK_UDP && look_reaches(s->remote, o->local) && look_find(l, LOOK_HELD, o->ino);
	}
	if (!inside)
		return look_refuse(who, e, close_it,
				   "is a UDP socket connected to %s, where no process of the function is", remote);
	return 0;
}

static int judge_socket(const struct look *l, const struct look_who *who, const struct look_file *f, uint64_t ino,
			struct err *e)
{
	const struct look_node *s = look_find(l, LOOK_UNIX, ino);

	if (s)
		return judge_unix(l, who, f, s, e);
	if (l->host_net)
		return look_refuse(who, e, close_it, "is a socket of the host's network, which clones would share");
	s = look_find(l, LOOK_TCP, ino);
	if (s)
		return judge_tcp(l, who, s, e);
	s = look_find(l, LOOK_UDP, ino);
	if (s)
		return judge_udp(l, who, s, e);
	/* One that was never bound is in no table. Not held: netlink, whose kernel side is another one after a restore,
	 * packet, raw, MPTCP and all others. */
	if (strcmp(f->proto, "TCP") == 0 || strcmp(f->proto, "TCPv6") == 0 || strcmp(f->proto, "UDP") == 0 ||
	    strcmp(f->proto, "UDPv6") == 0)
		return 0;
	return look_refuse(who, e, close_it, "is a socket (%s) that a snapshot cannot hold",
			   f->proto[0] ? f->proto : "unknown");
}

/* ---- Other descriptors ---- */

/* As /proc names them, with brackets or not (inotify has none). What is not here is refused. */
static int judge_anon(const struct look *l, const struct look_who *who, const struct look_file *f, const char *name,
		      struct err *e)
{
	static const char *const held[] = {"[eventfd]", "[eventpoll]", "[signalfd]", "[timerfd]"};
	/* CRIU can dump and restore the first two, but a clone's /tmp is made of new files by others: events are lost or
	 * invented. At the rest it ends ("Can't dump file … of that type"). */
	static const struct {
		const char *name, *what;
	} not_held[] = {
		{"inotify", "an inotify instance"}, {"[fanotify]", "a fanotify group"},
		{"[io_uring]", "an io_uring"},      {"[userfaultfd]", "a userfaultfd"},
		{"[perf_event]", "a perf event"},   {"bpf-map", "a BPF map"},
		{"bpf-prog", "a BPF program"},      {"[landlock-ruleset]", "a Landlock ruleset"},
	};
	int64_t pid, clock;

	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		if (strcmp(name, held[i]) != 0)
			continue;
		/* timerfd_create(2): an alarm clock needs a capability that no clone has. */
		if (look_number(f->fdinfo, "clockid", 0, &clock) && clock > 7)
			return look_refuse(who, e, close_it, "is a timer that wakes the machine");
		return 0;
	}
	/* CRIU: "pidfd pid … is not a part of process tree". */
	if (strcmp(name, "[pidfd]") == 0) {
		if (look_number(f->fdinfo, "Pid", 0, &pid) && pid > 0 && look_find(l, LOOK_TASK, (uint64_t)pid))
			return 0;
		return look_refuse(who, e, close_it, "is a pidfd of a process that will not be in the snapshot");
	}
	for (size_t i = 0; i < ARRAY_LEN(not_held); i++) {
		if (strcmp(name, not_held[i].name) == 0)
			return look_refuse(who, e, close_it, "is %s, which a snapshot cannot hold", not_held[i].what);
	}
	return look_refuse(who, e, close_it, "is of the kind '%s', which a snapshot cannot hold", name);
}

static bool has_mount(const char *mountinfo, int64_t id, bool *ret_tmp)
{
	for (const char *p = mountinfo; p && *p; p = next_line(p)) {
		const char *q = p;
		uint64_t v;

		if (!number(&q, 10, &v) || v != (uint64_t)id)
			continue;
		for (unsigned i = 0; i < 4 && q; i++) { /* ID PARENT MAJOR:MINOR ROOT POINT */
			q = strchr(q, ' ');
			q = q ? q + 1 : NULL;
		}
		*ret_tmp = q && strncmp(q, "/tmp ", 5) == 0;
		return true;
	}
	return false;
}

/* null, zero, full, random, urandom: the nodes of /dev that hold no state (Documentation/admin-guide/devices.txt). */
static bool is_plain_device(const struct look_file *f)
{
	const unsigned n = minor(f->rdev);

	return S_ISCHR(f->mode) && major(f->rdev) == 1 && (n == 3 || n == 5 || n == 7 || n == 8 || n == 9);
}

static bool ends_in(const char *s, size_t len, const char *end)
{
	const size_t n = strlen(end);

	return len >= n && memcmp(s + len - n, end, n) == 0;
}

static int judge_path(const struct look_who *who, const struct look_file *f, const char *mountinfo, struct err *e)
{
	const uint64_t flags = flags_of(f->fdinfo);
	int64_t mount = -1;
	bool tmp = false;

	/* CRIU: "Some file locks are hold by dumping tasks"; fdinfo has flock, fcntl and lease alike (proc(5)). */
	if (value_of(f->fdinfo, "lock"))
		return look_refuse(who, e, "unlock it in fsbox_before_snapshot()",
				   "is '%s', on which it holds a lock or lease", f->link);
	if (str_starts(f->link, "/memfd:")) /* content and seals are held */
		return 0;
	/* CRIU: "Can't lookup mount". Comes of descriptors from outside, POSIX message queues, secret memory. */
	if (!look_number(f->fdinfo, "mnt_id", 0, &mount) || !has_mount(mountinfo, mount, &tmp))
		return look_refuse(who, e, close_it, "is '%s', which lies outside of the cell's mounts", f->link);
	/* The content of a regular one is in the image, and CRIU makes it again where it was. */
	if (f->nlink == 0 && !S_ISDIR(f->mode) && !(S_ISREG(f->mode) && tmp))
		return look_refuse(who, e, close_it, "is '%s', a file without a name", f->link);
	/* CRIU would make a name for it beside the old one, on the host, and follow what links the function left there. */
	if (f->nlink > 0 && ends_in(f->link, strlen(f->link), " (deleted)"))
		return look_refuse(who, e, close_it, "is '%s', whose name is gone while it has another", f->link);
	if ((S_ISCHR(f->mode) || S_ISBLK(f->mode)) && !is_plain_device(f))
		return look_refuse(who, e, close_it, "is the device '%s'", f->link);
	if (S_ISREG(f->mode) && !(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY && !tmp)
		return look_refuse(who, e, close_it, "is '%s', open for writing outside of /tmp", f->link);
	return 0;
}

static int judge_pipe(const struct look *l, const struct look_who *who, uint64_t ino, struct err *e)
{
	const struct look_node *p = look_find(l, LOOK_PIPE, ino);
	const uint32_t both = LOOK_READS | LOOK_WRITES;

	if (p && ((p->flags & LOOK_CHANNEL) || (p->flags & both) == both))
		return 0;
	return look_refuse(who, e, close_it, "is a pipe whose other end is not open in a process of the function");
}

int look_fd(const struct look *l, const struct look_who *who, const struct look_file *f, const char *mountinfo,
	    struct err *e)
{
	static const char anon[] = "anon_inode:";
	uint64_t ino;

	if (bracketed(f->link, "pipe", &ino))
		return judge_pipe(l, who, ino, e);
	if (bracketed(f->link, "socket", &ino))
		return judge_socket(l, who, f, ino, e);
	if (str_starts(f->link, anon))
		return judge_anon(l, who, f, f->link + sizeof anon - 1, e);
	if (f->link[0] == '/')
		return judge_path(who, f, mountinfo, e);
	/* "net:[4026531840]" and kinds to come */
	return look_refuse(who, e, close_it, "is %s, which a snapshot cannot hold", f->link);
}

/* ---- Memory and state ---- */

/* One mapping's name, as it stands in maps. */
static const char *judge_mapping(const char *s, size_t len)
{
	static const char *const held[] = {"/memfd:", "/dev/zero", "/[aio]"};

	if (len == 0 || s[0] == '[')
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		if (len >= strlen(held[i]) && memcmp(s, held[i], strlen(held[i])) == 0)
			return NULL;
	}
	if (s[0] != '/')
		return "which a snapshot cannot hold"; /* anon_inode:[io_uring], [perf_event], socket:[…] */
	/* CRIU: "Task … with SysVIPC shmem map … doesn't live in IPC ns". */
	if (len > 5 && memcmp(s, "/SYSV", 5) == 0)
		return "System V shared memory, which a snapshot cannot hold";
	if (ends_in(s, len, " (deleted)") && !(len > 5 && memcmp(s, "/tmp/", 5) == 0)) /* there its content is held */
		return "a file without a name";
	return len > 5 && memcmp(s, "/dev/", 5) == 0 ? "a device" : NULL;
}

int look_maps(const struct look_who *who, const char *maps, struct err *e)
{
	for (const char *p = maps; p && *p; p = next_line(p)) {
		const size_t len = strcspn(p, "\n");
		const char *s = p, *why;

		for (unsigned i = 0; i < 5 && s < p + len; i++) { /* range, rights, offset, device, inode */
			s += strcspn(s, " \n");
			s += strspn(s, " ");
		}
		if (s > p + len)
			s = p + len;
		why = judge_mapping(s, (size_t)(p + len - s));
		if (why)
			return look_refuse(who, e, "unmap it in fsbox_before_snapshot()", "has mapped '%.*s', %s",
					   (int)(p + len - s > 100 ? 100 : p + len - s), s, why);
	}
	return 0;
}

int look_status(const struct look_who *who, const char *status, int filters, struct err *e)
{
	const char *state = value_of(status, "State");
	int64_t n;

	if (!state)
		return look_refuse(who, e, "try again", "ended while it was looked at");
	switch (*state) {
	case 'Z': /* CRIU 4.2.1 writes a thread number for it that it never set */
	case 'X':
		return look_refuse(who, e, "wait for it (waitpid) in fsbox_before_snapshot()",
				   "has ended and nobody has waited for it");
	case 'T':
	case 't':
		return look_refuse(who, e, "end it, or send it SIGCONT, in fsbox_before_snapshot()", "is stopped");
	case 'D':
		return look_refuse(who, e, "try again", "waits in the kernel and cannot be interrupted");
	default: /* R, S and what the kernel may add */
		break;
	}
	/* ptrace(2): a process has one tracer, and CRIU has to be it. */
	if (look_number(status, "TracerPid", 0, &n) && n != 0)
		return look_refuse(who, e, "detach from it in fsbox_before_snapshot()", "is traced by another process");
	if (filters >= 0 && look_number(status, "Seccomp_filters", 0, &n) && n != filters)
		return look_refuse(who, e, "install it in fsbox_after_restore()",
				   "has a seccomp filter of its own, which a restore would lose");
	return 0;
}

int look_sysvipc(const char *what, const char *text, struct err *e)
{
	const char *second = next_line(text); /* the first is a head */

	if (!second || !*second)
		return 0;
	return err_hint(e,
			err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
				"the function has a System V object (%s), which a snapshot cannot hold", what),
			"remove it in fsbox_before_snapshot()");
}
