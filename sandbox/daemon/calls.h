/* The methods about calls, leases and cells. */
#pragma once

#include "daemon/answers.h"

void method_invoke(struct daemon *d, struct call *c);
void method_acquire(struct daemon *d, struct call *c);
void method_release(struct daemon *d, struct call *c);
void method_cancel(struct daemon *d, struct call *c);
/* Pause, Resume, Update, Kill, Remove, Inspect. */
void method_about_cell(struct daemon *d, struct call *c);
/* The answer to Update. */
void cell_done(struct daemon *d, const struct spawn_done *m);
void cell_client_gone(struct daemon *d, struct call *c);

const struct rights *call_rights(const struct daemon *d, const struct call *c);
/* The cell that "cell" names, if the caller may know of it and it is not about to end; NULL. */
struct unit *named_unit(struct daemon *d, const struct call *c);
/* Is it the caller's, or is he an administrator? */
bool may_see(const struct daemon *d, const struct call *c, uid_t owner);
