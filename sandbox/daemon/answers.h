/* What is known, as JSON for clients. Each appends an object, or sends an answer. */
#pragma once

#include "daemon/invocation.h"
#include "daemon/methods.h"

/* Errors of org.fsbox.Sandbox. */
void answer_not_found(struct call *c, const char *what, const char *id);
void answer_denied(struct call *c, const char *reason, const char *rule);
/* By kind: InvalidSpec, Denied, Unsupported, SystemFailure, … */
void answer_err(struct call *c, const struct err *e);
/* {} */
void answer_done(struct call *c);
/* {"existed": …} */
void answer_existed(struct call *c, bool existed);

void add_function(struct wire_obj *o, const struct function *f);
void add_cell(struct wire_obj *o, const struct unit *u);
void add_event(struct wire_obj *o, const struct entry *e);
void add_chunk(struct wire_obj *o, const struct entry *e, uint64_t dropped);

extern const struct invocation_ops answers_invocation_ops; /* for invocation_ops */
