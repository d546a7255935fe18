/* A reader of Varlink's interface texts, written from the grammar of varlink.org and not from the writer's code. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct idl_counts {
	size_t types, methods, errors, fields;
	size_t unknown; /* uses of types that the text does not define */
	char name[256]; /* of the interface */
};

/* True when @text is an interface by the grammar. Else *ret_at is the offset at which it is none. */
bool idl_read(const char *text, struct idl_counts *ret, size_t *ret_at);
