/* The daemon's policy: who matches what, what holds without a file, what is refused and where it says so. */
#include "base/fd.h"
#include "base/str.h"
#include "confine/confine.h"
#include "daemon/peers.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool is_method(const char *name)
{
	return strcmp(name, "Invoke") == 0 || strcmp(name, "Describe") == 0 || strcmp(name, "List") == 0;
}

static const struct peers_budget budget = {
	.memory_bytes = UINT64_C(1000) << 20,
	.max_cells = 100,
	.max_queued = 1000,
	.max_functions = 51,
	.max_execs = 32,
	.own_uid = 950,
	.is_method = is_method,
};

static int read_text(struct peers *p, const char *text, struct err *e)
{
	return peers_read(p, "p", text, strlen(text), &budget, e);
}

/* Refused at this place, with these words; what was there stays. */
static void check_refused(const char *text, const char *where, const char *words)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0}, first = {0};

	REQUIRE_OK(read_text(&p, "{\"rules\": [{\"uid\": 7, \"maxCells\": 3}]}", &first), &first);
	if (!CHECK_LT(read_text(&p, text, &e), 0))
		tap_note("  taken: %s", text);
	CHECK_EQ(e.kind, ERR_SPEC);
	CHECK_STREQ(e.where, where);
	CHECK_CONTAINS(e.msg, words);
	CHECK_EQ(p.generation, 1);
	CHECK_EQ(peers_find(&p, 7, 7, NULL, 0)->max_cells, 3);
}

/* ---- Without a file ---- */

TEST(without_a_file_root_and_the_own_user_may_do_everything)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};
	const uid_t uids[] = {0, 950};

	REQUIRE_OK(peers_load(&p, NULL, &budget, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(uids); i++) {
		const struct rights *r = peers_find(&p, uids[i], 5, NULL, 0);

		CHECK(r->admin);
		CHECK_STREQ(r->rule, "default (admin)");
		CHECK_EQ(r->max_cells, 100);
		CHECK_EQ(r->max_queued, 1000);
		CHECK_EQ(r->max_functions, 51);
		CHECK_EQ(r->max_execs, 32);
		CHECK_EQ(r->memory_bytes, UINT64_C(1000) << 20);
		CHECK(rights_method(r, "Invoke") && rights_method(r, "org.fsbox.Sandbox.Kill"));
		CHECK(rights_root(r, "/any/where") && rights_root(r, "/"));
		CHECK(rights_policy(r, "none") && rights_policy(r, "/etc/some.json"));
		CHECK(rights_net(r, SPEC_NET_HOST) && rights_net(r, SPEC_NET_NONE) && rights_net(r, SPEC_NET_LOOPBACK));
	}
}

TEST(without_a_file_others_have_half_and_no_net_of_the_host)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(peers_load(&p, NULL, &budget, &e), &e);

	const gid_t root = 0; /* root's group is not root */
	const struct rights *r = peers_find(&p, 1000, 0, &root, 1);

	CHECK(!r->admin);
	CHECK_STREQ(r->rule, "default");
	CHECK_EQ(r->max_cells, 50);
	CHECK_EQ(r->max_queued, 500);
	CHECK_EQ(r->max_functions, 26);
	CHECK_EQ(r->memory_bytes, UINT64_C(500) << 20);
	CHECK(rights_method(r, "Kill"));
	CHECK(rights_root(r, "/any/where"));
	CHECK(rights_net(r, SPEC_NET_NONE) && rights_net(r, SPEC_NET_LOOPBACK) && !rights_net(r, SPEC_NET_HOST));
	CHECK(rights_policy(r, "default") && rights_policy(r, "strict") && rights_policy(r, "python"));
	CHECK(rights_policy(r, "node") && rights_policy(r, "custom"));
	CHECK(!rights_policy(r, "none") && !rights_policy(r, "/tmp/mine.json") && !rights_policy(r, ""));
}

TEST(without_a_file_every_built_in_policy_but_none_is_allowed)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(peers_load(&p, NULL, &budget, &e), &e);
	for (const char *const *name = filter_builtin_names(); *name; name++)
		if (!CHECK_EQ(rights_policy(peers_find(&p, 1000, 1000, NULL, 0), *name), strcmp(*name, "none") != 0))
			tap_note("  %s", *name);
}

