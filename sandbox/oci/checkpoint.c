#include "oci/checkpoint.h"

#include "base/fd.h"
#include "json/json.h"
#include "oci/store.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define DESCRIPTORS "descriptors.json"
enum { DESCRIPTORS_MAX = 64 << 10 };

int checkpoint_engine(struct snap_engine *ret, struct err *e)
{
	/* build/fsbox-oci has build/criu, bin/fsbox-oci has libexec/fsbox/criu. */
	static const char *const places[] = {"/../libexec/fsbox", ""};
	char exe[PATH_MAX - 32], dir[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	struct err last = {0};

	if (n < 0)
		return err_sys(e, errno, "reading /proc/self/exe");
	exe[n] = '\0';
	*strrchr(exe, '/') = '\0';
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		(void)snprintf(dir, sizeof dir, "%s%s", exe, places[i]);
		last = (struct err){0};
		if (snap_engine_find(dir, ret, &last) == 0)
			return 0;
	}
	return err_adopt(e, &last);
}

bool checkpoint_possible(void)
{
	struct snap_engine en;
	struct err ignored = {0};

	return checkpoint_engine(&en, &ignored) == 0;
}

/* ---- Directories ---- */

static int make_dirs(const char *path)
{
	char copy[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof copy)
		return -ENAMETOOLONG;
	memcpy(copy, path, n + 1);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(copy, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int find_dir(const char *path, bool make, const char *what, char ret[static PATH_MAX], struct err *e)
{
	struct stat st;
	int r = make ? make_dirs(path) : 0;

	if (r < 0)
		return err_sys(e, r, "making the %s directory '%s'", what, path);
	if (!realpath(path, ret) || stat(ret, &st) < 0)
		return err_sys(e, errno, "%s directory '%s'", what, path);
	return S_ISDIR(st.st_mode) ? 0 : err_sys(e, ENOTDIR, "%s directory '%s'", what, path);
}

int checkpoint_dirs_open(const struct oci_args *a, bool make, struct checkpoint_dirs *ret, struct err *e)
{
	const char *images = a->image_path && a->image_path[0] ? a->image_path : "checkpoint";
	int r = find_dir(images, make, "image", ret->images, e);

	ret->fd = FD_NONE;
	if (r == 0 && a->work_path && a->work_path[0])
		r = find_dir(a->work_path, true, "work", ret->work, e);
	else if (r == 0)
		memcpy(ret->work, ret->images, sizeof ret->work);
	if (r < 0)
		return r;
	ret->fd = open(ret->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return ret->fd < 0 ? err_sys(e, errno, "opening '%s'", ret->images) : 0;
}

/* ---- Options ---- */

/* Groups are made by this runtime (groups_wanted() has what the words mean), and CRIU leaves them alone. */
static int check_cgroups_mode(const char *mode, struct err *e)
{
	static const char *const modes[] = {"soft", "full", "strict", "ignore", "none", "props"};

	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (!mode || !mode[0] || strcmp(mode, modes[i]) == 0)
			return 0;
	return err_set(e, ERR_SPEC, EINVAL, "invalid manage-cgroups-mode '%s': soft, full, strict or ignore", mode);
}

static int read_empty_ns(const struct oci_args *a, struct criu_job *j, struct err *e)
{
	for (size_t i = 0; i < a->empty_ns.n; i++) {
		if (strcmp(a->empty_ns.at[i], "network") != 0 && strcmp(a->empty_ns.at[i], "net") != 0)
			return err_set(e, ERR_SPEC, EINVAL, "namespace '%s' cannot be left empty: only 'network'",
				       a->empty_ns.at[i]);
		j->empty_net = true;
	}
	return 0;
}

static int check_lsm(const char *profile, struct err *e)
{
	if (!profile || str_starts(profile, "apparmor:") || str_starts(profile, "selinux:"))
		return 0;
	return err_set(e, ERR_SPEC, EINVAL, "--lsm-profile '%s': expected apparmor:NAME or selinux:NAME", profile);
}

static const char *config_of(const struct ct_spec *s)
{
	for (size_t i = 0; i < s->n_annotations; i++)
		if (strcmp(s->annotations[i].key, CHECKPOINT_CONFIG_ANNOTATION) == 0)
			return s->annotations[i].value[0] ? s->annotations[i].value : NULL;
	return NULL;
}

int checkpoint_job(const struct oci_args *a, const struct ct_spec *s, const struct checkpoint_dirs *d,
		   struct criu_job *ret, struct err *e)
{
	int r = check_cgroups_mode(a->cgroups_mode, e);

	*ret = (struct criu_job){
		.images = d->images,
		.images_fd = d->fd,
		.work = d->work,
		.config = config_of(s),
		.tcp_established = a->tcp_established,
		.tcp_close = a->tcp_close,
		.ext_unix_sockets = a->ext_unix,
		.shell_job = a->shell_job,
		.file_locks = a->file_locks,
		.link_remap = a->link_remap,
		.auto_dedup = a->auto_dedup,
		.lazy_pages = a->lazy_pages,
		.status_fd = FD_NONE,
		.lsm_profile = a->lsm_profile,
		.lsm_context = a->lsm_context,
	};
	if (r == 0)
		r = read_empty_ns(a, ret, e);
	return r == 0 ? check_lsm(a->lsm_profile, e) : r;
}

/* ---- Names of descriptors ---- */

int descriptors_write(int images, const char *const names[CT_STDIO], struct err *e)
{
	AUTO(buf_done) struct buf b = {0};

	buf_puts(&b, "[");
	for (int i = 0; i < CT_STDIO; i++) {
		buf_puts(&b, i ? "," : "");
		json_add_string(&b, names[i], strlen(names[i]));
	}
	buf_puts(&b, "]");
	return b.failed ? err_oom(e) : file_replace(images, DESCRIPTORS, b.data, b.len, 0600, e);
}

int descriptors_read(int images, struct arena *a, const char *ret[CT_STDIO], struct err *e)
{
	AUTO_FD int fd = openat(images, DESCRIPTORS, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO_FREE char *text = NULL;
	const struct json *list;
	size_t len;
	int r;

	for (int i = 0; i < CT_STDIO; i++)
		ret[i] = NULL;
	if (fd < 0 && errno == ENOENT)
		return 0;
	r = fd < 0 ? -errno : fd_read_all(fd, DESCRIPTORS_MAX, &text, &len);
	if (r < 0)
		return err_sys(e, r, "reading " DESCRIPTORS);
	r = json_parse(DESCRIPTORS, text, len, DESCRIPTORS_MAX, &doc, e);
	if (r < 0)
		return r;
	list = json_doc_root(doc);
	if (json_type_of(list) != JSON_ARRAY)
		return err_set(e, ERR_SPEC, EINVAL, DESCRIPTORS " is not a list");
	for (size_t i = 0; i < CT_STDIO && i < json_length(list); i++) {
		const struct json *v = json_at(list, i);

		if (json_type_of(v) != JSON_STRING)
			continue;
		ret[i] = arena_strdup(a, json_string_get(v, NULL));
		if (!ret[i])
			return err_oom(e);
	}
	return 0;
}
