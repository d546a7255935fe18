/* Private to oci/: JSON objects read by tables of fields into structs of one arena.
 *
 * A key that stands in no table is ignored, as the runtime-spec wants it ("Extensibility"). A key that fsbox-oci knows and
 * does not do stands in a table with the reason: an error when it is given, or an entry that is ignored by name. null is
 * taken for absent, because Go writes it for empty lists. Errors name the path of the key. */
#pragma once

#include "json/json.h"
#include "spec/container.h"

struct reader {
	struct ct_spec *spec; /* whose arena everything read goes into */
	const struct json_doc *doc;
	struct err *e;
};

struct field;
typedef int (*field_fn)(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			void *to);

struct table {
	const struct field *fields;
	size_t n, size; /* of the struct that the fields fill */
};

struct field {
	const char *key;
	field_fn read;   /* NULL: known, and ignored; `why` says so */
	size_t offset;   /* of what it fills */
	const void *arg; /* for the reader: struct table, struct word … */
	bool required;
	const char *why;  /* of what is ignored */
	int64_t min, max; /* of numbers; both 0: any */
};

struct word {
	const char *name;
	int64_t value;
};
struct words {
	const struct word *words;
	size_t n;
	const char *what; /* "capability" */
};

#define TABLE(name, fields, type) static const struct table name = {fields, ARRAY_LEN(fields), sizeof(type)}

/* Readers. The type that each fills: */
int field_bool(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to);
int field_text(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
	       void *to); /* const char * */
int field_path(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
	       void *to); /* const char *, absolute */
int field_texts(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		void *to); /* const char **, NULL at its end */
int field_paths(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		void *to); /* the same, all absolute */
int field_number(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		 void *to); /* struct ct_number */
int field_u32(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to);
int field_i64(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here, void *to);
int field_word(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
	       void *to); /* int */
int field_object(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		 void *to); /* what @f->arg, a table, describes; offsets from @to */
int field_objects(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		  void *to); /* pointer and size_t */
int field_named(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		void *to); /* as field_objects, of an object: a struct's first member is the key, const char * */
int field_pairs(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
		void *to); /* struct ct_pair * and size_t: an object of strings */
int field_cpus(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
	       void *to); /* struct ct_cpus: "0-3,7" */
int field_bits(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
	       void *to); /* unsigned: an array of words, each a bit of it */
int field_u64(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
	      void *to); /* uint64_t; -1 is the highest */

/* The whole object @v into @to. */
NODISCARD int table_read(struct reader *r, const struct table *t, const struct json *v, const struct json_path *at,
			 void *to);
int field_wrong_type(struct reader *r, const struct json *v, const struct json_path *here, const char *want);
/* Something is left out: for @spec->warnings. The first of them are kept. */
void reader_warn(struct reader *r, const struct json_path *here, const char *fmt, ...) PRINTF(3, 4);
/* A copy in the arena; NULL, and the error set, when memory is out. */
const char *reader_copy(struct reader *r, const char *s);
void *reader_alloc(struct reader *r, size_t size);
const struct word *word_find(const struct words *w, const char *name);
