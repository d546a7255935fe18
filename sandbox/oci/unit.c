#include "oci/unit.h"

#include "base/fd.h"
#include "oci/life.h"
#include "wire/scope.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

bool unit_wanted(const struct oci_args *a)
{
	return a->systemd_cgroup || (a->cgroup_manager && strcmp(a->cgroup_manager, "systemd") == 0);
}

/* ---- The program ---- */

static int find_program(char *path, size_t size, struct err *e)
{
	static const char *const places[] = {".", "../libexec/fsbox"};
	char dir[400];
	int r = oci_own_dir(dir, sizeof dir, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		(void)snprintf(path, size, "%s/%s/fsbox-scope", dir, places[i]);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
		       "the systemd cgroup driver is not available: no fsbox-scope beside '%s/fsbox-oci' nor in "
		       "'%s/../libexec/fsbox'; it is built where libsystemd is",
		       dir, dir);
}

bool unit_available(void)
{
	char path[512];
	struct err ignored = {0};

	return find_program(path, sizeof path, &ignored) == 0;
}

/* What it says, and what the loader says when there is no libsystemd, comes back by one pipe. */
static int start_program(const char *path, char *const *argv, int out, pid_t *ret_pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		(void)posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	r = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	for (int fd = STDOUT_FILENO; r == 0 && fd <= STDERR_FILENO; fd++)
		r = posix_spawn_file_actions_adddup2(&files, out, fd);
	/* What --preserve-fds is to give to the container is not this one's. */
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	if (r == 0)
		r = posix_spawn(ret_pid, path, &files, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&files);
	return -r;
}

/* The exit status, or -errno; the first line is in @answer. */
static int run_program(const char *path, char *const *argv, char answer[SCOPE_MAX_ANSWER], struct err *e)
{
	AUTO_FREE char *text = NULL;
	AUTO_FD int from = FD_NONE;
	size_t len;
	int ends[2], status, r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	from = ends[0];
	r = start_program(path, argv, ends[1], &pid);
	fd_closep(&ends[1]);
	if (r < 0)
		return err_sys(e, r, "starting '%s'", path);
	r = fd_read_all(from, SCOPE_MAX_ANSWER - 1, &text, &len);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "waiting for '%s'", path);
	if (r < 0)
		return err_sys(e, r, "reading the answer of '%s'", path);
	str_copy(answer, SCOPE_MAX_ANSWER, text);
	answer[strcspn(answer, "\n")] = '\0';
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int make_argv(const struct buf *words, size_t n_fixed, char ***ret)
{
	size_t n = n_fixed;
	char **argv;

	for (size_t i = 0; i < words->len; i++)
		n += words->data[i] == '\0';
	argv = calloc(n + 1, sizeof *argv);
	if (!argv)
		return -ENOMEM;
	n = n_fixed;
	for (size_t at = 0; at < words->len; at += strlen(words->data + at) + 1)
		argv[n++] = words->data + at;
	*ret = argv;
	return 0;
}

/* *ret_refused: it did nothing, and said why. */
static int ask(const char *command, const struct oci_state *st, const struct buf *words, char answer[SCOPE_MAX_ANSWER],
	       bool *ret_refused, struct err *e)
{
	const char *const fixed[] = {"fsbox-scope", command, st->user_unit ? "user" : "system", st->unit};
	AUTO_FREE char **argv = NULL;
	char path[512];
	int r = words->failed ? err_oom(e) : find_program(path, sizeof path, e);

	answer[0] = '\0';
	if (r < 0)
		return r;
	if (make_argv(words, ARRAY_LEN(fixed), &argv) < 0)
		return err_oom(e);
	memcpy(argv, fixed, sizeof fixed); /* execve(2) only reads them */
	r = run_program(path, argv, answer, e);
	if (r < 0)
		return r;
	*ret_refused = r == 1;
	return r == 0 ? 0
		      : err_set(e, ERR_SYSTEM, EIO, "systemd cgroup driver: %.300s",
				answer[0] ? answer : "fsbox-scope ended without a word");
}

static int ask_simply(const char *command, const struct oci_state *st, const struct buf *words, struct err *e)
{
	char answer[SCOPE_MAX_ANSWER];
	bool refused;

	return ask(command, st, words, answer, &refused, e);
}

/* ---- The unit ---- */

