#include "daemon/peers_json.h"

#include "json/json.h"

#include <errno.h>

enum { MAX_METHOD = 63 };

struct reader {
	struct peers *p;
	const struct peers_budget *b;
	const struct json_doc *doc;
	struct err *e;
};

typedef int (*read_fn)(struct reader *r, const struct json *v, const struct json_path *here, void *out);

struct key {
	const char *name;
	read_fn read;
	size_t offset; /* of what it writes, in the object's struct */
};

/* ---- Values ---- */

static int wrong_type(struct reader *r, const struct json *v, const struct json_path *here, const char *want)
{
	return json_err(r->e, r->doc, here, "expected %s, got %s", want, json_type_name(json_type_of(v)));
}

static int read_text(struct reader *r, const struct json *v, const struct json_path *here, const char *want,
		     const char **ret)
{
	if (json_type_of(v) != JSON_STRING)
		return wrong_type(r, v, here, want);
	*ret = json_string_get(v, NULL);
	return 0;
}

static int read_comment(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	const char *ignored;

	(void)out;
	return read_text(r, v, here, "a string", &ignored);
}

static int read_bool(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	if (json_type_of(v) != JSON_BOOL)
		return wrong_type(r, v, here, "true or false");
	*(bool *)out = json_bool_get(v);
	return 0;
}

static int read_number(struct reader *r, const struct json *v, const struct json_path *here, int64_t max, int64_t *ret)
{
	int64_t n = 0;

	if (json_type_of(v) != JSON_INTEGER)
		return wrong_type(r, v, here, "an integer");
	n = json_integer_get(v);
	if (n < 0 || n > max)
		return json_err(r->e, r->doc, here, "%lld is not between 0 and %lld", (long long)n, (long long)max);
	*ret = n;
	return 0;
}

/* Nobody gets more than the daemon itself has, @bound. */
static int read_capped(struct reader *r, const struct json *v, const struct json_path *here, uint32_t bound,
		       uint32_t *ret)
{
	int64_t n = 0;
	int rc = read_number(r, v, here, UINT32_MAX, &n);

	if (rc == 0)
		*ret = n < bound ? (uint32_t)n : bound;
	return rc;
}

static int read_max_cells(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_capped(r, v, here, r->b->max_cells, &((struct rights *)out)->max_cells);
}

static int read_max_queued(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_capped(r, v, here, r->b->max_queued, &((struct rights *)out)->max_queued);
}

static int read_max_functions(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_capped(r, v, here, r->b->max_functions, &((struct rights *)out)->max_functions);
}

static int read_max_execs(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_capped(r, v, here, r->b->max_execs, &((struct rights *)out)->max_execs);
}

static int read_memory(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	struct rights *rights = out;
	int64_t n = 0;
	int rc = read_number(r, v, here, INT64_MAX >> 20, &n);

	if (rc == 0)
		rights->memory_bytes = (uint64_t)n << 20 < r->b->memory_bytes ? (uint64_t)n << 20 : r->b->memory_bytes;
	return rc;
}

/* ---- Who ---- */

static int read_id(struct reader *r, const struct json *v, const struct json_path *here, struct ids *ids)
{
	int64_t n = 0;
	int rc;

	if (json_type_of(v) == JSON_STRING) {
		rc = json_err(r->e, r->doc, here, "expected a number, got a string");
		return err_hint(r->e, rc, "the number of a user: id -u NAME; of a group: getent group NAME");
	}
	rc = read_number(r, v, here, UINT32_MAX - 1, &n); /* the last one means "none" to the kernel */
	if (rc == 0)
		ids->ids[ids->n++] = (uint32_t)n;
	return rc;
}

static int read_ids(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	struct ids *ids = out;
	bool list = json_type_of(v) == JSON_ARRAY;
	size_t n = list ? json_length(v) : 1;
	int rc = 0;

	if (n == 0) {
		rc = json_err(r->e, r->doc, here, "an empty list matches nobody");
		return err_hint(r->e, rc, "a rule without \"uid\" and \"gid\" matches everybody");
	}
	ids->any = false;
	ids->ids = arena_alloc(&r->p->arena, n * sizeof *ids->ids);
	if (!ids->ids)
		return err_oom(r->e);
	if (!list)
		return read_id(r, v, here, ids);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct json_path at = {.up = here, .index = i};

		rc = read_id(r, json_at(v, i), &at, ids);
	}
	return rc;
}

