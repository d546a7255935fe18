/* The spec file, as `fsbox run --spec` reads it. Input: any bytes.
 *
 * Properties: nothing is read beyond what was given; what is accepted lies within the documented limits; what is refused
 * says so with kind ERR_SPEC, a message and a place; reading the same bytes again gives the same. */
#include "spec/plan.h"
#include "spec/spec.h"

#include "base/str.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_spec(const struct cell_spec *s)
{
	size_t env = 0;

	must(s->memory_bytes >= (uint64_t)SPEC_MIN_MEMORY_MB << 20 && s->memory_bytes % (1 << 20) == 0);
	must(s->timeout_ns >= 1000000 && s->timeout_ns <= SPEC_MAX_TIMEOUT_S * UINT64_C(1000000000));
	must(s->tmp_bytes >= 1 << 20 && s->tmp_bytes <= (uint64_t)SPEC_MAX_TMP_MB << 20);
	must(s->pids >= SPEC_MIN_PIDS && s->pids <= SPEC_MAX_PIDS);
	must(s->n_layers <= SPEC_MAX_LAYERS && s->n_env <= SPEC_MAX_ENV);
	must(!s->name || (s->name[0] && strlen(s->name) <= SPEC_MAX_NAME && !strchr(s->name, '/')));
	must(s->policy && s->policy[0]);
	for (size_t i = 0; i < s->n_env; i++) {
		const char *eq = strchr(s->env[i], '=');

		must(eq && eq != s->env[i]);
		env += strlen(s->env[i]) - 1;
		for (size_t k = 0; k < i; k++)
			must(strncmp(s->env[k], s->env[i], (size_t)(eq - s->env[i]) + 1) != 0);
	}
	must(env <= SPEC_MAX_ENV_BYTES);
	for (size_t i = 0; i < s->n_layers; i++)
		must(s->layers[i] && s->layers[i][0]);
}

/* What was accepted can be planned, on any host. */
static void check_plan(const struct cell_spec *s, bool privileged)
{
	AUTO(plan_freep) struct cell_plan *p = NULL;
	const struct host_facts f = {
		.privileged = privileged,
		.state_dir = "/s",
		.runtime_dir = "/r",
		.dev_dir = privileged ? "/d" : NULL,
		.target_path = "/t/handler.so",
		.target_source = "/t/handler.so",
	};
	struct err e = {0};

	must(plan_make(s, &f, "0123456789ab", &p, &e) == 0 && p->n_mounts <= PLAN_MAX_MOUNTS && !p->envp[p->n_env]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct opt_table *const tables[] = {&spec_opts};
	struct cell_spec s, again;
	struct err e = {0}, e_again = {0};
	char buf[SPEC_MAX_NAME + 1];

	spec_init(&s);
	spec_init(&again);

	int r = spec_read("f", (const char *)data, size, tables, 1, &s, &s.arena, &s.target, &e);
	must(spec_read("f", (const char *)data, size, tables, 1, &again, &again.arena, &again.target, &e_again) == r);
	must(strcmp(e.msg, e_again.msg) == 0 && strcmp(e.where, e_again.where) == 0);
	if (r < 0) {
		must(e.kind == ERR_SPEC && e.msg[0] && strncmp(e.where, "f", 1) == 0);
	} else {
		must(e.kind == ERR_NONE);
		check_spec(&s);
		if (s.target)
			must(strlen(spec_function_name(&s, buf)) <= SPEC_MAX_NAME);
		else
			s.target = "handler.so";
		check_plan(&s, true);
		check_plan(&s, false);
	}
	spec_done(&s);
	spec_done(&again);
	return 0;
}
