/* Commands in cells: Exec. Each is one call that stays open until fsbox-spawn says that the command is over. */
#pragma once

#include "daemon/calls.h"

void method_exec(struct daemon *d, struct call *c);
void exec_client_gone(struct daemon *d, struct call *c);
/* From the link. */
void exec_ended(struct daemon *d, const struct spawn_exec_end *m);
