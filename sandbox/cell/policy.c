/* From --policy to filters. The built-in ones were compiled with fsbox; a file is compiled at every start, which takes less
 * than half a millisecond and can never be out of date. */
#include "cell/policy.h"

#include "base/fd.h"

#include <fcntl.h>

static int load_file(const char *file, int from, struct filter *ret, struct err *e)
{
	AUTO_FD int fd = fd_valid(from) ? fcntl(from, F_DUPFD_CLOEXEC, 3) : open(file, O_RDONLY | O_CLOEXEC);
	AUTO(policy_freep) struct policy *policy = NULL;
	AUTO_FREE char *text = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return err_set(e, ERR_SPEC, errno, "--policy '%s': %s", file, strerrordesc_np(errno));
	r = fd_read_all(fd, POLICY_MAX_BYTES + 1, &text,
			&len); /* one more, so that policy_read() sees what is too long */
	if (r < 0)
		return err_sys(e, r, "--policy '%s'", file);
	r = policy_read(file, text, len, &policy, e);
	return r < 0 ? r : filter_build(policy, ret, e);
}

static bool is_file(const char *name)
{
	return strchr(name, '/') || (strlen(name) > 5 && strcmp(name + strlen(name) - 5, ".json") == 0);
}

int policy_load(const char *name, struct filter *base, struct filter *runtime, struct err *e)
{
	return policy_load_from(name, FD_NONE, base, runtime, e);
}

int policy_load_from(const char *name, int fd, struct filter *base, struct filter *runtime, struct err *e)
{
	struct filter found = {0};

	*base = *runtime = (struct filter){0};
	if (strcmp(name, "default_runtime") == 0 || !filter_builtin(name, &found)) {
		if (!is_file(name)) {
			int r = err_set(e, ERR_SPEC, 0, "no policy '%s'", name);

			return err_hint(
				e, r,
				"the built-in ones are default, strict, python, node, custom and none; a file's name has "
				"a / in it or "
				"ends in .json");
		}

		int r = load_file(name, fd, &found, e);
		if (r < 0)
			return r;
	}
	if (!found.runtime_stage) {
		*base = found;
		return 0;
	}
	*runtime = found;
	/* `default`, but for seccomp(2), with which the runtime adds the other one */
	return filter_builtin("default_runtime", base)
		       ? 0
		       : err_set(e, ERR_BUG, ENOENT, "no built-in policy 'default_runtime'");
}

int policy_check(const char *name, const struct filter *runtime, enum spec_runtime kind, struct err *e)
{
	if (kind != SPEC_RUNTIME_CUSTOM || runtime->len == 0)
		return 0;
	return err_hint(e,
			err_set(e, ERR_SPEC, 0,
				"--policy %s: it begins after init, when the programs of a custom runtime run already",
				name),
			"--policy default or custom, or a policy with \"stage\": \"spawn\"");
}

void policy_unload(struct filter *base, struct filter *runtime)
{
	filter_done(base);
	filter_done(runtime);
}
