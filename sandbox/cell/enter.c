/* The host's side of a process that joins a cell, and what one message of it means. The other side: enter_child.c. */
#include "cell/enter_child.h"

#include "base/fd.h"
#include "runtime/enter/enter.h"
#include "sys/sys.h"

#include <sys/socket.h>
#include <sys/wait.h>

enum { MESSAGES = 4 }; /* that a process ever sends, and one more */

void cell_enter_init(struct cell_enter *en)
{
	*en = (struct cell_enter){
		.stdio = {FD_NONE, FD_NONE, FD_NONE},
		.word = FD_NONE,
		.pidfd = FD_NONE,
		.helper_pidfd = FD_NONE,
		.sub = CG_SUB_INIT,
	};
}

static void close_tasks(struct enter_child *ch)
{
	while (ch->n_tasks > 0)
		fd_closep(&ch->tasks[--ch->n_tasks]);
}

static int start_helper(struct enter_child *ch, struct cell_enter *en, struct err *e)
{
	int sv[2], pidfd = FD_NONE;
	const struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "making a socket to the process");
	en->word = sv[0];
	ch->word = sv[1];
	pid = sys_clone3(&args);
	if (pid == 0)
		enter_helper(ch);
	(void)close(sv[1]);
	en->helper_pidfd = pidfd;
	en->helper = pid;
	return pid < 0 ? err_sys(e, pid, "clone3 of a helper") : 0;
}

int cell_enter_begin(const struct cell *c, const char *name, struct cell_enter *en, struct err *e)
{
	struct enter_child ch = {.cell = c, .en = en};
	int r = 0;

	if (c->reaped || !fd_valid(c->pidfd))
		return err_set(e, ERR_NOT_FOUND, ESRCH, "cell %s has ended", c->id);
	en->argv[0] = "enter";
	if (c->has_cg) {
		r = cg_sub_make(&c->cg, name, &en->sub, e);
		if (r == 0)
			r = ch.n_tasks = cg_sub_open_tasks(&c->cg, &en->sub, ch.tasks, e);
	}
	if (r >= 0)
		r = start_helper(&ch, en, e);
	close_tasks(&ch);
	if (r < 0) {
		fd_closep(&en->word);
		(void)!cg_sub_try_remove(&en->sub);
		cg_sub_close(&en->sub);
	}
	return r;
}

/* ---- What it says ---- */

/* Its last word is said. What it made and could not tell of any more waits in its own process group for us, and ends by
 * the end of the socket: unreaped, it would keep the cell's PID 1 from ending. */
static void reap_helper(struct cell_enter *en, bool orphans)
{
	siginfo_t how;

	if (fd_valid(en->helper_pidfd))
		(void)!sys_wait_exit(en->helper_pidfd, true, &how);
	fd_closep(&en->helper_pidfd);
	while (orphans && (waitid(P_PGID, (id_t)en->helper, &how, WEXITED) == 0 || errno == EINTR))
		;
}

/* One message; its descriptor, if one came, is *ret_fd. Without @ret_fd whatever comes beside it is thrown away. */
static ssize_t receive(int socket, struct enter_msg *m, int *ret_fd)
{
	struct fd_passed passed;

	return fd_receive(socket, m, sizeof *m, ret_fd, ret_fd ? 1 : 0, MSG_DONTWAIT, &passed);
}

