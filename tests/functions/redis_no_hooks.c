/* The example without its hooks: it keeps its connection, and there can be no snapshot of it. */
#define WITHOUT_HOOKS
#include "../../contrib/examples/redis-counter.c"