/* ---- What: "*" or a list of words ---- */

typedef int (*word_fn)(struct reader *r, const char *word, const struct json_path *here);

static int read_words(struct reader *r, const struct json *v, const struct json_path *here, word_fn check,
		      const char *const **ret)
{
	const char **words;
	size_t n;
	int rc;

	if (json_type_of(v) == JSON_STRING && strcmp(json_string_get(v, NULL), "*") == 0) {
		*ret = NULL;
		return 0;
	}
	if (json_type_of(v) != JSON_ARRAY)
		return wrong_type(r, v, here, "\"*\" or a list of strings");
	n = json_length(v);
	words = arena_alloc(&r->p->arena, (n + 1) * sizeof *words);
	if (!words)
		return err_oom(r->e);
	for (size_t i = 0; i < n; i++) {
		struct json_path at = {.up = here, .index = i};
		const char *word = NULL;

		rc = read_text(r, json_at(v, i), &at, "a string", &word);
		if (rc == 0 && strcmp(word, "*") == 0)
			rc = err_hint(r->e, json_err(r->e, r->doc, &at, "'*' stands alone, not in a list"),
				      "write \"*\" instead of the list");
		if (rc == 0)
			rc = check(r, word, &at);
		if (rc < 0)
			return rc;
		words[i] = arena_strdup(&r->p->arena, word);
		if (!words[i])
			return err_oom(r->e);
	}
	*ret = words;
	return 0;
}

static int check_method(struct reader *r, const char *word, const struct json_path *here)
{
	size_t n = strlen(word);
	int rc;

	if (n == 0 || n > MAX_METHOD || word[0] < 'A' || word[0] > 'Z' ||
	    strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != n) {
		rc = json_err(r->e, r->doc, here, "'%.60s' cannot be the name of a method", word);
		return err_hint(r->e, rc, "without the interface's name: \"Invoke\"");
	}
	if (r->b->is_method && !r->b->is_method(word)) {
		rc = json_err(r->e, r->doc, here, "there is no method '%s'", word);
		return err_hint(r->e, rc, "the names stand in docs/protocol.md, and \"*\" means all");
	}
	return 0;
}

static int check_root(struct reader *r, const char *word, const struct json_path *here)
{
	if (peers_is_canonical(word))
		return 0;
	return err_hint(r->e, json_err(r->e, r->doc, here, "'%.60s' is no canonical path", word),
			"absolute, without '.', '..', double slashes and a slash at the end");
}

static int check_policy(struct reader *r, const char *word, const struct json_path *here)
{
	return word[0] ? 0 : json_err(r->e, r->doc, here, "the name of a policy is empty");
}

static int read_methods(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_words(r, v, here, check_method, &((struct rights *)out)->methods);
}

static int read_roots(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_words(r, v, here, check_root, &((struct rights *)out)->roots);
}

static int read_policies(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	return read_words(r, v, here, check_policy, &((struct rights *)out)->policies);
}

static const enum spec_net all_nets[] = {SPEC_NET_NONE, SPEC_NET_LOOPBACK, SPEC_NET_HOST};

/* The bit of a net's name; 0 for any other word. */
static unsigned net_bit(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(all_nets); i++)
		if (strcmp(word, spec_net_name(all_nets[i])) == 0)
			return 1U << all_nets[i];
	return 0;
}

static int check_net(struct reader *r, const char *word, const struct json_path *here)
{
	return net_bit(word) ? 0
			     : err_hint(r->e, json_err(r->e, r->doc, here, "unknown net '%.60s'", word),
					"one of none, loopback, host");
}

static int read_nets(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	struct rights *rights = out;
	const char *const *words = NULL;
	int rc = read_words(r, v, here, check_net, &words);

	if (rc < 0)
		return rc;
	rights->nets = 0;
	for (size_t i = 0; !words && i < ARRAY_LEN(all_nets); i++)
		rights->nets |= 1U << all_nets[i];
	for (; words && *words; words++)
		rights->nets |= net_bit(*words);
	return 0;
}

static int read_exec(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	struct peers_rule *rule = out;

	rule->exec_named = true;
	return read_bool(r, v, here, &rule->rights.exec);
}

/* ---- Objects ---- */