int unit_plan(const struct ct_spec *spec, struct oci_state *st, struct err *e)
{
	struct cg_unit u;
	char path[400] = "", program[512];
	struct stat sb;
	int r = find_program(program, sizeof program, e);

	if (r < 0)
		return r;
	if (stat("/run/systemd/system", &sb) < 0) /* sd_booted(3) */
		return err_set(e, ERR_UNSUPPORTED, EOPNOTSUPP,
			       "the systemd cgroup driver is not available: this host is not run by systemd");
	/* In a user namespace in which the host's root has no number, as podman makes it for users, systemd is not ours. */
	st->user_unit = geteuid() != 0 || sb.st_uid != 0;
	r = cg_unit_name(spec->cgroups_path, st->id, st->user_unit, &u, e);
	if (r == 0 && !st->user_unit)
		r = cg_unit_path(&u, path, sizeof path, e);
	if (r < 0)
		return r;
	st->unit = arena_strdup(&st->arena, u.name);
	st->cgroup = arena_strdup(&st->arena, path);
	return st->unit && st->cgroup ? 0 : err_oom(e);
}

static int plan_words(const struct oci_state *st, const struct ct_spec *spec, pid_t pid, struct buf *words,
		      struct err *e)
{
	struct cg_group host = {0};
	struct cg_unit u;
	char description[320];
	int r = cg_unit_name(spec->cgroups_path, st->id, st->user_unit, &u, e);

	if (r == 0)
		r = cg_group_find("/", &host, e);
	if (r < 0)
		return r;
	(void)snprintf(description, sizeof description, "fsbox-oci container %s", st->id);
	cg_unit_basics(&u, description, pid, &host, words);
	r = cg_unit_limits(&host, &spec->resources, false, words, e);
	cg_group_close(&host);
	return r == 0 ? cg_unit_annotations(spec->annotations, spec->n_annotations, words, e) : r;
}

int unit_start(struct oci_state *st, const struct ct_spec *spec, pid_t pid, struct err *e)
{
	AUTO(buf_done) struct buf words = {0};
	char answer[SCOPE_MAX_ANSWER] = "";
	bool refused = true; /* also what was never sent */
	int r = plan_words(st, spec, pid, &words, e);

	if (r == 0)
		r = ask("start", st, &words, answer, &refused, e);
	if (r < 0 && refused) {
		st->unit = st->cgroup = "";
		st->asked = false;
	}
	if (r < 0)
		return r;
	st->cgroup = arena_strdup(&st->arena, answer);
	return st->cgroup ? 0 : err_oom(e);
}

int unit_update(const struct oci_state *st, const struct ct_resources *res, struct err *e)
{
	AUTO(buf_done) struct buf words = {0};
	struct cg_group host;
	int r = cg_group_find("/", &host, e);

	if (r < 0)
		return r;
	r = cg_unit_limits(&host, res, true, &words, e);
	cg_group_close(&host);
	return r == 0 && words.len > 0 ? ask_simply("set", st, &words, e) : r;
}

/* The part of a path that a user's manager has: "/user.slice/user-1000.slice/user@1000.service". 0 without one. */
static size_t managers_part(const char *path)
{
	const char *at = strstr(path, "/user@"), *end = at ? strstr(at, ".service") : NULL;

	return end ? (size_t)(end - path) + strlen(".service") : 0;
}

/* Who moves a process writes to a file of the two groups' common ancestor as well (cgroups(7), "Delegation containment"),
 * and a user may do that below his manager only. */
bool unit_is_apart(const struct oci_state *st)
{
	const size_t n = managers_part(st->cgroup);
	char mine[16 << 10]; /* hybrid hosts have a dozen lines, each with a path */
	const char *at;

	if (!st->user_unit || n == 0 || fd_read_file_at(AT_FDCWD, "/proc/self/cgroup", mine, sizeof mine) < 0)
		return false;
	at = strncmp(mine, "0::", 3) == 0 ? mine : strstr(mine, "\n0::");
	at += at && *at == '\n';
	return !at || strncmp(at + strlen("0::"), st->cgroup, n) != 0;
}

int unit_attach(const struct oci_state *st, pid_t pid, struct err *e)
{
	AUTO(buf_done) struct buf words = {0};

	buf_printf(&words, "%d", pid);
	buf_add(&words, "", 1);
	return ask_simply("attach", st, &words, e);
}

int unit_stop(const struct oci_state *st, struct err *e)
{
	const struct buf none = {0};

	return st->unit[0] && st->asked ? ask_simply("stop", st, &none, e) : 0;
}
