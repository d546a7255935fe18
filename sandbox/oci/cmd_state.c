/* state, list, ps. */
#include "base/fd.h"
#include "oci/store.h"

#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <stdio.h>

static int state_main(struct oci_args *a, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	struct oci_store store;
	struct oci_state st = {0};
	AUTO_FD int dir = FD_NONE;
	int r = store_open(a, false, &store, e);

	if (r == 0)
		r = store_find(&store, a->operands[0], false, &dir, e);
	if (r == 0)
		r = state_read(dir, a->operands[0], &st, e);
	if (r == 0) {
		state_print(&b, &st, true);
		buf_puts(&b, "\n");
		r = oci_print(&b, e);
	}
	state_done(&st);
	fd_closep(&store.dir);
	return r;
}

const struct oci_command oci_state = {
	.name = "state",
	.operands = "ID",
	.summary = "print what a container is, as JSON",
	.min_operands = 1,
	.max_operands = 1,
	.main = state_main,
};

/* ---- list ---- */

struct listing {
	const struct oci_args *args;
	const struct oci_store *store;
	struct buf out;
	size_t n;
	bool json;
};

static void list_row(struct listing *l, const struct oci_state *st)
{
	if (l->args->quiet) {
		buf_printf(&l->out, "%s\n", st->id);
	} else if (l->json) {
		buf_puts(&l->out, l->n ? "," : "");
		state_print(&l->out, st, true);
	} else {
		buf_printf(&l->out, "%-20s %-8" PRId64 " %-10s %-40s %s\n", st->id,
			   st->status == OCI_STOPPED ? 0 : st->pid, status_name(st->status), st->bundle, st->created);
	}
	l->n++;
}

static int list_one(const char *id, void *arg, struct err *e)
{
	struct listing *l = arg;
	struct oci_state st = {0};
	struct err gone = {0};
	AUTO_FD int dir = FD_NONE;

	(void)e;
	/* It may go while we look. */
	if (store_find(l->store, id, false, &dir, &gone) == 0 && state_read(dir, id, &st, &gone) == 0)
		list_row(l, &st);
	state_done(&st);
	return 0;
}

static int list_main(struct oci_args *a, struct err *e)
{
	struct oci_store store;
	struct listing l = {.args = a, .store = &store, .json = a->format && strcmp(a->format, "json") == 0};
	int r = store_open(a, false, &store, e);

	if (a->format && !l.json && strcmp(a->format, "table") != 0)
		return err_set(e, ERR_SPEC, EINVAL, "invalid format option: %s", a->format);
	if (!a->quiet)
		buf_puts(&l.out, l.json ? "["
					: "ID                   PID      STATUS     BUNDLE                           "
					  "        CREATED\n");
	if (r == 0)
		r = store_each(&store, list_one, &l, e);
	if (!a->quiet && l.json)
		buf_puts(&l.out, "]\n");
	if (r == 0)
		r = oci_print(&l.out, e);
	buf_done(&l.out);
	fd_closep(&store.dir);
	return r;
}

static const struct opt list_options[] = {
	OCI_TEXT("format", format, 'f', "table|json", "form of the list"),
	OCI_FLAG("quiet", quiet, 'q', "only the ids"),
};
const struct oci_command oci_list = {
	.name = "list",
	.operands = "",
	.summary = "print the containers below --root",
	.options = {list_options, ARRAY_LEN(list_options)},
	.max_operands = 0,
	.main = list_main,
};

/* ---- ps ---- */

static int ps_json(pid_t pid, void *arg)
{
	struct buf *b = arg;

	buf_printf(b, "%s%d", b->len > 1 ? "," : "", pid);
	return 0;
}

static int ps_row(pid_t pid, void *arg)
{
	char path[40], text[1024] = "";

	(void)snprintf(path, sizeof path, "/proc/%d/comm", pid);
	(void)!fd_read_file_at(AT_FDCWD, path, text, sizeof text);
	/* A name is the container's to choose, and the terminal ours. */
	for (char *c = text; *c; c++)
		*c = (char)((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
	buf_printf(arg, "%-10d %s\n", pid, text);
	return 0;
}

static int ps_main(struct oci_args *a, struct err *e)
{
	const bool json = a->format && strcmp(a->format, "json") == 0;
	AUTO(buf_done) struct buf b = {0};
	struct oci_store store;
	struct oci_state st = {0};
	struct cg_group g = {0};
	AUTO_FD int dir = FD_NONE;
	int r = store_open(a, false, &store, e);

	if (r == 0)
		r = store_find(&store, a->operands[0], false, &dir, e);
	if (r == 0)
		r = state_read(dir, a->operands[0], &st, e);
	if (r == 0 && st.cgroup[0])
		r = cg_group_find(st.cgroup, &g, e);
	if (r == 0) {
		buf_puts(&b, json ? "[" : "PID        COMMAND\n");
		r = cg_group_processes(&g, json ? ps_json : ps_row, &b);
		buf_puts(&b, json ? "]\n" : "");
		r = r < 0 ? err_sys(e, r, "listing the processes") : oci_print(&b, e);
	}
	cg_group_close(&g);
	state_done(&st);
	fd_closep(&store.dir);
	return r;
}

static const struct opt ps_options[] = {OCI_TEXT("format", format, 'f', "table|json", "form of the list")};
const struct oci_command oci_ps = {
	.name = "ps",
	.operands = "ID [PS-OPTION...]",
	.summary = "print the processes of a container, by the host's numbers",
	.options = {ps_options, ARRAY_LEN(ps_options)},
	.min_operands = 1,
	.max_operands = -1,
	.raw_from = 1,
	.main = ps_main,
};
