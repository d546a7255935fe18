/* A policy file, read and compiled for both architectures. Properties: a refusal has a kind, a reason and a place; a
 * filter passes the kernel's checks; its verdicts are those of a plain reading of the rules. */
#include "confine/filter.h"
#include "spec/policy.h"

/* A fuzz target is linked with the library alone. */
#include "tests/lib/bpf_sim.c"    /* NOLINT(bugprone-suspicious-include) */
#include "tests/lib/policy_ref.c" /* NOLINT(bugprone-suspicious-include) */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PROBES = 64 };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(const struct err *e)
{
	must(e->kind == ERR_SPEC || e->kind == ERR_LIMIT);
	must(e->msg[0] != '\0' && e->where[0] != '\0');
	for (const char *p = e->msg; *p; p++)
		must((unsigned char)*p >= 0x20);
}

static uint64_t next_random(void *state)
{
	uint64_t *x = state;

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void check_filter(const struct policy *p, const struct filter_arch *arch, uint64_t *state)
{
	AUTO(filter_done) struct filter f = {0};
	struct err e = {0};

	if (filter_build_for(p, arch, &f, &e) < 0) {
		check_refusal(&e);
		return;
	}
	must(f.runtime_stage == p->runtime_stage);
	must((f.len == 0) == p->none);
	if (f.len == 0)
		return;
	must(!bpf_sim_check(f.insns, f.len));
	for (int i = 0; i < PROBES; i++) {
		struct seccomp_data d = policy_ref_probe(p, arch, next_random, state);

		must(bpf_sim_run(f.insns, f.len, &d, NULL) == policy_ref_verdict(p, arch, &d));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(policy_freep) struct policy *p = NULL;
	uint64_t state = 88172645463325252 ^ size;
	struct err e = {0};

	if (policy_read("fuzz.json", (const char *)data, size, &p, &e) < 0) {
		must(!p);
		check_refusal(&e);
		return 0;
	}
	must(p->n_rules <= POLICY_MAX_RULES);
	check_filter(p, filter_arch_find("x86_64"), &state);
	check_filter(p, filter_arch_find("aarch64"), &state);
	return 0;
}
