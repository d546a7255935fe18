/* kill, delete, pause, resume. */
#include "base/fd.h"
#include "oci/config.h"
#include "oci/life.h"

#include <errno.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>

/* A container that a command is about. */
struct subject {
	struct oci_store store;
	struct oci_state st;
	int dir;
};

static int subject_open(struct subject *s, const struct oci_args *a, bool lock, struct err *e)
{
	int r;

	*s = (struct subject){.dir = FD_NONE};
	r = store_open(a, false, &s->store, e);
	if (r == 0)
		r = store_find(&s->store, a->operands[0], lock, &s->dir, e);
	return r == 0 ? state_read(s->dir, a->operands[0], &s->st, e) : r;
}

static void subject_close(struct subject *s)
{
	state_done(&s->st);
	fd_closep(&s->dir);
	fd_closep(&s->store.dir);
}

static int with_group(const struct subject *s, int (*fn)(const struct cg_group *g, int arg, struct err *e), int arg,
		      struct err *e)
{
	struct cg_group g;
	int r;

	if (!s->st.cgroup[0])
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP, "container %s has no cgroup of its own", s->st.id);
	r = cg_group_find(s->st.cgroup, &g, e);
	if (r < 0)
		return r;
	r = found_lost(&g, &s->st)
		    ? err_set(e, ERR_LOST, ESRCH, "container not running: its cgroup is another container's")
		    : fn(&g, arg, e);
	cg_group_close(&g);
	return r;
}

/* ---- Many at once: crun's --regex ---- */

struct matches {
	regex_t regex;
	struct arena arena;
	char **ids;
	size_t n, cap;
};

static int add_match(const char *id, void *arg, struct err *e)
{
	struct matches *m = arg;

	if (regexec(&m->regex, id, 0, NULL, 0) != 0)
		return 0;
	if (m->n == m->cap) {
		char **grown = realloc(m->ids, (m->cap + 64) * sizeof *grown);

		if (!grown)
			return err_oom(e);
		m->ids = grown;
		m->cap += 64;
	}
	m->ids[m->n] = arena_strdup(&m->arena, id);
	return m->ids[m->n++] ? 0 : err_oom(e);
}

/* All are tried; the first failure is told. Who is gone already, or was never running, is none. */
static int for_each_match(struct oci_args *a, int (*fn)(struct oci_args *a, struct err *e), struct err *e)
{
	struct matches m = {0};
	struct oci_store store;
	int r = store_open(a, false, &store, e), code;

	if (r < 0)
		return r;
	code = regcomp(&m.regex, a->operands[0], REG_EXTENDED | REG_NOSUB);
	if (code != 0) {
		char text[100];

		(void)regerror(code, &m.regex, text, sizeof text);
		fd_closep(&store.dir);
		return err_set(e, ERR_SPEC, EINVAL, "regular expression '%.80s': %s", a->operands[0], text);
	}
	r = store_each(&store, add_match, &m, e);
	for (size_t i = 0; i < m.n && m.ids[i]; i++) {
		struct err one = {0};

		a->operands[0] = m.ids[i];
		if (fn(a, &one) < 0 && one.kind != ERR_LOST && one.kind != ERR_NOT_FOUND && r == 0)
			r = err_adopt(e, &one);
	}
	regfree(&m.regex);
	free(m.ids);
	arena_done(&m.arena);
	fd_closep(&store.dir);
	return r;
}

/* ---- kill ---- */

static int kill_group(const struct cg_group *g, int sig, struct err *e)
{
	return cg_group_kill(g, sig, e);
}

static int kill_subject(const struct subject *s, const struct oci_args *a, int sig, struct err *e)
{
	int r;

	if (a->all) /* also when the first process is gone: others may be there still */
		return with_group(s, kill_group, sig, e);
	if (s->st.status == OCI_STOPPED || s->st.status == OCI_CREATING)
		return err_set(e, ERR_LOST, ESRCH, "container not running");
	r = state_signal(&s->st, sig);
	if (r == -ESRCH)
		return err_set(e, ERR_LOST, ESRCH, "container not running: no such process");
	if (r < 0)
		return err_sys(e, r, "signalling container %s", s->st.id);
	/* A frozen process takes SIGKILL only when it thaws, on v1. */
	return sig == SIGKILL && s->st.status == OCI_PAUSED ? with_group(s, kill_group, sig, e) : 0;
}

static int kill_one(struct oci_args *a, struct err *e)
{
	struct subject s;
	int r = subject_open(&s, a, false, e), sig = oci_signal(a->n_operands > 1 ? a->operands[1] : "TERM");

	if (r == 0)
		r = kill_subject(&s, a, sig, e);
	subject_close(&s);
	return r;
}

