/* spec/plan: from what was asked for to every path, id, mount and byte. No system call, so every host can be imagined. */
#include "tests/lib/tap.h"

#include "base/str.h"
#include "spec/plan.h"

#include <errno.h>
#include <linux/mount.h>
#include <linux/sched.h>

#define ID "0123456789ab"

static struct host_facts root_host(void)
{
	struct host_facts f = {
		.privileged = true,
		.range_base = 0x70000000,
		.state_dir = "/run/fsbox",
		.runtime_dir = "/usr/libexec/fsbox",
		.dev_dir = "/run/fsbox/dev",
		.target_path = "/home/ada/handler.so",
		.target_source = "/proc/self/fd/9",
		.files_stamp = 7,
		.n_userland = 3,
	};

	f.userland[0].name = "bin";
	f.userland[0].link = "usr/bin";
	f.userland[1].name = "lib";
	f.userland[1].link = "usr/lib";
	f.userland[2].name = "lib64"; /* a host that is not merged here */
	return f;
}

static struct host_facts user_host(void)
{
	struct host_facts f = root_host();

	f.privileged = false;
	f.euid = 1000;
	f.egid = 1001;
	f.dev_dir = NULL;
	f.state_dir = "/run/user/1000/fsbox";
	return f;
}

static struct cell_spec spec_of(void)
{
	struct cell_spec s;

	spec_init(&s);
	s.target = "handler.so";
	return s;
}

#define PLAN(name) AUTO(plan_freep) struct cell_plan *name = NULL

static bool make(const struct cell_spec *s, const struct host_facts *f, struct cell_plan **ret)
{
	struct err e = {0};

	return CHECK_OK(plan_make(s, f, ID, ret, &e), &e);
}

static const struct plan_mount *mount_at(const struct cell_plan *p, const char *target)
{
	for (size_t i = 0; i < p->n_mounts; i++)
		if (strcmp(p->mounts[i].target, target) == 0)
			return &p->mounts[i];
	return NULL;
}

static const struct skel_entry *skel_at(const struct cell_plan *p, const char *path)
{
	for (size_t i = 0; i < p->n_skel; i++)
		if (strcmp(p->skel[i].path, path) == 0)
			return &p->skel[i];
	return NULL;
}

static const char *env_of(const struct cell_plan *p, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < p->n_env; i++)
		if (strncmp(p->envp[i], key, len) == 0 && p->envp[i][len] == '=')
			return p->envp[i] + len + 1;
	return NULL;
}

/* ---- ids and namespaces ---- */

TEST(a_privileged_host_maps_a_range_and_an_ordinary_user_his_own_id)
{
	struct cell_spec s = spec_of();
	struct host_facts root = root_host(), user = user_host();
	PLAN(p);
	PLAN(q);

	REQUIRE(make(&s, &root, &p) && make(&s, &user, &q));
	CHECK(p->privileged && !q->privileged);
	CHECK_EQ(p->uid_outside, 0x70000000);
	CHECK_EQ(p->gid_outside, 0x70000000);
	CHECK_EQ(p->map_inside, 0);
	CHECK_EQ(p->map_count, CELL_ID_RANGE);
	CHECK_EQ(q->uid_outside, 1000);
	CHECK_EQ(q->gid_outside, 1001);
	CHECK_EQ(q->map_inside, CELL_UID);
	CHECK_EQ(q->map_count, 1);
}

TEST(the_network_namespace_is_shared_only_with_net_host)
{
	static const struct {
		enum spec_net net;
		bool own, up;
	} cases[] = {{SPEC_NET_LOOPBACK, true, true}, {SPEC_NET_NONE, true, false}, {SPEC_NET_HOST, false, false}};
	struct host_facts f = root_host();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cell_spec s = spec_of();
		PLAN(p);

		s.net = cases[i].net;
		REQUIRE(make(&s, &f, &p));
		CHECK_EQ(!!(p->ns_flags & CLONE_NEWNET), cases[i].own);
		CHECK_EQ(p->lo_up, cases[i].up);
		CHECK_EQ(p->ns_flags & (CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS),
			 CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS);
		CHECK_EQ(skel_at(p, "etc/resolv.conf")->kind, cases[i].own ? SKEL_TEXT : SKEL_COPY);
	}
}

/* ---- the root ---- */

