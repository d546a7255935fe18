/* The text of an interface. Comments stand above members only: not every reader takes them between fields. */
#include "wire/varlink.h"

#include <stdio.h>

enum { LINE_WIDTH = 100 };

static const char *const type_names[] = {
	[WIRE_BOOL] = "bool",     [WIRE_INT] = "int",       [WIRE_FLOAT] = "float",
	[WIRE_STRING] = "string", [WIRE_OBJECT] = "object", [WIRE_FD] = "int",
};

static void put_doc_line(struct buf *b, const char *before, const char *line, size_t len)
{
	buf_puts(b, len || *before ? "# " : "#");
	buf_puts(b, before);
	buf_add(b, line, len);
	buf_puts(b, "\n");
}

/* Each line of @doc as a comment; @before stands in front of the first. */
static void put_doc(struct buf *b, const char *before, const char *doc)
{
	while (doc) {
		const char *end = strchr(doc, '\n');

		put_doc_line(b, before, doc, end ? (size_t)(end - doc) : strlen(doc));
		before = *before ? "  " : "";
		doc = end ? end + 1 : NULL;
	}
}

static void put_field_docs(struct buf *b, const struct wire_field *fields)
{
	for (const struct wire_field *f = fields; f && f->name; f++) {
		char before[80];

		(void)snprintf(before, sizeof before, "%s: ", f->name);
		put_doc(b, before, f->doc);
	}
}

static void put_values(struct buf *b, const struct wire_enum *x)
{
	buf_puts(b, "(");
	for (const char *const *p = x->values; *p; p++) {
		buf_puts(b, p == x->values ? "" : ", ");
		buf_puts(b, *p);
	}
	buf_puts(b, ")");
}

static void put_fields(struct buf *b, const struct wire_field *fields, const char *first, const char *between,
		       const char *last);

static void put_type(struct buf *b, const struct wire_field *f)
{
	buf_puts(b, f->flags & WIRE_OPTIONAL ? "?" : "");
	buf_puts(b, f->flags & WIRE_ARRAY ? "[]" : f->flags & WIRE_MAP ? "[string]" : "");
	if (f->type == WIRE_ENUM && !f->of_enum->name)
		put_values(b, f->of_enum);
	else if (f->type == WIRE_STRUCT && !f->of_struct->name)
		put_fields(b, f->of_struct->fields, "", ", ", "");
	else
		buf_puts(b, f->type == WIRE_ENUM     ? f->of_enum->name
			    : f->type == WIRE_STRUCT ? f->of_struct->name
						     : type_names[f->type]);
}

static void put_fields(struct buf *b, const struct wire_field *fields, const char *first, const char *between,
		       const char *last)
{
	buf_puts(b, "(");
	for (const struct wire_field *f = fields; f && f->name; f++) {
		buf_puts(b, f == fields ? first : between);
		buf_puts(b, f->name);
		buf_puts(b, ": ");
		put_type(b, f);
	}
	if (fields && fields->name)
		buf_puts(b, last);
	buf_puts(b, ")");
}

/* On one line, or, when that becomes too long, with a line for each field. */
static void put_list(struct buf *b, const struct wire_field *fields)
{
	size_t line = b->len;

	while (line > 0 && b->data[line - 1] != '\n')
		line--;

	const size_t from = b->len;
	put_fields(b, fields, "", ", ", "");
	if (b->failed || b->len - line <= LINE_WIDTH)
		return;
	b->len = from;
	put_fields(b, fields, "\n\t", ",\n\t", "\n");
}

static void put_head(struct buf *b, const char *doc, const struct wire_field *in, const struct wire_field *out)
{
	buf_puts(b, "\n");
	put_doc(b, "", doc);
	put_field_docs(b, in);
	put_field_docs(b, out);
}

static void put_types(struct buf *b, const struct wire_interface *i)
{
	for (const struct wire_enum *const *p = i->enums; p && *p; p++) {
		put_head(b, (*p)->doc, NULL, NULL);
		buf_printf(b, "type %s ", (*p)->name);
		put_values(b, *p);
		buf_puts(b, "\n");
	}
	for (const struct wire_struct *const *p = i->structs; p && *p; p++) {
		put_head(b, (*p)->doc, (*p)->fields, NULL);
		buf_printf(b, "type %s ", (*p)->name);
		put_list(b, (*p)->fields);
		buf_puts(b, "\n");
	}
}

void wire_describe(struct buf *b, const struct wire_interface *i)
{
	put_doc(b, "", i->doc);
	buf_printf(b, "interface %s\n", i->name);
	put_types(b, i);
	for (const struct wire_method *m = i->methods; m && m->name; m++) {
		put_head(b, m->doc, m->in, m->out);
		if (m->flags & WIRE_NEEDS_MORE)
			put_doc(b, "", "Only with \"more\".");
		else if (m->flags & WIRE_MORE)
			put_doc(b, "", "With \"more\": several answers.");
		buf_printf(b, "method %s", m->name);
		put_list(b, m->in);
		buf_puts(b, " -> ");
		put_list(b, m->out);
		buf_puts(b, "\n");
	}
	for (const struct wire_error *x = i->errors; x && x->name; x++) {
		put_head(b, x->doc, x->fields, NULL);
		buf_printf(b, "error %s ", x->name);
		put_list(b, x->fields);
		buf_puts(b, "\n");
	}
}
