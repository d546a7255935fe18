/* The daemon's policy file. Input: any bytes.
 *
 * Properties: what is accepted gives every user rights within the budget, and never more than a rule that says so; what is
 * refused says so with a kind, a message and a place, and leaves the policy that was there; reading the same again gives
 * the same. */
#include "daemon/peers.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_rights(const struct rights *r, const struct peers_budget *b)
{
	must(r->rule && r->rule[0]);
	must(r->max_cells <= b->max_cells && r->max_queued <= b->max_queued && r->memory_bytes <= b->memory_bytes);
	must(r->max_functions <= b->max_functions);
	must(r->max_execs <= b->max_execs);
	must((r->nets & ~7U) == 0);
	must(rights_method(r, "org.varlink.service.GetInfo"));
	must(rights_method(r, "Invoke") == rights_method(r, "org.fsbox.Sandbox.Invoke"));
	must(!rights_root(r, "relative") && !rights_root(r, "/a/../b"));
	for (const char *const *root = r->roots; root && *root; root++)
		must((*root)[0] == '/' && rights_root(r, *root));
	for (const char *const *name = r->policies; name && *name; name++)
		must((*name)[0] && rights_policy(r, *name));
	for (const char *const *method = r->methods; method && *method; method++)
		must(rights_method(r, *method));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uid_t ids[] = {0, 1, 1000, 65534, 4294967294U};
	const struct peers_budget b = {.memory_bytes = 1 << 30,
				       .max_cells = 64,
				       .max_queued = 256,
				       .max_functions = 128,
				       .max_execs = 8,
				       .own_uid = 1};
	struct peers p = {0};
	struct err e = {0}, first = {0}, e_again = {0};

	must(peers_load(&p, NULL, &b, &first) == 0);

	int r = peers_read(&p, "f", (const char *)data, size, &b, &e);
	if (r < 0) {
		must((e.kind == ERR_SPEC || e.kind == ERR_LIMIT) && e.msg[0] && strncmp(e.where, "f", 1) == 0);
		must(p.generation == 1 && !p.from_file && peers_find(&p, 0, 0, NULL, 0)->admin);
	} else {
		must(e.kind == ERR_NONE && p.generation == 2 && p.n_rules <= PEERS_MAX_RULES);
		for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
			const struct rights *found = peers_find(&p, ids[i], ids[i], ids, 2);

			check_rights(found, &b);
			must(p.n_rules > 0 || (!found->admin && found->max_cells == 0));
		}
	}
	must(peers_read(&p, "f", (const char *)data, size, &b, &e_again) == r);
	must(strcmp(e.msg, e_again.msg) == 0 && strcmp(e.where, e_again.where) == 0);
	peers_done(&p);
	return 0;
}
