/* manifest.json. Numbers are integers, what may be absent in the struct is present here: each key must stand, and no other.
 * What is written is read back before it is published (draft.c), so the checks stand in the reader alone. */
#include "json/json.h"
#include "snapshot/internal.h"

#include <limits.h>
#include <stdio.h>

#define FORMAT 1

enum {
	MAX_BYTES = 4 << 20,
	TEXT_MAX = 4096,
	NAME_LEN_MAX = 255,
};

struct reading {
	const struct json_doc *doc;
	struct snap_manifest *m;
	struct err *e;
};

struct field {
	const char *key;
	int (*read)(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		    void *to);
	size_t offset;
	size_t size; /* texts: bytes at most, with the 0 where they are an array; numbers: of the integer */
};

/* ---- Objects by table ---- */

struct object {
	struct reading *rd;
	const struct field *fields;
	size_t n;
	uint32_t seen;
	const struct json_path *at;
	char *to;
};

static int read_member(const char *key, const struct json *v, void *arg)
{
	struct object *o = arg;
	struct json_path here = {.up = o->at, .key = key};

	for (size_t i = 0; i < o->n; i++) {
		if (strcmp(o->fields[i].key, key) != 0)
			continue;
		o->seen |= UINT32_C(1) << i;
		return o->fields[i].read(o->rd, &o->fields[i], v, &here, o->to + o->fields[i].offset);
	}
	return json_err(o->rd->e, o->rd->doc, &here, "unknown key");
}

static int expect(struct reading *rd, enum json_type want, const struct json *v, const struct json_path *at)
{
	enum json_type got = json_type_of(v);

	return got == want
		       ? 0
		       : json_err(rd->e, rd->doc, at, "expected %s, got %s", json_type_name(want), json_type_name(got));
}

static int read_object(struct reading *rd, const struct field *fields, size_t n, const struct json *v,
		       const struct json_path *at, void *to)
{
	struct object o = {.rd = rd, .fields = fields, .n = n, .at = at, .to = to};
	int r = expect(rd, JSON_OBJECT, v, at);

	if (r == 0)
		r = json_each(v, read_member, &o);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!(o.seen & UINT32_C(1) << i))
			r = json_err(rd->e, rd->doc, at, "the key '%s' is missing", fields[i].key);
	return r;
}

/* ---- Values ---- */

static int read_uint(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		     void *to)
{
	uint64_t max = f->size == sizeof(uint32_t) ? UINT32_MAX : INT64_MAX, n;
	int r = expect(rd, JSON_INTEGER, v, at);

	if (r < 0)
		return r;
	if (json_integer_get(v) < 0 || (uint64_t)json_integer_get(v) > max)
		return json_err(rd->e, rd->doc, at, "%lld lies outside 0..%llu", (long long)json_integer_get(v),
				(unsigned long long)max);
	n = (uint64_t)json_integer_get(v);
	if (f->size == sizeof(uint32_t))
		*(uint32_t *)to = (uint32_t)n;
	else
		*(uint64_t *)to = n;
	return 0;
}

/* Borrowed from the document; NULL with *e set. */
static const char *text_of(struct reading *rd, const struct json *v, const struct json_path *at, size_t max)
{
	size_t len;

	if (expect(rd, JSON_STRING, v, at) < 0)
		return NULL;

	const char *s = json_string_get(v, &len);
	if (len > max) {
		(void)json_err(rd->e, rd->doc, at, "%zu bytes of text: at most %zu are taken", len, max);
		return NULL;
	}
	return s;
}

static int read_text(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		     void *to)
{
	const char *s = text_of(rd, v, at, f->size);

	if (!s)
		return -EINVAL;
	s = arena_strdup(&rd->m->arena, s);
	if (!s)
		return err_oom(rd->e);
	*(const char **)to = s;
	return 0;
}

/* Exactly so many digits, of which those of an uuid are grouped. */
static int read_hex(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		    void *to)
{
	const char *s = text_of(rd, v, at, f->size - 1);
	bool uuid = f->size < SNAP_ID_LEN;

	if (!s)
		return -EINVAL;
	if (strspn(s, uuid ? "0123456789abcdef-" : "0123456789abcdef") != f->size - 1)
		return json_err(rd->e, rd->doc, at, "expected %zu hexadecimal digits%s", f->size - 1,
				uuid ? " and dashes" : "");
	memcpy(to, s, f->size);
	return 0;
}

