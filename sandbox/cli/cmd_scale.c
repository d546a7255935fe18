/* fsbox scale: the numbers of a function that is there. */
#include "cli/client.h"

#include <stdio.h>

struct scale_args {
	struct client_args client; /* first */
	const char *provisioned, *reserved, *max_cells;
};

#define AT(field) offsetof(struct scale_args, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "provisioned", "N", 0, client_set_number, AT(provisioned), "keep so many cells past their init", 0 },
	{ "reserved",    "N", 0, client_set_number, AT(reserved),    "so many cells it may always have, and no more; 0: neither", 0 },
	{ "max-cells",   "N", 0, client_set_number, AT(max_cells),   "no more cells than these; 0: as many as there is room for", 0 },
};
/* clang-format on */
static const struct opt_table scale_opts = {opts, ARRAY_LEN(opts)};

static int print_numbers(struct client *c, const struct scale_args *a, const char *name, const struct json *numbers,
			 struct err *e)
{
	AUTO(buf_done) struct buf out = {0};
	int64_t provisioned, reserved, max_cells;

	if (!client_int(numbers, "provisioned", &provisioned) || !client_int(numbers, "reserved", &reserved) ||
	    !client_int(numbers, "maxCells", &max_cells))
		return client_malformed(e, "it lacks a number");
	if (a->client.json)
		json_dump_to(&out, numbers);
	else
		buf_printf(&out, "%s: provisioned %lld, reserved %lld, max-cells %lld", name, (long long)provisioned,
			   (long long)reserved, (long long)max_cells);
	buf_puts(&out, "\n");
	return client_print(c, &out, e);
}

static int scale(struct client *c, void *args, char **operands, struct err *e)
{
	const struct scale_args *a = args;
	AUTO(buf_done) struct buf params = {0};
	struct client_reply reply;
	int r;

	params_text(&params, "name", *operands);
	params_raw(&params, "provisioned", a->provisioned);
	params_raw(&params, "reserved", a->reserved);
	params_raw(&params, "maxCells", a->max_cells);
	params_end(&params);
	r = client_call(c, "Scale", &params, &reply, e);
	if (r < 0)
		return r;
	r = print_numbers(c, a, *operands, reply.params, e);
	client_reply_done(&reply);
	return r;
}

static int scale_main(int argc, char **argv)
{
	struct scale_args a = {0};

	return client_run(&cmd_scale, argc, argv, &a, 1, 1, scale);
}

const struct command cmd_scale = {
	.name = "scale",
	.operands = "[options] NAME",
	.summary = "change how many cells a function keeps and may have",
	.details =
		"What is not said stays as it is; without options the numbers are printed. Cells stay; those that are too\n"
		"many end when they have been idle for as long as others.\n\n"
		"Exit status: 0 success; 1 failed; 2 bad usage.\n",
	.tables = {&client_opts, &scale_opts},
	.n_tables = 2,
	.group = GROUP_DAEMON,
	.main = scale_main,
};
