/* fsbox-scope: private. One command, one connection to a bus, one answer. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "wire/scope.h"

struct scope_request {
	const char *unit;
	bool user;                /* the user's manager; else the system's */
	const char *const *words; /* checked properties, or the pid */
	size_t n_words;
};

/* bus.c. Each is one command of wire/scope.h. What is left of a start that fails is taken back. */
NODISCARD int scope_start(const struct scope_request *q, struct buf *answer, struct err *e);
NODISCARD int scope_set(const struct scope_request *q, struct buf *answer, struct err *e);
NODISCARD int scope_attach(const struct scope_request *q, struct buf *answer, struct err *e);
NODISCARD int scope_stop(const struct scope_request *q, struct buf *answer, struct err *e);
