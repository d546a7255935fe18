/* fsbox serve: finds what the daemon needs, turns names into numbers, and becomes fsbox-spawn, which starts fsboxd. */
#include "cli/client.h"

#include "base/fd.h"
#include "cli/names.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

enum { MAX_ARGS = 48, MAX_PATH = 512, MAX_CELLS = 65536 };

static const char passwd_file[] = "/etc/passwd", group_file[] = "/etc/group";

struct serve_args {
	const char *socket, *user, *group, *state, *policy_file, *cgroup_parent;
	const char *keep, *max_cells, *memory, *max_queued; /* numbers */
	const char *cpu_overcommit;
	bool no_freeze, no_limits;
};

#define AT(field) offsetof(struct serve_args, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "socket",        "FILE",      0, opt_set_text,   AT(socket),        "where to listen (default /run/fsbox/fsbox.sock, or $XDG_RUNTIME_DIR/fsbox/fsbox.sock)", 0 },
	{ "user",          "NAME|UID",  0, opt_set_text,   AT(user),          "as root: the user that fsboxd runs as (default fsbox)", 0 },
	{ "group",         "NAME|GID",  0, opt_set_text,   AT(group),         "as root: the group whose members may use the socket (default fsbox, else the user's own)", 0 },
	{ "state",         "DIR",       0, opt_set_text,   AT(state),         "directory of fsboxd's own (default /var/lib/fsboxd, or $XDG_STATE_HOME/fsboxd)", 0 },
	{ "policy-file",   "FILE",      0, opt_set_text,   AT(policy_file),   "who may do what: JSON", 0 },
	{ "keep",          "SECONDS",   0, client_set_number, AT(keep),          "how long an idle cell is kept (default 600)", 0 },
	{ "max-cells",     "N",         0, client_set_number, AT(max_cells),     "cells at once (default: what the host has ids and descriptors for)", 0 },
	{ "memory",        "MB",        0, client_set_number, AT(memory),        "what the limits of all cells may add up to (default: 80 % of the host's)", 0 },
	{ "max-queued",    "N",         0, client_set_number, AT(max_queued),    "calls that wait at once, all told (default 4096)", 0 },
	{ "cpu-overcommit", "FACTOR",   0, opt_set_text,   AT(cpu_overcommit), "how many times the CPUs the shares of busy cells may add up to (default 1)", 0 },
	{ "no-freeze",     NULL, OPT_FLAG, opt_set_flag,   AT(no_freeze),     "let cells run between calls", 0 },
	{ "no-limits",     NULL, OPT_FLAG, opt_set_flag,   AT(no_limits),     "no cgroups: no memory, CPU and process limits", 0 },
	{ "cgroup-parent", "PATH",      0, opt_set_text,   AT(cgroup_parent), "cgroup under which the cells' groups are made", 0 },
};
/* clang-format on */
static const struct opt_table serve_opts = {opts, ARRAY_LEN(opts)};

/* What is given to fsbox-spawn. */
struct start {
	struct arena arena;
	const char *argv[MAX_ARGS];
	size_t n;
	const char *socket, *state;
	char programs[MAX_PATH], runtime[MAX_PATH];
	uid_t uid;
	gid_t gid, socket_gid;
};

static void add(struct start *s, const char *name, const char *value)
{
	if (!value || s->n + 3 > MAX_ARGS)
		return;
	s->argv[s->n++] = name;
	s->argv[s->n++] = value;
}

static int add_printf(struct start *s, const char *name, const char *fmt, ...) PRINTF(3, 4);
static int add_printf(struct start *s, const char *name, const char *fmt, ...)
{
	char text[MAX_PATH * 2];
	const char *kept;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	kept = n >= 0 && (size_t)n < sizeof text ? arena_strdup(&s->arena, text) : NULL;
	add(s, name, kept);
	return kept ? 0 : -ENOMEM;
}

/* ---- Who ---- */

