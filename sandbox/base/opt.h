/* Options, declared once: the table of a command yields parsing, help, the man page's OPTIONS, shell completions and
 * the keys of the JSON spec file. Nothing here prints or exits. */
#pragma once

#include "base/err.h"

enum opt_flags {
	OPT_FLAG = 1,        /* takes no value; set() gets NULL */
	OPT_MULTI = 2,       /* may be given several times */
	OPT_NO_SPEC = 4,     /* not a key of the spec file */
	OPT_MAYBE_VALUE = 8, /* --name or --name=VALUE */
};

struct opt {
	const char *name; /* without the dashes */
	const char *arg;  /* name of the value in help, NULL for flags */
	unsigned flags;
	/* Stores @value into @args; on failure sets *e (kind ERR_SPEC) and returns a negative errno. @value lives as
	 * long as argv. */
	int (*set)(void *args, const struct opt *opt, const char *value, struct err *e);
	size_t offset;    /* for set functions shared by several options */
	const char *help; /* one line, lower case, no full stop */
	char letter;      /* short form, or 0 */
};

struct opt_table {
	const struct opt *opts;
	size_t n;
};

/* For the most usual ones, with the offset of a const char * (not empty) or a bool. */
int opt_set_text(void *args, const struct opt *opt, const char *value, struct err *e);
int opt_set_flag(void *args, const struct opt *opt, const char *value, struct err *e);

/* Finds by long name in the tables; NULL if there is none. */
const struct opt *opt_find(const struct opt_table *const *tables, size_t n_tables, const char *name, size_t len);

/* Parses argv[1..]: options before and after operands, "--name value", "--name=value", "--" ends options.
 * Operands are moved to the front of argv[1..] in their order; *ret_operands is their number.
 * An option without OPT_MULTI given twice is an error. */
NODISCARD int opt_parse(const struct opt_table *const *tables, size_t n_tables, int argc, char **argv, void *args,
			int *ret_operands, struct err *e);

/* The same for a command line that ends with another one: parses options up to the first operand, or to a "--". *ret_next
 * is the index of what follows; nothing is moved. */
NODISCARD int opt_parse_leading(const struct opt_table *const *tables, size_t n_tables, int argc, char **argv,
				void *args, int *ret_next, struct err *e);
