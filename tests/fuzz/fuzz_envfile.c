/* --env-file. Input: any bytes.
 *
 * Properties: nothing is read beyond what was given; every variable has a proper name, stands once, and is a line of the
 * file; together they keep to the limit; what is refused says the line. */
#include "spec/spec.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_variables(const struct cell_spec *s, const uint8_t *data, size_t size)
{
	size_t total = 0;

	must(s->n_env <= SPEC_MAX_ENV);
	for (size_t i = 0; i < s->n_env; i++) {
		const char *pair = s->env[i], *eq = strchr(pair, '=');
		size_t len = strlen(pair);

		must(eq && eq > pair && !(pair[0] >= '0' && pair[0] <= '9'));
		for (const char *c = pair; c < eq; c++)
			must((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
			     *c == '_');
		must(len <= size && memmem(data, size, pair, len) && !strchr(pair, '\n'));
		total += len - 1;
		for (size_t k = 0; k < i; k++)
			must(strncmp(s->env[k], pair, (size_t)(eq - pair) + 1) != 0);
	}
	must(total <= SPEC_MAX_ENV_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact = malloc(size ? size : 1);
	struct cell_spec s;
	struct err e = {0};

	must(exact != NULL);
	if (size)
		memcpy(exact, data, size);
	spec_init(&s);

	int r = spec_add_env_file(&s, "f", exact, size, &e);
	must(r == 0 ? e.kind == ERR_NONE : e.kind == ERR_SPEC && strncmp(e.msg, "f:", 2) == 0);
	check_variables(&s, data, size);
	spec_done(&s);
	free(exact);
	return 0;
}
