/* config.json, and the filter that its profile becomes. Properties: a refusal has a kind, a reason and a place; what is
 * read has what the container's stages rely on; a filter passes the kernel's checks. */
#include "confine/filter.h"
#include "oci/config.h"

/* A fuzz target is linked with the libraries alone. */
#include "tests/lib/bpf_sim.c" /* NOLINT(bugprone-suspicious-include) */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(const struct err *e)
{
	must(e->kind == ERR_SPEC || e->kind == ERR_LIMIT);
	must(e->msg[0] != '\0' && e->where[0] != '\0');
}

static void check_filter(struct policy *p)
{
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	p->skip_unknown = true;
	if (filter_build(p, &f, &e) < 0) {
		check_refusal(&e);
		return;
	}
	must(f.len == 0 || !bpf_sim_check(f.insns, f.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(config_freep) struct ct_spec *s = NULL;
	struct err e = {0};

	if (config_read("fuzz.json", (const char *)data, size, "/bundle", &s, &e) < 0) {
		must(!s);
		check_refusal(&e);
		return 0;
	}
	must(s->rootfs && s->rootfs[0] == '/' && s->bundle && s->version);
	must(s->ns[CT_MOUNT].wanted);
	if (s->process.given)
		must(s->process.args && s->process.args[0] && s->process.cwd && s->process.cwd[0] == '/');
	for (size_t i = 0; i < s->n_mounts; i++)
		must(s->mounts[i].target && (!s->mounts[i].bind || s->mounts[i].source[0] == '/'));
	if (s->seccomp.given)
		check_filter(&s->seccomp.policy);
	return 0;
}
