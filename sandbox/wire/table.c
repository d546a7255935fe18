/* Tables: looking up, and whether they say what varlink can say. */
#include "wire/varlink.h"

#include <errno.h>

static bool same(const char *s, const char *name, size_t len)
{
	return strncmp(s, name, len) == 0 && s[len] == '\0';
}

const struct wire_method *wire_find_method(const struct wire_interface *i, const char *name, size_t len)
{
	for (const struct wire_method *m = i->methods; m && m->name; m++)
		if (same(m->name, name, len))
			return m;
	return NULL;
}

const struct wire_error *wire_find_error(const struct wire_interface *i, const char *name, size_t len)
{
	for (const struct wire_error *x = i->errors; x && x->name; x++)
		if (same(x->name, name, len))
			return x;
	return NULL;
}

/* ---- Names, by the grammar of varlink.org ---- */

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
	return is_alpha(c) || (c >= '0' && c <= '9');
}

/* [A-Za-z](_?[A-Za-z0-9])* */
static bool is_field_name(const char *s)
{
	if (!is_alpha(*s))
		return false;
	for (s++; *s; s++)
		if (!is_alnum(*s) && !(*s == '_' && is_alnum(s[1])))
			return false;
	return true;
}

/* [A-Z][A-Za-z0-9]* */
static bool is_member_name(const char *s)
{
	if (!(*s >= 'A' && *s <= 'Z'))
		return false;
	while (*++s)
		if (!is_alnum(*s))
			return false;
	return true;
}

/* Two or more words of letters, digits and inner hyphens with dots between them; the first begins with a letter. */
static bool is_interface_name(const char *s)
{
	size_t dots = 0;

	if (!is_alpha(*s))
		return false;
	for (const char *p = s + 1; *p; p++) {
		if (*p == '.' && (!is_alnum(p[-1]) || !is_alnum(p[1])))
			return false;
		if (*p == '-' && (p[-1] == '.' || (!is_alnum(p[1]) && p[1] != '-')))
			return false;
		if (*p != '.' && *p != '-' && !is_alnum(*p))
			return false;
		dots += *p == '.';
	}
	return dots > 0;
}

/* ---- Verification ---- */

struct verifier {
	const struct wire_interface *i;
	struct err *e;
};

static int wrong(const struct verifier *v, const char *what, const char *name, const char *reason)
{
	return err_set(v->e, ERR_BUG, EINVAL, "interface %s: %s '%s': %s", v->i->name, what, name, reason);
}

static bool lists_struct(const struct wire_interface *i, const struct wire_struct *s)
{
	for (const struct wire_struct *const *p = i->structs; p && *p; p++)
		if (*p == s)
			return true;
	return false;
}

static bool lists_enum(const struct wire_interface *i, const struct wire_enum *x)
{
	for (const struct wire_enum *const *p = i->enums; p && *p; p++)
		if (*p == x)
			return true;
	return false;
}

static int verify_enum(const struct verifier *v, const struct wire_enum *x, const char *name)
{
	if (!x->values || !x->values[0])
		return wrong(v, "enum", name, "it has no values");
	for (const char *const *p = x->values; *p; p++) {
		if (!is_field_name(*p))
			return wrong(v, "enumerator", *p, "no name by the grammar");
		for (const char *const *q = x->values; q < p; q++)
			if (strcmp(*p, *q) == 0)
				return wrong(v, "enumerator", *p, "it is there twice");
	}
	return 0;
}

enum { MAX_DEPTH = 16 };

static int verify_fields(const struct verifier *v, const struct wire_field *fields, unsigned depth);

static int verify_field(const struct verifier *v, const struct wire_field *f, unsigned depth)
{
	if (!is_field_name(f->name))
		return wrong(v, "field", f->name, "no name by the grammar");
	if ((f->flags & WIRE_ARRAY) && (f->flags & WIRE_MAP))
		return wrong(v, "field", f->name, "an array and a map");
	if (f->type == WIRE_INT && (f->min > f->max || f->min < -WIRE_INT_MAX || f->max > WIRE_INT_MAX))
		return wrong(v, "field", f->name, "its range holds nothing or exceeds 53 bits");
	if (f->type == WIRE_ENUM) {
		if (!f->of_enum)
			return wrong(v, "field", f->name, "an enum without enumerators");
		return f->of_enum->name
			       ? (lists_enum(v->i, f->of_enum) ? 0 : wrong(v, "enum", f->of_enum->name, "not listed"))
			       : verify_enum(v, f->of_enum, f->name);
	}
	if (f->type == WIRE_STRUCT) {
		if (!f->of_struct)
			return wrong(v, "field", f->name, "a struct without fields");
		if (f->of_struct->name)
			return lists_struct(v->i, f->of_struct) ? 0
								: wrong(v, "struct", f->of_struct->name, "not listed");
		return verify_fields(v, f->of_struct->fields, depth + 1);
	}
	return 0;
}

