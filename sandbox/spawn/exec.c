/* EXEC: a command in a cell that runs. It is our child in the cell's namespaces; when the cell ends the kernel ends it as
 * well, and PID 1's own end waits until we have reaped it. */
#include "spawn/spawn.h"

#include "base/clock.h"
#include "wire/spawn_exec.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { BEGIN_MS = 10000, LEFT_WAIT_MS = 2000 };

static void finish(void *arg);

static void tell_ended(struct spawn *s, uint64_t number, const struct spawn_status *how, const struct err *why)
{
	struct spawn_exec_end m;

	spawn_begin(&m, SPAWN_EXEC_ENDED, sizeof m);
	m.number = number;
	if (how)
		m.how = *how;
	m.err = *why;
	tell(s, &m, NULL, 0);
}

/* ---- What a command may be given ---- */

/* /dev/null, zero, full, random, urandom: Documentation/admin-guide/devices.txt. */
static bool is_harmless(dev_t dev)
{
	return major(dev) == 1 && (minor(dev) == 3 || minor(dev) == 5 || (minor(dev) >= 7 && minor(dev) <= 9));
}

/* Nothing that leads to other files (a directory, a name without rights), nor to hardware. */
static int check_fd(int fd, bool tty, struct err *e)
{
	struct stat st;
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "looking at a descriptor for the command");
	if (tty && !isatty(fd))
		return err_set(e, ERR_SPEC, ENOTTY, "what is to be the command's terminal is none");
	if (!(flags & O_PATH) && (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ||
				  (S_ISCHR(st.st_mode) && (is_harmless(st.st_rdev) || isatty(fd)))))
		return 0;
	return err_set(e, ERR_SPEC, EINVAL,
		       "a command takes files, pipes, sockets, terminals and /dev/null, and no other descriptor");
}

static int take_stdio(struct running *x, const struct spawn_datagram *d, struct err *e)
{
	size_t at = 0;

	x->en.tty = d->exec.flags & SPAWN_EXEC_TTY;
	for (unsigned i = 0; i < 3; i++) {
		if (!(d->exec.flags & 1U << i))
			continue;
		x->en.stdio[i] = d->fds[at++]; /* borrowed */
		if (check_fd(x->en.stdio[i], x->en.tty, e) < 0)
			return -EINVAL;
	}
	return 0;
}

/* Is there one of this name? */
static bool env_has(const struct cell_enter *en, size_t n, const char *pair)
{
	const size_t key = strcspn(pair, "=") + 1;

	for (size_t i = 0; i < n; i++)
		if (strncmp(en->envp[i], pair, key) == 0)
			return true;
	return false;
}

/* Of the function's own variables the command sees none: they may be made to change what programs do. */
static void take_texts(struct running *x, const struct spawn_exec *m, const struct function *f)
{
	static const char *const fixed[] = {
		"PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin",
		"HOME=/tmp",
		"LANG=C.UTF-8",
		"TZ=:UTC",
		"LAMBDA_TASK_ROOT=/var/task",
		"LAMBDA_RUNTIME_DIR=/var/runtime",
	};
	const struct spec_image *image = f->def.host.facts.code.image;
	struct cell_enter *en = &x->en;
	size_t at = 0, n = 0;

	for (uint32_t i = 0; i < m->n_args; i++)
		en->argv[1 + i] = spawn_exec_next(m, &at);
	for (uint32_t i = 0; i < m->n_env; i++)
		en->envp[n++] = spawn_exec_next(m, &at);
	/* An image's programs are where its own PATH says. */
	for (size_t i = 0; image && image->env[i]; i++)
		if (strncmp(image->env[i], "PATH=", 5) == 0 && !env_has(en, n, "PATH="))
			en->envp[n++] = image->env[i];
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (!env_has(en, n, fixed[i]))
			en->envp[n++] = fixed[i];
	en->cwd = m->flags & SPAWN_EXEC_CWD ? spawn_exec_next(m, &at) : image ? image->cwd : "/var/task";
}

_Static_assert((int)ENTER_MAX_ARGS >= (int)SPAWN_MAX_EXEC_ARGS && (int)ENTER_MAX_ENV >= (int)SPAWN_MAX_EXEC_ENV + 7,
	       "what is asked for has room");

/* ---- Its life ---- */

static void gone(struct running *x)
{
	struct spawn *s = x->s;

	loop_remove(&s->loop, &x->word);
	loop_remove(&s->loop, &x->exit);
	loop_disarm(&s->loop, &x->timer);
	loop_forget(&s->loop, &x->later);
	*x->at = x->next;
	if (x->next)
		x->next->at = x->at;
	s->n_execs--;
	free(x);
}

static void set_timer(struct running *x, uint64_t at_ns)
{
	if (loop_arm(&x->s->loop, &x->timer, at_ns) < 0)
		say("out of memory: a command has no timer");
}

/* The process is reaped or was never there. What it left running ends now, and then its client may know. */
static void finish(void *arg)
{
	struct running *x = arg;
	const uint64_t now = clock_mono_ns();
	const struct spawn_status how = {.code = x->en.exit.si_code, .status = x->en.exit.si_status};

	/* Both leave the loop before what they watch is closed. */
	loop_remove(&x->s->loop, &x->word);
	loop_remove(&x->s->loop, &x->exit);
	if (x->give_up_ns == 0)
		x->give_up_ns = now + LEFT_WAIT_MS * NS_PER_MS;
	if (cell_enter_try_release(&x->en, now >= x->give_up_ns) < 0) {
		set_timer(x, now + NS_PER_MS);
		return;
	}
	if (!x->untold)
		tell_ended(x->s, x->number, x->en.reaped && x->err.kind == ERR_NONE ? &how : NULL, &x->err);
	gone(x);
}

