/* What a snapshot knows of this host: the parts of every key. */
#include "snapshot/internal.h"

#include <link.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

#define SNAP_STORE_FORMAT "1"

/* ---- CPU ---- */

/* As they stand in /proc/cpuinfo. Without stepping and microcode: an image holds no trace of them. */
static const char *const model_lines[] = {"vendor_id",        "cpu family",  "model",   "CPU implementer",
					  "CPU architecture", "CPU variant", "CPU part"};
static const char *const flag_lines[] = {"flags", "Features"};

/* Appends the value of @line when its key is one of @keys. */
static void take_line(struct buf *b, const char *const *keys, size_t n, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	size_t key = colon ? (size_t)(colon - line) : 0;

	while (key > 0 && (line[key - 1] == '\t' || line[key - 1] == ' '))
		key--;
	for (size_t i = 0; i < n; i++) {
		if (key != strlen(keys[i]) || memcmp(line, keys[i], key) != 0)
			continue;
		colon += colon + 1 < line + len ? 2 : 1; /* ": value", or ":" */
		buf_puts(b, b->len > 0 ? " " : "");
		buf_add(b, colon, (size_t)(line + len - colon));
	}
}

/* The first processor's paragraph. One read: the kernel makes the text as it is asked for, and a large machine's whole
 * is megabytes. */
static int read_cpu(struct buf *model, struct buf *flags, struct err *e)
{
	AUTO_FD int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
	char text[16384], *line = text;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (n < 0)
		return err_sys(e, errno, "reading /proc/cpuinfo");
	text[n] = '\0';
	while (*line && *line != '\n') {
		size_t len = strcspn(line, "\n");

		take_line(model, model_lines, ARRAY_LEN(model_lines), line, len);
		take_line(flags, flag_lines, ARRAY_LEN(flag_lines), line, len);
		line += len + (line[len] == '\n');
	}
	return model->failed || flags->failed ? err_oom(e) : 0;
}

/* ---- vDSO ---- */

/* The kernel's image in our own memory: where its headers say that the last byte lies. */
static size_t vdso_size(const uint8_t *image)
{
	const ElfW(Ehdr) *eh = (const void *)image;
	size_t end = eh->e_shoff + (size_t)eh->e_shnum * eh->e_shentsize;

	for (size_t i = 0; i < eh->e_phnum; i++) {
		const ElfW(Phdr) *ph = (const void *)(image + eh->e_phoff + i * eh->e_phentsize);

		if (ph->p_offset + ph->p_filesz > end)
			end = ph->p_offset + ph->p_filesz;
	}
	return end;
}

static void digest_vdso(char hex[static SNAP_ID_LEN + 1])
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR); /* NULL: booted with vdso=0 */
	struct snap_digest d;

	digest_begin(&d);
	if (image)
		digest_add(&d, image, vdso_size(image));
	digest_end(&d, hex);
}

/* ---- All ---- */

static int add_text(struct snap_key *k, const char *name, const char *text, struct err *e)
{
	char *copy = text ? arena_strdup(&k->arena, text) : NULL;

	if (!copy)
		return err_oom(e);
	return snap_key_add(k, &(struct snap_part){name, SNAP_TEXT, copy, strlen(copy), FD_NONE}, e);
}

static int add_cpu(struct snap_key *k, struct err *e)
{
	AUTO(buf_done) struct buf model = {0};
	AUTO(buf_done) struct buf flags = {0};
	int r = read_cpu(&model, &flags, e);

	if (r == 0)
		r = add_text(k, "cpu", model.len > 0 ? model.data : "", e);
	return r < 0 ? r : add_text(k, "cpu flags", flags.len > 0 ? flags.data : "", e);
}

int snap_key_add_host(struct snap_key *k, const struct snap_engine *en, struct err *e)
{
	char kernel[2 * sizeof(struct utsname)], vdso[SNAP_ID_LEN + 1];
	struct utsname u;
	int r;

	if (uname(&u) < 0)
		return err_sys(e, errno, "uname");
	(void)snprintf(kernel, sizeof kernel, "%s %s", u.release, u.version);
	digest_vdso(vdso);
	r = add_text(k, "kernel", kernel, e);
	if (r == 0)
		r = add_cpu(k, e);
	if (r == 0)
		r = add_text(k, "vdso", vdso, e);
	if (r == 0)
		r = add_text(k, "criu", en->version, e);
	return r < 0 ? r : add_text(k, "format", SNAP_STORE_FORMAT, e);
}
