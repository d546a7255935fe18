/* From --policy to filters. The built-in ones were compiled with fsbox; a file is compiled once and kept in the state
 * directory under a name made of what identifies that file's content to the kernel. */
#include "cli/cli.h"

#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { CACHE_FORMAT = 1 };

struct cache_head {
	uint32_t format, runtime_stage;
	uint64_t len;
};

static void cache_name(const struct stat *st, const char *state_dir, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s/policy-%llx-%llx-%llx-%llx.%lx-%llx.%lx", state_dir, (unsigned long long)st->st_dev,
		       (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		       (unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec,
		       (unsigned long long)st->st_ctim.tv_sec, (unsigned long)st->st_ctim.tv_nsec);
}

static bool cache_read(const char *name, struct filter *ret)
{
	AUTO_FD int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FREE char *data = NULL;
	struct cache_head h;
	size_t len;

	if (fd < 0 || fd_read_all(fd, sizeof h + BPF_MAXINSNS * sizeof(struct sock_filter), &data, &len) < 0)
		return false;
	if (len < sizeof h)
		return false;
	memcpy(&h, data, sizeof h);
	if (h.format != CACHE_FORMAT || h.len > BPF_MAXINSNS || len != sizeof h + h.len * sizeof(struct sock_filter))
		return false;
	ret->insns = malloc(h.len * sizeof *ret->insns + 1);
	if (!ret->insns)
		return false;
	memcpy(ret->insns, data + sizeof h, h.len * sizeof *ret->insns);
	ret->len = h.len;
	ret->runtime_stage = h.runtime_stage == 1;
	return true;
}

/* Without a cache the next start compiles again: no reason to fail this one. */
static void cache_write(const char *name, const struct filter *f)
{
	const struct cache_head h = {.format = CACHE_FORMAT, .runtime_stage = f->runtime_stage, .len = f->len};
	char tmp[320];

	(void)snprintf(tmp, sizeof tmp, "%s.%d", name, getpid());

	AUTO_FD int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (fd_write_all(fd, &h, sizeof h) < 0 || fd_write_all(fd, f->insns, f->len * sizeof *f->insns) < 0 ||
	    rename(tmp, name) < 0)
		(void)unlink(tmp);
}

static int load_file(const char *file, const char *state_dir, struct filter *ret, struct err *e)
{
	AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO_FREE char *text = NULL;
	struct stat st;
	char name[288];
	size_t len;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "--policy '%s'", file);
	cache_name(&st, state_dir, name, sizeof name);
	if (cache_read(name, ret))
		return 0;
	r = fd_read_all(fd, POLICY_MAX_BYTES, &text, &len);
	if (r < 0)
		return err_sys(e, r, "--policy '%s'", file);
	r = policy_read(file, text, len, &policy, e);
	if (r == 0)
		r = filter_build(policy, ret, e);
	if (r == 0)
		cache_write(name, ret);
	return r;
}

static bool is_file(const char *name)
{
	return strchr(name, '/') || (strlen(name) > 5 && strcmp(name + strlen(name) - 5, ".json") == 0);
}

int policy_load(const char *name, const char *state_dir, struct filter *base, struct filter *runtime, struct err *e)
{
	struct filter found = {0};

	*base = *runtime = (struct filter){0};
	if (!filter_builtin(name, &found)) {
		if (!is_file(name)) {
			int r = err_set(e, ERR_SPEC, 0, "no policy '%s'", name);

			return err_hint(e, r, "the built-in ones are default, strict and none; a file's name has a / in it or "
					      "ends in .json");
		}

		int r = load_file(name, state_dir, &found, e);
		if (r < 0)
			return r;
	}
	if (!found.runtime_stage) {
		*base = found;
		return 0;
	}
	*runtime = found;
	return filter_builtin("default", base) ? 0 : err_set(e, ERR_BUG, ENOENT, "no built-in policy 'default'");
}

void policy_unload(struct filter *base, struct filter *runtime)
{
	filter_done(base);
	filter_done(runtime);
}
