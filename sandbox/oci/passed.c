/* What a container gets of ours: descriptors that are passed on, and namespaces that are not its own. */
#include "oci/config.h"
#include "oci/life.h"

#include <fcntl.h>
#include <sys/stat.h>

/* What is passed on has to be the caller's: of our own descriptors each has its flag. */
static int check_preserved(uint64_t n, struct err *e)
{
	for (uint64_t i = 0; i < n; i++)
		if (i > INT32_MAX - 3 || fcntl((int)i + 3, F_GETFD) != 0)
			return err_set(e, ERR_SPEC, EBADF, "descriptor %llu is to be preserved, and is not open",
				       (unsigned long long)i + 3);
	return 0;
}

/* sd_listen_fds(3): they are for the process that LISTEN_PID names; some callers leave that out. */
static const char *listen_fds(void)
{
	const char *pid = secure_getenv("LISTEN_PID");
	uint64_t n;

	if (pid && (!parse_u64(pid, 1, INT32_MAX, &n) || (pid_t)n != getpid()))
		return NULL;
	return secure_getenv("LISTEN_FDS");
}

int life_listen_fds(struct ct_spec *s, uint64_t *preserve, struct err *e)
{
	const char *text = listen_fds();
	const char **env;
	uint64_t fds;
	size_t n = 0;

	if (!text || !parse_u64(text, 1, 1024, &fds))
		return check_preserved(*preserve, e);
	while (s->process.env && s->process.env[n])
		n++;
	env = arena_alloc(&s->arena, (n + 3) * sizeof *env);
	if (!env)
		return err_oom(e);
	if (n > 0)
		memcpy(env, s->process.env, n * sizeof *env);
	env[n] = arena_printf(&s->arena, "LISTEN_FDS=%llu", (unsigned long long)fds);
	env[n + 1] = "LISTEN_PID=1";
	s->process.env = env;
	*preserve += fds;
	return env[n] ? check_preserved(*preserve, e) : err_oom(e);
}

/* A namespace that is joined by its path may be the one that we are in: what is set in it would be set on the host. */
static bool is_ours(const struct ct_spec *s, int ns)
{
	static const char *const files[] = {[CT_NET] = "/proc/self/ns/net",
					    [CT_IPC] = "/proc/self/ns/ipc",
					    [CT_UTS] = "/proc/self/ns/uts",
					    [CT_USER] = "/proc/self/ns/user"};
	struct stat own, joined;

	return s->ns[ns].path && stat(files[ns], &own) == 0 && stat(s->ns[ns].path, &joined) == 0 &&
	       own.st_ino == joined.st_ino && own.st_dev == joined.st_dev;
}

int life_check_joined(const struct ct_spec *s, struct err *e)
{
	for (size_t i = 0; i < s->n_sysctls; i++)
		if (is_ours(s, config_sysctl_namespace(s->sysctls[i].key)))
			return err_set(e, ERR_DENIED, EPERM, "sysctl '%s' is not allowed in the host's namespace",
				       s->sysctls[i].key);
	if (((s->hostname && s->hostname[0]) || (s->domainname && s->domainname[0])) && is_ours(s, CT_UTS))
		return err_set(e, ERR_DENIED, EPERM, "the host's names are not the container's to set");
	return 0;
}
