/* The methods about calls, leases and cells. */
#pragma once

#include "daemon/answers.h"

void invoke_call(struct daemon *d, struct call *c);
void acquire_call(struct daemon *d, struct call *c);
void release_call(struct daemon *d, struct call *c);
void cancel_call(struct daemon *d, struct call *c);
/* Pause, Resume, Update, Kill, Remove, Inspect. */
void cell_call(struct daemon *d, struct call *c);
/* The answer to Update. */
void cell_done(struct daemon *d, const struct spawn_done *m);
void cell_client_gone(struct daemon *d, struct call *c);

const struct rights *call_rights(const struct daemon *d, const struct call *c);
/* Is it the caller's, or is he an administrator? */
bool may_see(const struct daemon *d, const struct call *c, uid_t owner);
