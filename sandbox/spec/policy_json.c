#include "spec/policy_json.h"

/* ---- Values ---- */

int pol_wrong_type(struct reader *r, const struct json *v, const struct json_path *here, const char *want)
{
	return json_err(r->e, r->doc, here, "expected %s, got %s", want, json_type_name(json_type_of(v)));
}

int pol_read_text(struct reader *r, const struct json *v, const struct json_path *here, const char **ret)
{
	if (json_type_of(v) != JSON_STRING)
		return pol_wrong_type(r, v, here, "a string");
	*ret = json_string_get(v, NULL);
	return 0;
}

int pol_read_number(struct reader *r, const struct json *v, const struct json_path *here, uint64_t max, uint64_t *ret)
{
	if (json_type_of(v) != JSON_INTEGER)
		return pol_wrong_type(r, v, here, "an integer");
	if (json_integer_get(v) < 0 || (uint64_t)json_integer_get(v) > max)
		return json_err(r->e, r->doc, here, "%lld is not between 0 and %llu", (long long)json_integer_get(v),
				(unsigned long long)max);
	*ret = (uint64_t)json_integer_get(v);
	return 0;
}

int pol_read_comment(struct reader *r, const struct json *v, const struct json_path *here, void *out)
{
	const char *ignored;

	(void)out;
	return pol_read_text(r, v, here, &ignored);
}

int pol_read_word(struct reader *r, const struct json *v, const struct json_path *here, const struct word *words,
		  size_t n, int *ret)
{
	const char *s = NULL;
	int rc = pol_read_text(r, v, here, &s);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(s, words[i].name) != 0)
			continue;
		if (words[i].refusal)
			return json_err(r->e, r->doc, here, "%s is not taken: %s", s, words[i].refusal);
		*ret = words[i].value;
		return 0;
	}
	rc = json_err(r->e, r->doc, here, "unknown value '%.60s'", s);
	return err_hint(r->e, rc, "one of %s, %s, ...: see fsbox-policy(5)", words[0].name, words[1].name);
}

/* ---- Objects and arrays ---- */

struct members {
	struct reader *r;
	const struct json_path *at;
	const struct key *keys;
	size_t n;
	void *out;
};

static int read_member(const char *name, const struct json *v, void *arg)
{
	const struct members *m = arg;
	struct json_path here = {.up = m->at, .key = name};
	int rc;

	for (size_t i = 0; i < m->n; i++) {
		const struct key *k = &m->keys[i];

		if (strcmp(k->name, name) != 0)
			continue;
		if (k->read)
			return k->read(m->r, v, &here, m->out);
		rc = json_err(m->r->e, m->r->doc, &here, "'%s' is not taken: %s", k->name, k->refusal);
		return err_hint(m->r->e, rc, "%s", k->remedy);
	}
	rc = json_err(m->r->e, m->r->doc, &here, "unknown key '%.60s'", name);
	return err_hint(m->r->e, rc, "a remark goes into \"comment\"; the keys are listed in fsbox-policy(5)");
}

int pol_read_object(struct reader *r, const struct json *v, const struct json_path *at, const struct key *keys,
		    size_t n, void *out)
{
	struct members m = {.r = r, .at = at, .keys = keys, .n = n, .out = out};
	int rc;

	if (json_type_of(v) != JSON_OBJECT)
		return pol_wrong_type(r, v, at, "an object");
	rc = json_each(v, read_member, &m);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (keys[i].required && !json_member(v, keys[i].name))
			rc = json_err(r->e, r->doc, at, "'%s' is missing", keys[i].name);
	return rc;
}

int pol_read_each(struct reader *r, const struct json *v, const struct json_path *at, read_fn read, void *out)
{
	if (json_type_of(v) != JSON_ARRAY)
		return pol_wrong_type(r, v, at, "an array");
	for (size_t i = 0; i < json_length(v); i++) {
		struct json_path here = {.up = at, .index = i};
		int rc = read(r, json_at(v, i), &here, out);

		if (rc < 0)
			return rc;
	}
	return 0;
}
