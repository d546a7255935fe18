/* Between the files of invocation.h. */
#pragma once

#include "daemon/invocation.h"

/* It is over with @out, of @u or, when no cell ran it, of NULL. @v may be gone when this returns. */
void invocation_finish(struct invocation *v, struct unit *u, struct outcome *out);
/* Its answer is known, and it may be gone when this returns. */
void invocation_be_over(struct invocation *v);
/* What the next fsboxd needs to answer it again: into u->grant. */
void invocation_note_grant(const struct invocation *v, struct unit *u);
/* It has @u: from where, and how long each phase took. */
void invocation_note_start(struct invocation *v, struct unit *u);