struct members {
	struct reader *r;
	const struct json_path *at;
	const struct key *keys;
	size_t n;
	char *out;
};

static int read_member(const char *name, const struct json *v, void *arg)
{
	const struct members *m = arg;
	struct json_path here = {.up = m->at, .key = name};

	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->keys[i].name, name) == 0)
			return m->keys[i].read(m->r, v, &here, m->out + m->keys[i].offset);
	return err_hint(m->r->e, json_err(m->r->e, m->r->doc, &here, "unknown key '%.60s'", name),
			"a remark goes into \"comment\"; the keys are listed in docs/daemon-policy.md");
}

static int read_object(struct reader *r, const struct json *v, const struct json_path *at, const struct key *keys,
		       size_t n, void *out)
{
	struct members m = {.r = r, .at = at, .keys = keys, .n = n, .out = out};

	if (json_type_of(v) != JSON_OBJECT)
		return wrong_type(r, v, at, "an object");
	return json_each(v, read_member, &m);
}

static int read_rule(struct reader *r, const struct json *v, const struct json_path *here)
{
	static const struct key keys[] = {
		{"uid", read_ids, offsetof(struct peers_rule, uids)},
		{"gid", read_ids, offsetof(struct peers_rule, gids)},
		{"methods", read_methods, offsetof(struct peers_rule, rights)},
		{"maxCells", read_max_cells, offsetof(struct peers_rule, rights)},
		{"memoryMb", read_memory, offsetof(struct peers_rule, rights)},
		{"maxQueued", read_max_queued, offsetof(struct peers_rule, rights)},
		{"maxFunctions", read_max_functions, offsetof(struct peers_rule, rights)},
		{"maxExecs", read_max_execs, offsetof(struct peers_rule, rights)},
		{"roots", read_roots, offsetof(struct peers_rule, rights)},
		{"policies", read_policies, offsetof(struct peers_rule, rights)},
		{"net", read_nets, offsetof(struct peers_rule, rights)},
		{"admin", read_bool, offsetof(struct peers_rule, rights) + offsetof(struct rights, admin)},
		{"exec", read_exec, 0},
		{"comment", read_comment, 0},
	};
	struct peers_rule *rule = &r->p->rules[r->p->n_rules];
	int rc;

	*rule = (struct peers_rule){.uids.any = true, .gids.any = true, .rights = r->p->others};
	rule->rights.rule = arena_printf(&r->p->arena, "rules[%zu]", r->p->n_rules);
	if (!rule->rights.rule)
		return err_oom(r->e);
	r->p->n_rules++;
	rc = read_object(r, v, here, keys, ARRAY_LEN(keys), rule);
	if (!rule->exec_named)
		rule->rights.exec = rule->rights.admin;
	return rc;
}

static int read_rules(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	size_t n;

	(void)out;
	if (json_type_of(v) != JSON_ARRAY)
		return wrong_type(r, v, here, "a list of rules");
	n = json_length(v);
	if (n > PEERS_MAX_RULES) {
		int rc = json_err(r->e, r->doc, here, "%zu rules: at most %d are taken", n, PEERS_MAX_RULES);

		return err_hint(r->e, rc, "one rule may have a list of uids or gids");
	}
	r->p->rules = arena_alloc(&r->p->arena, (n + 1) * sizeof *r->p->rules);
	if (!r->p->rules)
		return err_oom(r->e);
	for (size_t i = 0; i < n; i++) {
		struct json_path at = {.up = here, .index = i};
		int rc = read_rule(r, json_at(v, i), &at);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int peers_parse(struct peers *p, const char *file, const char *text, size_t len, const struct peers_budget *b,
		struct err *e)
{
	static const struct key keys[] = {
		{"rules", read_rules, 0},
		{"comment", read_comment, 0},
	};
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct reader r = {.p = p, .b = b, .e = e};
	int rc = json_parse(file, text, len, PEERS_MAX_BYTES, &doc, e);

	if (rc < 0)
		return rc;
	r.doc = doc;
	rc = read_object(&r, json_doc_root(doc), NULL, keys, ARRAY_LEN(keys), p);
	if (rc == 0 && !p->rules) /* an empty file for a policy would shut everybody out in silence */
		rc = err_hint(e, json_err(e, doc, NULL, "'rules' is missing"), "\"rules\": [] lets nobody do anything");
	return rc;
}
