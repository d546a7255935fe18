/* The methods that answer with more than one message: Functions, List, Stats, Logs, Subscribe. */
#pragma once

#include "daemon/calls.h"

void method_with_more(struct daemon *d, struct call *c);
void stream_client_gone(struct daemon *d, struct call *c);
/* Its client has taken what waited. */
void stream_drained(struct daemon *d, struct call *c);
/* For daemon.on_event and on_log. */
void streams_wake(struct daemon *d);

void method_describe(struct daemon *d, struct call *c);
void method_capacity(struct daemon *d, struct call *c);