TEST(a_budget_of_one_cell_is_not_halved_to_none)
{
	AUTO(peers_done) struct peers p = {0};
	struct peers_budget one = budget;
	struct err e = {0};

	one.max_cells = 1;
	REQUIRE_OK(peers_load(&p, NULL, &one, &e), &e);
	CHECK_EQ(peers_find(&p, 1000, 1000, NULL, 0)->max_cells, 1);
}

TEST(before_anything_is_loaded_nobody_may_do_anything)
{
	struct peers p = {0};
	const struct rights *r = peers_find(&p, 0, 0, NULL, 0);

	CHECK(!r->admin && r->max_cells == 0);
	CHECK(!rights_method(r, "Describe") && !rights_root(r, "/") && !rights_policy(r, "default"));
	CHECK(!rights_net(r, SPEC_NET_NONE));
	CHECK(rights_method(r, "org.varlink.service.GetInfo"));
}

/* ---- Matching ---- */

static const char *const rules = "{\"rules\": ["
				 " {\"uid\": 1000, \"gid\": 50, \"maxCells\": 1},"
				 " {\"uid\": [1000, 1001], \"maxCells\": 2},"
				 " {\"gid\": [60, 61], \"maxCells\": 3},"
				 " {\"uid\": 0, \"admin\": true, \"maxCells\": 4},"
				 " {\"uid\": 1001, \"maxCells\": 5}"
				 "]}";

static uint32_t cells_of(const struct peers *p, uid_t uid, gid_t gid, gid_t extra, const char *rule)
{
	const gid_t groups[] = {7, extra};
	const struct rights *r = peers_find(p, uid, gid, groups, ARRAY_LEN(groups));

	CHECK_STREQ(r->rule, rule);
	return r->max_cells;
}

TEST(the_first_rule_that_matches_decides)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(read_text(&p, rules, &e), &e);
	CHECK_EQ(cells_of(&p, 1000, 50, 7, "rules[0]"), 1);
	CHECK_EQ(cells_of(&p, 1000, 9, 50, "rules[0]"), 1); /* as a supplementary group */
	CHECK_EQ(cells_of(&p, 1000, 9, 7, "rules[1]"), 2);
	CHECK_EQ(cells_of(&p, 1001, 50, 60, "rules[1]"), 2);
	CHECK_EQ(cells_of(&p, 1002, 61, 7, "rules[2]"), 3);
	CHECK_EQ(cells_of(&p, 1002, 9, 60, "rules[2]"), 3);
	CHECK_EQ(cells_of(&p, 0, 0, 0, "rules[3]"), 4);
	CHECK(peers_find(&p, 0, 0, NULL, 0)->admin && !peers_find(&p, 1000, 50, NULL, 0)->admin);
}

TEST(whom_no_rule_matches_may_only_describe)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(read_text(&p, "{\"rules\": [{\"uid\": 5}]}", &e), &e);

	const uid_t uids[] = {0, 950, 6};
	for (size_t i = 0; i < ARRAY_LEN(uids); i++) {
		const struct rights *r = peers_find(&p, uids[i], 5, NULL, 0);

		CHECK_STREQ(r->rule, "no rule matches");
		CHECK(rights_method(r, "Describe") && rights_method(r, "org.fsbox.Sandbox.Describe"));
		CHECK(rights_method(r, "org.varlink.service.GetInfo"));
		CHECK(!rights_method(r, "Invoke") && !rights_method(r, "org.fsbox.Sandbox.List"));
		CHECK(!r->admin && r->max_cells == 0 && r->memory_bytes == 0 && r->max_queued == 0);
		CHECK(!rights_root(r, "/") && !rights_policy(r, "default") && !rights_net(r, SPEC_NET_NONE));
	}
}

TEST(a_rule_without_uid_and_gid_matches_everybody)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(read_text(&p, "{\"rules\": [{\"uid\": 3}, {\"maxCells\": 9}]}", &e), &e);
	CHECK_EQ(peers_find(&p, 3, 3, NULL, 0)->max_cells, 50);
	CHECK_EQ(peers_find(&p, 4294967294U, 3, NULL, 0)->max_cells, 9);
}