static int root_ids(const struct serve_args *a, struct start *s, struct err *e)
{
	const char *user = a->user ? a->user : "fsbox";
	struct err none = {0};
	int r = names_user(passwd_file, user, &s->uid, &s->gid, e);

	if (r < 0)
		return a->user ? r : err_hint(e, r, "useradd --system fsbox, or name another one: --user nobody");
	if (s->uid == 0)
		return err_set(e, ERR_SPEC, 0, "--user '%s': fsboxd does not run as root", user);
	if (a->group)
		r = names_group(group_file, a->group, &s->socket_gid, e);
	else if (names_group(group_file, "fsbox", &s->socket_gid, &none) < 0)
		s->socket_gid = s->gid;
	if (r < 0)
		return r;
	/* A number that passwd does not have has no group of its own. */
	if (s->gid == (gid_t)-1)
		s->gid = a->group ? s->socket_gid : (gid_t)s->uid;
	if (s->socket_gid == (gid_t)-1)
		s->socket_gid = s->gid;
	return 0;
}

static int own_ids(const struct serve_args *a, struct start *s, struct err *e)
{
	if (a->user || a->group)
		return err_set(e, ERR_SPEC, 0, "--%s: only root can start it as somebody else",
			       a->user ? "user" : "group");
	s->uid = geteuid();
	s->gid = s->socket_gid = getegid();
	return 0;
}

/* ---- Where ---- */

/* XDG Base Directory Specification: $HOME/.local/state where nothing else is said. */
static const char *user_state(struct arena *arena)
{
	const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");

	if (state && state[0] == '/')
		return arena_printf(arena, "%s/fsboxd", state);
	return home && home[0] == '/' ? arena_printf(arena, "%s/.local/state/fsboxd", home) : NULL;
}

/* Absolute: fsbox-spawn's and fsboxd's directories are not the caller's. */
static const char *absolute(struct arena *arena, const char *path)
{
	AUTO_FREE char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);

	if (path[0] == '/')
		return path;
	return here ? arena_printf(arena, "%s/%s", here, path) : NULL;
}

static int find_places(const struct serve_args *a, struct start *s, struct err *e)
{
	const char *socket = a->socket ? a->socket : secure_getenv("FSBOX_SOCKET");
	char path[CLIENT_MAX_PATH + 1];
	int r = socket && *socket ? 0 : client_default_path(path, sizeof path, e);

	if (r < 0)
		return r;
	s->socket = socket && *socket ? absolute(&s->arena, socket) : arena_strdup(&s->arena, path);
	if (!s->socket)
		return err_oom(e);
	if (strlen(s->socket) > CLIENT_MAX_PATH)
		return err_set(e, ERR_SPEC, ENAMETOOLONG, "--socket '%s': at most %d bytes", s->socket,
			       CLIENT_MAX_PATH);
	if (a->state)
		s->state = absolute(&s->arena, a->state);
	else
		s->state = geteuid() == 0 ? "/var/lib/fsboxd" : user_state(&s->arena);
	return s->state ? 0 : err_set(e, ERR_SPEC, 0, "no place for fsboxd's state: HOME is not set; give --state DIR");
}

/* A directory of fsboxd's alone, and what is missing above it. One that is there already is taken as it is: fsboxd says
 * what it does not like. */
static int make_state(const struct start *s, struct err *e)
{
	AUTO_FREE char *path = strdup(s->state);

	if (!path)
		return err_oom(e);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, geteuid() == 0 ? 0755 : 0700); /* it shows below whether it is there */
		*slash = '/';
	}
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : err_sys(e, errno, "making '%s'", path);
	if (geteuid() == 0 && lchown(path, s->uid, s->gid) < 0)
		return err_sys(e, errno, "giving '%s' to fsboxd's user", path);
	return 0;
}

/* ---- The start ---- */