static int born(struct cell_enter *en, int pidfd, struct err *e)
{
	const char go = 1;

	en->pidfd = pidfd;
	reap_helper(en, false);
	if (en->killed) {
		(void)!sys_pidfd_kill(en->pidfd, SIGKILL);
		return 1;
	}
	/* EPIPE: it is gone, with its cell perhaps; the end of file tells. */
	return send(en->word, &go, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 || errno == EPIPE
		       ? 1
		       : err_sys(e, errno, "letting the process go on");
}

static int gone_early(struct cell_enter *en, struct err *e)
{
	if (!fd_valid(en->pidfd))
		reap_helper(en, true);
	if (en->killed)
		return err_set(e, ERR_CANCELLED, ECANCELED, "ended before it began");
	return err_set(e, ERR_SYSTEM, ECHILD, "the process died before it could execute; perhaps the cell is ending");
}

/* All that is heard here was said before anything of the cell was executed: it can be believed. */
int cell_enter_step(struct cell_enter *en, struct err *e)
{
	struct enter_msg m = {0};
	int fd = FD_NONE;
	ssize_t n = receive(en->word, &m, &fd);

	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n == (ssize_t)sizeof m.word && m.word.magic == ENTER_MAGIC && m.word.code == 0 && fd_valid(en->pidfd)) {
		en->committed = true;
		return 0;
	}
	if (n == (ssize_t)sizeof m.word && m.word.magic == ENTER_BORN && fd_valid(fd) && !fd_valid(en->pidfd))
		return born(en, fd, e);
	fd_closep(&fd);
	if (n <= 0)
		return gone_early(en, e);
	if (n != (ssize_t)sizeof m)
		return err_set(e, ERR_BUG, EPROTO, "a message of %zd bytes from a process that enters", n);
	if (!fd_valid(en->pidfd)) /* the helper's: it ends now */
		reap_helper(en, true);
	return err_adopt(e, &m.err);
}

static int explain_exec(int32_t code, struct err *e)
{
	int r;

	if (code < 0 && code > -4096)
		r = err_sys(e, code, "executing '/var/runtime/enter' in the cell");
	else if (code == ENOENT)
		r = err_set(e, ERR_NOT_FOUND, code, "the command is not there, or what has to run it is not");
	else if (code > 0 && code < 4096)
		r = err_sys(e, code, "executing the command");
	else
		return 0;
	(void)memcpy(e->stage, "exec", sizeof "exec");
	return r;
}

int cell_enter_reap(struct cell_enter *en, struct err *e)
{
	struct enter_msg m;
	int r = sys_wait_exit(en->pidfd, false, &en->exit);

	if (r < 0)
		return r;
	en->reaped = true;
	/* What it said before may not have been heard yet; nothing but itself had the socket, so that has an end. */
	r = 1;
	for (int i = 0; i < MESSAGES && !en->committed && r == 1; i++)
		r = cell_enter_step(en, e);
	if (r < 0)
		return r;
	/* Others in the cell may have got hold of the socket by now: a number is all that they can say, and only where the
	 * command says that it could not be executed. */
	if (en->committed && en->exit.si_code == CLD_EXITED &&
	    (en->exit.si_status == 126 || en->exit.si_status == 127 || en->exit.si_status == ENTER_FAILED) &&
	    receive(en->word, &m, NULL) == (ssize_t)sizeof m.word && m.word.magic == ENTER_MAGIC)
		return explain_exec(m.word.code, e);
	return 0;
}

/* ---- Its end ---- */

void cell_enter_kill(struct cell_enter *en)
{
	en->killed = true; /* who is not born yet is ended when it is */
	if (fd_valid(en->pidfd) && !en->reaped)
		(void)!sys_pidfd_kill(en->pidfd, SIGKILL);
	(void)!cg_sub_kill(&en->sub);
}

int cell_enter_try_release(struct cell_enter *en, bool give_up)
{
	(void)!cg_sub_kill(&en->sub);
	if (cg_sub_try_remove(&en->sub) == -EAGAIN && !give_up)
		return -EAGAIN;
	cg_sub_close(&en->sub);
	fd_closep(&en->word);
	fd_closep(&en->pidfd);
	fd_closep(&en->helper_pidfd);
	return 0;
}

void cell_enter_abandon(struct cell_enter *en)
{
	fd_closep(&en->word); /* nobody gets word to go on any more */
	if (fd_valid(en->helper_pidfd))
		reap_helper(en, true);
	cell_enter_kill(en);
	if (fd_valid(en->pidfd) && !en->reaped && sys_wait_exit(en->pidfd, true, &en->exit) == 0)
		en->reaped = true;
	(void)!cell_enter_try_release(en, true);
}
