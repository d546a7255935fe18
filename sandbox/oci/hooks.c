/* Hooks of the host's side, and the state that all hooks read. */
#include "base/fd.h"
#include "oci/life.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>

/* The pid stands between the two parts. */
int life_state_text(const struct oci_state *st, struct buf *head, struct buf *tail, struct err *e)
{
	struct oci_state marked = *st;
	AUTO(buf_done) struct buf all = {0};
	const char *at;

	marked.pid = st->pid > 0 && st->status != OCI_STOPPED ? st->pid : 0;
	state_print(&all, &marked, false);
	at = all.failed ? NULL : strstr(all.data, "\"pid\":");
	if (!at)
		return err_oom(e);
	at += strlen("\"pid\":");
	buf_add(head, all.data, (size_t)(at - all.data));
	buf_puts(tail, at + strspn(at, "0123456789"));
	return head->failed || tail->failed ? err_oom(e) : 0;
}

int life_hook_streams(const struct ct_spec *spec, int to[2], struct err *e)
{
	const char *const paths[] = {spec->hooks_out, spec->hooks_err};

	for (int i = 0; i < 2; i++) {
		if (!paths[i])
			continue;
		to[i] = open(paths[i], O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0600);
		if (to[i] < 0)
			return err_sys(e, errno, "opening '%s' for hooks", paths[i]);
	}
	return 0;
}

static int run(const struct ct_spec *spec, const struct ct_hook *h, const struct oci_state *st, const int *until,
	       struct err *e)
{
	AUTO(buf_done) struct buf head = {0}, tail = {0};
	int streams[2] = {FD_NONE, FD_NONE};
	int r = life_state_text(st, &head, &tail, e);
	const struct ct_state_text text = {head.data, tail.data, streams, until};

	if (r == 0)
		r = life_hook_streams(spec, streams, e);
	if (r == 0)
		r = ct_hook_run(h, &text, st->status == OCI_STOPPED ? 0 : (pid_t)st->pid, e);
	fd_closep(&streams[0]);
	fd_closep(&streams[1]);
	return r;
}

int life_hooks(const struct ct_spec *spec, enum ct_hook_kind kind, const struct oci_state *st, const int *until,
	       struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < spec->hooks[kind].n; i++)
		r = run(spec, &spec->hooks[kind].at[i], st, until, e);
	return r;
}

void life_forget_hooks(int dir)
{
	AUTO_FD int fd = FD_NONE;

	(void)unlinkat(dir, "ending", 0);
	fd = openat(dir, "ending", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* inotify(7): readable when "delete --force" puts its file there, which needs no lock. */
static int watch(int dir)
{
	AUTO_FD int fd = inotify_init1(IN_CLOEXEC);
	char path[32];

	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
	if (fd < 0 || inotify_add_watch(fd, path, IN_CREATE) < 0)
		return FD_NONE;
	if (faccessat(dir, "ending", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		life_forget_hooks(dir); /* it came before we looked: once more */
	return take_fd(&fd);
}

int life_poststart(const struct ct_spec *spec, const struct oci_state *st, int dir, struct err *e)
{
	AUTO_FD int until = spec->hooks[CT_POSTSTART].n > 0 ? watch(dir) : FD_NONE;

	return life_hooks(spec, CT_POSTSTART, st, &until, e);
}

void life_poststop(const struct oci_args *args, const struct ct_spec *spec, const struct oci_state *st)
{
	for (size_t i = 0; i < spec->hooks[CT_POSTSTOP].n; i++) {
		struct err e = {0};

		if (run(spec, &spec->hooks[CT_POSTSTOP].at[i], st, NULL, &e) < 0)
			oci_warn(args, "poststop: %s", e.msg);
	}
}
