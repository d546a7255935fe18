/* `fsbox check`: its JSON has the documented keys, it says the truth about what was taken away, and it leaves nothing. */
#include "json/json.h"

#include "base/fd.h"
#include "tests/lib/tap.h"
#include "tests/lib/world.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OTHER = 64321, CANNOT_PREPARE = 99 };

struct run {
	int status;
	char *out;
	size_t len;
	struct json_doc *doc;
};

static void run_done(struct run *r)
{
	free(r->out);
	json_doc_free(r->doc);
}

/* Runs `fsbox check @arg`; @prepare in the child first, non-zero when that is not possible here. */
static struct run check(const char *arg, int (*prepare)(void))
{
	const char *fsbox = secure_getenv("FSBOX");
	struct run r = {.status = -1};
	int p[2];
	pid_t pid;

	if (!CHECK_EQ(pipe2(p, O_CLOEXEC), 0))
		return r;
	pid = fork();
	if (pid == 0) {
		(void)dup2(p[1], STDOUT_FILENO);
		if (prepare && prepare() != 0)
			_exit(CANNOT_PREPARE);
		(void)execl(fsbox, "fsbox", "check", arg, (char *)NULL);
		_exit(127);
	}
	(void)close(p[1]);
	CHECK_EQ(fd_read_all(p[0], 1 << 20, &r.out, &r.len), 0);
	(void)close(p[0]);
	CHECK_EQ(waitpid(pid, &r.status, 0), pid);
	r.status = WIFEXITED(r.status) ? WEXITSTATUS(r.status) : -1;
	return r;
}

static struct run check_json(int (*prepare)(void))
{
	struct run r = check("--json", prepare);
	struct err e = {0};

	if (r.status != CANNOT_PREPARE && json_parse("check", r.out, r.len, 1 << 20, &r.doc, &e) < 0)
		FAIL("not JSON: %s: %s", e.where, e.msg);
	return r;
}

static const char *text_of(const struct json *v, const char *key)
{
	const struct json *m = v ? json_member(v, key) : NULL;

	return m && json_type_of(m) == JSON_STRING ? json_string_get(m, NULL) : NULL;
}

static const struct json *find_check(const struct run *r, const char *group, const char *name)
{
	const struct json *all = r->doc ? json_member(json_doc_root(r->doc), "checks") : NULL;

	for (size_t i = 0; all && i < json_length(all); i++)
		if (strcmp(text_of(json_at(all, i), "group"), group) == 0 &&
		    strcmp(text_of(json_at(all, i), "name"), name) == 0)
			return json_at(all, i);
	FAIL("no check '%s' of '%s'", name, group);
	return NULL;
}

static const char *root_text(const struct run *r, const char *key)
{
	return r->doc ? text_of(json_doc_root(r->doc), key) : NULL;
}

static const char *cannot(void)
{
	return !secure_getenv("FSBOX") ? "FSBOX is not set; tests/run.sh sets it"
	       : geteuid() != 0        ? "needs root"
				       : NULL;
}

#define SETUP()                              \
	do {                                 \
		const char *why_ = cannot(); \
		if (why_)                    \
			SKIP(why_);          \
	} while (0)

static bool one_of(const char *s, const char *const *words)
{
	for (; s && *words; words++)
		if (strcmp(s, *words) == 0)
			return true;
	return false;
}

/* What cmd_check.c's banner promises, of any output. */
static void check_form(const struct run *r)
{
	static const char *const states[] = {"yes", "no", "unknown", NULL};
	static const char *const needs[] = {"required", "limits", "optional", NULL};
	static const char *const runs[] = {"yes", "no-limits", "no", NULL};
	const struct json *all = r->doc ? json_member(json_doc_root(r->doc), "checks") : NULL;
	const char *run = root_text(r, "run");
	bool yes = run && strcmp(run, "yes") == 0;

	CHECK(root_text(r, "version") && root_text(r, "kernel") && root_text(r, "machine") && root_text(r, "user"));
	CHECK(one_of(run, runs));
	CHECK_EQ(r->status, yes ? 0 : 1);
	CHECK_EQ(root_text(r, "reason") != NULL, !yes);
	CHECK_GT(all ? json_length(all) : 0, 30);
	for (size_t i = 0; all && i < json_length(all); i++) {
		const struct json *c = json_at(all, i);
		const char *need = text_of(c, "need"), *name = text_of(c, "name");

		CHECK(text_of(c, "group") && name && text_of(c, "usedFor") && one_of(text_of(c, "state"), states));
		CHECK(one_of(need, needs));
		CHECK_EQ(text_of(c, "without") != NULL, need && strcmp(need, "optional") == 0);
		/* What is missing comes with a way out, or with the reason why it was not tried. */
		if (strcmp(text_of(c, "state"), "no") == 0 && !text_of(c, "remedy") && !text_of(c, "detail"))
			FAIL("'%s' is missing, and that is all", name);
		if (yes && strcmp(need, "optional") != 0)
			CHECK_STREQ(text_of(c, "state"), "yes");
	}
}

TEST(root_can_run_cells_and_every_key_is_there)
{
	struct run r;

	SETUP();
	r = check_json(NULL);
	check_form(&r);
	CHECK_STREQ(root_text(&r, "run"), "yes");
	CHECK_STREQ(text_of(find_check(&r, "host", "cell"), "state"), "yes");
	CHECK_STREQ(text_of(find_check(&r, "cgroups", "memory"), "state"), "yes");
	CHECK(json_member(json_doc_root(r.doc), "cellMs"));
	run_done(&r);
}

