/* Groups that were there before the container. "Resources associated with the container, but not created by this container,
 * MUST NOT be deleted" (runtime.md, "Delete"), so the state remembers in which hierarchies that is so. */
#include "oci/store.h"

#include "base/fd.h"

int found_note(const struct cg_group *g, struct oci_state *st, struct err *e)
{
	for (unsigned i = 0; i < g->n; i++) {
		if (!fd_valid(g->trees[i].dir))
			continue;
		st->found = arena_printf(&st->arena, "%s%s:", st->found, g->trees[i].root);
		if (!st->found)
			return err_oom(e);
	}
	return 0;
}

void found_keep(struct cg_group *g, const struct oci_state *st)
{
	for (const char *p = st->found; *p;) {
		const size_t len = strcspn(p, ":");

		for (unsigned i = 0; i < g->n; i++)
			if (strlen(g->trees[i].root) == len && memcmp(g->trees[i].root, p, len) == 0)
				fd_closep(&g->trees[i].dir);
		p += len + (p[len] == ':');
	}
}
