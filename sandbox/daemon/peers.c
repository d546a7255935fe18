#include "daemon/peers.h"

#include "daemon/peers_json.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define INTERFACE "org.fsbox.Sandbox."
#define SERVICE   "org.varlink.service."

/* ---- Without a file, and for whom it has no rule ---- */

/* What needs no privilege of the host's: not `none`, which is no filter at all, and no file of a client's own. */
static const char *const safe_policies[] = {"default", "strict", "python", "node", "custom", NULL};
static const char *const only_describe[] = {"Describe", NULL};
static const char *const nothing[] = {NULL};

/* Of a struct peers that nothing was loaded into. */
static const struct rights unloaded = {.rule = "no policy", .methods = nothing, .roots = nothing, .policies = nothing};

static void set_defaults(struct peers *p, const struct peers_budget *b)
{
	p->own_uid = b->own_uid;
	p->others = (struct rights){
		.rule = "default",
		.max_cells = b->max_cells / 2 + b->max_cells % 2, /* a budget of one cell is of use to somebody */
		.max_queued = b->max_queued / 2 + b->max_queued % 2,
		.max_functions = b->max_functions / 2 + b->max_functions % 2,
		.max_execs = b->max_execs / 2 + b->max_execs % 2,
		.memory_bytes = b->memory_bytes / 2,
		.policies = safe_policies,
		.nets = 1U << SPEC_NET_NONE | 1U << SPEC_NET_LOOPBACK,
	};
	p->admin = (struct rights){
		.rule = "default (admin)",
		.admin = true,
		.exec = true,
		.max_cells = b->max_cells,
		.max_queued = b->max_queued,
		.max_functions = b->max_functions,
		.max_execs = b->max_execs,
		.memory_bytes = b->memory_bytes,
		.nets = 1U << SPEC_NET_NONE | 1U << SPEC_NET_LOOPBACK | 1U << SPEC_NET_HOST,
	};
	p->nobody = (struct rights){
		.rule = "no rule matches",
		.methods = only_describe,
		.roots = nothing,
		.policies = nothing,
	};
}

/* ---- Loading ---- */

/* @p gets what @fresh has, which is empty then. */
static void replace(struct peers *p, struct peers *fresh)
{
	fresh->generation = p->generation + 1;
	peers_done(p);
	*p = *fresh;
	*fresh = (struct peers){0};
}

static int refuse_file(struct err *e, const char *file, const char *why, const char *hint)
{
	int r = err_set(e, ERR_DENIED, EACCES, "daemon's policy: %s", why);

	(void)err_where(e, r, "%s", file);
	return err_hint(e, r, "%s", hint);
}

static int check_file(int fd, const char *file, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_where(e, err_sys(e, errno, "daemon's policy: looking at the file"), "%s", file);
	if (!S_ISREG(st.st_mode))
		return refuse_file(e, file, "it is no regular file", "name a file that holds JSON");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return refuse_file(e, file, "it belongs to another user", "chown root, or the daemon's own user");
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return refuse_file(e, file, "others may write to it", "chmod go-w");
	return 0;
}

int peers_load(struct peers *p, const char *file, const struct peers_budget *b, struct err *e)
{
	struct peers fresh = {0};
	AUTO_FREE char *text = NULL;
	AUTO_FD int fd = FD_NONE;
	size_t len = 0;
	int r;

	if (!file) {
		set_defaults(&fresh, b);
		replace(p, &fresh);
		return 0;
	}
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not hold the daemon up */
	if (!fd_valid(fd))
		return err_where(e, err_sys(e, errno, "daemon's policy: opening it"), "%s", file);
	r = check_file(fd, file, e);
	if (r < 0)
		return r;
	r = fd_read_all(fd, PEERS_MAX_BYTES, &text, &len);
	if (r == -EFBIG)
		return err_where(e, err_set(e, ERR_LIMIT, EFBIG, "daemon's policy: over %d bytes", PEERS_MAX_BYTES),
				 "%s", file);
	if (r < 0)
		return err_where(e, err_sys(e, r, "daemon's policy: reading it"), "%s", file);
	return peers_read(p, file, text, len, b, e);
}

int peers_read(struct peers *p, const char *file, const char *text, size_t len, const struct peers_budget *b,
	       struct err *e)
{
	struct peers fresh = {.from_file = true};
	int r;

	set_defaults(&fresh, b);
	r = peers_parse(&fresh, file, text, len, b, e);
	if (r < 0)
		peers_done(&fresh);
	else
		replace(p, &fresh);
	return r;
}

void peers_done(struct peers *p)
{
	arena_done(&p->arena);
	*p = (struct peers){0};
}

/* ---- Finding ---- */

static bool has_id(const struct ids *ids, uint32_t id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->ids[i] == id)
			return true;
	return false;
}

static bool has_group(const struct ids *ids, gid_t gid, const gid_t *groups, size_t n)
{
	if (has_id(ids, gid))
		return true;
	for (size_t i = 0; i < n; i++)
		if (has_id(ids, groups[i]))
			return true;
	return false;
}

const struct rights *peers_find(const struct peers *p, uid_t uid, gid_t gid, const gid_t *groups, size_t n)
{
	if (p->generation == 0)
		return &unloaded;
	if (!p->from_file)
		return uid == 0 || uid == p->own_uid ? &p->admin : &p->others;
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct peers_rule *rule = &p->rules[i];

		if ((rule->uids.any || has_id(&rule->uids, uid)) &&
		    (rule->gids.any || has_group(&rule->gids, gid, groups, n)))
			return &rule->rights;
	}
	return &p->nobody;
}

/* ---- Asking ---- */

static bool in_list(const char *const *list, const char *word)
{
	if (!list)
		return true;
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

bool rights_method(const struct rights *r, const char *method)
{
	if (str_starts(method, SERVICE))
		return true;
	return in_list(r->methods, str_starts(method, INTERFACE) ? method + strlen(INTERFACE) : method);
}

bool rights_policy(const struct rights *r, const char *name)
{
	return in_list(r->policies, name);
}

bool rights_net(const struct rights *r, enum spec_net net)
{
	return (unsigned)net < 32 && (r->nets >> (unsigned)net & 1U);
}

/* "/" or "/a/b": absolute, no empty component, no "." or "..", no slash at the end. */
bool peers_is_canonical(const char *path)
{
	if (path[0] != '/')
		return false;
	if (path[1] == '\0')
		return true;
	for (const char *at = path; *at;) {
		size_t n = strcspn(++at, "/");

		if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += n;
	}
	return true;
}

bool rights_root(const struct rights *r, const char *canonical_path)
{
	if (!peers_is_canonical(canonical_path))
		return false;
	if (!r->roots)
		return true;
	for (const char *const *root = r->roots; *root; root++) {
		size_t n = strlen(*root);

		if (n == 1) /* "/" */
			return true;
		if (strncmp(canonical_path, *root, n) == 0 && (canonical_path[n] == '\0' || canonical_path[n] == '/'))
			return true;
	}
	return false;
}
