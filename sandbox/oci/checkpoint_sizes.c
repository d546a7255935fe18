#include "oci/checkpoint.h"

#include "base/fd.h"
#include "json/json.h"
#include "oci/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define SIZES "fsbox-oci.json"
enum { SIZES_MAX = 64 << 20 };

int sizes_forget(int images, struct err *e)
{
	return unlinkat(images, SIZES, 0) < 0 && errno != ENOENT ? err_sys(e, errno, "removing an old " SIZES) : 0;
}

static bool is_image(const char *name)
{
	return str_ends(name, ".img") && name[0] != '.';
}

int sizes_write(int images, struct err *e)
{
	AUTO(buf_done) struct buf b = {0};
	int fd = openat(images, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd_valid(fd) ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	const char *comma = "";
	struct stat st;

	if (!d)
		return err_sys(e, errno, "reading the images");
	buf_puts(&b, "{\"sizes\":{");
	while ((entry = readdir(d))) {
		if (!is_image(entry->d_name) || fstatat(images, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		buf_puts(&b, comma);
		json_add_string(&b, entry->d_name, strlen(entry->d_name));
		buf_printf(&b, ":%" PRId64, (int64_t)st.st_size);
		comma = ",";
	}
	(void)closedir(d);
	buf_puts(&b, "}}\n");
	return b.failed ? err_oom(e) : file_replace(images, SIZES, b.data, b.len, 0600, e);
}

struct check {
	int images;
	struct err *e;
};

static int check_one(const char *name, const struct json *v, void *arg)
{
	const struct check *c = arg;
	struct stat st;

	if (json_type_of(v) != JSON_INTEGER || strchr(name, '/'))
		return err_set(c->e, ERR_SPEC, EINVAL, SIZES " is not as it was written");
	if (fstatat(c->images, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(c->e, ERR_SNAPSHOT_MISMATCH, errno, "the images are damaged: '%s' is missing", name);
	if (st.st_size != json_integer_get(v))
		return err_set(c->e, ERR_SNAPSHOT_MISMATCH, EBADMSG,
			       "the images are damaged: '%s' has %" PRId64 " bytes, not %" PRId64, name,
			       (int64_t)st.st_size, json_integer_get(v));
	return 0;
}

int sizes_check(int images, struct err *e)
{
	AUTO_FD int fd = openat(images, SIZES, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	AUTO_FREE char *text = NULL;
	struct check c = {.images = images, .e = e};
	const struct json *sizes;
	size_t len;
	int r;

	if (fd < 0 && errno == ENOENT)
		return 0;
	r = fd < 0 ? -errno : fd_read_all(fd, SIZES_MAX, &text, &len);
	if (r < 0)
		return err_sys(e, r, "reading " SIZES);
	r = json_parse(SIZES, text, len, SIZES_MAX, &doc, e);
	if (r < 0)
		return r;
	sizes = json_type_of(json_doc_root(doc)) == JSON_OBJECT ? json_member(json_doc_root(doc), "sizes") : NULL;
	if (!sizes || json_type_of(sizes) != JSON_OBJECT)
		return err_set(e, ERR_SPEC, EINVAL, SIZES " is not as it was written");
	return json_each(sizes, check_one, &c);
}