static int read_format(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		       void *to)
{
	uint32_t n = 0;
	int r = read_uint(rd, &(struct field){.size = sizeof n}, v, at, &n);

	(void)f, (void)to; /* a version is in no struct */
	return r == 0 && n != FORMAT ? json_err(rd->e, rd->doc, at, "format %u: only %d is known", n, FORMAT) : r;
}

/* ---- Pipes, clock, features ---- */

static bool is_pipe(const char *s)
{
	size_t n = strlen(s);

	return n > 7 && n < sizeof((struct snap_manifest *)NULL)->pipes[0] && str_starts(s, "pipe:[") &&
	       strspn(s + 6, "0123456789") == n - 7 && s[n - 1] == ']';
}

static int read_pipes(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		      void *to)
{
	char(*pipes)[32] = to;
	int r = expect(rd, JSON_ARRAY, v, at);

	(void)f;
	if (r == 0 && json_length(v) != SNAP_MAX_PIPES)
		return json_err(rd->e, rd->doc, at, "expected %d pipes, got %zu", SNAP_MAX_PIPES, json_length(v));
	for (size_t i = 0; r == 0 && i < SNAP_MAX_PIPES; i++) {
		struct json_path here = {.up = at, .index = i};
		const char *s = text_of(rd, json_at(v, i), &here, sizeof pipes[i] - 1);

		if (!s)
			return -EINVAL;
		if (!is_pipe(s))
			return json_err(rd->e, rd->doc, &here, "expected \"pipe:[NUMBER]\"");
		memcpy(pipes[i], s, strlen(s) + 1);
	}
	return r;
}

#define UINT(struct_, member) read_uint, offsetof(struct_, member), sizeof(((struct_ *)NULL)->member)

static const struct field clock_fields[] = {
	{"boot_id", read_hex, offsetof(struct snap_clock, boot_id), 37},
	{"monotonic_ns", UINT(struct snap_clock, monotonic_ns)},
	{"boottime_ns", UINT(struct snap_clock, boottime_ns)},
	{"wall_ns", UINT(struct snap_clock, wall_ns)},
};

static int read_clock(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		      void *to)
{
	(void)f;
	return read_object(rd, clock_fields, ARRAY_LEN(clock_fields), v, at, to);
}

static const char *const features[] = {"tmp", "shutdown", "not-reseeded",
				       "reports"}; /* by the bits of enum snap_feature */

static int read_features(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
			 void *to)
{
	uint32_t *set = to;
	int r = expect(rd, JSON_ARRAY, v, at);

	(void)f;
	for (size_t i = 0; r == 0 && i < json_length(v); i++) {
		struct json_path here = {.up = at, .index = i};
		const char *s = text_of(rd, json_at(v, i), &here, NAME_LEN_MAX);
		size_t bit = 0;

		if (!s)
			return -EINVAL;
		while (bit < ARRAY_LEN(features) && strcmp(features[bit], s) != 0)
			bit++;
		if (bit == ARRAY_LEN(features) || (*set & 1U << bit))
			return json_err(rd->e, rd->doc, &here, "'%.40s' is %s", s,
					bit == ARRAY_LEN(features) ? "no feature that is known" : "there already");
		*set |= 1U << bit;
	}
	return r;
}

/* ---- Parts and files ---- */

static const struct field part_fields[] = {
	{"name", read_text, offsetof(struct snap_value, name), NAME_LEN_MAX},
	{"value", read_text, offsetof(struct snap_value, value), TEXT_MAX},
};

static int read_parts(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		      void *to)
{
	struct snap_manifest *m = rd->m;
	int r = expect(rd, JSON_ARRAY, v, at);

	(void)f, (void)to;
	if (r == 0 && json_length(v) > SNAP_MAX_PARTS)
		return json_err(rd->e, rd->doc, at, "%zu parts: at most %d are taken", json_length(v), SNAP_MAX_PARTS);
	for (size_t i = 0; r == 0 && i < json_length(v); i++) {
		struct json_path here = {.up = at, .index = i};

		r = read_object(rd, part_fields, ARRAY_LEN(part_fields), json_at(v, i), &here, &m->parts[i]);
		for (size_t k = 0; r == 0 && k < i; k++)
			if (strcmp(m->parts[k].name, m->parts[i].name) == 0)
				r = json_err(rd->e, rd->doc, &here, "the part '%s' stands twice", m->parts[i].name);
		m->n_parts = i + 1;
	}
	return r;
}