static int kill_main(struct oci_args *a, struct err *e)
{
	if (a->n_operands > 1 && oci_signal(a->operands[1]) < 0)
		return err_set(e, ERR_SPEC, EINVAL, "unknown signal \"%s\"", a->operands[1]);
	return a->regex ? for_each_match(a, kill_one, e) : kill_one(a, e);
}

static const struct opt kill_options[] = {
	OCI_FLAG("all", all, 'a', "every process of the container"),
	OCI_FLAG("regex", regex, 'r', "ID is an extended regular expression"),
};
const struct oci_command oci_kill = {
	.name = "kill",
	.operands = "ID [SIGNAL]",
	.summary = "send a signal, TERM when none is named",
	.options = {kill_options, ARRAY_LEN(kill_options)},
	.min_operands = 1,
	.max_operands = 2,
	.main = kill_main,
};

/* ---- delete ---- */

/* Whoever is at work on the container and holds the lock, create for instance, is not waited for for ever: its process goes
 * first, and with it the work; hooks of start go when we say so. */
static void end_forcibly(const struct oci_args *a)
{
	struct subject s;
	struct err ignored = {0};

	if (subject_open(&s, a, false, &ignored) == 0) {
		life_forget_hooks(s.dir);
		/* It may be frozen, by pause or, where it may, by itself. Of one that is gone others may have the group. */
		if (state_signal(&s.st, SIGKILL) == 0)
			(void)with_group(&s, kill_group, SIGKILL, &ignored);
	}
	subject_close(&s);
}

static int delete_subject(struct subject *s, const struct oci_args *a, struct err *e)
{
	AUTO(config_freep) struct ct_spec *spec = NULL;
	struct err ignored = {0};

	if (s->st.status != OCI_STOPPED && s->st.status != OCI_CREATED && !a->force)
		return err_set(e, ERR_BUSY, EBUSY, "cannot delete container %s that is not stopped: %s", s->st.id,
			       status_name(s->st.status));
	if (s->st.status != OCI_STOPPED)
		state_end(&s->st, 10000);
	/* Its hooks; a damaged copy keeps nobody from deleting. */
	(void)!config_copy_read(s->dir, &s->st, &spec, &ignored);
	return life_remove(&s->store, s->dir, &s->st, spec, e);
}

static int delete_one(struct oci_args *a, struct err *e)
{
	struct subject s;
	int r;

	if (a->force)
		end_forcibly(a);
	r = subject_open(&s, a, true, e);
	if (r < 0 && a->force && fd_valid(s.dir)) { /* a state that cannot be read */
		*e = (struct err){0};
		s.st = (struct oci_state){
			.id = a->operands[0], .cgroup = "", .unit = "", .found = "", .version = "1.0.2", .bundle = ""};
		r = 0;
	}
	if (r == 0)
		r = delete_subject(&s, a, e);
	else if (a->force && e->kind == ERR_NOT_FOUND)
		r = 0;
	subject_close(&s);
	return r;
}

static int delete_main(struct oci_args *a, struct err *e)
{
	return a->regex ? for_each_match(a, delete_one, e) : delete_one(a, e);
}

static const struct opt delete_options[] = {
	OCI_FLAG("force", force, 'f', "kill it first; success when there is none"),
	OCI_FLAG("regex", regex, 'r', "ID is an extended regular expression"),
};
const struct oci_command oci_delete = {
	.name = "delete",
	.operands = "ID",
	.summary = "remove what is left of a stopped container",
	.options = {delete_options, ARRAY_LEN(delete_options)},
	.min_operands = 1,
	.max_operands = 1,
	.main = delete_main,
};

/* ---- pause, resume ---- */

static int freeze(const struct cg_group *g, int frozen, struct err *e)
{
	return cg_group_freeze(g, frozen, e);
}

static int change(struct oci_args *a, bool frozen, struct err *e)
{
	struct subject s;
	int r = subject_open(&s, a, true, e);

	if (r == 0 && frozen && s.st.status != OCI_RUNNING && s.st.status != OCI_CREATED)
		r = err_set(e, ERR_BUSY, EBUSY, "container not running: it is %s", status_name(s.st.status));
	if (r == 0 && !frozen && s.st.status != OCI_PAUSED)
		r = err_set(e, ERR_BUSY, EBUSY, "container not paused");
	if (r == 0)
		r = with_group(&s, freeze, frozen, e);
	subject_close(&s);
	return r;
}

static int pause_main(struct oci_args *a, struct err *e)
{
	return change(a, true, e);
}

static int resume_main(struct oci_args *a, struct err *e)
{
	return change(a, false, e);
}

const struct oci_command oci_pause = {
	.name = "pause",
	.operands = "ID",
	.summary = "freeze all processes of a container",
	.min_operands = 1,
	.max_operands = 1,
	.main = pause_main,
};
const struct oci_command oci_resume = {
	.name = "resume",
	.operands = "ID",
	.summary = "let them go on",
	.min_operands = 1,
	.max_operands = 1,
	.main = resume_main,
};
