/* Where the time went: the marks that both sides of the clone left in a shared page, as Chrome's trace event format
 * (the JSON that chrome://tracing and Perfetto read). */
#pragma once

#include "cell/cell.h"

struct cell_trace *trace_make(void); /* NULL when memory is out: then nothing is traced */
void trace_free(struct cell_trace *t);
NODISCARD int trace_write(const struct cell_trace *t, const char *file, struct err *e);