TEST(the_text_has_a_line_for_each_and_a_last_word)
{
	struct run json, text;
	const struct json *all;

	SETUP();
	json = check_json(NULL);
	text = check(NULL, NULL);
	all = json.doc ? json_member(json_doc_root(json.doc), "checks") : NULL;
	CHECK_EQ(text.status, 0);
	for (size_t i = 0; all && i < json_length(all); i++) {
		CHECK_CONTAINS(text.out, text_of(json_at(all, i), "name"));
		CHECK_CONTAINS(text.out, text_of(json_at(all, i), "usedFor"));
	}
	CHECK_CONTAINS(text.out, "\nfsbox run works here.\n");
	run_done(&json);
	run_done(&text);
}

TEST(nothing_is_left_behind)
{
	struct world before;
	struct run r;

	SETUP();
	r = check_json(NULL); /* the state directory and the parent of cells' groups stay, as after any start */
	run_done(&r);
	before = world_look();
	r = check_json(NULL);
	CHECK_SAME_WORLD(&before);
	run_done(&r);
	world_done(&before);
}

/* ---- Less privilege, and things taken away ---- */

static char own_dir[64];

static int become_other(void)
{
	const char *fsbox = secure_getenv("FSBOX");

	if (setgroups(0, NULL) < 0 || setresgid(OTHER, OTHER, OTHER) < 0 || setresuid(OTHER, OTHER, OTHER) < 0)
		return 1;
	return setenv("XDG_RUNTIME_DIR", own_dir, 1) != 0 || access(fsbox, X_OK) < 0;
}

TEST(an_ordinary_user_hears_what_is_missing)
{
	struct run r;

	SETUP();
	(void)snprintf(own_dir, sizeof own_dir, "/tmp/fsbox-test-check.XXXXXX");
	REQUIRE(mkdtemp(own_dir) && chown(own_dir, OTHER, OTHER) == 0);
	r = check_json(become_other);
	if (r.status == CANNOT_PREPARE) {
		(void)rmdir(own_dir);
		SKIP("another user cannot reach the program");
	}
	check_form(&r);
	CHECK_STREQ(root_text(&r, "user"), "user");
	CHECK_STREQ(text_of(find_check(&r, "host", "range of ids"), "state"), "no");
	if (root_text(&r, "run") && strcmp(root_text(&r, "run"), "no-limits") == 0) {
		CHECK_STREQ(text_of(find_check(&r, "cgroups", "parent"), "state"), "no");
		CHECK(text_of(find_check(&r, "cgroups", "parent"), "remedy"));
	}
	run_done(&r);

	char *const rm[] = {(char[]){"rm"}, (char[]){"-rf"}, own_dir, NULL};
	pid_t pid = fork();
	if (pid == 0)
		(void)execvp("rm", rm);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

/* A user namespace inside which no network namespace may be made. */
static int without_net(void)
{
	/* An id that has no name in it may make no user namespace below (user_namespaces(7)). */
	if (unshare(CLONE_NEWUSER) < 0 || fd_write_file_at(AT_FDCWD, "/proc/self/setgroups", "deny", 4) != 0 ||
	    fd_write_file_at(AT_FDCWD, "/proc/self/uid_map", "0 0 1", 5) != 0 ||
	    fd_write_file_at(AT_FDCWD, "/proc/self/gid_map", "0 0 1", 5) != 0)
		return 1;
	return fd_write_file_at(AT_FDCWD, "/proc/sys/user/max_net_namespaces", "0", 1) != 0;
}

TEST(a_kind_of_namespace_that_is_used_up_is_named)
{
	const struct json *net;
	struct run r;

	SETUP();
	r = check_json(without_net);
	if (r.status == CANNOT_PREPARE)
		SKIP("cannot make a user namespace");
	check_form(&r);
	net = find_check(&r, "namespaces", "net");
	CHECK_STREQ(text_of(net, "state"), "no");
	CHECK_CONTAINS(text_of(net, "remedy"), "user.max_net_namespaces");
	CHECK_STREQ(text_of(find_check(&r, "namespaces", "ipc"), "state"), "yes");
	CHECK_STREQ(root_text(&r, "run"), "no");
	run_done(&r);
}

/* As containers do it: part of /proc is covered, so no new /proc may show it. */
static int masked_proc(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	return mount("tmpfs", "/proc/sys", "tmpfs", MS_RDONLY, "size=4k") != 0;
}

TEST(a_masked_proc_is_named)
{
	struct run r;

	SETUP();
	r = check_json(masked_proc);
	if (r.status == CANNOT_PREPARE)
		SKIP("cannot mount");
	check_form(&r);
	CHECK_STREQ(text_of(find_check(&r, "kernel", "proc"), "state"), "no");
	CHECK_STREQ(text_of(find_check(&r, "kernel", "mount API"), "state"), "yes");
	CHECK_STREQ(root_text(&r, "run"), "no");
	run_done(&r);
}

TEST(bad_usage_is_2)
{
	struct run r;

	if (!secure_getenv("FSBOX"))
		SKIP("FSBOX is not set; tests/run.sh sets it");
	r = check("operand", NULL);
	CHECK_EQ(r.status, 2);
	CHECK_EQ(r.len, 0);
	run_done(&r);
	r = check("--nonsense", NULL);
	CHECK_EQ(r.status, 2);
	run_done(&r);
}