/* Does a path of the skeleton stand at @target, or does a mount before @before cover its beginning? */
static bool exists_for(const struct cell_plan *p, const char *target, size_t before)
{
	const struct skel_entry *e = skel_at(p, target);

	if (e && e->kind != SKEL_LINK)
		return true;
	for (size_t i = 1; i < before; i++) {
		size_t len = strlen(p->mounts[i].target);

		if (strncmp(p->mounts[i].target, target, len) == 0 && target[len] == '/')
			return true;
	}
	return false;
}

/* What holds for every plan. */
static void check_plan(const struct cell_plan *p)
{
	CHECK_EQ(p->mounts[0].target[0], '\0');
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct plan_mount *m = &p->mounts[i];
		/* /run becomes read-only when its files are there */
		bool scratch = strcmp(m->target, "tmp") == 0 || m->kind == MOUNT_OWN;
		bool device = strncmp(m->target, "dev", 3) == 0 || (m->source && strcmp(m->source, "/dev/null") == 0);

		if (!CHECK(m->set & MOUNT_ATTR_NOSUID))
			tap_note("'%s' may hold set-user-id programs", m->target);
		if (!scratch && !CHECK(m->set & MOUNT_ATTR_RDONLY))
			tap_note("'%s' is writable", m->target);
		if (!device && !CHECK(m->set & MOUNT_ATTR_NODEV))
			tap_note("'%s' may hold devices", m->target);
		CHECK_NE(m->target[0], '/');
		if (m->kind == MOUNT_TREE)
			CHECK(m->source && m->source[0] == '/');
		if (m->kind == MOUNT_OVERLAY)
			CHECK(m->lower[0] && m->lower[1]);
		if (i > 0 && !m->optional && !CHECK(exists_for(p, m->target, i)))
			tap_note("nothing to mount '%s' on", m->target);
		for (size_t k = 0; k < i; k++) /* nothing covers what came before it */
			if (!CHECK(i == k || strncmp(p->mounts[k].target, m->target, strlen(m->target) + 1) != 0))
				tap_note("'%s' twice", m->target);
	}
	for (size_t i = 0; i < p->n_skel; i++) {
		const struct skel_entry *e = &p->skel[i];
		const char *slash = strrchr(e->path, '/');

		CHECK_NE(e->path[0], '/');
		CHECK(!strstr(e->path, ".."));
		CHECK_EQ(e->kind == SKEL_DIR, e->text == NULL);
		if (e->kind == SKEL_COPY)
			CHECK_EQ(e->text[0], '/');
		for (size_t k = 0; k < i; k++)
			CHECK_STRNE(p->skel[k].path, e->path);
		if (slash && strncmp(e->path, "dev/", 4) != 0) { /* the parent stands before the child */
			bool found = false;

			for (size_t k = 0; k < i; k++)
				found |= strlen(p->skel[k].path) == (size_t)(slash - e->path) &&
					 strncmp(p->skel[k].path, e->path, (size_t)(slash - e->path)) == 0;
			if (!CHECK(found))
				tap_note("'%s' has no parent", e->path);
		}
	}
	for (size_t i = 0; i < p->n_env; i++)
		for (size_t k = 0; k < i; k++) {
			size_t key = (size_t)(strchr(p->envp[i], '=') - p->envp[i]) + 1;

			if (!CHECK(strncmp(p->envp[i], p->envp[k], key) != 0))
				tap_note("%s twice", p->envp[i]);
		}
	CHECK(!p->envp[p->n_env]);
	CHECK_STREQ(p->argv[0], "/var/runtime/init");
	CHECK_STREQ(p->argv[1], "/var/runtime/native");
	CHECK(str_starts(p->argv[2], "/var/task/"));
	CHECK(!p->argv[3]);
	CHECK_STREQ(p->cwd, "/var/task");
	CHECK_STREQ(p->id, ID);
}

TEST(every_plan_is_read_only_nosuid_and_nodev_and_finds_its_mount_points)
{
	for (unsigned bits = 0; bits < 256; bits++) {
		struct host_facts f = bits & 1 ? root_host() : user_host();
		struct cell_spec s = spec_of();
		PLAN(p);

		s.net = bits & 2 ? SPEC_NET_HOST : SPEC_NET_LOOPBACK;
		s.rootfs = bits & 4 ? "/srv/rootfs" : NULL;
		for (unsigned i = 0; i < (bits >> 3 & 3) * 5 / 3; i++) /* 0, 1, 3, 5 */
			s.layers[s.n_layers++] = "/srv/layer";
		if (bits & 32)
			f.tmp_source = "/srv/tmp/fsbox-" ID;
		if (bits & 64)
			f.dev_dir = f.dev_dir ? NULL : "/x/dev";
		if (bits & 128)
			f.n_userland = 0;
		REQUIRE(make(&s, &f, &p));
		check_plan(p);
	}
}