static const struct field file_fields[] = {
	{"name", read_text, offsetof(struct snap_file, name), PATH_MAX - 1},
	{"size", UINT(struct snap_file, size)},
	{"sha256", read_hex, offsetof(struct snap_file, sha256), SNAP_ID_LEN + 1},
};

/* Names lead to nothing but files of the snapshot, whoever wrote them. */
static bool is_image_name(const char *s)
{
	const char *base = s + 4;

	if (strcmp(s, "tmp.tree") == 0)
		return true;
	return str_starts(s, "img/") && base[0] && strlen(base) <= NAME_LEN_MAX && !strchr(base, '/') &&
	       strcmp(base, ".") != 0 && strcmp(base, "..") != 0;
}

static int read_files(struct reading *rd, const struct json *v, const struct json_path *at, bool deps,
		      struct snap_file **ret, size_t *ret_n)
{
	int r = expect(rd, JSON_ARRAY, v, at);

	if (r < 0)
		return r;
	if (json_length(v) > SNAP_MAX_FILES)
		return json_err(rd->e, rd->doc, at, "%zu files: at most %d are taken", json_length(v), SNAP_MAX_FILES);

	struct snap_file *files = arena_alloc(&rd->m->arena, (json_length(v) + 1) * sizeof *files);
	if (!files)
		return err_oom(rd->e);
	for (size_t i = 0; i < json_length(v); i++) {
		struct json_path here = {.up = at, .index = i};

		r = read_object(rd, file_fields, ARRAY_LEN(file_fields), json_at(v, i), &here, &files[i]);
		if (r < 0)
			return r;
		if (deps ? files[i].name[0] != '/' : !is_image_name(files[i].name))
			return json_err(rd->e, rd->doc, &here, "'%.100s' is no name of %s", files[i].name,
					deps ? "a file of the host" : "an image");
		if (i > 0 && strcmp(files[i - 1].name, files[i].name) >= 0)
			return json_err(rd->e, rd->doc, &here, "'%.100s' stands out of order", files[i].name);
	}
	*ret = files;
	*ret_n = json_length(v);
	return 0;
}

static int read_images(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		       void *to)
{
	(void)f, (void)to;
	return read_files(rd, v, at, false, &rd->m->files, &rd->m->n_files);
}

static int read_deps(struct reading *rd, const struct field *f, const struct json *v, const struct json_path *at,
		     void *to)
{
	(void)f, (void)to;
	return read_files(rd, v, at, true, &rd->m->deps, &rd->m->n_deps);
}

/* ---- The whole ---- */

static const struct field fields[] = {
	{"format", read_format},
	{"id", read_hex, offsetof(struct snap_manifest, id), SNAP_ID_LEN + 1},
	{"function", read_text, offsetof(struct snap_manifest, function), NAME_LEN_MAX},
	{"target", read_text, offsetof(struct snap_manifest, target), PATH_MAX},
	{"engine", read_text, offsetof(struct snap_manifest, engine), NAME_LEN_MAX},
	{"reason", read_text, offsetof(struct snap_manifest, reason), TEXT_MAX},
	{"pipes", read_pipes, offsetof(struct snap_manifest, pipes)},
	{"taken", read_clock, offsetof(struct snap_manifest, taken)},
	{"memory_bytes", UINT(struct snap_manifest, memory_bytes)},
	{"page_bytes", UINT(struct snap_manifest, page_bytes)},
	{"init_ns", UINT(struct snap_manifest, init_ns)},
	{"max_pid", UINT(struct snap_manifest, max_pid)},
	{"features", read_features, offsetof(struct snap_manifest, features)},
	{"key", read_parts},
	{"files", read_images},
	{"dependencies", read_deps},
};

static bool has_tree(const struct snap_manifest *m)
{
	return m->n_files > 0 && strcmp(m->files[m->n_files - 1].name, "tmp.tree") == 0; /* it sorts behind "img/" */
}

int manifest_read(const char *file, const char *text, size_t len, struct snap_manifest *ret, struct err *e)
{
	AUTO(json_doc_freep) struct json_doc *doc = NULL;
	struct snap_manifest m = {.n_parts = 0};
	struct reading rd = {.m = &m, .e = e};
	int r = json_parse(file, text, len, MAX_BYTES, &doc, e);

	if (r < 0)
		return r;
	rd.doc = doc;
	r = read_object(&rd, fields, ARRAY_LEN(fields), json_doc_root(doc), NULL, &m);
	if (r == 0 && has_tree(&m) != !!(m.features & SNAP_HAS_TMP))
		r = json_err(e, doc, &(struct json_path){.key = "features"},
			     "'tmp' and the file 'tmp.tree' go together");
	if (r < 0) {
		snap_manifest_done(&m);
		return r;
	}
	*ret = m;
	return 0;
}