/* ---- What a rule gives ---- */

TEST(what_a_rule_leaves_open_is_as_without_a_file)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(read_text(&p, "{\"rules\": [{}]}", &e), &e);

	const struct rights *r = peers_find(&p, 0, 0, NULL, 0);
	CHECK_STREQ(r->rule, "rules[0]");
	CHECK(!r->admin && r->max_cells == 50 && r->max_queued == 500 && r->memory_bytes == UINT64_C(500) << 20);
	CHECK(rights_method(r, "Invoke") && rights_root(r, "/x") && rights_policy(r, "strict"));
	CHECK(!rights_policy(r, "none") && !rights_net(r, SPEC_NET_HOST));
}

TEST(commands_in_cells_are_for_administrators_unless_a_rule_says_otherwise)
{
	static const char text[] =
		"{\"rules\": [{\"uid\": 1, \"admin\": true}, {\"uid\": 2}, {\"uid\": 3, \"exec\": true},"
		" {\"uid\": 4, \"exec\": false, \"admin\": true}, {\"uid\": 5, \"admin\": false}]}";
	static const bool may[] = {false, true, false, true, false, false, false};
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	CHECK(!peers_find(&p, 0, 0, NULL, 0)->exec); /* nothing is loaded */
	REQUIRE_OK(peers_load(&p, NULL, &budget, &e), &e);
	CHECK(peers_find(&p, 0, 0, NULL, 0)->exec && peers_find(&p, budget.own_uid, 7, NULL, 0)->exec);
	CHECK(!peers_find(&p, budget.own_uid + 1, 7, NULL, 0)->exec);
	REQUIRE_OK(read_text(&p, text, &e), &e);
	for (uid_t uid = 0; uid < ARRAY_LEN(may); uid++)
		CHECK_EQ(peers_find(&p, uid, 7, NULL, 0)->exec, may[uid]);
	check_refused("{\"rules\": [{\"exec\": \"yes\"}]}", "p: $.rules[0].exec", "expected true or false");
}

TEST(each_key_of_a_rule_does_what_it_says)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(
		read_text(&p,
			  "{\"comment\": \"c\", \"rules\": [{\"comment\": \"d\", \"methods\": [\"Invoke\", \"List\"],"
			  " \"maxCells\": 0, \"memoryMb\": 64, \"maxQueued\": 2, \"maxFunctions\": 3, \"maxExecs\": 4,"
			  " \"roots\": [\"/srv/f\", \"/opt\"],"
			  " \"policies\": [\"strict\"], \"net\": [\"host\", \"none\"], \"admin\": true},"
			  " {\"methods\": []}]}",
			  &e),
		&e);

	const struct rights *r = peers_find(&p, 5, 5, NULL, 0);
	CHECK(r->admin && r->max_cells == 0 && r->max_queued == 2 && r->memory_bytes == 64 << 20 &&
	      r->max_functions == 3 && r->max_execs == 4);
	CHECK(rights_method(r, "Invoke") && rights_method(r, "org.fsbox.Sandbox.List"));
	CHECK(!rights_method(r, "Describe") && !rights_method(r, "invoke") && !rights_method(r, ""));
	CHECK(!rights_method(r, "org.example.Invoke"));
	CHECK(rights_policy(r, "strict") && !rights_policy(r, "default"));
	CHECK(rights_net(r, SPEC_NET_HOST) && rights_net(r, SPEC_NET_NONE) && !rights_net(r, SPEC_NET_LOOPBACK));
	CHECK(rights_root(r, "/opt/x") && !rights_root(r, "/usr"));
}

TEST(a_star_stands_for_any)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(
		read_text(&p,
			  "{\"rules\": [{\"methods\": \"*\", \"roots\": \"*\", \"policies\": \"*\", \"net\": \"*\"}]}",
			  &e),
		&e);

	const struct rights *r = peers_find(&p, 5, 5, NULL, 0);
	CHECK(rights_method(r, "Kill") && rights_root(r, "/x") && rights_policy(r, "none"));
	CHECK(rights_net(r, SPEC_NET_HOST) && rights_net(r, SPEC_NET_NONE) && rights_net(r, SPEC_NET_LOOPBACK));
}