TEST(the_hosts_userland_is_used_unless_there_is_a_rootfs)
{
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	PLAN(p);
	PLAN(q);

	REQUIRE(make(&s, &f, &p));
	CHECK_STREQ(mount_at(p, "usr")->source, "/usr");
	CHECK_EQ(skel_at(p, "bin")->kind, SKEL_LINK);
	CHECK_STREQ(skel_at(p, "bin")->text, "usr/bin");
	CHECK_EQ(skel_at(p, "lib64")->kind, SKEL_DIR);
	CHECK_STREQ(mount_at(p, "lib64")->source, "/lib64");
	CHECK(skel_at(p, "etc/ld.so.cache") != NULL);
	CHECK_EQ(p->mounts[0].kind, MOUNT_TREE);

	s.rootfs = "/srv/ro:o,t\\";
	REQUIRE(make(&s, &f, &q));
	CHECK(!mount_at(q, "usr"));
	CHECK(!mount_at(q, "lib64"));
	CHECK(!skel_at(q, "bin"));
	CHECK(!skel_at(q, "etc/ld.so.cache"));
	CHECK_EQ(q->mounts[0].kind, MOUNT_OVERLAY);
	/* ours on top of theirs, so that our mount points win */
	CHECK(str_starts(q->mounts[0].lower[0], "/run/fsbox/root-"));
	CHECK_STREQ(q->mounts[0].lower[1], s.rootfs);
	CHECK(!q->mounts[0].lower[2]);
}

TEST(one_layer_is_bound_and_several_are_merged_with_the_last_on_top)
{
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	PLAN(none);
	PLAN(one);
	PLAN(many);

	REQUIRE(make(&s, &f, &none));
	CHECK(!mount_at(none, "opt"));
	CHECK(!env_of(none, "LD_LIBRARY_PATH"));
	s.layers[s.n_layers++] = "/l/a";
	REQUIRE(make(&s, &f, &one));
	CHECK_EQ(mount_at(one, "opt")->kind, MOUNT_TREE);
	CHECK_STREQ(mount_at(one, "opt")->source, "/l/a");
	CHECK_STREQ(env_of(one, "LD_LIBRARY_PATH"), "/opt/lib");
	s.layers[s.n_layers++] = "/l/b:c";
	s.layers[s.n_layers++] = "/l/d";
	REQUIRE(make(&s, &f, &many));
	CHECK_EQ(mount_at(many, "opt")->kind, MOUNT_OVERLAY);
	CHECK_STREQ(mount_at(many, "opt")->lower[0], "/l/d");
	CHECK_STREQ(mount_at(many, "opt")->lower[1], "/l/b:c");
	CHECK_STREQ(mount_at(many, "opt")->lower[2], "/l/a");
	CHECK(!mount_at(many, "opt")->lower[3]);
}

TEST(tmp_is_sized_memory_or_a_directory_with_a_quota)
{
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	PLAN(p);
	PLAN(q);

	s.tmp_bytes = 16 << 20;
	REQUIRE(make(&s, &f, &p));
	CHECK_EQ(mount_at(p, "tmp")->kind, MOUNT_TMPFS);
	CHECK_EQ(mount_at(p, "tmp")->size, 16 << 20);
	CHECK(!(mount_at(p, "tmp")->set & MOUNT_ATTR_RDONLY));
	f.tmp_source = "/srv/tmp/fsbox-x";
	REQUIRE(make(&s, &f, &q));
	CHECK_EQ(mount_at(q, "tmp")->kind, MOUNT_TREE);
	CHECK_STREQ(mount_at(q, "tmp")->source, "/srv/tmp/fsbox-x");
}

TEST(proc_comes_before_its_masks_and_only_they_are_optional)
{
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	bool seen = false, masks = false;
	PLAN(p);

	REQUIRE(make(&s, &f, &p));
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct plan_mount *m = &p->mounts[i];

		if (m->kind == MOUNT_PROC)
			seen = true;
		if (m->optional) {
			masks = true;
			CHECK(seen);
			CHECK(str_starts(m->target, "proc/"));
		}
	}
	CHECK(masks);
	CHECK(mount_at(p, "proc/sysrq-trigger") && mount_at(p, "proc/kcore") && mount_at(p, "proc/keys"));
	CHECK(mount_at(p, "proc")->set & MOUNT_ATTR_NOEXEC);
}

