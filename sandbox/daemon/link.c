#include "daemon/link.h"

#include "base/fd.h"

#include <fcntl.h>

/* A datagram that has to wait for room. */
struct parcel {
	struct parcel *next;
	size_t n_fds;
	int fds[SPAWN_MAX_FDS];
	unsigned char bytes[];
};

struct link {
	struct loop *loop;
	struct watch watch;
	int fd;
	const struct link_ops *ops;
	void *arg;
	struct parcel *first, **last;
	struct spawn_datagram *in;
};

static void drop_parcel(struct parcel *p)
{
	while (p->n_fds > 0)
		fd_closep(&p->fds[--p->n_fds]);
	free(p);
}

static void flush(struct link *k)
{
	while (k->first) {
		struct parcel *p = k->first;

		if (spawn_send(k->fd, p->bytes, p->fds, p->n_fds) == -EAGAIN)
			break; /* anything else: the end of file says it better */
		k->first = p->next;
		if (!k->first)
			k->last = &k->first;
		drop_parcel(p);
	}
	(void)loop_set(k->loop, &k->watch, EPOLLIN | (k->first ? EPOLLOUT : 0U));
}

static bool put_off(struct link *k, const void *msg, const int *fds, size_t n_fds)
{
	struct spawn_head head;
	struct parcel *p;

	memcpy(&head, msg, sizeof head);
	p = malloc(sizeof *p + head.size);
	if (!p)
		return false;
	*p = (struct parcel){0};
	memcpy(p->bytes, msg, head.size);
	for (; p->n_fds < n_fds; p->n_fds++) {
		p->fds[p->n_fds] = fcntl(fds[p->n_fds], F_DUPFD_CLOEXEC, 3);
		if (p->fds[p->n_fds] < 0) {
			drop_parcel(p);
			return false;
		}
	}
	*k->last = p;
	k->last = &p->next;
	(void)loop_set(k->loop, &k->watch, EPOLLIN | EPOLLOUT);
	return true;
}

bool link_send(struct link *k, const void *msg, const int *fds, size_t n_fds)
{
	if (!k->first && spawn_send(k->fd, msg, fds, n_fds) != -EAGAIN)
		return true; /* gone: the loop hears of it */
	return put_off(k, msg, fds, n_fds);
}

bool link_number(struct link *k, enum spawn_word word, uint64_t number)
{
	struct spawn_number m;

	spawn_begin(&m, word, sizeof m);
	m.number = number;
	return link_send(k, &m, NULL, 0);
}

bool link_make(struct link *k, uint64_t cell, uint32_t function, uint64_t restore_ns, const void *note, size_t len)
{
	struct spawn_make m;

	spawn_begin(&m, SPAWN_MAKE, sizeof m);
	m.cell = cell;
	m.function = function;
	m.restored = restore_ns != 0;
	m.give_up_ns = restore_ns;
	m.note_len = (uint32_t)len;
	memcpy(m.note, note, len);
	return link_send(k, &m, NULL, 0);
}

static void tell(struct link *k, struct spawn_datagram *d)
{
	const struct link_ops *o = k->ops;

	if (d->lacking && d->head.word == SPAWN_OPENED)
		d->opened.code = EMFILE;
	switch (d->head.word) {
	case SPAWN_HELLO:
		o->hello(k->arg, &d->hello);
		break;
	case SPAWN_FUNCTION:
		o->function(k->arg, &d->function, d->fds, d->n_fds);
		break;
	case SPAWN_ADOPT:
		o->adopt(k->arg, &d->cell, d->fds, d->n_fds);
		break;
	case SPAWN_ADOPTED:
		o->adopted(k->arg);
		break;
	case SPAWN_MADE:
		o->made(k->arg, &d->cell, d->fds, d->n_fds);
		break;
	case SPAWN_FAILED:
		o->failed(k->arg, &d->done);
		break;
	case SPAWN_DONE:
		o->done(k->arg, &d->done);
		break;
	case SPAWN_EXITED:
		o->exited(k->arg, &d->exit);
		break;
	case SPAWN_ENDED:
		o->ended(k->arg, &d->exit);
		break;
	case SPAWN_OPENED:
		o->opened(k->arg, &d->opened, d->n_fds > 0 ? &d->fds[0] : &(int){FD_NONE});
		break;
	case SPAWN_PUBLISHED:
		o->published(k->arg, &d->published);
		break;
	case SPAWN_EXEC_ENDED:
		o->exec_ended(k->arg, &d->exec_end);
		break;
	default:
		break; /* spawn_check() let nothing else through */
	}
}

static void ready(void *arg, uint32_t events)
{
	struct link *k = arg;
	struct err e = {0};
	int r = 1;

	if (events & EPOLLOUT)
		flush(k);
	/* Bounded: others have something to say, too. */
	for (int i = 0; i < LOOP_BATCH && r == 1; i++) {
		r = spawn_receive(k->fd, k->in, SPAWN_TO_DAEMON, &e);
		if (r == 1)
			tell(k, k->in);
	}
	if (r == 1 || r == -EAGAIN)
		return;
	loop_remove(k->loop, &k->watch);
	k->ops->gone(k->arg, &e);
}

int link_open(struct link **ret, struct loop *l, int fd, const struct link_ops *ops, void *arg, struct err *e)
{
	struct link *k = calloc(1, sizeof *k);
	int r;

	if (!k)
		return err_oom(e);
	*k = (struct link){.loop = l, .fd = fd, .ops = ops, .arg = arg, .in = calloc(1, sizeof *k->in)};
	k->last = &k->first;
	r = k->in ? loop_add(l, &k->watch, fd, EPOLLIN, ready, k, e) : err_oom(e);
	if (r < 0) {
		link_close(k);
		return r;
	}
	*ret = k;
	return 0;
}

void link_close(struct link *k)
{
	if (!k)
		return;
	loop_remove(k->loop, &k->watch);
	while (k->first) {
		struct parcel *p = k->first;

		k->first = p->next;
		drop_parcel(p);
	}
	if (k->in)
		spawn_drop(k->in);
	free(k->in);
	fd_closep(&k->fd);
	free(k);
}
