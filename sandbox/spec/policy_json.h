/* Private to spec/: JSON of a policy read by tables of keys. Each key has a reader, or a sentence that says why it is
 * refused; a key that stands in no table is an error with its path. Results are written through @out. */
#pragma once

#include "json/json.h"
#include "spec/policy.h"

struct reader {
	struct policy *p;
	const struct json_doc *doc;
	struct err *e;
};

typedef int (*read_fn)(struct reader *r, const struct json *v, const struct json_path *here, void *out);

struct key {
	const char *name;
	read_fn read;
	const char *refusal; /* instead of a reader: why the key is not taken */
	const char *remedy;
	bool required;
};

/* One of the words that a string may be. */
struct word {
	const char *name;
	int value;
	const char *refusal; /* a word of OCI that fsbox does not take, and why */
};

/* ERR_SPEC "expected @want, got …". */
int pol_wrong_type(struct reader *r, const struct json *v, const struct json_path *here, const char *want);

int pol_read_text(struct reader *r, const struct json *v, const struct json_path *here, const char **ret);
int pol_read_number(struct reader *r, const struct json *v, const struct json_path *here, uint64_t max, uint64_t *ret);
int pol_read_word(struct reader *r, const struct json *v, const struct json_path *here, const struct word *words,
		  size_t n, int *ret);

/* A read_fn for keys that only people read. */
int pol_read_comment(struct reader *r, const struct json *v, const struct json_path *here, void *out);

int pol_read_object(struct reader *r, const struct json *v, const struct json_path *at, const struct key *keys,
		    size_t n, void *out);
int pol_read_each(struct reader *r, const struct json *v, const struct json_path *at, read_fn read, void *out);