static const struct plan_mount *find_mount(const struct cell_plan *p, const char *target)
{
	for (size_t i = 0; i < p->n_mounts; i++)
		if (strcmp(p->mounts[i].target, target) == 0)
			return &p->mounts[i];
	return NULL;
}

TEST(run_is_the_cells_own_only_where_something_stands_in_it)
{
	struct host_facts f = root_host();
	struct cell_spec s = spec_of();
	PLAN(plain);
	PLAN(secret);

	REQUIRE(make(&s, &f, &plain));
	CHECK(!plain->has_run && !find_mount(plain, "run"));
	s.secrets[0].name = "token";
	s.n_secrets = f.n_secrets = 1;
	f.secrets[0].name = "token";
	f.secrets[0].data = "a\0b";
	f.secrets[0].len = 3;
	REQUIRE(make(&s, &f, &secret));
	CHECK(secret->has_run && find_mount(secret, "run"));
	REQUIRE(CHECK_EQ(secret->n_files, 1));
	CHECK_STREQ(secret->files[0].path, "run/secrets/token");
	CHECK_EQ(secret->files[0].len, 3);
	CHECK_EQ(secret->files[0].mode, 0400);
	CHECK(secret->files[0].owned && memcmp(secret->files[0].data, "a\0b", 3) == 0);
	CHECK_GE(find_mount(secret, "run")->size, 3);
}

TEST(what_is_published_and_what_is_restored_differ_where_they_must)
{
	struct host_facts f = root_host();
	struct cell_spec s = spec_of();
	PLAN(published);
	PLAN(restored);

	f.generation = "00112233445566ff\n";
	f.role = PLAN_PUBLISHED;
	REQUIRE(make(&s, &f, &published));
	check_plan(published);
	for (size_t i = 0; i < published->n_env; i++)
		CHECK(!str_starts(published->envp[i], "AWS_LAMBDA_LOG_STREAM_NAME="));
	CHECK(!find_mount(published, "run/criu"));

	f.role = PLAN_RESTORED;
	f.engine_dir = "/usr/libexec/fsbox/criu";
	f.images_dir = "/var/lib/fsbox/snapshots/x/img";
	REQUIRE(make(&s, &f, &restored));
	CHECK_STREQ(restored->argv[1], "--adopt");
	CHECK_STREQ(restored->argv[2], "2");
	CHECK(!(find_mount(restored, "proc")->set & MOUNT_ATTR_RDONLY));
	CHECK(find_mount(published, "proc")->set & MOUNT_ATTR_RDONLY);
	CHECK_STREQ(find_mount(restored, "run/criu/engine")->source, "/usr/libexec/fsbox/criu");
	CHECK_STREQ(find_mount(restored, "run/criu/images")->source, "/var/lib/fsbox/snapshots/x/img");
	CHECK(find_mount(restored, "run/criu/images")->set & MOUNT_ATTR_RDONLY);
	for (size_t i = 0; i < restored->n_files; i++)
		CHECK_STREQ(restored->files[i].path, "run/fsbox/generation");
	CHECK_STREQ(restored->skel_name, published->skel_name);
}

TEST(devices_are_prepared_nodes_or_the_hosts_own_one_by_one)
{
	struct cell_spec s = spec_of();
	struct host_facts root = root_host(), user = user_host();
	PLAN(p);
	PLAN(q);

	REQUIRE(make(&s, &root, &p) && make(&s, &user, &q));
	CHECK_STREQ(mount_at(p, "dev")->source, "/run/fsbox/dev");
	CHECK(mount_at(p, "dev")->clear & MOUNT_ATTR_NODEV);
	CHECK(mount_at(p, "dev")->set & MOUNT_ATTR_NOEXEC);
	CHECK(!skel_at(p, "dev/null"));
	CHECK(!mount_at(q, "dev"));
	CHECK_STREQ(mount_at(q, "dev/urandom")->source, "/dev/urandom");
	CHECK_EQ(skel_at(q, "dev/urandom")->kind, SKEL_TEXT);
	CHECK(!mount_at(q, "dev/mem") && !mount_at(q, "dev/kmsg") && !mount_at(q, "dev/ptmx"));
}

/* ---- environment ---- */

