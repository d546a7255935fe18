/* Building and reading an EXEC of wire/spawn.h. */
#pragma once

#include "wire/spawn.h"

/* Empties @d. Then the texts one after the other, counted by the caller; false when there is no room. */
void spawn_exec_begin(struct spawn_datagram *d, uint64_t number, uint64_t cell);
NODISCARD bool spawn_exec_put(struct spawn_datagram *d, const char *text);
/* Of a checked EXEC: the next text, NULL after the last; *at begins at 0. */
const char *spawn_exec_next(const struct spawn_exec *m, size_t *at);
