/* Between the files of invocation.h. */
#pragma once

#include "daemon/invocation.h"

/* It is over with @out, of @u or, when no cell ran it, of NULL. @v may be gone when this returns. */
void invocation_finish(struct invocation *v, struct unit *u, struct outcome *out);
/* Forgets it. @v, an invocation: nobody waits for it, and no cell runs it. A timer's callback. */
void invocation_free(void *v);

/* ---- invocation_kept.c ---- */

/* It is over, and its result is for who asks again; the oldest ones go when there are too many, this one perhaps. */
void invocation_keep(struct invocation *v);
/* Before it is freed: it is not counted any more. */
void invocation_unkeep(struct invocation *v);

/* Its answer is known, and it may be gone when this returns. */
void invocation_be_over(struct invocation *v);
/* What the next fsboxd needs to answer it again: into u->grant. */
void invocation_note_grant(const struct invocation *v, struct unit *u);
/* It has @u: from where, and how long each phase took. */
void invocation_note_start(struct invocation *v, struct unit *u);