TEST(the_functions_variables_win_over_the_defaults_and_nothing_of_ours_is_taken_along)
{
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	PLAN(p);

	s.env[s.n_env++] = "PATH=/own";
	s.env[s.n_env++] = "EMPTY=";
	s.env[s.n_env++] = "PATHS=/not-the-same";
	s.memory_bytes = UINT64_C(1769) << 20;
	s.name = "n";
	REQUIRE(make(&s, &f, &p));
	CHECK_STREQ(env_of(p, "PATH"), "/own");
	CHECK_STREQ(env_of(p, "EMPTY"), "");
	CHECK_STREQ(env_of(p, "HOME"), "/tmp");
	CHECK_STREQ(env_of(p, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), "1769");
	CHECK_STREQ(env_of(p, "AWS_LAMBDA_FUNCTION_NAME"), "n");
	CHECK_STREQ(env_of(p, "AWS_LAMBDA_LOG_STREAM_NAME"), "[$LATEST]" ID);
	CHECK_STREQ(env_of(p, "_HANDLER"), "handler.so");
	CHECK(!env_of(p, "USER") && !env_of(p, "LD_PRELOAD") && !env_of(p, "PWD"));
}

TEST(the_most_variables_that_a_spec_may_have_fit)
{
	static char pairs[SPEC_MAX_ENV][8];
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	PLAN(p);

	for (size_t i = 0; i < SPEC_MAX_ENV; i++) {
		(void)snprintf(pairs[i], sizeof pairs[i], "V%zu=", i);
		s.env[s.n_env++] = pairs[i];
	}
	s.layers[s.n_layers++] = "/l";
	REQUIRE(make(&s, &f, &p));
	CHECK_STREQ(env_of(p, "V511"), "");
	check_plan(p);
}

TEST(no_core_dumps_and_lambdas_number_of_descriptors)
{
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	PLAN(p);

	REQUIRE(make(&s, &f, &p));
	for (size_t i = 0; i < p->n_rlimits; i++) {
		if (p->rlimits[i].resource == RLIMIT_CORE)
			CHECK_EQ(p->rlimits[i].value, 0);
		if (p->rlimits[i].resource == RLIMIT_NOFILE)
			CHECK_EQ(p->rlimits[i].value, 1024);
	}
	CHECK_GE(p->n_rlimits, 2);
}

/* ---- the skeleton's name ---- */

static const char *skeleton_of(const struct cell_spec *s, const struct host_facts *f, char *buf, size_t size)
{
	PLAN(p);

	buf[0] = '\0';
	if (make(s, f, &p))
		(void)snprintf(buf, size, "%s", p->skel_name);
	return buf;
}

TEST(equal_roots_have_one_name_and_different_ones_have_two)
{
	struct cell_spec s = spec_of(), other = spec_of();
	struct host_facts f = root_host(), g = root_host();
	char a[80], b[80];

	other.memory_bytes = 1 << 30; /* not part of the root */
	other.timeout_ns = 1;
	other.policy = "strict";
	CHECK_STREQ(skeleton_of(&s, &f, a, sizeof a), skeleton_of(&other, &g, b, sizeof b));
	g.files_stamp = 8; /* a copied file of the host has changed */
	CHECK_STRNE(skeleton_of(&s, &f, a, sizeof a), skeleton_of(&s, &g, b, sizeof b));
	g = root_host();
	g.dev_dir = NULL;
	CHECK_STRNE(skeleton_of(&s, &f, a, sizeof a), skeleton_of(&s, &g, b, sizeof b));
	g = root_host();
	g.userland[1].link = NULL;
	CHECK_STRNE(skeleton_of(&s, &f, a, sizeof a), skeleton_of(&s, &g, b, sizeof b));
	other = spec_of();
	other.net = SPEC_NET_HOST;
	CHECK_STRNE(skeleton_of(&s, &f, a, sizeof a), skeleton_of(&other, &f, b, sizeof b));
	CHECK(!strchr(a, '/'));
}

TEST(the_function_keeps_its_own_file_name_inside)
{
	struct cell_spec s = spec_of();
	struct host_facts f = root_host();
	PLAN(p);

	f.target_path = "/a b/\xc3\xa4 :,\\.so";
	REQUIRE(make(&s, &f, &p));
	CHECK_STREQ(p->argv[2], "/var/task/\xc3\xa4 :,\\.so");
	CHECK_STREQ(env_of(p, "_HANDLER"), "\xc3\xa4 :,\\.so");
}
