/* snapshot/worker: what is said to CRIU and what is understood of its answers. */
#include "tests/lib/tap.h"

#include "snapshot/snapshot.h"

#include <linux/filter.h>

static struct snap_manifest manifest(void)
{
	struct snap_manifest m = {0};

	for (int i = 0; i < SNAP_MAX_PIPES; i++)
		(void)snprintf(m.pipes[i], sizeof m.pipes[i], "pipe:[%d]", 4711 + i);
	return m;
}

TEST(a_request_names_every_pipe_and_the_images)
{
	const struct snap_manifest m = manifest();
	unsigned char buf[4096];
	size_t len = snap_worker_request(&m, buf, sizeof buf);

	REQUIRE(CHECK_GE(len, 100));
	/* type = RESTORE, then the options */
	CHECK_EQ(memcmp(buf, "\x08\x02\x12", 3), 0);
	CHECK(memmem(buf, len, SNAP_DIR_IMAGES, strlen(SNAP_DIR_IMAGES)) != NULL);
	for (int i = 0; i < SNAP_MAX_PIPES; i++) {
		char want[32];
		int n = snprintf(want, sizeof want, "\x0a\x0b%s\x10%c", m.pipes[i], 101 + i);

		CHECK(memmem(buf, len, want, (size_t)n) != NULL);
	}
}

TEST(what_does_not_fit_is_not_sent_in_part)
{
	const struct snap_manifest m = manifest();
	unsigned char buf[4096];
	const size_t len = snap_worker_request(&m, buf, sizeof buf);

	for (size_t size = 0; size < len; size++)
		CHECK_EQ(snap_worker_request(&m, buf, size), 0);
	CHECK_EQ(snap_worker_go_on(buf, 1), 0);
	CHECK_EQ(snap_worker_go_on(buf, sizeof buf), 4);
	CHECK_EQ(memcmp(buf, "\x08\x06\x18\x01", 4), 0);
}

static struct snap_answer parse(const char *bytes, size_t len)
{
	struct snap_answer a;

	snap_worker_parse(bytes, len, &a);
	return a;
}
#define PARSE(text) parse(text, sizeof(text) - 1)

TEST(answers_are_told_apart)
{
	struct snap_answer a = PARSE("\x08\x06\x10\x01\x2a\x0c\x0a\x0apre-resume");

	CHECK_EQ(a.word, SNAP_WORD_NOTIFY);
	CHECK_STREQ(a.script, "pre-resume");
	a = PARSE("\x08\x06\x10\x01\x2a\x15\x0a\x10setup-namespaces\x10\xac\x02");
	CHECK_EQ(a.word, SNAP_WORD_NOTIFY);
	CHECK_STREQ(a.script, "setup-namespaces");
	CHECK_EQ(a.pid, 300);
	a = PARSE("\x08\x02\x10\x01\x22\x02\x08\x02");
	CHECK_EQ(a.word, SNAP_WORD_RESTORED);
	CHECK_EQ(a.pid, 2);
	a = PARSE("\x08\x02\x10\x00\x38\x03\x4a\x07no\nmore");
	CHECK_EQ(a.word, SNAP_WORD_FAILED);
	CHECK_EQ(a.cr_errno, 3);
	CHECK_STREQ(a.text, "no more");
	/* success of something that was not asked for */
	CHECK_EQ(PARSE("\x08\x03\x10\x01").word, SNAP_WORD_NONSENSE);
}

TEST(bytes_that_are_no_answer_are_nonsense_or_a_failure_and_read_no_further)
{
	static const char whole[] = "\x08\x06\x10\x01\x2a\x0c\x0a\x0apre-resume\x4d....\x51........";

	for (size_t len = 0; len < sizeof whole - 1; len++) {
		char *exact = malloc(len ? len : 1);

		memcpy(exact, whole, len);
		struct snap_answer a = parse(exact, len);
		CHECK(a.word == SNAP_WORD_NONSENSE || a.word == SNAP_WORD_FAILED || a.word == SNAP_WORD_NOTIFY);
		free(exact);
	}
	CHECK_EQ(PARSE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").word, SNAP_WORD_NONSENSE);
	CHECK_EQ(PARSE("\x2a\xff\xff\xff\x0f\x00").word, SNAP_WORD_NONSENSE);
}

TEST(a_filters_image_holds_the_filter)
{
	const struct sock_filter insns[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
					    BPF_STMT(BPF_RET | BPF_K, 0x7fff0000)};
	unsigned char buf[256];
	size_t len = snap_seccomp_image(insns, 2, buf, sizeof buf);

	/* magics, length of the entry, list, filter: program of 16 bytes, flags 1 */
	REQUIRE(CHECK_EQ(len, 8 + 4 + 2 + 2 + 16 + 2));
	CHECK_EQ(memcmp(buf, "\x19\x43\x56\x54\x49\x30\x41\x64\x16\0\0\0\x0a\x14\x0a\x10", 16), 0);
	CHECK_EQ(memcmp(buf + 16, insns, 16), 0);
	CHECK_EQ(memcmp(buf + 32, "\x18\x01", 2), 0);
	CHECK_EQ(snap_seccomp_image(insns, 2, buf, len - 1), 0);
}

TEST(a_complaint_is_the_first_real_error_of_a_log)
{
	char log[] =
		"(00.1) Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
		"Error (criu/util.c:2): execvp(\"iptables-save\", ...) failed: No such file or directory\n"
		"(00.1) Error (criu/util.c:3): ip6tables-legacy-restore -V failed\n"
		"(00.2) Warn  (x.c:2): something\n(00.3)     12: Error (criu/files.c:3): Can't open root\n"
		"(00.4) Error (criu/cr.c:4): Restoring FAILED.\n";
	char none[] = "nothing of interest\n", why[200];

	snap_engine_complaint(log, why, sizeof why);
	CHECK_STREQ(why, "Can't open root");
	snap_engine_complaint(none, why, sizeof why);
	CHECK_STREQ(why, "it gave no reason");
}
