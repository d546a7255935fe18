/* genprotocol [--check] FILE...: keeps docs/protocol.md equal to the table of org.fsbox.Sandbox (sandbox/daemon/methods.c),
 * from which fsboxd dispatches. How files and regions look: tools/regions.h. KIND: interface, methods, errors.
 *
 * genprotocol --text: the interface's text alone, as GetInterfaceDescription gives it, for
 * tests/spec/org.fsbox.Sandbox.varlink. */
#include "base/mem.h"
#include "daemon/methods.h"

#include "tools/regions.h"

#include <stdio.h>
#include <string.h>

/* On one line. */
static void put_first_sentence(struct buf *b, const char *doc)
{
	for (const char *p = doc; *p && !(p > doc && p[-1] == '.' && (*p == ' ' || *p == '\n')); p++)
		buf_add(b, *p == '\n' ? " " : p, 1);
}

static void put_methods(struct buf *b)
{
	buf_puts(b, "| method | `more` | descriptors | |\n|---|---|---|---|\n");
	for (const struct wire_method *m = sandbox_interface.methods; m->name; m++) {
		buf_printf(b, "| `%s` | %s | ", m->name,
			   m->flags & WIRE_NEEDS_MORE ? "needed"
			   : m->flags & WIRE_MORE     ? "possible"
						      : "");
		if (m->max_fds > 0)
			buf_printf(b, "up to %u", m->max_fds);
		buf_puts(b, " | ");
		put_first_sentence(b, m->doc);
		buf_puts(b, " |\n");
	}
}

static void put_errors(struct buf *b)
{
	buf_puts(b, "| error | parameters | may the same call be tried again? |\n|---|---|---|\n");
	for (const struct wire_error *x = sandbox_interface.errors; x->name; x++) {
		buf_printf(b, "| `%s` | ", x->name);
		for (const struct wire_field *f = x->fields; f && f->name; f++)
			buf_printf(b, "%s`%s`", f == x->fields ? "" : ", ", f->name);
		buf_puts(b, " | ");
		put_first_sentence(b, x->doc);
		buf_puts(b, " |\n");
	}
}

static bool generate(struct buf *b, const char *kind)
{
	if (strcmp(kind, "interface") == 0) {
		buf_puts(b, "```\n");
		wire_describe(b, &sandbox_interface);
		buf_puts(b, "```\n");
	} else if (strcmp(kind, "methods") == 0) {
		put_methods(b);
	} else if (strcmp(kind, "errors") == 0) {
		put_errors(b);
	} else {
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	AUTO(buf_done) struct buf b = {0};

	if (argc != 2 || strcmp(argv[1], "--text") != 0)
		return regions_main("genprotocol", argc, argv, generate);
	wire_describe(&b, &sandbox_interface);
	return b.failed || fwrite(b.data, 1, b.len, stdout) != b.len || fflush(stdout) != 0;
}