TEST(nobody_gets_more_than_there_is)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	REQUIRE_OK(read_text(&p,
			     "{\"rules\": [{\"maxCells\": 4294967295, \"memoryMb\": 8796093022207,"
			     " \"maxQueued\": 4294967295, \"maxFunctions\": 52, \"maxExecs\": 33}]}",
			     &e),
		   &e);

	const struct rights *r = peers_find(&p, 5, 5, NULL, 0);
	CHECK_EQ(r->max_cells, 100);
	CHECK_EQ(r->max_queued, 1000);
	CHECK_EQ(r->max_functions, 51);
	CHECK_EQ(r->memory_bytes, UINT64_C(1000) << 20);
}

TEST(roots_hold_whole_components)
{
	const char *const roots[] = {"/srv/f", "/opt", NULL};
	const char *const slash[] = {"/", NULL}, *const none[] = {NULL};
	const struct rights r = {.roots = roots}, all = {.roots = slash}, no = {.roots = none}, any = {.roots = NULL};
	const char *const in[] = {"/srv/f", "/srv/f/a", "/srv/f/a/b", "/opt", "/opt/..a", "/opt/a.", "/opt/..."};
	const char *const out[] = {"/srv",      "/srv/fx", "/",        "/srvf",   "/optx", "opt",         "",
				   "/opt/../x", "/opt/..", "/opt/./a", "/opt//a", "/opt/", "/srv/f/../f", "/."};

	for (size_t i = 0; i < ARRAY_LEN(in); i++)
		if (!CHECK(rights_root(&r, in[i]) && rights_root(&all, in[i]) && !rights_root(&no, in[i])))
			tap_note("  %s", in[i]);
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		if (!CHECK(!rights_root(&r, out[i])))
			tap_note("  %s", out[i]);
	CHECK(rights_root(&all, "/") && rights_root(&any, "/"));
	CHECK(!rights_root(&all, "/a/../b") && !rights_root(&any, "relative") && !rights_root(&any, "/a/"));
}

/* ---- Refused ---- */

TEST(what_is_wrong_is_refused_with_its_place)
{
	check_refused("", "p:1:1", "not JSON");
	check_refused("{\"rules\": [", "p:1:11", "not JSON");
	check_refused("[]", "p: $", "expected an object");
	check_refused("{}", "p: $", "'rules' is missing");
	check_refused("{\"rules\": {}}", "p: $.rules", "expected a list of rules");
	check_refused("{\"rules\": [3]}", "p: $.rules[0]", "expected an object, got an integer");
	check_refused("{\"rules\": [], \"rule\": []}", "p: $.rule", "unknown key 'rule'");
	check_refused("{\"rules\": [{}, {\"uids\": 1}]}", "p: $.rules[1].uids", "unknown key 'uids'");
	check_refused("{\"rules\": [{\"uid\": 1, \"uid\": 2}]}", "p:1:27", "duplicate key");
	check_refused("{\"rules\": [{\"uid\": -1}]}", "p: $.rules[0].uid", "not between 0 and 4294967294");
	check_refused("{\"rules\": [{\"uid\": 4294967295}]}", "p: $.rules[0].uid", "not between");
	check_refused("{\"rules\": [{\"gid\": [1, 2.5]}]}", "p: $.rules[0].gid[1]", "expected an integer, got");
	check_refused("{\"rules\": [{\"uid\": \"root\"}]}", "p: $.rules[0].uid", "expected a number, got a string");
	check_refused("{\"rules\": [{\"uid\": []}]}", "p: $.rules[0].uid", "empty list matches nobody");
	check_refused("{\"rules\": [{\"methods\": \"Invoke\"}]}", "p: $.rules[0].methods", "\"*\" or a list");
	check_refused("{\"rules\": [{\"methods\": [\"Invoke\", \"Invok\"]}]}", "p: $.rules[0].methods[1]",
		      "no method 'Invok'");
	check_refused("{\"rules\": [{\"methods\": [\"org.fsbox.Sandbox.Invoke\"]}]}", "p: $.rules[0].methods[0]",
		      "cannot be the name");
	check_refused("{\"rules\": [{\"methods\": [\"*\"]}]}", "p: $.rules[0].methods[0]", "'*' stands alone");
	check_refused("{\"rules\": [{\"maxCells\": 4294967296}]}", "p: $.rules[0].maxCells", "is not between");
	check_refused("{\"rules\": [{\"maxQueued\": -1}]}", "p: $.rules[0].maxQueued", "is not between");
	check_refused("{\"rules\": [{\"memoryMb\": 8796093022208}]}", "p: $.rules[0].memoryMb", "is not between");
	check_refused("{\"rules\": [{\"memoryMb\": \"1G\"}]}", "p: $.rules[0].memoryMb", "expected an integer");
	check_refused("{\"rules\": [{\"roots\": [\"srv\"]}]}", "p: $.rules[0].roots[0]", "no canonical path");
	check_refused("{\"rules\": [{\"roots\": [\"/srv/\"]}]}", "p: $.rules[0].roots[0]", "no canonical path");
	check_refused("{\"rules\": [{\"roots\": [\"/srv/../etc\"]}]}", "p: $.rules[0].roots[0]", "no canonical path");
	check_refused("{\"rules\": [{\"policies\": [\"\"]}]}", "p: $.rules[0].policies[0]", "is empty");
	check_refused("{\"rules\": [{\"net\": [\"bridge\"]}]}", "p: $.rules[0].net[0]", "unknown net 'bridge'");
	check_refused("{\"rules\": [{\"admin\": 1}]}", "p: $.rules[0].admin", "expected true or false");
	check_refused("{\"rules\": [{\"comment\": 1}]}", "p: $.rules[0].comment", "expected a string");
}

