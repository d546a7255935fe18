/* Hooks of the host's side, and the state that all hooks read. */
#include "oci/life.h"

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

static int run(const struct ct_hook *h, const struct oci_state *st, struct err *e)
{
	AUTO(buf_done) struct buf head = {0}, tail = {0};
	int r = life_state_text(st, &head, &tail, e);
	const struct ct_state_text text = {head.data, tail.data};

	return r == 0 ? ct_hook_run(h, &text, st->status == OCI_STOPPED ? 0 : (pid_t)st->pid, e) : r;
}

int life_hooks(const struct ct_spec *spec, enum ct_hook_kind kind, const struct oci_state *st, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < spec->hooks[kind].n; i++)
		r = run(&spec->hooks[kind].at[i], st, e);
	return r;
}

void life_poststop(const struct oci_args *args, const struct ct_spec *spec, const struct oci_state *st)
{
	for (size_t i = 0; i < spec->hooks[CT_POSTSTOP].n; i++) {
		struct err e = {0};

		if (run(&spec->hooks[CT_POSTSTOP].at[i], st, &e) < 0)
			oci_warn(args, "poststop: %s", e.msg);
	}
}