static int make_argv(const struct serve_args *a, struct start *s, struct err *e)
{
	int r;

	s->argv[s->n++] = arena_printf(&s->arena, "%s/fsbox-spawn", s->programs);
	add(s, "--socket", s->socket);
	r = add_printf(s, "--uid", "%u", s->uid);
	r |= add_printf(s, "--gid", "%u", s->gid);
	r |= add_printf(s, "--socket-gid", "%u", s->socket_gid);
	add(s, "--runtime", s->runtime);
	r |= add_printf(s, "--daemon", "%s/fsboxd", s->programs);
	r |= add_printf(s, "--publisher", "%s/fsbox-publish", s->programs);
	add(s, "--state", s->state);
	add(s, "--cgroup-parent", a->cgroup_parent);
	add(s, "--max-cells", a->max_cells);
	if (a->no_limits)
		s->argv[s->n++] = "--no-limits";
	s->argv[s->n++] = "--";
	add(s, "--keep", a->keep ? a->keep : "600");
	add(s, "--memory", a->memory);
	add(s, "--max-queued", a->max_queued);
	add(s, "--cpu-overcommit", a->cpu_overcommit);
	if (a->no_freeze)
		s->argv[s->n++] = "--no-freeze";
	if (a->policy_file)
		r |= add_printf(s, "--policy-file", "%s", absolute(&s->arena, a->policy_file) ?: "");
	s->argv[s->n] = NULL;
	return r < 0 || !s->argv[0] ? err_oom(e) : 0;
}

static int check(const struct serve_args *a, struct err *e)
{
	uint64_t n;

	if (a->max_cells && !parse_u64(a->max_cells, 1, MAX_CELLS, &n))
		return err_set(e, ERR_SPEC, 0, "--max-cells: expected 1 to %d, got '%s'", MAX_CELLS, a->max_cells);
	if (a->memory && !parse_u64(a->memory, SPEC_MIN_MEMORY_MB, UINT64_MAX >> 20, &n))
		return err_set(e, ERR_SPEC, 0, "--memory: expected megabytes from %d, got '%s'", SPEC_MIN_MEMORY_MB,
			       a->memory);
	if (a->keep && !parse_u64(a->keep, 0, UINT64_C(86400) * 365, &n))
		return err_set(e, ERR_SPEC, 0, "--keep: expected seconds up to a year, got '%s'", a->keep);
	return 0;
}

static int become_spawn(const struct serve_args *a, struct start *s, struct err *e)
{
	int r = check(a, e);

	if (r == 0)
		r = geteuid() == 0 ? root_ids(a, s, e) : own_ids(a, s, e);
	if (r == 0)
		r = find_places(a, s, e);
	if (r == 0)
		r = cli_find_runtime(s->runtime, sizeof s->runtime, e);
	if (r == 0)
		r = cli_find_programs(s->programs, sizeof s->programs, e);
	if (r == 0)
		r = make_argv(a, s, e);
	if (r == 0)
		r = make_state(s, e);
	if (r < 0)
		return r;
	/* What main() ignores would stay ignored in everything that is started from here. */
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGXFSZ, SIG_DFL);
	(void)execv(s->argv[0], (char *const *)(uintptr_t)s->argv);
	return err_sys(e, errno, "executing '%s'", s->argv[0]);
}

static int serve_main(int argc, char **argv)
{
	struct serve_args a = {0};
	struct start s = {0};
	struct err e = {0};
	int operands, r = opt_parse(cmd_serve.tables, cmd_serve.n_tables, argc, argv, &a, &operands, &e);

	if (r == 0 && operands > 0)
		r = err_set(&e, ERR_SPEC, 0, "serve takes no operand, got '%s'", argv[1]);
	if (r == 0)
		(void)become_spawn(&a, &s, &e); /* returns when it failed */
	arena_done(&s.arena);
	cli_print_err(&e);
	return e.kind == ERR_SPEC ? EXIT_USAGE : 1;
}

const struct command cmd_serve = {
	.name = "serve",
	.operands = "[options]",
	.summary = "run the daemon that the commands below talk to",
	.details =
		"In the foreground, until SIGTERM or SIGINT. As root, fsbox-spawn makes the cells, and fsboxd, which\n"
		"parses and decides, runs as --user without any privilege. As an ordinary user both run as that user.\n"
		"Names are looked up in /etc/passwd and /etc/group; for others give numbers. A socket that systemd\n"
		"hands over (LISTEN_FDS) is used as it is.\n\n"
		"Exit status: 1 failed to start; 2 bad usage; later fsbox-spawn's.\n",
	.tables = {&serve_opts},
	.n_tables = 1,
	.group = GROUP_DAEMON,
	.main = serve_main,
};