TEST(more_rules_than_are_taken_are_refused)
{
	AUTO(peers_done) struct peers p = {0};
	AUTO(buf_done) struct buf b = {0};
	struct err e = {0};

	buf_puts(&b, "{\"rules\": [{\"maxCells\": 1}");
	for (int i = 1; i < PEERS_MAX_RULES; i++)
		buf_puts(&b, ",{}");
	buf_puts(&b, "]}");
	CHECK_OK(read_text(&p, b.data, &e), &e);
	b.len -= 2;
	buf_puts(&b, ",{}]}");
	CHECK_LT(read_text(&p, b.data, &e), 0);
	CHECK_CONTAINS(e.msg, "1025 rules");
	CHECK_EQ(peers_find(&p, 1, 1, NULL, 0)->max_cells, 1);
}

/* ---- Files ---- */

static char path[] = "/tmp/fsbox-peers-XXXXXX";

static void write_file(const char *text, mode_t mode)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0 && fchmod(fd, mode) == 0);
}

TEST(a_file_is_read_again_and_replaces_only_when_it_reads_well)
{
	AUTO(peers_done) struct peers p = {0};
	AUTO_FD int fd = mkostemp(path, O_CLOEXEC);
	struct err e = {0}, bad = {0}, gone = {0};

	REQUIRE(fd >= 0);
	write_file("{\"rules\": [{\"maxCells\": 1}]}", 0644);
	REQUIRE_OK(peers_load(&p, path, &budget, &e), &e);
	CHECK_EQ(p.generation, 1);
	CHECK_EQ(peers_find(&p, 1, 1, NULL, 0)->max_cells, 1);
	write_file("{\"rules\": [{\"maxCells\": 2}]}", 0600);
	CHECK_OK(peers_load(&p, path, &budget, &e), &e);
	CHECK_EQ(p.generation, 2);
	CHECK_EQ(peers_find(&p, 1, 1, NULL, 0)->max_cells, 2);
	write_file("{\"rules\": [{\"maxCells\": }]}", 0600);
	CHECK_LT(peers_load(&p, path, &budget, &bad), 0);
	CHECK_CONTAINS(bad.where, path);
	CHECK_EQ(p.generation, 2);
	CHECK_EQ(peers_find(&p, 1, 1, NULL, 0)->max_cells, 2);
	CHECK_EQ(unlink(path), 0);
	CHECK_LT(peers_load(&p, path, &budget, &gone), 0);
	CHECK_EQ(gone.kind, ERR_NOT_FOUND);
	CHECK_STREQ(gone.where, path);
	CHECK_EQ(peers_find(&p, 1, 1, NULL, 0)->max_cells, 2);
	CHECK_OK(peers_load(&p, NULL, &budget, &e), &e);
	CHECK_EQ(peers_find(&p, 1, 1, NULL, 0)->max_cells, 50);
}

