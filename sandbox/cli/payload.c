#include "cli/payload.h"

#include "base/base64.h"
#include "base/fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* since Linux 6.3; memfd_create(2) of Debian 12 does not know it yet */
#endif

/* A kernel that wants it said that nothing is executed refuses others (sysctl vm.memfd_noexec); older ones do not know. */
static int open_memfd(void)
{
	int fd = memfd_create("fsbox-event", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	return fd < 0 && errno == EINVAL ? memfd_create("fsbox-event", MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

/* Sealed, it can be mapped and read by who gets it without fear of changes or of a shrinking file. */
static int make_memfd(const char *data, size_t len, struct err *e)
{
	AUTO_FD int fd = open_memfd();
	int r;

	if (fd < 0)
		return err_sys(e, errno, "memfd for the event");
	r = fd_write_all(fd, data, len);
	if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		r = -errno;
	return r < 0 ? err_sys(e, r, "memfd for the event") : take_fd(&fd);
}

int payload_make(const char *data, size_t len, struct buf *ret_json, int *ret_fd, struct err *e)
{
	int fd;

	*ret_fd = FD_NONE;
	if (len <= PAYLOAD_INLINE && !memchr(data, 0, len) && str_is_utf8(data, len)) {
		buf_puts(ret_json, "{\"text\":");
		json_add_string(ret_json, data, len);
		buf_puts(ret_json, "}");
		/* Escapes can make it six times as long. */
		if (!ret_json->failed && ret_json->len <= PAYLOAD_INLINE)
			return 0;
	}
	if (ret_json->failed)
		return err_oom(e);
	fd = make_memfd(data, len, e);
	if (fd < 0)
		return fd;
	ret_json->len = 0;
	buf_puts(ret_json, "{\"fd\":0}");
	*ret_fd = fd;
	return 0;
}

/* ---- The other way ---- */

/* From its start, wherever its offset is: that is shared with who wrote it. */
static int add_file(struct buf *to, int fd, struct err *e)
{
	struct stat st;
	char part[65536];
	off_t at = 0;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "reading fsboxd's answer");
	if (!S_ISREG(st.st_mode) || st.st_size > CLIENT_MAX_MESSAGE)
		return client_malformed(e, "its descriptor is no file of up to 16 MiB");
	while (at < st.st_size) {
		ssize_t n = pread(fd, part, sizeof part, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "reading fsboxd's answer");
		if (n == 0)
			return client_malformed(e, "its file shrank");
		buf_add(to, part, (size_t)n);
		at += n;
	}
	return 0;
}

int payload_read(const struct json *payload, const struct client_reply *reply, struct buf *to, struct err *e)
{
	const struct json *object = client_object(payload, "json");
	const char *base64 = client_text(payload, "base64");
	const struct json *text = payload && json_type_of(payload) == JSON_OBJECT ? json_member(payload, "text") : NULL;
	int64_t index;
	size_t len;

	if (text && json_type_of(text) == JSON_STRING) {
		const char *s = json_string_get(text, &len);

		buf_add(to, s, len);
	} else if (object) {
		json_dump_to(to, object);
	} else if (base64) {
		if (!base64_decode(to, base64, strlen(base64)))
			return client_malformed(e, "its payload is not base64");
	} else if (client_int(payload, "fd", &index)) {
		if (index < 0 || (uint64_t)index >= reply->n_fds)
			return client_malformed(e, "its payload is in a descriptor that did not come");

		int r = add_file(to, reply->fds[index], e);
		if (r < 0)
			return r;
	} else {
		return client_malformed(e, "its payload is empty");
	}
	return to->failed ? err_oom(e) : 0;
}