void snap_manifest_done(struct snap_manifest *m)
{
	arena_done(&m->arena);
	*m = (struct snap_manifest){.n_parts = 0};
}

/* ---- Writing ---- */

static void put_text(struct buf *b, const char *key, const char *s)
{
	buf_printf(b, "\t\"%s\": ", key);
	json_add_string(b, s ? s : "", s ? strlen(s) : 0);
	buf_puts(b, ",\n");
}

static void put_uint(struct buf *b, const char *key, uint64_t v)
{
	buf_printf(b, "\t\"%s\": %llu,\n", key, (unsigned long long)v);
}

static void put_lists(struct buf *b, const struct snap_manifest *m)
{
	const char *comma = "";

	buf_puts(b, "\t\"pipes\": [");
	for (size_t i = 0; i < SNAP_MAX_PIPES; i++)
		buf_printf(b, "%s\"%s\"", i ? ", " : "", m->pipes[i]);
	buf_puts(b, "],\n\t\"features\": [");
	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		if (m->features & 1U << i) {
			buf_printf(b, "%s\"%s\"", comma, features[i]);
			comma = ", ";
		}
	}
	buf_puts(b, "],\n\t\"key\": [");
	for (size_t i = 0; i < m->n_parts; i++) {
		buf_puts(b, i ? ",\n\t\t{\"name\": " : "\n\t\t{\"name\": ");
		json_add_string(b, m->parts[i].name, strlen(m->parts[i].name));
		buf_puts(b, ", \"value\": ");
		json_add_string(b, m->parts[i].value, strlen(m->parts[i].value));
		buf_puts(b, "}");
	}
	buf_puts(b, "\n\t],\n");
}

static void put_files(struct buf *b, const char *key, const struct snap_file *f, size_t n)
{
	buf_printf(b, "\t\"%s\": [", key);
	for (size_t i = 0; i < n; i++) {
		buf_puts(b, i ? ",\n\t\t{\"name\": " : "\n\t\t{\"name\": ");
		json_add_string(b, f[i].name, strlen(f[i].name));
		buf_printf(b, ", \"size\": %llu, \"sha256\": \"%s\"}", (unsigned long long)f[i].size, f[i].sha256);
	}
	buf_puts(b, "\n\t]");
}

/* A name that is no UTF-8 would come back as another one. Other texts are for people. */
static int check_names(const struct snap_file *f, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (!str_is_utf8(f[i].name, strlen(f[i].name)))
			return err_set(e, ERR_UNSUPPORTED, EILSEQ, "writing the manifest: '%s' is not named in UTF-8",
				       f[i].name);
	return 0;
}

int manifest_write(const struct snap_manifest *m, struct buf *ret, struct err *e)
{
	struct buf b = {0};
	int r = check_names(m->files, m->n_files, e);

	if (r == 0)
		r = check_names(m->deps, m->n_deps, e);
	if (r < 0)
		return r;
	buf_printf(&b, "{\n\t\"format\": %d,\n", FORMAT);
	put_text(&b, "id", m->id);
	put_text(&b, "function", m->function);
	put_text(&b, "target", m->target);
	put_text(&b, "engine", m->engine);
	put_text(&b, "reason", m->reason);
	buf_printf(
		&b,
		"\t\"taken\": {\"boot_id\": \"%s\", \"monotonic_ns\": %llu, \"boottime_ns\": %llu, \"wall_ns\": %llu},\n",
		m->taken.boot_id, (unsigned long long)m->taken.monotonic_ns, (unsigned long long)m->taken.boottime_ns,
		(unsigned long long)m->taken.wall_ns);
	put_uint(&b, "memory_bytes", m->memory_bytes);
	put_uint(&b, "page_bytes", m->page_bytes);
	put_uint(&b, "init_ns", m->init_ns);
	put_uint(&b, "max_pid", m->max_pid);
	put_lists(&b, m);
	put_files(&b, "files", m->files, m->n_files);
	buf_puts(&b, ",\n");
	put_files(&b, "dependencies", m->deps, m->n_deps);
	buf_puts(&b, "\n}\n");
	if (b.failed) {
		buf_done(&b);
		return err_oom(e);
	}
	*ret = b;
	return 0;
}
