/* Texts of /proc and answers of sock_diag, as the look before a dump reads them. Input: a letter, then the text; for a
 * descriptor three texts with a 0 between them: link, fdinfo, mountinfo.
 *
 * Properties: nothing is read beyond the end; a refusal has a sentence without control characters, and a remedy; what was
 * put into the tables is found there. */
#include "snapshot/look.h"

#include "base/mem.h"

#include <errno.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_verdict(int r, const struct err *e)
{
	must(r == 0 || (r == -EOPNOTSUPP && e->kind == ERR_UNSUPPORTED && e->msg[0] && e->hint[0]));
	for (const char *p = e->msg; *p; p++)
		must(*p >= ' ' && *p < 127);
}

static void check_tables(struct look *l)
{
	const struct look_node *found;

	look_sort(l);
	for (size_t i = 0; i < l->n; i++) {
		char text[LOOK_ADDRESS];

		found = look_find(l, l->nodes[i].kind, l->nodes[i].ino);
		must(found == &l->nodes[i]);
		must(memchr(found->local, '\0', sizeof found->local) != NULL);
		look_address(found->local, text);
		must(text[0] && memchr(text, '\0', sizeof text));
		(void)look_reaches(found->remote, found->local);
	}
}

static void check_fd(const struct look_who *who, const char *texts, size_t size)
{
	static const mode_t modes[] = {S_IFREG | 0600, S_IFDIR | 0700, S_IFCHR | 0600, S_IFIFO | 0600};
	const char *end = texts + size, *fdinfo, *mountinfo;
	struct look_file f = {.link = texts, .proto = ""};
	struct look l = {0};
	struct err e = {0};

	fdinfo = texts + strlen(texts) < end ? texts + strlen(texts) + 1 : end;
	mountinfo = fdinfo + strlen(fdinfo) < end ? fdinfo + strlen(fdinfo) + 1 : end;
	f.fdinfo = fdinfo;
	must(look_add_fd(&l, &f, &e) == 0 && l.n <= 1);
	check_tables(&l);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		e = (struct err){0};
		f.mode = modes[i];
		f.nlink = i & 1;
		check_verdict(look_fd(&l, who, &f, mountinfo, &e), &e);
	}
	look_done(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct look_who who = {.pid = 2, .fd = 3};
	struct look l = {0};
	struct err e = {0};
	AUTO_FREE char *text = NULL;

	if (size == 0)
		return 0;
	text = malloc(size); /* without the letter, with a 0 */
	must(text != NULL);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	memcpy(who.comm, text, size < sizeof who.comm ? size : sizeof who.comm - 1);
	switch (data[0]) {
	case 'm':
		check_verdict(look_maps(&who, text, &e), &e);
		break;
	case 's':
		check_verdict(look_status(&who, text, 1, &e), &e);
		break;
	case 'v':
		check_verdict(look_sysvipc("semaphores", text, &e), &e);
		break;
	case 't':
		must(look_add_inet(&l, LOOK_TCP, text, &e) == 0);
		check_tables(&l);
		break;
	case 'u':
		(void)!look_add_unix(&l, data + 1, size - 1, &e);
		check_tables(&l);
		break;
	default:
		check_fd(&who, text, size - 1);
	}
	look_done(&l);
	return 0;
}
