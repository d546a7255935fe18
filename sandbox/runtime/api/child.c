/* The processes that are started here: extensions and the runtime itself. */
#include "runtime/api/api.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ENV = 1024 };

/* AWS: extensions do not see what is the runtime's own. */
static bool is_hidden(const char *pair)
{
	static const char *const names[] = {
		"AWS_EXECUTION_ENV=",        "AWS_LAMBDA_LOG_GROUP_NAME=", "AWS_LAMBDA_LOG_STREAM_NAME=",
		"AWS_XRAY_CONTEXT_MISSING=", "AWS_XRAY_DAEMON_ADDRESS=",   "LAMBDA_RUNTIME_DIR=",
		"LAMBDA_TASK_ROOT="};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strncmp(pair, names[i], strlen(names[i])) == 0)
			return true;
	return pair[0] == '_';
}

/* Keys are not to be in an image: programs that are dumped ask for them. */
static bool is_key(const char *pair)
{
	return strncmp(pair, "AWS_ACCESS_KEY_ID=", 18) == 0 || strncmp(pair, "AWS_SECRET_ACCESS_KEY=", 22) == 0 ||
	       strncmp(pair, "AWS_SESSION_TOKEN=", 18) == 0;
}

/* Fills @env, which has room for MAX_ENV strings. */
static void make_environment(const struct api *a, bool for_extension, char **env)
{
	size_t n = 0;

	for (char **e = environ; *e && n + 1 < MAX_ENV; e++)
		if (!(for_extension && is_hidden(*e)) && !(a->snap_start && is_key(*e)))
			env[n++] = *e;
	env[n] = NULL;
}

static int spawn(const char *const *argv, char **env, const int output[2], int log, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	char **words;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (output[0] >= 0) {
		(void)posix_spawn_file_actions_adddup2(&actions, output[0], STDOUT_FILENO);
		(void)posix_spawn_file_actions_adddup2(&actions, output[1], STDERR_FILENO);
	}
	if (log >= 0)
		(void)posix_spawn_file_actions_adddup2(&actions, log, LOG_FD);
	memcpy(&words, &argv, sizeof words); /* execve(2) changes nothing */
	r = posix_spawnp(ret, argv[0], &actions, &attr, words,
			 env); /* a name without a slash, in an image: by its PATH */
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static void offer_log(void)
{
	char number[16];

	(void)snprintf(number, sizeof number, "%d", LOG_FD);
	(void)setenv("_LAMBDA_TELEMETRY_LOG_FD", number, 1);
}

int child_start(struct api *a, const char *const *argv, bool for_extension, const char *name, pid_t *ret)
{
	static char *env[MAX_ENV];
	const int log = for_extension ? -1 : logfd_open(a);
	int output[2] = {-1, -1}, r;

	if (log >= 0)
		offer_log();
	make_environment(a, for_extension, env);
	(void)telemetry_pipes(a, for_extension ? name : NULL, output);
	r = spawn(argv, env, output, log, ret);
	if (log >= 0)
		(void)close(log);
	for (size_t i = 0; i < 2; i++)
		if (output[i] >= 0)
			(void)close(output[i]);
	return r;
}

int child_find_runtime(char **args, const char **argv, size_t max, char *buf, size_t size)
{
	static const char *const places[] = {"/var/task", "/opt", "/var/runtime"};
	const char *wrapper = secure_getenv("AWS_LAMBDA_EXEC_WRAPPER");
	const char *root = secure_getenv("LAMBDA_TASK_ROOT");
	size_t n = 0;

	if (wrapper && *wrapper)
		argv[n++] = wrapper;
	for (; *args && n + 1 < max; args++)
		argv[n++] = *args;
	if (n > 0 && argv[n - 1] != wrapper) {
		argv[n] = NULL;
		return 0;
	}
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		(void)snprintf(buf, size, "%s/bootstrap", i == 0 && root ? root : places[i]);
		if (access(buf, F_OK) == 0) {
			argv[n++] = buf;
			argv[n] = NULL;
			return 0;
		}
	}
	return -ENOENT;
}

void child_reap(struct api *a)
{
	siginfo_t info = {0};
	int status;
	pid_t pid;

	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
		return;
	api_take_rest(a); /* its last words, such as an error of its init, count before its end does */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == a->runtime) {
			a->runtime = 0;
			runtime_ended(a, status);
		} else {
			(void)extension_ended(a, pid, status);
		}
	}
}

void child_set_environment(const char *pair)
{
	char name[256];
	const size_t len = strcspn(pair, "=");

	if (len == 0 || len >= sizeof name || pair[len] != '=')
		return;
	memcpy(name, pair, len);
	name[len] = '\0';
	(void)setenv(name, pair + len + 1, 1);
}
