/* Classes of resctrl, on a directory that looks like one: what is written, compared, refused, taken back. */
#include "tests/lib/tap.h"

#include "base/fd.h"
#include "base/removal.h"
#include "cgroup/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char root[] = "/tmp/fsbox-resctrl-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[200];

	(void)snprintf(path, sizeof path, "%s/%s", root, name);

	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
	fd_closep(&fd);
}

static const char *get(const char *name)
{
	static char text[500];
	char path[200];

	(void)snprintf(path, sizeof path, "%s/%s", root, name);
	return fd_read_file_at(AT_FDCWD, path, text, sizeof text) < 0 ? "(unreadable)" : text;
}

static void make_dir(const char *name)
{
	char path[200];

	(void)snprintf(path, sizeof path, "%s/%s", root, name);
	CHECK_EQ(mkdir(path, 0700), 0);
}

static void begin(void)
{
	CHECK(mkdtemp(root));
	make_dir("gold");
	make_dir("gold/mon_groups");
	put("gold/tasks", "");
	put("gold/schemata", "    L3:0=000ff;1=fffff\n    MB:0=100;1= 50\n");
	put("tasks", "");
}

static void end(void)
{
	CHECK_EQ(tree_remove(AT_FDCWD, root), 0);
	memcpy(root + sizeof root - 7, "XXXXXX", 6);
}

TEST(a_class_that_exists_takes_the_process_when_its_schemata_are_those)
{
	static const char *more[] = {"L3:1=fffff", NULL};
	struct ct_rdt r = {.given = true, .clos = "gold"};
	struct err e = {0};

	begin();
	CHECK_OK(cg_resctrl_make(root, &r, "id", 77, &e), &e);
	CHECK_STREQ(get("gold/tasks"), "77");
	r.l3 = "L3:0=ff;1=fffff\nMB:0=7"; /* whose MB gives way to memBwSchema */
	r.memory = "MB:0=100";
	r.schemata = more;
	CHECK_OK(cg_resctrl_make(root, &r, "id", 78, &e), &e);
	CHECK_STREQ(get("gold/tasks"), "78");
	r.memory = "MB:0=10";
	CHECK_LT(cg_resctrl_make(root, &r, "id", 79, &e), 0);
	CHECK_EQ(e.kind, ERR_EXISTS);
	CHECK_CONTAINS(e.msg, "MB:0=10");
	CHECK_STREQ(get("gold/tasks"), "78");
	CHECK_STREQ(get("gold/schemata"), "    L3:0=000ff;1=fffff\n    MB:0=100;1= 50");
	CHECK_OK(cg_resctrl_remove(root, &r, "id", &(struct err){0}), &e);
	CHECK_STRNE(get("gold/tasks"), "(unreadable)");
	end();
}

TEST(a_class_without_schemata_has_to_be_there)
{
	const struct ct_rdt none = {.given = true, .clos = "silver"}, top = {.given = true, .clos = "/"};
	struct err e = {0};
	struct stat st;
	char path[200];

	begin();
	CHECK_LT(cg_resctrl_make(root, &none, "id", 77, &e), 0);
	CHECK_EQ(e.kind, ERR_NOT_FOUND);
	(void)snprintf(path, sizeof path, "%s/silver", root);
	CHECK_LT(stat(path, &st), 0);
	e = (struct err){0};
	CHECK_OK(cg_resctrl_make(root, &top, "id", 5, &e), &e);
	CHECK_STREQ(get("tasks"), "5");
	end();
}

/* A directory has no files of its own here, so the write fails, as it does on a machine that has no class left. */
TEST(what_was_made_is_taken_back)
{
	const struct ct_rdt own = {.given = true, .l3 = "L3:0=f"},
			    named = {.given = true, .clos = "new", .l3 = "L3:0=f"};
	struct err e = {0};
	struct stat st;
	char path[200];

	begin();
	CHECK_LT(cg_resctrl_make(root, &own, "id", 77, &e), 0);
	CHECK_CONTAINS(e.msg, "schemata of class 'id'");
	(void)snprintf(path, sizeof path, "%s/id", root);
	CHECK_LT(stat(path, &st), 0);
	e = (struct err){0};
	CHECK_LT(cg_resctrl_make(root, &named, "id", 77, &e), 0);
	(void)snprintf(path, sizeof path, "%s/new", root);
	CHECK_LT(stat(path, &st), 0);
	end();
}

TEST(a_monitoring_group_of_a_shared_class)
{
	const struct ct_rdt r = {.given = true, .clos = "gold", .monitoring = true};
	const struct ct_rdt change = {.l3 = "L3:0=1", .memory = "MB:0=20"};
	struct err e = {0};
	struct stat st;
	char path[200];

	begin();
	make_dir("gold/mon_groups/id");
	put("gold/mon_groups/id/tasks", "");
	CHECK_OK(cg_resctrl_make(root, &r, "id", 77, &e), &e);
	CHECK_STREQ(get("gold/mon_groups/id/tasks"), "77");
	CHECK_OK(cg_resctrl_enter(root, &r, "id", 78, &e), &e);
	CHECK_STREQ(get("gold/mon_groups/id/tasks"), "78");
	put("gold/schemata", "");
	CHECK_OK(cg_resctrl_update(root, &r, "id", &change, &e), &e);
	CHECK_STREQ(get("gold/schemata"), "L3:0=1\nMB:0=20");
	(void)snprintf(path, sizeof path, "%s/gold/mon_groups/id/tasks", root);
	CHECK_EQ(unlink(path), 0);
	CHECK_OK(cg_resctrl_remove(root, &r, "id", &e), &e);
	(void)snprintf(path, sizeof path, "%s/gold/mon_groups/id", root);
	CHECK_LT(stat(path, &st), 0);
	CHECK_OK(cg_resctrl_remove(root, &r, "id", &e), &e);
	end();
}
