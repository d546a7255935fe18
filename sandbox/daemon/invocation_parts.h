/* Between the files of invocation.h. */
#pragma once

#include "daemon/invocation.h"

/* It is over with @out, of @u or, when no cell ran it, of NULL. @v may be gone when this returns. */
void invocation_finish(struct invocation *v, struct unit *u, struct outcome *out);
/* It has @u: from where, and how long each phase took. */
void invocation_note_start(struct invocation *v, struct unit *u);
