#include "daemon/deployment.h"
#include "daemon/snapshots.h"

#include "base/fd.h"

#include <fcntl.h>

/* A function that fsbox-spawn has, with descriptors that nobody may be able to open again, and of which the rest cannot be
 * read. It stays there, and is tried again: by this fsboxd and by the next one. */
struct broken {
	struct broken *next;
	struct deploy_note note;
	struct spawn_function m; /* without its texts */
	int filter;              /* the one for after init, or FD_NONE */
	struct err why;
};
static struct broken *broken;

static void free_broken(struct broken **at)
{
	struct broken *b = *at;

	*at = b->next;
	fd_closep(&b->filter);
	free(b);
}

int deploy_keep_broken(struct daemon *d, const struct deploy_note *note, const struct spawn_function *m, int filter,
		       const struct err *why, struct err *e)
{
	struct broken *b = malloc(sizeof *b);

	if (!b)
		return err_oom(e);
	*b = (struct broken){.next = broken, .note = *note, .filter = FD_NONE, .why = *why};
	memcpy(&b->m, m, sizeof b->m);
	if (fd_valid(filter)) {
		b->filter = fcntl(filter, F_DUPFD_CLOEXEC, 3);
		if (!fd_valid(b->filter)) {
			free(b);
			return err_sys(e, errno, "keeping a function's filter");
		}
	}
	broken = b;
	daemon_complain(why);
	deploy_tell_lost(d, note->owner, note->name, why);
	deploy_try_later(d);
	return 0;
}

bool deploy_any_broken(void)
{
	return broken != NULL;
}

int deploy_check_broken(uid_t owner, const char *name, struct err *e)
{
	for (const struct broken *b = broken; b; b = b->next)
		if (b->note.owner == owner && strcmp(b->note.name, name) == 0)
			return err_adopt(e, &b->why);
	return 0;
}

bool deploy_drop_broken(struct daemon *d, uid_t owner, const char *name)
{
	bool any = false;

	for (struct broken **at = &broken; *at;) {
		if ((*at)->note.owner != owner || strcmp((*at)->note.name, name) != 0) {
			at = &(*at)->next;
			continue;
		}
		(void)!link_number(d->link, SPAWN_FORGET, (*at)->m.function);
		free_broken(at);
		any = true;
	}
	return any;
}

/* What can be read again; or its row is gone: whoever took it away wanted the function to be gone. */
void deploy_mend_broken(struct daemon *d)
{
	for (struct broken **at = &broken; *at && d->store.db;) {
		struct broken *b = *at;
		struct err e = {0};
		struct function *f = deploy_take_known(d, &b->note, &b->m, b->filter, &e);

		if (e.kind != ERR_NONE) {
			b->why = e;
			at = &b->next;
			continue;
		}
		if (f) {
			daemon_event(d, EV_DEPLOYED, f, NULL, NULL, NULL, f->digest);
			if (f->snapshot.wish != WISH_NO)
				snapshot_want(f);
			d->on_room(d, f);
		} else {
			(void)!link_number(d->link, SPAWN_FORGET, b->m.function);
		}
		free_broken(at);
	}
}
