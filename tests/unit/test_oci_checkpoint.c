/* Files beside CRIU's images, and what of options becomes a job. */
#include "oci/checkpoint.h"
#include "tests/lib/tap.h"

#include "base/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char place[64];

static int new_dir(void)
{
	(void)snprintf(place, sizeof place, "/tmp/fsbox-unit-XXXXXX");
	return mkdtemp(place) ? open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static void remove_dir(int dir, const char *const *names)
{
	for (; *names; names++)
		(void)unlinkat(dir, *names, 0);
	(void)close(dir);
	(void)rmdir(place);
}

static void put(int dir, const char *name, const char *text)
{
	CHECK_EQ(unlinkat(dir, name, 0) < 0 && errno != ENOENT, 0);
	AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK_EQ(fd_write_all(fd, text, strlen(text)), 0);
}

TEST(names_of_descriptors_are_read_as_they_were_written)
{
	static const char *const files[] = {"descriptors.json", NULL};
	const char *const names[CT_STDIO] = {"/dev/null", "pipe:[12]", "a \"b\""};
	const char *back[CT_STDIO];
	struct arena a = {0};
	struct err e = {0};
	int dir = new_dir();

	REQUIRE(dir >= 0);
	CHECK_EQ(descriptors_read(dir, &a, back, &e), 0);
	CHECK(!back[0] && !back[1] && !back[2]);
	CHECK_EQ(descriptors_write(dir, names, &e), 0);
	CHECK_EQ(descriptors_read(dir, &a, back, &e), 0);
	for (int i = 0; i < CT_STDIO; i++)
		CHECK_STREQ(back[i], names[i]);
	/* As other runtimes may have them. */
	put(dir, files[0], "[\"x\"]");
	CHECK_EQ(descriptors_read(dir, &a, back, &e), 0);
	CHECK_STREQ(back[0], "x");
	CHECK(!back[1]);
	put(dir, files[0], "[1, null, \"y\", \"z\"]");
	CHECK_EQ(descriptors_read(dir, &a, back, &e), 0);
	CHECK(!back[0] && !back[1]);
	CHECK_STREQ(back[2], "y");
	put(dir, files[0], "{}");
	CHECK(descriptors_read(dir, &a, back, &e) < 0);
	e = (struct err){0};
	put(dir, files[0], "[");
	CHECK(descriptors_read(dir, &a, back, &e) < 0);
	arena_done(&a);
	remove_dir(dir, files);
}

TEST(sizes_tell_what_is_missing_or_cut_off)
{
	static const char *const files[] = {"fsbox-oci.json", "core-1.img", "pages-1.img", "dump.log", NULL};
	struct err e = {0};
	int dir = new_dir();

	REQUIRE(dir >= 0);
	put(dir, "core-1.img", "core");
	put(dir, "pages-1.img", "pages");
	put(dir, "dump.log", "log");
	CHECK_EQ(sizes_check(dir, &e), 0); /* of another runtime */
	CHECK_EQ(sizes_write(dir, &e), 0);
	CHECK_EQ(sizes_check(dir, &e), 0);
	put(dir, "dump.log", ""); /* no image */
	CHECK_EQ(sizes_check(dir, &e), 0);
	put(dir, "pages-1.img", "page");
	CHECK(sizes_check(dir, &e) < 0);
	CHECK_EQ(e.kind, ERR_SNAPSHOT_MISMATCH);
	CHECK(strstr(e.msg, "pages-1.img") != NULL);
	e = (struct err){0};
	CHECK_EQ(unlinkat(dir, "pages-1.img", 0), 0);
	CHECK(sizes_check(dir, &e) < 0);
	e = (struct err){0};
	put(dir, "fsbox-oci.json", "{\"sizes\":{\"../x\":1}}");
	CHECK(sizes_check(dir, &e) < 0);
	e = (struct err){0};
	put(dir, "fsbox-oci.json", "[]");
	CHECK(sizes_check(dir, &e) < 0);
	e = (struct err){0};
	CHECK_EQ(sizes_forget(dir, &e), 0);
	CHECK_EQ(sizes_forget(dir, &e), 0);
	CHECK_EQ(sizes_check(dir, &e), 0);
	remove_dir(dir, files);
}

static int make_job(const struct oci_args *a, const struct ct_spec *s, struct criu_job *j, struct err *e)
{
	static const struct checkpoint_dirs d = {.images = "/i", .work = "/w", .fd = 5};

	*e = (struct err){0};
	return checkpoint_job(a, s, &d, j, e);
}

TEST(options_become_a_job)
{
	struct ct_pair annotation = {.key = CHECKPOINT_CONFIG_ANNOTATION, .value = "/etc/criu/own.conf"};
	struct ct_spec s = {.annotations = &annotation, .n_annotations = 1};
	struct oci_args a = {.tcp_established = true,
			     .file_locks = true,
			     .cgroups_mode = "soft",
			     .empty_ns = {.at = {"network"}, .n = 1},
			     .lsm_profile = "apparmor:x"};
	struct criu_job j;
	struct err e;

	REQUIRE(CHECK_EQ(make_job(&a, &s, &j, &e), 0));
	CHECK(j.tcp_established && j.file_locks && j.empty_net && !j.shell_job && !j.ext_unix_sockets);
	CHECK_STREQ(j.config, "/etc/criu/own.conf");
	CHECK_STREQ(j.lsm_profile, "apparmor:x");
	annotation.value = ""; /* none of the defaults either */
	REQUIRE(CHECK_EQ(make_job(&a, &s, &j, &e), 0));
	CHECK(!j.config);
	a.cgroups_mode = "sort";
	CHECK(make_job(&a, &s, &j, &e) < 0);
	a.cgroups_mode = NULL;
	a.empty_ns.at[0] = "pid";
	CHECK(make_job(&a, &s, &j, &e) < 0);
	a.empty_ns.n = 0;
	a.lsm_profile = "x";
	CHECK(make_job(&a, &s, &j, &e) < 0);
}