static int verify_fields(const struct verifier *v, const struct wire_field *fields, unsigned depth)
{
	if (depth > MAX_DEPTH)
		return wrong(v, "fields of", fields ? fields->name : "", "too deep");
	for (const struct wire_field *f = fields; f && f->name; f++) {
		int r = verify_field(v, f, depth);

		if (r < 0)
			return r;
		for (const struct wire_field *g = fields; g < f; g++)
			if (strcmp(f->name, g->name) == 0)
				return wrong(v, "field", f->name, "it is there twice");
	}
	return 0;
}

/* How often the interface's text defines @name: types, methods and errors share one space of names. */
static unsigned count_members(const struct wire_interface *i, const char *name)
{
	unsigned n = 0;

	for (const struct wire_struct *const *p = i->structs; p && *p; p++)
		n += (*p)->name && strcmp((*p)->name, name) == 0;
	for (const struct wire_enum *const *p = i->enums; p && *p; p++)
		n += (*p)->name && strcmp((*p)->name, name) == 0;
	for (const struct wire_method *m = i->methods; m && m->name; m++)
		n += strcmp(m->name, name) == 0;
	for (const struct wire_error *x = i->errors; x && x->name; x++)
		n += strcmp(x->name, name) == 0;
	return n;
}

static int verify_member(const struct verifier *v, const char *what, const char *name)
{
	if (!name || !is_member_name(name))
		return wrong(v, what, name ? name : "", "no name by the grammar");
	if (count_members(v->i, name) != 1)
		return wrong(v, what, name, "the name is there twice");
	return 0;
}

/* A method that takes descriptors and has no field for them, or the other way round, is a slip of the table. */
static bool names_fds(const struct wire_field *fields, unsigned depth)
{
	for (const struct wire_field *f = fields; f && f->name && depth < MAX_DEPTH; f++)
		if (f->type == WIRE_FD ||
		    (f->type == WIRE_STRUCT && f->of_struct && names_fds(f->of_struct->fields, depth + 1)))
			return true;
	return false;
}

static int verify_types(const struct verifier *v)
{
	int r = 0;

	for (const struct wire_struct *const *p = v->i->structs; p && *p && r == 0; p++) {
		r = verify_member(v, "struct", (*p)->name);
		r = r < 0 ? r : verify_fields(v, (*p)->fields, 0);
	}
	for (const struct wire_enum *const *p = v->i->enums; p && *p && r == 0; p++) {
		r = verify_member(v, "enum", (*p)->name);
		r = r < 0 ? r : verify_enum(v, *p, (*p)->name);
	}
	return r;
}

int wire_verify(const struct wire_interface *i, struct err *e)
{
	const struct verifier v = {.i = i, .e = e};
	int r;

	if (!is_interface_name(i->name))
		return wrong(&v, "interface", i->name, "no name by the grammar");
	r = verify_types(&v);
	for (const struct wire_method *m = i->methods; m && m->name && r == 0; m++) {
		r = verify_member(&v, "method", m->name);
		r = r < 0 ? r : verify_fields(&v, m->in, 0);
		r = r < 0 ? r : verify_fields(&v, m->out, 0);
		if (r == 0 && m->max_fds > WIRE_MAX_FDS)
			r = wrong(&v, "method", m->name, "more descriptors than a message can bring");
		if (r == 0 && names_fds(m->in, 0) != (m->max_fds > 0))
			r = wrong(&v, "method", m->name, "fields for descriptors and max_fds do not agree");
	}
	for (const struct wire_error *x = i->errors; x && x->name && r == 0; x++) {
		r = verify_member(&v, "error", x->name);
		r = r < 0 ? r : verify_fields(&v, x->fields, 0);
	}
	return r;
}