static void check_file_refused(const char *name, enum err_kind kind, const char *words)
{
	AUTO(peers_done) struct peers p = {0};
	struct err e = {0};

	CHECK_LT(peers_load(&p, name, &budget, &e), 0);
	CHECK_EQ(e.kind, kind);
	CHECK_CONTAINS(e.msg, words);
	CHECK_STREQ(e.where, name);
	CHECK_EQ(p.generation, 0);
}

TEST(a_file_that_others_can_change_is_refused)
{
	char name[] = "/tmp/fsbox-peers-XXXXXX";
	AUTO_FD int fd = mkostemp(name, O_CLOEXEC);

	REQUIRE(fd >= 0 && fd_write_all(fd, "{\"rules\": []}", 13) == 0);
	CHECK_EQ(fchmod(fd, 0664), 0);
	check_file_refused(name, ERR_DENIED, "others may write");
	CHECK_EQ(fchmod(fd, 0646), 0);
	check_file_refused(name, ERR_DENIED, "others may write");
	CHECK_EQ(fchmod(fd, 0600), 0);
	if (geteuid() == 0) {
		CHECK_EQ(fchown(fd, 12345, 0), 0);
		check_file_refused(name, ERR_DENIED, "another user");
	}
	CHECK_EQ(unlink(name), 0);
	CHECK_EQ(mkfifo(name, 0600), 0);
	check_file_refused(name, ERR_DENIED, "no regular file");
	CHECK_EQ(unlink(name), 0);
}

TEST(a_file_that_is_too_large_is_refused)
{
	char name[] = "/tmp/fsbox-peers-XXXXXX";
	AUTO_FD int fd = mkostemp(name, O_CLOEXEC);

	REQUIRE(fd >= 0 && ftruncate(fd, PEERS_MAX_BYTES + 1) == 0);
	check_file_refused(name, ERR_LIMIT, "over 262144 bytes");
	CHECK_EQ(unlink(name), 0);
}

TEST(the_example_of_the_documents_reads_and_means_what_it_says)
{
	static const char name[] = "contrib/daemon/policy.json";
	AUTO(peers_done) struct peers p = {0};
	AUTO_FREE char *text = NULL;
	AUTO_FD int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct peers_budget big = {.memory_bytes = UINT64_C(1) << 50, .max_cells = 5000, .max_queued = 20000};
	struct err e = {0};
	size_t len = 0;

	REQUIRE(fd >= 0 && fd_read_all(fd, PEERS_MAX_BYTES, &text, &len) == 0);
	REQUIRE_OK(peers_read(&p, name, text, len, &big, &e), &e);

	const struct rights *root = peers_find(&p, 0, 0, NULL, 0), *monitor = peers_find(&p, 997, 997, NULL, 0);
	const gid_t group = 2001;
	const struct rights *scheduler = peers_find(&p, 1500, 100, &group, 1),
			    *other = peers_find(&p, 1500, 100, NULL, 0);

	CHECK(root->admin && root->max_cells == 1000 && rights_net(root, SPEC_NET_HOST) && rights_policy(root, "none"));
	CHECK(monitor->admin && monitor->max_cells == 0 && rights_method(monitor, "Stats"));
	CHECK(!rights_method(monitor, "Invoke") && !rights_method(monitor, "Kill"));
	CHECK(!scheduler->admin && scheduler->max_cells == 200 && rights_method(scheduler, "Invoke"));
	CHECK(rights_root(scheduler, "/srv/functions/a") && !rights_root(scheduler, "/home/a"));
	CHECK(!rights_net(scheduler, SPEC_NET_LOOPBACK) && rights_net(scheduler, SPEC_NET_NONE));
	CHECK(!rights_policy(scheduler, "default"));
	CHECK_STREQ(other->rule, "no rule matches");
}
