/* Groups that were there before the container. "Resources associated with the container, but not created by this container,
 * MUST NOT be deleted" (runtime.md, "Delete"), so the state remembers in which hierarchies that is so. */
#include "oci/store.h"

#include "base/fd.h"

#include <stdio.h>

/* Of a container and not of its id, which may come again. Whether it has made the group comes first. */
static void owner_of(const struct oci_state *st, char text[CG_MARK_MAX])
{
	(void)snprintf(text, CG_MARK_MAX, "%s %s %s", st->found[0] ? "found" : "made", st->id, st->created);
}

void found_mark(const struct cg_group *g, const struct oci_state *st, bool mine)
{
	char owner[CG_MARK_MAX];

	owner_of(st, owner);
	cg_group_mark(g, mine ? owner : "");
}

bool found_lost(const struct cg_group *g, const struct oci_state *st)
{
	char owner[CG_MARK_MAX], marked[CG_MARK_MAX];

	owner_of(st, owner);
	return cg_group_marked(g, marked) && strcmp(owner, marked) != 0;
}

int found_note(const struct cg_group *g, struct oci_state *st, struct err *e)
{
	char marked[CG_MARK_MAX];

	/* One that another container has made, which is over: who has it last removes it. */
	if (cg_group_marked(g, marked) && str_starts(marked, "made "))
		return 0;
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
