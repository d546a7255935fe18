/* Private to peers.c: the policy file's JSON becomes rules. */
#pragma once

#include "daemon/peers.h"

struct ids {
	bool any; /* the rule does not name them */
	uint32_t *ids;
	size_t n;
};

struct peers_rule {
	struct ids uids, gids; /* both must match */
	bool exec_named;       /* else it is as rights.admin */
	struct rights rights;
};

/* Fills @p->rules from the text, into @p->arena, with @p->others for what a rule leaves open. On failure the arena holds
 * what was read so far. */
NODISCARD int peers_parse(struct peers *p, const char *file, const char *text, size_t len, const struct peers_budget *b,
			  struct err *e);

/* Is this path in the one form in which roots are compared? */
bool peers_is_canonical(const char *path);