static void exit_ready(void *arg, uint32_t events)
{
	struct running *x = arg;

	(void)events;
	if (cell_enter_reap(&x->en, &x->err) == -EAGAIN)
		return;
	if (x->err.kind == ERR_NONE && !x->en.reaped)
		(void)err_set(&x->err, ERR_SYSTEM, ECHILD, "the command is gone, and nobody knows how");
	loop_disarm(&x->s->loop, &x->timer);
	finish(x);
}

static void timer_due(void *arg)
{
	struct running *x = arg;

	if (x->give_up_ns != 0) {
		finish(x);
		return;
	}
	(void)err_set(&x->err, ERR_SYSTEM, ETIMEDOUT, "the command did not execute within %d s", BEGIN_MS / 1000);
	cell_enter_kill(&x->en); /* a helper that hangs in the kernel is waited for */
}

static void word_ready(void *arg, uint32_t events)
{
	struct running *x = arg;
	struct err ignored = {0};
	int r = cell_enter_step(&x->en, x->err.kind == ERR_NONE ? &x->err : &ignored);

	(void)events;
	/* Once it is born it has to be reaped, whatever else: the cell's PID 1 waits for that. */
	if (fd_valid(x->en.pidfd) && !x->exit.added &&
	    loop_add(&x->s->loop, &x->exit, x->en.pidfd, EPOLLIN, exit_ready, x, &x->err) < 0) {
		loop_remove(&x->s->loop, &x->word);
		cell_enter_abandon(&x->en);
		r = -ENOMEM;
	}
	if (r == 1)
		return;
	loop_remove(&x->s->loop, &x->word);
	if (r == 0) {
		loop_disarm(&x->s->loop, &x->timer);
		return;
	}
	if (x->exit.added) {
		cell_enter_kill(&x->en);
		return;
	}
	loop_disarm(&x->s->loop, &x->timer);
	loop_later(&x->s->loop, &x->later, finish, x);
}

static int begin(struct running *x, struct kept *k, const struct spawn_datagram *d, struct err *e)
{
	char name[24];
	int r = take_stdio(x, d, e);

	if (r < 0)
		return r;
	take_texts(x, &d->exec, k->f);
	x->en.own_args = x->s->args;
	x->en.own_args_len = x->s->args_len;
	(void)snprintf(name, sizeof name, "exec-%llx-%llx", (unsigned long long)(x->s->restarts & 0xffff),
		       (unsigned long long)(x->number & 0xffffffff));
	r = cell_enter_begin(&k->cell, name, &x->en, e);
	if (r < 0)
		return r;
	/* From here on there is a helper, which only the end of its socket tells of. */
	r = loop_add(&x->s->loop, &x->word, x->en.word, EPOLLIN, word_ready, x, e);
	if (r < 0)
		cell_enter_abandon(&x->en);
	return r;
}

static int start(struct spawn *s, const struct spawn_datagram *d, struct err *e)
{
	struct kept *k = cells_find(s, d->exec.cell);
	struct running *x;
	int r;

	if (!k || k->untold || k->state != KEPT_RUNNING)
		return err_set(e, ERR_NOT_FOUND, ESRCH, "there is no such cell, or it has ended");
	if (s->stopping)
		return err_set(e, ERR_CANCELLED, ECANCELED, "fsbox-spawn is ending");
	if (s->n_execs >= SPAWN_MAX_EXECS || !fds_left(s, FDS_OF_EXEC + 8))
		return err_set(e, ERR_CAPACITY, EUSERS, "commands");
	x = calloc(1, sizeof *x);
	if (!x)
		return err_oom(e);
	x->s = s;
	x->number = d->exec.number;
	x->timer = (struct timer){.due = timer_due, .arg = x};
	cell_enter_init(&x->en);
	r = begin(x, k, d, e);
	if (r < 0) {
		free(x);
		return r;
	}
	x->next = s->execs;
	x->at = &s->execs;
	if (x->next)
		x->next->at = &x->next;
	s->execs = x;
	s->n_execs++;
	set_timer(x, clock_mono_ns() + BEGIN_MS * NS_PER_MS);
	return 0;
}

/* ---- From fsboxd ---- */

int exec_start(struct spawn *s, struct spawn_datagram *d, struct err *e)
{
	struct err why = {0};

	if (d->exec.number <= s->last_exec)
		return err_set(e, ERR_BUG, EPROTO, "a command with the old number %llu",
			       (unsigned long long)d->exec.number);
	if (d->exec.cell > s->last_cell)
		return err_set(e, ERR_BUG, EPROTO, "a command in a cell that never was");
	s->last_exec = d->exec.number;
	if (start(s, d, &why) < 0)
		tell_ended(s, d->exec.number, NULL, &why);
	return 0;
}

int exec_kill(struct spawn *s, uint64_t number, struct err *e)
{
	struct running *x = s->execs;

	if (number > s->last_exec)
		return err_set(e, ERR_BUG, EPROTO, "the end of a command that never was");
	while (x && (x->number != number || x->untold))
		x = x->next;
	if (x)
		cell_enter_kill(&x->en);
	return 0;
}

void exec_lose_daemon(struct spawn *s)
{
	s->last_exec = 0;
	for (struct running *x = s->execs; x; x = x->next) {
		x->untold = true;
		cell_enter_kill(&x->en);
	}
}
